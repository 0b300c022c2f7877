"""Certificates of every kind for tests: a small authority, identities below it, revocation lists, and twelve ways to be wrong.

Keys are made once per process. SHA-1 is done by hand, because `cryptography` rightly makes no such certificate.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
YEAR = dt.timedelta(days=365)
URI = "urn:test:machine:server"
_SHA256_RSA = bytes.fromhex("06092a864886f70d01010b")
_SHA1_RSA = bytes.fromhex("06092a864886f70d010105")


@functools.cache
def key(number: int, size: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same number, for as long as this process lives."""
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def usage(**given: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


MACHINE_USAGE = usage(digital_signature=True, key_encipherment=True)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, and the certificates above it that a server would send along."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_der(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def shown(self) -> list[x509.Certificate]:
        return [self.certificate, *self.above]

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """As `name.der` and `name.key` there."""
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / f"{name}.der", folder / f"{name}.key"
        files[0].write_bytes(self.der)
        files[1].write_bytes(self.key_der)
        return files


@dataclass(frozen=True)
class Wish:
    """What a certificate shall say. issuer None: it signs itself. extra: extensions beyond the usual (value, critical)."""

    name: str = "machine"
    uri: str | None = URI
    hosts: Sequence[str] = ("127.0.0.1", "localhost")
    issuer: Identity | None = None
    first: dt.datetime = NOW - dt.timedelta(days=1)
    last: dt.datetime = NOW + YEAR
    key: int = 1
    bits: int = 2048
    sha1: bool = False
    usage: x509.KeyUsage | None = MACHINE_USAGE
    extended: Sequence[Any] | None = (ExtendedKeyUsageOID.SERVER_AUTH,)
    ca: bool | None = False
    path_length: int | None = None
    extra: Sequence[tuple[x509.ExtensionType, bool]] = field(default_factory=tuple)


def make(wish: Wish) -> Identity:
    own = key(wish.key, wish.bits)
    issuer = wish.issuer
    signer = own if issuer is None else issuer.key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.name)])
    builder = x509.CertificateBuilder(
        subject if issuer is None else issuer.certificate.subject, subject, own.public_key(),
        x509.random_serial_number(), wish.first, wish.last,
    )  # fmt: skip
    for value, critical in _extensions(wish):
        builder = builder.add_extension(value, critical)
    made = builder.sign(signer, hashes.SHA256())
    if wish.sha1:
        made = with_sha1(made, signer)
    above = () if issuer is None else (issuer.certificate, *issuer.above)
    return Identity(made, own, above)


def _extensions(wish: Wish) -> list[tuple[x509.ExtensionType, bool]]:
    names = [x509.IPAddress(ip_address(h)) if h[:1].isdigit() else x509.DNSName(h) for h in wish.hosts]
    alternative = ([] if wish.uri is None else [x509.UniformResourceIdentifier(wish.uri)]) + names
    made: list[tuple[x509.ExtensionType, bool]] = list(wish.extra)
    if alternative:
        made.append((x509.SubjectAlternativeName(alternative), False))
    if wish.usage is not None:
        made.append((wish.usage, True))
    if wish.extended is not None:
        made.append((x509.ExtendedKeyUsage(wish.extended), False))
    if wish.ca is not None:
        made.append((x509.BasicConstraints(wish.ca, wish.path_length), True))
    return made


def authority(
    name: str = "Factory CA", key: int = 100, issuer: Identity | None = None, **wishes: Any
) -> Identity:
    """A root, or an authority below `issuer`."""
    given: dict[str, Any] = {
        "name": name, "key": key, "issuer": issuer, "uri": None, "hosts": (), "extended": None, "ca": True,
        "usage": usage(key_cert_sign=True, crl_sign=True),
    }  # fmt: skip
    return make(Wish(**{**given, **wishes}))


def revocations(
    issuer: Identity,
    *revoked: x509.Certificate,
    first: dt.datetime = NOW - dt.timedelta(days=1),
    last: dt.datetime = NOW + YEAR,
    signer: rsa.RSAPrivateKey | None = None,
) -> x509.CertificateRevocationList:
    """The list of an authority. signer: whose key it is really signed with."""
    entries = [
        x509.RevokedCertificateBuilder(c.serial_number, NOW - dt.timedelta(hours=2)).build() for c in revoked
    ]
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, first, last)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer or issuer.key, hashes.SHA256())


def with_sha1(certificate: x509.Certificate, signer: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate, signed with SHA-1: the name of the method is as long, so the lengths around it stay."""
    signed = certificate.tbs_certificate_bytes.replace(_SHA256_RSA, _SHA1_RSA)
    der = certificate.public_bytes(serialization.Encoding.DER)
    der = der.replace(certificate.tbs_certificate_bytes, signed).replace(_SHA256_RSA, _SHA1_RSA)
    signature = signer.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return x509.load_der_x509_certificate(der.replace(certificate.signature, signature))


def wrong(root: Identity) -> dict[str, tuple[Identity, str]]:
    """Certificates that nobody who trusts `root` (and has the revocation list with `revoked(root)`) may believe, and why.

    The two other wrongs of U21 are no certificates: an endpoint without security, and another certificate in the answer
    to CreateSession than in the endpoint.
    """
    stranger = authority("Factory CA", 101)  # the same name, another key
    middle = authority("Middle CA", 102, issuer=root)
    client_only = [ExtendedKeyUsageOID.CLIENT_AUTH]
    colleague = make(Wish(name="another machine", issuer=root, key=4))
    return {
        "untrusted": (make(Wish(key=2)), "BadCertificateUntrusted"),
        "expired": (make(Wish(issuer=root, last=NOW - dt.timedelta(hours=1))), "BadCertificateTimeInvalid"),
        "not yet valid": (
            make(Wish(issuer=root, first=NOW + dt.timedelta(days=1))),
            "BadCertificateTimeInvalid",
        ),
        "wrong uri": (make(Wish(issuer=root, uri="urn:another:machine")), "BadCertificateUriInvalid"),
        "wrong host": (
            make(Wish(issuer=root, hosts=("10.9.8.7", "press-7"))),
            "BadCertificateHostNameInvalid",
        ),
        "revoked": (revoked(root), "BadCertificateRevoked"),
        "wrong usage": (make(Wish(issuer=root, extended=client_only)), "BadCertificateUseNotAllowed"),
        "weak key": (make(Wish(issuer=root, key=3, bits=1024)), "BadCertificatePolicyCheckFailed"),
        "sha-1": (make(Wish(issuer=root, sha1=True)), "BadCertificatePolicyCheckFailed"),
        "broken chain": (_without(make(Wish(issuer=middle)), middle), "BadCertificateChainIncomplete"),
        "forged authority": (_without(make(Wish(issuer=stranger)), stranger), "BadCertificateInvalid"),
        "signed by a machine": (make(Wish(issuer=colleague)), "BadCertificateIssuerUseNotAllowed"),
    }


@functools.cache
def revoked(root: Identity) -> Identity:
    """The one that the authority's list names."""
    return make(Wish(name="revoked machine", issuer=root, key=4))


def _without(identity: Identity, gone: Identity) -> Identity:
    """As a server that forgets to send an authority."""
    return Identity(
        identity.certificate, identity.key, tuple(c for c in identity.above if c != gone.certificate)
    )
