"""Where a mail's links lead, judged by their spelling: nothing is fetched."""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shared.mail.sandbox import words

from .preflight_report import Report, named

_RESERVED = words("example test invalid localhost")  # RFC 2606 and 6761: nobody can own a name under these
_RESERVED_NAMES = words("example.com example.net example.org")
_PRIVATE = words("localhost local internal intranet lan home corp private")
_SHORTENERS = words(
    "adf.ly bit.ly bl.ink buff.ly cutt.ly goo.gl is.gd lnkd.in ow.ly rb.gy rebrand.ly s.id short.io shorturl.at t.co t.ly tiny.cc "
    "tinyurl.com trib.al v.gd"
)
_SECOND_LEVEL = words("ac co com edu gov net or org")  # under a country's domain: .co.uk
_FILES = words("css csv doc docx gif htm html jpg js json md mp3 pdf php png ppt pptx py rb rs sh svg txt xls xlsx zip")
# Left by other mailing programs, by web templates and by people. Certain are marks that nothing else means, capitals, and a site that is
# called so. A page may well be ("/apps/todo"), so such a word is doubtful there, and none of ours within a longer one ("/todo-list").
_THERE = r"(?:insert|your)[-_ ]?(?:link|url|domain|site|website|company)(?:[-_ ]?here)?"
_MARKS = re.compile(r"\{\{|\}\}|\{%|\*\||\|\*|\[\[|\$\{|<%|%%[a-z]|\{[a-z_][\w .-]*\}", re.I)
_CAPITALS = re.compile(rf"(?<![\w-])(?:TODO|{_THERE.upper()})(?![\w-])")
_SITE = re.compile(_THERE, re.I)
_DOUBTFUL = re.compile(rf"(?<![\w-])(?:todo|xxx+|{_THERE})(?![\w-])", re.I)
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|\d+)", re.I)
_MAILTO = re.compile(r"mailto:[^@\s?]+@[^@\s?.]+(?:\.[^@\s?.]+)+(?:\?.*)?", re.I)
_SHOWN_URL = re.compile(r"\s*(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,63})\.?(?:[:/?#]\S*)?\s*", re.I)

FAULTS = {
    "nowhere": "Links that lead nowhere: {}. Give each an address.",
    "unreadable": "Addresses that cannot be read: {}. Type them again.",
    "placeholder": "Addresses that are still placeholders: {}. Put the real ones in.",
    "private": "Addresses that work only inside your own network: {}. Use public ones.",
    "number": "Addresses with a number in place of the site's name: {}. Spam filters refuse those, so use the name.",
    "mailto": "Mail links without a whole e-mail address: {}. Complete them.",
}
WARNINGS = {
    "doubtful": "Addresses that look like placeholders: {}. See that they are the real ones.",
    "short": "Shortened addresses: {}. Spam filters distrust them, so link to the page itself.",
    "open": "Addresses without encryption: {}. Write https:// instead of http://.",
    "other": "Links that show one site and lead to another: {}. That looks like phishing, so let the text show where the link leads.",
}


@dataclass(frozen=True, slots=True)
class Link:
    """`target`: the address as the template has it, None for none. `text`: what a reader sees; "" for an image's address."""

    target: str | None
    text: str = ""


def check(links: Sequence[Link], trial: bool) -> Report:
    """`trial`: the sender's own domain is a reserved one, as on a laptop, so links may lead to such as well."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for link in links:
        target = (link.target or "").strip()
        if target in ("", "#"):
            found["nowhere"].append(link.text or "an image")
        elif target.lower().startswith("mailto:"):
            if not _MAILTO.fullmatch(unquote(target)):
                found["mailto"].append(target)
        elif target.lower().startswith(("http:", "https:")):
            if kind := fault(target, trial):
                found[kind].append(target)
                continue
            host = _host(target)
            if doubtful(target):
                found["doubtful"].append(target)
            if any(host == name or host.endswith("." + name) for name in _SHORTENERS):
                found["short"].append(target)
            if target.lower().startswith("http:"):
                found["open"].append(target)
            shown = _shown_host(link.text)
            if shown and not same_owner(shown, host):
                found["other"].append(f"{shown} leads to {host}")
    return Report(
        [sentence.format(named(found[kind])) for kind, sentence in FAULTS.items() if kind in found],
        [sentence.format(named(found[kind])) for kind, sentence in WARNINGS.items() if kind in found],
    )


def fault(url: str, trial: bool) -> str:
    """Which of FAULTS a web address has, "" for none."""
    if _MARKS.search(unquote(url)) or _CAPITALS.search(unquote(url)):
        return "placeholder"
    try:
        host, _ = _host(url), urlsplit(url).port
    except ValueError:
        return "unreadable"
    labels = host.split(".")
    if labels[-1] in _PRIVATE or host.endswith(".home.arpa"):
        return "private"
    if _NUMBER.fullmatch(labels[-1]) or _is_ip(host):
        return "number"
    if not host or "" in labels or len(host) > 253 or any(len(label) > 63 for label in labels):
        return "unreadable"
    if (reserved(host) and not trial) or _SITE.fullmatch(_site(host).partition(".")[0]):
        return "placeholder"
    return "private" if len(labels) == 1 else ""


def doubtful(url: str) -> bool:
    """Whether a web address without a fault says what people write where the address is still to come."""
    return bool(_DOUBTFUL.search(unquote(url)))


def reserved(domain: str) -> bool:
    """Whether a domain is kept for examples and tests, so that no one on the internet has it."""
    name = domain.lower().rstrip(".")
    last_two = ".".join(name.split(".")[-2:])
    return name.rpartition(".")[2] in _RESERVED or last_two in _RESERVED_NAMES


def same_owner(one: str, other: str) -> bool:
    """Whether two host names belong together, as far as their spelling tells."""
    return _site(one) == _site(other)


def _site(host: str) -> str:
    labels = host.lower().rstrip(".").split(".")
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if country else labels[-2:])


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".").lower()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown_host(text: str) -> str:
    """The site that a link's text spells out, "" when it is other words."""
    match = _SHOWN_URL.fullmatch(text)
    if match is None:
        return ""
    host = match[1].lower()
    plain = text.strip().lower() == host
    return "" if plain and host.rpartition(".")[2] in _FILES and not host.startswith("www.") else host
