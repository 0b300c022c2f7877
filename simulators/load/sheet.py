"""The values of one tick as the bytes of monitored items, patched in place: a few numpy steps for any number of items.

OPC 10000-6: MonitoredItemNotification is ClientHandle and DataValue; the DataValue (5.2.2.17) has a value, a status if one
is wanted or values were dropped before it, a source time stamp, and what else was asked for.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulators.load.mix import FORMS, column
from simulators.load.queues import Indices, Notice
from simulators.load.series import Series

Order = Literal["repeating", "shuffled"]
VALUE, STATUS, SOURCE, SERVER, SOURCE_PICO, SERVER_PICO = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
AFTER_DROP = 0x0480  # InfoType DataValue with the Overflow bit (OPC 10000-4, 7.39)
UNCERTAIN, EVERY = 0x4090_0000, 100  # UncertainLastUsableValue, of one in so many values
PICOSECONDS = 4200  # in units of 10 ps: 42 ns behind every time stamp
EPOCH_TICKS = 116_444_736_000_000_000  # of 100 ns, from 1601 to 1970


def ua_time(at_ns: int) -> int:
    """A DateTime (OPC 10000-6, 5.2.2.5): ticks of 100 ns since 1601."""
    return at_ns // 100 + EPOCH_TICKS


@dataclass(frozen=True, slots=True)
class Fields:
    """What stands beside a value and its source time."""

    status: bool = False
    server: bool = True
    picoseconds: bool = False

    @property
    def tail(self) -> list[tuple[int, str]]:
        """(bit, dtype) in the order of the wire, the status apart."""
        fine = [(SOURCE_PICO, "<u2")] if self.picoseconds else []
        server = [(SERVER, "<i8"), *([(SERVER_PICO, "<u2")] if self.picoseconds else [])]
        return [(SOURCE, "<i8"), *fine, *(server if self.server else [])]


def _put(page: NDArray[np.uint8], places: NDArray[np.int64], dtype: str, cells: Any) -> None:
    """Write at any places, through a view that begins at every byte."""
    size = np.dtype(dtype).itemsize
    np.ndarray((len(page) - size + 1,), dtype, page.data, strides=(1,))[places] = cells


class Page:
    """Items one behind the other. variables, handles, types: of each; ends: int64[items], where each one ends."""

    def __init__(
        self, fields: Fields, variables: Indices, handles: NDArray[np.uint32], types: NDArray[np.uint8]
    ) -> None:
        self._fields, self.variables, self._handles, self._types = fields, variables, handles, types
        self._groups: list[tuple[int, NDArray[np.intp]]] = []
        self.ends = np.zeros(0, np.int64)
        self.bytes = memoryview(b"")
        self._status = np.zeros(0, np.intp)
        self._tick = -1

    def lay_out(self, after_drop: NDArray[np.bool_] | None = None) -> "Page":
        """Everything that stays the same from tick to tick."""
        fields, n = self._fields, len(self.variables)
        self._groups = [(kind, np.flatnonzero(self._types == kind)) for kind in FORMS if kind in self._types]
        sizes = np.zeros(256, np.int64)
        sizes[list(FORMS)] = [form.size for form in FORMS.values()]
        status = np.full(n, fields.status) if after_drop is None else after_drop | fields.status
        tail = sum(np.dtype(dtype).itemsize for _, dtype in fields.tail)
        self._values = 6 + sizes[self._types] + 4 * status
        self.ends = np.cumsum(self._values + tail)
        starts = self.ends - self._values - tail
        self._page = np.zeros(int(self.ends[-1]), np.uint8)
        _put(self._page, starts, "<u4", self._handles)
        mask = VALUE + sum(bit for bit, _ in fields.tail)
        _put(self._page, starts + 4, "<u2", (mask + STATUS * status) | self._types.astype("<u2") << 8)
        self._starts, self._tails = starts, self.ends - tail
        self._status = np.flatnonzero(status)
        self._drops = np.zeros(n, np.bool_) if after_drop is None else after_drop
        self.bytes = self._page.data
        return self

    def patch(self, tick: int, at: int) -> "Page":
        """Values and times (`at`: ticks of 100 ns) of a tick."""
        if tick == self._tick:
            return self
        self._tick = tick
        for kind, rows in self._groups:
            cells = column(kind, self.variables[rows], tick)
            _put(self._page, self._starts[rows] + 6, FORMS[kind].dtype, cells)
        place = self._tails
        for bit, dtype in self._fields.tail:
            _put(self._page, place, dtype, at if bit in (SOURCE, SERVER) else PICOSECONDS)
            place = place + np.dtype(dtype).itemsize
        if len(self._status):
            self._patch_status(tick)
        return self

    def _patch_status(self, tick: int) -> None:
        rows = self._status
        worse = self._fields.status & ((self.variables[rows] + tick) % EVERY == 0)
        codes = np.where(worse, UNCERTAIN, 0) | np.where(self._drops[rows], AFTER_DROP, 0)
        _put(self._page, self._tails[rows] - 4, "<u4", codes)

    def part(self, first: int, last: int) -> memoryview:
        """The bytes of the items [first, last). Valid until another tick is patched in."""
        begin = int(self.ends[first - 1]) if first else 0
        return self.bytes[begin : int(self.ends[last - 1])]


class Sheet:
    """All items of a subscription. variables, handles, types: of each item, in the order of their creation."""

    def __init__(
        self,
        series: Series,
        fields: Fields,
        variables: Indices,
        handles: NDArray[np.uint32],
        types: NDArray[np.uint8],
    ) -> None:
        self._series, self._fields = series, fields
        self._variables, self._handles, self._types = variables, handles, types
        self._whole: tuple[Indices, Page] | None = None

    def items(self, notice: Notice) -> memoryview:
        """The encoded items of a notification. Valid until those of another tick are asked for."""
        at, count = ua_time(self._series.at(notice.tick)), len(notice.items)
        if notice.first < 0:
            page = self._page(notice.items, notice.after_drop)
            return page.patch(notice.tick, at).part(0, count)
        if self._whole is None or self._whole[0] is not notice.whole:
            self._whole = (notice.whole, self._page(notice.whole, None))
        page = self._whole[1].patch(notice.tick, at)
        return page.part(notice.first, notice.first + count)

    def _page(self, items: Indices, after_drop: NDArray[np.bool_] | None) -> Page:
        page = Page(self._fields, self._variables[items], self._handles[items], self._types[items])
        return page.lay_out(after_drop)
