"""Our own application certificate: made on first use, kept with its key in one file that only we may read.

One file for both, linked into place, because two sources may start at the same moment and a key must never meet another
key's certificate. The public half is written beside it as DER, which is what a machine's settings want to import.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.errors import Misconfigured

_YEARS: Final = 10
_FOLDER: Final = Path("pki") / "own"


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """certificate and key as DER (the key as PKCS 8), and the ApplicationUri that the certificate names."""

    certificate: bytes
    key: bytes
    application_uri: str


def own_certificate(state_dir: str, certificate: Path | None, private_key: Path | None) -> OwnCertificate:
    """The configured pair, or the one that is made on first use. Blocks (disk, RSA). Raises Misconfigured."""
    try:
        if certificate is not None and private_key is not None:
            return _checked(certificate, certificate.read_bytes(), private_key.read_bytes())
        store = Path(state_dir) / _FOLDER / "collector.pem"
        if not store.exists():
            _make(store)
        both = store.read_bytes()
        return _checked(store, both, both)
    except OSError as error:
        raise Misconfigured(
            f"the collector's own certificate cannot be read or made: {error}",
            "give the collector the right to write its state folder, or name a certificate and private_key that it may read",
        ) from error
    except ValueError as error:
        raise Misconfigured(
            f"the collector's own certificate cannot be used: {error}",
            "certificate and private_key are DER or PEM files, the key RSA and not encrypted",
        ) from error


def _checked(where: Path, certificate: bytes, key: bytes) -> OwnCertificate:
    known = _load_certificate(certificate)
    if known.not_valid_after_utc < dt.datetime.now(dt.UTC):
        raise Misconfigured(
            f"the collector's own certificate ({where}) ran out on {known.not_valid_after_utc:%Y-%m-%d}",
            "delete or replace it; a new one is made on first use, and the machine has to trust that one then",
        )
    private = _load_key(key)
    if private.public_key().public_numbers() != _public(known).public_numbers():
        raise ValueError("the private key belongs to another certificate")
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise ValueError("it names no ApplicationUri (a URI among its subject alternative names)")
    der = known.public_bytes(serialization.Encoding.DER)
    return OwnCertificate(der, _pkcs8(private, serialization.Encoding.DER), str(uris[0]))


def _load_certificate(data: bytes) -> x509.Certificate:
    if b"-----BEGIN CERTIFICATE" in data:
        return x509.load_pem_x509_certificate(data[data.index(b"-----BEGIN CERTIFICATE") :])
    return x509.load_der_x509_certificate(data)


def _load_key(data: bytes) -> rsa.RSAPrivateKey:
    pem = b"-----BEGIN" in data
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the private key is not an RSA key, which Basic256Sha256 needs")  # noqa: TRY004 (a wrong file, not a wrong type)
    return key


def _public(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("its key is not an RSA key, which Basic256Sha256 needs")  # noqa: TRY004 (a wrong file, not a wrong type)
    return key


def _pkcs8(key: rsa.RSAPrivateKey, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _make(store: Path) -> None:
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = _self_signed(key)
    both = _pkcs8(key, serialization.Encoding.PEM) + certificate.public_bytes(serialization.Encoding.PEM)
    draft = store.with_name(f".{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(both)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, store)  # fails where another source was quicker: then its certificate is ours too
    except FileExistsError:
        return
    finally:
        draft.unlink()
    store.with_name("collector.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Fields as OPC 10000-6, 6.2.2 asks of an application instance certificate."""
    host = socket.gethostname()
    uri = f"urn:{host}:shopfloor-collector"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"shopfloor-collector@{host}"[:64])])
    now = dt.datetime.now(dt.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(host)]),
            critical=False,
        )
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
