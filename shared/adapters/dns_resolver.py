"""DNS by dnspython, with the nameservers of the machine."""

from __future__ import annotations

from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdtypes.txtbase import TXTBase

from shared.errors import Unavailable
from shared.ports import RecordKind


class Resolver:
    """See `Dns`. `nameservers`: IP addresses in place of the machine's; `lifetime`: seconds for one look-up."""

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53, lifetime: float = 5.0) -> None:
        self._nameservers, self._port, self._lifetime = nameservers, port, lifetime
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def records(self, name: str, kind: RecordKind) -> list[str]:
        try:
            answer = await self._open().resolve(f"{name}.", kind, raise_on_no_answer=False, lifetime=self._lifetime)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Unavailable("DNS", type(error).__name__) from None
        return [_text(record) for record in answer.rrset or ()]

    def _open(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:  # reads /etc/resolv.conf, and says so when there is none
            self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            self._resolver.port = self._port
            if self._nameservers:
                self._resolver.nameservers = list(self._nameservers)
        return self._resolver


def _text(record: object) -> str:
    """A TXT record's strings are one text (RFC 7208 §3.3, RFC 6376 §3.6.2.2)."""
    return b"".join(record.strings).decode("utf-8", "replace") if isinstance(record, TXTBase) else str(record)
