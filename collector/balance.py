"""The books are compared while the collector runs: every minute, and an imbalance is told once when it appears and once when
it is gone.

It stops nothing. An imbalance means that we have a fault, and a collector that goes on and says so is worth more than one
that stands still; the values themselves are in the buffer and in the databases.
"""

from __future__ import annotations

from typing import Final

from adapters.clock import Clock
from collector.health import Health
from collector.journal.base import Journal, Ledger

EVERY: Final = 60.0
"""Seconds between two comparisons; a second one follows at once before anything is said."""

ALARM: Final = "books"


class Balance:
    """`watch` runs for ever beside the line."""

    def __init__(self, journal: Journal, health: Health, clock: Clock) -> None:
        self._journal, self._health, self._clock = journal, health, clock

    async def watch(self) -> None:
        while True:
            await self._clock.sleep(EVERY)
            self.judge(await self._journal.ledger())

    def judge(self, ledger: Ledger) -> None:
        """Raises or clears the alarm, which status and page show."""
        if wrong := _wrong(ledger):
            words = f"the books do not balance: {', '.join(wrong)}. Nothing is stopped; please report it with the log"
            self._health.alarm(ALARM, words)
        else:
            self._health.clear(ALARM, "the books balance again")


def _wrong(ledger: Ledger) -> list[str]:
    missing = [(name, account.unaccounted) for name, account in ledger.sources.items()]
    missing += [(name, account.unaccounted) for name, account in ledger.sinks.items()]
    return [
        f"{name} {abs(count)} values {'missing' if count > 0 else 'too many'}"
        for name, count in missing
        if count
    ]
