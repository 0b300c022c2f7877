"""The promise of a face: it hands values over, and the truth gets a row exactly when it did."""

from collections.abc import Mapping
from typing import Protocol

from simulators.model import Value


class Face(Protocol):
    """One machine's interface, open and listening."""

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """The clock starts: `values` are all signals of the machine."""

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """One step: what changed, and how everything stands now."""

    async def drain(self, seconds: float) -> None:
        """Wait until the readers have what was emitted, at most so long."""
