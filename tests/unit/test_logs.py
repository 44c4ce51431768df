"""What Cloud Logging, Error Reporting and log-based metrics need of an entry; and that no address gets into one."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import logs
from shared.logs import METRICS, begin, carried, carry, install, log, log_exception, metric, redacted
from shared.model import batch

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
W3C = f"00-{TRACE}-{SPAN}-01"
API = "logging.googleapis.com/"
Out = pytest.CaptureFixture[str]


def entries(out: Out) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_PROJECT", "")
    token = logs._context.set(logs._Context())
    yield
    logs._context.reset(token)


# --- entries ---


def test_an_entry_has_what_cloud_logging_reads(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PROJECT", "brand-news")
    begin("track", {"traceparent": W3C})
    log("WARNING", "Zoë said “no”", campaign="C-0001", windows=3)
    line = capsys.readouterr().out
    assert line.isascii() and line.count("\n") == 1
    entry = json.loads(line)
    span = entry.pop(f"{API}spanId")
    assert re.fullmatch("[0-9a-f]{16}", span) and span != SPAN
    assert datetime.now(UTC) - datetime.fromisoformat(entry.pop("time")) < timedelta(minutes=1)
    assert entry == {
        "severity": "WARNING",
        "message": "Zoë said “no”",
        "step": "track",
        f"{API}trace": f"projects/brand-news/traces/{TRACE}",
        f"{API}trace_sampled": True,
        f"{API}labels": {"step": "track", "request": TRACE, "parent": SPAN},
        "campaign": "C-0001",
        "windows": 3,
    }


def test_without_a_project_the_trace_is_the_bare_id(capsys: Out) -> None:
    begin("track", {"traceparent": W3C})
    log("INFO", "x")
    assert entries(capsys)[0][f"{API}trace"] == TRACE


def test_outside_a_request_there_is_no_trace_and_nothing_to_carry(capsys: Out) -> None:
    log("INFO", "x")
    [entry] = entries(capsys)
    assert set(entry) == {"severity", "message", "time", "step"}
    assert carried() == {}


def test_what_cannot_be_encoded_does_not_break_a_request(capsys: Out) -> None:
    log("INFO", "half a pair: \ud800", odd=object(), path=b"\xff", many=(1, {2: 3}))
    [entry] = entries(capsys)
    assert entry["message"] == "half a pair: \ud800" and entry["many"] == [1, {"2": 3}]


# --- the trace ---

FOUND = [
    ({"traceparent": W3C}, (TRACE, SPAN, True)),
    ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, (TRACE, SPAN, False)),
    ({"traceparent": f"00-{TRACE}-{SPAN}-03"}, (TRACE, SPAN, True)),
    ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"}, (TRACE, SPAN, True)),
    ({"traceparent": W3C, "x-cloud-trace-context": f"{'1' * 32}/2;o=0"}, (TRACE, SPAN, True)),
    ({"traceparent": "x", "x-cloud-trace-context": f"{TRACE.upper()}/17;o=1"}, (TRACE, f"{17:016x}", True)),
    ({"x-cloud-trace-context": f"{TRACE}/17"}, (TRACE, f"{17:016x}", False)),
    ({"x-cloud-trace-context": f"{TRACE};o=1"}, (TRACE, "", True)),
    ({"x-cloud-trace-context": TRACE}, (TRACE, "", False)),
]
MALFORMED = [
    "",
    "x",
    W3C.upper(),
    W3C + "-more",
    W3C + "\n",
    " " + W3C,
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-1",
    f"00-{TRACE[1:]}-{SPAN}-01",
    f"00-{TRACE}{TRACE}-{SPAN}-01",
    "00-ada@example.com-" + "x" * 5000,
    f"{TRACE}/{'9' * 30};o=1",
    f"{'0' * 32}/1;o=1",
    f"{TRACE}/x",
    f"{TRACE}/٣",
]


@pytest.mark.parametrize(("headers", "found"), FOUND)
def test_a_callers_trace_goes_on(headers: dict[str, str], found: tuple[str, str, bool], capsys: Out) -> None:
    begin("x", headers)
    log("INFO", "x")
    [entry] = entries(capsys)
    assert (entry[f"{API}trace"], entry[f"{API}labels"].get("parent", ""), entry[f"{API}trace_sampled"]) == found


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_trace_starts_a_new_one(text: str) -> None:
    seen = set()
    for headers in ({"traceparent": text}, {"x-cloud-trace-context": text}, {}):
        begin("x", headers)
        [(name, made)] = carried().items()
        assert name == "traceparent" and re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", made)
        seen.add(made.split("-")[1])
    assert len(seen) == 3 and TRACE not in seen


@given(st.text(max_size=80))
def test_any_header_is_survived(text: str) -> None:
    begin("x", {"traceparent": text, "x-cloud-trace-context": text})
    assert carried()


def test_a_request_is_carried_through_a_message(capsys: Out) -> None:
    begin("subscribe", {"traceparent": W3C})
    attributes = carried()
    assert attributes["traceparent"].startswith(f"00-{TRACE}-") and attributes["traceparent"].endswith("-01")
    ours = attributes["traceparent"].split("-")[2]
    begin("send_batch", {})
    carry(attributes, message_id="17", attempt="2")
    log("INFO", "x")
    [entry] = entries(capsys)
    labels = {"step": "send_batch", "request": TRACE, "message_id": "17", "attempt": "2", "parent": ours}
    assert (entry[f"{API}trace"], entry[f"{API}labels"], entry["step"]) == (TRACE, labels, "send_batch")
    assert entry[f"{API}spanId"] not in (SPAN, ours)
    assert carried()["traceparent"].split("-")[1] == TRACE


@pytest.mark.parametrize("attributes", [{}, *({"traceparent": text} for text in MALFORMED)])
def test_a_message_that_carries_nothing_keeps_the_pushs_own_trace(attributes: dict[str, str]) -> None:
    begin("record", {"traceparent": W3C})
    carry(attributes, message_id="1")
    assert carried()["traceparent"].split("-")[1] == TRACE


async def test_concurrent_requests_do_not_mix(capsys: Out) -> None:
    async def request(n: int) -> None:
        begin(f"step{n}", {"traceparent": f"00-{n + 1:032x}-{SPAN}-01"})
        for _ in range(3):
            await asyncio.sleep(0)
            log("INFO", str(n))

    await asyncio.gather(*(asyncio.create_task(request(n)) for n in range(50)))
    found = entries(capsys)
    assert len(found) == 150
    for entry in found:
        n = int(entry["message"])
        assert (entry["step"], entry[f"{API}trace"]) == (f"step{n}", f"{n + 1:032x}")


# --- metrics ---


def test_a_metric_is_an_entry(capsys: Out) -> None:
    metric("batch", {"mails_sent": 90, "mails_failed": 2}, kind="campaign", campaign="C-0001")
    [entry] = entries(capsys)
    assert (entry["severity"], entry["message"]) == ("INFO", "batch")
    assert entry["metrics"] == {"mails_sent": 90, "mails_failed": 2}
    assert (entry["kind"], entry["campaign"]) == ("campaign", "C-0001")


@pytest.mark.parametrize(
    ("values", "fields"), [({"mails": 1}, {"kind": "x"}), ({"mails_sent": 1, "x": 2}, {"kind": "x"}), ({"mails_sent": 1}, {})]
)
def test_a_metric_nobody_would_count_is_refused(values: dict[str, float], fields: dict[str, Any], capsys: Out) -> None:
    with pytest.raises(ValueError):
        metric("x", values, **fields)
    assert entries(capsys) == []


def test_every_state_of_the_ledger_has_its_metric() -> None:
    assert {name.removeprefix("mails_") for name in METRICS if name.startswith("mails_")} == {*batch.END_STATES, "deferred"}


# --- errors ---


def test_an_unexpected_error_is_one_for_error_reporting(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_SERVICE", "send-batch")
    monkeypatch.setattr(logs, "_REVISION", "send-batch-00007-abc")
    try:
        raise ZeroDivisionError("for ada@example.com")
    except ZeroDivisionError as error:
        log_exception("unexpected error", error, method="POST", url="/track/k/…", responseStatusCode=500)
    [entry] = entries(capsys)
    assert entry["@type"] == "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    assert (entry["severity"], entry["message"]) == ("ERROR", "unexpected error")
    assert entry["serviceContext"] == {"service": "send-batch", "version": "send-batch-00007-abc"}
    assert entry["context"] == {"httpRequest": {"method": "POST", "url": "/track/k/…", "responseStatusCode": 500}}
    stack = entry["stack_trace"]
    assert stack.startswith("Traceback (most recent call last):\n") and 'test_logs.py", line ' in stack
    assert stack.endswith("ZeroDivisionError: for [address]\n") or "[address]" in stack.splitlines()[-1]


def test_off_cloud_run_the_service_is_the_step(capsys: Out) -> None:
    begin("record", {})
    log_exception("x", ValueError("x"))
    assert entries(capsys)[0]["serviceContext"]["service"] == "record"


# --- addresses and tokens ---

PLAIN = [
    "ada@example.com",
    "<ada@example.com>",
    "o'brien@example.com",
    "'ada@example.com'",
    "ada+news=x%y@example.com",
    "ada@localhost",
    "ada@[192.0.2.1]",
    "ada@[IPv6:2001:db8::1]",
    "ada@bücher.example",
    "ада@пример.рф",
    "ada@xn--bcher-kva.example",
    "ada＠example.com",
    "ada﹫example.com",
    "ada@example。com",
    '"ada b"@example.com',
    '"ada\\"b"@example.com',
    '"ada@b"@example.com',
    "ada @ example.com",
    "ada@\r\n example.com",
    "ada\t@example.com",
    "ada(work)@example.com",
    "ada%40example.com",
    "ada%2540example.com",
    "ada%EF%BC%A0example.com",
    "ada\\u0040example.com",
    "ada\\\\u0040example.com",
    "ada\\x40example.com",
    "ada&#64;example.com",
    "ada&#064;example.com",
    "ada&#x40;example.com",
    "ada&commat;example.com",
    "ada&amp;#64;example.com",
    "ada=40example.com",
    "ada+40example.com",
    "ada=40localhost",
    "RCPT TO ada=40example",
    "/confirm?mail=ada%40example.com&next=1",
    "ada=example.com@bounces.brand.example",
    json.dumps({"to": "ada@bücher.example"}),
    json.dumps(json.dumps({"to": '"ada b"@example.com'})),
    repr(b"RCPT TO:<ada@example.com>\r\n"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_an_address_is_taken_away_however_it_is_written(text: str, capsys: Out) -> None:
    for given_ in (text, f"before {text} after", f"before {text}, after"):
        assert "[address]" in redacted(given_)
        log("INFO", given_, field=given_, nested={"list": [given_, (given_,)]}, **{given_: given_})
        line = capsys.readouterr().out
        json.loads(line)
        for part in ("ada", "ада", "brien", "example", "bücher", "пример", "localhost", "192.0.2.1"):
            assert part not in json.dumps(json.loads(line), ensure_ascii=False), line


_LOCAL = st.text(st.sampled_from("abzAZ019!#$%&'*+/=?^_`{|}~.-éж"), max_size=20).map(lambda text: f"Zq{text}")
_QUOTED = st.text(st.characters(exclude_characters='"\\@\r\n', exclude_categories=["Cs", "Cc"]), max_size=20).map(
    lambda text: f'"Zq{text}"'
)
_DOMAIN = st.from_regex(r"([a-zéж0-9-]{0,12}\.){0,3}Xj", fullmatch=True)
_WRITTEN: list[Callable[[str], str]] = [
    str,
    lambda text: f"<{text}>",
    lambda text: f"no ({text}), sorry",
    repr,
    lambda text: json.dumps({"to": text}),
    lambda text: json.dumps(json.dumps([text], ensure_ascii=False)),
    quote,
    lambda text: quote(quote(text, safe="")),
    lambda text: text.replace("@", "\\u0040"),
]
_UNQUOTED: list[Callable[[str], str]] = [html.escape, lambda text: text.replace("@", "&#64;")]


@given(
    st.one_of(
        st.tuples(_LOCAL, _DOMAIN, st.sampled_from([*_WRITTEN, *_UNQUOTED])),
        st.tuples(_QUOTED, _DOMAIN, st.sampled_from(_WRITTEN[:1] + _WRITTEN[4:5] + _WRITTEN[6:8])),
    ),
    st.text(max_size=20).filter(lambda text: "Zq" not in text and "Xj" not in text),
)
def test_neither_end_of_any_address_is_left(parts: tuple[str, str, Callable[[str], str]], around: str) -> None:
    local, domain, write = parts
    found = redacted(f"{around} {write(f'{local}@{domain}')} {around}")
    assert "Zq" not in found and "Xj" not in found


@given(st.text())
def test_no_sign_of_an_address_is_ever_left(text: str) -> None:
    assert not re.search("[@＠﹫]|%40", redacted(f"{text} %40 {text}"))


@pytest.mark.parametrize(
    "text",
    [
        "C-0001~q6urq6urq6urq6urq6urqw~2026-01-01",
        "refused: no bearer token",
        f"projects/brand-news/traces/{TRACE}",
        "shared.adapters.sqlite_store.open_or_make_the_filing",
        "count=405, share=40.5%, 20 % & more; a+40",
        "nothing to see: here (really) 'at all' \"quoted\"",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/o/C-1~q6urq6urq6urq6urq6urqw~.AbCdEfGhIjKlMnOpQrStUA gone", "/o/C-1~q6urq6urq6urq6urq6urqw~.[token] gone"),
        ("/k/C-1~x~.abcdefghijklmnopqrs_2A/1.aHR0cA.abcdefghijklmnopqrs-2g", "/k/C-1~x~.[token]/1.aHR0cA.[token]"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl refused", "[token] refused"),
        ("authorization: bearer 0123456789abcdef", "authorization: [token]"),
        ("got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.SIGNATURE_REMOVED_BY_GOOGLE", "got [token]"),
        ("key ya29.a0AfH6SMBx-_y", "key [token]"),
        ("/o/x.AbCdEfGhIjKlMnOpQrStUA-x gone", "/o/x.[token]-x gone"),
        ("/o/x.AbCdEfGhIjKlMnOpQrStUA_x gone", "/o/x.[token]_x gone"),
        ("/o/x%2EAbCdEfGhIjKlMnOpQrStUA gone", "/o/x.[token] gone"),
        ("/o/x%252eAbCdEfGhIjKlMnOpQrStUA gone", "/o/x.[token] gone"),
        ("/o/x\\u002eAbCdEfGhIjKlMnOpQrStUA gone", "/o/x.[token] gone"),
        ("/o/x\\\\u002EAbCdEfGhIjKlMnOpQrStUA gone", "/o/x.[token] gone"),
        ("eyJhbGciOiJSUzI1NiJ9%2EeyJpc3MiOiJ4In0%2Ec2lnbmF0dXJl refused", "[token] refused"),
        ("ya29%2Ea0AfH6SMBx-_y", "[token]"),
        ("authorization: BeArEr 0123456789abcdef", "authorization: [token]"),
        ("authorization: Bearer\t0123456789abcdef", "authorization: [token]"),
        ("authorization: bEARER\t0123456789abcdef", "authorization: [token]"),
        ("authorization: Bearer%200123456789abcdef", "authorization: [token]"),
        (r"authorization: Bearer\t0123456789abcdef", "authorization: [token]"),
    ],
)
def test_tokens_are_worth_nothing_afterwards(text: str, left: str, capsys: Out) -> None:
    assert redacted(text) == left
    log("INFO", text)
    assert entries(capsys)[0]["message"] == left


@pytest.mark.parametrize("unit", ["nothing to see here ", "see ada@example.com ", "x", "\u00fc", "o/x.AbCdEfGhIjKlMnOpQrStUA "])
def test_a_long_text_is_cut(unit: str, capsys: Out) -> None:
    started = datetime.now(UTC)
    log("INFO", unit * (4_000_000 // len(unit)), field=unit * 20_000)
    line = capsys.readouterr().out
    entry = json.loads(line)
    for text in (entry["message"], entry["field"]):
        assert len(text) <= 16_384 and text.endswith("[cut]") and text[:20] == redacted(unit * 20)[:20]
    assert datetime.now(UTC) - started < timedelta(seconds=5)


@pytest.mark.parametrize("secret", ["zoe@example.com", '"zoe b"@example.com', "zoe @ example.com", "o/x.AbCdEfGhIjKlMnOpQrStUA"])
def test_nothing_is_left_of_what_the_cut_divides(secret: str, capsys: Out) -> None:
    for start in range(16_384 - 40, 16_384 + 10):
        log("INFO", "x " * (start // 2) + " " * (start % 2) + secret + " x" * 2_000)
        line = capsys.readouterr().out
        assert "zoe" not in line and "AbCd" not in line, start


def test_a_text_under_the_limit_stays_whole(capsys: Out) -> None:
    log("INFO", "x " * 8_192)
    assert entries(capsys)[0]["message"] == "x " * 8_192


def test_a_long_text_is_read_once() -> None:
    started = datetime.now(UTC)
    redacted(
        "x" * 200_000 + " @ " + '"' * 2_000 + "\\" * 50_000 + "%25" * 20_000 + "&amp;" * 20_000 + "=40" * 20_000 + "a=40" * 20_000
    )
    redacted("bearer " * 20_000 + "Bearer" + "\\" * 50_000 + "%25" * 20_000 + "eyJ" * 20_000 + "\\" * 50_000 + "u002e" * 9_000)
    assert datetime.now(UTC) - started < timedelta(seconds=5)


# --- other people's entries ---


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Iterator[None]:
    """As at the first request of a process whose server has set its own handlers up; undone afterwards."""
    names = [None, *logs._SERVERS, *logs._ACCESS]
    for logger in map(logging.getLogger, names):
        for attribute in ("handlers", "propagate", "disabled"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    theirs = logging.StreamHandler()
    for logger in map(logging.getLogger, names):
        logger.handlers, logger.propagate = [theirs], False
    monkeypatch.setattr(logs, "_installed", False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        install()
        yield
        logging.captureWarnings(False)


@pytest.mark.usefixtures("installed")
def test_a_librarys_record_is_an_entry_of_the_request(capsys: Out) -> None:
    begin("launch", {"traceparent": W3C})
    install()  # again: nothing
    for name in ("googleapiclient.http", "uvicorn.error", "gunicorn.error", "asyncio"):
        logging.getLogger(name).error("no answer for %s from %s", "ada@example.com", "/o/x.AbCdEfGhIjKlMnOpQrStUA")
    captured = capsys.readouterr()
    assert captured.err == ""
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert [entry["logger"] for entry in found] == ["googleapiclient.http", "uvicorn.error", "gunicorn.error", "asyncio"]
    for entry in found:
        assert (entry["severity"], entry["step"], entry[f"{API}trace"]) == ("ERROR", "launch", TRACE)
        assert entry["message"] == "no answer for [address] from /o/x.[token]"


@pytest.mark.usefixtures("installed")
def test_a_librarys_error_is_reported_with_its_stack(capsys: Out) -> None:
    try:
        raise OSError("zoe@example.com")
    except OSError:
        logging.getLogger("asyncio").exception("a task failed")
    [entry] = entries(capsys)
    assert entry["@type"].endswith("ReportedErrorEvent") and "OSError" in entry["stack_trace"]
    assert "zoe" not in json.dumps(entry)


@pytest.mark.usefixtures("installed")
def test_requests_are_not_logged_by_the_servers(capsys: Out) -> None:
    logging.getLogger("uvicorn.access").warning('"%s %s"', "GET", "/o/token")
    logging.getLogger("gunicorn.access").warning("GET /o/token")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.usefixtures("installed")
def test_warnings_and_mistaken_records_are_entries_too(capsys: Out) -> None:
    warnings.warn("ada@example.com is deprecated", stacklevel=1)
    logs._Handler().handle(logging.LogRecord("x", logging.WARNING, __file__, 1, "%d", ("ada@example.com",), None))
    captured = capsys.readouterr()
    assert captured.err == ""
    first, second = [json.loads(line) for line in captured.out.splitlines()]
    assert (first["logger"], first["severity"]) == ("py.warnings", "WARNING")
    assert "[address]" in first["message"] and "[address]" in second["message"] and "ada@" not in captured.out
