"""The whole product as a newcomer runs it: the demo, with its twin killed in the middle of the first campaign, then resumed."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local.demo import CONTACTS, VISITOR

REPO = Path(__file__).parents[2]


def demo(state: Path, **environ: str) -> subprocess.Popen[str]:
    """Start it."""
    command = [sys.executable, "-m", "local", "demo", "--state", str(state)]
    return subprocess.Popen(
        command, cwd=REPO, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def mailed(state: Path) -> int:
    """Mails of the first campaign that the mailbox holds."""
    try:
        with closing(sqlite3.connect(f"file:{state / 'mailbox.db'}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM mail WHERE message_id LIKE '<C-0001~%'").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.mark.slow
def test_killed_in_the_first_campaign_and_resumed_nobody_is_mailed_twice_or_lost(tmp_path: Path) -> None:
    state = tmp_path / "demo"
    kill_after = random.randint(1, 350)
    first = demo(state, TWIN_SMTP_DELAY_MS="20")
    until = time.monotonic() + 120
    while mailed(state) < kill_after and first.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(int((state / "lock").read_text()), signal.SIGKILL)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 1, output
    assert "RESUME=1 make demo continues" in " ".join(output.split())  # its lines are broken where the terminal ends

    second = demo(state, RESUME="1")
    output, _ = second.communicate(timeout=400)
    assert second.returncode == 0, f"killed after {kill_after} mails\n{output}"
    found: dict[str, Any] = json.loads((tmp_path / "demo.json").read_text())
    ends = found["end_states"]
    assert found["duplicates"] == 0
    assert found["dead_letters"] == 0
    assert found["recipients"] == sum(ends.values()) == 915
    assert found["template_changed"] is True
    excess = found["mailbox_messages"] - ends["sent"] - found["confirmations"] - found["welcomes"]
    assert 0 <= excess <= ends["unknown"]
    assert ends["unknown"] <= 100  # two workers, one window each
    assert (found["imported"], found["rejected"], found["unsubscribed"]) == (462, 38, 5)
    assert [row["recipients"] for row in found["campaigns"]] == [463, 452]
    scan((state / "twin.log").read_text("utf-8"))


def scan(log: str) -> None:
    """Every line of a step is an entry of a request; no line holds an address, of anybody, in any spelling."""
    entries = [json.loads(line) for line in log.splitlines() if not line.startswith("tick: ")]
    written = [entry for entry in entries if entry["step"]]
    assert {entry["step"] for entry in written} >= {"send_batch", "record", "launch", "sync_sheet", "track"}
    for entry in written:
        assert entry["severity"] in ("INFO", "WARNING", "ERROR")
        assert re.fullmatch("(projects/[^/]+/traces/)?[0-9a-f]{32}", entry["logging.googleapis.com/trace"])
    assert re.findall(r"(?i)\S*(?:\w@|@\w|＠|%40|u0040|#64;)\S*", log.replace('"@type"', "")) == []
    people = [contact["Email"].strip() for contact in csv.DictReader(CONTACTS.open(encoding="utf-8", newline=""))]
    people = [VISITOR, *(address for address in people if "@" in address[1:-1])]
    assert len(people) > 480
    spoken = log + json.dumps(entries, ensure_ascii=False)
    assert [address for address in people if address in spoken or quote(address, safe="") in spoken] == []
