"""Certificates for TLS tests: right ones, and each kind of wrong one."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority(NamedTuple):
    """ca: its certificate as a file."""

    folder: Path
    ca: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, *, host: str = "127.0.0.1", begins: int = -1, ends: int = 1) -> Path:
        """A certificate and its key in one file. begins, ends: days from now."""
        now = dt.datetime.now(dt.UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        made = _signed(
            self, _name(name), key.public_key(), alternative, (now + begins * DAY, now + ends * DAY)
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self.folder / f"{name}.pem"
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
        return file


def authority(folder: Path) -> Authority:
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    found = Authority(folder, folder / "ca.pem", _name(f"ca of {folder.name}"), key)
    now = dt.datetime.now(dt.UTC)
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    made = _signed(found, found.name, key.public_key(), constraints, (now - 30 * DAY, now + 30 * DAY))
    found.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    by: Authority,
    name: x509.Name,
    public: Any,
    extension: x509.ExtensionType,
    valid: tuple[dt.datetime, dt.datetime],
) -> x509.Certificate:
    builder = x509.CertificateBuilder(by.name, name, public, x509.random_serial_number(), *valid)
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    builder = builder.add_extension(own, critical=False).add_extension(issuer, critical=False)
    return builder.add_extension(extension, critical=True).sign(by.key, hashes.SHA256())
