"""The metrics that are documented, declared and written are the same ones; and what no entry and no message may hold is in none."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from local.server import mounted
from shared.logs import METRICS, log

from .asgi import App, call
from .routes import METHODS, NAME, READER, ROUTES, reader
from .table import ROOT, read, rows, words
from .test_headers import rest
from .test_mounted import fresh, state

__all__ = ("fresh", "state")  # fixtures


def test_the_page_lists_every_metric() -> None:
    listed = rows(read("docs/observability.md"), "Metric")
    shown = {name.strip("`"): (unit, words(labels), what) for name, unit, labels, what in listed}
    assert shown == {name: (metric.unit, set(metric.labels), metric.description) for name, metric in METRICS.items()}


@pytest.mark.parametrize(
    "name", [name for name in METRICS if not name.startswith("mails_")]
)  # those are made of the ledger's states
def test_every_metric_is_written_by_somebody(name: str) -> None:
    files = [file for folder in ("functions", "shared") for file in (ROOT / folder).rglob("*.py") if file.name != "logs.py"]
    assert any(f'"{name}"' in file.read_text("utf-8") for file in files)


# --- what strangers and readers send --------------------------------------------------------------------------------------

SPELLINGS = (
    *(
        "{}",
        "<{}>",
        '"{}"',
        "mailto:{}",
        "Zebedee Quuxly <{}>",
        "x{}x",
        "{}\r\nBcc: {}",
        "{{'email': '{}'}}",
        "//{}/",
        "'{}' OR 1=1",
    ),
    *(
        "\u202e{}",
        "{}\x00",
        "{{{{ {} }}}}",
        "<script>{}</script>",
        "?email={}",
        "{},{}",
        "\\{}",
        "=HYPERLINK({})",
        "/a/../{}",
        "[{}]",
    ),
)
HEADERS = (
    *("user-agent", "referer", "origin", "x-forwarded-for", "accept-language", "cookie", "traceparent", "authorization", "from"),
    *("content-type", "host", "accept", "x-cloud-trace-context", "sec-fetch-site", "webhook-signature", "x-request-id"),
)


def requests(tokens: Mapping[str, str]) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """(method, path, body, headers): every route, with an address in every place, spelt in every way."""
    n = 0
    for step, routes in ROUTES.items():
        for route in routes:
            for method in METHODS:
                for at, spelling in enumerate(SPELLINGS):
                    n += 1
                    told = (
                        spelling.replace("{{", "\0")
                        .replace("}}", "\1")
                        .replace("{}", READER)
                        .replace("\0", "{")
                        .replace("\1", "}")
                    )
                    path = f"/{step}{route.format(**tokens)}"
                    headers = {"content-type": "application/x-www-form-urlencoded"}
                    fields = {"email": READER, "name": NAME, "words": told, "reason": told, "tags": told, "sp": tokens["track"]}
                    match (n + at) % 6:
                        case 0:
                            path += "/" + quote(told, safe="")
                        case 1:
                            path += ("&" if "?" in path else "?") + urlencode({"email": told, "lang": NAME})
                        case 2:
                            headers |= {HEADERS[n % len(HEADERS)]: told.encode("utf-8").decode("latin-1")}
                        case 3:
                            fields |= {"email": told, "name": told, told: told}
                        case 4:
                            path = re.sub(r"[A-Za-z0-9_-]{22}(?=$|\?)", "A" * 22, path)  # a signature that is not ours
                    body = urlencode(fields).encode() if n % 4 else told.encode()
                    if n % 7 == 0:
                        headers["content-type"], body = (
                            "application/json",
                            json.dumps(fields | {"email": READER}).encode()[: 400 if n % 2 else None],
                        )
                    yield method, path, b"" if method in ("GET", "HEAD") else body, headers


def secrets(tokens: Mapping[str, str]) -> dict[str, re.Pattern[bytes]]:
    """What must not be found, in the ways that it could be written: addresses, names, and the signatures that make tokens valid."""
    local = READER.partition("@")[0]
    plain = (
        READER,
        local,
        quote(READER),
        base64.b64encode(READER.encode())[:-4].decode(),
        READER.encode().hex(),
        NAME,
        NAME.split()[1],
    )
    found = {text: re.compile(re.escape(text.encode()), re.IGNORECASE) for text in plain}
    return found | {name: re.compile(re.escape(token[-22:].encode())) for name, token in tokens.items()}


@pytest.mark.parametrize("part", range(3))
async def test_no_entry_and_no_message_holds_what_a_stranger_or_reader_sent(
    state: Path, part: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = await reader(state)
    app: App = mounted(rest)
    statuses: set[int] = set()
    capsys.readouterr()
    for method, path, body, headers in [*requests(tokens)][part::3]:
        statuses.add((await call(app, method, path, body, headers)).status)
    told = capsys.readouterr()
    entries = [json.loads(line) for line in told.out.splitlines()]
    assert {200, 400, 401, 404, 405} <= statuses and len(entries) > 100
    files = b"".join(path.read_bytes() for path in state.glob("bus.db*"))
    assert b"send-requests" in files and b"engagement-events" in files
    searched = {"logs": told.out.encode(), "errors": told.err.encode(), "messages": files}
    patterns = secrets(tokens)
    found = {(where, name) for where, text in searched.items() for name, pattern in patterns.items() if pattern.search(text)}
    assert found == set()
    log("INFO", f"joined: {NAME}")  # the control: nothing takes a name away, so whoever logs one is found
    told = capsys.readouterr()
    assert {name for name, pattern in patterns.items() if pattern.search(told.out.encode())} == {NAME, NAME.split()[1]}
