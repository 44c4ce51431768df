"""How many mails that strangers can ask for, confirmations and links to one's settings, are sent an hour for one network, and to one
domain: whoever has others bombed with them, or a company's mail server flooded, gets no further than that. Enforced here and not where
they are asked for, which reads nothing. A network of IPv6 is a /56; its /48, which one customer may hold, gets SITE times as many.

Each kind of mail has places of its own: anybody can use up those of confirmations, with any addresses, and readers are not to lose the
way to their settings by that. Whoever is asked for takes a place of the network, reader or not, or mails that are held would tell who is
one; a place of the domain and the mailbox takes only who is mailed.

An address with a "+tag", or of Gmail with dots, is one of thousands that reach the same mailbox: all of those together get MAILBOX_DAY a
day. The plain one is not among them, so that whoever spends them keeps nobody from signing up.

    limits/{hour}.{what}    {sids: those let through in that hour, expires_at}; `what`: the kind's first letter and 16 hex digits of a hash.
                            Of a mailbox: in that day, named after its first hour

A place is taken on the version read, of the network and the domain in one commit, so that the limit is exact among any number of workers. A
sid that has its place keeps it: a repeat, or a retry after the mail server's "later", passes again within the hour, and asks for a new
place in another one. So nothing is handed over in an hour that is not in its documents.

Who finds no place waits for the next hour, or day, those who have waited longest first; after PATIENCE the mail is given up. When it goes
on a later day than it was asked for, it takes that day's batch too: nobody gets two on one day by that. If that batch is there already and
does not wait itself, the newer request stands for both. So does one of the same day, from another network (or a newer sign-up), that
finds a place while the earlier one waits for its own: whoever has somebody's mail wait in a crowd of their own making keeps nobody from
asking for it themselves.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared.errors import Conflict, Unavailable
from shared.logs import metric
from shared.model import batch
from shared.model.face import Face, SignUp
from shared.model.mailboxes import large
from shared.model.paths import ACCESS, CONFIRM, Paths
from shared.ports import ArrayUnion, Create, Document, Expiry, Merge, Replace, Store, Write

LIMITED: Final = (CONFIRM, ACCESS)
HOUR: Final = 3_600_000  # ms
DAY: Final = 24 * HOUR
PATIENCE: Final = DAY
MAILBOX_DAY: Final = 5
SITE: Final = 8  # times a network's places are those of its /48
MOST: Final = 20_000  # places in one document, which holds 1 MB
KEPT: Final = DAY  # a document is of no use after its hour
SPREAD: Final = 60_000  # ms within which those who wait come back
SOON: Final = 5_000  # ms to wait when too many ask at once
FRESH: Final = 60_000  # ms for which the tenant's settings are kept
ATTEMPTS: Final = 6
PAUSE: Final = 0.03  # seconds before the second attempt, doubling
FULL: Final = 500  # documents without a place left that are remembered


class Asking(NamedTuple):
    """A mail that could go now: of which of LIMITED, whose, for which sign-up or from which network, to which address, and the key of its
    batch. `since`: when it first found no place (ms), 0 for never."""

    campaign: str
    sid: str
    consent: str  # of a confirmation, whose evidence names the network
    network: str  # of another mail
    address: str
    key: str
    since: int


class Held(NamedTuple):
    """It must not go now: not before `until` (ms), 0 for never. `why`: network, site, domain, mailbox, contended, or newer (request)."""

    until: int
    why: str


class _Count(NamedTuple):
    why: str
    path: str
    most: int
    lasts: int = HOUR


@dataclass
class Limits:
    """One for a process."""

    store: Store
    paths: Paths
    _rules: tuple[int, SignUp] | None = None  # with when they were read
    _full: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict)

    async def ask(self, asking: Asking, now: int) -> Held | None:
        """Take a place in this hour; None when it has one. Raises Unavailable: then it may have one, and is to ask again."""
        counts = await self._counts(asking, now)
        today = self._today(asking, now)
        for attempt in range(ATTEMPTS):
            if attempt:
                jitter = int(asking.sid[2 * attempt : 2 * attempt + 2], 16) / 128  # two workers seldom meet twice
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1) * jitter)
            try:
                found = await self._read([*(count.path for count in counts), *today], asking.sid, counts)
                if held := self._verdict(asking, found, counts, today, now):
                    return held
                if writes := self._places(asking, found, counts, today, now):
                    await self.store.commit(writes)
                return None
            except Conflict:
                pass  # somebody else was let through meanwhile, or our own reply was lost: look again
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
        return Held(now + SOON, "contended")

    async def _counts(self, asking: Asking, now: int) -> list[_Count]:
        """What it counts against."""
        rules, network = await self._known(asking, now)
        domain = asking.address.rpartition("@")[2].lower()

        def count(kind: str, what: str, most: int, lasts: int = HOUR) -> _Count:
            named = hashlib.sha256(f"{self.paths.tenant_id}\0{asking.campaign}\0{kind}\0{what}".encode()).hexdigest()[:16]
            return _Count(kind, self.paths.limit(now // lasts * (lasts // HOUR), kind[0] + named), most, lasts)

        found = []
        if network and rules.network_hour:
            found.append(count("network", network, rules.network_hour))
            if wide := site(network):
                found.append(count("site", wide, min(MOST, SITE * rules.network_hour)))
        if domain and rules.domain_hour and not large(domain):
            found.append(count("domain", domain, rules.domain_hour))
        if spelled := mailbox(asking.address):
            found.append(count("mailbox", spelled, MAILBOX_DAY, DAY))
        return found

    async def _known(self, asking: Asking, now: int) -> tuple[SignUp, str]:
        """The tenant's rules, read once in FRESH, and the network that counts, "" for none."""
        evidence = [self.paths.consent(asking.sid, asking.consent)] if asking.consent else []
        stale = self._rules is None or not 0 <= now - self._rules[0] < FRESH
        wanted = [*evidence, *([self.paths.tenant] if stale else [])]
        found = await self.store.get_many(wanted, ["face", "network"]) if wanted else []
        if self._rules is None or stale:
            tenant = found[-1]
            self._rules = now, Face.of(tenant.data.get("face") if tenant else None).signup
        shown = found[0] if evidence else None
        return self._rules[1], str(shown.data.get("network") or "") if shown else asking.network

    def _today(self, asking: Asking, now: int) -> list[str]:
        """The path of today's batch, when this one has waited for its place since another day."""
        day = now // DAY
        if not asking.since or asking.key.partition("-")[0] == str(day):
            return []
        return [self.paths.batch(asking.campaign, f"{asking.sid}.{day}")]

    async def _read(self, paths: list[str], sid: str, counts: list[_Count]) -> Mapping[str, Document | None]:
        """The documents at `paths`; of those known to be full nothing is read but what is known: an hour that is full stays so."""
        full = next((count for count in counts if len(self._full.get(count.path, ())) >= count.most), None)
        if full and sid not in self._full[full.path]:
            return {full.path: Document(full.path, "", {"sids": list(self._full[full.path])})}
        found = dict(zip(paths, await self.store.get_many(paths), strict=True)) if paths else {}
        for count in counts:
            sids = _sids(found[count.path])
            if len(sids) >= count.most:
                self._full[count.path] = frozenset(sids)
                while len(self._full) > FULL:
                    self._full.popitem(last=False)
        return found

    def _verdict(
        self, asking: Asking, found: Mapping[str, Document | None], counts: list[_Count], today: list[str], now: int
    ) -> Held | None:
        for path in today:
            other = found.get(path)
            if other and other.data.get("stands_for") != _name(asking) and not _waits(other, now):
                return Held(0, "newer")
        for count in counts:
            sids = _sids(found.get(count.path))
            if asking.sid in sids or len(sids) < count.most:
                continue
            if not asking.since:
                told = {"kind": count.why, "campaign": asking.campaign}
                metric("a mail waits for its place", {"single_mails_held": 1}, "WARNING", **told)
            since, then = asking.since or now, (now // count.lasts + 1) * count.lasts  # the next hour, or day
            if now - since >= PATIENCE:
                return Held(0, count.why)
            return Held(then + SPREAD * max(0, since + PATIENCE - then) // PATIENCE, count.why)
        return None

    def _places(
        self, asking: Asking, found: Mapping[str, Document | None], counts: list[_Count], today: list[str], now: int
    ) -> list[Write]:
        writes: list[Write] = []
        for count in counts:
            document = found[count.path]
            if document is None:
                writes.append(Create(count.path, {"sids": [asking.sid], "expires_at": Expiry(now + KEPT)}))
            elif asking.sid not in document.data["sids"]:
                writes.append(Merge(count.path, {"sids": ArrayUnion((asking.sid,))}, if_version=document.version))
        for path in today:
            other = found[path]
            taken = {"state": "done", "read_all": True, "due": batch.NEVER, "ended_at": now, "stands_for": _name(asking)}
            whole = {**batch.single(asking.sid, asking.consent, now), **taken}
            if other is None:
                writes.append(Create(path, whole))
            elif _waits(other, now):
                writes.append(Replace(path, whole, if_version=other.version))
        return writes


def _waits(other: Document, now: int) -> bool:
    """Whether today's own mail has no place yet either: then the older one, which has, stands for both."""
    data = other.data
    crowded = (data.get("codes") or {}).get("0") == batch.CROWDED
    return data["state"] == "open" and crowded and int(data.get("lease_until", 0)) <= now


def mailbox(address: str) -> str:
    """The mailbox that an address spells in one of many ways; "" for a plain address."""
    local, _, domain = address.lower().rpartition("@")
    plain = local.partition("+")[0]
    if domain in ("gmail.com", "googlemail.com"):
        plain, domain = plain.replace(".", ""), "gmail.com"
    return f"{plain}@{domain}" if plain not in ("", local) else ""


def site(network: str) -> str:
    """The /48 of a network of IPv6; "" for any other."""
    if ":" not in network:
        return ""
    try:
        return str(ipaddress.IPv6Network(network).supernet(new_prefix=48))
    except ValueError:
        return ""


def _name(asking: Asking) -> str:
    return f"{asking.sid}.{asking.key}"


def _sids(document: Document | None) -> list[str]:
    return list(document.data["sids"]) if document else []
