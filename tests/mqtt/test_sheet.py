"""Rows to batches, topics to points, repeated messages to their first time: without a network."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.checkpoint import Checkpoint, load
from adapters.mqtt.routes import Routes
from adapters.mqtt.sheet import Cell, Sheet
from pipelines.batch import Flag, Kind
from tests.mqtt.peers import Shop

VALUES = {Kind.NUMBER: 1.5, Kind.TEXT: "x", Kind.FLAG: True}


def message(
    payload: bytes, *, mid: int = 1, dup: bool = False, at: int = 100, topic: bytes = b"t"
) -> Message:
    return Message(topic, payload, mid, 1, dup, False, at, len(payload))


def routes(*reads: dict[str, Any], shop: Shop | None = None) -> Routes:
    source = (shop or Shop(1)).source(*reads)
    return Routes(source._readings, source._bench, Adopted(100))


@given(st.lists(st.tuples(st.sampled_from(list(VALUES)), st.integers(0, 3), st.sampled_from([0, 7]))))
def test_every_row_is_in_one_batch_and_the_order_per_point_is_kept(rows: list[tuple[Kind, int, int]]) -> None:
    sheet = Sheet()
    for at, (kind, point, group) in enumerate(rows):
        sheet.row(kind, Cell(point, at, VALUES[kind], 0, 0), group)
    batches = sheet.batches(99, 4)
    assert sum(len(batch) for batch in batches) == len(rows)
    for wanted in range(4):
        order = [
            at
            for batch in batches
            for point, at in zip(batch.points.tolist(), batch.at.tolist(), strict=True)
            if point == wanted
        ]
        assert order == [at for at, (_, point, _) in enumerate(rows) if point == wanted]
    assert {batch.received for batch in batches} <= {99, 7}


def test_only_a_repetition_gets_an_earlier_time() -> None:
    checkpoint = Checkpoint("c")
    checkpoint.remember(message(b"21.5", at=100), 100)
    restored = load(checkpoint.dump(), "c", 10)
    assert restored.stamp(message(b"21.5", dup=True, at=200)) == 100
    assert restored.stamp(message(b"21.5", at=200)) == 200, "a packet id is used again for new messages"
    assert restored.stamp(message(b"21.6", dup=True, at=200)) == 200
    assert restored.stamp(message(b"21.5", mid=2, dup=True, at=200)) == 200
    assert not restored.fresh


def test_the_ring_is_bounded_and_forgets_the_oldest() -> None:
    checkpoint = Checkpoint("c", size=3)
    for mid in range(1, 6):
        checkpoint.remember(message(b"1", mid=mid), mid)
    assert list(checkpoint.ring.values()) == [3, 4, 5]


def test_the_ring_forgets_what_the_broker_is_known_to_have() -> None:
    checkpoint = Checkpoint("c", size=10)
    for mid in range(1, 4):
        checkpoint.remember(message(b"1", mid=mid), mid)
    mark = checkpoint.remembered
    checkpoint.remember(message(b"1", mid=4), 4)
    checkpoint.forget(mark)
    assert list(checkpoint.ring.values()) == [4]
    restored = load(checkpoint.dump(), "c", 10)
    restored.remember(message(b"1", mid=4, dup=True), 4)  # came again, not yet acknowledged
    restored.forget(1)
    assert list(restored.ring.values()) == [4], "in doubt it is kept"


@given(st.binary())
def test_a_checkpoint_of_another_kind_is_none(blob: bytes) -> None:
    assert load(blob, "c", 10).ring == {}


def test_a_message_uses_its_receipt_if_any_of_its_readers_does() -> None:
    plain = {"topic": "t", "signals": [{"name": "a", "value": "v"}]}
    timed = {
        "topic": "t",
        "payload": {"type": "json", "time": "ts"},
        "signals": [{"name": "b", "value": "v"}],
    }
    payload = b'{"v": 1, "ts": 1700000000}'
    assert routes(plain, timed).read(message(payload), 5, Sheet())
    assert routes(timed, plain).read(message(payload), 5, Sheet())
    assert not routes(timed).read(message(payload), 5, Sheet())


def test_a_signal_that_wants_the_receipt_gets_a_batch_that_carries_it() -> None:
    shop = Shop(1)
    timed = {
        "topic": "t",
        "payload": {"type": "json", "time": "ts"},
        "signals": [{"name": "b", "value": "v", "time": "receive"}],
    }
    reader, sheet = routes(timed, shop=shop), Sheet()
    for stamp in (5, 6):
        assert reader.read(message(b'{"v": 1, "ts": 1700000000}', at=stamp), stamp, sheet)
    assert [batch.received for batch in sheet.batches(9, shop.registry.version)] == [5, 6]


def test_rows_of_one_message_without_time_have_times_of_their_own() -> None:
    shop, sheet = Shop(1), Sheet()
    reader = routes({"topic": "t", "payload": "shdr", "adopt": True}, shop=shop)
    assert reader.read(message(b"|a|1|b|2\n|a|3"), 100, sheet)
    (batch,) = sheet.batches(100, shop.registry.version)
    assert list(zip(batch.points.tolist(), batch.at.tolist(), strict=True)) == [(0, 100), (1, 100), (0, 101)]
    assert set(batch.flags.tolist()) == {Flag.TIME_SUBSTITUTED}


def test_a_million_topics_are_not_remembered() -> None:
    reader = routes({"topic": "t/{signal}", "payload": "number", "adopt": True})
    for n in range(25_000):
        reader.read(message(b"1", topic=f"t/{n}".encode()), n, Sheet())
    assert len(reader._bound) <= 10_000


def test_an_adopted_column_that_begins_empty_is_a_point_without_a_value() -> None:
    payload = {"type": "csv", "columns": ["load", "tool"], "texts": ["tool"]}
    read, sheet, shop = {"topic": "t", "payload": payload, "adopt": True}, Sheet(), Shop(1)
    routes(read, shop=shop).read(message(b","), 100, sheet)
    assert sheet.decoded == 2
    assert not sheet.refused
    batches = sheet.batches(100, shop.registry.version)
    assert all(
        int(flags) & Flag.NO_VALUE for batch in batches for flags in batch.flags if batch.kind is Kind.NUMBER
    )
    assert {(shop.registry[int(p)].name, batch.kind) for batch in batches for p in batch.points} == {
        ("load", Kind.NUMBER),
        ("tool", Kind.TEXT),
    }
