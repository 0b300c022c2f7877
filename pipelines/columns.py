"""Columns of numbers and texts as few bytes, exactly: the forms that numpy can write and read without a loop.

Neither a general compressor (slow, and the disk is not the limit: wear is) nor one format per case: integers in five
forms, floats as integers where that is exact, texts as a dictionary. Everything is little-endian.

Integers: a byte `form | base width << 4`, the base (1, 2, 4 or 8 bytes, signed), then by form
  CONSTANT  nothing: every row is the base
  STEP      the step (8 bytes, signed): row i is base + i x step
  OFFSETS   a byte `width | divisor << 4`, then per row an unsigned offset of that width, in units of DIVISORS[divisor]
Floats: a byte, 0: float64; 1: float32; 2 + k: integers that are the values x 10^k (exact: dividing gives the same bits).
Widths are stored as log2 of the bytes. Arithmetic is modulo 2^64, so that uint64 and int64 share one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CONSTANT, STEP, OFFSETS = range(3)
DIVISORS: Final = (1, 100, 1_000, 1_000_000, 1_000_000_000)  # OPC UA ticks, µs, ms, s
_WIDTHS: Final = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
_FLOAT64, _FLOAT32, _SCALED = range(3)
_SCALES: Final = (1.0, 10.0, 100.0, 1000.0)
_EXACT: Final = 2.0**53  # beyond it a float64 skips integers
_SAMPLE: Final = 8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class CodecError(ValueError):
    """The bytes are no blob of a known version, or were damaged."""


class Reader:
    """Takes bytes from the front of a blob and never past its end."""

    __slots__ = ("_at", "_blob")

    def __init__(self, blob: bytes, at: int = 0) -> None:
        self._blob, self._at = blob, at

    @property
    def left(self) -> int:
        return len(self._blob) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise CodecError(f"{size} bytes expected at {self._at}, {self.left} are left")
        self._at += size
        return self._blob[self._at - size : self._at]

    def array(self, dtype: np.dtype[Any], n: int) -> NDArray[Any]:
        return np.frombuffer(self.take(dtype.itemsize * n), dtype)

    def signed(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little", signed=True)


def put_ints(column: NDArray[Any], divisors: Sequence[int] = (1,)) -> bytes:
    """Any integer column of at least one row; `divisors` of DIVISORS are tried beyond 1, largest first."""
    cells: Ints = column.view(np.int64) if column.dtype == np.uint64 else column.astype(np.int64, copy=False)
    low, high = int(cells.min()), int(cells.max())
    if low == high:
        return _base(CONSTANT, low)
    step = int(cells[1]) - int(cells[0])
    if int(cells[0]) + step * (len(cells) - 1) == int(cells[-1]) and _is_step(cells, step):
        return _base(STEP, int(cells[0])) + step.to_bytes(8, "little", signed=True)
    offsets = cells.view(np.uint64) - np.uint64(low % 2**64)
    return _base(OFFSETS, low) + _offsets(offsets, high - low, divisors)


def get_ints(reader: Reader, n: int) -> Ints:
    """int64[n]; a uint64 column is its view."""
    head = reader.take(1)[0]
    form, base = head & 15, reader.signed(_bytes(head >> 4))
    if form == CONSTANT:
        return np.full(n, base, np.int64)
    if form == STEP:
        step = np.uint64(reader.signed(8) % 2**64)
        return (np.arange(n, dtype=np.uint64) * step + np.uint64(base % 2**64)).view(np.int64)
    if form != OFFSETS:
        raise CodecError(f"unknown form {form} of an integer column")
    packing = reader.take(1)[0]
    _bytes(packing & 15)
    if packing >> 4 >= len(DIVISORS):
        raise CodecError(f"unknown divisor {packing >> 4} of an integer column")
    offsets = reader.array(_WIDTHS[packing & 15], n).astype(np.uint64)
    if packing >> 4:
        offsets *= np.uint64(DIVISORS[packing >> 4])
    return (offsets + np.uint64(base % 2**64)).view(np.int64)


def _base(form: int, base: int) -> bytes:
    width = next(w for w in range(4) if -(1 << (8 << w) - 1) <= base < 1 << (8 << w) - 1)
    return bytes([form | width << 4]) + base.to_bytes(1 << width, "little", signed=True)


def _bytes(width: int) -> int:
    if width > 3:
        raise CodecError(f"unknown width {width} of an integer column")
    return 1 << width


def _is_step(cells: Ints, step: int) -> bool:
    return -(2**63) <= step < 2**63 and bool((cells[1:] - cells[:-1] == step).all())


def _offsets(offsets: NDArray[np.uint64], span: int, divisors: Sequence[int]) -> bytes:
    width = _width(span)
    for divisor in sorted(divisors, reverse=True):
        if _width(span // divisor) < width and _divides(offsets, divisor):
            offsets, width = offsets // np.uint64(divisor), _width(span // divisor)
            return bytes([width | DIVISORS.index(divisor) << 4]) + offsets.astype(_WIDTHS[width]).tobytes()
    return bytes([width]) + offsets.astype(_WIDTHS[width], copy=False).tobytes()


def _width(span: int) -> int:
    return 0 if span < 1 << 8 else 1 if span < 1 << 16 else 2 if span < 1 << 32 else 3


def _divides(offsets: NDArray[np.uint64], divisor: int) -> bool:
    sample = offsets[:: max(1, len(offsets) // _SAMPLE)].tolist()
    return not any(cell % divisor for cell in sample) and not (offsets % np.uint64(divisor)).any()


def put_floats(column: NDArray[Any]) -> bytes:
    """A float64 column of at least one row, bit for bit (-0.0 and every NaN included)."""
    cells: Floats = np.ascontiguousarray(column, np.float64)
    bits = cells.view(np.int64)
    for k, scale in enumerate(_SCALES):
        scaled = _scaled(cells, bits, scale)
        if scaled is not None:
            packed = put_ints(scaled)
            if len(packed) < 4 * len(cells) + 12:
                return bytes([_SCALED + k]) + packed
            break
    if (bits == bits[0]).all():
        return bytes([_SCALED + len(_SCALES)]) + bits[:1].astype("<i8").tobytes()
    with np.errstate(over="ignore", invalid="ignore"):
        short = cells.astype("<f4")
        exact = bool((short.astype(np.float64).view(np.int64) == bits).all())
    return bytes([_FLOAT32]) + short.tobytes() if exact else bytes([_FLOAT64]) + cells.astype("<f8").tobytes()


def get_floats(reader: Reader, n: int) -> Floats:
    form = reader.take(1)[0]
    if form == _FLOAT64:
        return reader.array(np.dtype("<f8"), n).astype(np.float64)
    if form == _FLOAT32:
        with np.errstate(invalid="ignore"):
            return reader.array(np.dtype("<f4"), n).astype(np.float64)
    if form == _SCALED + len(_SCALES):
        return np.full(n, reader.signed(8), np.int64).view(np.float64)
    if form > _SCALED + len(_SCALES):
        raise CodecError(f"unknown form {form} of a float column")
    return get_ints(reader, n).astype(np.float64) / _SCALES[form - _SCALED]


def _scaled(cells: Floats, bits: Ints, scale: float) -> Ints | None:
    """The values x scale as integers, if dividing them by scale gives the same bits back."""
    stride = max(1, len(cells) // _SAMPLE)
    if len(cells) > 2 * _SAMPLE and _scaled(cells[::stride], bits[::stride], scale) is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(cells * scale)
        if not (np.abs(whole) < _EXACT).all():
            return None
        integers = whole.astype(np.int64)
    same = (integers.astype(np.float64) / scale).view(np.int64) == bits
    return integers if same.all() else None


def put_flags(column: NDArray[np.bool_]) -> bytes:
    return np.packbits(column, bitorder="little").tobytes()


def get_flags(reader: Reader, n: int) -> NDArray[np.bool_]:
    packed = reader.array(np.dtype("u1"), (n + 7) // 8)
    return np.unpackbits(packed, count=n, bitorder="little").view(np.bool_)


def put_texts(column: NDArray[Any]) -> bytes:
    """Each different text once, and which one each row holds. A lone surrogate (from a careless encoder) is kept."""
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(str(text), len(places)) for text in column], np.int64)
    cells = [text.encode("utf-8", "surrogatepass") for text in places]
    sizes = put_ints(np.array([len(cell) for cell in cells], np.int64))
    return len(cells).to_bytes(4, "little") + sizes + b"".join(cells) + put_ints(rows)


def get_texts(reader: Reader, n: int) -> NDArray[Any]:
    different = int.from_bytes(reader.take(4), "little")
    if not 0 < different <= n:
        raise CodecError(f"{different} different texts in {n} rows")
    sizes = get_sizes(reader, different, reader.left)
    texts = np.empty(different, dtype=object)
    texts[:] = [reader.take(size).decode("utf-8", "surrogatepass") for size in sizes]
    rows = get_ints(reader, n)
    if rows.min() < 0:
        raise CodecError("a row names a text before the first")
    return texts[rows]


def get_sizes(reader: Reader, n: int, limit: int) -> list[int]:
    """Sizes of n parts: none negative, together at most `limit`."""
    sizes: list[int] = get_ints(reader, n).tolist()
    if min(sizes) < 0 or sum(sizes) > limit:
        raise CodecError(f"{n} parts of together more than {limit}")
    return sizes
