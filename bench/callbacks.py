"""Providers' callbacks as they come: most events in SendGrid's signed lists, some alone, and some of it all a second time."""

from __future__ import annotations

import base64
import json
import random
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.model.ref import MailRef
from shared.providers import generic

from . import stage
from .requests import Call

REPEATED = 0.3  # of all events: come once more, the same callback later on
SINGLES = 0.2  # of all events: come one by one
BATCH = 100  # events of one of the others
_KEY = ec.derive_private_key(20_260_101, ec.SECP256R1())


@dataclass(frozen=True)
class Callback:
    """`ids`: of its events, as they are published. `again`: it has come before."""

    call: Call
    ids: tuple[str, ...]
    again: bool = False


def prepare(given: stage.Stage) -> None:
    """Make the provider's key known to the step."""
    public = _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    given.secrets.add("webhook-sendgrid", base64.b64encode(public))


async def coming(given: stage.Stage, events: int) -> list[Callback]:
    """Callbacks with so many events in all, REPEATED of them in copies, each somewhere after the first; to be made within 5 minutes,
    while their signatures hold."""
    chance, [key] = random.Random(events), await given.secrets.get("webhook-generic")
    distinct = round(events * (1 - REPEATED))
    alone = round(distinct * SINGLES)
    first = [_single(given, n, key.value) for n in range(alone)]
    first += [_list(given, range(n, min(n + BATCH, distinct))) for n in range(alone, distinct, BATCH)]
    chance.shuffle(first)
    spare, placed = events - distinct, [(chance.random(), each) for each in first]
    for at, each in chance.sample(placed, len(placed)):
        if len(each.ids) <= spare:
            spare -= len(each.ids)
            placed.append((chance.uniform(at, 1), Callback(each.call, each.ids, again=True)))
    return [each for _, each in sorted(placed, key=lambda pair: pair[0])]


def _ref(n: int) -> MailRef:
    return MailRef(stage.CAMPAIGN, f"{n:032x}")


def _single(given: stage.Stage, n: int, key: bytes) -> Callback:
    now = time.time_ns() // 1_000_000
    item = {"id": f"one{n}", "event": "delivered", "message_id": given.links.message_id(_ref(n), "bench.example"), "at": now}
    body = json.dumps(item).encode()
    headers = {"webhook-timestamp": str(now // 1000), "webhook-signature": generic.sign(body, key, now // 1000)}
    return Callback(Call("POST", "/generic", 204, headers, body), (f"one{n}",))


def _list(given: stage.Stage, numbers: range) -> Callback:
    now, domain = int(time.time()), "bench.example"
    body = json.dumps(
        [
            {
                "email": f"reader{n}@example.com",
                "timestamp": now,
                "smtp-id": given.links.message_id(_ref(n), domain),
                "event": "delivered",
                "category": ["news"],
                "sg_event_id": f"many{n}",
                "sg_message_id": f"{n:022x}.recvd-5f6-1-0",
                "response": "250 OK",
            }
            for n in numbers
        ]
    ).encode()
    proof = base64.b64encode(_KEY.sign(str(now).encode() + body, ec.ECDSA(SHA256()))).decode()
    headers = {
        "content-type": "application/json",
        "x-twilio-email-event-webhook-signature": proof,
        "x-twilio-email-event-webhook-timestamp": str(now),
    }
    return Callback(Call("POST", "/sendgrid", 200, headers, body), tuple(f"many{n}" for n in numbers))
