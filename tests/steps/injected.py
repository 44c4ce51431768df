"""Inputs that try to get out of where they are put, made from grammars by a seed; and the detectors that see whether one did."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.parser import BytesHeaderParser
from email.policy import SMTP
from html import unescape

# --- mail headers ---------------------------------------------------------------------------------------------------------

BREAKS = (
    *(
        "\r\n",
        "\n",
        "\r",
        "\r\n ",
        "\n\t",
        "\r\r\n",
        "\n\r",
        "\0",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1d",
        "\x1e",
        "\x1b",
        "\x7f",
        "\x85",
    ),
    *(
        "\u2028",
        "\u2029",
        "\u200b\n",
        "\ufeff",
        "\u202e",
        "\u560d\u560a",
        "\ud800",
        "\udc0a",
        "\ud83d",
        "%0d%0a",
        "%250A",
        "\\r\\n",
        "=0D=0A",
    ),
    *("&#13;&#10;", "&NewLine;", "\\u000a", "\uff0d\uff0a", "; ", ", ", " ", "\r\n\r\n", "\n\n"),
)
HEADERS = (
    *(
        "Bcc: victim@evil.example",
        "bcc:victim@evil.example",
        "Cc: victim@evil.example",
        "To: victim@evil.example",
        "Subject: Owned",
    ),
    *("From: boss@evil.example", "Reply-To: boss@evil.example", "Content-Type: text/html", "MIME-Version: 1.0", "X-Injected: 1"),
    *("List-Unsubscribe: <https://evil.example/>", "List-Unsubscribe-Post: nothing", "DKIM-Signature: v=1; d=evil.example"),
    *(
        "Content-Transfer-Encoding: base64",
        "Return-Path: <boss@evil.example>",
        "Received: from evil",
        "<p>owned</p>",
        "--B\r\nX: y",
    ),
    ".\r\nMAIL FROM:<boss@evil.example>\r\nRCPT TO:<victim@evil.example>\r\nDATA",
)
WORDS = (
    *(
        "=?utf-8?q?Ada=0D=0ABcc:_victim@evil.example?=",
        "=?utf-8?b?QWRhDQpCY2M6IHZpY3RpbUBldmlsLmV4YW1wbGU=?=",
        "=?utf-8?q?",
        "?=",
    ),
    *("=?iso-2022-jp?b?GyRCJCI=?=", "=?x-unknown?q??=", "=?utf-7?q?+AA0ACg-Bcc:_v?=", "=?utf-8?q?=22=3C?=", "=?us-ascii?q?=0A?="),
    *("=?utf-8*en?q?=0D=0AX:_1?=", "=?utf-8?Q?=E2=80=A8?=", "=?utf-16?b?AA0ACg==?="),
)
PLAIN = (
    "Ada",
    "Zoë",
    "Łucja",
    "名前",
    "שלום",
    "O'Neil",
    '"Ada"',
    "Ada (x)",
    "<Ada>",
    "a@b",
    "Ada\\",
    "👩‍🔬",
    "x" * 70,
    "é" * 60,
    "名" * 40,
)
LONG = ("x" * 998, "a b " * 300, "é" * 2000, "=?utf-8?q?" + "=41" * 400 + "?=", "x" * 5000)


def header_inputs(count: int, seed: int) -> list[str]:
    """As many different texts."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[_header(draw)] = None
    return list(found)


def _header(draw: random.Random) -> str:
    pieces = [draw.choice(PLAIN)]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        kind = draw.random()
        if kind < 0.6:
            pieces += [draw.choice(BREAKS), draw.choice(HEADERS)]
        elif kind < 0.9:
            pieces += [draw.choice((" ", "", "\r\n ")), draw.choice(WORDS)]
        else:
            pieces += [draw.choice(("", " ")), draw.choice(LONG)]
    pieces.append(draw.choice(("", draw.choice(BREAKS), draw.choice(PLAIN), f"{draw.randrange(10**6)}")))
    return "".join(pieces)


def as_address(text: str, n: int) -> str:
    """An address with a text somewhere in it."""
    forms = (
        "ada{n}{t}@example.com",
        '"ada{n}{t}"@example.com',
        "ada{n}@example.com{t}",
        "ada{n}@exa{t}mple.com",
        "{t}<ada{n}@example.com>",
    )
    return (*forms, "ada{n}@example.com>{t}", "ada{n}@[127.0.0.1{t}]")[n % 7].format(n=n, t=text)


@dataclass(frozen=True)
class Heads:
    """Detects headers that are not those of a mail which nobody meddled with. `free`: names of headers whose values differ from mail to
    mail; of all others the lines must be the same bytes."""

    names: Sequence[str]
    lines: frozenset[bytes]
    free: frozenset[str]
    parts: Sequence[str]

    @classmethod
    def of(cls, mail: bytes, free: frozenset[str]) -> Heads:
        found = message_from_bytes(mail, policy=SMTP)
        fixed = frozenset(line for line in _unfolded(mail) if _name(line) not in free)
        return cls(sorted(name.lower() for name in found), fixed, free, [part.get_content_type() for part in found.walk()])

    def faults(self, mail: bytes) -> list[str]:
        """What differs in `mail` (as sent: CRLF line ends, no dot-stuffing)."""
        wrong: list[str] = []
        head = mail.partition(b"\r\n\r\n")[0]
        if any(byte < 32 or byte > 126 for byte in head.replace(b"\r\n", b"")):
            wrong.append("a byte that is no printable ASCII")
        if any(len(line) > 998 for line in head.split(b"\r\n")):
            wrong.append("a line of over 998 octets")
        whole = message_from_bytes(mail)
        for parsed in (whole, BytesHeaderParser(policy=SMTP).parsebytes(head + b"\r\n\r\n")):
            if sorted(map(str.lower, parsed)) != self.names:
                wrong.append(f"headers {sorted(map(str.lower, parsed))}")
        if whole.defects or [part.get_content_type() for part in whole.walk()] != self.parts:
            wrong.append(f"parts {whole.defects}")
        if frozenset(line for line in _unfolded(mail) if _name(line) not in self.free) != self.lines:
            wrong.append("a header line that changed")
        return wrong


def _unfolded(mail: bytes) -> list[bytes]:
    return re.sub(rb"\r\n([ \t])", rb"\1", mail.partition(b"\r\n\r\n")[0]).split(b"\r\n")


def _name(line: bytes) -> str:
    return line.partition(b":")[0].decode("latin-1").lower()


# --- pages ----------------------------------------------------------------------------------------------------------------

OPENERS = (
    *(
        "",
        '"',
        "'",
        '">',
        "'>",
        "`>",
        "-->",
        "</title>",
        "</style>",
        "</textarea>",
        "</option></select>",
        "]]>",
        '" ',
        "' ",
        "/>",
        "\x00>",
    ),
    *(
        '"\n>',
        "&quot;>",
        "&#34;>",
        "&#x22;&#x3e;",
        "%22%3E",
        "\\x22\\x3e",
        "\uff1e",
        "＂＞",
        "</form>",
        "</main>",
        "\r\n\r\n",
        "{{",
        "}}",
        "{%",
    ),
)
CORES = (
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<iframe src=javascript:alert(1)>",
        "<b>x</b>",
    ),
    *(
        "<a href=javascript:alert(1)>x</a>",
        "onfocus=alert(1) autofocus=",
        'onmouseover="alert(1)',
        "<base href=//evil.example>",
        "<p>",
    ),
    *(
        "<meta http-equiv=refresh content=0;url=//evil.example>",
        "<form action=//evil.example><input name=x>",
        "<input type=hidden name=x>",
    ),
    *(
        "<style>@import '//evil.example'</style>",
        "<link rel=stylesheet href=//evil.example>",
        "<math><mi//xlink:href=data:x>",
        "<!--",
        "<![CDATA[",
    ),
    *(
        "<ScRiPt>alert(1)</sCrIpT>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "<object data=x>",
        "<details open ontoggle=alert(1)>",
        "<!DOCTYPE x>",
    ),
    *(
        "<template><p>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<select><option>",
        "<table><tr><td>",
        "<body onload=x>",
    ),
    *(
        "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
        "\u2028<script>",
        "&lt;script&gt;alert(1)",
        "&#60;script&#62;",
        "{{7*7}}",
        "{% raw %}",
        "${7*7}",
    ),
    *(
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "{{ ''.__class__ }}",
        "<\x00script>",
        "<%2fscript>",
        "＜script＞",
    ),
)
CLOSERS = (
    "",
    ">",
    '"',
    "'",
    "//",
    "<!--",
    "<x y='",
    '<x y="',
    "</script>",
    "\x00",
    "\ud800",
    "&",
    "&#",
    "<",
    "\u202e",
    "x" * 300,
)


def html_inputs(count: int, seed: int) -> list[str]:
    """As many different texts, each of which would be seen where nothing is escaped."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        core = draw.choice(CORES) if draw.random() < 0.8 else draw.choice(CORES) + draw.choice(CORES)
        found[
            f"{draw.choice(('', 'Ada', 'x '))}{draw.choice(OPENERS)}{core}{draw.choice(CLOSERS)}{draw.choice(('', draw.randrange(999)))}"
        ] = None
    return list(found)


Shape = list[tuple[str, tuple[tuple[str, str], ...]]]
_TAG = re.compile(r"<([^\s<>]*)([^<>]*)>")
_ATTRIBUTE = re.compile(r'(\s*([a-z-]+)="([^"]*)"(?=\s|$)|\S+)')


def tags_of(page: str) -> Shape:
    """Every tag of a page with its attributes, read more strictly than any parser does: a `<` begins a tag of ours or is told as one of
    nobody's, and an attribute that is not written as we write ours is told as it stands."""
    found: Shape = [("<", ())] * (page.count("<") - len(_TAG.findall(page)))
    for name, attributes in _TAG.findall(page):
        held = tuple((name, unescape(value) or told) for told, name, value in _ATTRIBUTE.findall(attributes))
        found.append((name, held))
    return found


def tree_of(page: str) -> Shape:
    """Every element of a page with its attributes, as a browser sees them (html5lib: the WHATWG algorithm)."""
    import html5lib

    tree = html5lib.parse(page, treebuilder="etree", namespaceHTMLElements=False)
    return [(str(one.tag), tuple(sorted(one.attrib.items()))) for one in tree.iter()]


def neutral(shape: Shape, base: str) -> Shape:
    """A shape without what may differ from post to post: values of fields, names of topics, and our own addresses below `base`."""
    return [(tag, tuple((name, _neutral(tag, name, value, base)) for name, value in attrs)) for tag, attrs in shape]


def _neutral(tag: str, name: str, value: str, base: str) -> str:
    if (tag, name) == ("input", "value"):
        return "…"
    if (tag, name) == ("input", "name") and value.startswith("topic."):
        return "topic.…"
    if (tag, name) in (("a", "href"), ("form", "action")) and re.fullmatch(
        re.escape(base) + r"/[a-z/]*/[\w~%.-]*(\?lang=[a-z]{2})?", value
    ):
        return "…"
    return value
