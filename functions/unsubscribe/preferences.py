"""The preference centre: one read to show it, and one more and one commit to save it, with the evidence of what was shown and chosen.

It changes what somebody gets, never whether: it takes nobody off the list, and nobody who has left comes back by it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.contention import outlast
from shared.errors import BadInput
from shared.http import Request, Response
from shared.model.face import Topic
from shared.model.sid import masked
from shared.model.subscriber import LIFTABLE, MAX_NAME, mailable
from shared.pages import languages
from shared.pages.faces import Shown
from shared.pages.forms import TOPIC
from shared.ports import Create, Merge

from .choices import FREQUENCIES, SHOWN, Choice, changed, chosen, paused, wants
from .desk import PAGES, Desk, fields_of

NAME = "preferences"  # of the page


async def show(desk: Desk, request: Request, token: str) -> Response:
    ref = desk.mail_of(request, token)
    found = await desk.store.get(desk.paths.subscriber(ref.sid)) if ref else None
    return await _drawn(desk, request, token, found.data if found else {})


async def save(desk: Desk, request: Request, token: str) -> Response:
    """Keep what was chosen, and show it. A repeat changes nothing. Raises Unavailable."""
    ref, fields, shown = desk.mail_of(request, token), fields_of(request), await desk.faces.get()
    if ref is None:
        return await desk.dead(request)

    async def once() -> Response:
        consent = secrets.token_hex(8)
        found = await desk.store.get(desk.paths.subscriber(ref.sid))
        if found is None or not mailable(found.data):
            return await _drawn(desk, request, token, found.data if found else {})
        try:
            choice = chosen(fields, found.data, [topic.tag for topic in shown.tenant.face.topics], _offered(shown))
        except BadInput as error:
            return await _drawn(desk, request, token, found.data, fields=fields, problem=error)
        now = desk.clock.now()
        fresh = changed(found.data, choice, now, consent)
        if not fresh:  # also when our own reply was lost
            return await _drawn(desk, request, token, found.data, saved=True)
        evidence = _evidence(desk, request, shown, found.data, choice, ref.campaign, now)
        kept = Create(desk.paths.consent(ref.sid, consent), evidence)
        await desk.store.commit([Merge(found.path, fresh, if_version=found.version), kept])
        return await _drawn(desk, request, token, {**found.data, **fresh}, saved=True)

    return await outlast(once)


async def gone(desk: Desk, request: Request, token: str, held: Mapping[str, Any]) -> Response | None:
    """The answer for whoever is not on the list (any more), by their document; None for whoever is."""
    suppressed = held.get("suppressed") or ()
    if not held.get("address") or "erased" in suppressed or not (suppressed or mailable(held)):
        return await desk.dead(request)
    return await away(desk, request, token, held) if suppressed else None


async def away(desk: Desk, request: Request, token: str, held: Mapping[str, Any]) -> Response:
    """For somebody who gets no mails. Whom no mail can reach can come back by none, and can have no copy mailed."""
    reached = LIFTABLE.issuperset(held["suppressed"])
    return await desk.draw(
        request,
        "away.html",
        name="away",
        reader=held.get("language", ""),
        address=masked(held["address"]),
        reached=reached,
        again=f"{desk.base}/subscribe",
        export=desk.url("export", token) if reached else "",
        erase=desk.url("erase", token),
    )


def _offered(shown: Shown) -> list[str]:
    """Languages that may be chosen: those of the pages, and the one that mails are in by themselves."""
    return list(dict.fromkeys([*languages.OWN, shown.tenant.identity.language]))


def _evidence(
    desk: Desk, request: Request, shown: Shown, held: Mapping[str, Any], choice: Choice, campaign: str, at: int
) -> dict[str, Any]:
    """What was on the page, in its very words, and what was chosen of it; never the address."""
    language = PAGES.language(shown, request, NAME, held.get("language", ""))
    topics = [topic for topic in shown.tenant.face.topics if topic.tag in choice.topics]
    told = [f"{topic.label}: {topic.about}" if topic.about else topic.label for topic in topics]
    often = [PAGES.text(language, f"often.{one or 'every'}") for one in FREQUENCIES]
    legends = [PAGES.text(language, f"preferences.{part}") for part in ("topics", "often")]
    text = "\n".join([*([legends[0], *told] if told else []), legends[1], *often])
    requested = {
        "name": choice.name,
        "language": choice.language,
        "offered": list(choice.topics),
        "topics": [tag for tag, on in choice.topics.items() if on],
        "frequency": choice.frequency,
        "do": choice.do,
    }
    return {**desk.evidence(request, NAME, text, NAME, language, campaign, at), "requested": requested}


async def _drawn(
    desk: Desk,
    request: Request,
    token: str,
    held: Mapping[str, Any],
    *,
    fields: Mapping[str, str] | None = None,
    problem: BadInput | None = None,
    saved: bool = False,
) -> Response:
    """The page for a subscriber's document. `fields`: what was typed and is not kept, for its `problem`."""
    if answer := await gone(desk, request, token, held):
        return answer
    reader = held.get("language", "")
    shown, now = await desk.faces.get(), desk.clock.now()
    typed = fields or {}
    topics = [(topic, _ticked(typed, held, topic)) for topic in shown.tenant.face.topics]
    speaks = PAGES.language(shown, request, NAME, reader)
    return await desk.draw(
        request,
        "preferences.html",
        400 if problem else 200,
        name=NAME,
        reader=reader,
        problem=str(problem) if problem else "",
        field=problem.field if problem else "",
        saved=saved,
        address=masked(held["address"]),
        first=typed.get("name", held.get("name", ""))[: 2 * MAX_NAME],
        spoken=typed.get("language", reader),
        tongues=_named(dict.fromkeys([*_offered(shown), reader])),
        topics=topics,
        tags=",".join(topic.tag for topic, _ in topics),
        alone=bool(topics) and not any(ticked for _, ticked in topics),
        frequency=typed.get("frequency", held.get("frequency", "")),
        frequencies=FREQUENCIES,
        until=_day(speaks, paused(held, now)),
        leave=desk.url("", token),
        export=desk.url("export", token),
        erase=desk.url("erase", token),
    )


def _ticked(typed: Mapping[str, str], held: Mapping[str, Any], topic: Topic) -> bool:
    return TOPIC + topic.tag in typed if SHOWN in typed else wants(held, topic.tag)


def _named(codes: Mapping[str, None]) -> dict[str, str]:
    """Language -> what it calls itself; a code that we have no name for stands for itself."""
    return {code: languages.OWN.get(code.lower(), code) for code in codes if code}


def _day(language: str, at: int) -> str:
    """A day (UTC) in words; "" for 0."""
    if not at:
        return ""
    day = datetime.fromtimestamp(at / 1000, UTC)
    month = PAGES.text(language, "months").split()[day.month - 1]
    return PAGES.text(language, "date", day=day.day, month=month, year=day.year)
