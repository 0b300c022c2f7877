"""What doubt costs: values by alias that were set aside are a loss that is known, so they become gap records (law 9).

A gap is looked for under the times that its values would have had. Those are the metrics' own, which are a little before or after
their receipt, or, where the edge's clock is wrong, far from it: then one span of both would excuse everything between, and there are two records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.stage import Gap

SHORTEST: Final = (
    10 * 10**9
)  # ns until values that are set aside are told as a gap; doubled as long as it goes on
LONGEST: Final = 3600 * 10**9

Held = tuple[int, int, int]


class Aside:
    """Of one node: a record when the doubt is over, and ever longer ones as long as it goes on.

    held: values, from, to (ns), around their receipt; far: the same of those whose own times are elsewhere. Both for the checkpoint.
    """

    def __init__(self) -> None:
        self.held: Held = (0, 0, 0)
        self.far: Held = (0, 0, 0)
        self._wait = SHORTEST
        self._since = 0

    @property
    def waiting(self) -> bool:
        return bool(self.held[0] or self.far[0])

    def add(self, said: Sequence[int], at: int) -> None:
        """said: the values' own times, those without one left out as 0; at: of their receipt; ns."""
        if not said:
            return
        if not self.waiting:
            self._since = at
        near = [time or at for time in said if not time or abs(time - at) < SHORTEST]
        far = [time for time in said if time and abs(time - at) >= SHORTEST]
        if near:
            self.held = _grown(self.held, [*near, at], len(near))
        if far:
            self.far = _grown(self.far, far, len(far))

    def told(self, name: str, at: int, machines: tuple[str, ...], *, over: bool) -> Iterator[Gap]:
        """The records, when the doubt is over or it is time for them."""
        if not self.waiting or not (over or at - (self._since or self.held[1]) >= self._wait):
            return
        self._wait = SHORTEST if over else min(2 * self._wait, LONGEST)
        why = "values by alias were set aside, because a birth may have been missed"
        for held, more in ((self.held, ""), (self.far, "; these are times of the edge's clock")):
            if held[0]:
                detail = f"{name}: {held[0]} {why}{more}"
                yield Gap(*held[1:], "sparkplug_aliases_in_doubt", detail, machines, held[0])
        self.held = self.far = (0, 0, 0)


def _grown(held: Held, times: Sequence[int], values: int) -> Held:
    count, begins, ends = held
    known = (begins, ends) if count else ()
    return count + values, min((*known, *times)), max((*known, *times))
