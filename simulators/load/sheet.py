"""The values of one tick as the bytes of monitored items, patched in place: three numpy assignments for any number of items.

OPC 10000-6: MonitoredItemNotification is ClientHandle and DataValue; the DataValue (5.2.2.17) has a Double (type 11), no
status (good), source and server time stamp, without picoseconds.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulators.load.backlog import Place
from simulators.load.series import Series

Order = Literal["repeating", "shuffled"]
ITEM = np.dtype(
    [
        ("handle", "<u4"),
        ("mask", "u1"),
        ("type", "u1"),
        ("value", "<f8"),
        ("source", "<i8"),
        ("server", "<i8"),
    ]
)
VALUE_AND_BOTH_TIMES = 0x01 | 0x04 | 0x08
DOUBLE = 11
EPOCH_TICKS = 116_444_736_000_000_000  # of 100 ns, from 1601 to 1970


def ua_time(at_ns: int) -> int:
    """A DateTime (OPC 10000-6, 5.2.2.5): ticks of 100 ns since 1601."""
    return at_ns // 100 + EPOCH_TICKS


class Sheet:
    """All items of one tick. `handles`: uint32[variables], the client's names for the variables."""

    def __init__(self, series: Series, handles: NDArray[np.uint32], order: Order, seed: int) -> None:
        self._series, self._handles, self._seed = series, handles, seed
        self._shuffled = order == "shuffled"
        self._items = np.zeros(series.variables, ITEM)
        self._items["handle"], self._items["mask"], self._items["type"] = (
            handles,
            VALUE_AND_BOTH_TIMES,
            DOUBLE,
        )
        self._bytes = self._items.data.cast("B")
        self._tick = -1

    def items(self, place: Place) -> memoryview:
        """The encoded items of one notification. Valid until items of another tick are asked for."""
        if place.tick != self._tick:
            self._patch(place.tick)
        return self._bytes[place.first * ITEM.itemsize : place.last * ITEM.itemsize]

    def _patch(self, tick: int) -> None:
        self._tick = tick
        values = self._series.values(tick)
        if self._shuffled:
            order = np.random.default_rng((self._seed, tick)).permutation(self._series.variables)
            self._items["handle"], values = self._handles[order], values[order]
        self._items["value"] = values
        self._items["source"] = self._items["server"] = ua_time(self._series.at(tick))
