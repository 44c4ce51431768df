"""How fast mail goes out where the CPU is not the limit: over 64 connections to a server 20 ms away, and over one connection with TLS.

A connection that has to wait for its server once a mail sends 1/RTT mails a second, so `connections / RTT` is what there is to reach;
a dialogue that waits k times for a mail reaches a k-th of it. RTT is measured in each round, through the same proxy, with NOOPs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.ports import Outgoing
from shared.providers.smtp import SmtpSender

from . import delay, letter, sink, stage
from .peers import given
from .report import Goal, Row, compared, never
from .sink import Sink

ROUNDS = 3
CONNECTIONS = 64
DELAY = 10.0  # ms each way
EACH = 200  # mails a connection and round
TLS_MAILS = 3_000
TLS_FLOOR = 1_000  # mails a second
BUSY = 0.95  # of the time: a sink that works more than this may have been what was measured


def run(drain: Sink) -> list[Row]:
    """Raises AssertionError when a mail is lost or sent twice, or when the sink was the limit."""
    rates, bounds, trips, tls = [], [], [], []
    with ExitStack() as kept:
        pem = kept.enter_context(stage.folder()) / "tls.pem"
        trust = _certificate(pem)
        secured = kept.enter_context(sink.running(pem))
        for _ in range(ROUNDS):
            with delay.running(drain.port, DELAY) as far:
                trip, rate = uvloop.run(_far(drain, far))
            trips.append(1000 * trip)
            bounds.append(CONNECTIONS / trip)
            rates.append(rate)
            tls.append(uvloop.run(_secured(secured, trust)))
    name = f"{CONNECTIONS} connections, {2 * DELAY:g} ms away / connections : RTT"
    measured = f"RTT measured: {median(trips):.1f} ms; k = 1"
    return [
        compared(name, "mails/s", rates, bounds, Goal("≥", 0.9), measured),
        never(f"one TLS connection / {TLS_FLOOR:,}", "mails/s", tls, TLS_FLOOR, "the slowest round; splice included"),
    ]


async def _far(drain: Sink, port: int) -> tuple[float, float]:
    """(RTT in seconds, mails a second) through the proxy at `port`."""
    trip = await _round_trip(port)
    sender = SmtpSender("127.0.0.1", port, connections=CONNECTIONS)
    address, data = letter.IDENTITY.from_address, given.compiled(given.links()).splice(given.samples()[0], letter.DATE)
    mails = iter([Outgoing(given.ADDRESS.format(n), data) for n in range(CONNECTIONS * (EACH + 1))])

    async def send(count: int) -> None:
        for start in range(0, count, sender.window):
            window = [next(mails) for _ in range(min(sender.window, count - start))]
            outcomes = await sender.send(address, window)
            assert all(outcome.kind == "sent" for outcome in outcomes)

    await asyncio.gather(*(send(1) for _ in range(CONNECTIONS)))  # connects
    drain.expect(CONNECTIONS)
    started = time.perf_counter()
    await asyncio.gather(*(send(EACH) for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - started
    _idle_enough(drain.expect(CONNECTIONS * EACH), seconds)
    await sender.close()
    return trip, CONNECTIONS * EACH / seconds


async def _round_trip(port: int) -> float:
    """Seconds from a NOOP to its answer, the middle one of 20, over one connection that has nothing else to do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    found = []
    for _ in range(20):
        started = time.perf_counter()
        writer.write(b"NOOP\r\n")
        await reader.readline()
        found.append(time.perf_counter() - started)
    writer.close()
    return median(found)


async def _secured(secured: Sink, trust: ssl.SSLContext) -> float:
    """Mails a second over one connection with TLS from the first byte."""
    sender = SmtpSender("127.0.0.1", secured.port, security="tls", tls_context=trust, connections=1, recycle=2 * TLS_MAILS)
    mail, recipients = given.compiled(given.links()), given.recipients(TLS_MAILS)
    await sender.ready()
    started = time.perf_counter()
    for start in range(0, TLS_MAILS, sender.window):
        window = recipients[start : start + sender.window]
        outgoing = [Outgoing(one.address, mail.splice(one, letter.DATE)) for one in window]
        await sender.send(letter.IDENTITY.from_address, outgoing)
    seconds = time.perf_counter() - started
    await sender.close()
    _idle_enough(secured.expect(TLS_MAILS), seconds)
    return TLS_MAILS / seconds


def _idle_enough(taken: dict[str, int], seconds: float) -> None:
    if taken["cpu"] / 1e6 > BUSY * seconds:
        raise AssertionError(f"the sink worked {taken['cpu'] / 1e6:.1f} s of {seconds:.1f}: it was the limit, not the sender")


def _certificate(file: Path) -> ssl.SSLContext:
    """Write a key and a certificate for 127.0.0.1 into one file; a context that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(here, critical=False)
    made = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    text = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(secret + text)
    return ssl.create_default_context(cadata=text.decode())
