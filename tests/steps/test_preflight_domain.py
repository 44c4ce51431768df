"""SPF, DKIM and DMARC of the sender's domain: each defect alone is told in exactly its sentence, and silence is never a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from functions.launch.preflight import Audience
from functions.launch.preflight_domain import Sending
from functions.launch.preflight_report import Report
from shared.adapters.dns_resolver import Resolver
from shared.errors import Unavailable

from .preflights import IDENTITY, PEOPLE, ZONE, FakeDns, only, run


def zone(**changes: list[str]) -> FakeDns:
    """The good zone with other records: `spf`, `dkim`, `dmarc`."""
    names = {
        "spf": "lumenroasters.org",
        "dkim": "k1._domainkey.lumenroasters.org",
        "dmarc": "_dmarc.lumenroasters.org",
        "mailer": "spf.mailer.net",
    }
    return FakeDns(ZONE | {(names[key], "TXT"): texts for key, texts in changes.items()})


SPF = "v=spf1 include:spf.mailer.net"
KEY = "k1._domainkey.lumenroasters.org"
NO_DMARC = "lumenroasters.org has no DMARC record: have “v=DMARC1; p=none” added as a TXT record at _dmarc.lumenroasters.org."
TOO_MANY = (
    "The SPF record of lumenroasters.org needs more than 10 DNS lookups, so it fails everywhere: have includes removed that are "
    "no longer used."
)
BROKEN = "The SPF record of lumenroasters.org includes “{}”, which has no SPF record, so it fails: have that removed."
NOT_INCLUDED = "The SPF record of lumenroasters.org does not include Mailer: have “include:spf.mailer.net” added to it."
NO_KEY = f"There is no DKIM key at {KEY}, so the mail's signature cannot be checked: have it published."
WITHDRAWN = f"The DKIM key at {KEY} was withdrawn: have a new one published, or another selector set."
NO_POLICY = "The DMARC record of lumenroasters.org has no valid policy: have it say p=none, p=quarantine or p=reject."
TWO_POLICIES = "lumenroasters.org has 2 DMARC records, which counts as none: have one kept."
DOMAINS: list[tuple[dict[str, list[str]], Report]] = [
    (
        {"spf": ["site-verification=1", "v=spf10 -all"]},
        Report(
            warnings=[
                "lumenroasters.org has no SPF record, so nobody can tell that this mail may come from it: have one such as "
                "“v=spf1 include:spf.mailer.net ~all” added to its DNS."
            ]
        ),
    ),
    ({"spf": [SPF, "v=spf1 -all"]}, only("lumenroasters.org has 2 SPF records, which counts as none: have them made one.")),
    (
        {"spf": [f"{SPF} a mx/24 a:b.org/24 ?ptr exists:%{{i}}.b.org -mx:c.org a a a ip4:192.0.2.1 ip6:2001:db8::/32 ~all"]},
        only(),
    ),
    ({"spf": [f"{SPF} a mx a:b.org ptr exists:%{{i}}.b.org mx:c.org a a a a ~all"]}, only(TOO_MANY)),
    ({"spf": [f"{SPF} include:%{{ir}}.b.org ~all"]}, only()),
    ({"mailer": ["v=spf1 " + "a " * 9 + "-all"]}, only()),
    ({"mailer": ["v=spf1 " + "a " * 10 + "-all"]}, only(TOO_MANY)),
    ({"mailer": ["v=spf1 include:spf.mailer.net -all"]}, only(TOO_MANY)),
    ({"spf": ["v=spf1 redirect=spf.mailer.net"]}, only()),
    ({"spf": ["v=spf1 redirect=spf.mailer.net ~all ip4:192.0.2.1"]}, only(warnings=NOT_INCLUDED)),
    ({"spf": ["V=SPF1 INCLUDE:SPF.Mailer.net ~all"]}, only()),
    ({"spf": [f"{SPF} include:gone.net ~all"]}, only(BROKEN.format("gone.net"))),
    ({"mailer": []}, only(BROKEN.format("spf.mailer.net"))),
    ({"spf": ["v=spf1 ip4:192.0.2.1 ~all"]}, only(warnings=NOT_INCLUDED)),
    ({"dkim": []}, only(NO_KEY)),
    ({"dkim": ["v=DKIM1; k=rsa"]}, only(NO_KEY)),
    ({"dkim": ["v=DKIM1; p="]}, only(WITHDRAWN)),
    ({"dmarc": ["v=spf1 -all"]}, only(warnings=NO_DMARC)),
    (
        {"dmarc": ["v=DMARC1;p=none"]},
        only(notes="The DMARC policy of lumenroasters.org is none: it reports forged mail, and stops none."),
    ),
    ({"dmarc": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}, only(TWO_POLICIES)),
    ({"dmarc": ["v=DMARC1; rua=mailto:x@lumenroasters.org"]}, only(warnings=NO_POLICY)),
]


@pytest.mark.parametrize(("changes", "expected"), DOMAINS)
async def test_each_defect_of_a_domain_is_told_alone(changes: dict[str, list[str]], expected: Report) -> None:
    assert await run(dns=zone(**changes)) == expected


async def test_a_missing_dmarc_record_blocks_those_who_send_in_bulk() -> None:
    report = await run(dns=zone(dmarc=[]), audience=Audience("everyone", 5_000, PEOPLE), previous=5_000)
    assert report == only(f"{NO_DMARC} Google and Yahoo ask for it from 5,000 mails a day.")


OTHER = {("bounce.mailer.net", "TXT"): ["v=spf1 include:spf.mailer.net -all"]}
FOREIGN = "Bounces go to bounce.mailer.net, which is not part of lumenroasters.org"
UNSIGNED = f"{FOREIGN}: have the mail signed with DKIM for lumenroasters.org, or DMARC fails."
FAILS = f"{FOREIGN}, and neither is mailer.net, which signs: DMARC fails. Have the mail signed for lumenroasters.org."
NO_SELECTOR = "DKIM was not looked up: no selector is set. Your mail provider may sign for you."


@pytest.mark.parametrize(
    ("sending", "policy", "expected"),
    [
        (Sending(return_path="bounce.mailer.net", dkim_selector="k1"), "v=DMARC1; p=reject", only()),
        (Sending(), "v=DMARC1; p=reject", only(notes=NO_SELECTOR)),
        (Sending(return_path="bounce.mailer.net"), "v=DMARC1; p=reject", only(warnings=UNSIGNED, notes=NO_SELECTOR)),
        (Sending("bounce.mailer.net", "mailer.net", "k1"), "v=DMARC1; p=reject", only(FAILS)),
        (Sending("news.lumenroasters.org", "mailer.net", "k1"), "v=DMARC1; p=reject", only()),
        (
            Sending("news.lumenroasters.org", "mailer.net", "k1"),
            "v=DMARC1; p=reject; aspf=s",
            only(FAILS.replace("bounce.mailer.net", "news.lumenroasters.org")),
        ),
        (Sending("bounce.mailer.net", "news.lumenroasters.org", "k1"), "v=DMARC1; p=reject", only()),
    ],
)
async def test_dmarc_needs_one_of_spf_and_dkim_to_speak_for_the_sender(sending: Sending, policy: str, expected: Report) -> None:
    keys = {(f"k1._domainkey.{name}", "TXT"): ["v=DKIM1; p=MIIB"] for name in ("mailer.net", "news.lumenroasters.org")}
    news = {("news.lumenroasters.org", "TXT"): [SPF + " -all"]}
    found = ZONE | OTHER | keys | news | {("_dmarc.lumenroasters.org", "TXT"): [policy]}
    assert await run(dns=FakeDns(found), sending=sending) == expected


async def test_a_policy_that_refuses_nothing_makes_a_failing_dmarc_a_warning() -> None:
    found = (
        ZONE
        | OTHER
        | {("k1._domainkey.mailer.net", "TXT"): ["p=MIIB"], ("_dmarc.lumenroasters.org", "TXT"): ["v=DMARC1; p=none"]}
    )
    report = await run(dns=FakeDns(found), sending=Sending("bounce.mailer.net", "mailer.net", "k1"))
    assert (report.faults, report.warnings) == ([], [FAILS])


async def test_a_domain_below_the_organisation_takes_its_policy_from_above() -> None:
    identity = replace(IDENTITY, from_address="letter@mail.lumenroasters.org")
    found = ZONE | {("mail.lumenroasters.org", "TXT"): [SPF], ("k1._domainkey.mail.lumenroasters.org", "TXT"): ["p=MIIB"]}
    assert await run(dns=FakeDns(found), identity=identity) == Report()
    found[("_dmarc.lumenroasters.org", "TXT")] = ["v=DMARC1; p=reject; sp=none"]
    [note] = (await run(dns=FakeDns(found), identity=identity)).notes
    assert note.startswith("The DMARC policy of mail.lumenroasters.org is none")
    found[("_dmarc.lumenroasters.org", "TXT")] = ["v=DMARC1; p=none; psd=y"]
    assert (await run(dns=FakeDns(found), identity=identity)).warnings == [
        NO_DMARC.replace("lumenroasters", "mail.lumenroasters")
    ]


async def test_a_list_domain_of_somebody_else_is_told() -> None:
    assert await run(identity=replace(IDENTITY, list_domain="lists.mailer.net")) == only(
        warnings="The list's domain lists.mailer.net is not part of lumenroasters.org: use a name that ends in it."
    )


async def test_dns_that_does_not_answer_is_a_note_never_a_fault() -> None:
    skipped = "SPF, DKIM and DMARC were not looked up: "
    assert await run(dns=None) == only(notes=f"{skipped}no DNS is set up here.")
    assert await run(dns=FakeDns({})) == only(notes=f"{skipped}the DNS here does not even know “.org”.")
    down = FakeDns()
    down.down = True
    assert await run(dns=down) == only(notes="The look-ups of SPF, DKIM and DMARC were not finished: DNS is unavailable.")


@pytest.mark.parametrize("domain", ["brand.example", "a.test", "b.invalid", "localhost", "mail.localhost", "example.com"])
async def test_a_domain_nobody_has_is_not_looked_up(domain: str) -> None:
    asked = FakeDns()
    report = await run(identity=replace(IDENTITY, from_address=f"a@{domain}"), dns=asked)
    assert report == only(
        notes=f"SPF, DKIM and DMARC were not looked up: {domain} is a name for tests that nobody on the internet has."
    )
    assert asked.asked == []


async def test_slow_dns_is_a_note_and_what_was_found_before_is_kept() -> None:
    slow = zone(spf=[SPF, SPF])
    slow.hanging = "k1._domainkey"
    report = await run(dns=slow, seconds=0.2)
    assert report == Report(
        faults=["lumenroasters.org has 2 SPF records, which counts as none: have them made one."],
        notes=["The look-ups of SPF, DKIM and DMARC were not finished: it took more than 0.2 seconds."],
    )


class Nameserver(asyncio.DatagramProtocol):
    """Answers TXT and NS questions from a zone; SERVFAIL for what is listed as broken."""

    def __init__(self, zone: dict[tuple[str, str], list[str]], broken: Sequence[str] = ()) -> None:
        self.zone, self.broken = zone, broken

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        answer, question = dns.message.make_response(query), query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self.zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, dns.rdataclass.IN, kind, *texts))
        elif all(known != name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


@pytest.mark.network
async def test_a_real_nameserver_is_asked() -> None:
    served = {key: [f'"{text[:9]}" "{text[9:]}"' if key[1] == "TXT" else text for text in texts] for key, texts in ZONE.items()}
    loop = asyncio.get_running_loop()
    server = Nameserver(served)
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        resolver = Resolver(["127.0.0.1"], transport.get_extra_info("sockname")[1], lifetime=2.0)
        assert sorted(await resolver.records("lumenroasters.org", "TXT")) == sorted(ZONE["lumenroasters.org", "TXT"])
        assert await resolver.records("nobody.org", "TXT") == []
        assert await resolver.records("lumenroasters.org", "NS") == []
        assert await run(dns=resolver) == Report()
        server.broken = ["k1._domainkey.lumenroasters.org"]
        [note] = (await run(dns=Resolver(["127.0.0.1"], transport.get_extra_info("sockname")[1]))).notes
        assert note == "The look-ups of SPF, DKIM and DMARC were not finished: DNS is unavailable: NoNameservers."
    finally:
        transport.close()


@pytest.mark.network
async def test_a_nameserver_that_is_not_there_is_unavailable() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    try:  # takes every question and answers none
        silent = Resolver(["127.0.0.1"], transport.get_extra_info("sockname")[1], lifetime=0.2)
        with pytest.raises(Unavailable, match="LifetimeTimeout"):
            await silent.records("lumenroasters.org", "TXT")
    finally:
        transport.close()
