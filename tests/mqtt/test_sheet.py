"""Rows to batches, topics to points, repeated messages to their first time: without a network."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.adopted import TOO_MANY, Adopted
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


def stamps(checkpoint: Checkpoint) -> list[int]:
    """The times that are kept, the oldest first."""
    return [int.from_bytes(entry[-8:], "little", signed=True) for entry in checkpoint.ring.values()]


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


def restored(*messages: Message, acknowledged: int = 0, present: bool = True) -> Checkpoint:
    """What a collector knows after a kill that came when these were stored and the first of them acknowledged."""
    before = Checkpoint("c")
    for n, each in enumerate(messages):
        before.remember(each, each.at)
        if n + 1 == acknowledged:
            before.acknowledged(before.remembered)
    after = load(before.dump(), "c", 10)
    after.connected(present=present)
    return after


def read(checkpoint: Checkpoint, *messages: Message) -> list[int]:
    """The stamps of one delivery."""
    stamps = [checkpoint.stamp(each) for each in messages]
    checkpoint.passed(messages)
    for each, stamp in zip(messages, stamps, strict=True):
        checkpoint.remember(each, stamp)
    return stamps


def test_a_broker_that_sends_again_without_saying_so() -> None:
    """M2: packet id, topic and payload of what was not acknowledged are the same: its first time, once, and counted."""
    first, second = message(b"1", mid=7, at=100), message(b"2", mid=8, at=101)
    known = restored(first, second)
    assert read(known, first._replace(at=200), second._replace(at=201)) == [100, 101]
    assert known.repeats == 2
    assert read(known, first._replace(at=300), second._replace(at=301)) == [300, 301], "once each"
    assert known.repeats == 2


def test_what_is_no_repetition_keeps_its_own_time() -> None:
    """M2: acknowledged before, another content or packet id, a session that is new, a packet id in use again, QoS 0."""
    first, second = message(b"1", mid=7, at=100), message(b"2", mid=8, at=101)
    late = first._replace(at=200)
    assert read(restored(first, second, acknowledged=1), late) == [200]
    assert read(restored(first, second, acknowledged=1), second._replace(at=201)) == [101]
    assert read(restored(first, present=False), late) == [200]
    for other in ({"payload": b"3"}, {"topic": b"u"}, {"mid": 9}, {"mid": 0, "qos": 0}):
        assert read(restored(first), late._replace(**other)) == [200]
    known = restored(first)
    assert read(known, late._replace(payload=b"3")) == [200]
    assert read(known, late._replace(at=300)) == [300], "the packet id has been used for something else"
    known = restored(first)
    for n in range(3):
        read(known, *(message(b"x", mid=10_000 + n, at=400 + n) for n in range(n * 9_000, n * 9_000 + 9_000)))
    assert read(known, late) == [200], "packet ids come round"


def test_a_broker_that_says_so_is_believed_from_then_on() -> None:
    """M2: it would say so the next time: who uses the lowest free packet id sends a new message that looks like the last one."""
    known = restored(message(b"1", mid=1, at=100))
    assert read(known, message(b"1", mid=1, at=200, dup=True)) == [100]
    again = load(known.dump(), "c", 10)
    again.connected(present=True)
    assert read(again, message(b"1", mid=1, at=300)) == [300]
    passed_on = restored(message(b"1", mid=1, at=100))
    read(passed_on, message(b"9", mid=5, at=150, dup=True))  # the DUP of who published it
    assert read(passed_on, message(b"1", mid=1, at=200)) == [100]


def test_what_did_not_come_yet_is_suspected_in_the_next_connection_too() -> None:
    """M2: killed again before the repetitions came."""
    known = restored(message(b"1", mid=7, at=100), message(b"2", mid=8, at=101), message(b"3", mid=9, at=102))
    read(known, message(b"2", mid=8, at=200), message(b"4", mid=20, at=201))
    known.acknowledged(known.remembered)
    again = load(known.dump(), "c", 10)
    again.connected(present=True)
    stamps = read(again, *(message(b"%d" % (mid - 6), mid=mid, at=300) for mid in (7, 8, 9)))
    assert stamps == [100, 300, 102]


def test_a_checkpoint_without_these_words_is_read() -> None:
    """M2: one of an earlier version: nothing is suspected."""
    known = Checkpoint("c", ["a"], 5)
    known.remember(message(b"1", at=100), 100)
    words = msgspec.msgpack.decode(known.dump())
    old = load(msgspec.msgpack.encode(words[:7]), "c", 10)
    old.connected(present=True)
    assert (old.filters, old.last, stamps(old)) == (["a"], 5, [100])
    assert read(old, message(b"1", at=200)) == [200]


def test_the_ring_is_bounded_and_forgets_the_oldest() -> None:
    checkpoint = Checkpoint("c", size=3)
    for mid in range(1, 6):
        checkpoint.remember(message(b"1", mid=mid), mid)
    assert stamps(checkpoint) == [3, 4, 5]


def test_the_ring_forgets_what_the_broker_is_known_to_have() -> None:
    checkpoint = Checkpoint("c", size=10)
    for mid in range(1, 4):
        checkpoint.remember(message(b"1", mid=mid), mid)
    mark = checkpoint.remembered
    checkpoint.remember(message(b"1", mid=4), 4)
    checkpoint.forget(mark)
    assert stamps(checkpoint) == [4]
    restored = load(checkpoint.dump(), "c", 10)
    restored.remember(message(b"1", mid=4, dup=True), 4)  # came again, not yet acknowledged
    restored.forget(1)
    assert stamps(restored) == [4], "in doubt it is kept"


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


@pytest.mark.parametrize("listed", [True, False])
def test_units_that_messages_choose_are_bounded_too(listed: bool) -> None:
    """B7: another unit is another series, and a message may say any."""
    chosen: dict[str, Any] = {"signals": [{"name": "v", "value": "v"}]} if listed else {"adopt": True}
    shop, sheet = Shop(1), Sheet()
    reader = routes({"topic": "t", "payload": {"type": "json", "unit_from": "u"}, **chosen}, shop=shop)
    for n in range(120):
        reader.read(message(b'{"v": 1, "u": "u%d"}' % (n % 110)), n, sheet)
    assert shop.registry.version == 100
    assert {refused.reason for refused in sheet.refused} == {TOO_MANY}
    assert len(sheet.refused) == 10


@pytest.mark.parametrize(
    ("payload", "said"),
    [("json", b'{"%b": 1}'), ("shdr", b"|%b"), ("csv", b"%b\n1\n"), ("line", b"m %b=x")],
)
def test_a_reason_is_short_whatever_a_stranger_calls_things(payload: str, said: bytes) -> None:
    """M13: a reason stands in the quarantine beside the bytes, and on the page."""
    sheet = Sheet()
    reader = routes({"topic": "t", "payload": payload, "signals": [{"name": "a", "value": "v"} if payload == "json" else {"name": "a"}]})  # fmt: skip
    reader.read(message(said % (b"k" * 100_000)), 1, sheet)
    assert [len(refused.reason) < 500 for refused in sheet.refused] == [True]


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
