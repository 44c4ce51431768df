"""An SMTP connection, from nothing to authenticated: aiosmtplib shakes hands, and its transport is taken over.

Where TLS is asked for, nothing is said in clear text but EHLO and STARTTLS: no fall-back, the certificate and its name are
verified, what was announced before the upgrade is forgotten, and bytes that came with the answer to STARTTLS are thrown away
(RFC 3207 §4.2, §6).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import aiosmtplib

from shared.errors import PipelineError
from shared.ports import Outcome
from shared.providers.smtp_envelope import Offers
from shared.providers.smtp_replies import classify

Security: TypeAlias = Literal["none", "starttls", "tls"]

# OpenSSL's X509_V_ERR_… -> what the operator has to mend; any other is "tls untrusted".
_CERTIFICATE = {
    9: "tls not yet valid",
    10: "tls expired",
    18: "tls self-signed",
    19: "tls self-signed",
    62: "tls wrong name",
    64: "tls wrong name",
}
_NEXT_MECHANISM = {500, 502, 504}  # announced but not there; a wrong password is not tried three times
_SIZE = re.compile(r"[0-9]{1,18}")


class Refused(Exception):
    """No connection could be had; `outcome` is what that means for every mail waiting for it."""

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(detail or outcome.code)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Server:
    """Where to, and how. `password` is asked for at each connection, when there is a `username`; `timeout` in seconds."""

    host: str
    port: int
    username: str
    password: Callable[[], Awaitable[str]] | None
    security: Security
    hello: str
    timeout: float


async def open_connection(server: Server, tls: ssl.SSLContext | None) -> tuple[asyncio.Transport, Offers]:
    """Connect, upgrade and authenticate. Raises Refused."""
    try:
        password = await server.password() if server.password and server.username else None
    except PipelineError as error:
        raise Refused(Outcome("down"), str(error)) from None
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        local_hostname=server.hello,
        timeout=server.timeout,
        use_tls=server.security == "tls",
        start_tls=False,
        tls_context=tls,
    )
    try:
        await _shake_hands(client, server, password)
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        if not 400 <= error.code < 600:
            raise Refused(Outcome("down", "garbage")) from None
        raise Refused(classify("connect", f"{error.code} {error.message}".encode(errors="replace"))) from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise Refused(Outcome("down", _why(error))) from None
    except BaseException:
        client.close()
        raise
    if client.transport is None:  # closed right after its last reply
        raise Refused(Outcome("down", "closed"))
    return cast(asyncio.Transport, client.transport), _offers(client.esmtp_extensions)


async def _shake_hands(client: aiosmtplib.SMTP, server: Server, password: str | None) -> None:
    await client.connect()
    await client.ehlo()
    if server.security == "starttls":
        if not client.supports_extension("starttls"):
            raise Refused(Outcome("down", "no starttls"))
        await client.starttls()
        await client.ehlo()
    if password is not None:
        await _log_in(client, server.username, password)


async def _log_in(client: aiosmtplib.SMTP, username: str, password: str) -> None:
    log_in = {"cram-md5": client.auth_crammd5, "plain": client.auth_plain, "login": client.auth_login}
    mechanisms = [name for name in client.supported_auth_methods if name in log_in]
    if not mechanisms:
        raise Refused(Outcome("down", "no auth"))
    for name in mechanisms:
        try:
            await log_in[name](username, password)
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code not in _NEXT_MECHANISM or name == mechanisms[-1]:
                raise
        else:
            return


def _offers(extensions: dict[str, str]) -> Offers:
    size = extensions.get("size", "").strip()
    return Offers(
        pipelining="pipelining" in extensions,
        utf8="smtputf8" in extensions,
        eight_bit="8bitmime" in extensions,
        size=int(size) if _SIZE.fullmatch(size) else 0,
    )


def _why(error: BaseException) -> str:
    """A few words for an operator, never a server's text."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return _CERTIFICATE.get(found.verify_code, "tls untrusted")
        if isinstance(found, ssl.SSLError):
            return "tls failed"
        found = found.__cause__
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return "time-out"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return "closed"
    return "unreachable" if isinstance(error, OSError) else "garbage"
