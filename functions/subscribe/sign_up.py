"""Taking a sign-up: two writes, no read, one publish, and the same answer for new, known and suppressed addresses."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from shared import http
from shared.errors import BadInput, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import batch
from shared.model.address import sid_of
from shared.model.paths import CONFIRM, Paths
from shared.pages import forms
from shared.pages.faces import Shown
from shared.ports import Bus, Clock, Create, Geo, Merge, Minimum, Secrets

from . import drawing, origins
from .asked import Asked, Refused, carried, evidence, read
from .captcha import Captcha
from .checks import Verdict, judge
from .coalesce import Coalesced, Full
from .mail_domains import MailDomains

ACCEPTED: Final = "If the address can be mailed, a message with a confirmation link is on its way."
LATER: Final = {"retry-after": "5"}
_REFUSALS: Final[Mapping[str, str]] = {
    "disposable": "Please give an address that you will keep: this domain gives addresses for some minutes only.",
    "role": "Please give an address of your own: this one is read by whoever is on duty.",
    "mx": "This domain takes no mail. Please look for a typing mistake.",
}


@dataclass(frozen=True, slots=True)
class _Kept:
    """What holds no visitor's data, made once while the tenant and its pages stay as they are. `drawn`: the answer by language and whether
    it is framed; `said`: what the form told, by language."""

    shown: Shown
    drawn: dict[tuple[str, bool], Response] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


@dataclass
class SigningUp:
    """See `handler.Subscribe` for the dependencies."""

    writes: Coalesced
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    pepper: bytes
    base: str
    geo: Geo
    secrets: Secrets
    domains: Callable[[], MailDomains] | None = None
    _captcha: Captcha | None = field(default=None, repr=False)
    _kept: _Kept | None = field(default=None, repr=False)

    def form(self, shown: Shown, request: Request) -> Response:
        proof = forms.given(self.links.tokens, self.clock.now())
        return drawing.form(shown, request, self.base, proof, self._captcha_of(shown))

    async def take(self, shown: Shown, request: Request) -> Response:
        """Raises Unavailable: nothing was lost, a repeat is harmless."""
        sites = shown.tenant.face.signup.sites
        if not request.wants_json:
            return await self._by_form(shown, request)
        try:
            answer = await self._by_call(shown, request)
        except Unavailable as error:  # answered here, so that a site's script can read it
            log("ERROR", str(error))
            answer = _said(503, "Please try again in a minute.", retry=30)
        return origins.shared_with(request, sites, answer)

    async def _by_call(self, shown: Shown, request: Request) -> Response:
        policy = shown.tenant.face.signup
        if origins.sender(request, self.base, policy.sites) == "foreign":
            return _said(403, "This site may not sign people up here: its address is not among the Settings' sites.", "origin")
        try:
            fields = request.form()
            asked = read(fields, shown.tenant.face, told=True)
            verdict = await self._judged(asked, shown)
        except BadInput as error:
            log("WARNING", f"sign-up refused: {error}")
            return _said(400, str(error), error.field, meant=error.meant if isinstance(error, Refused) else "")
        captcha = self._captcha_of(shown)
        if not await captcha.passed(fields.get(captcha.field, ""), request.client):
            return _said(400, "The CAPTCHA was not passed.", captcha.field)
        try:
            await self._keep(shown, request, asked, verdict, "api")
        except Full:
            return self._crowded(_said(429, "Too many sign-ups at once. Please try again in some seconds."))
        meant = {"did_you_mean": verdict.suggestion} if verdict.suggestion else {}
        return http.json({"accepted": True, "message": ACCEPTED, **meant}, 202)

    async def _by_form(self, shown: Shown, request: Request) -> Response:
        policy, tokens, now, captcha = shown.tenant.face.signup, self.links.tokens, self.clock.now(), self._captcha_of(shown)
        sender = origins.sender(request, self.base, policy.sites)
        fields: dict[str, str] = {}
        try:
            fields = request.form()
            spoken = drawing.spoken(shown, request)
            asked = read(fields, shown.tenant.face, spoken, told=sender == "site")
            verdict = await self._judged(asked, shown)
        except BadInput as error:
            log("WARNING", f"sign-up refused: {error}")
            proof = forms.kept(tokens, fields, now)
            return drawing.form(shown, request, self.base, proof, captcha, carried(fields), error)
        seen = (
            not fields.get(forms.TRAP) if sender == "site" else sender == "own" and forms.proven(tokens, fields, now, policy.fill)
        )
        if not seen or not await captcha.passed(fields.get(captcha.field, ""), request.client):
            metric("a sign-up that was asked for one more click", {"sign_ups_unproven": 1}, "INFO", kind=sender)
            return drawing.once_more(shown, request, self.base, forms.kept(tokens, fields, now), captcha, carried(fields))
        try:
            source = "site" if sender == "site" else drawing.EMBED if drawing.framed(request) else "form"
            await self._keep(shown, request, asked, verdict, source)
        except Full:
            proof = forms.kept(tokens, fields, now)
            return self._crowded(drawing.once_more(shown, request, self.base, proof, captcha, carried(fields), busy=True))
        if verdict.suggestion:
            meant, proof = drawing.corrected(asked.address, verdict.suggestion), forms.kept(tokens, fields, now)
            return drawing.check(shown, request, self.base, proof, meant, carried(fields))
        return self._taken(shown, request)

    def _taken(self, shown: Shown, request: Request) -> Response:
        """The page that nearly everybody sees: drawn once for each language, and the same to the byte for all."""
        drawn, key = self._kept_of(shown).drawn, (drawing.PAGES.language(shown, request, "check"), drawing.framed(request))
        if key not in drawn:
            drawn[key] = drawing.check(shown, request, self.base, "", "", {})
        return drawn[key]

    def _said(self, shown: Shown, language: str) -> str:
        said = self._kept_of(shown).said
        if language not in said:
            said[language] = drawing.said(shown, language)
        return said[language]

    def _kept_of(self, shown: Shown) -> _Kept:
        if self._kept is None or self._kept.shown is not shown:
            self._kept = _Kept(shown)
        return self._kept

    async def _judged(self, asked: Asked, shown: Shown) -> Verdict:
        """What the address says about itself; raises Refused."""
        policy = shown.tenant.face.signup
        verdict = await judge(asked.address, policy, self.domains() if policy.mx and self.domains else None)
        if verdict.refused:
            raise Refused(verdict.refused, _REFUSALS[verdict.refused], "email", verdict.suggestion)
        return verdict

    async def _keep(self, shown: Shown, request: Request, asked: Asked, verdict: Verdict, source: str) -> None:
        """Evidence and subscriber, then the request for the confirmation. Raises Full, Unavailable."""
        now, sid, consent = self.clock.now(), sid_of(self.pepper, self.paths.tenant_id, asked.address), secrets.token_hex(8)
        language = drawing.PAGES.language(shown, request, "sign-up")
        proof = evidence(
            asked,
            request,
            now,
            self.geo.locate(request.client),
            verdict.flags,
            text=asked.text if source in ("site", "api") else self._said(shown, language),
            page=asked.page or self._page(request, source),
            language=language,
            source=source,
        )
        wanted = {**proof["requested"], "consent": consent, "located": proof["located"], "at": now}
        subscriber: dict[str, Any] = {"asked": asked.address, "asked_at": now, "wanted": wanted, "created_at": Minimum(now)}
        await self.writes.write([Create(self.paths.consent(sid, consent), proof), Merge(self.paths.subscriber(sid), subscriber)])
        if asked.refused:  # the answer does not tell: it is the same for all
            metric("a sign-up named tags that it may not set", {"tags_refused": len(asked.refused)}, "WARNING", kind=source)
        await self.bus.publish(batch.TOPIC, [batch.request_of_day(CONFIRM, sid, now, consent)])

    def _page(self, request: Request, source: str) -> str:
        if source in ("site", "api"):
            return request.headers.get("origin", "")[:200]
        return f"{self.base}/subscribe{'/embed' if source == drawing.EMBED else ''}"

    def _captcha_of(self, shown: Shown) -> Captcha:
        """One as long as the Settings name the same."""
        policy, held = shown.tenant.face.signup, self._captcha
        if held is None or (held.kind, held.key) != (policy.captcha, policy.captcha_key):
            held = self._captcha = Captcha(policy.captcha, policy.captcha_key, self.secrets, [urlsplit(self.base).hostname or ""])
        return held

    def _crowded(self, answer: Response) -> Response:
        metric("sign-ups came faster than the store takes them", {"sign_ups_held_off": 1}, "WARNING")
        return replace(answer, headers={**answer.headers, **LATER})


def _said(status: int, sentence: str, field: str = "", *, meant: str = "", retry: int = 0) -> Response:
    told = {"error": sentence, "field": field, "did_you_mean": meant}
    answer = http.json({name: text for name, text in told.items() if text}, status)
    return replace(answer, headers={**answer.headers, "retry-after": str(retry)}) if retry else answer
