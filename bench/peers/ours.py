"""Our sending path: compile, splice, SMTP, for a list of recipients. `python -m bench.peers.ours FOLDER PORT COUNT`"""

from __future__ import annotations

from collections.abc import Sequence

import uvloop

from bench import letter
from bench.peers import given
from shared import heap
from shared.mail.compile import Recipient
from shared.ports import Outgoing
from shared.providers.smtp import SmtpSender


def send(port: int, recipients: Sequence[Recipient]) -> None:
    uvloop.run(_send(port, recipients))


async def _send(port: int, recipients: Sequence[Recipient]) -> None:
    """A window is spliced and handed over before the next, as send_batch does."""
    heap.keep()
    sender, mail = SmtpSender("127.0.0.1", port), given.compiled(given.links())
    for start in range(0, len(recipients), sender.window):
        window = recipients[start : start + sender.window]
        outgoing = [Outgoing(one.address, mail.splice(one, letter.DATE)) for one in window]
        outcomes = await sender.send(letter.IDENTITY.from_address, outgoing)
        assert all(outcome.kind == "sent" for outcome in outcomes)
    await sender.close()


if __name__ == "__main__":
    given.main(send)
