"""The decoder against the independent encoder: every field mask with every type, exact to the tick, and hostile bytes."""

from __future__ import annotations

import contextlib
import math
import struct
import tracemalloc
import uuid
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.opcua.columns import Columns, Segment, segments, to_batch
from adapters.opcua.decode import Rows, decode_items, decode_read, decode_response
from adapters.opcua.values import Malformed, variant
from pipelines.batch import Batch, Flag, Kind
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue, Null, Scalar, Structure

HANDLES = 8
RECEIVED = 1_700_000_000_000_000_000
LATEST = (2**63 - 1) // 100 - 100 + enc.EPOCH_SECONDS * 10_000_000

INTEGERS = {2: (-128, 127), 3: (0, 255), 4: (-(2**15), 2**15 - 1), 5: (0, 2**16 - 1), 6: (-(2**31), 2**31 - 1), 7: (0, 2**32 - 1), 8: (-(2**63), 2**63 - 1), 9: (0, 2**64 - 1), 19: (0, 2**32 - 1)}  # fmt: skip
KIND_OF = {1: Kind.FLAG, 9: Kind.UNSIGNED, 10: Kind.NUMBER, 11: Kind.NUMBER, 12: Kind.TEXT, 13: Kind.TEXT, 14: Kind.TEXT, 16: Kind.TEXT, 21: Kind.TEXT}  # fmt: skip

texts = st.text(max_size=20)
scalars = st.one_of(
    st.booleans().map(lambda v: Scalar(1, v)),
    *(st.builds(Scalar, st.just(kind), st.integers(*bounds)) for kind, bounds in INTEGERS.items()),
    st.floats(width=32).map(lambda v: Scalar(10, v)),
    st.floats().map(lambda v: Scalar(11, v)),
    texts.map(lambda v: Scalar(12, v)),
    texts.map(lambda v: Scalar(16, v)),
    st.uuids().map(lambda v: Scalar(14, v)),
    st.tuples(st.none() | texts, texts).map(lambda v: Scalar(21, v)),
)
waves = st.sampled_from([4, 6, 10, 11]).flatmap(
    lambda kind: st.lists(st.integers(-(2**15), 2**15 - 1), max_size=20).map(
        lambda cells: Array(kind, [float(c) for c in cells] if kind > 9 else cells)
    )
)
stamps = st.none() | st.integers(1, LATEST) | st.just(0)
picos = st.none() | st.integers(0, 0xFFFF)
data_values = st.builds(
    DataValue,
    st.none() | st.just(Null()) | scalars | waves,
    st.none() | st.integers(0, 2**32 - 1),
    stamps,
    picos,
    stamps,
    picos,
)
notifications = st.lists(st.tuples(st.integers(0, HANDLES - 1), data_values), max_size=30)


def decode(*bodies: bytes, size: int = HANDLES) -> tuple[Rows, list[Segment], Columns]:
    rows, table = Rows(), Columns.of(size)
    table.points[:] = np.arange(size)
    for number, body in enumerate(bodies):
        decode_items(body, 0, len(body), rows, RECEIVED + number)
    return rows, list(segments(rows, table)), table


def batches(*bodies: bytes) -> list[Batch]:
    rows, found, table = decode(*bodies)
    return [to_batch(segment, table, rows, 0) for segment in found]


def time_of(stamp: int | None, pico: int | None) -> int | None:
    """The model: exact ns, None for a time that is none or beyond what ns can say."""
    if not stamp:
        return None
    ns = (stamp - enc.EPOCH_SECONDS * 10_000_000) * 100 + (
        pico // 100 if pico is not None and pico <= 9999 else 0
    )
    return ns if abs(ns) < 2**63 and ns != 0 else None


def plain(kind: Kind, value: Any) -> Any:
    if kind is Kind.WAVEFORM:
        return tuple(value.tolist())
    value = value.item() if hasattr(value, "item") else value
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def expected(value: DataValue) -> Any:
    match value.value:
        case Scalar(21, (_, text)):
            return text
        case Scalar(14, guid):
            return str(guid)
        case Scalar(_, cell):
            return "nan" if isinstance(cell, float) and math.isnan(cell) else cell
        case Array(_, cells):
            return tuple(float(cell) for cell in cells)
    return None


@given(notifications)
@settings(max_examples=400, deadline=None)
@example([(0, DataValue(Scalar(11, 1.5), 0x480, 5, 9999, 7, 3))])
def test_every_mask_and_type_comes_out_exactly(items: list[tuple[int, DataValue]]) -> None:
    assert_exact(items)


@given(st.lists(st.tuples(data_values, st.integers(1, 40)), min_size=1, max_size=5), st.randoms())
@settings(max_examples=200, deadline=None)
def test_runs_of_items_laid_out_alike_come_out_exactly(
    shapes: list[tuple[DataValue, int]], chance: Random
) -> None:
    """The step that takes a whole run at once, between runs of other layouts and single items, says what the loop says."""
    items = [
        (
            chance.randrange(HANDLES),
            replace(value, source=None if value.source is None else min(value.source + n, LATEST)),
        )
        for value, count in shapes
        for n in range(count)
    ]
    assert_exact(items)


def test_a_scan_is_taken_in_one_step() -> None:
    items = [(n % HANDLES, DataValue(Scalar(11, float(n)), None, 5 + n, None, 7, None)) for n in range(1000)]
    body = enc.data_change(items)
    rows = Rows()
    decode_items(body, 0, len(body), rows, RECEIVED)
    assert [len(block.records) for block in rows.blocks] == [1000]
    assert not rows.groups
    assert_exact(items)


def assert_exact(items: list[tuple[int, DataValue]]) -> None:
    found = batches(enc.data_change(items))
    taken: dict[int, list[tuple[Any, ...]]] = {handle: [] for handle in range(HANDLES)}
    for batch in found:
        for row, point in enumerate(batch.points):
            silent = bool(batch.flags[row] & Flag.NO_VALUE)
            value = None if silent else plain(batch.kind, batch.values[row])
            server = 0 if batch.server_at is None else int(batch.server_at[row])
            taken[int(point)].append((value, int(batch.quality[row]), int(batch.at[row]), server))
    for handle in range(HANDLES):
        mine = [(n, value) for n, (h, value) in enumerate(items) if h == handle]
        model = [
            (
                expected(value),
                value.status or 0,
                time_of(value.source, value.source_pico)
                or time_of(value.server, value.server_pico)
                or RECEIVED + n,
                time_of(value.server, value.server_pico) or 0,
            )
            for n, value in mine
        ]
        assert taken[handle] == model


@given(scalars)
def test_kinds_follow_the_wire(value: Scalar) -> None:
    (batch,) = batches(enc.data_change([(0, DataValue(value))]))
    assert batch.kind is KIND_OF.get(value.kind, Kind.INTEGER)
    assert batch.flags[0] == Flag.TIME_SUBSTITUTED


def test_picoseconds_stand_behind_their_own_timestamp() -> None:
    """Where asyncua errs: with it, the server's time becomes nonsense."""
    now = enc.ticks(1_700_000_000_123_456_700)
    value = DataValue(Scalar(11, 1.0), 0, now, 4200, now + 10, 0)
    (batch,) = batches(enc.data_change([(3, value)]))
    assert batch.server_at is not None
    assert (batch.at[0], batch.server_at[0]) == (1_700_000_000_123_456_742, 1_700_000_000_123_457_700)
    assert batch.flags[0] == 0


@pytest.mark.parametrize("missing", [None, 0, LATEST + 1000, 2**63 - 1])
def test_a_time_that_is_none_gives_way_to_the_next(missing: int | None) -> None:
    server = enc.ticks(1_600_000_000_000_000_100)
    (batch,) = batches(enc.data_change([(0, DataValue(Scalar(6, 1), source=missing, server=server))]))
    assert batch.at[0] == 1_600_000_000_000_000_100
    assert batch.flags[0] == Flag.TIME_SUBSTITUTED


def test_rows_without_any_time_are_a_nanosecond_apart() -> None:
    body = enc.data_change([(0, DataValue(Scalar(6, n))) for n in range(3)])
    (batch,) = batches(body, body)
    assert batch.at.tolist() == [
        RECEIVED,
        RECEIVED + 1,
        RECEIVED + 2,
        RECEIVED + 4,
        RECEIVED + 5,
        RECEIVED + 6,
    ]


@pytest.mark.parametrize(
    ("ticks", "shown"),
    [
        (enc.ticks(0) + 1, "1970-01-01T00:00:00.0000001Z"),
        (133_801_632_001_234_567, "2025-01-01T00:00:00.1234567Z"),
        (1, "1601-01-01T00:00:00.0000001Z"),
        (2**63 - 1, "9999-12-31T23:59:59.9999999Z"),
    ],
)
def test_a_datetime_is_text_with_all_its_decimals(ticks: int, shown: str) -> None:
    (batch,) = batches(enc.data_change([(0, DataValue(Scalar(13, ticks)))]))
    assert batch.values.tolist() == [shown]


def test_a_null_of_any_kind_is_a_row_without_value_of_the_points_kind() -> None:
    items = [
        (0, DataValue(Scalar(12, "a"))),
        (0, DataValue(Null(), 0x80000000)),
        (0, DataValue(None, 0x80320000)),
        (0, DataValue(Scalar(12, None))),
        (0, DataValue(Scalar(12, "b"))),
    ]
    (batch,) = batches(enc.data_change(items))
    assert batch.kind is Kind.TEXT
    assert batch.values.tolist() == ["a", "", "", "", "b"]
    assert (batch.flags & Flag.NO_VALUE).tolist() == [0, 1, 1, 1, 0]
    assert batch.quality.tolist() == [0, 0x80000000, 0x80320000, 0, 0]


def test_order_is_kept_when_a_server_changes_the_type_in_mid_stream() -> None:
    cells: Sequence[Scalar] = [Scalar(6, 1), Scalar(11, 2.5), Scalar(6, 3), Scalar(12, "four"), Scalar(6, 5)]
    found = batches(enc.data_change([(0, DataValue(cell)) for cell in cells]))
    assert [value for batch in found for value in batch.values.tolist()] == [1, 2.5, 3, "four", 5]
    again = batches(enc.data_change([(0, DataValue(Scalar(6, 1))), (1, DataValue(Scalar(11, 2.5)))]))
    assert [batch.kind for batch in again] == [Kind.NUMBER, Kind.INTEGER]


def test_invalid_utf_8_is_replaced_and_no_longer_good() -> None:
    items = [(0, DataValue(Scalar(12, b"a\xffb"))), (0, DataValue(Scalar(12, b"\xff"), 0x80000000))]
    (batch,) = batches(enc.data_change(items))
    assert batch.values.tolist() == ["a�b", "�"]
    assert batch.quality.tolist() == [0x40000000, 0x80000000]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (Structure(b"abc"), "a structure (ns=3;i=5001)"),
        (Array(12, ["a", "b"]), "an array of anything but numbers"),
        (Array(1, [True]), "an array of anything but numbers"),
        (Array(11, [1.0, 2.0, 3.0, 4.0], (2, 2)), "a matrix"),
        (Scalar(15, b"xyz"), "a byte string"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name_and_the_rest_goes_on(value: enc.Value, word: str) -> None:
    rows, found, _ = decode(
        enc.data_change(
            [(0, DataValue(Scalar(6, 1))), (1, DataValue(value, 0, 5)), (2, DataValue(Scalar(6, 2)))]
        )
    )
    chosen = [(one.handle, one.row[0].reason, one.raw) for one in rows.special]
    ((handle, reason, raw),) = rows.strange or chosen
    assert (handle, rows.count) == (1, 3)
    assert word in reason
    assert raw == struct.pack("<I", 1) + DataValue(value, 0, 5).encode()
    assert [v for s in found for v in s.values.tolist()] == [1, 2]


def test_a_one_dimensional_array_with_dimensions_is_a_waveform() -> None:
    (batch,) = batches(enc.data_change([(0, DataValue(Array(10, [1.0, 2.5], (2,))))]))
    assert batch.kind is Kind.WAVEFORM
    assert batch.values[0].tolist() == [1.0, 2.5]


def test_a_handle_that_nobody_gave_is_refused() -> None:
    rows, found, _ = decode(
        enc.data_change([(HANDLES, DataValue(Scalar(6, 1))), (0, DataValue(Scalar(6, 2)))])
    )
    assert [(handle, reason) for handle, reason, _ in rows.strange] == [
        (HANDLES, "a value that nobody asked for")
    ]
    assert [v for s in found for v in s.values.tolist()] == [2]


def test_publish_response_keep_alive_and_fault() -> None:
    body = enc.publish_response(
        7, 9, [(811, enc.data_change([(0, DataValue(Scalar(6, 4)))]))], available=[8, 9]
    )
    found = decode_response(body)
    assert found.message is not None
    assert (found.subscription, found.available, found.message.sequence) == (7, (8, 9), 9)
    (part,) = found.message.parts
    rows = Rows()
    decode_items(body, part.start, part.end, rows, RECEIVED)
    assert rows.count == 1
    keep_alive = decode_response(enc.publish_response(7, 10, []))
    assert keep_alive.message is not None
    assert keep_alive.message.parts == ()
    assert decode_response(enc.service_fault(0x80780000)).result == 0x80780000
    republished = decode_response(enc.republish_response(9, [(820, enc.status_change(0x800A0000))]))
    assert republished.message is not None
    assert republished.message.parts[0].type_id == "i=820"


def test_read_results() -> None:
    values = [DataValue(Scalar(11, 2.5)), DataValue(None, 0x80340000), DataValue(Array(6, [1, 2]))]
    body = (
        enc.node(0, 634) + enc.response_header() + struct.pack("<i", 3) + b"".join(v.encode() for v in values)
    )
    found = decode_read(body + struct.pack("<i", -1))
    assert [(f.kind, f.quality) for f in found] == [(Kind.NUMBER, 0), (None, 0x80340000), (Kind.WAVEFORM, 0)]


HOSTILE = [
    struct.pack("<i", 2**31 - 1),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + struct.pack("<Bi", 12, 2**31 - 1) + b"abc",
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + struct.pack("<Bi", 0x80 | 0, 2**31 - 1),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + struct.pack("<Bi", 0x80 | 11, 2**28) + bytes(64),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + struct.pack("<Bi", 0x80 | 24, 40) + bytes([24] * 5000),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + bytes([24]) * 100_000,
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + bytes([23, 1]) * 50_000,
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + b"\x19" + b"\x40" * 100_000,
    struct.pack("<i", 1) + struct.pack("<IB", 0, 0xC1) + bytes(20),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + b"\x3f" + bytes(20),
    struct.pack("<i", 1) + struct.pack("<IB", 0, 1) + struct.pack("<Bii", 0xC0 | 6, 0, 2**31 - 1),
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_notifications_are_bounded(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(Malformed):
        decode_items(body, 0, len(body), Rows(), RECEIVED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_decoded_or_malformed(body: bytes) -> None:
    rows, table = Rows(), Columns.of(4)
    table.points[:] = range(4)
    with contextlib.suppress(Malformed):
        decode_items(body, 0, len(body), rows, RECEIVED)
    kept = sum(len(s.handles) for s in segments(rows, table))
    assert kept + len(rows.strange) + len(rows.special) == rows.count
    for decoder in (decode_response, decode_read):
        with contextlib.suppress(Malformed):
            decoder(body)


@given(notifications, st.data())
@settings(max_examples=300, deadline=None)
def test_a_cut_or_bent_notification_never_escapes(
    items: list[tuple[int, DataValue]], data: st.DataObject
) -> None:
    body = bytearray(enc.publish_response(1, 1, [(811, enc.data_change(items))]))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    bent = bytes(body[: data.draw(st.integers(0, len(body)))])
    with contextlib.suppress(Malformed):
        found = decode_response(bent)
        for part in found.message.parts if found.message else ():
            decode_items(bent, part.start, part.end, Rows(), RECEIVED)


def test_a_variant_of_every_known_type_ends_where_it_ends() -> None:
    cells = [Scalar(kind, 1) for kind in enc.FORMS if kind != 1]
    cells += [
        Scalar(1, True),
        Scalar(12, "x"),
        Scalar(14, uuid.uuid4()),
        Scalar(20, (3, "q")),
        Scalar(21, ("en", "t")),
    ]
    for cell in cells:
        body = enc.variant(cell)
        assert variant(body + b"tail", 0)[2] == len(body), cell
