"""What an address says about itself: throw-away domains, functions, slips of the finger, and whether its domain takes mail."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.subscribe.checks import Verdict, disposable, judge, role
from functions.subscribe.mail_domains import MailDomains
from functions.subscribe.slips import meant, one_edit
from shared.errors import Unavailable
from shared.model.face import Rule, SignUp
from shared.ports import RecordKind

OPEN = SignUp(disposable="allow", role="allow")

SLIPS = {
    "gmail.com": """gmial.com gmai.com gmal.com gmaill.com gamil.com gnail.com gmil.com gmsil.com gmail.co gmail.cm gmail.con gmail.om
        gmail.cim gmail.comm gmail.vom gmail.ocm gmaul.com gmaio.com ggmail.com mgail.com""",
    "yahoo.com": "yaho.com yahooo.com yhoo.com yahho.com yaoo.com yahoo.co yahoo.con yhaoo.com yahoo.cm",
    "hotmail.com": """hotmial.com hotmal.com hotmai.com hotmaill.com hotmil.com hotnail.com hormail.com hitmail.com homail.com hotmail.co
        hotmail.con htomail.com""",
    "outlook.com": "outlok.com outloo.com outlook.co outlook.con oulook.com otlook.com outlokk.com putlook.com",
    "icloud.com": "iclod.com icloud.co iclou.com icluod.com icloud.con",
    "protonmail.com": "protonmal.com protonmial.com",
    "googlemail.com": "googlemal.com",
    "comcast.net": "comcast.ner comcas.net",
    "verizon.net": "verizn.net",
    "orange.fr": "orage.fr",
    "wanadoo.fr": "wanado.fr",
    "laposte.net": "laposte.ne",
    "t-online.de": "t-onlin.de",
    "yahoo.co.uk": "yahoo.co.k",
    "hotmail.co.uk": "hotmail.co.u",
    "bigpond.com": "bigpnd.com",
}
# Providers and others with mail of their own; the last lines are one letter away from a provider, or look like it.
HONEST = """
    gmail.com yahoo.com hotmail.com outlook.com icloud.com googlemail.com protonmail.com proton.me pm.me me.com mac.com
    aol.com aim.com live.com msn.com gmx.de gmx.net gmx.com web.de t-online.de freenet.de posteo.de mailbox.org orange.fr
    wanadoo.fr free.fr laposte.net sfr.fr libero.it virgilio.it tiscali.it telenet.be skynet.be bluewin.ch seznam.cz wp.pl
    onet.pl o2.pl mail.ru bk.ru ya.ru yandex.ru rambler.ru qq.com 163.com 126.com sina.com naver.com daum.net att.net cox.net
    comcast.net verizon.net shaw.ca rogers.com bigpond.com yahoo.co.uk yahoo.fr yahoo.de yahoo.ca yahoo.in yahoo.com.br
    hotmail.fr hotmail.de hotmail.co.uk outlook.fr outlook.de outlook.es fastmail.com fastmail.fm tutanota.com tuta.com
    hey.com duck.com zoho.com
    mail.com ymail.com email.com gail.com cloud.com rmail.com fmail.com tmail.com zmail.com hmail.com jmail.com mail.de
    mail.net kahoo.com yoho.com aol.de alo.com mi.com he.com gmx.at live.ca line.com love.com olive.com soho.com sky.com
    ski.com web.com google.com apple.com microsoft.com amazon.com example.com example.org bbc.co.uk lumenroasters.org mit.edu
    cam.ac.uk gov.uk outlook.be outlook.at outlook.it yahoo.gr orange.es orange.be libero.com xn--bcher-kva.example
    mail.gmail.com g.mail.com
"""


def test_sixty_slips_are_understood() -> None:
    found = {typed: meant(typed) for typed in " ".join(SLIPS.values()).split()}
    assert len(found) >= 60
    assert found == {typed: target for target, slips in SLIPS.items() for typed in slips.split()}


def test_a_hundred_honest_domains_are_left_in_peace() -> None:
    domains = HONEST.split()
    assert len(set(domains)) >= 100
    assert {domain: meant(domain) for domain in domains if meant(domain)} == {}


def test_a_slip_is_one_step() -> None:
    """Against the definition: the distance of optimal string alignment, by its matrix."""
    draw = random.Random(7)
    seen = Counter[bool]()
    for _ in range(4000):
        one = "".join(draw.choices("abc.", k=draw.randrange(7)))
        other = "".join(draw.choices("abc.", k=draw.randrange(7)))
        if draw.random() < 0.5:
            at = draw.randrange(len(one) + 1)
            other = one[:at] + draw.choice(["", "a", one[at : at + 2][::-1]]) + one[at + draw.randrange(3) :]
        seen[one_edit(one, other)] += 1
        assert one_edit(one, other) == (_distance(one, other) == 1), (one, other)
    assert min(seen[True], seen[False]) > 500


def _distance(one: str, other: str) -> int:
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


@given(st.text(max_size=80))
def test_whatever_is_asked_about_gets_a_provider_or_nothing(domain: str) -> None:
    assert meant(domain) in {"", *(meant(slip) for slip in ("gmial.com",))} or one_edit(domain, meant(domain))


@pytest.mark.parametrize(
    "domain", ["mailinator.com", "x.mailinator.com", "a.b.mailinator.com", "10minutemail.com", "guerrillamail.com"]
)
def test_throw_away_domains_and_what_is_below_them(domain: str) -> None:
    assert disposable(domain)


@pytest.mark.parametrize("domain", [*HONEST.split()[:60], "mymailinators.org", "mailinator.com.example.org", "com", ""])
def test_no_honest_domain_is_taken_for_a_throw_away_one(domain: str) -> None:
    assert not disposable(domain)


@pytest.mark.parametrize(
    "local", ["info", "INFO", "postmaster", "abuse", "no-reply", "info+news", "members-request", "owner-members", "kontakt"]
)
def test_functions_are_known(local: str) -> None:
    assert role(local)


@pytest.mark.parametrize("local", ["ada", "informatics", "infoada", "ada.info", "ada+info", "newsome", "rootes", "it.girl"])
def test_people_are_no_functions(local: str) -> None:
    assert not role(local)


@pytest.mark.parametrize(
    ("address", "rules", "verdict"),
    [
        ("ada@example.org", ("refuse", "refuse"), Verdict()),
        ("ada@mailinator.com", ("refuse", "flag"), Verdict("disposable")),
        ("ada@Mailinator.com", ("flag", "flag"), Verdict(flags=("disposable",))),
        ("ada@mailinator.com", ("allow", "allow"), Verdict()),
        ("info@example.org", ("refuse", "refuse"), Verdict("role")),
        ("info@example.org", ("refuse", "flag"), Verdict(flags=("role",))),
        ("info@mailinator.com", ("refuse", "flag"), Verdict("disposable", ("role",))),
        ("info@mailinator.com", ("flag", "refuse"), Verdict("role", ("disposable",))),
        ("info@mailinator.com", ("flag", "flag"), Verdict(flags=("disposable", "role"))),
        ("info@gmial.com", ("allow", "flag"), Verdict(flags=("role",), suggestion="gmail.com")),
        ('"a@b"@gmial.com', ("allow", "allow"), Verdict(suggestion="gmail.com")),
    ],
)
async def test_the_policy_decides(address: str, rules: tuple[Rule, Rule], verdict: Verdict) -> None:
    assert await judge(address, SignUp(disposable=rules[0], role=rules[1]), None) == verdict


# --- whether a domain takes mail ------------------------------------------------------------------------------------------

ZONE: dict[tuple[str, RecordKind], list[str]] = {
    ("com", "NS"): ["a.gtld-servers.net."],
    ("post.org", "MX"): ["10 mx.post.org.", "20 mx2.post.org."],
    ("null.org", "MX"): ["0 ."],
    ("old.org", "A"): ["192.0.2.1"],
    ("six.org", "AAAA"): ["2001:db8::1"],
}


class Zone:
    """A DNS that knows `ZONE`, and how often it was asked. `slow`: seconds before each answer; `dead`: raises."""

    def __init__(self, zone: dict[tuple[str, RecordKind], list[str]] | None = None) -> None:
        self.zone = ZONE if zone is None else zone
        self.asked: Counter[str] = Counter()
        self.slow, self.dead = 0.0, False

    async def records(self, name: str, kind: RecordKind) -> list[str]:
        self.asked[name] += 1
        await asyncio.sleep(self.slow)
        if self.dead:
            raise Unavailable("DNS", "Timeout")
        return self.zone.get((name, kind), [])


class Watch:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize(
    ("domain", "takes"), [("post.org", 1), ("old.org", 1), ("six.org", 1), ("null.org", 0), ("nothing.org", 0)]
)
async def test_a_domain_takes_mail_by_mx_or_address(domain: str, takes: int) -> None:
    domains = MailDomains(Zone())
    assert await domains.takes_mail(domain) == bool(takes)
    assert await judge(f"ada@{domain}", SignUp(mx=True), domains) == Verdict("" if takes else "mx")
    assert await judge(f"ada@{domain}", SignUp(mx=False), domains) == Verdict()


async def test_a_dns_that_knows_nothing_refuses_nobody() -> None:
    assert await MailDomains(Zone({})).takes_mail("nothing.org")


async def test_a_silent_dns_refuses_nobody_and_is_soon_asked_again() -> None:
    watch, zone = Watch(), Zone()
    domains = MailDomains(zone, clock=watch)
    zone.dead = True
    assert await domains.takes_mail("nothing.org")
    asked = zone.asked["nothing.org"]
    assert await domains.takes_mail("nothing.org")
    assert zone.asked["nothing.org"] == asked, "silence is remembered, or each sign-up would wait for it"
    zone.dead = False
    watch.time += MailDomains.SILENT + 1
    assert not await domains.takes_mail("nothing.org")


async def test_a_slow_dns_is_not_waited_for() -> None:
    zone = Zone()
    zone.slow = 30.0
    async with asyncio.timeout(10):
        assert await MailDomains(zone, patience=0.02).takes_mail("nothing.org")


async def test_an_answer_is_kept_for_an_hour_and_shared() -> None:
    watch, zone = Watch(), Zone()
    zone.slow = 0.01
    domains = MailDomains(zone, clock=watch)
    assert set(await asyncio.gather(*(domains.takes_mail("post.org") for _ in range(50)))) == {True}
    assert zone.asked == {"post.org": 1}
    watch.time += MailDomains.KEPT - 1
    await domains.takes_mail("post.org")
    assert zone.asked == {"post.org": 1}
    watch.time += 2
    await domains.takes_mail("post.org")
    assert zone.asked == {"post.org": 2}


async def test_a_visitor_who_goes_takes_nobody_elses_answer_along() -> None:
    zone = Zone()
    zone.slow = 0.02
    domains = MailDomains(zone)
    first, second = (asyncio.create_task(domains.takes_mail("nothing.org")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert not await second


async def test_what_is_kept_and_what_is_asked_at_once_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MailDomains, "MOST", 3)
    monkeypatch.setattr(MailDomains, "AT_ONCE", 2)
    zone = Zone()
    domains = MailDomains(zone)
    for n in range(5):
        assert not await domains.takes_mail(f"n{n}.org")
    assert list(domains._kept) == ["n2.org", "n3.org", "n4.org"]
    zone.slow = 0.02
    answers = await asyncio.gather(*(domains.takes_mail(f"m{n}.org") for n in range(4)))
    assert answers == [False, False, True, True], "more than that pass unasked"
    assert not domains._asking


async def test_a_refused_address_asks_no_dns() -> None:
    zone = Zone()
    assert (await judge("ada@mailinator.com", SignUp(mx=True), MailDomains(zone))).refused == "disposable"
    assert not zone.asked
