"""Sign-up with double opt-in. A GET shows a page and changes nothing; a POST writes first, then publishes.

    ""               GET the form · POST a sign-up (form or JSON): consent evidence + subscriber, then a send request
    confirm/{token}  GET a page with a button · POST confirms, lifts an earlier "unsubscribed", welcomes who joins
    health           GET: every dependency is asked, at most once in five seconds

Publishes to send-requests; consumed by send_batch, which holds each address to one confirmation a day.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared import http
from shared.errors import BadInput, BadToken, Conflict, NotFound, PipelineError, Unavailable
from shared.http import Request, Response
from shared.links import Links
from shared.logs import log, metric
from shared.model import batch
from shared.model.address import parse, sid_of
from shared.model.country import country_code
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.model.subscriber import CONFIRMED, LIFTABLE, mailable, printable_name, segments_of, signed_up_from, tags_of
from shared.model.tenant import Tenant
from shared.pages import page
from shared.ports import Bus, Clock, Create, Delete, Document, Geo, Merge, Minimum, Store, Write

PAGES = Path(__file__).parent / "pages"
CONSENT_TEXT = "We send news by mail, never pass your address on, and you can leave with one click in every mail."
ACCEPTED = "If the address can be mailed, a message with a confirmation link is on its way."
MAX_NAME = 100
MAX_BODY = 64 << 10  # bytes
HEALTH_AGE = 5000  # ms for which an answer of `health` is kept
ATTEMPTS = 5  # of a confirmation that races with another write to the same subscriber


@dataclass(frozen=True)
class Subscribe:
    """The step's dependencies. `pepper` makes subscriber ids; `base` is the public URL."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    pepper: bytes
    tenant: Tenant
    base: str
    geo: Geo
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _health: list[tuple[int, Response]] = field(default_factory=list, repr=False)  # the latest answer and when it was had

    async def handle(self, request: Request) -> Response:
        """Route one request. Raises Unavailable (503: nothing was lost, a repeat is harmless)."""
        await self.links.tokens.fresh()
        head, _, tail = request.path.partition("/")
        match head, request.method:
            case "", "GET" | "HEAD":
                return self.form()
            case "", "POST":
                return await self.sign_up(request)
            case "confirm", "GET" | "HEAD":
                return self.ask(tail)
            case "confirm", "POST":
                return await self.confirm(request, tail)
            case "health", "GET" | "HEAD":
                return await self.health()
            case (("" | "confirm" | "health"), _):
                return http.text("This method is not understood here.", 405)
        return http.text("There is no such page.", 404)

    def form(self, problem: str = "", email: str = "", name: str = "") -> Response:
        return page(
            PAGES,
            "form.html",
            400 if problem else 200,
            brand=self.tenant.name,
            action=f"{self.base}/subscribe",
            consent_text=CONSENT_TEXT,
            problem=problem,
            email=email,
            name=name,
        )

    async def sign_up(self, request: Request) -> Response:
        """Two writes, no reads, one publish; the answer is the same for new, known and suppressed addresses."""
        fields: dict[str, str] = {}
        try:
            fields = request.form()
            address, requested = _requested(fields)
        except BadInput as error:
            log("WARNING", f"sign-up refused: {error}")
            if request.wants_json:
                return http.json({"error": str(error), "field": error.field}, 400)
            return self.form(str(error), fields.get("email", "")[:254], fields.get("name", "")[:MAX_NAME])
        now = self.clock.now()
        sid = sid_of(self.pepper, self.paths.tenant_id, address)
        consent = secrets.token_hex(8)
        evidence = {
            "at": now,
            "text": CONSENT_TEXT,
            "page": f"{self.base}/subscribe",
            "source": "api" if request.wants_json else "form",
            "network": network_of(request.client),
            "located": {name: text for name, text in asdict(self.geo.locate(request.client)).items() if text},
            "agent": request.headers.get("user-agent", "")[:200],
            "requested": requested,
        }
        await self.store.commit(
            [
                Create(self.paths.consent(sid, consent), evidence),
                Merge(self.paths.subscriber(sid), {"asked": address, "created_at": Minimum(now)}),
            ]
        )
        day = now // 86_400_000
        await self.bus.publish(batch.TOPIC, [batch.request(CONFIRM, f"{sid}.{day}", consent)])
        if request.wants_json:
            return http.json({"accepted": True, "message": ACCEPTED}, 202)
        return page(PAGES, "check.html", brand=self.tenant.name)

    def ask(self, token: str) -> Response:
        try:
            self.links.read_confirm(token, self.clock.now())
        except BadToken:
            return self._expired()
        return page(PAGES, "confirm.html", brand=self.tenant.name)

    async def confirm(self, request: Request, token: str) -> Response:
        """Make the subscriber mailable, once for each consent; a repeat asks for the same welcome, which is sent once.

        Whoever is mailable already is not welcomed again: `consent` names the one that they joined by.
        """
        try:
            sid, consent = self.links.read_confirm(token, self.clock.now())
        except BadToken:
            return self._expired()
        for _ in range(ATTEMPTS):
            evidence, known = await self.store.get_many([self.paths.consent(sid, consent), self.paths.subscriber(sid)])
            if evidence is None or known is None:
                return self._expired()
            suppressed = known.data.get("suppressed")
            if suppressed and not LIFTABLE.issuperset(suppressed):
                return self._message(
                    "We cannot mail this address", "An earlier mail to it was rejected or reported. Please write to us."
                )
            if suppressed and await self._spent(sid, evidence):
                return self._expired()  # coming back takes a new consent
            if evidence.data.get("confirmed_at"):
                joins = known.data.get("consent") == consent
                break
            joins = not mailable(known.data)
            try:
                await self.store.commit(self._confirmation(request, sid, evidence, known))
                break
            except Conflict:
                continue  # somebody else wrote, or our own reply was lost: look again
        else:
            raise Unavailable("the store", "contended")
        if not joins:
            return self._message("You are on the list", "Thank you for confirming.")
        await self.bus.publish(batch.TOPIC, [batch.request(WELCOME, f"{sid}.{consent}")])
        return self._message("You are on the list", "Thank you for confirming. A welcome is on its way to you.")

    async def _spent(self, sid: str, evidence: Document) -> bool:
        """Whether a consent lifts nothing: used already, or asked for before they left. Ask after reading the subscriber: what
        changes the suppression later changes that version too."""
        if evidence.data.get("confirmed_at"):
            return True
        found = await self.store.get(self.paths.suppression(sid), ["unsubscribed_at"])
        left_at: int = found.data.get("unsubscribed_at", 0) if found else 0
        return left_at > int(evidence.data["at"])

    def _confirmation(self, request: Request, sid: str, evidence: Document, known: Document) -> list[Write]:
        now = self.clock.now()
        requested = evidence.data["requested"]
        fresh: dict[str, Any] = {
            **known.data,
            "address": known.data.get("asked") or known.data.get("address", ""),
            "status": CONFIRMED,
            "suppressed": [],
            "tags": list(dict.fromkeys([*known.data.get("tags", []), *requested["tags"]])),
            **{key: requested[key] for key in ("name", "language", "country") if requested.get(key)},
        }
        if place := evidence.data.get("located"):
            fresh["located"] = signed_up_from(known.data.get("located", {}), place, evidence.data["at"])
        if not mailable(known.data):  # else a running campaign would take them for new
            fresh |= {"confirmed_at": now, "consent": evidence.id}
        fresh["segments"] = segments_of(fresh)
        writes: list[Write] = [
            Merge(self.paths.subscriber(sid), fresh, if_version=known.version),
            Merge(
                evidence.path, {"confirmed_at": now, "confirmed_network": network_of(request.client)}, if_version=evidence.version
            ),
        ]
        if known.data.get("suppressed"):
            writes.append(Delete(self.paths.suppression(sid)))
        return writes

    async def health(self) -> Response:
        """200 when every dependency answers, else 503 with the names of those that do not. Anybody may ask, so nobody's asking
        costs more than one check in HEALTH_AGE."""
        async with self._asking:
            if not self._health or not 0 <= self.clock.now() - self._health[-1][0] < HEALTH_AGE:
                answer = await self._checked()
                self._health[:] = [(self.clock.now(), answer)]
            return self._health[-1][1]

    async def _checked(self) -> Response:
        checks: dict[str, str] = {}
        for name, work in (("store", self.store.get(self.paths.tenant, ["name"])), ("bus", self.bus.check())):
            try:
                await work
                checks[name] = "ok"
            except PipelineError as error:
                log("ERROR", f"health: {name}: {error}")
                checks[name] = "failing"
        return http.json(checks, 200 if set(checks.values()) == {"ok"} else 503)

    def _expired(self) -> Response:
        metric("a confirmation link that does not work", {"dead_tokens": 1}, "WARNING", kind="confirm")
        sentence = "The link is incomplete or too old. Links work for a week."
        return self._message("This link does not work any more", sentence, 404, f"{self.base}/subscribe")

    def _message(self, heading: str, sentence: str, status: int = 200, again: str = "") -> Response:
        return page(PAGES, "message.html", status, brand=self.tenant.name, heading=heading, sentence=sentence, again=again)


def _requested(fields: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The address, and what the form asked for; raises BadInput."""
    address = parse(fields.get("email", ""))
    name = " ".join(fields.get("name", "").split())
    if len(name) > MAX_NAME:
        raise BadInput(f"Please keep the name under {MAX_NAME} characters.", "name")
    if not printable_name(name):
        raise BadInput("The name holds characters that cannot be shown.", "name")
    language = fields.get("language", "").strip()[:35]
    if language and not language.replace("-", "").isalnum():
        raise BadInput("The language must be a code such as en or pt-BR.", "language")
    country = country_code(fields.get("country", ""))
    return address, {"name": name, "language": language, "country": country, "tags": tags_of(fields.get("tags", ""))}


def network_of(client: str) -> str:
    """Consent evidence keeps the network, not the person: IPv4 to /24, IPv6 to /48; "" when it is no address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


async def load_tenant(store: Store, paths: Paths) -> Tenant:
    """The tenant; raises Unavailable before it has been set up, so that a visitor is asked to try again."""
    try:
        return await Tenant.load(store, paths)
    except NotFound:
        raise Unavailable("this list", "not set up yet") from None
