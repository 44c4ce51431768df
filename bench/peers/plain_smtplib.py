"""What most people write in Python: EmailMessage and smtplib, over one kept connection.
`python -m bench.peers.plain_smtplib FOLDER PORT COUNT`"""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from bench import letter
from bench.peers import given
from shared.mail.compile import Recipient


def send(port: int, recipients: Sequence[Recipient]) -> None:
    peer = build()
    with smtplib.SMTP("127.0.0.1", port) as client:
        for recipient in recipients:
            client.send_message(peer.build(recipient))


def build() -> letter.Peer:
    links = given.links()
    return letter.Peer.of(given.compiled(links), links, given.CAMPAIGN)


if __name__ == "__main__":
    given.main(send)
