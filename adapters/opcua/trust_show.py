"""What `collector trust` shows of a machine before anybody trusts it: asked without credentials, believed in nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.errors import Misconfigured
from adapters.opcua.credentials import Offer
from adapters.opcua.errors import crossing
from adapters.opcua.security import Gate, secure_offers
from adapters.opcua.trust import TrustFolder
from adapters.opcua.validator import spaced
from adapters.opcua.validator_chain import Stock, fingerprint
from adapters.opcua.validator_names import hosts, uris


@dataclass(frozen=True, slots=True)
class Shown:
    """What the machine shows. trusted: it is believed already. fault: why it would be refused even when it is pinned.
    before: fingerprints that are trusted for this source now.
    """

    certificate: x509.Certificate
    offers: tuple[Offer, ...]
    before: tuple[str, ...]
    trusted: bool
    fault: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)

    def as_json(self) -> dict[str, Any]:
        return {
            **described(self.certificate),
            "offered": sorted({offer.words for offer in self.offers}),
            "sign_in": sorted({token for offer in self.offers for token in offer.tokens}),
            "calls_itself": sorted({offer.application_uri for offer in self.offers if offer.application_uri}),
            "trusted": self.trusted,
            "fault": self.fault,
            "before": [spaced(one) for one in self.before],
        }


def described(certificate: x509.Certificate) -> dict[str, Any]:
    """A certificate in words and numbers; the times in UTC."""
    key = certificate.public_key()
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "sha256": spaced(fingerprint(certificate)),
        "sha1": certificate.fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303 (many a machine shows only this)
        "valid_from": _day(certificate.not_valid_before_utc),
        "valid_until": _day(certificate.not_valid_after_utc),
        "key": f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__,
        "application_uri": uris(certificate),
        "hosts": hosts(certificate),
    }


async def look(gate: Gate) -> Shown:
    """Ask the machine what it shows. Raises NotConnected, and Misconfigured when it offers no such security."""
    with crossing(gate.settings.url):
        offers = await gate.offers()
    best = secure_offers(gate.settings, offers)[0]
    folder, pin = TrustFolder(gate.state_dir), gate.settings.server_certificate_sha256
    stock = await asyncio.to_thread(folder.stock, gate.source, pin)
    pinned = replace(stock, pinned=frozenset({best.fingerprint}))
    return Shown(
        best.chain[0],
        tuple(offers),
        tuple(sorted(stock.pinned)),
        not _fault(gate, best, stock),
        _fault(gate, best, pinned),
    )


def _fault(gate: Gate, offer: Offer, stock: Stock) -> str:
    try:
        gate.choose([offer], stock)
    except Misconfigured as error:
        return str(error)
    return ""


def _day(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
