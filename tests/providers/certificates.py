"""Certificates for 127.0.0.1, good and bad ones, and an authority that the client trusts."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates; `client()` trusts it and nobody else. Its files are kept in `folder`."""

    folder: Path
    name: str = "authority"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def client(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.UTC)
        made = _begun(self.name, self._key, now - DAY, now + DAY).issuer_name(_name(self.name))
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return ssl.create_default_context(cadata=pem.decode())

    def server(self, address: str = "127.0.0.1", days: tuple[int, int] = (-1, 1), own: bool = False) -> ssl.SSLContext:
        """A server's context: a certificate for `address`, valid between `days` from now, signed by itself when `own`."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
        made = _begun(address, key, now + days[0] * DAY, now + days[1] * DAY).issuer_name(_name(address if own else self.name))
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        signed = made.add_extension(names, critical=False).sign(key if own else self._key, hashes.SHA256())
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = self.folder / f"{self.name} {address} {days} {own}.pem"
        pem.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    name: str, key: ec.EllipticCurvePrivateKey, start: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(name)).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
