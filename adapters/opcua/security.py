"""Whom we talk to, settled before anything secret leaves.

The endpoints are asked over a connection without secrets. The certificate that the server shows there must have the pinned
fingerprint, and exactly that certificate is used for the channel: only its owner can read what we encrypt for it. What
the endpoints say is otherwise not believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.errors import Misconfigured
from adapters.opcua.certificate import own_certificate
from adapters.opcua.channel import Channel, Credentials, Offer
from adapters.opcua.settings import OpcUaSource


def spaced(fingerprint: str) -> str:
    """As people compare it: AB:CD:…"""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


async def credentials(settings: OpcUaSource, state_dir: str) -> Credentials:
    """What to connect with. Raises Misconfigured when the server is not the one that is pinned, or offers no security."""
    password = None if settings.password is None else settings.password.get_secret_value()
    if settings.security == "none":
        return Credentials(username=settings.username)
    own = await asyncio.to_thread(own_certificate, state_dir, settings.certificate, settings.private_key)
    offers = await Channel(settings.url, settings.request_timeout).offers()
    offer = trusted(settings, offers)
    return Credentials(own, offer.certificate, settings.username, password)


def secure_offers(settings: OpcUaSource, offers: Sequence[Offer]) -> list[Offer]:
    """The endpoints with the security that is asked for. Raises Misconfigured when there is none."""
    found = [
        o for o in offers if o.mode == "SignAndEncrypt" and o.policy == settings.policy and o.certificate
    ]
    if not found:
        seen = ", ".join(sorted({f"{o.mode.rstrip('_')} {o.policy}" for o in offers})) or "nothing"
        raise Misconfigured(
            f"{settings.url} does not offer SignAndEncrypt with {settings.policy}; it offers {seen}",
            "switch it on in the machine's OPC UA settings, or choose the unprotected connection by name (security: none)",
        )
    return found


def trusted(settings: OpcUaSource, offers: Sequence[Offer]) -> Offer:
    """The endpoint whose certificate is pinned."""
    found, pinned = secure_offers(settings, offers), settings.server_certificate_sha256
    for offer in found:
        if offer.fingerprint == pinned:
            return offer
    shown = spaced(found[0].fingerprint)
    if pinned is None:
        raise Misconfigured(
            f"{settings.url}: no fingerprint is configured, so nobody knows whether this is the machine; it shows {shown}",
            "compare this with the certificate in the machine's own settings (`collector check --online` prints it too), "
            f"then write server_certificate_sha256: {shown}",
        )
    raise Misconfigured(
        f"{settings.url} shows the certificate {shown}, but {spaced(pinned)} is pinned: this may be another computer",
        "if the machine's certificate was renewed, compare the new fingerprint there and write it into "
        "server_certificate_sha256; otherwise find out who answers at this address. No password was sent",
    )
