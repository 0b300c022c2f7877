"""Subscriptions that the broker granted and that have never brought anything: suspected aloud.

mosquitto (and others) grant every topic and let the access list decide at each message, without a word. No client can ask. So
a filter that brought nothing within PATIENCE of its subscription is named in `status` and once in the log; the first message
ends the suspicion for as long as the collector runs. It is a suspicion and not an error: the machine may just be off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.clock import Clock

PATIENCE = 60.0  # seconds
SHOWN = 3


class Silence:
    """What a source knows of its filters, over all its sessions."""

    def __init__(self, clock: Clock, patience: float = PATIENCE) -> None:
        self._clock, self._patience = clock, patience
        self._waiting: dict[str, float] = {}
        self._spoken: set[str] = set()
        self._told: set[str] = set()

    def granted(self, filters: Iterable[str]) -> None:
        """These are subscribed now; whoever waits already goes on waiting, others are not asked any more."""
        now = self._clock.monotonic()
        self._waiting = {name: self._waiting.get(name, now) for name in filters if name not in self._spoken}

    def heard(self, name: str) -> None:
        self._spoken.add(name)
        self._waiting.pop(name, None)

    def silent(self) -> Sequence[str]:
        now = self._clock.monotonic()
        return [name for name, since in self._waiting.items() if now - since >= self._patience]

    def news(self) -> Sequence[str]:
        """Those of them that were not told yet."""
        fresh = [name for name in self.silent() if name not in self._told]
        self._told.update(fresh)
        return fresh


def suspicion(filters: Sequence[str], user: str) -> str:
    """In words for a person; empty if there is none."""
    if not filters:
        return ""
    more = f" and {len(filters) - SHOWN} more" if len(filters) > SHOWN else ""
    whose = f"for the user '{user}'" if user else "for clients without a user name"
    return (
        f"granted, but silent so far: {', '.join(filters[:SHOWN])}{more}. Nobody publishes there yet, or the broker's "
        f"access list withholds it {whose} without saying so: see the broker's log and its ACL"
    )
