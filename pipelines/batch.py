"""The only unit of flow: an immutable batch of values of one kind, as columns.

Columns instead of objects, because a Python object per value costs more than everything else the line does to it.
A single value is a batch of length one: there is no second, singular form of anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines import quality as q


class Kind(IntEnum):
    """What a point's values are. A point keeps its kind for life; the numbers are stored, never renumber them."""

    NUMBER = 1  # float64
    INTEGER = 2  # int64
    UNSIGNED = 3  # uint64
    FLAG = 4  # bool
    TEXT = 5  # str, as object
    WAVEFORM = 6  # one-dimensional float64 array per value, as object

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self]

    @property
    def empty(self) -> Any:
        """The placeholder of a row that has no value (Flag.NO_VALUE): never shown, never stored as a value."""
        return _EMPTY[self]


_DTYPES: dict[Kind, np.dtype[Any]] = {
    Kind.NUMBER: np.dtype(np.float64),
    Kind.INTEGER: np.dtype(np.int64),
    Kind.UNSIGNED: np.dtype(np.uint64),
    Kind.FLAG: np.dtype(np.bool_),
    Kind.TEXT: np.dtype(object),
    Kind.WAVEFORM: np.dtype(object),
}
_EMPTY: dict[Kind, Any] = {
    Kind.NUMBER: 0.0,
    Kind.INTEGER: 0,
    Kind.UNSIGNED: 0,
    Kind.FLAG: False,
    Kind.TEXT: "",
    Kind.WAVEFORM: np.zeros(0),
}


class Flag(IntFlag):
    """What else is true of a row. Stored as one byte; the numbers are stored, never renumber them."""

    NO_VALUE = 1  # the row states quality and time only; its value is a placeholder
    TIME_SUBSTITUTED = (
        2  # the wire's time was missing or impossible; the next in order of trust stands in (DESIGN 8)
    )
    RETAINED = 4  # an MQTT retained message: true at an unknown earlier time
    HISTORICAL = 8  # delivered late on purpose: backfill, Sparkplug is_historical
    DERIVED = 16  # computed by us from primary data
    HEARTBEAT = 32  # a re-read of an old but still true value
    SHIFTED = 64  # same time, another value: moved by whole nanoseconds to keep both (identity rule)
    DURING_GAP = 128  # covers a time in which values were missing: right in amount, vague in time


FIELD = "_field"
"""A tag that is not stored as one: what the field is called in a database where the tags already tell the signals apart."""


@dataclass(frozen=True, slots=True)
class Point:
    """One signal of one machine. `tags` are constant extras (location, label), sorted when compared or stored."""

    machine: str
    name: str
    kind: Kind
    unit: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one kind, in the order of the wire. Every column has the same length n ≥ 1; never modify a column in place.

    points: int32[n], ids in the registry. at: int64[n], ns since 1970 UTC, the time of the value.
    values: kind.dtype[n] (see Kind). quality: uint32[n], OPC UA status code (Part 4, 7.39). flags: uint8[n], Flag.
    server_at: int64[n] ns, the second time where the protocol has one, 0 where a row lacks it; else None.
    received: ns, our clock, once per batch. registry_version: the length of the registry when the batch was made.
    moved: int64[n] ns by which the identity rule moved each row (at - moved is the time that the machine gave), 0 where
    it did not; None when no row was moved. Only refining sets it.
    """

    kind: Kind
    points: NDArray[np.int32]
    at: NDArray[np.int64]
    values: NDArray[Any]
    quality: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    received: int
    server_at: NDArray[np.int64] | None = None
    registry_version: int = 0
    moved: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def take(self, rows: NDArray[Any]) -> Self:
        """The rows named by a boolean mask or an index array, in that order."""
        return replace(
            self,
            points=self.points[rows],
            at=self.at[rows],
            values=self.values[rows],
            quality=self.quality[rows],
            flags=self.flags[rows],
            server_at=None if self.server_at is None else self.server_at[rows],
            moved=None if self.moved is None else self.moved[rows],
        )

    @property
    def has_value(self) -> NDArray[np.bool_]:
        present: NDArray[np.bool_] = (self.flags & Flag.NO_VALUE) == 0
        return present


def column(kind: Kind, values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Values as the column of a kind; objects (texts, waveforms) stay one object per row, whatever their lengths."""
    if kind.dtype != object:
        return np.asarray(values, dtype=kind.dtype)
    cells = np.empty(len(values), dtype=object)
    cells[:] = list(values) if kind is Kind.TEXT else [None] * len(values)
    if kind is Kind.WAVEFORM:
        for row, wave in enumerate(values):
            cells[row] = np.asarray(wave, dtype=np.float64)
    return cells


def batch_of(
    kind: Kind,
    points: Sequence[int] | NDArray[Any],
    at: Sequence[int] | NDArray[Any] | int,
    values: Sequence[Any] | NDArray[Any],
    *,
    received: int,
    quality: Sequence[int] | NDArray[Any] | int = q.GOOD,
    flags: Sequence[int] | NDArray[Any] | int = 0,
    server_at: Sequence[int] | NDArray[Any] | None = None,
    registry_version: int = 0,
) -> Batch:
    """A batch from plain sequences; a single `at`, `quality` or `flags` counts for every row."""
    ids = np.asarray(points, dtype=np.int32)
    n = len(ids)
    return Batch(
        kind=kind,
        points=ids,
        at=_filled(at, n, np.int64),
        values=column(kind, values),
        quality=_filled(quality, n, np.uint32),
        flags=_filled(flags, n, np.uint8),
        received=received,
        server_at=None if server_at is None else np.asarray(server_at, dtype=np.int64),
        registry_version=registry_version,
    )


def _filled(cell: Any, n: int, dtype: Any) -> NDArray[Any]:
    return np.full(n, cell, dtype=dtype) if np.ndim(cell) == 0 else np.asarray(cell, dtype=dtype)
