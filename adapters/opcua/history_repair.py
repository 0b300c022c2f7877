"""What is known of a gap that is being repaired: how far it is, what came back, and what is said at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.decode import Message
from pipelines.batch import Batch, Flag
from pipelines.stage import Gap

if TYPE_CHECKING:
    from adapters.opcua.items import Item

REPAIRED, IN_PART = "repaired", "repaired_in_part"
_SHOWN: Final = 5
Times = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Repair:
    """One gap. after: the key of the last signal that is done. count: values brought back. kept: signals that have a history.
    finished: of them, in this session.

    low, high: ns per client handle, 0 where it is not known: then the gap's own times count.
    """

    gap: Gap
    after: str = ""
    count: int = 0
    kept: int = 0
    troubles: dict[str, str] = field(default_factory=dict)
    low: Times | None = None
    high: Times | None = None
    finished: int = 0

    def dump(self) -> list[Any]:
        gap = self.gap
        return [
            gap.begins,
            gap.ends,
            gap.reason,
            list(gap.machines),
            self.after,
            self.count,
            self.kept,
            self.troubles,
        ]

    @classmethod
    def load(cls, stored: Sequence[Any]) -> Repair:
        begins, ends, reason, machines, after, count, kept, troubles = stored
        return cls(Gap(begins, ends, reason, "", tuple(machines)), after, count, kept, dict(troubles))

    def verdict(self) -> Gap:
        """What to tell at the end."""
        words = f"{self.count} values of {self.kept} signals from the server's history"
        if self.troubles:
            shown = [f"{name}: {why}" for name, why in list(self.troubles.items())[:_SHOWN]]
            more = f"; and {len(self.troubles) - _SHOWN} more" if len(self.troubles) > _SHOWN else ""
            words = f"{words}; not {'; '.join(shown)}{more}"
        reason = IN_PART if self.troubles else REPAIRED
        return Gap(self.gap.begins, self.gap.ends, reason, words, self.gap.machines, self.count)


class Recalled(NamedTuple):
    """Values of a repair, or (message None) that signals up to `after` are done. over: the repair is."""

    repair: Repair
    message: Message | None
    received: int
    after: str = ""
    over: bool = False


class Span(NamedTuple):
    """What is missing of a signal. after, before: we have the value at `low`, at `high`."""

    item: Item
    low: int
    high: int
    after: bool
    before: bool

    def holds(self, at: int) -> bool:
        return self.low + self.after <= at <= self.high - self.before


def as_history(batch: Batch) -> Batch:
    return replace(batch, flags=batch.flags | np.uint8(Flag.HISTORICAL))
