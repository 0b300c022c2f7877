"""The Sparkplug edge at a real mosquitto, as a host would see it: its session by the book, its dialects, and each rule broken."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.faces.broker import Address
from simulators.sparkplug import wire
from simulators.sparkplug.book import Book
from simulators.sparkplug.breaks import BREAKS, break_rule
from simulators.sparkplug.cell import PLAIN, STRUCTURED, open_cell
from simulators.sparkplug.edge import Edge, Place, now_ms
from simulators.sparkplug.habits import DIALECTS, Habits
from simulators.sparkplug.run import confirm, end
from simulators.truth import open_truth
from tests.contracts.rig import eventually
from tests.mqtt.peers import Mosquitto, parted
from tests.simulators.runs import rows
from tests.simulators.sparkplug import reader
from tests.simulators.sparkplug.reader import Read

pytestmark = pytest.mark.server("mosquitto")
NBIRTH, NDEATH = "spBv1.0/plant/NBIRTH/cell", "spBv1.0/plant/NDEATH/cell"


@dataclass
class Heard:
    topic: str
    content: bytes
    retain: bool

    @property
    def kind(self) -> str:
        """NBIRTH and so on; empty for everything else."""
        levels = self.topic.removeprefix("site-1/").split("/")
        return levels[2] if levels[0] == "spBv1.0" else ""

    @property
    def read(self) -> Read:
        return reader.payload(self.content)


class Ear:
    """A subscriber to everything, with paho; says what it heard, in order."""

    def __init__(self, port: int) -> None:
        self.heard: list[Heard] = []
        self.port, self._marks, self._said = port, set[str](), 0
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=0)
        self.client.loop_start()

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("mark/"):
            self._marks.add(message.topic)
        else:
            self.heard.append(Heard(message.topic, bytes(message.payload), message.retain))

    def say(self, topic: str, content: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, content, qos=1, retain=retain).wait_for_publish(60)

    def kinds(self) -> list[str]:
        return [each.kind for each in self.heard if each.topic.startswith("spBv1.0")]

    async def hears(self, *kinds: str) -> None:
        """Wait for one message of each kind, counting anew."""
        present = len(self.heard)
        await eventually(
            lambda: set(kinds) <= {each.kind for each in self.heard[present:]}, f"{kinds} arrive"
        )

    async def quiet(self) -> None:
        """All that was confirmed before has arrived, and the last words of who has closed his connection: this came behind it."""
        await parted(self.port)
        self._said += 1
        mark = f"mark/{self._said}"
        self.say(mark, b"")
        await eventually(lambda: mark in self._marks, "the mark arrives")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def ear(broker: Mosquitto) -> AsyncIterator[Ear]:
    ear = Ear(broker.port)
    await ear.quiet()
    yield ear
    ear.close()


@asynccontextmanager
async def living(
    broker: Mosquitto, habits: Habits | None = None, *, host: str = "", types: Any = PLAIN, metrics: int = 15
) -> AsyncIterator[Edge]:
    place = Place(Address("127.0.0.1", broker.port), host=host)
    with open_truth(broker.folder / "truth.jsonl") as truth:
        edge = Edge(place, open_cell(7, 2, metrics, types, now_ms()), habits or Habits(), Book(truth))
        await edge.connect()
        try:
            yield edge
        finally:
            await end(edge)


def step(edge: Edge) -> None:
    for device, changed in edge.cell.step(now_ms(), 0.3).items():
        edge.data(device, changed)


async def test_births_by_the_book(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker) as edge:
        await confirm(edge)
        await ear.quiet()
        assert ear.kinds() == ["NBIRTH", "DBIRTH", "DBIRTH"]
    node, first, second = (each.read for each in ear.heard[:3])
    assert [node.seq, first.seq, second.seq] == [0, 1, 2]
    assert node.metric("bdSeq")["long"] == 0
    assert "alias" not in node.metric("Node Control/Rebirth")
    assert node.metric("Node Control/Rebirth")["boolean"] == 0
    metrics = [*node.metrics, *first.metrics, *second.metrics]
    assert all({"name", "timestamp", "datatype"} <= set(metric) for metric in metrics)
    aliases = [metric["alias"] for metric in metrics if "alias" in metric]
    assert len(set(aliases)) == len(aliases) == len(metrics) - 2
    assert not any(each.retain for each in ear.heard)


async def test_seq_wraps_and_data_name_by_alias_alone(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker) as edge:
        for _ in range(150):
            step(edge)
        await confirm(edge)
        await ear.quiet()
        heard = list(ear.heard)
    numbers = [each.read.seq for each in heard]
    assert numbers == [place % 256 for place in range(len(heard))]
    assert len(heard) > 300
    for each in heard[3:]:
        assert all(
            "alias" in metric and "name" not in metric and "datatype" not in metric
            for metric in each.read.metrics
        )


async def test_the_truth_is_what_went_over_the_wire(broker: Mosquitto, ear: Ear) -> None:
    """Every value row is in a message, and every value in a message is a row: by the tests' reader, not by the edge's books."""
    async with living(broker, types=(*PLAIN, *STRUCTURED), metrics=34) as edge:
        for _ in range(30):
            step(edge)
            await confirm(edge)
        await ear.quiet()
    names: dict[int, tuple[str, str]] = {}
    said: set[tuple[str, str, int]] = set()
    for each in (each for each in ear.heard if each.kind != "NDEATH"):
        machine = each.topic.split("/")[-1]
        for metric in each.read.metrics:
            if "alias" in metric:
                names.setdefault(metric["alias"], (machine, metric.get("name", "")))
                said.add((*names[metric["alias"]], metric["timestamp"] * 1_000_000))
    file = broker.folder / "truth.jsonl"
    told = {
        (row["machine"], row["signal"], row["t"])
        for kind in ("value", "structure")
        for row in rows(file, kind)
    }
    assert {row for row in told if row[1] not in ("bdSeq", "Node Control/Rebirth", "_types_/Motor")} == said
    assert len(said) > 500


async def test_a_lost_connection_is_told_by_the_will_with_its_bd_seq(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker) as edge:
        for number in range(3):
            edge.lose()
            await ear.hears("NDEATH")
            assert ear.heard[-1].read.metric("bdSeq")["long"] == number
            assert ear.heard[-1].read.seq is None
            await edge.connect()
            await confirm(edge)
            await ear.quiet()
        births = [each.read.metric("bdSeq")["long"] for each in ear.heard if each.kind == "NBIRTH"]
    assert births == [0, 1, 2, 3]


async def test_bd_seq_wraps_after_255(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker, Habits(first_bd_seq=255)) as edge:
        edge.lose()
        await ear.hears("NDEATH")
        await edge.connect()
        await confirm(edge)
        await ear.quiet()
    assert [each.read.metric("bdSeq")["long"] for each in ear.heard if each.kind == "NBIRTH"] == [255, 0]


async def test_an_orderly_end_says_ndeath_once(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker) as edge:
        await confirm(edge)
    await ear.quiet()
    assert ear.kinds().count("NDEATH") == 1


@pytest.mark.parametrize(("death", "numbers"), [("own", [7]), ("next", [8]), ("none", [])])
async def test_the_bd_seq_of_an_orderly_end(
    broker: Mosquitto, ear: Ear, death: Any, numbers: list[int]
) -> None:
    async with living(broker, Habits(first_bd_seq=7, death=death)) as edge:
        await confirm(edge)
    await ear.quiet()
    assert [each.read.metric("bdSeq")["long"] for each in ear.heard if each.kind == "NDEATH"] == numbers


def command(name: str, value: int = 1) -> bytes:
    return wire.blob(2, wire.text(1, name) + wire.uint(4, 11) + wire.uint(14, value))


async def test_a_rebirth_command_is_obeyed(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker) as edge:
        step(edge)
        for wrong in (command("Node Control/Rebirth", 0), command("Node Control/Reboot"), b"\xff"):
            ear.say("spBv1.0/plant/NCMD/cell", wrong)
        ear.say("spBv1.0/plant/NCMD/cell", command("Node Control/Rebirth"))
        await eventually(lambda: ear.kinds().count("DBIRTH") == 4, "births come again")
        await ear.quiet()
    births = [each.read for each in ear.heard if each.kind == "NBIRTH"]
    assert [birth.seq for birth in births] == [0, 0]
    assert {birth.metric("bdSeq")["long"] for birth in births} == {0}


async def test_it_can_be_deaf(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker, Habits(rebirth="ignores")) as edge:
        ear.say("spBv1.0/plant/NCMD/cell", command("Node Control/Rebirth"))
        await eventually(
            lambda: bool(edge.book.pending and edge.book.pending[-1]["kind"] == "command"), "it is heard"
        )
        await ear.quiet()
    assert ear.kinds().count("NBIRTH") == 1


@pytest.mark.parametrize("state", ["3", "2"])
async def test_it_waits_for_its_host_and_keeps_what_happens(broker: Mosquitto, ear: Ear, state: Any) -> None:
    def said(online: bool, at: int) -> bytes:
        old = b"ONLINE" if online else b"OFFLINE"
        return old if state == "2" else json.dumps({"online": online, "timestamp": at}).encode()

    topic = ("STATE/" if state == "2" else "spBv1.0/STATE/") + "scada"
    async with living(broker, Habits(state=state), host="scada") as edge:
        step(edge)
        await confirm(edge)
        await ear.quiet()
        assert "NBIRTH" not in ear.kinds()
        ear.say(topic, said(True, 1000), retain=True)
        await ear.hears("DDATA")
        await ear.quiet()
        kept = [metric for each in ear.heard if each.kind.endswith("DATA") for metric in each.read.metrics]
        assert kept
        assert all(metric["is_historical"] for metric in kept)
        if state == "3":
            ear.say(topic, said(False, 999), retain=True)
            await ear.quiet()
            assert edge.born, "an offline older than the online does not count"
        ear.say(topic, said(False, 1001), retain=True)
        await eventually(lambda: not edge.connected, "it leaves")
        await ear.quiet()
        assert ear.kinds()[-2:].count("NDEATH") == 1


async def test_births_may_be_retained_and_the_will_missing(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker, Habits(retain=True, will="none")) as edge:
        edge.lose()
        await eventually(lambda: not edge.connected, "it is gone")
        await ear.quiet()
        assert "NDEATH" not in ear.kinds()
        late = Ear(broker.port)
        await late.quiet()
        late.close()
    assert [(each.kind, each.retain) for each in late.heard] == [
        ("NBIRTH", True),
        ("DBIRTH", True),
        ("DBIRTH", True),
    ]


async def test_an_old_will(broker: Mosquitto, ear: Ear) -> None:
    async with living(broker, Habits(will="old", first_bd_seq=5)) as edge:
        edge.lose()
        await ear.hears("NDEATH")
    death = next(each for each in ear.heard if each.kind == "NDEATH")
    assert death.read.metric("bdSeq")["long"] == 4


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_every_dialect_lives(broker: Mosquitto, ear: Ear, dialect: str) -> None:
    habits = DIALECTS[dialect]
    async with living(broker, habits, types=(*PLAIN, *STRUCTURED), metrics=34) as edge:
        for _ in range(5):
            step(edge)
        await confirm(edge)
        await ear.quiet()
        heard = list(ear.heard)
    assert [each.kind for each in heard[:3]] == ["NBIRTH", "DBIRTH", "DBIRTH"]
    assert all(each.topic.startswith(habits.namespace + "/plant/") for each in heard)
    reads = [each.read for each in heard]
    assert all((read.uuid is not None) == bool(habits.compress) for read in reads)
    if not habits.compress:
        assert [read.seq for read in reads] == list(range(len(reads)))
        assert all(
            ("datatype" in metric) == (habits.types == "always")
            for read in reads[3:]
            for metric in read.metrics
        )
        assert all(("name" in metric) != habits.aliases for read in reads[3:] for metric in read.metrics)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"data": "both"}, lambda m: "name" in m and "alias" in m),
        ({"data": "neither"}, lambda m: "name" not in m and "alias" not in m),
        ({"data": "name"}, lambda m: "name" in m and "alias" not in m),
        ({"metric_times": False}, lambda m: "timestamp" not in m),
        ({"types": "never"}, lambda m: "datatype" not in m),
    ],
)
async def test_habits_of_data(broker: Mosquitto, ear: Ear, changes: dict[str, Any], check: Any) -> None:
    async with living(broker, replace(Habits(), **changes)) as edge:
        step(edge)
        await confirm(edge)
        await ear.quiet()
        data = [each.read for each in ear.heard if each.kind.endswith("DATA")]
    assert data
    assert all(check(metric) for read in data for metric in read.metrics)


def seqs(heard: list[Heard]) -> list[int | None]:
    return [each.read.seq for each in heard]


def only(heard: list[Heard]) -> dict[str, Any]:
    return heard[-1].read.metrics[-1]


CHECKS: dict[str, Any] = {
    "seq-gap": lambda h: not h,
    "out-of-order": lambda h: seqs(h) == [4, 3],
    "duplicate": lambda h: seqs(h) == [3, 3] and h[0].content == h[1].content,
    "no-seq": lambda h: seqs(h) == [None],
    "data-before-birth": lambda h: [e.kind for e in h] == ["NDEATH", "DDATA", "NBIRTH", "DBIRTH", "DBIRTH"],
    "device-data-before-birth": lambda h: [e.kind for e in h] == ["DDEATH", "DDATA", "DBIRTH"],
    "missing-device-birth": lambda h: [e.kind for e in h] == ["NBIRTH", "DDATA"],
    "unknown-device": lambda h: h[0].topic.endswith("/stranger"),
    "old-death": lambda h: h[0].kind == "NDEATH" and h[0].read.metric("bdSeq")["long"] == 255,
    "alias-unknown": lambda h: only(h)["alias"] == 999_999,
    "alias-reused": lambda h: len({m["alias"] for m in h[0].read.metrics}) == 1 < len(h[0].read.metrics),
    "name-and-alias": lambda h: {"name", "alias"} <= set(only(h)),
    "neither": lambda h: not {"name", "alias"} & set(only(h)),
    "new-metric": lambda h: only(h)["name"] == "Surprise",
    "changed-birth": lambda h: [e.kind for e in h] == ["DBIRTH", "DDATA"],
    "lost-birth": lambda h: [e.kind for e in h] == ["DDATA"] and seqs(h) == [4],
    "wrong-datatype": lambda h: (only(h)["datatype"], only(h)["string"]) == (12, "12,5"),
    "unknown-datatype": lambda h: only(h)["datatype"] == 99,
    "wrong-field": lambda h: only(h)["string"] == "a text",
    "null-and-value": lambda h: only(h)["is_null"] == 1 and len(only(h)) == 4,
    "no-value": lambda h: set(only(h)) == {"alias", "timestamp"},
    "null": lambda h: set(only(h)) == {"alias", "timestamp", "is_null"},
    "historical": lambda h: (
        only(h)["is_historical"] == 1 and h[0].read.timestamp - only(h)["timestamp"] >= 3_599_000
    ),
    "old-unmarked": lambda h: (
        "is_historical" not in only(h) and h[0].read.timestamp - only(h)["timestamp"] >= 3_599_000
    ),
    "no-times": lambda h: h[0].read.timestamp is None and "timestamp" not in only(h),
    "ragged-dataset": lambda h: reader.raw(only(h)["dataset"])[1] == [7],
    "template-change": lambda h: reader.raw(only(h)["template"])[4] == [b"Motor"],
    "retained-birth": lambda h: [e.kind for e in h] == ["NBIRTH", "DBIRTH", "DBIRTH"],
    "rebirth": lambda h: seqs(h) == [0, 1, 2],
    "device-death": lambda h: [e.kind for e in h] == ["DDEATH", "DBIRTH"] and seqs(h) == [3, 4],
    "compressed": lambda h: h[0].read.uuid == "SPBV1.0_COMPRESSED" and h[0].read.body == b"no gzip",
    "truncated": bool,
    "garbage": lambda h: h[0].content.startswith(b"\xff"),
    "empty": lambda h: h[0].content == b"",
    "lost": lambda h: [e.kind for e in h] == ["NDEATH"],
}


@pytest.mark.parametrize("rule", sorted(BREAKS))
async def test_every_rule_is_broken_as_it_says(broker: Mosquitto, ear: Ear, rule: str) -> None:
    async with living(broker) as edge:
        await confirm(edge)
        await ear.quiet()
        before = len(ear.heard)
        break_rule(edge, rule)
        if rule == "lost":
            await ear.hears("NDEATH")
        else:
            await confirm(edge)
        await ear.quiet()
        heard = ear.heard[before:]
    assert CHECKS[rule](heard)
    if rule == "truncated":
        with pytest.raises((AssertionError, StopIteration)):
            reader.payload(heard[0].content)
    assert [row["rule"] for row in rows(broker.folder / "truth.jsonl", "broken")] == [rule]


async def test_the_command_line(broker: Mosquitto, tmp_path: Path, ear: Ear) -> None:
    truth = tmp_path / "said.jsonl"
    options = [
        f"--broker=mqtt://127.0.0.1:{broker.port}",
        f"--truth={truth}",
        "--seed=3",
        "--period=50ms",
        "--dialect=ignition",
    ]
    command = [
        sys.executable,
        "-m",
        "simulators",
        "sparkplug",
        *options,
        "--habit=data=name",
        "--break=duplicate@2",
        "--hold",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            ready = json.loads(await asyncio.to_thread(process.stdout.readline))
            assert (ready["event"], ready["seed"], ready["machines"]) == (
                "ready",
                3,
                ["cell", "robot-1", "robot-2"],
            )
            await eventually(lambda: ear.kinds().count("DBIRTH") == 2, "its births are heard")
            await ear.quiet()
            assert set(ear.kinds()) == {"NBIRTH", "DBIRTH"}
            for word in ('{"break": "seq-gap"}', "nonsense", "go"):
                process.stdin.write(word + "\n")
                process.stdin.flush()
            assert json.loads(await asyncio.to_thread(process.stdout.readline)) == {
                "event": "broken",
                "rule": "seq-gap",
            }
            assert json.loads(await asyncio.to_thread(process.stdout.readline))["event"] == "refused"
            await eventually(lambda: ear.kinds().count("DDATA") > 6, "data come")
            process.terminate()
            stopped = json.loads(await asyncio.to_thread(process.stdout.readline))
        finally:
            process.kill()
    await ear.quiet()
    assert ear.kinds()[-1] == "NDEATH"
    assert stopped["event"] == "stopped"
    assert sum(stopped["emitted"].values()) == sum(1 for _ in rows(truth))
    assert [row["rule"] for row in rows(truth, "broken")] == ["seq-gap", "duplicate"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "needs a broker"),
        (["--broker=mqtt://127.0.0.1:1"], "does not answer"),
        (["--broker=mqtt://127.0.0.1:1", "--break=nothing"], "there are seq-gap"),
        (["--broker=mqtt://127.0.0.1:1", "--dialect=klingon"], "there are spec"),
        (["--broker=mqtt://127.0.0.1:1", "--habit=sign=up"], "one of type, field"),
        (["--broker=mqtt://127.0.0.1:1", "--habit=will=no"], "one of own, none, old"),
        (["--broker=mqtt://127.0.0.1:1", "--habit=retain=maybe"], "yes or no"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_words(options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "simulators", "sparkplug", *options]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_list_names_everything() -> None:
    command = [sys.executable, "-m", "simulators", "sparkplug", "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True).stdout
    assert all(name in listed for name in (*BREAKS, *DIALECTS))
    assert set(CHECKS) == set(BREAKS)
