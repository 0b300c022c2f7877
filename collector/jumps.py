"""Notices when the computer's clock is set: a jump is a fact with a size, and whoever reads old times must be able to see it.

The wall clock is compared with the monotonic one from look to look. A time service that slews a clock (at most 83 ms per
second: chrony's `maxslewrate`) stays below the threshold, because nothing is added up over looks; a step, by NTP or by hand,
does not. A computer that slept looks the same, because the monotonic clock of Linux sleeps too: the words say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from adapters.clock import Clock
from collector.health import Health
from collector.words import duration_words, time_words

THRESHOLD = 0.5
"""Seconds that the wall clock may move more or less than the monotonic one between two looks (about a second apart)."""

STEADY = 0.05
"""Seconds that reading both clocks may take; longer, and the process was held up between them: read again."""


class Jump(NamedTuple):
    """before, after: ns, where the wall clock would have stood without it, and where it stood. seconds: after - before."""

    before: int
    after: int

    @property
    def seconds(self) -> float:
        return (self.after - self.before) / 1e9

    @property
    def words(self) -> str:
        by = duration_words(abs(self.seconds))
        if self.seconds > 0:
            return f"the computer's clock jumped {by} ahead: it was set, or the computer slept"
        return f"the computer's clock jumped {by} back: times given by the collector stand still until it has caught up"


@dataclass(slots=True)
class Jumps:
    """Call `look` about once a second. count, last, at: what was found since the start (at: our time of the finding, ns)."""

    clock: Clock
    count: int = 0
    last: Jump | None = None
    at: int = 0
    _before: tuple[float, int] | None = None  # monotonic s, wall ns

    def look(self) -> Jump | None:
        """The jump since the last look, told once."""
        here, before = self._read(), self._before
        self._before = here
        if before is None:
            return None
        expected = before[1] + round((here[0] - before[0]) * 1e9)
        if abs(here[1] - expected) < THRESHOLD * 1e9:
            return None
        self.count, self.last, self.at = self.count + 1, Jump(expected, here[1]), self.clock.now()
        return self.last

    def _read(self) -> tuple[float, int]:
        for _ in range(10):
            began = self.clock.monotonic()
            wall = self.clock.wall_now()
            if self.clock.monotonic() - began <= STEADY:
                break
        return began, wall

    def as_json(self) -> dict[str, Any]:
        """jumps: since the start; of the last one how far (s) and when (our time, ns)."""
        if self.last is None:
            return {"jumps": self.count}
        return {"jumps": self.count, "last_jump_s": round(self.last.seconds, 3), "last_jump_at": self.at}


async def doubt(clock: Clock, believed: int, health: Health) -> None:
    """For ever: an alarm while the computer's clock stands before `believed` (ns)."""
    words = (
        f"the computer's clock says {time_words(clock.wall_now())[:19]}Z, which cannot be: values without a time of their own are "
        "stored with it and marked GoodEdited; set the clock, or let a time service do it"
    )
    while True:
        if clock.wall_now() < believed:
            health.alarm("clock", words)
        else:
            health.clear("clock", "the computer's clock can be believed again")
        await clock.sleep(1.0)
