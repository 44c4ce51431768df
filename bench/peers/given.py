"""What every side is given: the same recipients, the keys to make their tokens with, and the letter. Ours gets the template; a peer
gets the finished HTML and text, links already rewritten, with {name}, {track}, {leave} and {preferences} where each recipient has values of
their own.

A side sends WARM mails first, which are not counted: interpreters and compilers of the just-in-time kind have found their stride by then.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import letter
from shared.links import Links
from shared.mail.compile import CompiledMail, Recipient, compile
from shared.mail.source import Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

CAMPAIGN = "C-0001"
BASE = "https://mail.lumen-coffee.example"
ADDRESS = "reader{}@example.com"
KEY = b"a key of the bench, 32 bytes long"
WARM = 200
FILE = "given.json"


def links() -> Links:
    return Links(BASE, Tokens([KEY]))


def compiled(links: Links) -> CompiledMail:
    """The letter, as a campaign's worker has it before the first recipient."""
    return compile(Source(name="news.html", data=letter.template(), campaign=CAMPAIGN, identity=letter.IDENTITY), links)


def recipients(count: int) -> list[Recipient]:
    return [
        Recipient(
            MailRef(CAMPAIGN, f"{n:032x}"), ADDRESS.format(n), {"name": letter.NAMES[n % len(letter.NAMES)], "language": "en"}
        )
        for n in range(count)
    ]


def samples() -> list[Recipient]:
    """One recipient for each name."""
    return recipients(len(letter.NAMES))


def write(folder: Path, count: int) -> None:
    """Put FILE there, for the peers that are not Python; raises AssertionError when its token keys do not make our tokens."""
    made = links()
    peer = letter.Peer.of(compiled(made), made, CAMPAIGN)
    people = [{"address": one.address, "ref": one.ref.text, "name": one.fields["name"]} for one in recipients(count)]
    found = {
        **asdict(letter.IDENTITY),
        "date": letter.DATE,
        "leave_url": f"{BASE}/unsubscribe/",
        "subject": peer.subject,
        "text": peer.text,
        "html": peer.html,
        "keys": {
            purpose: _key(purpose) for purpose in ("track", "leave", "message")
        },  # a token is its text, ".", 128 bits of HMAC
        "recipients": people,
    }
    (folder / FILE).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _key(purpose: str) -> str:
    """As shared.tokens derives it, in hex."""
    return hashlib.sha256(b"subscriber-pipeline " + purpose.encode() + b"\0" + KEY).hexdigest()


def main(send: Callable[[int, Sequence[Recipient]], None]) -> None:
    """`FOLDER PORT COUNT` of a side in Python: `send(port, recipients)`; prints the seconds of CPU of this process for COUNT mails."""
    port, count = int(sys.argv[2]), int(sys.argv[3])
    people = recipients(count + WARM)
    send(port, people[count:])
    started = time.process_time()
    send(port, people[:count])
    print(time.process_time() - started)
