"""One JSON object per line on standard output, in the shape Cloud Logging understands
(https://cloud.google.com/logging/docs/structured-logging). Google's client library for it costs 431 ms of a cold start.

Three promises, whoever logs (the steps, or a library through Python's logging, see `install`):

    no address, link token or bearer token gets through: `redacted`
    every entry of a request holds its trace, its span and its request id: `begin`
    a request id outlives its request: what is published carries it (`carried`), whoever consumes it takes it up (`carry`)

The request id *is* the trace id of W3C Trace Context, so the platform's tools follow it without help from us. A visitor may choose
it by a header, as on every traced site: it is 32 hex digits or it is not taken, and nothing is decided by it.

Metrics are entries too (`metric`): the platform counts them by METRICS, and no client library or extra call is needed.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

# Not settings: Cloud Run sets these (https://cloud.google.com/run/docs/container-contract), and an entry must be possible before a
# step's own settings are known, above all when they are wrong.
_SERVICE, _REVISION = os.environ.get("K_SERVICE", ""), os.environ.get("K_REVISION", "")
_PROJECT = os.environ.get("GOOGLE_CLOUD_PROJECT", "")

_TRACE, _SPAN = "logging.googleapis.com/trace", "logging.googleapis.com/spanId"
_SAMPLED, _LABELS = "logging.googleapis.com/trace_sampled", "logging.googleapis.com/labels"
_REPORTED = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
_ENCODER = json.JSONEncoder(default=str)  # ASCII: what is not a character (half a surrogate pair) cannot break the writing


class Metric(NamedTuple):
    """`unit` as in UCUM ("1" counts, "ms"); `labels`: the fields an entry must have for it, besides `step`."""

    description: str
    unit: Literal["1", "ms"]
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, Metric]] = {
    "mails_sent": Metric("Mails that a provider accepted", "1", ("kind",)),
    "mails_failed": Metric("Mails refused, given up, or impossible to make", "1", ("kind",)),
    "mails_deferred": Metric("Hand-overs put off until later; a mail may be put off several times", "1", ("kind",)),
    "mails_unknown": Metric("Mails handed over whose answer was never seen", "1", ("kind",)),
    "mails_suppressed": Metric("Mails not made because the reader is suppressed", "1", ("kind",)),
    "mails_skipped": Metric("Mails not made because the reader left the segment or joined too late", "1", ("kind",)),
    "mails_cancelled": Metric("Mails not made because the campaign was cancelled", "1", ("kind",)),
    "provider_latency": Metric("A window of mails, from hand-over to the last answer", "ms", ("kind",)),
    "push_latency": Metric("Handling one pushed message", "ms", ("status",)),
    "push_lag": Metric("From publishing a message to handling it", "ms", ("status",)),
    "request_latency": Metric("Public requests that took over a second or failed on our side; no others", "ms", ("status",)),
    "refused": Metric("Webhooks, pushes and ticks without a valid proof of their sender", "1", ("status",)),
    "single_mails_held": Metric(
        "Confirmations and links that wait: too many were asked for from one network, to one domain, or to one mailbox's spellings",
        "1",
        ("kind",),
    ),
    "dead_tokens": Metric("Links whose proof does not hold, or no longer", "1", ("kind",)),
    "captchas_unchecked": Metric("Sign-ups let through because their CAPTCHA could not be judged", "1", ("kind",)),
    "sign_ups_unproven": Metric("Form posts that proved nothing and were asked for one more click", "1", ("kind",)),
    "tags_refused": Metric("Tags that sign-ups named and the Settings do not let them set", "1", ("kind",)),
    "sign_ups_held_off": Metric("Sign-ups told to come again because too many came at once", "1"),
    "replays": Metric("Callbacks of providers that had been taken before, and published nothing", "1", ("provider",)),
    "import_accepted": Metric("Rows of the Import tab that were taken in", "1"),
    "import_rejected": Metric("Rows of the Import tab that were not", "1"),
    "events_delivered": Metric("Events that an endpoint of the operator's has taken", "1", ("endpoint",)),
    "events_failed": Metric("Attempts to post an event to an endpoint that failed; they are made again", "1", ("endpoint",)),
    "events_dropped": Metric("Events that were not posted because their endpoint is disabled", "1", ("endpoint",)),
    "endpoints_disabled": Metric("Endpoints that get no more events: gone, or failing for days", "1", ("endpoint",)),
    "swept_batches": Metric("Batches that nobody held any more and the tick published again", "1"),
}


class _Context(NamedTuple):
    """Whose entries these are. `parent`: the span of the caller or publisher; `labels`: what is known besides."""

    step: str = ""
    trace: str = ""
    span: str = ""
    parent: str = ""
    sampled: bool = False
    labels: Mapping[str, str] = {}


_context: ContextVar[_Context] = ContextVar("context", default=_Context())  # noqa: B039 (immutable, but for a mapping nobody writes)


# --- the request ----------------------------------------------------------------------------------------------------------


def begin(step: str, headers: Mapping[str, str]) -> None:
    """Start a request's entries: its trace comes from the caller's `traceparent`, else `X-Cloud-Trace-Context`; a missing or
    malformed one starts a new trace and breaks nothing."""
    install()
    trace, parent, sampled = _w3c(headers.get("traceparent")) or _google(headers.get("x-cloud-trace-context")) or _NOTHING
    _context.set(_Context(step, trace or f"{_bits(128):032x}", f"{_bits(64):016x}", parent, sampled))


def carry(attributes: Mapping[str, str], **labels: str) -> None:
    """Go on with the request that published a message; `labels` mark its entries. Only for a message whose push was authenticated."""
    here = _context.get()
    trace, parent, sampled = _w3c(attributes.get("traceparent")) or (here.trace, here.parent, here.sampled)
    _context.set(_Context(here.step, trace, here.span, parent, sampled, labels))


def carried() -> dict[str, str]:
    """The attributes of a message published now, by which its consumer's entries are found beside ours."""
    here = _context.get()
    return {"traceparent": f"00-{here.trace}-{here.span}-{here.sampled:02x}"} if here.trace else {}


_Parent = tuple[str, str, bool]  # trace id, span id, sampled
_NOTHING: _Parent = ("", "", False)
_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_GOOGLE = re.compile(r"(?!0{32})([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]{1,3}))?")
_bits = random.getrandbits  # ids must differ, not be secret


def _w3c(text: str | None) -> _Parent | None:
    """https://www.w3.org/TR/trace-context/#traceparent-header; later versions may add parts, version 00 may not."""
    found = _W3C.fullmatch(text) if text else None
    if found is None or (found[4] and found[0].startswith("00")):
        return None
    return found[1], found[2], bool(int(found[3], 16) & 1)


def _google(text: str | None) -> _Parent | None:
    """TRACE_ID[/SPAN_ID][;o=OPTIONS], the span in decimal: https://cloud.google.com/trace/docs/trace-context#legacy-http-header"""
    found = _GOOGLE.fullmatch(text) if text else None
    if found is None:
        return None
    span = int(found[2] or 0) & (1 << 64) - 1
    return found[1].lower(), f"{span:016x}" if span else "", bool(int(found[3] or 0) & 1)


# --- entries --------------------------------------------------------------------------------------------------------------


def log(severity: Severity, message: str, **fields: Any) -> None:
    """Write one entry. `fields` are ids, numbers and short words."""
    _write(severity, message, fields)


def metric(message: str, values: Mapping[str, float], severity: Severity = "INFO", **fields: Any) -> None:
    """Write one entry that the platform counts: metric name -> value, in its unit. `fields` must hold the labels of each metric, and
    may hold more. Raises ValueError for a name or a label that METRICS does not know of: nobody would count it."""
    for name in values:
        if name not in METRICS:
            raise ValueError(f"{name} is not in METRICS")
        for label in METRICS[name].labels:
            if label not in fields:
                raise ValueError(f"{name} needs the label {label}")
    _write(severity, message, {"metrics": values, **fields})


def log_exception(message: str, error: BaseException, **request: Any) -> None:
    """An unexpected error with its stack, as Error Reporting groups them; `request`: fields of its HttpRequestContext
    (https://cloud.google.com/error-reporting/docs/formatting-error-messages)."""
    _write("ERROR", message, _report(error, request))


def _report(error: BaseException, request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": _REPORTED,
        "serviceContext": {"service": _SERVICE or _context.get().step or "unknown", "version": _REVISION},
        "stack_trace": "".join(traceback.format_exception(error)),
        "context": {"httpRequest": request},
    }


def _write(severity: str, message: str, fields: Mapping[str, Any]) -> None:
    here = _context.get()
    entry: dict[str, Any] = {"severity": severity, "message": message, "time": datetime.now(UTC).isoformat(), "step": here.step}
    if here.trace:
        entry[_TRACE] = f"projects/{_PROJECT}/traces/{here.trace}" if _PROJECT else here.trace
        entry[_SPAN], entry[_SAMPLED] = here.span, here.sampled
        entry[_LABELS] = labels = {"step": here.step, "request": here.trace, **here.labels}
        if here.parent:
            labels["parent"] = here.parent
    entry |= fields
    line = _ENCODER.encode(entry)
    if len(line) > _LONGEST or _suspicious(line):
        line = _ENCODER.encode(_cleaned(entry))
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# --- what must not get through --------------------------------------------------------------------------------------------

# Every way we know to write "@": itself and its wide forms, percent-encoded (also twice), escaped for JSON or Python, as an HTML
# entity, as %EF%BC%A0 (the wide one), in quoted-printable or xtext (RFC 3461) before something like a domain, in quoted-printable
# also between words, where it is no number.
_AT = (
    r"(?:[@＠﹫]|%(?:25){0,4}40|\\{1,8}(?:u0040|x40|U00000040)|&(?:amp;){0,4}(?:#0{0,6}64|#[xX]0{0,6}40|commat);?"
    r"|%(?:25){0,4}[eE][fF]%(?:25){0,4}[bB][cC]%(?:25){0,4}[aA]0|[=+]40(?=[\w-]{1,63}\.\w)|(?<=\w)=40(?=[^\W\d]))"
)
_STOP = r"\s\"<>,:"  # cannot be in an address unless quoted
# 64 octets, each perhaps escaped; the second form: quoted inside JSON inside an entry
_QUOTED = r'"(?:(?:[^"\\]|\\.){0,400}|[^"]{0,400})"'
_ADDRESS = re.compile(rf"(?:{_QUOTED}|(?<![^{_STOP}])[^{_STOP}]*)\s{{0,3}}{_AT}\s{{0,3}}[^{_STOP}]*")
_DOT = r"(?:\.|%(?:25){0,4}2[eE]|\\{1,8}(?:u002[eE]|x2[eE]))"
_SIGNED = r"([A-Za-z0-9_-]{21})[AQgw](?![A-Za-z0-9])"  # by `shared.tokens`; without its signature a token is worth nothing
_SIGNATURE, _PLAIN = re.compile(_DOT + _SIGNED), re.compile(r"\." + _SIGNED)
_SPACE = r"(?:\s|%(?:25){0,4}(?:20|09)|\\{1,8}[nrt])"
_BEARER = re.compile(rf"eyJ[\w-]{{8,}}(?:{_DOT}[\w-]*){{0,2}}|ya29{_DOT}[\w.-]+|(?i:bearer){_SPACE}{{1,8}}[\w.~+/=-]{{16,}}")
_LONGEST = 16_384  # characters of one text that are read and written
_TORN = 1024  # of them dropped at the end of a longer text, since what was cut in two cannot be known for what it is


def redacted(text: str) -> str:
    """`text` without addresses, link tokens and bearer tokens. It rather takes away too much: an "@" never stays."""
    text = _BEARER.sub("[token]", text)
    text = _SIGNATURE.sub(lambda found: ".[token]" if re.search("[A-Z0-9]", found[1]) else found[0], text)
    return _ADDRESS.sub("[address]", text)


def _suspicious(line: str) -> bool:
    """Whether an encoded entry, or a text of one, may hold something to take away; quick, for almost none does."""
    return (
        "@" in line
        or "\\" in line  # where encoded: quotes, line ends and all that is not ASCII
        or "%" in line
        or "&" in line
        or "=40" in line
        or "+40" in line
        or "eyJ" in line
        or "ya29." in line
        or "bearer" in line.lower()
        or _PLAIN.search(line) is not None
    )


def _cleaned(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {key if key == "@type" else _cleaned(str(key)): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
    given = str(value)
    text = given[:_LONGEST]
    if _suspicious(text) or not text.isascii():
        text = redacted(text)
    return text if len(given) <= _LONGEST else text[:-_TORN] + "[cut]"


# --- other people's entries -----------------------------------------------------------------------------------------------

_SERVERS = ("uvicorn", "uvicorn.error", "gunicorn.error")  # they bring handlers of their own
_ACCESS = ("uvicorn.access", "gunicorn.access")  # each request's path, and so its token; Cloud Run logs requests itself
_installed = False


class _Handler(logging.Handler):
    """A library's record as an entry of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # its author's mistake; logging would print the arguments as they are
            message = f"{record.msg} {record.args}"
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name}
        _write(record.levelname, message, fields | _report(error, {}) if error else fields)


def install() -> None:
    """Send Python's logging and its warnings the same way. Called at the first request, for the servers set their handlers up after
    the steps are imported; again it does nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    root = logging.getLogger()
    root.handlers = [*(found for found in root.handlers if type(found) is not logging.StreamHandler), _Handler()]
    for name in _SERVERS:
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True
    for name in _ACCESS:
        logging.getLogger(name).disabled = True
    logging.captureWarnings(True)
