"""`python -m ops live`: the link that it prints opens that campaign's page, for so long."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from shared.errors import BadToken
from shared.links import Links
from shared.tokens import Tokens
from tests.house.serving import URL, environment

HOUR = 3_600_000


def test_a_link_is_printed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = asyncio.run(environment(state))
    done = CliRunner().invoke(app, ["live", "C-0001", "--hours", "2"], env=settings)
    assert done.exit_code == 0, done.output
    base, _, token = done.output.strip().rpartition("/")
    assert base == f"{URL}/live"
    [key] = json.loads((state / "secrets" / "signing-key.json").read_text())
    links = Links(URL, Tokens([bytes.fromhex(key["value"])]))
    campaign, until = links.read_live(token, "local", 0)
    assert campaign == "C-0001"
    with pytest.raises(BadToken):
        links.read_live(token, "local", until)
    assert links.read_live(token, "local", until - 2 * HOUR + 60_000)
    refused = CliRunner().invoke(app, ["live", "C 1"], env=settings)
    assert refused.exit_code == 1 and "C-0001" in refused.output
