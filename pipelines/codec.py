"""Batches <-> bytes for the journal: compact, checked, and readable for as long as the journal's files live.

Not pickle (input is not trusted), not Arrow or Parquet (kilobytes of frame around a commit of a hundred values), not a
general compressor (see pipelines/columns.py). The bytes are stored for years: a change of the format is a new version
number beside the old reader, and tests/pipelines/golden keeps blobs of every version.

Version 1, little-endian: version (1 byte), crc32 of all that follows (4), values (4), batches (4); then per batch kind
(1), which optional columns are there (1), rows (4), received (8), registry_version (4), and the columns points, at
(minus received), values, quality, flags, server_at, moved.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch, Kind
from pipelines.columns import (
    DIVISORS,
    CodecError,
    Reader,
    get_flags,
    get_floats,
    get_ints,
    get_sizes,
    get_texts,
    put_flags,
    put_floats,
    put_ints,
    put_texts,
)

__all__ = ["MAX_SAMPLES", "MAX_VALUES", "CodecError", "count", "decode", "encode"]

MAX_VALUES: Final = (
    1 << 22
)  # in one blob: what damaged or hostile bytes can make us allocate is bounded by it
MAX_SAMPLES: Final = 1 << 24  # of all waveforms of one batch
_VERSION: Final = 1
_FRAME: Final = struct.Struct("<BI")
_COUNTS: Final = struct.Struct("<II")
_BATCH: Final = struct.Struct("<BBIqI")
_SERVER_AT, _MOVED = 1, 2


def encode(batches: Sequence[Batch]) -> bytes:
    """One blob. Raises CodecError beyond MAX_VALUES or MAX_SAMPLES: split the batches."""
    values = sum(len(batch) for batch in batches)
    if values > MAX_VALUES:
        raise CodecError(f"{values} values in one blob; at most {MAX_VALUES}")
    kept = [_put_batch(batch) for batch in batches if len(batch)]
    content = _COUNTS.pack(values, len(kept)) + b"".join(kept)
    return _FRAME.pack(_VERSION, zlib.crc32(content)) + content


def decode(blob: bytes) -> list[Batch]:
    """The batches of a blob. Raises CodecError, and nothing else, for bytes that `encode` did not write."""
    values, batches = _checked(blob)
    reader = Reader(blob, _FRAME.size + _COUNTS.size)
    found: list[Batch] = []
    left = values
    try:
        for _ in range(batches):
            found.append(_get_batch(reader, left))
            left -= len(found[-1])
    except (ValueError, IndexError, OverflowError) as error:
        raise (
            error if isinstance(error, CodecError) else CodecError(f"unreadable content: {error}")
        ) from error
    if reader.left or left:
        raise CodecError("the content does not match its header")
    return found


def count(blob: bytes) -> int:
    """How many values a blob holds, without decoding it; the checksum is verified. Raises CodecError."""
    return _checked(blob)[0]


def _checked(blob: bytes) -> tuple[int, int]:
    if len(blob) < _FRAME.size + _COUNTS.size:
        raise CodecError(f"{len(blob)} bytes are too short for a blob")
    version, crc = _FRAME.unpack_from(blob)
    if version != _VERSION:
        raise CodecError(f"version {version} of the journal's format is not known to this release")
    if zlib.crc32(memoryview(blob)[_FRAME.size :]) != crc:
        raise CodecError("the checksum does not match: the bytes were damaged")
    values, batches = _COUNTS.unpack_from(blob, _FRAME.size)
    if values > MAX_VALUES or batches > values:
        raise CodecError(f"{values} values in {batches} batches")
    return values, batches


def _put_batch(batch: Batch) -> bytes:
    optional = (_SERVER_AT if batch.server_at is not None else 0) | (_MOVED if batch.moved is not None else 0)
    parts = [
        _BATCH.pack(batch.kind, optional, len(batch), batch.received, batch.registry_version),
        put_ints(batch.points),
        _put_times(batch.at, batch.received),
        _PUT[batch.kind](batch.values),
        put_ints(batch.quality),
        put_ints(batch.flags),
    ]
    if batch.server_at is not None:
        parts.append(_put_times(batch.server_at, batch.received))
    if batch.moved is not None:
        parts.append(put_ints(batch.moved))
    return b"".join(parts)


def _get_batch(reader: Reader, limit: int) -> Batch:
    number, optional, n, received, version = _BATCH.unpack(reader.take(_BATCH.size))
    kind = Kind(number)
    if not 0 < n <= limit or optional > 3:
        raise CodecError(f"a batch of {n} rows where {limit} are left")
    return Batch(
        kind=kind,
        points=get_ints(reader, n).astype(np.int32),
        at=_get_times(reader, n, received),
        values=_GET[kind](reader, n),
        quality=get_ints(reader, n).astype(np.uint32),
        flags=get_ints(reader, n).astype(np.uint8),
        received=received,
        server_at=_get_times(reader, n, received) if optional & _SERVER_AT else None,
        registry_version=version,
        moved=get_ints(reader, n) if optional & _MOVED else None,
    )


def _put_times(times: NDArray[np.int64], received: int) -> bytes:
    """Relative to the receive time, modulo 2^64: bases become small."""
    relative = times.view(np.uint64) - np.uint64(received % 2**64)
    return put_ints(relative, DIVISORS[1:])


def _get_times(reader: Reader, n: int, received: int) -> NDArray[np.int64]:
    return (get_ints(reader, n).view(np.uint64) + np.uint64(received % 2**64)).view(np.int64)


def _put_waves(column: NDArray[Any]) -> bytes:
    sizes = np.array([len(wave) for wave in column], np.int64)
    if sizes.sum() > MAX_SAMPLES:
        raise CodecError(f"{sizes.sum()} samples in the waveforms of one batch; at most {MAX_SAMPLES}")
    samples = np.concatenate(list(column)) if sizes.any() else np.zeros(0)
    return put_ints(sizes) + (put_floats(samples) if len(samples) else b"")


def _get_waves(reader: Reader, n: int) -> NDArray[Any]:
    sizes = get_sizes(reader, n, MAX_SAMPLES)
    samples = get_floats(reader, sum(sizes)) if any(sizes) else np.zeros(0)
    waves = np.empty(n, dtype=object)
    for row, (start, end) in enumerate(pairwise(accumulate(sizes, initial=0))):
        waves[row] = samples[start:end]
    return waves


def _get_unsigned(reader: Reader, n: int) -> NDArray[Any]:
    return get_ints(reader, n).view(np.uint64)


_PUT: Final[dict[Kind, Callable[[NDArray[Any]], bytes]]] = {
    Kind.NUMBER: put_floats,
    Kind.INTEGER: put_ints,
    Kind.UNSIGNED: put_ints,
    Kind.FLAG: put_flags,
    Kind.TEXT: put_texts,
    Kind.WAVEFORM: _put_waves,
}
_GET: Final[dict[Kind, Callable[[Reader, int], NDArray[Any]]]] = {
    Kind.NUMBER: get_floats,
    Kind.INTEGER: get_ints,
    Kind.UNSIGNED: _get_unsigned,
    Kind.FLAG: get_flags,
    Kind.TEXT: get_texts,
    Kind.WAVEFORM: _get_waves,
}
