"""What an address says about itself before anybody mails it: a throw-away domain, a function instead of a person, a domain that takes no
mail, a slip of the finger.

All of it depends on what was typed and on public facts about its domain, never on whom we know: a refusal tells nothing about anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from shared.model.face import Rule, SignUp

from .mail_domains import MailDomains
from .slips import meant, words

Problem = Literal["", "disposable", "role", "mx"]

# RFC 2142, and what else is read by whoever is on duty. A "+tag" and a "-request" behind them change nothing.
ROLES: Final = frozenset(
    words(
        """
    abuse accounting accounts admin administrator all anfrage anti-spam billing board bonjour booking bookings buchhaltung
    careers compliance contact contacto contato correo customerservice devnull dns do-not-reply donotreply enquiries enquiry
    everybody everyone feedback finance ftp hallo hello help helpdesk hi hola hostmaster hr info information inoc inquiries
    inquiry invoice invoices ispfeedback ispsupport it jobs kontakt legal list list-request mail mailbox mailer-daemon
    mailerdaemon majordomo marketing media news newsletter no-reply no.reply nobody noc noemail noreply null office orders
    owner phish phishing post postmaster presse press privacy purchasing recruiting registrar remove request
    reservations root rrhh sales secretariat security service spam staff subscribe support sysadmin team tech test unsubscribe
    usenet uucp ventas verkauf vertrieb webadmin webmaster welcome www
    """
    )
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused`: why the address is not taken, "" when it is; `flags`: what is only noted, for the evidence; `suggestion`: the
    domain that was probably meant, "" for none: it never refuses."""

    refused: Problem = ""
    flags: tuple[Problem, ...] = ()
    suggestion: str = ""


async def judge(address: str, policy: SignUp, domains: MailDomains | None) -> Verdict:
    """Judge an address as `shared.model.address.parse` gives it. `domains` None: DNS is not asked, whatever the policy. Never raises."""
    local, _, domain = address.rpartition("@")
    domain = domain.lower()
    found: list[tuple[Problem, Rule]] = []
    if policy.disposable != "allow" and disposable(domain):
        found.append(("disposable", policy.disposable))
    if policy.role != "allow" and role(local):
        found.append(("role", policy.role))
    if (
        policy.mx
        and domains is not None
        and not any(rule == "refuse" for _, rule in found)
        and not await domains.takes_mail(domain)
    ):
        found.append(("mx", "refuse"))
    refused: Problem = next((problem for problem, rule in found if rule == "refuse"), "")
    return Verdict(refused, tuple(problem for problem, rule in found if rule == "flag"), meant(domain))


def disposable(domain: str) -> bool:
    """Whether a domain, or one above it, gives addresses away by the minute."""
    known, labels = _throw_away(), domain.split(".")
    return any(".".join(labels[n:]) in known for n in range(len(labels) - 1))


@cache
def _throw_away() -> frozenset[str]:
    from disposable_email_domains import allowlist, blocklist  # 10,000 texts, 1 MB: only where the policy asks

    return frozenset(blocklist) - frozenset(allowlist)


def role(local: str) -> bool:
    """Whether a local part names a function, not a person."""
    name = local.lower().partition("+")[0]
    return name in ROLES or name.endswith("-request") or name.startswith("owner-")
