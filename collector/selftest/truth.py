"""What was said, value by value, and the comparison with what a database has: nothing of the collector's code is used here."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MACHINE: Final = "press-1"
KIND: Final = "press"
"""The machine's type, and so the measurement under which its values are stored."""

TIMED, BARE = f"selftest/{MACHINE}/timed", f"selftest/{MACHINE}/bare"
SIGNALS: Final = ("count", "load", "running", "program", "note")

Value = tuple[str, int | None, Any]
"""Signal, time in ns (None: it was said without a time), value."""

BAD: Final = (
    b"\x00\xff\xfe\x9f garbage",
    b'{"ts": 1',
    b"[" * 2_000,
    b'{"nothing": "of what was asked for"}',
    b"",
    b'\xef\xbb\xbf{"count": \xc3\x28}',
)
"""Beginnings of payloads that no reader can use; each gets a number at its end, so that it can be told apart."""


class Counts(NamedTuple):
    """Values. sent = stored + refused + missing."""

    sent: int
    stored: int
    refused: int
    missing: int
    duplicated: int


@dataclass
class Truth:
    """What the machine said. `good`: every value, in order. `bad`: payloads that must end in quarantine."""

    good: list[Value] = field(default_factory=list)
    bad: list[bytes] = field(default_factory=list)
    seed: int = 1
    _last: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 (a test that can be repeated)

    def timed(self, note: int = 0) -> bytes:
        """A document with a time of its own. note: bytes of random text in it."""
        self._last = max(self._last + 1, time.time_ns())
        document: dict[str, Any] = {
            "count": len(self.good),
            "load": self._chance.uniform(-1e3, 1e3),
            "running": self._chance.random() < 0.5,
            "program": f"O{self._chance.randrange(10_000):04d} {self._chance.choice(HARD_TEXTS)}",
        }
        if note:
            document["note"] = self._chance.randbytes(note // 2).hex()
        self.good += ((name, self._last, value) for name, value in document.items())
        return json.dumps({"ts": self._last, **document}).encode()

    def bare(self) -> bytes:
        """A number without a time: what comes twice can only be known by how it came."""
        number = len(self.good)
        self.good.append(("tick", None, number))
        return str(number).encode()

    def nonsense(self) -> bytes:
        payload = BAD[len(self.bad) % len(BAD)] + b" #%d" % len(self.bad)
        self.bad.append(payload)
        return payload

    def compare(self, stored: Mapping[tuple[str, int], Any], quarantine: set[bytes]) -> Counts:
        """stored: by signal and time. Equal means equal to the last bit and of one kind."""
        have: Counter[Value] = Counter()
        for (signal, at), value in stored.items():
            have[signal, None if signal == "tick" else at, _exact(value)] += 1
        found = sum(have[signal, at, _exact(value)] > 0 for signal, at, value in self.good)
        refused = sum(payload in quarantine for payload in self.bad)
        sent = len(self.good) + len(self.bad)
        return Counts(sent, found, refused, sent - found - refused, have.total() - found)


HARD_TEXTS: Final = ('with "quotes"', "back\\slash\\", "line\nbreak", "a,b=c d", "Spänefärderer ⚙", "=1+1")


def _exact(value: Any) -> Any:
    """True is not 1 here, and 5 is 5.0: JSON has one kind of number."""
    return ("flag", value) if isinstance(value, bool) else value
