"""The promise of a face: it hands values over, and the truth gets a row exactly when it did."""

from collections.abc import Mapping
from typing import Final, Protocol

from simulators.model import Model, Value

NAMES = ("opcua", "mqtt", "sparkplug", "jsonl", "csv")
"""The faces any machine can have; `native` is the one that its kind declares."""


CONNECTED_S: Final = 30.0
"""How long a reader that is connected may take at least for the last values: on a busy computer it is slow, and not gone."""


class Face(Protocol):
    """One machine's interface, open and listening."""

    @property
    def disturbances(self) -> frozenset[str]:
        """The faults of the communication that this face itself can play."""

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """The clock starts: `values` are all signals of the machine."""

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """One step: what changed, and how everything stands now."""

    async def disturb(self, fault: str, *, on: bool, at_ns: int) -> None:
        """Begin or end one of `disturbances`."""

    async def drain(self, seconds: float) -> None:
        """Wait until the readers have what was emitted: at most so long, and CONNECTED_S for those who are connected."""


def unlike(model: Model, names: Mapping[str, Value]) -> dict[str, Mapping[str, object]]:
    """What the truth adds to those of these values that were not sent as they truly are."""
    return {name: more for name in names if (more := model.unlike(name))}
