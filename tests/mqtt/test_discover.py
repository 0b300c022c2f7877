"""A look at a broker: what a topic carries is told rightly or not at all, where machines stand, bounds, strangers, and what is never done."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adapters.discovery import Report, Wishes, silent
from adapters.errors import Misconfigured
from adapters.mqtt import discover_listen
from adapters.mqtt.channel import Message
from adapters.mqtt.connection import Connection
from adapters.mqtt.discover import discover, look_into
from adapters.mqtt.discover_kinds import kind_of
from adapters.mqtt.discover_listen import LONGEST, MEMORY, SAMPLES, Heard
from adapters.mqtt.discover_propose import proposed
from adapters.mqtt.opening import connect
from adapters.mqtt.settings import MqttRead, MqttSource
from config.writing import extend
from config.writing_text import Unwritable
from simulators.sparkplug.model import DataType, Metric
from tests.contracts.rig import eventually
from tests.mqtt.certificates import authority
from tests.mqtt.peers import Mosquitto, Publisher
from tests.mqtt.scripted.broker import scripted
from tests.mqtt.scripted.codec import publish
from tests.mqtt.sparkplug.bed import Bed, Edge, number

NOW = 1_767_225_600.25
MANY = Wishes()


def heard(*messages: tuple[str, bytes], retain: bool = False, most: int = 1000) -> Heard:
    made = Heard(seconds=2.0)
    for topic, payload in messages:
        made.take(Message(topic.encode(), payload, 0, 0, False, retain, 0, len(payload)), most)
    return made


def offered(*messages: tuple[str, bytes], wishes: Wishes = MANY) -> Any:
    found = look_into(heard(*messages))
    return proposed("b", {"type": "mqtt", "url": "mqtt://h"}, found.seen, list(found.nodes.nodes.values()), wishes)  # fmt: skip


def as_data(proposal: Any) -> dict[str, list[dict[str, Any]]]:
    return {m.id: [{**r.keys, "signals": list(r.signals)} for r in m.reads] for m in proposal.machines}


KINDS: list[tuple[Sequence[bytes], str, Any]] = [
    ([b"21.5", b"-3"], "number", "number"),
    ([b"1", b"0"], "number", "number"),
    ([b"on", b"OFF"], "flag", "flag"),
    ([b"T7", b"hello"], "text", "text"),
    ([b'{"a": 1}'], "json", "json"),
    ([b'{"a": 1, "ts": 1767225600}'], "json", {"type": "json", "time": "ts"}),
    ([b'{"a": 1, "at": "yesterday"}'], "json", "json"),
    ([b'{"a": 1, "ts": 17}'], "json", "json"),
    ([b'{"a": 1, "ts": 1767225600}', b'{"a": 2}'], "json", "json"),
    ([b'{"h": {"time": "2026-01-01T00:00:00Z"}, "a": 1}'], "json", {"type": "json", "time": "h.time"}),
    ([b'[{"name": "x", "value": 1}]'], "json", {"type": "json", "each": "", "name": "name", "value": "value"}),
    ([msgspec.msgpack.encode({"a": 1.5})], "msgpack", "msgpack"),
    ([b"\xa1\x61\x61\x18\x2a"], "cbor", "cbor"),
    ([b"cpu,host=a usage=1.5 1767225600000000000"], "line", "line"),
    ([b"cpu usage=1.5 1767225600000"], "line", {"type": "line", "precision": "ms"}),
    ([b"2026-01-01T00:00:00Z|load|5|mode|AUTO"], "shdr", {"type": "shdr", "numbers": ["load"]}),
    ([b"t;load\n2026-01-01T00:00:00Z;1,5"], "csv", {"type": "csv", "separator": ";", "decimal": ",", "time": "t"}),
    ([gzip.compress(b'{"a": 1}')], "json", {"type": "json", "compression": "auto"}),
    ([struct.pack(">f", 1.5)], "binary", None),
    ([b"1,2,3"], "text", "text"),
    ([b""], "empty", None),
    ([], "empty", None),
]  # fmt: skip


@pytest.mark.parametrize(("samples", "name", "payload"), KINDS)
def test_what_a_topic_carries(samples: Sequence[bytes], name: str, payload: Any) -> None:
    kind = kind_of(samples)
    assert (kind.name, kind.payload) == (name, payload)


def test_fields_units_and_what_is_left_out() -> None:
    """Issue 7, 5: paths, types, unit beside a value, and a reason for everything that is not taken."""
    document = {
        "P": 1.5,
        "unit": "kW",
        "ok": True,
        "tool": "T7",
        "n": None,
        "deep": {"x": [1, 2]},
        "s": "x" * 500,
    }
    proposal = offered(("energy/cnc-1", json.dumps(document).encode()))
    (entry,) = as_data(proposal)["cnc-1"]
    assert entry["topic"] == "energy/{machine}"
    assert entry["signals"] == [
        {"name": "p", "value": "P", "unit": "kW"}, {"name": "ok", "value": "ok"}, {"name": "tool", "value": "tool"},
        {"name": "deep_x_0", "value": "deep.x[0]"}, {"name": "deep_x_1", "value": "deep.x[1]"},
    ]  # fmt: skip
    assert {out.what.split()[-1]: out.why for out in proposal.left_out} == {
        "unit": "a unit", "n": "always null", "s": "a text of 500 characters",
    }  # fmt: skip


def test_templates_are_found_where_topics_are_alike() -> None:
    """`factory/a/temp`, `factory/b/temp`: the level in which they differ is the machine's."""
    proposal = offered(
        ("factory/a/temp", b"1"), ("factory/b/temp", b"2"), ("factory/a/mode", b"AUTO"), ("plant/h1/mill/x/pos", b"1"),
        ("plant/h1/lathe/x/pos", b"1"), ("temp", b"3"), ("energy/a", b'{"P": 1, "I": 2}'),
    )  # fmt: skip
    made = {machine: [entry["topic"] for entry in entries] for machine, entries in as_data(proposal).items()}
    assert made == {
        "a": ["factory/{machine}/{signal}", "factory/{machine}/{signal}", "energy/{machine}"],
        "b": ["factory/{machine}/{signal}", "{signal}"],
        "mill": ["plant/h1/{machine}/x/pos"],
        "lathe": ["plant/h1/{machine}/x/pos"],
    }  # the source is called b, too: what bears no machine in its topic belongs to it
    assert as_data(proposal)["mill"][0]["signals"] == [{"name": "x_pos"}]


def test_a_message_of_one_value_is_called_after_its_topic() -> None:
    """`{ts, value}` as bare numbers: the last level is the signal, also where many topics of one machine are alike."""
    one = b'{"ts": 1767225600, "value": 1.5, "unit": "bar", "q": "ok"}'
    proposal = offered(
        *((f"shop/compressor-1/{name}", one) for name in ("pressure", "flow", "Running Hours"))
    )
    (entry,) = as_data(proposal)["compressor-1"]
    assert (entry["topic"], entry["payload"]) == ("shop/{machine}/{signal}", {"type": "json", "time": "ts"})
    assert entry["signals"] == [
        {"name": "pressure", "value": "value", "unit": "bar"}, {"name": "flow", "value": "value", "unit": "bar"},
        {"name": "running_hours", "item": "Running Hours", "value": "value", "unit": "bar"},
    ]  # fmt: skip
    assert {out.why for out in proposal.left_out} == {
        "the time of the values",
        "a unit",
        "perhaps a quality: its words need a map",
    }


def test_names_that_ids_cannot_be_stay_in_the_topic() -> None:
    proposal = offered(("f/DMU 50/temp", b"1"), ("f/dmu-50/temp", b"1"), ("f/ü/temp", b"1"))
    topics = {machine: entries[0]["topic"] for machine, entries in as_data(proposal).items()}
    assert topics == {"dmu-50": "f/DMU 50/{signal}", "dmu-50-2": "f/dmu-50/{signal}", "u": "f/ü/{signal}"}


@pytest.mark.parametrize("topic", ["a/{x}/b", "a/\x01/b", "{machine}"])
def test_topics_that_no_configuration_can_name_are_left_out(topic: str) -> None:
    proposal = offered((topic, b"1"))
    assert proposal.count == 0
    assert len(proposal.left_out) == 1


def test_what_the_decoder_refuses_is_left_out_with_its_reason() -> None:
    """The guess is tried: a key that stands twice, a number that becomes a text."""
    proposal = offered(("a/b", b'{"x": 1, "x": 2}'), ("a/c", b'{"x": 1}'), ("a/c", b'{"x": "one"}'))
    whys = {out.what: out.why for out in proposal.left_out}
    assert whys["a/c"] == "no value in it that can be stored"
    assert "stands twice" in whys["a/b"]
    assert proposal.count == 0


def test_only_what_is_asked_for() -> None:
    messages = [("f/a/temp", b"1"), ("f/b/temp", b"1"), ("g/x", b"1")]
    assert set(as_data(offered(*messages, wishes=Wishes(under="f")))) == {"a", "b"}
    slash = [(f"/{topic}", payload) for topic, payload in messages]
    assert set(as_data(offered(*slash, wishes=Wishes(under="/f")))) == {"a", "b"}
    assert set(as_data(offered(*messages, wishes=Wishes(select="*/b/*")))) == {"b"}
    assert set(as_data(offered(*messages, wishes=Wishes(machine="all")))) == {"all"}


def test_nodes_are_adopted_and_their_metrics_told() -> None:
    """Sparkplug: nodes and devices, births, aliases without a birth, hosts; broken payloads are plain topics."""
    edge, said = Edge(Bed()), []
    edge.bed = None  # type: ignore[assignment] # only its messages are wanted
    said.append(edge.make("NBIRTH", [number("Load", 1.0, 0)]))
    said.append(edge.make("DBIRTH", [Metric("Force", 1, None, DataType.DOUBLE, value=1.0)], "press"))
    said.append(edge.make("DDATA", [number(None, 2.0, 7)], "saw"))
    found = look_into(heard(*said, ("spBv1.0/STATE/scada", b'{"online":true}'), ("spBv1.0/plant/NDATA/broken", b"\xff\xfe"), ("spBv1.0/plant/NCMD/cell", b"x")))  # fmt: skip
    entities = found.nodes.nodes["plant", "cell"].entities
    assert {device: (each.born, each.aliased, list(each.metrics)) for device, each in entities.items()} == {
        "": (True, False, ["Load"]), "press": (True, False, ["Force"]), "saw": (False, True, []),
    }  # fmt: skip
    assert found.nodes.silent
    assert found.nodes.hosts == {"scada": '{"online":true}'}
    assert [each.topic.name for each in found.seen] == ["spBv1.0/plant/NDATA/broken"]
    proposal = proposed("b", {}, found.seen, list(found.nodes.nodes.values()), MANY)
    assert as_data(proposal)["press"] == [{"sparkplug": "plant/cell/press", "adopt": True, "signals": []}]
    assert proposal.count == 3


def test_what_is_kept_is_bounded() -> None:
    """Topics, messages of each, bytes of each and of all."""
    made = heard(*((f"t/{n}", b"1") for n in range(50)), most=20)
    assert (len(made.topics), made.beyond) == (20, 30)
    made = heard(*(("t", b"x" * 1000) for _ in range(100)))
    assert (len(made.topics["t"].samples), made.topics["t"].live) == (SAMPLES, 100)
    made = heard(("t", b"x" * (LONGEST + 1)))
    assert (made.topics["t"].samples, made.topics["t"].size) == ([], LONGEST + 1)
    made = heard(*((f"{n}", b"x" * LONGEST) for n in range(MEMORY // LONGEST + 50)))
    assert made.memory <= MEMORY
    made.take(Message(b"\xff", b"1", 0, 0, False, False, 0, 1), 10_000)
    assert made.unnamed == 1


HOSTILE = st.one_of(
    st.binary(max_size=60), st.text(max_size=40).map(str.encode),
    st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
                 lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)), max_leaves=8)
    .map(lambda each: json.dumps(each).encode()),
)  # fmt: skip
TOPICS = st.lists(st.sampled_from(["a", "b", "", "DMU 50", "ü", "{x}", "$SYS", "spBv1.0", "NDATA", "x" * 300, "temp", "ts"]), min_size=1, max_size=5).map("/".join)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(st.tuples(TOPICS, HOSTILE), max_size=12))
def test_strangers_bring_nothing_that_would_not_run(tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[str, bytes]]) -> None:  # fmt: skip
    """Whatever is published: every entry that is proposed is one, and the configuration loads or the file is not written."""
    proposal = offered(*messages)
    for machine in proposal.machines:
        for read in machine.reads:
            MqttRead.model_validate({"source": "b", **read.keys, "signals": list(read.signals)})
    if proposal.count:
        file = tmp_path_factory.mktemp("w") / "c.yaml"
        try:
            extend(file, proposal, {})
        except Unwritable as error:
            pytest.fail(f"{error}\n{messages}")
        again = extend(file, proposal, {})
        assert not again.changed


async def looked(broker: Mosquitto, publish: Any, wishes: Wishes, **login: Any) -> Report:
    settings_ = MqttSource.model_validate({"url": f"mqtt://127.0.0.1:{broker.port}", **login})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            discover(settings_, "b", {"type": "mqtt", "url": settings_.url}, wishes, silent)
        )
        await publish()
    return task.result()


@pytest.mark.server("mosquitto")
async def test_it_is_a_guest(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 7, 5: read-only: another client id, a clean session, QoS 0, nothing published, nothing left; retained marked; no $SYS."""
    publisher, take, heard = Publisher(broker.port), Heard.take, list[Message]()
    await publisher.send(("f/a/temp", "1"), ("f/b/temp", "2"), retain=True)

    def taken(self: Heard, message: Message, most: int) -> None:
        take(self, message, most)
        heard.append(message)

    async def publish() -> None:
        await eventually(lambda: len(heard) == 2, "what is retained comes first")
        await publisher.send(*[("f/a/temp", str(n)) for n in range(10)])

    monkeypatch.setattr(Heard, "take", taken)
    # Two seconds pass when everything has been heard, however long that takes here.
    passing = SimpleNamespace(time_ns=time.time_ns, monotonic=lambda: 2.0 * (len(heard) == 12))
    monkeypatch.setattr(discover_listen, "time", passing)
    report = await looked(broker, publish, Wishes(watch=2.0))
    publisher.close()
    topics = {each["topic"]: each for each in report.data["topics"]}
    assert set(topics) == {"f/a/temp", "f/b/temp"}
    assert (topics["f/a/temp"]["messages"], topics["f/a/temp"]["retained"]) == (10, 1)
    assert topics["f/a/temp"]["per_second"] == 5
    log = (broker.folder / "broker.log").read_text()
    assert "as shopfloor-look-" in log
    assert "shopfloor-look" in log.partition("(p5, c1,")[0].splitlines()[-1]
    assert "Received PUBLISH from shopfloor-look" not in log
    assert "# (QoS 0)" in log
    assert "$SYS" not in log


@pytest.mark.server("mosquitto")
async def test_an_access_list_that_gives_nothing_is_suspected(tmp_path: Path) -> None:
    """Brokers grant what they then withhold."""
    (tmp_path / "acl").write_text("topic write #\n")
    broker = Mosquitto(tmp_path, [f"acl_file {tmp_path}/acl"])
    await broker.start()

    async def publish() -> None:
        publisher = Publisher(broker.port)
        await publisher.send(("f/a/temp", "1"))
        publisher.close()

    try:
        report = await looked(broker, publish, Wishes(watch=0.5))
    finally:
        await broker.stop()
    assert report.proposal.count == 0
    assert any("access list" in words for words in report.warnings)


async def test_a_refused_subscription_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        settings = MqttSource(url="mqtt://127.0.0.1")

        async def subscribe(self, asked: Sequence[tuple[str, int]]) -> list[int]:
            return [0x87 for _ in asked]

    with pytest.raises(Misconfigured, match="does not let this user subscribe #"):
        await discover_listen._subscribe(Refusing(), ["#"])  # type: ignore[arg-type]


@pytest.mark.server("mosquitto")
@pytest.mark.parametrize(
    ("under", "asked"),
    [
        ("", ["#"]),
        ("#", ["#"]),
        ("/", ["#"]),
        ("hall/1", ["hall/1", "hall/1/#"]),
        ("hall/1/#", ["hall/1", "hall/1/#"]),
        ("/hall/", ["hall", "hall/#", "/hall", "/hall/#"]),
    ],
)
def test_under_is_the_beginning_of_topics_as_people_write_it(under: str, asked: list[str]) -> None:
    assert discover_listen.filters(discover_listen.plainly(Wishes(under=under))) == asked


@pytest.mark.parametrize("under", ["hall/+", "#/a", "hall#"])
async def test_under_is_no_filter(under: str) -> None:
    with pytest.raises(Misconfigured, match="not the beginning of topics"):
        await discover(MqttSource(url="mqtt://127.0.0.1"), "b", {}, Wishes(under=under), silent)


async def test_a_flood_is_counted_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read from the wire and not looked at would fill the memory, and be missing in the rates."""
    opened: list[Connection] = []

    async def connecting(*args: Any, **more: Any) -> Connection:
        opened.append(await connect(*args, **more))
        return opened[0]

    looks = count()  # at the clock: so many turns, however long they take
    clock = SimpleNamespace(monotonic=lambda: next(looks) / 100, time_ns=time.time_ns)
    monkeypatch.setattr(discover_listen, "time", clock)
    monkeypatch.setattr(discover_listen, "connect", connecting)
    async with scripted() as broker, asyncio.TaskGroup() as group:

        async def flood() -> None:
            link = await broker.link()
            pieces = publish(link.level, "f/a", b"1", qos=0) * 5000
            while not link.ended.is_set():
                link.send(pieces)
                await link.drain()

        async def ended() -> None:
            with suppress(ConnectionError):
                await flood()

        group.create_task(ended())
        settings = MqttSource(url=f"mqtt://127.0.0.1:{broker.port}")
        heard = await discover_listen.listen(settings, Wishes(watch=0.2), silent)
    assert heard.messages == opened[0].wire.received > 0


async def test_a_secured_broker_is_looked_at_as_it_will_be_read(tmp_path: Path) -> None:
    """mqtts, user and password, an access list that allows a part: `--under` names it."""
    ours, acl, users = authority(tmp_path / "ours"), tmp_path / "acl", tmp_path / "users"
    acl.write_text("user ann\ntopic read hall/1/#\nuser bob\ntopic write #\n")
    users.write_text("ann:geheim\nbob:publish\n")
    subprocess.run(["mosquitto_passwd", "-U", str(users)], check=True)
    server = ours.issue("broker")
    lines = (
        f"certfile {server}",
        f"keyfile {server}",
        "allow_anonymous false",
        f"acl_file {acl}",
        f"password_file {users}",
    )
    broker = Mosquitto(tmp_path, lines)
    await broker.start()
    login = {"url": f"mqtts://127.0.0.1:{broker.port}", "ca": str(ours.ca), "username": "ann"}
    try:
        report = await looked(broker, nothing, Wishes(watch=0.3, under="hall/1"), password="geheim", **login)
        assert report.facts["security"].startswith("TLSv1")
        assert any("Nothing was heard on hall/1 and hall/1/#" in words for words in report.warnings)
        with pytest.raises(Misconfigured):
            async with asyncio.timeout(90):
                await discover(
                    MqttSource.model_validate({**login, "password": "falsch"}),
                    "b",
                    {},
                    Wishes(watch=0.3),
                    silent,
                )
    finally:
        await broker.stop()


async def nothing() -> None:
    """Nobody publishes."""
