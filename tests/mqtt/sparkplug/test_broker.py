"""M14: the simulated edge breaks each rule in turn over a real broker; what it calls unreadable is never stored, what it calls true is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Delivery
from adapters.mqtt.session import MqttSession
from pipelines.batch import Flag
from simulators.faces.broker import Address
from simulators.sparkplug.book import Book
from simulators.sparkplug.breaks import BREAKS, break_rule
from simulators.sparkplug.cell import PLAIN, STRUCTURED, open_cell
from simulators.sparkplug.edge import Edge, Place, now_ms
from simulators.sparkplug.habits import DIALECTS, Habits
from simulators.sparkplug.run import confirm, end
from simulators.truth import open_truth
from tests.contracts.rig import eventually
from tests.mqtt.peers import Mosquitto, Publisher, Shop, parted

pytestmark = pytest.mark.server("mosquitto")
READS: Sequence[Mapping[str, Any]] = (
    {"sparkplug": "plant/cell", "adopt": True},
    {"sparkplug": "plant/cell/+", "adopt": True},
)
MARK: Mapping[str, Any] = {"topic": "mark", "payload": "number", "signals": [{"name": "mark"}]}
Key = tuple[str, str, int]  # device, signal, ms


class Collected:
    """What a host stored, by device, signal and time; and what it refused."""

    def __init__(self, session: MqttSession, shop: Shop) -> None:
        self.session, self.shop = session, shop
        self.values: dict[Key, list[Any]] = {}
        self.missing: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.gaps: list[str] = []
        self.marks = 0
        self.checkpoint: bytes | None = None

    async def collect(self) -> None:
        async for delivery in self.session:
            self._keep(delivery)
            await delivery.ack()

    def _keep(self, delivery: Delivery) -> None:
        kept = sum(map(len, delivery.batches)) + sum(each.values for each in delivery.refused)
        assert delivery.decoded == kept
        self.checkpoint = delivery.checkpoint or self.checkpoint
        self.refused += [each.reason for each in delivery.refused]
        self.gaps += [gap.reason for gap in delivery.gaps]
        for batch in delivery.batches:
            columns = (batch.points, batch.at, batch.values.tolist(), batch.flags)
            for point, at, value, flags in zip(*columns, strict=True):
                known = self.shop.registry[int(point)]
                if known.name == "mark":
                    self.marks += 1
                    continue
                device = known.tags.get("device", "cell")
                if flags & Flag.NO_VALUE:
                    self.missing.append((device, known.name))
                else:
                    self.values.setdefault((device, known.name, int(at) // 1_000_000), []).append(value)

    async def settled(self, port: int) -> None:
        """All that was published before has been read: this message came behind it."""
        before, publisher = self.marks, Publisher(port)
        await publisher.send(("mark", "1"))
        publisher.close()
        await eventually(lambda: self.marks > before, "the mark arrives")


@asynccontextmanager
async def hosting(
    broker: Mosquitto, resume: bytes | None = None, **settings: Any
) -> AsyncIterator[Collected]:
    shop = Shop(broker.port)
    source = shop.source(*READS, MARK, reorder="500ms", **settings)
    async with source.session(resume) as session:
        collected = Collected(session, shop)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(collected.collect())
            yield collected
            task.cancel()
    await parted(broker.port)  # or a mark that was acknowledged comes again


@asynccontextmanager
async def living(
    broker: Mosquitto, habits: Habits, types: Any = PLAIN, metrics: int = 15
) -> AsyncIterator[Edge]:
    place = Place(Address("127.0.0.1", broker.port))
    with open_truth(broker.folder / "truth.jsonl") as truth:
        edge = Edge(place, open_cell(7, 2, metrics, types, now_ms()), habits, Book(truth))
        await edge.connect()
        try:
            yield edge
        finally:
            await end(edge)


def step(edge: Edge) -> None:
    for device, changed in edge.cell.step(now_ms(), 0.5).items():
        edge.data(device, changed)


async def later(ms: int) -> None:
    """Births of one millisecond are the same bytes, which a host takes for a repetition."""
    await eventually(lambda: now_ms() > ms, "the next millisecond")


def truth(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text("utf-8").splitlines()]


def check(folder: Path, collected: Collected) -> int:
    """Every value stored under a name that the edge names is one it gave to that name at that time."""
    said: dict[Key, list[Any]] = {}
    for row in truth(folder):
        if row["kind"] == "value" and row["t"] is not None and row["value"] is not None:
            key = (row["machine"], row["signal"], row["t"] // 1_000_000)
            said.setdefault(key, []).append(row)
    named = {key[:2] for key in said}
    for key, values in collected.values.items():
        if key[:2] in named and key in said:
            for value in values:
                assert any(_same(row, value) for row in said[key]), (key, value, said[key])
    return sum(key in collected.values for key in said)


def _same(row: Mapping[str, Any], value: Any) -> bool:
    if row["datatype"] == 13:
        return isinstance(value, str) and value.endswith("Z")
    if isinstance(row["value"], float):
        return abs(float(value) - row["value"]) <= 1e-6 * max(1.0, abs(row["value"]))
    return bool(row["value"] == value)


def stated(folder: Path) -> int:
    keys = {
        (row["machine"], row["signal"], row["t"])
        for row in truth(folder)
        if row["kind"] == "value" and row["t"] is not None and row["value"] is not None
        and row["signal"] != "bdSeq" and not row["signal"].startswith("Node Control/")
    }  # fmt: skip
    return len(keys)


@pytest.mark.parametrize("dialect", [name for name in sorted(DIALECTS) if name not in ("bridge", "2.2")])
async def test_every_dialect_is_read_to_the_last_value(broker: Mosquitto, dialect: str) -> None:
    async with hosting(broker) as collected, living(broker, DIALECTS[dialect]) as edge:
        for _ in range(5):
            step(edge)
        await confirm(edge)
        await collected.settled(broker.port)
        assert check(broker.folder, collected) == stated(broker.folder) > 30
        assert collected.refused == collected.gaps == []


async def test_a_bridge_that_rewrites_topics_is_named_in_the_settings(broker: Mosquitto) -> None:
    async with (
        hosting(broker, sparkplug_namespace="site-1/spBv1.0") as collected,
        living(broker, DIALECTS["bridge"]) as edge,
    ):
        step(edge)
        await confirm(edge)
        await collected.settled(broker.port)
        assert check(broker.folder, collected) == stated(broker.folder) > 10


@pytest.mark.parametrize("rule", sorted(BREAKS))
async def test_broken_rules_bring_no_wrong_value_and_balanced_books(broker: Mosquitto, rule: str) -> None:
    """M14: whatever rule is broken, no value stands under a name that is not its own, and the stream goes on."""
    async with hosting(broker) as collected, living(broker, replace(Habits(), metric_times=True)) as edge:
        step(edge)
        await later(now_ms())
        break_rule(edge, rule)
        await confirm(edge)
        if not edge.connected:
            await edge.connect()
        await later(now_ms())
        edge.birth()
        await confirm(edge)
        await collected.settled(broker.port)
        before = sum(map(len, collected.values.values()))
        step(edge)
        await confirm(edge)
        await collected.settled(broker.port)
        check(broker.folder, collected)
        assert sum(map(len, collected.values.values())) > before, "the stream goes on"


UNREADABLE = ("alias-unknown", "neither", "data-before-birth", "device-data-before-birth", "missing-device-birth",
              "alias-reused", "wrong-field", "wrong-datatype", "null-and-value", "no-value", "unknown-datatype", "compressed",
              "truncated", "garbage", "empty", "ragged-dataset")  # fmt: skip


@pytest.mark.parametrize("rule", UNREADABLE)
async def test_what_nobody_can_understand_is_refused_by_name(broker: Mosquitto, rule: str) -> None:
    """M14: never silence."""
    async with hosting(broker) as collected, living(broker, Habits()) as edge:
        step(edge)
        await later(now_ms())
        break_rule(edge, rule)
        await confirm(edge)
        await collected.settled(broker.port)
        await eventually(lambda: bool(collected.refused), "a refusal")


async def test_a_lost_edge_makes_all_its_points_stale(broker: Mosquitto) -> None:
    """M14: the broker speaks the will."""
    async with hosting(broker) as collected, living(broker, Habits()) as edge:
        await confirm(edge)
        await collected.settled(broker.port)
        points = {key[:2] for key in collected.values}
        edge.lose()
        await eventually(lambda: points <= set(collected.missing), "all are stale")


async def test_structures_are_flattened(broker: Mosquitto) -> None:
    async with hosting(broker) as collected, living(broker, Habits(), STRUCTURED, 20) as edge:
        for _ in range(3):
            step(edge)
        await confirm(edge)
        await collected.settled(broker.port)
        reasons = {reason.partition(": ")[2] for reason in collected.refused}
        assert all("is not stored" in reason for reason in reasons), reasons
        assert any(name.count("/") >= 2 for _, name, _ in collected.values)


async def test_a_rebirth_is_asked_for_only_when_it_is_allowed(broker: Mosquitto) -> None:
    """M14: a host that comes late and may ask gets births; one that may not asks nothing, and stores what has a name."""
    async with living(broker, Habits()) as edge:
        await confirm(edge)
        for allowed in (False, True):
            async with hosting(broker, rebirth=allowed, client_id=f"host-{allowed}") as collected:
                births = sum(row["kind"] == "birth" for row in truth(broker.folder))
                step(edge)
                await confirm(edge)
                await collected.settled(broker.port)
                assert any("came before a birth" in reason for reason in collected.refused)
                if allowed:
                    await eventually(lambda: len(collected.values) > 20, "births arrive")
                    await confirm(edge)
                asked = sum(row["kind"] == "command" for row in truth(broker.folder))
                assert asked == allowed
                assert sum(row["kind"] == "birth" for row in truth(broker.folder)) == births + allowed


@pytest.mark.parametrize("kept", [True, False])
async def test_who_was_away_while_aliases_moved_stores_nothing_under_a_wrong_name(
    broker: Mosquitto, kept: bool
) -> None:
    """M14: births have QoS 0, so that no session brings them: with one or without, nothing is read by aliases of before."""
    expiry: dict[str, Any] = {"client_id": "away", "session_expiry": "1h" if kept else "0s"}
    async with living(broker, replace(Habits(), metric_times=True)) as edge:
        async with hosting(broker, **expiry) as first:
            edge.birth()
            await confirm(edge)
            await first.settled(broker.port)
        break_rule(edge, "changed-birth")
        await confirm(edge)
        async with hosting(broker, first.checkpoint, **expiry) as collected:
            assert (collected.session.facts["session"] == "continued") == kept
            step(edge)
            await confirm(edge)
            await collected.settled(broker.port)
            check(broker.folder, collected)
            assert any(reason.startswith("by alias alone") for reason in collected.refused)
            refused = len(collected.refused)
            await later(now_ms())
            edge.birth()
            step(edge)
            await confirm(edge)
            await collected.settled(broker.port)
            check(broker.folder, collected)
            assert len(collected.refused) == refused
            assert len(collected.values) > 20
            await eventually(lambda: "sparkplug_aliases_in_doubt" in collected.gaps, "and the doubt is told")


async def test_after_a_new_connection_the_births_are_asked_for_at_once(broker: Mosquitto) -> None:
    """M14: with `rebirth: true` nobody waits for the next value of a quiet edge to find out that it is not understood."""
    async with living(broker, Habits()) as edge:
        async with hosting(broker, rebirth=True, client_id="asks") as first:
            edge.birth()
            await confirm(edge)
            await first.settled(broker.port)
        before = sum(row["kind"] == "command" for row in truth(broker.folder))
        async with hosting(broker, first.checkpoint, rebirth=True, client_id="asks") as collected:
            await eventually(
                lambda: len(collected.values) > 20, "births arrive, although no edge said anything"
            )
            await confirm(edge)
            assert sum(row["kind"] == "command" for row in truth(broker.folder)) == before + 1
            assert collected.refused == []
