"""The shortest way says what the long way says, message by message, in any order and mixture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Bench
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.routes import Routes
from adapters.mqtt.settings import MqttRead
from adapters.mqtt.sheet import Sheet
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.mqtt.peers import Shop

TIMED = {"type": "json", "time": "t"}
READS: Sequence[dict[str, Any]] = (
    {
        "topic": "one/{signal}",
        "payload": TIMED,
        "signals": [{"name": "a", "value": "v"}, {"name": "b", "value": "v"}],
    },
    {
        "topic": "many",
        "payload": TIMED,
        "signals": [
            {"name": "n1", "value": "n1"},
            {"name": "n2", "value": "n2"},
            {"name": "w", "value": "w", "kind": "text"},
            {"name": "f", "value": "f", "kind": "flag"},
        ],
    },
    {"topic": "all", "payload": TIMED, "adopt": True},
    {"topic": "exact", "payload": TIMED, "signals": [{"name": "i", "value": "v", "kind": "integer"}]},
    {"topic": "late", "payload": TIMED, "signals": [{"name": "r", "value": "v", "time": "receive"}]},
    {"topic": "two", "payload": TIMED, "signals": [{"name": "n1", "value": "n1"}]},
    {"topic": "two", "payload": TIMED, "signals": [{"name": "x", "value": "x"}]},
)
T = 1_700_000_000_000
VALUES = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([2**70, 10**400, None, True, False, "", "a", 'x":1', [], [1.0], {}, {"v": 1}]),
)
TIMES = st.one_of(
    st.integers(T, T + 5), st.sampled_from([T / 1000, "2023-11-14T22:13:20Z", None, "x", -1, True, 10**40])
)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={"t": TIMES, "v": VALUES, "n1": VALUES, "n2": VALUES, "w": VALUES, "f": VALUES, "x": VALUES},
    ),
    st.fixed_dictionaries({"t": st.just(T), "v": st.floats(-1, 1)}),
    st.fixed_dictionaries(
        {
            "t": st.just(T),
            "n1": st.floats(-1, 1),
            "n2": st.integers(0, 9),
            "w": st.text("ab"),
            "f": st.booleans(),
        }
    ),
)
TWISTS = st.sampled_from(["", "", "", "", "twice", "space", "cut", "list"])
TOPICS = st.sampled_from(["one/a", "one/b", "many", "all", "exact", "late", "two"])


def payload_of(document: dict[str, Any], twist: str) -> bytes:
    text = json.dumps(document, separators=(",", ":"))
    if twist == "twice" and document:
        return (text[:-1] + ',"v":9,"v" :8}').encode()
    return {"space": text.replace(":", " : "), "cut": text[:-1], "list": f"[{text}]"}.get(
        twist, text
    ).encode()


def read(messages: Sequence[Message], *, quickly: bool, size: int) -> tuple[Any, int]:
    """The rows of every point, as read in deliveries of `size` messages, and how many messages took the shortest way."""
    shop = Shop(1)
    readings = [
        Reading(machine="m", tags={}, read=MqttRead.model_validate({"source": "b", **r})) for r in READS
    ]
    registry = Registry()
    routes = Routes(readings, Bench(registry, shop.clock), Adopted(50))
    said: list[Any] = []
    quick = 0
    for start in range(0, len(messages), size):
        sheet = Sheet()
        rows: dict[int, list[Any]] = {}
        for message in messages[start : start + size]:
            if quickly and routes.read_quickly(message, sheet):
                quick += 1
            else:
                routes.read(message, message.at, sheet)
        for batch in sheet.batches(99, registry.version):
            columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
            for point, *cells in zip(*(column.tolist() for column in columns), strict=True):
                rows.setdefault(point, []).append((batch.kind, batch.received, *cells))
        said += [sheet.decoded, sheet.refused, rows]
    return said, quick


@given(
    st.lists(st.tuples(TOPICS, DOCUMENTS, TWISTS, st.integers(0, 9)), max_size=40),
    st.sampled_from([1, 3, 100]),
)
def test_both_ways_say_the_same(drawn: list[tuple[str, dict[str, Any], str, int]], size: int) -> None:
    messages = []
    for n, (topic, document, twist, retained) in enumerate(drawn):
        payload = payload_of(document, twist)
        messages.append(Message(topic.encode(), payload, 1, 1, False, retained == 9, 1000 * n, len(payload)))
    assert read(messages, quickly=True, size=size)[0] == read(messages, quickly=False, size=size)[0]


@pytest.mark.parametrize(
    ("topic", "document", "expected"),
    [
        ("one/a", {"t": T, "v": 1.5}, 9),
        ("many", {"t": T, "n1": 1, "n2": 0.5, "w": "x", "f": True, "more": 1}, 9),
        ("exact", {"t": T, "v": 1}, 0),
        ("late", {"t": T, "v": 1}, 0),
        ("two", {"t": T, "n1": 1}, 0),
    ],
)
def test_the_usual_message_takes_the_shortest_way(
    topic: str, document: dict[str, Any], expected: int
) -> None:
    payload = json.dumps(document).encode()
    messages = [Message(topic.encode(), payload, 1, 1, False, False, n, len(payload)) for n in range(10)]
    assert read(messages, quickly=True, size=5)[1] == expected
