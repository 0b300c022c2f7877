"""What is decoded equals what was encoded, bit for bit; damaged bytes are a CodecError and nothing else."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import Batch, Flag, Kind, batch_of
from pipelines.codec import MAX_VALUES, CodecError, count, decode, encode
from tests.pipelines.strategies import T, batches

GOLDEN = Path(__file__).parent / "golden"


def bits(column: Any) -> list[Any]:
    """A column as something that compares by bits: -0.0 is not 0.0, a NaN equals itself."""
    if column is None:
        return []
    if column.dtype == object:
        return [wave.tobytes() if isinstance(wave, np.ndarray) else wave for wave in column]
    return [str(column.dtype), column.tobytes()]


def facts(batch: Batch) -> tuple[Any, ...]:
    columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags, batch.server_at, batch.moved)
    missing = (batch.server_at is None, batch.moved is None)
    return (batch.kind, batch.received, batch.registry_version, missing, [bits(column) for column in columns])


@given(st.lists(batches(), max_size=4), st.booleans())
def test_what_is_decoded_is_what_was_encoded(written: list[Batch], moved: bool) -> None:
    if moved:
        written = [replace(batch, moved=np.arange(len(batch)) % 3) for batch in written]
    blob = encode(written)
    read = decode(blob)
    assert [facts(batch) for batch in read] == [facts(batch) for batch in written]
    assert all(batch.values.dtype == batch.kind.dtype for batch in read)
    assert count(blob) == sum(map(len, written))


@given(st.lists(batches(), min_size=1, max_size=2), st.data())
def test_a_changed_byte_is_found(written: list[Batch], data: st.DataObject) -> None:
    blob = bytearray(encode(written))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    for read in (decode, count):
        with pytest.raises(CodecError):
            read(bytes(blob))


@given(st.lists(batches(), min_size=1, max_size=2), st.data())
def test_a_cut_or_lengthened_blob_is_found(written: list[Batch], data: st.DataObject) -> None:
    blob = encode(written)
    for broken in (blob[: data.draw(st.integers(0, len(blob) - 1))], blob + b"\x00"):
        for read in (decode, count):
            with pytest.raises(CodecError):
                read(broken)


def sealed(content: bytes) -> bytes:
    """A blob whose checksum is right whatever its content."""
    return struct.pack("<BI", 1, zlib.crc32(content)) + content


@given(st.lists(batches(), min_size=1, max_size=2), st.data())
def test_hostile_content_with_a_right_checksum_is_a_codec_error_or_batches(
    written: list[Batch], data: st.DataObject
) -> None:
    content = bytearray(encode(written)[5:])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode(sealed(bytes(content)))
    except CodecError:
        return
    assert all(len(batch) == len(batch.values) == len(batch.at) for batch in read)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_codec_error(noise: bytes) -> None:
    with pytest.raises(CodecError):
        decode(noise)


def test_a_small_blob_cannot_claim_much_memory() -> None:
    blob = encode([batch_of(Kind.NUMBER, [1], T, [1.0], received=T)])
    content = bytearray(blob[5:])
    content[0:4] = content[10:14] = (2**32 - 1).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(CodecError):
        decode(sealed(bytes(content)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_more_than_fits_in_a_blob_is_refused_and_not_cut() -> None:
    wide = batch_of(Kind.FLAG, np.zeros(MAX_VALUES + 1), T, np.zeros(MAX_VALUES + 1), received=T)
    with pytest.raises(CodecError, match="at most"):
        encode([wide])


def test_nothing_is_a_blob_too() -> None:
    assert (decode(encode([])), count(encode([]))) == ([], 0)


def mixed(n: int, seed: int = 7) -> list[Batch]:
    """What a workshop sends: decimals, noise, counters, states, texts; timestamps in 100 ns."""
    random = np.random.default_rng(seed)
    at = T + np.sort(random.integers(0, 2_000_000, n)) * 100
    points = random.integers(0, 400, n)
    batch = partial(batch_of, received=T + 250_000_000, registry_version=400)
    return [
        batch(Kind.NUMBER, points, at, np.round(random.normal(40, 9, n), 1)),
        batch(Kind.NUMBER, points, at, random.normal(0, 1, n), server_at=at + 1000),
        batch(Kind.INTEGER, points, at, random.integers(0, 10**6, n)),
        batch(Kind.FLAG, points, at, random.integers(0, 2, n)),
        batch(Kind.TEXT, points, at, [("ACTIVE", "IDLE")[k] for k in random.integers(0, 2, n)]),
    ]


def test_mixed_batches_stay_under_sixteen_bytes_a_value() -> None:
    written = mixed(1000)
    assert len(encode(written)) / sum(map(len, written)) < 12
    assert len(encode(written[1:2])) / 1000 < 19  # noise with two times: 8 bytes of it are the value


@pytest.mark.parametrize(
    ("column", "most"),
    [
        ([0.0] * 100, 4),
        ([float("nan")] * 100, 10),
        ([n / 10 for n in range(0, 1000, 7)], 200),
        ([0.5 * n + 0.0625 for n in range(200)], 830),  # exact as float32
    ],
)
def test_floats_take_their_cheapest_exact_form(column: list[float], most: int) -> None:
    frame = len(encode([batch_of(Kind.FLAG, range(len(column)), T, [True] * len(column), received=T)]))
    blob = encode([batch_of(Kind.NUMBER, range(len(column)), T, column, received=T)])
    assert len(blob) - frame + (len(column) + 7) // 8 <= most


def golden_batches() -> list[Batch]:
    """Every kind, every form of column, and the rows that are easily lost."""
    steps = np.arange(20)
    wild = [0.0, -0.0, float("nan"), float("inf"), 1e300]
    return [
        batch_of(Kind.NUMBER, steps % 7, T + steps**2 * 100, np.sqrt(steps), received=T + 10**9),
        batch_of(Kind.NUMBER, steps % 7, T + steps**2 * 10**6, steps * 7 % 5 / 10, received=T + 10**9),
        batch_of(Kind.INTEGER, steps, T + steps**2, steps * 70_001 % 300_007, received=T + 10**9),
        batch_of(Kind.FLAG, steps + 70_000, T, steps % 3 == 0, received=T + 10**9),
        batch_of(
            Kind.NUMBER,
            [1, 5, 2, 5, 9],
            [T, T + 7, 0, -1, 2**62],
            wild,
            received=T,
            server_at=[0, T, 0, T, 5],
        ),
        batch_of(
            Kind.NUMBER, [3, 4, 8], T, [0.5, 0.0625, 1 / 3], received=T, quality=[0, 0x80340000, 0x40940000]
        ),
        batch_of(Kind.NUMBER, [3, 4, 8, 9], T, [0.5, 0.0625, 1.25, 7.03125], received=T),
        batch_of(Kind.NUMBER, [3, 4, 8], T, [float("nan")] * 3, received=T),
        batch_of(Kind.NUMBER, [3, 4, 8], T, [5.0, 80.0, 7.0], received=T),
        batch_of(Kind.UNSIGNED, [0, 1, 2], [T, T + 10**9, T + 3 * 10**9], [2**64 - 1, 0, 5], received=-5),
        batch_of(
            Kind.INTEGER, [0, 1], T, [-(2**63), 2**63 - 1], received=T, flags=[Flag.NO_VALUE, Flag.SHIFTED]
        ),
        batch_of(Kind.TEXT, [0, 1, 2], T, ["", "\ud800µm", "a\x00b"], received=T),
        batch_of(Kind.WAVEFORM, [0, 1, 2], T, [[], [1.5, -2.25, 0.1], [3.0]], received=T),
        batch_of(Kind.WAVEFORM, [0], T, [[]], received=T),
        replace(batch_of(Kind.INTEGER, [6, 6], [T, T + 1], [1, 2], received=T), moved=np.array([0, 1])),
    ]


def test_blobs_of_version_1_are_readable_for_ever() -> None:
    """Never rewrite the file: journals with these bytes are in the field."""
    read = decode((GOLDEN / "version-1.bin").read_bytes())
    assert [facts(batch) for batch in read] == [facts(batch) for batch in golden_batches()]
