"""Whether a server's certificate is believed: the checks of OPC 10000-4, 6.1.3, in that order, each with its status name.

Pure: certificates, what is trusted and the time go in, a refusal comes out; nobody is asked and no disk is read. What
cannot be checked counts as failed. Not the library's validator (its default trusts anybody, its revocation looks at
serial numbers alone) and not `cryptography.x509.verification`: that is made for the web, and refuses what machines have
(a self-signed certificate without a host name, the usages of OPC 10000-6) while knowing nothing of an ApplicationUri.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from adapters.errors import Misconfigured
from adapters.opcua.validator_chain import (
    Forged,
    Stock,
    chain_to_trust,
    extension,
    fingerprint,
    issuer_fault,
    revocation,
    self_issued,
)
from adapters.opcua.validator_names import hosts, is_named, uris

_SHORTEST: Final = 2048
_SHORTEST_WEAK: Final = 1024
_GOOD_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD: Final = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
)
_RENEW: Final = "renew or replace the certificate in the machine's OPC UA settings"
_STRANGER: Final = "find out who answers at this address: this may be another computer. No password was sent"


class Untrusted(Misconfigured):
    """The certificate is refused. status: the name that OPC UA has for the reason (OPC 10000-4, 7.39.2)."""

    def __init__(self, status: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.status = status


@dataclass(frozen=True, slots=True)
class Expected:
    """Who should answer: the host of the url, and the ApplicationUri that the endpoint names. source: its name, for words."""

    source: str
    host: str
    application_uri: str


@dataclass(frozen=True, slots=True)
class Rules:
    """weak: a policy of long ago was chosen by name, whose certificates had SHA-1 and 1024 bits (OPC 10000-7).
    revocation: True wants a list of every authority; False only where there is any list at all.
    """

    weak: bool = False
    revocation: bool = False


def validate(
    shown: Sequence[x509.Certificate], stock: Stock, expected: Expected, now: dt.datetime, rules: Rules
) -> None:
    """Returns when shown[0] is believed; the rest of `shown` are issuers that the server sent. Raises Untrusted.

    A certificate that is pinned needs nobody to vouch for it and no host name: it is this machine's by its fingerprint.
    """
    leaf, pinned = shown[0], fingerprint(shown[0]) in stock.pinned
    _structure(leaf)
    _strength(leaf, leaf, rules)  # before the chain: what is signed with SHA-1 is not even tried
    chain = [leaf] if pinned else _chain(shown, stock)
    for certificate in chain[1:]:
        _strength(certificate, leaf, rules)
    _trust(chain, stock, expected)
    for certificate in chain:
        _validity(certificate, leaf, now)
    if not pinned:
        _host(leaf, expected)
    _uri(leaf, expected)
    _usage(leaf)
    _authorities(chain)
    _revocations(chain, stock, now, rules)


def _structure(leaf: x509.Certificate) -> None:
    """What we do not understand and must not ignore (RFC 5280, 4.2) is refused like what cannot be read."""
    try:
        strange = [
            e.oid.dotted_string
            for e in leaf.extensions
            if e.critical and not isinstance(e.value, _UNDERSTOOD)
        ]
    except (ValueError, x509.DuplicateExtension) as error:
        raise Untrusted(
            "BadCertificateInvalid", f"the machine's certificate cannot be read: {error}", _RENEW
        ) from error
    if strange:
        said = f"the machine's certificate demands what is not understood here ({', '.join(strange)})"
        raise Untrusted("BadCertificateInvalid", said, _RENEW)


def _chain(shown: Sequence[x509.Certificate], stock: Stock) -> list[x509.Certificate]:
    try:
        return chain_to_trust(shown, stock)
    except Forged as error:
        said = f"a signature is not by {error}, whom the machine's certificate names"
        raise Untrusted("BadCertificateInvalid", said, _STRANGER) from error


def _strength(certificate: x509.Certificate, leaf: x509.Certificate, rules: Rules) -> None:
    """An authority's signature below its own certificate proves nothing, so it may be old; its key has to be good."""
    fault = _weak_key(certificate, leaf, rules)
    if not fault and (certificate is leaf or not self_issued(certificate)):
        fault = _weak_signature(certificate, rules)
    if fault:
        raise Untrusted("BadCertificatePolicyCheckFailed", f"{_whose(certificate, leaf)} {fault}", _RENEW)


def _weak_key(certificate: x509.Certificate, leaf: x509.Certificate, rules: Rules) -> str:
    key, shortest = certificate.public_key(), _SHORTEST_WEAK if rules.weak else _SHORTEST
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < shortest:
        return f"has a key of {key.key_size} bits, which can be broken: {shortest} are needed"
    if certificate is leaf and not isinstance(key, rsa.RSAPublicKey):
        return "has no RSA key, which these security policies need"
    return ""


def _weak_signature(certificate: x509.Certificate, rules: Rules) -> str:
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        used = None
    if isinstance(used, (*_GOOD_HASHES, hashes.SHA1) if rules.weak else _GOOD_HASHES):
        return ""
    name = "an unknown method" if used is None else used.name.upper()
    return f"is signed with {name}, which can be forged: SHA-256 or better is needed"


def _trust(chain: Sequence[x509.Certificate], stock: Stock, expected: Expected) -> None:
    leaf, top = chain[0], chain[-1]
    if stock.trusts(top):
        return
    if stock.pinned:
        raise _changed(leaf, stock, expected)
    if not self_issued(top):
        who = top.issuer.rfc4514_string()
        said = f"the machine's certificate is vouched for by {who}, whose own certificate is not there"
        remedy = f"put that authority's certificate into trust/trusted/certs of the state folder, or {_run(expected)}"
        raise Untrusted("BadCertificateChainIncomplete", said, remedy)
    said = f"the machine's certificate {spaced(fingerprint(leaf))} is not trusted yet, nor is anybody who vouches for it"
    remedy = f"{_run(expected)}: it shows the certificate, and trusts it after a yes. No password was sent"
    raise Untrusted("BadCertificateUntrusted", said, remedy)


def _changed(leaf: x509.Certificate, stock: Stock, expected: Expected) -> Untrusted:
    known = " or ".join(spaced(print_) for print_ in sorted(stock.pinned))
    return Untrusted(
        "BadCertificateUntrusted",
        f"certificate changed: the machine shows {spaced(fingerprint(leaf))}, but {known} is trusted: "
        "this may be another computer",
        f"if the machine's certificate was renewed, {_run(expected)} and compare; otherwise find out who answers at this "
        "address. No password was sent",
    )


def _run(expected: Expected) -> str:
    return f"run `collector trust {expected.source}`"


def _validity(certificate: x509.Certificate, leaf: x509.Certificate, now: dt.datetime) -> None:
    status = "BadCertificateTimeInvalid" if certificate is leaf else "BadCertificateIssuerTimeInvalid"
    whose, today = _whose(certificate, leaf), f"it is {now:%Y-%m-%d %H:%M} UTC by this computer's clock"
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        said = f"{whose} expired on {last:%Y-%m-%d}; {today}"
        raise Untrusted(status, said, f"if that clock is wrong, set it; otherwise {_RENEW}")
    if now < first:
        said = f"{whose} is not valid before {first:%Y-%m-%d %H:%M} UTC; {today}"
        raise Untrusted(
            status, said, f"set the clock that is wrong, here or at the machine; otherwise {_RENEW}"
        )


def _host(leaf: x509.Certificate, expected: Expected) -> None:
    if is_named(leaf, expected.host):
        return
    named = ", ".join(hosts(leaf)) or "no host"
    said = f"the machine's certificate is for {named}, not for {expected.host}"
    remedy = (
        f"use a name in `url` that the certificate has, or {_run(expected)} to trust exactly this certificate"
    )
    raise Untrusted("BadCertificateHostNameInvalid", said, f"{remedy}. No password was sent")


def _uri(leaf: x509.Certificate, expected: Expected) -> None:
    """Cannot be waived (OPC 10000-4, 6.1.3): it is the name of the application, not of its place."""
    named = uris(leaf)
    if expected.application_uri and expected.application_uri in named:
        return
    said = (
        f"the machine calls itself {expected.application_uri or 'nothing'}, "
        f"but its certificate is for {', '.join(named) or 'no application'}"
    )
    raise Untrusted(
        "BadCertificateUriInvalid", said, f"{_RENEW} (it was made before the machine was renamed?)"
    )


def _usage(leaf: x509.Certificate) -> None:
    """As much as the channel needs. OPC 10000-6 asks for more, which many machines lack; it would protect nothing here."""
    usage, extended = extension(leaf, x509.KeyUsage), extension(leaf, x509.ExtendedKeyUsage)
    fault = ""
    if usage is not None and not usage.digital_signature:
        fault = "signing"
    elif usage is not None and not (usage.key_encipherment or usage.data_encipherment):
        fault = "encryption"
    elif extended is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }.intersection(extended):
        fault = "a server"
    if fault:
        said = f"the machine's certificate is not meant for {fault} (its key usage says so)"
        raise Untrusted("BadCertificateUseNotAllowed", said, _RENEW)


def _authorities(chain: Sequence[x509.Certificate]) -> None:
    for below, issuer in enumerate(chain[1:]):
        if fault := issuer_fault(issuer, below):
            said = f"{_whose(issuer, chain[0])} {fault}"
            raise Untrusted("BadCertificateIssuerUseNotAllowed", said, _STRANGER)


def _revocations(chain: Sequence[x509.Certificate], stock: Stock, now: dt.datetime, rules: Rules) -> None:
    for certificate, issuer in pairwise(chain):
        middle, whose = "" if certificate is chain[0] else "Issuer", _whose(certificate, chain[0])
        found = revocation(certificate, issuer, stock, now)
        if found.when is not None:
            said = f"{whose} was revoked on {found.when:%Y-%m-%d}"
            raise Untrusted(f"BadCertificate{middle}Revoked", said, f"{_RENEW}. No password was sent")
        if found.unknown and (stock.revocations or rules.revocation):
            who = issuer.subject.rfc4514_string()
            said = f"nobody knows whether {whose} is revoked: {found.unknown} {who}"
            remedy = "put the authority's newest list into trust/trusted/crl of the state folder"
            raise Untrusted(f"BadCertificate{middle}RevocationUnknown", said, remedy)


def _whose(certificate: x509.Certificate, leaf: x509.Certificate) -> str:
    if certificate is leaf:
        return "the machine's certificate"
    return f"the certificate of the authority {certificate.subject.rfc4514_string()}"


def spaced(digits: str) -> str:
    """A fingerprint as people compare it: AB:CD:…"""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()
