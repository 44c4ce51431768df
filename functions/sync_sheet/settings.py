"""What the rows of the Settings tab may say: each setting's name, what it is for, and how its cell is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from shared.errors import BadInput
from shared.model.cells import listed, short
from shared.model.face import ANY, Face, Rule, SignUp
from shared.model.subscriber import EVERYONE, tag_form, usable_tag

LONGEST: Final = 2_000  # characters of a cell
MOST_SITES: Final = 20
MOST_TAGS: Final = 100
MOST: Final = 10_000  # confirmations an hour: who was let through stands in one document, which holds 1 MiB
SLOWEST: Final = 60  # seconds
CAPTCHAS: Final = ("turnstile", "hcaptcha", "recaptcha", "recaptcha-v3")
_YES, _NO = ("yes", "true", "on"), ("no", "false", "off")
_COLOUR = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")
_HOST = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
_ORIGIN = re.compile(rf"(?:https://{_HOST}|http://(?:localhost|127\.0\.0\.1))(?::(?P<port>[0-9]{{1,5}}))?")
_ADDRESS = re.compile(rf"https?://{_HOST}(?::[0-9]{{1,5}})?(?:[/?#][A-Za-z0-9._~:/?#@!$&()*+,=%-]*)?", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Setting:
    """`read` makes a value of a cell that is not blank, and raises BadInput; `shown`: a value as a cell says it. `field`: of Face, or of
    SignUp."""

    name: str
    field: str
    about: str
    read: Callable[[str], Any]
    shown: Callable[[Any], str] = str


def _colour(text: str) -> str:
    found = text.lower()
    if not _COLOUR.fullmatch(found):
        raise BadInput(f"“{short(text)}” is no colour. Write # and six digits from 0 to 9 and a to f, such as #0b6b53.")
    return found if len(found) == 7 else "#" + "".join(2 * digit for digit in found[1:])


def _page(text: str) -> str:
    if len(text) > 300 or not _ADDRESS.fullmatch(text):
        raise BadInput(
            f"“{short(text)}” is no address of a site. Write it with https:// in front, such as https://www.example.com."
        )
    return text


def _sites(text: str) -> tuple[str, ...]:
    found = dict.fromkeys(_site(word) for word in re.split(r"[\s,]+", text.strip(" ,\n")) if word)
    if len(found) > MOST_SITES:
        raise BadInput(f"These are {len(found)} sites, and {MOST_SITES} is the most.")
    return tuple(found)


def _site(text: str) -> str:
    origin = text.lower().removesuffix("/")
    found = _ORIGIN.fullmatch(origin)
    if found and int(found["port"] or 0) < 65_536:
        return origin
    raise BadInput(f"“{short(text)}” is no site. Write https:// and the host, and nothing after it: https://www.example.com.")


def _tags(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(tag for word in re.split(r"[,;\n]", text) if (tag := tag_form(word))))
    for tag in found:
        if tag != ANY and (not usable_tag(tag) or tag == EVERYONE):
            raise BadInput(
                f"“{short(tag)}” is no tag: up to 40 letters and numbers, with signs such as - or & in between, and commas "
                f"between tags. {ANY} alone stands for any tag."
            )
    if len(found) > MOST_TAGS:
        raise BadInput(f"These are {len(found)} tags, and {MOST_TAGS} is the most.")
    if ANY in found and len(found) > 1:
        raise BadInput(f"{ANY} stands for any tag: write it alone, or the tags without it.")
    return found


def _yes(text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise BadInput(f"“{short(text)}” is neither yes nor no.")
    return text.lower() in _YES


def _shown_yes(value: bool) -> str:
    return "yes" if value else "no"


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise BadInput(f"“{short(text)}” is none of {listed(words, 'and')}.")
        return text.lower()

    return read


def _captcha(text: str) -> str:
    found = _one_of(("none", *CAPTCHAS))(text)
    return "" if found == "none" else found


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise BadInput(f"“{short(text)}” is no key. Copy the public one, the site key, from your CAPTCHA's own site.")
    return text


def _number(most: int, what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        plain = re.sub(r"(?<=[0-9])[,. \u00a0\u202f'](?=[0-9]{3}(?![0-9]))", "", text)
        if not re.fullmatch("[0-9]{1,9}", plain) or int(plain) > most:
            raise BadInput(f"“{short(text)}” is no number of {what} from 0 to {most:,}.")
        return int(plain)

    return read


LOGO: Final = Setting(
    "Logo",
    "logo",
    "The picture above your pages. Write the name of a file in the folder assets: logo.svg. PNG, JPEG, GIF, WebP or SVG of at most 8 KB. "
    "Blank: your name stands there.",
    str,
)
CAPTCHA: Final = Setting(
    "CAPTCHA",
    "captcha",
    f"Asks visitors to prove that they are people: {listed(CAPTCHAS, 'or')}. Needs the key below, and your operator has to store its "
    "secret. Blank: none.",
    _captcha,
    lambda value: value or "none",
)
KEY: Final = Setting("CAPTCHA key", "captcha_key", "The public key of the CAPTCHA, also called the site key.", _key)
SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "Accent colour",
        "accent",
        "The colour of buttons and links on your pages. It is made darker or lighter where text could not be read on it. "
        f"Blank: {Face().accent}.",
        _colour,
    ),
    LOGO,
    Setting("Home page", "home", "Your own site, to which your pages link. Blank: no link.", _page),
    Setting(
        "Public archive",
        "archive",
        "Whether your campaigns can be read on a page and by feed readers: yes or no. Blank: no.",
        _yes,
        _shown_yes,
    ),
    Setting(
        "Sites with the form",
        "sites",
        "Your sites that may show the sign-up form, one a line: https://www.example.com. Blank: none.",
        _sites,
        lambda value: "\n".join(value),
    ),
    Setting(
        "Sign-up tags",
        "tags",
        "The tags that forms and sites may give to whoever signs up, with commas between: berlin, spring fair. Anybody can post a form, "
        f"so name none that you choose special readers by. {ANY}: any tag. Topics are always free to choose. Blank: none.",
        _tags,
        lambda value: ", ".join(value),
    ),
    Setting(
        "Disposable addresses",
        "disposable",
        "What happens to throw-away addresses: refuse, flag or allow. What is flagged is taken, and noted. Blank: refuse.",
        _one_of(get_args(Rule)),
    ),
    Setting(
        "Role addresses",
        "role",
        "What happens to addresses such as info@, which no single person reads: refuse, flag or allow. Blank: flag.",
        _one_of(get_args(Rule)),
    ),
    Setting(
        "Check mail domains",
        "mx",
        "Whether an address is refused when its domain takes no mail: yes or no. Blank: no.",
        _yes,
        _shown_yes,
    ),
    Setting(
        "Confirmations an hour, one network",
        "network_hour",
        "The most confirmation mails, and links to settings, an hour asked for from one network. 0: no limit. Blank: 60.",
        _number(MOST, "mails"),
    ),
    Setting(
        "Confirmations an hour, one domain",
        "domain_hour",
        "The most of either an hour to one domain that is no large mailbox provider. 0: no limit. Blank: 120.",
        _number(MOST, "mails"),
    ),
    CAPTCHA,
    KEY,
    Setting(
        "Fastest sign-up",
        "fill",
        "Seconds below which nobody fills in the form: what is faster is a robot. Blank: 2.",
        _number(SLOWEST, "seconds"),
    ),
)


def values_of(face: Face) -> dict[str, Any]:
    """By field of SETTINGS."""
    return {one.field: getattr(face if hasattr(face, one.field) else face.signup, one.field) for one in SETTINGS}


def faced(face: Face, values: Mapping[str, Any]) -> Face:
    """`face` with these values."""
    of_sign_up = {name: value for name, value in values.items() if not hasattr(face, name)}
    ours = {name: value for name, value in values.items() if hasattr(face, name)}
    return replace(face, **ours, signup=replace(face.signup, **of_sign_up))


DEFAULTS: Final = values_of(Face(signup=SignUp()))
