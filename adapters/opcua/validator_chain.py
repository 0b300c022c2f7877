"""Who vouches for a certificate: the way up to one that is trusted, and what the authorities have revoked.

A trusted certificate ends the way, whatever it is: a machine's own, an authority in between, a root. Every step up is a
signature that was verified; a name alone proves nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

_LONGEST: Final = 8
_MOST: Final = 16

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Stock:
    """What is trusted. pinned: fingerprints (SHA-256, hex) that are this one source's machine. trusted: certificates of
    machines and authorities; issuers: authorities that are known and not trusted by themselves.
    """

    pinned: frozenset[str] = frozenset()
    trusted: tuple[x509.Certificate, ...] = ()
    issuers: tuple[x509.Certificate, ...] = ()
    revocations: tuple[x509.CertificateRevocationList, ...] = ()

    def trusts(self, certificate: x509.Certificate) -> bool:
        return certificate in self.trusted or fingerprint(certificate) in self.pinned


class Forged(Exception):
    """Somebody's name stands below the certificate, and their key did not sign it."""


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the whole certificate, 64 hexadecimal digits."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Its value, or None where the certificate has none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def self_issued(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def chain_to_trust(shown: Sequence[x509.Certificate], stock: Stock) -> list[x509.Certificate]:
    """From shown[0] up to the nearest that is trusted; without one, as far as it goes. Raises Forged.

    Every certificate is looked at once, and of what a stranger sends along only so many: authorities that sign each other
    in circles would otherwise keep us busy for hours. Two authorities may have one name, of which only one has signed.
    """
    known = tuple(dict.fromkeys((*stock.trusted, *stock.issuers, *shown[1:_MOST])))
    ways = [[shown[0]]]
    seen = {shown[0]}
    for way in ways:  # grows while it is walked: the nearest first
        if stock.trusts(way[-1]):
            return way
        if len(way) < _LONGEST and not signed_by(way[-1], way[-1]):
            above = [c for c in known if c not in seen and signed_by(way[-1], c)]
            seen.update(above)
            ways += [[*way, issuer] for issuer in above]
    top = ways[-1][-1]
    named = [other for other in known if other.subject == top.issuer and other != top]
    if (named and not self_issued(top)) or (self_issued(top) and not signed_by(top, top)):
        raise Forged(top.issuer.rfc4514_string())
    return ways[-1]


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def issuer_fault(issuer: x509.Certificate, below: int) -> str:
    """Why it may not vouch for others, or nothing. below: authorities between it and the machine (RFC 5280, 4.2.1.9)."""
    basic, usage = extension(issuer, x509.BasicConstraints), extension(issuer, x509.KeyUsage)
    if basic is None or not basic.ca:
        return "is no authority, and may not vouch for others"
    if basic.path_length is not None and below > basic.path_length:
        return f"may have {basic.path_length} authorities below it, and there are {below}"
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates (its key usage says so)"
    return ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """What the lists of an issuer say of a certificate. when: of its revocation. unknown: why nobody can say."""

    when: dt.datetime | None = None
    unknown: str = ""


def revocation(
    certificate: x509.Certificate, issuer: x509.Certificate, stock: Stock, now: dt.datetime
) -> Revocation:
    """Only lists that the issuer has signed count, by its key and not by its name; old lists prove revocations only."""
    own = [crl for crl in stock.revocations if _is_of(crl, issuer)]
    for crl in own:
        found = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if found is not None:
            return Revocation(found.revocation_date_utc)
    if not own:
        return Revocation(unknown="there is no revocation list of")
    if not any(_is_fresh(crl, now) for crl in own):
        return Revocation(unknown="there is only an outdated revocation list of")
    return Revocation()


def _is_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """A list with a critical extension (a part of a list, a difference to one) is not read at all."""
    usage, key = extension(issuer, x509.KeyUsage), issuer.public_key()
    if crl.issuer != issuer.subject or (usage is not None and not usage.crl_sign):
        return False
    try:
        whole = not any(e.critical for e in crl.extensions)
        return whole and crl.is_signature_valid(key)  # type: ignore[arg-type]  # a wrong kind of key is a TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _is_fresh(crl: x509.CertificateRevocationList, now: dt.datetime) -> bool:
    return crl.last_update_utc <= now and (crl.next_update_utc is None or now <= crl.next_update_utc)
