"""Every API provider, every fault of a call: the class of its mails. `python -m tests.providers.api_faults` prints the table.

In each cell the worst case holds: what the server read to its end, it took. No mail that it took may be in a class that is sent again.
"""

from __future__ import annotations

import asyncio
import sys

from shared.providers import Given
from shared.providers.api import ApiSender
from shared.providers.api_http import Http
from shared.providers.senders import open_sender
from tests.providers.api_server import CUT, GARBAGE, RESET, SLOW, FakeApi
from tests.providers.fake_mailgun import FakeMailgun
from tests.providers.fake_mandrill import FakeMandrill
from tests.providers.fake_postmark import FakePostmark
from tests.providers.fake_sendgrid import FakeSendGrid
from tests.providers.fake_ses import FakeSes
from tests.providers.sender_contract import FROM, SINGLE, mails

REFUSED = "refused"
FAULTS: tuple[str | int, ...] = (REFUSED, RESET, SLOW, 401, 429, 500, 503, CUT, GARBAGE)
SERVERS: dict[str, tuple[type[FakeApi], dict[str, str]]] = {
    "sendgrid": (FakeSendGrid, {}),
    "ses": (FakeSes, {"region": FakeSes.region}),
    "postmark": (FakePostmark, {}),
    "mailgun": (FakeMailgun, {"domain": FakeMailgun.domain}),
    "mandrill": (FakeMandrill, {}),
}
WANTED = {  # in the order of FAULTS. SendGrid's 202 has no body, so that garbage in it changes nothing
    "sendgrid": "down unknown unknown ours throttle unknown down unknown sent",
    "ses": "down unknown unknown ours throttle unknown down unknown unknown",
    "postmark": "down unknown unknown ours throttle unknown down unknown unknown",
    "mailgun": "down unknown unknown ours throttle unknown unknown unknown unknown",
    "mandrill": "down unknown unknown ours throttle unknown unknown unknown unknown",
}
CELLS = [(kind, fault, wanted) for kind, row in WANTED.items() for fault, wanted in zip(FAULTS, row.split(), strict=True)]


async def cell(kind: str, fault: str | int) -> str:
    """The class of a call's mails, "mixed" when they are not all of one, "TWICE" when a mail taken could be sent again."""
    make, options = SERVERS[kind]
    async with make() as server:
        server.faults = {1: fault}

        async def secret() -> str:
            return server.key

        given = Given(name=kind, options={**options, "endpoint": server.url}, secret=secret)
        if fault == REFUSED:
            await server.__aexit__()
        sender = open_sender(kind, given)
        assert isinstance(sender, ApiSender)
        if fault == SLOW:
            sender._http = Http(timeout=0.7)
        outcomes = await sender.send(FROM, mails(3, SINGLE))
        await sender.close()
        taken = {address for mail in server.inbox for address in mail.to}
    kinds = {outcome.kind for outcome in outcomes}
    if taken and not kinds <= {"sent", "unknown"}:
        return "TWICE"
    return kinds.pop() if len(kinds) == 1 else "mixed"


async def table() -> int:
    """Print it; how many cells are wrong."""
    width = max(map(len, SERVERS))
    print(" " * width, *(f"{fault!s:>9}" for fault in FAULTS))
    wrong = 0
    for kind, row in WANTED.items():
        found = [await cell(kind, fault) for fault in FAULTS]
        wrong += sum(one != wanted for one, wanted in zip(found, row.split(), strict=True))
        print(f"{kind:<{width}}", *(f"{one:>9}" for one in found))
    print(f"{len(CELLS)} cells, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(asyncio.run(table()) > 0)
