"""How a tenant meets strangers: brand, topics, and what a sign-up has to pass. It is the field `face` of the tenant's document, which
sync_sheet writes from the Settings tab.

    accent      colour of buttons and links, "#0b6b53"
    logo        a picture as a data: URI of at most MAX_LOGO characters, "" for none
    home        the tenant's own site, "" for none
    archive     whether campaigns that say so are shown in the public archive
    topics      [{tag, label, about}] in the order shown: tags that readers see and choose themselves
    signup      see SignUp
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

Rule = Literal["refuse", "flag", "allow"]
MAX_LOGO: Final = 12_000  # characters: a page has to stay below 20 KB
ACCENT: Final = "#0b6b53"
ANY: Final = "*"
_LISTS: Final = ("sites", "tags")  # of SignUp


@dataclass(frozen=True, slots=True)
class Topic:
    """A tag that readers see under its `label`; `about` is one sentence, "" for none."""

    tag: str
    label: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class SignUp:
    """What a sign-up has to pass. `sites`: origins ("https://www.example.com") of the tenant's own pages, whose forms and scripts may sign
    people up and which may frame the form. `disposable`, `role`: what becomes of addresses of throw-away domains and of addresses like
    info@. `mx`: whether the domain must take mail, as DNS has it. `network_hour`, `domain_hour`: confirmations, and as many
    links to settings, an hour for one network and for one domain that is no large mailbox provider; 0 for no limit. `captcha`: the kind
    of the CAPTCHA, "" for none, with its public `captcha_key`; its secret is `captcha-secret`. `fill`: seconds below
    which nobody fills in the form. `tags`: those that a sign-up may set besides topics, (ANY,) for every one; none unless somebody said
    so, since whoever posts may name any, and a tag is all that it takes to get a segment's mails."""

    sites: tuple[str, ...] = ()
    disposable: Rule = "refuse"
    role: Rule = "flag"
    mx: bool = False
    network_hour: int = 60
    domain_hour: int = 120
    captcha: str = ""
    captcha_key: str = ""
    fill: int = 2
    tags: tuple[str, ...] = ()

    def allows(self, tag: str) -> bool:
        """Whether a sign-up may set a tag that is no topic."""
        return tag in self.tags or ANY in self.tags


@dataclass(frozen=True, slots=True)
class Face:
    """See the module."""

    accent: str = ACCENT
    logo: str = ""
    home: str = ""
    archive: bool = False
    topics: tuple[Topic, ...] = ()
    signup: SignUp = field(default_factory=SignUp)

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Face:
        """What a tenant's document says; what it does not say is as it comes."""
        data = dict(found or {})
        told = {item.name: data[item.name] for item in fields(cls) if item.name in data}
        if "topics" in told:
            told["topics"] = tuple(Topic(str(one["tag"]), str(one["label"]), str(one.get("about", ""))) for one in told["topics"])
        if "signup" in told:
            rules = {item.name: told["signup"][item.name] for item in fields(SignUp) if item.name in told["signup"]}
            told["signup"] = SignUp(**rules | {name: tuple(rules.get(name, ())) for name in _LISTS})
        return cls(**told)

    def document(self) -> dict[str, Any]:
        """For the tenant's document."""
        data = asdict(self)
        data["topics"] = list(data["topics"])
        data["signup"] |= {name: list(data["signup"][name]) for name in _LISTS}
        return data
