"""What doubt costs: values by alias that were set aside are a loss that is known, so they become gap records (law 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipelines.stage import Gap

SHORTEST: Final = (
    10 * 10**9
)  # ns until values that are set aside are told as a gap; doubled as long as it goes on
LONGEST: Final = 3600 * 10**9


class Aside:
    """Of one node: a record when the doubt is over, and ever longer ones as long as it goes on. held: for the checkpoint."""

    def __init__(self) -> None:
        self.held = (0, 0, 0)  # values, from, to (ns)
        self._wait = SHORTEST

    def add(self, values: int, said: int, at: int) -> None:
        """said: the message's own time, which counts if it is shortly before its receipt; ns."""
        if values:
            count, begins, _ = self.held
            first = begins if count else said if at - SHORTEST < said < at else at
            self.held = count + values, first, at

    def told(self, name: str, at: int, machines: tuple[str, ...], *, over: bool) -> Sequence[Gap]:
        """The record, when the doubt is over or it is time for one."""
        count, begins, ends = self.held
        if not count or not (over or at - begins >= self._wait):
            return ()
        self.held, self._wait = (0, 0, 0), SHORTEST if over else min(2 * self._wait, LONGEST)
        detail = f"{name}: {count} values by alias were set aside, because a birth may have been missed"
        return (Gap(begins, ends, "sparkplug_aliases_in_doubt", detail, machines, count),)
