"""The mail both sides send: about 15 KB of HTML with 30 counted links, a text part, a name in the subject and in the greeting.

The peer is what most people write: EmailMessage with both parts set, and smtplib. It gets the finished HTML and text, with links
already rewritten, as strings to put values into, so that it does nothing of what compile does; and it sends the same mail: `same`
compares what a mail program would see. So does every other peer in bench/peers.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape

from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient
from shared.mail.source import Identity
from shared.model.ref import MailRef

IDENTITY = Identity(
    from_name="Lumen Coffee",
    from_address="hello@lumen-coffee.example",
    postal_address="Lumen Coffee, 12 Harbour Street, 1100-001 Lisbon",
    list_name="Lumen Coffee news",
    list_domain="news.lumen-coffee.example",
)
DATE = "Thu, 01 Jan 2026 09:00:00 +0000"
NAMES = ("Ana", "José", "Chidi", "Søren", "李娜", "Maria Clara", "Нина", "Tom", "", "O'Neill")
HEADERS = ("From", "To", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id")
_LINKS = 30
_NAME = "zqname"
_POLICY = policy.SMTP.clone(max_line_length=998)  # the default would re-encode a long List-Unsubscribe address
_PAGE = """---
subject: A new roast for {{ name or "you" }}
preheader: Light, sweet, from Huila
---
<!doctype html>
<html lang="en"><head><title>A new roast</title><style>
p { font: 15px/1.5 Georgia, serif; color: #333 }
a { color: #7a3e12 }
</style></head><body>
<h1>Hello {{ name or "you" }}</h1>
"""
_CARD = """<p>Lot {n}: washed, grown at 1,{n:02}0 metres, dried for {n} days on raised beds — tasting of red apple, panela and jasmine,
good as a filter and as an espresso. <a href="https://lumen-coffee.example/shop/lot-{n}">See lot {n}</a></p>
"""


def template() -> bytes:
    """The file a marketer would have in the folder."""
    return (_PAGE + "".join(_CARD.format(n=n) for n in range(1, _LINKS + 1)) + "</body></html>\n").encode()


def parts(wire: bytes) -> tuple[str, str, str]:
    """(subject, text, HTML) as a mail reader sees them."""
    message = message_from_bytes(wire, policy=policy.SMTP)
    found = [message.get_body((kind,)) for kind in ("plain", "html")]
    text, html = (part.get_content() if part else "" for part in found)
    return str(message["subject"]), text.replace("\r\n", "\n").strip(), html.replace("\r\n", "\n").strip()


@dataclass(frozen=True)
class Peer:
    """EmailMessage, personalised by str.replace; the tokens are made by the same code as ours."""

    links: Links
    subject: str
    text: str
    html: str

    @classmethod
    def of(cls, mail: CompiledMail, links: Links, campaign: str) -> Peer:
        """The strings of a compiled mail, with a value to replace where each recipient has one of their own."""
        ref = MailRef(campaign, "f" * 32)
        subject, text, html = parts(mail.splice(Recipient(ref, "reader@example.com", {"name": _NAME}), DATE))
        ways = {links.unsubscribe(ref): "{leave}", links.preferences(ref): "{preferences}"}
        tokens = {**ways, links.track_token(ref): "{track}", _NAME: "{name}"}
        for token, place in tokens.items():
            text, html, subject = text.replace(token, place), html.replace(token, place), subject.replace(token, place)
        return cls(links, subject, text, html)

    def build(self, recipient: Recipient) -> EmailMessage:
        """One mail."""
        ref, name = recipient.ref, recipient.fields["name"] or "you"
        track, leave = self.links.track_token(ref), self.links.unsubscribe(ref)
        message = EmailMessage(policy=_POLICY)
        message["Subject"] = self.subject.replace("{name}", name)
        message["From"] = f"{IDENTITY.from_name} <{IDENTITY.from_address}>"
        message["To"] = recipient.address
        message["Date"] = DATE
        message["Message-ID"] = self.links.message_id(ref, IDENTITY.list_domain)
        message["List-Unsubscribe"] = f"<{leave}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message["List-Id"] = f"{IDENTITY.list_name} <{IDENTITY.list_domain}>"
        ways = {"{leave}": leave, "{preferences}": self.links.beside(leave, "preferences"), "{track}": track}
        text, html = self.text, self.html
        for place, way in ways.items():
            text, html = text.replace(place, way), html.replace(place, way)
        message.set_content(text.replace("{name}", name))
        html = html.replace("{name}", name.replace("'", "&#x27;"))
        message.add_alternative(html, subtype="html")
        return message


def same(ours: bytes, theirs: bytes, peer: str) -> None:
    """Raises AssertionError when the two sides would not show the reader, and the mail program, the same mail."""
    mine, other = _seen(ours), _seen(theirs)
    for what in mine:
        if mine[what] != other[what]:
            raise AssertionError(f"{peer} sends another {what}: {other[what][:200]!r}, not {mine[what][:200]!r}")


def _seen(wire: bytes) -> dict[str, str]:
    """What a mail says, however it was encoded: ' may be &#39; or &#x27;."""
    message = message_from_bytes(wire, policy=policy.SMTP)
    subject, text, html = parts(wire)
    headers = {name: str(message[name]).strip() for name in HEADERS}
    return headers | {"subject": subject, "text": text, "HTML": unescape(html)}
