"""Certificates that run out are told before they do: 60, 30 and 7 days ahead and on the day, once each.

A machine that stops talking on a Sunday because of a date that was known for years is nobody's bad luck.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from adapters.clock import Clock
from adapters.opcua.credentials import Credentials

log = logging.getLogger("adapters.opcua")
STEPS: Final = (0, 7, 30, 60)
"""Days before the end at which it is told."""
_EVERY: Final = 3600.0
_OWN: Final = "run `collector trust --renew`, have the machines trust the new certificate, then `collector trust --adopt`"
_THEIRS: Final = "renew it in the machine's OPC UA settings, then run `collector trust {}`"


@dataclass(slots=True)
class Expiry:
    """Of one source, for the life of the process: what was told is not told again after a reconnect."""

    source: str
    _told: dict[bytes, int] = field(default_factory=dict)

    async def keep(self, shown: Credentials, facts: dict[str, str], clock: Clock) -> None:
        """Look now and every hour; `facts` get the dates, or how many days are left."""
        if shown.own is None or shown.server_certificate is None:
            return
        own = x509.load_der_x509_certificate(shown.own.certificate)
        machine = x509.load_der_x509_certificate(shown.server_certificate)
        while True:
            now = dt.datetime.fromtimestamp(clock.wall_now() // 10**9, dt.UTC)
            facts["certificates"] = "; ".join(
                (
                    self.look("the collector's own certificate", own, now, _OWN),
                    self.look("the machine's certificate", machine, now, _THEIRS.format(self.source)),
                )
            )
            await clock.sleep(_EVERY)

    def look(self, what: str, certificate: x509.Certificate, now: dt.datetime, remedy: str) -> str:
        """Words about it; a line in the log at each step that it has come nearer."""
        until = certificate.not_valid_after_utc
        left = (until - now) / dt.timedelta(days=1)
        step = next((days for days in STEPS if left <= days), None)
        identity = certificate.signature
        if step is None:
            self._told.pop(identity, None)
            return f"{what} until {until:%Y-%m-%d}"
        words = (
            f"{what} ran out on {until:%Y-%m-%d}"
            if left <= 0
            else f"{what} runs out in {left:.0f} days ({until:%Y-%m-%d})"
        )
        if step < self._told.get(identity, STEPS[-1] + 1):
            self._told[identity] = step
            log.warning("%s: %s - %s", self.source, words, remedy)
        return f"{words}: {remedy}"
