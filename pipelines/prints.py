"""A 64-bit print per row, of what the identity rule compares: value, quality code, and whether there is a value at all.

Not Python's hash(): it differs between processes for texts and equates 1 and True, 0.0 and -0.0. Prints are stored in
identity snapshots, so the arithmetic below may never change without a new snapshot version. Bits are compared: -0.0 is
not 0.0. Of the status code the upper half counts (severity and sub-code); the lower half (limit and overflow bits,
OPC 10000-4 7.39) may differ between a notification and its repetition and would make a redelivered value look new.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch, Flag, Kind

Prints = NDArray[np.uint64]

_NO_VALUE_MARK = np.uint64(1 << 16)


def prints(batch: Batch) -> Prints:
    """uint64[n]: equal for equal (value, quality code, has a value), else different but for a chance of 2^-64."""
    state: Prints = (batch.quality >> np.uint32(16)).astype(np.uint64)
    absent = (batch.flags & Flag.NO_VALUE) != 0
    bits = _bits(batch.kind, batch.values)
    if absent.any():
        state[absent] |= _NO_VALUE_MARK
        bits = np.where(absent, np.uint64(0), bits)
    return _mixed(bits ^ _mixed(state))


def _bits(kind: Kind, values: NDArray[Any]) -> Prints:
    if kind is Kind.TEXT:
        return _digests([str(text).encode("utf-8", "surrogatepass") for text in values])
    if kind is Kind.WAVEFORM:
        return _digests([np.ascontiguousarray(wave, dtype="<f8").tobytes() for wave in values])
    if kind is Kind.FLAG:
        return values.astype(np.uint64)
    return np.ascontiguousarray(values).view(np.uint64)


def _digests(cells: list[bytes]) -> Prints:
    joined = b"".join(hashlib.blake2b(cell, digest_size=8).digest() for cell in cells)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def _mixed(bits: Prints) -> Prints:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection, so different 64-bit values stay different."""
    x: Prints = bits + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
