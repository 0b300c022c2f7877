"""Our own application certificate: made on first use, kept with its key in one file that only we may read; and the user's.

One file for both, linked into place, because two sources may start at the same moment and a key must never meet another
key's certificate. The public half is written beside it as DER, which is what a machine's settings want to import.

It is never renewed silently, because every machine has to trust the new one: `prepare` makes the next one beside it,
`adopt` takes it into use when the machines know it. Sessions go on with the old one until their connection ends.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
    """certificate and key as DER (the key as PKCS 8), the ApplicationUri that it names, its file, and its last second."""

    certificate: bytes
    key: bytes = field(repr=False)
    application_uri: str
    file: Path = Path()
    expires: dt.datetime | None = None

    @property
    def name(self) -> str:
        """What it calls itself, with the beginning of its fingerprint: to be found again in a machine's list."""
        known = x509.load_der_x509_certificate(self.certificate)
        common = known.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        who = str(common[0].value) if common else known.subject.rfc4514_string()
        sha1, sha256 = (known.fingerprint(kind()).hex(":").upper() for kind in (hashes.SHA1, hashes.SHA256))
        return f"{who} (SHA-1 {sha1}, SHA-256 {sha256})"


def own_certificate(
    state_dir: str,
    certificate: Path | None,
    private_key: Path | None,
    now: Callable[[], int] = time.time_ns,
) -> OwnCertificate:
    """The configured pair, or the one that is made on first use. Blocks (disk, RSA). Raises Misconfigured.

    now: ns since 1970, UTC.
    """
    with _readable("the collector's own certificate"):
        if certificate is not None and private_key is not None:
            return _checked(certificate, certificate.read_bytes(), private_key.read_bytes(), _time(now))
        store = own_file(state_dir)
        if not store.exists():
            _make(store, _time(now))
        both = store.read_bytes()
        made = _checked(store, both, both, _time(now))
        _show(made)
        return made


def user_certificate(certificate: Path | None, key: Path | None) -> OwnCertificate | None:
    """Who signs in by certificate; None where nobody does. Whether it is still valid is for the machine to say."""
    if certificate is None or key is None:
        return None
    with _readable("the user's certificate"):
        known, private = _pair(certificate.read_bytes(), key.read_bytes())
        der = known.public_bytes(serialization.Encoding.DER)
        return OwnCertificate(der, _pkcs8(private, serialization.Encoding.DER), "", certificate)


def own_file(state_dir: str | Path) -> Path:
    """Where the one that we made is kept, with its key."""
    return Path(state_dir) / _FOLDER / "collector.pem"


def prepare(state_dir: str, now: Callable[[], int] = time.time_ns) -> OwnCertificate:
    """The next own certificate, made beside the one in use (once), for the machines to trust before it is adopted."""
    with _readable("the collector's next certificate"):
        following = own_file(state_dir).with_name("next.pem")
        if not following.exists():
            _make(following, _time(now))
        both = following.read_bytes()
        made = _checked(following, both, both, _time(now))
        _show(made)
        return made


def adopt(state_dir: str, now: Callable[[], int] = time.time_ns) -> OwnCertificate:
    """Take the prepared one into use, from the next connection on; the one before is kept as `previous.pem`.

    There is one at every moment: a connection that found none would make another, which no machine knows. Raises Misconfigured
    where none was prepared: nobody can have told the machines of it.
    """
    store = own_file(state_dir)
    following, before = store.with_name("next.pem"), store.with_name("previous.pem")
    if not following.exists():
        raise Misconfigured(
            "there is no next certificate that could be taken into use",
            "run `collector trust --renew` and have the machines trust what it makes; what is in use stays in use until then",
        )
    prepare(state_dir, now)
    with _readable("the collector's own certificate"):
        if store.exists():
            before.unlink(missing_ok=True)
            os.link(store, before)
        following.replace(store)
        following.with_suffix(".der").unlink(missing_ok=True)
    return own_certificate(state_dir, None, None, now)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"{what} cannot be read or made: {error}",
            "give the collector the right to write its state folder, or name a certificate and private_key that it may read",
        ) from error
    except ValueError as error:
        raise Misconfigured(
            f"{what} cannot be used: {error}",
            "certificate and private_key are DER or PEM files, the key RSA and not encrypted",
        ) from error


def _time(now: Callable[[], int]) -> dt.datetime:
    return dt.datetime.fromtimestamp(now() // 10**9, dt.UTC)


def _pair(certificate: bytes, key: bytes) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    known, private = _load_certificate(certificate), _load_key(key)
    if private.public_key().public_numbers() != _public(known).public_numbers():
        raise ValueError("the private key belongs to another certificate")
    return known, private


def _checked(where: Path, certificate: bytes, key: bytes, now: dt.datetime) -> OwnCertificate:
    known, private = _pair(certificate, key)
    if known.not_valid_after_utc < now:
        raise Misconfigured(
            f"the collector's own certificate ({where}) ran out on {known.not_valid_after_utc:%Y-%m-%d}",
            "run `collector trust --renew` for a new one (or replace the configured file), have the machines trust it, then run "
            "`collector trust --adopt`; if this computer's clock is wrong, set it",
        )
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise ValueError("it names no ApplicationUri (a URI among its subject alternative names)")
    der = known.public_bytes(serialization.Encoding.DER)
    key_der = _pkcs8(private, serialization.Encoding.DER)
    return OwnCertificate(der, key_der, str(uris[0]), where, known.not_valid_after_utc)


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
        raise ValueError("the private key is not an RSA key, which the security policies need")  # noqa: TRY004 (a wrong file, not a wrong type)
    return key


def _public(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("its key is not an RSA key, which the security policies need")  # noqa: TRY004 (a wrong file, not a wrong type)
    return key


def _pkcs8(key: rsa.RSAPrivateKey, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _make(store: Path, now: dt.datetime) -> None:
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = _self_signed(key, now)
    both = _pkcs8(key, serialization.Encoding.PEM) + certificate.public_bytes(serialization.Encoding.PEM)
    draft = store.with_name(f".{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(both)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another source was quicker: then its certificate is ours too
            os.link(draft, store)
    finally:
        draft.unlink(missing_ok=True)


def _show(made: OwnCertificate) -> None:
    """The public half beside it, for machines to import: also where a crash came in between, or another was adopted.

    Whoever only looks, as a user who may not write there, goes on without.
    """
    file = made.file.with_suffix(".der")
    with suppress(OSError):
        if not file.exists() or file.read_bytes() != made.certificate:
            draft = file.with_name(f".{secrets.token_hex(8)}")
            try:
                draft.write_bytes(made.certificate)
                draft.replace(file)
            finally:
                draft.unlink(missing_ok=True)


def _self_signed(key: rsa.RSAPrivateKey, now: dt.datetime) -> x509.Certificate:
    """Fields as OPC 10000-6, 6.2.2 asks of an application instance certificate."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
    uri = f"urn:{host}:shopfloor-collector"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"shopfloor-collector@{host}"[:64])])
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
