"""Key and certificates of simulated machines: made on first use, kept where a folder is named, else for this run alone.

One key for all machines of a process: a key takes a tenth of a second to make, a certificate two milliseconds, and nobody
has to be kept apart from himself. Runs that share a folder share its key, also when they find it empty at once. The folder is laid out as OPC UA servers do: `own/private`, `own/certs`.
"""

import datetime as dt
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulators.errors import SimulatorError

BITS: Final = 2048
LASTS: Final = dt.timedelta(days=3650)
DAY: Final = dt.timedelta(days=1)
ELSEWHERE: Final = "another-machine.invalid"
CHANGES: Final = ("certificate_change", "certificate_renewed", "certificate_expired", "certificate_host")
"""The faults: with another key, with the same one, run out, with somebody else's host names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a machine says that it is."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_der(self) -> bytes:
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    @property
    def fingerprint(self) -> str:
        """SHA-256, as people compare it: AB:CD:…"""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()


class Keys:
    """The keys of a process: the machines' own, and another one for a machine that was exchanged. Made when asked for."""

    def __init__(self) -> None:
        self._made: dict[str, RSAPrivateKey] = {}

    def key(self, name: str = "own", load: Callable[[], RSAPrivateKey] | None = None) -> RSAPrivateKey:
        """The same one for the same name. load: where it comes from, if it is not to be made."""
        if name not in self._made:
            made = generate_private_key(public_exponent=65537, key_size=BITS) if load is None else load()
            self._made[name] = made
        return self._made[name]


@dataclass(frozen=True, slots=True)
class Registrar:
    """Makes the certificates of machines, or finds them in the folder. All methods block: disk, and a tenth of a second once."""

    keys: Keys
    folder: Path | None
    hosts: tuple[str, ...]

    def identity(self, machine: str) -> Identity:
        """The machine's own; one that was kept is taken while key, name and hosts are right and it has not run out."""
        key = self._key()
        kept = None if self.folder is None else _read_certificate(self._file(self.folder, machine))
        if kept is not None and self._still_good(kept, key, machine):
            return Identity(kept, key)
        made = Identity(certificate(machine, self.hosts, key), key)
        if self.folder is None:
            return made
        file = self._file(self.folder, machine)
        if kept is None:
            if _write_first(file, made.der):
                return made
            kept = _read_certificate(
                file
            )  # another run with this folder was faster: one machine, one certificate
            if kept is not None and self._still_good(kept, key, machine):
                return Identity(kept, key)
        _write(file, made.der)
        return made

    def another(self, machine: str, before: Identity, change: str) -> Identity:
        """What the machine shows instead while a fault of `CHANGES` is on."""
        key = self.keys.key("other") if change == "certificate_change" else before.key
        hosts = (ELSEWHERE,) if change == "certificate_host" else self.hosts
        ends = dt.datetime.now(dt.UTC) - DAY if change == "certificate_expired" else None
        return Identity(certificate(machine, hosts, key, ends), key)

    def _still_good(self, kept: x509.Certificate, key: RSAPrivateKey, machine: str) -> bool:
        wanted = set(names(machine, self.hosts))
        try:
            said = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            same = _public(kept.public_key()) == _public(key.public_key())  # type: ignore[arg-type]
        except (x509.ExtensionNotFound, ValueError, UnsupportedAlgorithm):
            return False
        return same and wanted <= set(said) and kept.not_valid_after_utc > dt.datetime.now(dt.UTC) + DAY

    def _key(self) -> RSAPrivateKey:
        folder = self.folder
        return (
            self.keys.key() if folder is None else self.keys.key(str(folder), lambda: self._kept_key(folder))
        )

    def _kept_key(self, folder: Path) -> RSAPrivateKey:
        file = folder / "own" / "private" / "key.pem"
        try:
            if (
                not file.exists()
            ):  # another run with this folder may be at it as well: the first one's key is the key of both
                own = self.keys.key()
                _write_first(file, own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            key = load_pem_private_key(file.read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SimulatorError(
                f"{file}: this key cannot be read ({error}). Take it away for a new one."
            ) from error
        if not isinstance(key, RSAPrivateKey):
            raise SimulatorError(f"{file}: this is no RSA key. Take it away for a new one.")
        return key

    @staticmethod
    def _file(folder: Path, machine: str) -> Path:
        return folder / "own" / "certs" / f"{machine}.der"


def _public(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def application_uri(machine: str) -> str:
    return f"urn:shopfloor:sim:{machine}"


def hosts_of(listening: str, advertised: str) -> tuple[str, ...]:
    """Under which names clients may come: this computer's, the one listened on, and the one they are told."""
    every = listening in ("0.0.0.0", "::", "")
    own = ("localhost", "127.0.0.1", socket.gethostname(), "" if every else listening, advertised)
    return tuple(dict.fromkeys(host for host in own if host))


def names(machine: str, hosts: Sequence[str]) -> Iterator[x509.GeneralName]:
    """What stands in SubjectAltName (OPC 10000-6, 6.2.2): ApplicationUri and hosts."""
    yield x509.UniformResourceIdentifier(application_uri(machine))
    for host in hosts:
        try:
            yield x509.IPAddress(ip_address(host))
        except ValueError:
            if host.isascii():
                yield x509.DNSName(host)


def certificate(
    machine: str, hosts: Sequence[str], key: RSAPrivateKey, ends: dt.datetime | None = None
) -> x509.Certificate:
    """Self-signed, as OPC 10000-6, 6.2.2 wants that of an application instance."""
    now = dt.datetime.now(dt.UTC)
    who = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{machine} (simulated)"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shopfloor simulators"),
        ]
    )
    last = ends or now + LASTS
    first = min(now, last) - DAY
    builder = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), first, last)
    for value, critical in _extensions(machine, hosts, key):
        builder = builder.add_extension(value, critical)
    return builder.sign(key, hashes.SHA256())


def _extensions(
    machine: str, hosts: Sequence[str], key: RSAPrivateKey
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    yield x509.SubjectAlternativeName(names(machine, hosts)), False
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False
    yield x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    yield usage, True


def _read_certificate(file: Path) -> x509.Certificate | None:
    """None where there is none, or none that can be read: then it is made anew."""
    try:
        return x509.load_der_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return None


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all, and for its owner alone."""
    with _draft(file, data) as draft:
        draft.replace(file)


def _write_first(file: Path, data: bytes) -> bool:
    """As `_write`, but what is there stays: False. A link is made once only, whoever else tries at that moment; a folder without links
    (FAT) has no such word, and there the last one wins.
    """
    with _draft(file, data) as draft:
        try:
            os.link(draft, file)
        except FileExistsError:
            return False
        except OSError:
            draft.replace(file)
    return True


@contextmanager
def _draft(file: Path, data: bytes) -> Iterator[Path]:
    """The data beside its place, until it has been put there."""
    draft = file.with_name(f".{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        yield draft
    except OSError as error:
        raise SimulatorError(f"{file}: cannot be written ({error.strerror or error}).") from error
    finally:
        draft.unlink(missing_ok=True)
