"""The two files of what is kept of a reader: data.json for programs, data.csv for a spreadsheet (RFC 4180, UTF-8 with a byte order mark, no
formulas). Both say the same. Fields have plain names, times are RFC 3339 in UTC."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.model.cells import neutralise
from shared.ports import Attachment, Expiry

from .personal import Held

VERSION: Final = 1
MOST: Final = 2_000_000  # bytes of both
ABOUT: Final = (
    "All that this sender's mailing system keeps about you: your subscriber record, what you agreed to, why you are not mailed if that is "
    "so, and each mail with what was heard of it. Times are in UTC, amounts of orders in millionths. Text that a spreadsheet could take "
    "for a formula has an apostrophe in front in data.csv. Not in here: notes that go by themselves within days, and what mail services "
    "keep."
)
HEADER: Final = ("Section", "Entry", "Field", "Value")
_NAMES: Final = {  # ours -> plain; all others are plain already
    "asked": "address_of_last_sign_up",
    "asked_at": "last_sign_up_at",
    "wanted": "last_sign_up",
    "suppressed": "not_mailed_because",
    "reasons": "not_mailed_because",
    "bounced_at": "bounced_for_good_at",
    "delivered_at": "last_delivered_at",
    "soft": "soft_bounces_by_day",
    "lifted": "reason_lifted_as_of",
    "located": "place_by_ip_address",
    "seen": "countries_last_seen_in",
    "engaged_at": "last_opened_or_clicked_at",
    "engaged": "last_click_by_hour_of_day",
    "opens": "last_open_by_week",
    "clicks": "last_click_by_week",
    "machines": "machine_hits_by_week",
    "agent": "browser",
    "network": "shortened_ip_address",
    "message": "message_id",
    "text": "text_shown",
    "heard": "heard_of_it",
    "send": "send_or_day",
}
_OF_TIMES: Final = frozenset({"soft", "lifted", "seen", "engaged", "opens", "clicks", "machines", "hits"})  # maps of nothing else
_KEYED: Final = _OF_TIMES | {"topics", "confirmations", "conversions"}  # maps whose keys are no names of fields
_TIMES: Final = frozenset({"at", "paused_until"})


def attachments(held: Held) -> tuple[Attachment, ...]:
    """Both files, together MOST bytes at most; what they leave out for that is said in them, and data.csv goes last."""
    while True:
        said = document(held)
        data = _json(said)
        sheet = _csv(said) if len(data) < MOST else data  # which is about as large
        if len(data) + len(sheet) <= MOST:
            return Attachment("data.json", "application/json", data), Attachment("data.csv", "text/csv", sheet)
        shorter = _shorter(held, MOST / (len(data) + len(sheet)))
        if shorter is None:
            told = replace(
                held, left_out=[*held.left_out, "data.csv is left out: both files together would be too large for a mail."]
            )
            return (Attachment("data.json", "application/json", _json(document(told))),)
        held = shorter


def document(held: Held) -> dict[str, Any]:
    """What data.json says."""
    return {
        "about": ABOUT,
        "version": VERSION,
        "made_at": moment(held.at),
        "subscriber_id": held.sid,
        "left_out": held.left_out,
        "subscriber": _plain(held.subscriber),
        "suppression": _plain(held.suppression),
        "lifts": [_plain(one) for one in held.lifts],
        "consents": [_plain(one) for one in held.consents],
        "mails": [_plain(one) for one in held.mails],
    }


def moment(at: float) -> str:
    """`at` (ms) as RFC 3339; "" for none, and for what no calendar holds."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at > 0 else ""
    except (OverflowError, ValueError, OSError):
        return ""


def _shorter(held: Held, share: float) -> Held | None:
    """Less of the longest list, to make about `share` of it all; None when nothing can be left out any more."""
    for name, what in (("mails", "mails, the newest"), ("consents", "sign-ups and consents"), ("lifts", "lifts")):
        rows = getattr(held, name)
        if rows:
            kept = rows[: int(len(rows) * share * 0.9)]
            sentence = f"Of the {what}, {len(kept):,} are in it: all would be too much for a mail."
            others = [one for one in held.left_out if not one.startswith(f"Of the {what}")]
            return replace(held, **{name: kept}, left_out=[*others, sentence])
    return None


def _plain(data: Mapping[str, Any], times: bool = False, keyed: bool = False) -> dict[str, Any]:
    """`times`: all numbers in it are times; `keyed`: its keys stay as they are."""
    named = {name: name if keyed else _NAMES.get(name, name) for name in data}
    return {named[name]: _value(name, value, times or (name in _OF_TIMES and not keyed)) for name, value in data.items()}


def _value(name: str, value: Any, times: bool) -> Any:
    if isinstance(value, Mapping):
        if name == "heard":  # names of events, plain as they are
            return {event: _value(event, told, event in _OF_TIMES) for event, told in value.items()}
        return _plain(value, times, name in _KEYED)
    if isinstance(value, Expiry):
        return moment(value.at)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float) and (times or name in _TIMES or name.endswith("_at")):
        return moment(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_value("", one, times) for one in value]
    return value


def _json(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"


def _csv(said: Mapping[str, Any]) -> bytes:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(HEADER)
    for row in _rows(said):
        rows.writerow([neutralise(cell) for cell in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _rows(said: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for section, value in said.items():
        if isinstance(value, Mapping):
            for field, text in _flat(value):
                yield section, "", field, text
        elif section in ("lifts", "consents", "mails"):
            for one in value:
                entry = str(one.get("id") or f"{one.get('campaign', '')} {one.get('send_or_day', '')}".strip())
                for field, text in _flat(one):
                    yield section, entry, field, text
        else:
            yield section, "", "", _text(value)


def _flat(data: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Each value with the path of its field: "place_by_ip_address.city"."""
    for name, value in data.items():
        path = f"{within}.{name}" if within else name
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
