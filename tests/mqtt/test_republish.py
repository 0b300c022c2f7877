"""What is published, where, and how it is bounded; what `check` refuses. The oracle reads with the json module and paho."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.errors import Misconfigured, NotConnected, Rejected
from adapters.mqtt import republish
from adapters.mqtt.republish_encode import TOGETHER, Encoder
from adapters.mqtt.republish_settings import MqttSink
from adapters.mqtt.republish_topics import meet, segment, topic_of
from adapters.mqtt.topics import parse_template
from config.load import load
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.quality import GOOD_EDITED, UNCERTAIN
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.sink import START, write_once
from tests.line.harness import Collector
from tests.mqtt.peers import Publisher, Shop, password_file
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.scripted.codec import PUBLISH
from tests.mqtt.taking import cells, mosquitto, take
from tests.mqtt.test_republish_contract import Listener, publisher

MS = START // 10**6
PLANT = {"enterprise": "acme", "site": "plant 1"}


def settings(**changes: Any) -> MqttSink:
    return MqttSink.model_validate({"type": "mqtt", "url": "mqtt://127.0.0.1", **changes})


def numbers(registry: Registry, n: int, *, name: str = "load", machine: str = "m1", **rest: Any) -> Batch:
    point = registry.intern(Point(machine, name, Kind.NUMBER, "kW", PLANT))
    return batch_of(
        Kind.NUMBER,
        [point] * n,
        [START + i for i in range(n)],
        [float(i) for i in range(n)],
        received=0,
        **rest,
    )


def encoded(batch: Batch, registry: Registry, **changes: Any) -> list[tuple[str, Any]]:
    messages, refused = Encoder(registry, settings(**changes), lambda: 5).encode([batch])
    assert refused == []
    return [(message.topic.decode(), json.loads(message.payload)) for message in messages]


# --- messages


def test_a_value_says_when_what_and_how_good() -> None:
    registry = Registry()
    batch = numbers(registry, 4, quality=[0, UNCERTAIN, GOOD_EDITED, 0], flags=[0, 0, 0, Flag.NO_VALUE])
    assert encoded(batch, registry) == [
        ("acme/plant 1/m1/load", {"t": f"2023-11-14T22:13:20.{n:09d}Z", "v": v, "q": q, "unit": "kW"})
        for n, (v, q) in enumerate([(0.0, 0), (None, UNCERTAIN), (2.0, GOOD_EDITED), (None, 0)])
    ]


@pytest.mark.parametrize(("form", "at"), [("ns", START + 1), ("ms", START // 10**6)])
def test_times_as_numbers(form: str, at: int) -> None:
    registry = Registry()
    assert encoded(numbers(registry, 2), registry, time=form)[1][1]["t"] == at


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=5))
def test_times_are_exact(times: list[int]) -> None:
    registry = Registry()
    point = registry.intern(Point("m", "x", Kind.INTEGER))
    batch = batch_of(Kind.INTEGER, [point] * len(times), times, times, received=0)
    for (_, row), at in zip(encoded(batch, registry), times, strict=True):
        assert np.datetime64(row["t"].removesuffix("Z"), "ns").astype(np.int64) == at
        assert row["v"] == at


def test_tags_that_only_the_wire_knows_stand_beside_the_value() -> None:
    """Two series of one signal are told apart also where the topic does not name what differs."""
    registry = Registry()
    points = [registry.intern(Point("m", "x", Kind.FLAG, "", {**PLANT, "hall": hall})) for hall in "ab"]
    batch = batch_of(Kind.FLAG, points, [START, START], [True, False], received=0)
    assert [(topic, row["tags"]) for topic, row in encoded(batch, registry)] == [
        ("acme/plant 1/m/x", {"hall": "a"}),
        ("acme/plant 1/m/x", {"hall": "b"}),
    ]
    told = encoded(batch, registry, topic="{site}/{hall}/{machine}/{signal}")
    assert [(topic, "tags" in row) for topic, row in told] == [
        ("plant 1/a/m/x", False),
        ("plant 1/b/m/x", False),
    ]


def test_one_message_per_machine() -> None:
    """Without {signal}: lists in the order of the values, at most TOGETHER in one."""
    registry = Registry()
    batches = [
        numbers(registry, TOGETHER + 5),
        numbers(registry, 3, name="b"),
        numbers(registry, 2, machine="m2"),
    ]
    messages, _ = Encoder(registry, settings(topic="uns/{machine}"), lambda: 5).encode(batches)
    sizes = [(message.topic, len(message.keys)) for message in messages]
    assert sizes == [(b"uns/m1", TOGETHER), (b"uns/m1", 8), (b"uns/m2", 2)]
    row = json.loads(messages[1].payload)[-1]
    assert row == {"s": "b", "t": "2023-11-14T22:13:20.000000002Z", "v": 2.0, "q": 0, "unit": "kW"}
    assert sum(len(message.keys) for message in messages) == TOGETHER + 10


# --- topics


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_become_segments_and_no_two_the_same(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) is (one == other)
    assert not set(segment(one)) & set("/+#\0\n")
    segment(one).encode()
    if one.isprintable():
        assert unquote(segment(one)) == one


def test_what_a_machine_does_not_have_is_left_out() -> None:
    template = parse_template("{enterprise}/{site}/{line}/{machine}/{signal}")
    assert (
        topic_of(template, Point("m", "Tools/0/offset", Kind.NUMBER, "", PLANT))
        == "acme/plant 1/m/Tools%2F0%2Foffset"
    )
    assert topic_of(parse_template("{machine}/{signal}"), Point("$SYS", "x", Kind.NUMBER)) == "%24SYS/x"


def test_two_machines_never_share_a_topic() -> None:
    registry = Registry()
    clash = [Point("m", "s", Kind.NUMBER, "", {"a": "x"}), Point("x", "s", Kind.NUMBER, "", {"b": "m"})]
    ids = [registry.intern(point) for point in clash]
    batch = batch_of(Kind.NUMBER, ids, [START, START], [1.0, 2.0], received=0)
    encoder = Encoder(registry, settings(topic="{a}/{machine}/{b}/{signal}"), lambda: 5)
    messages, refused = encoder.encode([batch])
    assert [message.topic for message in messages] == [b"x/m/s"]
    assert "is that of m/s already" in refused[0].reason
    assert refused[0].keys == ((1, START),)


FILTERS = st.lists(st.sampled_from(["a", "b", "+", "#"]), min_size=1, max_size=4).filter(
    lambda f: "#" not in f[:-1]
)
TOPICS = [
    list(t) for n in range(1, 6) for t in np.array(np.meshgrid(*[["a", "b", "c"]] * n)).T.reshape(-1, n)
]


@given(FILTERS, FILTERS)
def test_two_filters_meet_where_a_topic_matches_both(one: list[str], other: list[str]) -> None:
    """Against every topic of up to five levels, matched by paho."""
    from paho.mqtt.client import topic_matches_sub

    both = any(
        topic_matches_sub("/".join(one), topic) and topic_matches_sub("/".join(other), topic)
        for topic in ("/".join(levels) for levels in TOPICS)
    )
    assert meet(tuple(one), tuple(other)) is both


# --- over a broker


async def test_metadata_are_there_before_the_first_value_and_for_newcomers(tmp_path: Path) -> None:
    registry = Registry()
    async with mosquitto(tmp_path) as broker:
        listener = Listener(broker.port)
        sink = publisher(registry, broker.port)
        async with sink.session() as write:
            await write([numbers(registry, 2)])
            await write([numbers(registry, 1)])
        heard = await listener.everything()
        listener.close()
        assert [topic for topic, _ in heard] == ["acme/plant 1/m1/load/_meta", *["acme/plant 1/m1/load"] * 3]
        newcomer = Listener(broker.port, "newcomer")
        await eventually(lambda: bool(newcomer.messages), "the retained message comes")
        newcomer.close()
    ((topic, payload),) = newcomer.messages
    assert topic.endswith("/_meta")
    assert json.loads(payload) == {
        "machine": "m1", "signal": "load", "kind": "number", "unit": "kW", "tags": PLANT,
    }  # fmt: skip


async def test_the_last_value_stays_if_asked(tmp_path: Path) -> None:
    registry = Registry()
    async with mosquitto(tmp_path) as broker:
        await write_once(
            publisher(registry, broker.port, retain=True, metadata=False), [numbers(registry, 3)]
        )
        newcomer = Listener(broker.port)
        await eventually(lambda: bool(newcomer.messages), "the retained message comes")
        newcomer.close()
    assert [json.loads(payload)["v"] for _, payload in newcomer.messages] == [2.0]


@pytest.mark.parametrize("topic", ["{machine}/{signal}", "{machine}"])
def test_a_value_of_the_past_is_not_the_last_one(topic: str) -> None:
    """Backfill and a rewind publish old values: whoever comes later must not take one for the present."""
    registry = Registry()
    encoder = Encoder(registry, settings(topic=topic, retain=True), lambda: 5)
    new, old = numbers(registry, 3).take(np.array([2])), numbers(registry, 1)
    kept = [message.retain for batch in (new, old, new) for message in encoder.encode([batch])[0]]
    assert kept == [True, False, True], "the same again is still the last one"


@pytest.mark.parametrize("topic", ["uns/{machine}/{signal}", "uns/{machine}"])
async def test_another_collector_reads_what_was_published(tmp_path: Path, topic: str) -> None:
    """To the nanosecond and the last bit, with unit and quality."""
    registry, values = Registry(), [0.1, -0.0, 1e300, 5e-324]
    point = registry.intern(Point("m1", "load", Kind.NUMBER, "kW"))
    batch = batch_of(Kind.NUMBER, [point] * 4, [START + n for n in range(4)], values, received=0)
    payload = {"type": "json", "time": "t", "quality": {"value": "q", "good": [0]}, "unit_from": "unit"}
    read: Mapping[str, Any] = {
        "topic": "uns/{machine}/+" if "signal" in topic else "uns/{machine}",
        "payload": {**payload, **({} if "signal" in topic else {"each": "", "name": "s", "value": "v"})},
        "signals": [{"name": "load", **({"value": "v"} if "signal" in topic else {})}],
    }
    async with mosquitto(tmp_path) as broker:
        shop = Shop(broker.port)
        async with shop.source(read).session(None) as session:
            await take(session, 0)
            await write_once(publisher(registry, broker.port, topic=topic, metadata=False), [batch])
            taken = cells(await take(session, 4))
    assert [(at, repr(value)) for _, at, value in taken] == [
        (START + n, repr(v)) for n, v in enumerate(values)
    ]
    assert {shop.registry[point].unit for point, _, _ in taken} == {"kW"}


@pytest.mark.parametrize(("version", "allowed", "wanted"), [("5", 3, 3), ("5", 200, 7), ("3.1.1", 65_535, 7)])
async def test_what_is_under_way_is_bounded_and_in_order(version: str, allowed: int, wanted: int) -> None:
    """By `in_flight`, and by the broker's Receive Maximum (MQTT 5, 3.3.4). The broker confirms one after the other."""
    registry = Registry()
    props = {"receive_maximum": allowed} if version == "5" else {}
    async with scripted(Rules(props=props, deaf=True)) as broker, asyncio.TaskGroup() as group:
        sink = publisher(registry, broker.port, version=version, in_flight=7, metadata=False)
        group.create_task(write_once(sink, [numbers(registry, 100)]))
        await eventually(lambda: bool(broker.links), "it connects")
        (link,) = broker.links
        for n in range(100):
            due = min(n + wanted, 100)
            await eventually(lambda due=due: len(link.seen(PUBLISH)) >= due, f"{due} messages")  # type: ignore[misc]
            assert len(link.seen(PUBLISH)) == due
            link.take(link.seen(PUBLISH)[n])
    assert [json.loads(packet.payload)["v"] for packet in broker.taken] == [float(n) for n in range(100)]
    assert [packet.mid for packet in broker.taken] == list(range(1, 101))
    assert link.level == (5 if version == "5" else 4)


async def test_a_broker_that_confirms_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(republish, "PATIENCE", 0.3)
    registry = Registry()
    async with scripted(Rules(deaf=True)) as broker:
        with pytest.raises(NotConnected, match="confirms nothing"):
            await write_once(publisher(registry, broker.port, version="5"), [numbers(registry, 3)])
        (link,) = broker.links
        await eventually(lambda: len(link.seen(PUBLISH)) == 4, "what was sent is read")


async def test_limits_of_the_broker_are_kept() -> None:
    """MQTT 5, 3.2.2.3: no retained messages, packets of 100 bytes; QoS 0 only is no way to confirm anything."""
    registry = Registry()
    text = registry.intern(Point("m1", "text", Kind.TEXT))
    long = batch_of(Kind.TEXT, [text] * 2, [START, START + 1], ["x" * 200, "fine"], received=0)
    async with scripted(Rules(props={"retain_available": 0, "maximum_packet_size": 100})) as broker:
        sink = publisher(registry, broker.port, topic="{machine}/{signal}")
        with pytest.raises(Rejected, match="1 values never") as caught:
            await write_once(sink, [long])
        (refused,) = caught.value.refused
        assert "and it takes 100" in refused.reason
        assert refused.keys == ((text, START),)
        assert [(packet.topic, packet.flags & 1) for packet in broker.taken] == [(b"m1/text", 0)]
        assert any("no retained" in finding.message for finding in await sink.probe())
    async with scripted(Rules(props={"maximum_qos": 0})) as broker:
        with pytest.raises(Misconfigured, match="QoS 0 only"):
            await write_once(publisher(registry, broker.port), [long])


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91])
async def test_other_refusals_are_tried_again(code: int) -> None:
    registry = Registry()
    async with scripted(Rules(takes=lambda _packet: code)) as broker:
        with pytest.raises(NotConnected, match=f"0x{code:02x}"):
            await write_once(publisher(registry, broker.port), [numbers(registry, 3)])


async def test_an_access_list_that_forbids_it(tmp_path: Path) -> None:
    """mosquitto says so in MQTT 5: everything forbidden is no fault of the values, a part of it is."""
    registry, acl = Registry(), tmp_path / "acl"
    file = await password_file(tmp_path)
    acl.write_text("user ann\ntopic readwrite acme/plant 1/m1/#\n")
    lines = ("allow_anonymous false", f"password_file {file}", f"acl_file {acl}")
    async with mosquitto(tmp_path, *lines) as broker:
        login = {"username": "ann", "password": "secret"}
        with pytest.raises(Misconfigured, match="publish nothing") as caught:
            await write_once(publisher(registry, broker.port, **login), [numbers(registry, 3, machine="m2")])
        assert "secret" not in str(caught.value) + caught.value.remedy
        both = [numbers(registry, 3), numbers(registry, 2, machine="m2")]
        with pytest.raises(Rejected) as rejected:
            await write_once(publisher(registry, broker.port, **login), both)
        assert [refusal.where for refusal in rejected.value.refused] == ["m2/load"] * 2
        with pytest.raises(Misconfigured, match=r"(?i)not authori"):
            await write_once(publisher(registry, broker.port), both)


async def test_a_guest_has_a_name_of_its_own() -> None:
    """Nothing is kept at the broker, so nothing needs a fixed name; a configured one is used as it is."""
    registry = Registry()
    async with scripted() as broker:
        for sink in (publisher(registry, broker.port), publisher(registry, broker.port)):
            async with sink.session():
                pass
        async with publisher(registry, broker.port, client_id="fixed").session():
            pass
        looked = settings(url=f"mqtt://127.0.0.1:{broker.port}", client_id="fixed")
        await looked.build(Bench(registry, SystemClock(), scratch=True)).probe()
        one, two, fixed, guest = (link.client_id for link in broker.links)
        assert len({one, two, fixed, guest}) == 4
        assert fixed == "fixed"
        assert all(seen.packet.clean for seen in broker.log if seen.packet.kind == 1)


WHOLE = """
version: 1
page: off
history: off
location: {{enterprise: acme}}
sources:
  in: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", client_id: reader}}
machines:
  - id: m1
    read: [{{source: in, topic: "raw/{{signal}}", payload: {{type: json, time: t}}, signals: [{{name: a, value: v}}]}}]
sinks:
  - {{type: mqtt, name: uns, url: "mqtt://127.0.0.1:{port}"}}
"""


async def test_killed_between_one_broker_and_the_other_nothing_is_missing(tmp_path: Path) -> None:
    """P1: through the whole line to a broker again: kill -9; at least once each, under its own time, in order."""
    async with mosquitto(tmp_path, "max_queued_messages 0") as broker:
        config = tmp_path / "shop.yaml"
        config.write_text(WHOLE.format(port=broker.port))
        listener, sender = Listener(broker.port), Publisher(broker.port)
        running = Collector(config)
        try:
            for life in range(2):
                await asyncio.to_thread(running.start)
                await asyncio.to_thread(running.wait_connected, "in", "uns")
                some = range(life * 400, life * 400 + 400)
                await sender.send(*[("raw/a", json.dumps({"t": MS + n, "v": n})) for n in some])
                if life == 0:
                    await asyncio.to_thread(running.kill)
            await eventually(
                lambda: any(b'"v":799.0' in payload for _, payload in listener.messages),
                "the last value",
                120.0,
            )
            await asyncio.to_thread(running.wait_settled, "uns")
            books = await asyncio.to_thread(running.stop)
        finally:
            running.close()
            sender.close()
        heard = [json.loads(p) for topic, p in await listener.everything() if topic == "acme/m1/a"]
        listener.close()
    values = [row for row in heard if row["v"] is not None]
    assert sorted({(row["t"], row["v"]) for row in values}) == [
        (f"2023-11-14T22:13:20.{n:03d}000000Z", float(n)) for n in range(800)
    ]
    first = list(dict.fromkeys(row["v"] for row in values))
    assert first == sorted(first)
    assert books["unaccounted"] == 0


# --- the configuration


CONFIG = """
version: 1
location: {{enterprise: acme, site: plant}}
sources:
  meters: {{type: mqtt, url: "{read}", client_id: c}}
machines:
  - id: m1
    source: meters
    topic: "{topic}"
    payload: number
    signals: [{{name: load}}]
sinks:
  - {{type: mqtt, name: uns, url: "{write}", topic: "{out}"}}
"""
HERE = "mqtt://127.0.0.1"


@pytest.mark.parametrize(
    ("ways", "topic", "out", "loops"),
    [
        ((HERE, HERE), "meters/m1", "{enterprise}/{site}/{machine}/{signal}", False),
        ((HERE, HERE), "acme/plant/m1/load", "{enterprise}/{site}/{machine}/{signal}", True),
        ((HERE, HERE), "acme/#", "{enterprise}/{site}/{machine}/{signal}", True),
        ((HERE, HERE), "acme/plant/m1/load/_meta", "{enterprise}/{site}/{machine}/{signal}", True),
        ((HERE, HERE), "collector/+", "{enterprise}/{site}/{machine}/{signal}", True),
        ((HERE, HERE), "$share/g/acme/#", "{enterprise}/{machine}/{signal}", True),
        ((HERE, HERE), "+/m1/load", "uns/{hall}/{machine}/{signal}", True),
        ((HERE, HERE), "+/+/m1/load", "uns/{hall}/{machine}/{signal}", True),
        ((HERE, HERE), "other/+/m1/load", "uns/{hall}/{machine}/{signal}", False),
        ((HERE, HERE), "acme/plant/m2/load", "{enterprise}/{site}/{machine}/{signal}", False),
        (("mqtt://localhost:1884", "ws://127.0.0.2"), "acme/#", "{enterprise}/{machine}/{signal}", True),
        (("mqtts://a.example", "mqtts://b.example"), "acme/#", "{enterprise}/{machine}/{signal}", False),
        (("mqtts://A.example", "wss://a.example"), "acme/#", "{enterprise}/{machine}/{signal}", True),
    ],
)
def test_a_collector_never_reads_what_it_publishes(
    tmp_path: Path, ways: tuple[str, str], topic: str, out: str, loops: bool
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(CONFIG.format(read=ways[0], topic=topic, write=ways[1], out=out))
    loaded = load([file])
    assert [problem.line for problem in loaded.errors] == ([13] if loops else [])
    if loops:
        (problem,) = loaded.errors
        assert "go round for ever" in problem.message
        assert topic.removeprefix("$share/g/") in problem.message


def test_a_collector_never_reads_the_sparkplug_that_it_publishes(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    text = CONFIG.format(read=HERE, topic="x", write=HERE, out="spBv1.0/plant/DDATA/{machine}/{signal}")
    old = '    topic: "x"\n    payload: number\n    signals: [{name: load}]\n'
    file.write_text(text.replace(old, "    sparkplug: plant/m1\n    adopt: true\n"))
    (problem,) = load([file]).errors
    assert "spBv1.0/plant/+/m1/#" in problem.message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"topic": "uns/{signal}"}, "needs {machine}"),
        ({"topic": "uns/+/{machine}"}, "one topic each"),
        ({"topic": "uns/{machine}/#"}, "one topic each"),
        ({"topic": "$share/g/{machine}"}, "one topic each"),
        ({"topic": "$uns/{machine}"}, "one topic each"),
        ({"topic": "uns/mill-{machine}"}, "whole segment"),
        ({"url": "http://a"}, "begins with mqtts"),
        ({"password": "x", "username": "y", "url": "mqtt://a.example"}, "plain text"),
        ({"in_flight": 0}, "greater than"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        settings(**changes)
