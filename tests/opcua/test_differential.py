"""The fast decoder against the plain one of the tests (`reference.py`): any types, any masks, any order, again and again.

"Again and again" is the point: what an earlier notification taught the decoder must never be believed of the next one.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
import tracemalloc
import uuid
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.opcua.columns import Columns, segments, to_batch
from adapters.opcua.decode import Rows, decode_items
from adapters.opcua.layouts import WORTHWHILE, Layouts
from adapters.opcua.values import Malformed
from pipelines import quality as q
from pipelines.batch import Flag, Kind
from tests.opcua import encoder as enc
from tests.opcua import reference
from tests.opcua.encoder import Array, DataValue, Null, Scalar, Structure

HANDLES = 40
RECEIVED = 1_700_000_000_000_000_000
EPOCH = 116_444_736_000_000_000
BOUNDS = {2: (-128, 127), 3: (0, 255), 4: (-(2**15), 2**15 - 1), 5: (0, 2**16 - 1), 6: (-(2**31), 2**31 - 1), 7: (0, 2**32 - 1), 8: (-(2**63), 2**63 - 1), 9: (0, 2**64 - 1), 19: (0, 2**32 - 1)}  # fmt: skip
TYPES = (*range(1, 17), 20, 21)
NUMBERS = (*range(2, 12),)

Row = tuple[int, Any, int, int, int, int]
"""(handle, value or None, status, time ns, server time ns, flags)."""


def scalar(kind: int, chance: Random) -> Scalar:
    """Some value of a built-in type, extremes and nulls included."""
    if kind in BOUNDS:
        return Scalar(kind, chance.choice([*BOUNDS[kind], 0, 1, chance.randint(*BOUNDS[kind])]))
    some: dict[int, Any] = {
        1: chance.random() < 0.5,
        10: chance.choice([0.0, -0.0, math.nan, math.inf, 1.5, 2.0**-149]),
        11: chance.choice([0.0, -0.0, math.nan, -math.inf, chance.uniform(-1e300, 1e300), 5e-324]),
        12: chance.choice([None, "", "RUN", "Störung ⚙", "x" * chance.randint(0, 300)]),
        13: chance.choice([0, 1, EPOCH, EPOCH + chance.randint(0, 10**17)]),
        14: uuid.UUID(int=chance.getrandbits(128)),
        15: chance.choice([None, b"", chance.randbytes(9)]),
        16: chance.choice([None, "", "<a/>"]),
        20: (chance.choice([0, 3]), chance.choice([None, "", "name"])),
        21: (chance.choice([None, "de"]), chance.choice([None, "", "Text"])),
    }
    return Scalar(kind, some[kind])


def some_value(chance: Random) -> enc.Value | None:
    """Mostly scalars of all types, sometimes what has no fixed size at all."""
    what = chance.random()
    if what < 0.75:
        return scalar(chance.choice(TYPES), chance)
    if what < 0.8:
        return None
    if what < 0.85:
        return Null()
    if what < 0.9:
        return Structure(chance.randbytes(chance.randint(0, 20)))
    kind = chance.choice(NUMBERS)
    cells = [scalar(kind, chance).value for _ in range(chance.choice([0, 1, 6]))]
    return Array(kind, cells, chance.choice([None, (len(cells),), (1, len(cells))]))


def some_item(chance: Random) -> DataValue:
    def stamp() -> int | None:
        return chance.choice([None, 0, 1, EPOCH, EPOCH + chance.randint(1, 10**17), 2**63 - 1])

    def fine() -> int | None:
        return chance.choice([None, 0, 9999, 10000, 65535, chance.randint(0, 9999)])

    status = chance.choice([None, 0, 0x480, 0x80000000, 0x40000480, chance.getrandbits(32)])
    return DataValue(some_value(chance), status, stamp(), fine(), stamp(), fine())


def again(value: DataValue, chance: Random) -> DataValue:
    """The same type and fields, other contents: what the next scan of a machine brings."""
    inner = value.value
    if isinstance(inner, Scalar):
        inner = scalar(inner.kind, chance)
    return replace(
        value,
        value=inner,
        status=None if value.status is None else chance.getrandbits(32),
        source=None if value.source is None else EPOCH + chance.randint(1, 10**17),
    )


# -- the model -----------------------------------------------------------------------------------------------------------


def time_of(stamp: int, fine: int) -> int:
    """ns since 1970, 0 for none: 0, 1970 itself, and what 64 bits of ns cannot say (with a little room for the rest)."""
    since = stamp - EPOCH
    if stamp <= 0 or abs(since) > (2**63 - 1) // 100 - 100:
        return 0
    return since * 100 + (fine // 100 if fine <= 9999 else 0)


def stored(item: reference.Item) -> Any:
    """What becomes of a value: None for none, `...` for what is refused."""
    if item.type is None or item.type == 0 or (item.value is None and item.type != 22):
        return None
    if item.is_array:
        flat = item.dimensions is None or len(item.dimensions) <= 1
        return tuple(float(cell) for cell in item.value) if flat else ...
    if item.type in (15, 22):
        return ...
    if item.type == 13:
        return ("time", item.value) if item.value > 0 else None
    return item.value


def model(bodies: Sequence[bytes], together: int) -> tuple[list[Row], list[int]]:
    """The rows that must come out, and the handles of those that are refused."""
    rows: list[Row] = []
    refused, count = [], 0
    for number, body in enumerate(bodies):
        count = 0 if number % together == 0 else count
        for item in reference.decode(body):
            value = stored(item)
            own, server = (
                time_of(item.source, item.source_pico),
                time_of(item.server, item.server_pico),
            )
            received = RECEIVED + 10**6 * number + count
            at = own or server or received
            flags = 0 if own else int(Flag.TIME_SUBSTITUTED)
            flags |= int(Flag.NO_VALUE) if value is None else 0
            if value is ...:
                refused.append(item.handle)
            else:
                rows.append((item.handle, value, item.status, at, server, flags))
            count += 1
    return rows, refused


# -- the code under test -------------------------------------------------------------------------------------------------


def plain(kind: Kind, value: Any) -> Any:
    if kind is Kind.WAVEFORM:
        return tuple(value.tolist())
    return value.item() if hasattr(value, "item") else value


def decoded(bodies: Sequence[bytes], layouts: Layouts, together: int) -> tuple[list[Row], list[int]]:
    """What comes out of the decoder, in the order of the wire for every handle; `together`: bodies per hand-over."""
    table = Columns.of(HANDLES)
    table.points[:] = np.arange(HANDLES)
    out: list[Row] = []
    refused: list[int] = []
    for at in range(0, len(bodies), together):
        rows = Rows(layouts)
        for number, body in enumerate(bodies[at : at + together], at):
            decode_items(body, 4, len(body) - 4, rows, RECEIVED + 10**6 * number)
        refused += [handle for handle, _, _ in rows.strange] + [one.handle for one in rows.special]
        for segment in segments(rows, table):
            batch = to_batch(segment, table, rows, 0)
            for row in range(len(batch)):
                silent = bool(batch.flags[row] & Flag.NO_VALUE)
                value = None if silent else plain(batch.kind, batch.values[row])
                server = 0 if batch.server_at is None else int(batch.server_at[row])
                out.append(
                    (
                        int(batch.points[row]),
                        value,
                        int(batch.quality[row]),
                        int(batch.at[row]),
                        server,
                        int(batch.flags[row]),
                    )
                )
    return out, refused


def comparable(rows: Sequence[Row]) -> list[list[str]]:
    """By handle, since only the order within a handle is promised; NaN equals NaN, and 1 is not True."""
    return [
        [repr((shown(value), *rest)) for handle, value, *rest in rows if handle == wanted]
        for wanted in range(HANDLES)
    ]


def shown(value: Any) -> Any:
    if isinstance(value, tuple) and value[:1] == ("time",):
        whole, ticks = divmod(min(value[1], 2_650_467_743_999_999_999) - EPOCH, 10_000_000)
        return f"{np.datetime_as_string(np.datetime64(whole, 's'))}.{ticks:07d}Z"
    return value


def assert_same(bodies: Sequence[bytes], layouts: Layouts, together: int = 1) -> None:
    framed = [
        bytes(4) + body + bytes(4) for body in bodies
    ]  # a notification never stands at the ends of a message
    rows, refused = decoded(framed, layouts, together)
    wanted, unwanted = model(bodies, together)
    assert comparable(rows) == comparable(wanted)
    assert sorted(refused) == sorted(unwanted)


sizes = st.sampled_from([1, 3, 10, WORTHWHILE - 1, WORTHWHILE, WORTHWHILE + 40, 300])


@given(sizes, st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_anything_decodes_as_the_plain_decoder_does(size: int, together: int, seed: int) -> None:
    chance = Random(seed)
    bodies = [
        enc.data_change([(chance.randrange(HANDLES), some_item(chance)) for _ in range(size)])
        for _ in range(4)
    ]
    assert_same(bodies, Layouts(), together)


@given(sizes, st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_what_repeats_and_then_does_not_is_never_mistaken(size: int, together: int, seed: int) -> None:
    """The same layout several times with other contents, then with one thing changed, then as before."""
    chance, layouts = Random(seed), Layouts()
    items = [(n % HANDLES, some_item(chance)) for n in range(size)]
    bodies = []
    for turn in range(6):
        now = [(handle, again(value, chance)) for handle, value in items]
        if turn in (2, 4):
            now[chance.randrange(size)] = (chance.randrange(HANDLES), some_item(chance))
        if turn == 3:
            chance.shuffle(now)
        bodies.append(enc.data_change(now))
    assert_same(bodies, layouts, together)


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_same_number_of_bytes_in_another_order_is_not_the_same(seed: int) -> None:
    """Short and long numbers change places: number of items, bytes, and first handle are as before."""
    chance, layouts = Random(seed), Layouts()
    kinds = [chance.choice([4, 6, 10, 11]) for _ in range(WORTHWHILE + 20)]
    bodies = []
    for _ in range(4):
        items = [
            (n % HANDLES, DataValue(scalar(kind, chance), None, EPOCH + 1)) for n, kind in enumerate(kinds)
        ]
        bodies.append(enc.data_change(items))
        chance.shuffle(kinds)
    assert_same(bodies, layouts)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_a_machine_with_realistic_types_is_recognised_and_exact(seed: int) -> None:
    """Doubles, floats, integers, flags and short texts, all with both times: no walk after the first notification."""
    chance, layouts = Random(seed), Layouts()
    kinds = [chance.choice([11, 11, 11, 10, 4, 6, 5, 7, 1, 12]) for _ in range(300)]
    walked = []
    walk = Layouts.walk

    def counted(self: Layouts, *rest: Any) -> Any:
        walked.append(1)
        return walk(self, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layouts, "walk", counted)
        bodies = [
            enc.data_change(
                [
                    (n % HANDLES, DataValue(scalar(kind, chance), None, EPOCH + turn + 1, None, EPOCH + 9))
                    for n, kind in enumerate(kinds)
                ]
            )
            for turn in range(4)
        ]
        assert_same(bodies, layouts, 2)
    assert len(walked) == 1


@given(sizes, st.integers(0, 2**32), st.data())
@settings(max_examples=100, deadline=None)
def test_bent_bytes_after_honest_ones_stay_within_what_they_are(
    size: int, seed: int, data: st.DataObject
) -> None:
    """A remembered layout never leads beyond the bytes, and every item is counted once, whatever the bytes say."""
    chance, layouts = Random(seed), Layouts()
    items = [(n % HANDLES, some_item(chance)) for n in range(size)]
    honest = bytes(4) + enc.data_change(items) + bytes(4)
    bent = bytearray(enc.data_change([(handle, again(value, chance)) for handle, value in items]))
    for _ in range(data.draw(st.integers(0, 3))):
        bent[data.draw(st.integers(0, len(bent) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(4, len(bent)))
    table = Columns.of(HANDLES)
    table.points[:] = np.arange(HANDLES)
    rows = Rows(layouts)
    decode_items(honest, 4, len(honest) - 4, rows, RECEIVED)
    with contextlib.suppress(Malformed):
        decode_items(bytes(bent[:cut]), 0, cut, rows, RECEIVED)
    kept = sum(len(segment.handles) for segment in segments(rows, table))
    assert kept + len(rows.strange) + len(rows.special) == rows.count


def test_a_text_that_is_not_utf_8_is_uncertain_on_the_fast_way_too() -> None:
    items = [(0, DataValue(Scalar(12, b"ok\xff"))), *((1, DataValue(Scalar(12, "a"))) for _ in range(200))]
    body = enc.data_change(items)
    rows, table = Rows(), Columns.of(2)
    decode_items(body, 0, len(body), rows, RECEIVED)
    (segment,) = segments(rows, table)
    assert segment.values[0] == "ok\ufffd"
    assert type(segment.values[0]) is str
    assert segment.quality[0] == q.UNCERTAIN
    assert not segment.quality[1:].any()


def test_what_is_remembered_is_bounded() -> None:
    """A server that never says the same twice cannot make us remember it all."""
    chance, layouts = Random(1), Layouts()
    two = [
        enc.data_change([(0, DataValue(Scalar(chance.choice(NUMBERS), 1), 0, 5)) for _ in range(1000)])
        for _ in range(2)
    ]
    tracemalloc.start()
    for turn in range(400):
        body = bytearray(bytes(4) + two[turn % 2] + bytes(4))
        body[8:12] = struct.pack("<I", turn)
        decode_items(bytes(body), 4, len(body) - 4, Rows(layouts), RECEIVED)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3_500_000


def _one(value: bytes) -> bytes:
    return struct.pack("<iIB", 1, 0, 1) + value


LARGE = [
    _one(struct.pack("<Bi", 0x80 | 21, 1_000_000) + bytes(1_000_000)),
    _one(struct.pack("<Bi", 0x80 | 24, 1_000_000) + bytes(1_000_000)),
    _one(struct.pack("<Bi", 0x80 | 1, 1_000_000) + bytes(1_000_000)),
    _one(struct.pack("<Bi", 0x80 | 12, 250_000) + b"\xff" * 1_000_000),
    struct.pack("<i", 200_000) + bytes(1_000_000),
    struct.pack("<i", 100_000) + struct.pack("<IBB", 0, 1, 24) * 100_000 + bytes(8),
    struct.pack("<i", 60_000) + struct.pack("<IBBi", 0, 1, 12, 2**31 - 1) * 60_000,
    struct.pack("<i", 60_000) + struct.pack("<IBBi", 0, 1, 12, -(2**31)) * 60_000,
]


@pytest.mark.parametrize("body", LARGE)
def test_a_megabyte_of_nonsense_costs_a_bounded_time_and_memory(body: bytes) -> None:
    """Times in CPU seconds, with a wide margin for a slow machine: what is meant is that nothing is quadratic."""
    begin = time.process_time()
    with contextlib.suppress(Malformed):
        decode_items(body, 0, len(body), Rows(), RECEIVED)
    assert time.process_time() - begin < 20.0
    tracemalloc.start()
    with contextlib.suppress(Malformed):
        decode_items(body[:120_000], 0, 120_000, Rows(), RECEIVED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000
