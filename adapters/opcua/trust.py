"""What is trusted, on disk: the folder `trust` of the state folder, as OPC 10000-12 lays out a trust list.

`trusted/certs`, `trusted/crl`, `issuers/certs`, `issuers/crl` hold what an administrator puts there and concern every
source. `pinned/<source>` holds what `collector trust SOURCE` stored after a yes, and concerns that source alone: one
machine's key must not open another machine's door.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.errors import Misconfigured
from adapters.opcua.validator_chain import Stock, fingerprint

FOLDER: Final = "trust"
_PARTS: Final = ("trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl")
_LARGEST: Final = 16 * 2**20
_LOOKS: Final = 5

Read = TypeVar("Read")


class TrustFolder:
    """`<state>/trust`. Every method blocks (disk) and raises Misconfigured for what cannot be read."""

    def __init__(self, state_dir: str | Path) -> None:
        self.path = Path(state_dir) / FOLDER

    def stock(self, source: str, pin: str | None = None) -> Stock:
        """What counts for this source. pin: a fingerprint in the configuration; then nothing else counts.

        A file that cannot be read is an error, not a shorter list: a lost revocation would be trust.
        """
        if pin is not None:
            return Stock(frozenset({pin}))
        return Stock(
            frozenset(map(fingerprint, self.pinned(source))),
            tuple(self._all("trusted/certs", _certificates)),
            tuple(self._all("issuers/certs", _certificates)),
            tuple(self._all("trusted/crl", _revocations) + self._all("issuers/crl", _revocations)),
        )

    def pinned(self, source: str) -> list[x509.Certificate]:
        """What was trusted for this source by name."""
        return self._all(f"pinned/{source}", _certificates)

    def sources(self) -> list[str]:
        """Sources with a pinned certificate."""
        return sorted(child.name for child in _listed(self.path / "pinned") if _files(child))

    def pin(
        self, source: str, certificate: x509.Certificate, url: str = "", urls: Sequence[str] = ()
    ) -> Path:
        """Trust exactly this certificate for this source, in place of what was pinned before. Durable on return.

        urls: all addresses of the source; what was pinned for another of them than `url` stays, since redundant servers have
        a certificate each.
        """
        folder = self.path / "pinned" / source
        with _changing(self.path):
            self._furnish(folder)
            new, kept = folder / _file_name(url), {_file_name(other) for other in urls}
            before = [file for file in _files(folder) if file.name not in kept]
            _write(new, certificate.public_bytes(serialization.Encoding.DER))
            _give(new, self.path.parent)
            for file in before:
                if file != new:
                    file.unlink(missing_ok=True)
        return new

    def _furnish(self, folder: Path) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for made in (folder, *(self.path / part for part in _PARTS)):
            for level in (self.path, made.parent, made):
                if not level.is_dir():
                    level.mkdir(mode=0o700, exist_ok=True)
                    _give(level, self.path.parent)

    def unpin(self, source: str) -> list[x509.Certificate]:
        """Trust nothing for this source by name any more; what it was."""
        gone, folder = self.pinned(source), self.path / "pinned" / source
        with _changing(self.path):
            for file in _files(folder):
                file.unlink(missing_ok=True)
            with suppress(OSError):  # something else lies in it, or comes just now
                folder.rmdir()
        return gone

    def _all(self, part: str, parse: Callable[[bytes], Sequence[Read]]) -> list[Read]:
        """Of a folder as it was at one moment: where a file goes away before it is read, what took its place was not listed."""
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):
                return [one for file in _files(self.path / part) for one in _read(file, parse)]
        raise Misconfigured(f"the list of what is trusted in {self.path / part} changes all the time")


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _files(folder: Path) -> list[Path]:
    return [file for file in _listed(folder) if file.is_file() and not file.name.startswith(".")]


def _read(file: Path, parse: Callable[[bytes], Sequence[Read]]) -> Sequence[Read]:
    try:
        with file.open("rb") as source:
            return parse(source.read(_LARGEST))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"{file} in the list of what is trusted cannot be read: {error}",
            "it must hold a certificate or revocation list as DER or PEM; replace it or take it away",
        ) from error


def _unreadable(folder: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"{folder}, the list of what is trusted, cannot be read: {error.strerror or error}",
        "the collector needs the right to read its state folder",
    )


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"what is trusted cannot be changed in {folder}: {error.strerror or error}",
            "say it as a user who may write the state folder, and see that the disk has room",
        ) from error


def _certificates(data: bytes) -> Sequence[x509.Certificate]:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


def _revocations(data: bytes) -> Sequence[x509.CertificateRevocationList]:
    load = x509.load_pem_x509_crl if b"-----BEGIN" in data else x509.load_der_x509_crl
    return [load(data)]


def _file_name(url: str) -> str:
    """Of the certificate for an address."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", url.removeprefix("opc.tcp://") or "machine") + ".der"


def _give(made: Path, owner_of: Path) -> None:
    """What an administrator stores belongs to the service, whose state folder it is: else it could not read it."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = owner_of.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all, for us alone, and on the disk."""
    draft = file.with_name(f".{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
