"""Whether mailbox providers can tell that a mail is its sender's: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489) records.

The organisation's domain is found by walking up the tree of names to the topmost DMARC record, as DMARC's second edition does
(draft-ietf-dmarc-dmarcbis-41 §4.10): no list of public suffixes is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.mail.source import Identity
from shared.ports import Dns

from .preflight_links import reserved
from .preflight_report import Report, named

LOOKUPS = 10  # RFC 7208 §4.6.4
BULK = 5_000  # mails a day from which Google and Yahoo ask for DMARC (https://support.google.com/a/answer/81126)
_WALK = 8  # names of a tree walk
_POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Sending:
    """How mail leaves, as far as it is known; "" for what is not.

    `return_path`: the domain of the envelope's sender, the From address's when "". `dkim_domain`, likewise, and `dkim_selector`: of
    our own signature. `spf_include`: what the provider wants in SPF; `provider`: its name as shown.
    """

    return_path: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""
    spf_include: str = ""
    provider: str = "your mail provider"


async def check(report: Report, identity: Identity, sending: Sending, dns: Dns | None, expected: int) -> None:
    """Add what is found to `report`, as it is found; `expected`: recipients. Raises Unavailable when DNS does not answer."""
    domain = _domain(identity.from_address.rpartition("@")[2])
    skipped = "SPF, DKIM and DMARC were not looked up: "
    if reserved(domain) or "." not in domain:
        report.notes.append(f"{skipped}{domain} is a name for tests that nobody on the internet has.")
        return
    if dns is None:
        report.notes.append(f"{skipped}no DNS is set up here.")
        return
    top = domain.rpartition(".")[2]
    if not await dns.records(top, "NS"):  # a network of its own may answer, and know nothing
        report.notes.append(f"{skipped}the DNS here does not even know “.{top}”.")
        return
    await _spf(report, _domain(sending.return_path) or domain, sending, dns)
    await _dkim(report, _domain(sending.dkim_domain) or domain, sending.dkim_selector, dns)
    await _dmarc(report, domain, identity, sending, dns, expected)


def _domain(text: str) -> str:
    return text.strip().lower().rstrip(".")


# --- SPF --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """What following an SPF record came to; it goes no further than the limit."""

    lookups: int = 0
    included: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)  # included, but without one SPF record of its own


async def _spf(report: Report, domain: str, sending: Sending, dns: Dns) -> None:
    found = await _spf_records(domain, dns)
    if not found:
        # A provider with an API may have a return path of its own, with an SPF record of its own.
        grave = report.faults if sending.return_path else report.warnings
        include = f"include:{sending.spf_include} " if sending.spf_include else "… "
        grave.append(
            f"{domain} has no SPF record, so nobody can tell that this mail may come from it: have one such as "
            f"“v=spf1 {include}~all” added to its DNS."
        )
        return
    if len(found) > 1:
        report.faults.append(f"{domain} has {len(found)} SPF records, which counts as none: have them made one.")
        return
    walk = _Walk()
    await _follow(walk, found[0], dns)
    if walk.lookups > LOOKUPS:
        report.faults.append(
            f"The SPF record of {domain} needs more than {LOOKUPS} DNS lookups, so it fails everywhere: have includes removed "
            "that are no longer used."
        )
    elif walk.broken:
        report.faults.append(
            f"The SPF record of {domain} includes {named(walk.broken)}, which has no SPF record, so it fails: have that removed."
        )
    if sending.spf_include and sending.spf_include.lower() not in walk.included and walk.lookups <= LOOKUPS:
        report.warnings.append(
            f"The SPF record of {domain} does not include {sending.provider}: have “include:{sending.spf_include}” added to it."
        )


async def _follow(walk: _Walk, record: str, dns: Dns) -> None:
    """Count the terms that cost a lookup (RFC 7208 §4.6.4), through includes and redirects."""
    terms = [term.lstrip("+-~?") for term in record.lower().split()[1:]]
    for term in terms:
        name, target = term, ""
        for separator in ":=":
            if separator in term:
                name, _, target = term.partition(separator)
                break
        if name.partition("/")[0] in ("a", "mx", "ptr", "exists"):
            walk.lookups += 1
        elif name == "include" or (name == "redirect" and "all" not in terms):
            walk.lookups += 1
            walk.included.add(target)
            if walk.lookups > LOOKUPS:
                return
            if "%" in target:  # a macro, known only when a mail comes in
                continue
            found = await _spf_records(target, dns)
            if len(found) == 1:
                await _follow(walk, found[0], dns)
            else:
                walk.broken.append(target)


async def _spf_records(domain: str, dns: Dns) -> list[str]:
    return [text for text in await dns.records(domain, "TXT") if text.lower().split(" ")[0] == "v=spf1"]


# --- DKIM and DMARC ---------------------------------------------------------------------------------------------------


async def _dkim(report: Report, domain: str, selector: str, dns: Dns) -> None:
    if not selector:
        report.notes.append("DKIM was not looked up: no selector is set. Your mail provider may sign for you.")
        return
    name = f"{selector}._domainkey.{domain}"
    keys = [_tags(text) for text in await dns.records(name, "TXT")]
    if not any("p" in key for key in keys):
        report.faults.append(f"There is no DKIM key at {name}, so the mail's signature cannot be checked: have it published.")
    elif not any(key.get("p") for key in keys):
        report.faults.append(f"The DKIM key at {name} was withdrawn: have a new one published, or another selector set.")


async def _dmarc(report: Report, domain: str, identity: Identity, sending: Sending, dns: Dns, expected: int) -> None:
    names = _upwards(domain)
    answers = await asyncio.gather(*(dns.records(f"_dmarc.{name}", "TXT") for name in names))
    found = {name: policies for name, texts in zip(names, answers, strict=True) if (policies := _policies(texts))}
    several = [name for name, policies in found.items() if len(policies) > 1]
    if several:
        report.faults.append(f"{several[0]} has {len(found[several[0]])} DMARC records, which counts as none: have one kept.")
        return
    if not found:
        sentence = f"{domain} has no DMARC record: have “v=DMARC1; p=none” added as a TXT record at _dmarc.{domain}."
        if expected >= BULK:
            report.faults.append(f"{sentence} Google and Yahoo ask for it from {BULK:,} mails a day.")
        else:
            report.warnings.append(sentence)
        return
    nearest, *_ = found
    policy, own = found[nearest][0], nearest == domain
    wanted = policy.get("p", "") if own else policy.get("sp", policy.get("p", ""))
    if wanted.lower() not in _POLICIES:
        report.warnings.append(
            f"The DMARC record of {nearest} has no valid policy: have it say p=none, p=quarantine or p=reject."
        )
    elif wanted.lower() == "none":
        report.notes.append(f"The DMARC policy of {domain} is none: it reports forged mail, and stops none.")
    organisation = next((name for name, [tags] in found.items() if tags.get("psd") == "n"), list(found)[-1])
    _alignment(report, domain, organisation, policy, wanted.lower() in ("quarantine", "reject"), sending)
    if not _under(list_domain := _domain(identity.list_domain), organisation):
        report.warnings.append(f"The list's domain {list_domain} is not part of {organisation}: use a name that ends in it.")


def _alignment(report: Report, domain: str, organisation: str, policy: Mapping[str, str], strict: bool, sending: Sending) -> None:
    """DMARC holds when SPF or DKIM speaks for the From address's domain. `strict`: the policy has mail refused."""

    def aligned(name: str, mode: str) -> bool:
        return name == domain if policy.get(mode, "r").lower() == "s" else _under(name, organisation)

    return_path, signer = _domain(sending.return_path) or domain, _domain(sending.dkim_domain) or domain
    if aligned(return_path, "aspf") or (sending.dkim_selector and aligned(signer, "adkim")):
        return
    sentence = f"Bounces go to {return_path}, which is not part of {domain}"
    if not sending.dkim_selector:
        report.warnings.append(f"{sentence}: have the mail signed with DKIM for {domain}, or DMARC fails.")
        return
    sentence += f", and neither is {signer}, which signs: DMARC fails. Have the mail signed for {domain}."
    (report.faults if strict else report.warnings).append(sentence)


def _upwards(domain: str) -> list[str]:
    """The domain and those above it, without the top level."""
    labels = domain.split(".")
    names = [".".join(labels[n:]) for n in range(len(labels) - 1)]
    return names if len(names) <= _WALK else [names[0], *names[1 - _WALK :]]


def _under(name: str, organisation: str) -> bool:
    return name == organisation or name.endswith("." + organisation)


def _policies(texts: list[str]) -> list[Mapping[str, str]]:
    """The DMARC records among TXT records; those of a public suffix (psd=y) speak for nobody's mail."""
    records = [_tags(text) for text in texts if text.replace(" ", "").split(";")[0] == "v=DMARC1"]
    return [tags for tags in records if tags.get("psd") != "y"]


def _tags(text: str) -> dict[str, str]:
    """The tag list of a DKIM or DMARC record (RFC 6376 §3.2)."""
    pairs = [piece.partition("=") for piece in text.split(";")]
    return {name.strip().lower(): "".join(value.split()) for name, equals, value in pairs if equals}
