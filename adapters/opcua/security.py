"""Whom we talk to, settled before anything secret leaves.

The endpoints are asked over a connection without secrets, and nothing that they say is believed: the certificate must pass
the validator, exactly that certificate is used for the channel (only its owner can read what we encrypt for it), and on
that channel the server has to name the same endpoints again before anybody signs in. Who edited the first list in between,
to make us choose something weaker, is found out there (OPC 10000-4, 5.7.2).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from asyncua.ua.uaerrors import UaError

from adapters.errors import Misconfigured
from adapters.opcua.certificate import OwnCertificate, own_certificate, user_certificate
from adapters.opcua.channel import Channel
from adapters.opcua.credentials import POLICIES, STRONG, Credentials, Offer
from adapters.opcua.errors import name_of
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.trust import TrustFolder
from adapters.opcua.validator import Expected, Rules, Untrusted, spaced, validate
from adapters.opcua.validator_chain import Stock

_MOST: Final = 32  # endpoints that are looked at
MODES: Final = {"none": "None_", "sign": "Sign", "sign_and_encrypt": "SignAndEncrypt"}


@dataclass(frozen=True, slots=True)
class Gate:
    """Everything that decides whom a source talks to. now: the time by our clock, asked anew for every connection."""

    source: str
    settings: OpcUaSource
    state_dir: str
    now: Callable[[], int]  # ns since 1970, UTC

    async def credentials(self) -> Credentials:
        """What to connect with. Raises Misconfigured when the server is not whom we trust, or offers no such security."""
        settings = self.settings
        password = None if settings.password is None else settings.password.get_secret_value()
        if settings.security == "none":
            return Credentials(username=settings.username, mode="None_", policy="None")
        own, user, stock = await asyncio.to_thread(self._read)
        offers = await self.offers()
        offer = await asyncio.to_thread(self.choose, offers, stock)  # a stranger's keys may be large
        return Credentials(
            own, offer.certificate, settings.username, password, user, offer.policy, offer.mode,
            partial(confirm, settings.url, tuple(offers), offer),
        )  # fmt: skip

    async def offers(self) -> list[Offer]:
        """What the server says that it offers, over a connection without secrets."""
        return await Channel(self.settings.url, self.settings.request_timeout).offers()

    def choose(self, offers: Sequence[Offer], stock: Stock) -> Offer:
        """The strongest endpoint of those that we may use whose certificate is believed. Raises Misconfigured."""
        refusals: list[Untrusted] = []
        for offer in secure_offers(self.settings, offers)[:_MOST]:
            try:
                self._validate(offer, stock)
            except Untrusted as refusal:
                refusals.append(refusal)
            else:
                return offer
        raise refusals[0]

    def _validate(self, offer: Offer, stock: Stock) -> None:
        host = urlsplit(self.settings.url).hostname or ""
        now = dt.datetime.fromtimestamp(self.now() // 10**9, dt.UTC)
        rules = Rules(offer.policy not in STRONG, self.settings.revocation_lists == "required")
        try:
            validate(offer.chain, stock, Expected(self.source, host, offer.application_uri), now, rules)
        except Untrusted as refusal:
            said = f"{self.settings.url}: {refusal.status}: {refusal}"
            raise Untrusted(refusal.status, said, refusal.remedy) from refusal

    def _read(self) -> tuple[OwnCertificate, OwnCertificate | None, Stock]:
        """From the disk: our certificate (made if there is none), the user's, and whom we trust."""
        settings = self.settings
        own = own_certificate(self.state_dir, settings.certificate, settings.private_key, self.now)
        user = user_certificate(settings.user_certificate, settings.user_key)
        return own, user, TrustFolder(self.state_dir).stock(self.source, settings.server_certificate_sha256)


def secure_offers(settings: OpcUaSource, offers: Sequence[Offer]) -> list[Offer]:
    """The endpoints with the security that is asked for, the strongest first. Raises Misconfigured when there is none."""
    wanted = STRONG if settings.policy == "auto" else (settings.policy,)
    found = [o for o in offers if o.mode == MODES[settings.security] and o.policy in wanted and o.chain]
    if not found:
        seen = ", ".join(sorted({offer.words for offer in offers})) or "nothing"
        raise Misconfigured(
            f"{settings.url} does not offer {MODES[settings.security]} with {' or '.join(wanted)}; it offers {seen}",
            "switch it on in the machine's OPC UA settings. If it was there before, find out who answers at this address: "
            "no password was sent. A machine that can do no better gets what it offers by name (`policy`, or `security: none`)",
        )
    return sorted(found, key=lambda offer: list(POLICIES).index(offer.policy))


def confirm(url: str, before: Sequence[Offer], chosen: Offer, offers: Sequence[Offer]) -> None:
    """The endpoints on the secured channel must be those of the choice: modes, policies, and the chosen one's owner.

    Not compared: host names (servers write them as the client asked), and how to sign in, because that is decided from
    what the secured channel says.
    """
    asked, told = {(o.mode, o.policy) for o in before}, {(o.mode, o.policy) for o in offers}
    mine = [o for o in offers if (o.mode, o.policy) == (chosen.mode, chosen.policy)]
    same = any(
        o.certificate in (b"", chosen.certificate) and o.application_uri in ("", chosen.application_uri)
        for o in mine
    )
    if asked == told and same:
        return
    hidden = ", ".join(sorted({o.words for o in offers} - {o.words for o in before}))
    raise Misconfigured(
        f"{url}: what the server offers was changed on the way"
        + (f" (hidden: {hidden})" if hidden else "")
        + ": somebody may be listening in between, or the machine contradicts itself",
        "nothing secret was sent. Look what stands between the collector and the machine (gateway, proxy, another computer)",
    )


REFUSALS: Final = frozenset(
    {
        "BadSecurityChecksFailed",
        "BadCertificateUntrusted",
        "BadCertificateInvalid",
        "BadCertificateUseNotAllowed",
        "BadCertificateUriInvalid",
        "BadCertificateChainIncomplete",
        "BadNoValidCertificates",
    }
)
"""What servers say to a client whose certificate they do not know."""


@contextmanager
def introducing(shown: Credentials) -> Iterator[None]:
    """Where a server does not know us yet, say so, and which certificate it is that somebody has to accept."""
    try:
        yield
    except (UaError, Misconfigured) as error:
        cause = error.__cause__ if isinstance(error, Misconfigured) else error
        if shown.own is None or cause is None or name_of(cause) not in REFUSALS:
            raise
        file = shown.own.file.with_suffix(".der")
        raise Misconfigured(
            f"the machine does not trust this collector yet ({name_of(cause)})",
            f"accept the certificate {shown.own.name} in the machine's configuration (list of trusted or rejected clients); "
            f"the file to import is {file}",
        ) from error


__all__ = ["Gate", "confirm", "secure_offers", "spaced"]
