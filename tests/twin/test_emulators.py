"""Starting and ending emulators, with a stand-in for gcloud that leaves its server behind when it is ended, as gcloud does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from local import emulators as module
from local.emulators import emulators, missing

pytestmark = pytest.mark.network

GCLOUD = """\
#!/bin/sh
echo "$@"
for word; do case $word in --host-port=*) port=${word##*:} ;; esac; done
case "$*" in *broken*) echo "no such thing"; exit 3 ;; esac
trap 'exit 0' TERM
%s -c "
import http.server, sys
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    log_message = lambda *_: None
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Ok).serve_forever()
" $port &
wait
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SDK's folder with the stand-in and both components, alone on the PATH with java and a shell's tools."""
    sdk = tmp_path / "sdk"
    for component in ("pubsub-emulator", "cloud-firestore-emulator"):
        (sdk / "platform" / component).mkdir(parents=True)
    (sdk / "bin").mkdir()
    (sdk / "bin" / "gcloud").write_text(GCLOUD % sys.executable)
    (sdk / "bin" / "java").write_text("")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "sleep"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    for file in (sdk / "bin").iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sdk / 'bin'}:{tools}")
    return sdk


def alive(group: int) -> list[str]:
    """The processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, of = rest.split()[:3]
        if int(of) == group and state != "Z":
            found.append(name)
    return found


def answers(host: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}/", timeout=timeout):
            return True
    except OSError:
        return False


def test_the_whole_group_ends_even_when_frozen(tmp_path: Path) -> None:
    with emulators(tmp_path / "state") as running:
        assert answers(running.firestore, 5) and answers(running.pubsub, 5)
        assert all(len(alive(group)) == 2 for group in running.groups.values())  # gcloud and its server
        running.freeze("pubsub")
        assert not answers(running.pubsub, 0.3) and answers(running.firestore, 5)
        running.thaw("pubsub")
        assert answers(running.pubsub, 5)
        running.freeze("firestore")
        command = (tmp_path / "state" / "pubsub.log").read_text()
        assert f"beta emulators pubsub start --project=demo --host-port={running.pubsub} --data-dir=" in command
        assert (tmp_path / "state" / "pubsub").is_dir()
    assert not any(alive(group) for group in running.groups.values())


def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from local.emulators import emulators
        with emulators(Path(sys.argv[1]), ["pubsub"]) as running:
            assert running.firestore == ""
            print(running.groups["pubsub"], flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        assert len(alive(group)) == 2
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while alive(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(group)


def test_one_that_does_not_start_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._COMMANDS, "pubsub", ("broken",))
    with (
        pytest.raises(RuntimeError, match=r"(?s)The pubsub emulator did not start:.*no such thing"),
        emulators(tmp_path / "state"),
    ):
        pass


def test_what_is_missing_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert missing() == ""
    (installed / "platform" / "pubsub-emulator").rmdir()
    assert "need pubsub-emulator:" in missing() and missing(["firestore"]) == ""
    with pytest.raises(RuntimeError, match="pubsub-emulator"), emulators(tmp_path / "state"):
        pass
    (installed / "bin" / "java").unlink()
    assert "need java and pubsub-emulator:" in missing()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "need gcloud and java:" in missing()
