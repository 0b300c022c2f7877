"""A field that has another type in the database: one server that stores by type, and what the sink makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import Rejected
from adapters.influxdb.answers import Verdict
from adapters.influxdb.memory import HOUR
from adapters.influxdb.verdicts import Outcome, advice, conflict_of, too_old
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.registry import Registry
from pipelines.stage import Refusal
from tests.contracts.sink import START, write_once
from tests.influxdb.fake import Answer, Fake, refusal
from tests.influxdb.lines import Read, Unsigned
from tests.influxdb.outflow import line
from tests.influxdb.rigs import FakeV2Rig, InfluxV1Rig, bench


def type_of(value: Any) -> str:
    for known, name in ((bool, "boolean"), (Unsigned, "unsigned"), (int, "integer"), (float, "float")):
        if isinstance(value, known):
            return name
    return "string"


V1 = 'partial write: field type conflict: input field "{0}" on measurement "{1}" is type {2}, already exists as type {3} dropped=1'
V2 = f"failure writing points to database: {V1}"
V3 = "invalid column type for column '{0}', expected iox::column_type::field::{3}, got iox::column_type::field::{2}"


class Typed:
    """Types of fields per measurement and shard, as InfluxDB keeps them. Partial: good lines of a refused write are kept."""

    def __init__(
        self, server: Fake, words: str = V2, *, shard: int = 24 * HOUR, partial: bool = True
    ) -> None:
        self.types: dict[tuple[str, str, int], str] = {}
        self._server, self._words, self._shard, self._partial = server, words, shard, partial
        server.rule = self

    def __call__(self, lines: list[Read], _body: bytes) -> Answer | None:
        types = dict(self.types)
        bad: list[tuple[str, str, str, str]] = []
        kept = []
        for read in lines:
            wrong = self._wrong(read, types)
            bad += wrong
            kept += [] if wrong else [read]
        if not bad:
            self.types = types
            return None
        if self._partial:
            self.types = types
            self._server._store(kept)
        return refusal(422, self._words.format(*bad[0]))

    def _wrong(self, read: Read, types: dict[tuple[str, str, int], str]) -> list[tuple[str, str, str, str]]:
        wrong = []
        for name, value in read.fields.items():
            here = type_of(value)
            there = types.setdefault((read.measurement, name, read.at // self._shard), here)
            if here != there:
                wrong.append((name, read.measurement, here, there))
        return wrong


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


def ten_signals(registry: Registry, first: int, n: int, tenth: int = 10**8) -> list[Batch]:
    """n times of a machine with ten signals each, numbers all of them."""
    ids = [registry.intern(Point("mill", f"s{i}", Kind.NUMBER)) for i in range(10)]
    return [
        batch_of(Kind.NUMBER, ids, START + row * tenth, [row + i / 10 for i in range(10)], received=1)
        for row in range(first, first + n)
    ]


async def refusals(write: Any, batches: Sequence[Batch]) -> Sequence[Refusal]:
    try:
        await write(batches)
    except Rejected as rejection:
        return rejection.refused
    return ()


@pytest.mark.parametrize("words", [V1, V2, V3], ids=["v1", "v2", "v3"])
@pytest.mark.parametrize("partial", [True, False], ids=["partial", "all or nothing"])
async def test_a_lasting_conflict_costs_one_request_per_write(
    rig: FakeV2Rig, words: str, partial: bool
) -> None:
    """I4: one of ten signals has another type for good: its values are quarantined, all others stored, at one request more."""
    typed = Typed(rig.server, words, partial=partial)
    typed.types["machine", "s4", START // (24 * HOUR)] = "integer"
    async with rig.settings(canary=False).build(bench(rig.registry)).session() as write:
        refused = await refusals(write, ten_signals(rig.registry, 0, 500))
        assert len(rig.server.writes) <= 4
        assert [entry.values for entry in refused] == [1] * 500
        for again in range(1, 4):
            before = len(rig.server.writes)
            refused = await refusals(write, ten_signals(rig.registry, 500 * again, 500))
            assert len(refused) == 500
            assert len(rig.server.writes) - before == 2
    assert {entry.where for entry in refused} == {"mill/s4"}
    assert all(
        "is float here" in entry.reason and "type integer in the database" in entry.reason
        for entry in refused
    )
    assert all("on_conflict: twin" in entry.reason for entry in refused)
    stored = await rig.stored()
    assert len(stored) == 9 * 2000
    assert not any(place.signal == "s4" for place in stored)


async def test_several_conflicts_in_one_write(rig: FakeV2Rig) -> None:
    """I4: three signals conflict: each is found by its name, and then costs one request each."""
    typed = Typed(rig.server)
    for name in ("s1", "s4", "s9"):
        typed.types["machine", name, START // (24 * HOUR)] = "string"
    async with rig.settings(canary=False).build(bench(rig.registry)).session() as write:
        assert len(await refusals(write, ten_signals(rig.registry, 0, 200))) == 600
        assert len(rig.server.writes) <= 2 * 3 + 1
        before = len(rig.server.writes)
        assert len(await refusals(write, ten_signals(rig.registry, 200, 200))) == 600
        assert len(rig.server.writes) - before == 4
    assert len(await rig.stored()) == 7 * 400


async def test_a_conflict_that_ends_is_forgiven(rig: FakeV2Rig) -> None:
    """I4: the field is removed from the database: the next value is stored again, and the price is no longer paid."""
    typed = Typed(rig.server)
    typed.types["machine", "s4", START // (24 * HOUR)] = "integer"
    async with rig.settings(canary=False).build(bench(rig.registry)).session() as write:
        assert await refusals(write, ten_signals(rig.registry, 0, 50))
        typed.types.clear()
        assert not await refusals(write, ten_signals(rig.registry, 50, 50))
        before = len(rig.server.writes)
        assert not await refusals(write, ten_signals(rig.registry, 100, 50))
        assert len(rig.server.writes) - before == 1


async def test_types_differ_from_shard_to_shard(rig: FakeV2Rig) -> None:
    """I4: values of one write in two shards, the conflict in one of them: only those of that shard are refused."""
    typed = Typed(rig.server, shard=HOUR)
    typed.types["machine", "s4", START // HOUR + 1] = "integer"
    per_row = HOUR // 100
    refused: list[Refusal] = []
    async with rig.settings(canary=False).build(bench(rig.registry)).session() as write:
        for first in (0, 200):
            refused += await refusals(write, ten_signals(rig.registry, first, 200, tenth=per_row))
    begin, end = START // HOUR + 1, START // HOUR + 2
    wanted = sum(begin <= (START + row * per_row) // HOUR < end for row in range(400))
    assert len(refused) == wanted > 0
    assert len(await rig.stored()) == 4000 - wanted


async def test_machines_that_disagree_about_a_type(rig: FakeV2Rig) -> None:
    """I4: one field, two machines, two types, nothing stored yet: the first type stays, and only the other is refused."""
    Typed(rig.server, partial=False)
    number = rig.registry.intern(Point("mill", "energy", Kind.NUMBER))
    integer = rig.registry.intern(Point("lathe", "energy", Kind.INTEGER))
    both = [
        batch_of(
            Kind.NUMBER, [number] * 5, [START + i for i in range(5)], [i / 2 for i in range(5)], received=1
        ),
        batch_of(Kind.INTEGER, [integer] * 5, [START + i for i in range(5)], list(range(5)), received=1),
    ]
    async with rig.settings(canary=False).build(bench(rig.registry)).session() as write:
        refused = await refusals(write, both)
    assert len(refused) == 5
    assert len({entry.where for entry in refused}) == 1
    assert len(await rig.stored()) == 5


async def test_a_typed_twin_takes_the_value(rig: FakeV2Rig) -> None:
    """I4: on_conflict: twin: the value is in `s4_float`, without a refusal; the next ones go straight there."""
    typed = Typed(rig.server)
    typed.types["machine", "s4", START // (24 * HOUR)] = "integer"
    async with rig.settings(canary=False, on_conflict="twin").build(bench(rig.registry)).session() as write:
        assert not await refusals(write, ten_signals(rig.registry, 0, 100))
        before = len(rig.server.writes)
        assert not await refusals(write, ten_signals(rig.registry, 100, 100))
        assert len(rig.server.writes) - before == 1, "straight there"
    assert _fields(rig.server, "s4") == {}
    assert _fields(rig.server, "s4_float") == {START + row * 10**8: row + 0.4 for row in range(200)}


def _fields(server: Fake, name: str) -> dict[int, Any]:
    return {
        at: fields[name]
        for (measurement, _, at), fields in server.points.items()
        if measurement == "machine" and name in fields
    }


async def test_a_twin_that_cannot_be(rig: FakeV2Rig) -> None:
    """I4: the twin's name is another signal's, or the twin has another type too: quarantined, and at a bounded price."""
    typed = Typed(rig.server)
    day = START // (24 * HOUR)
    typed.types.update({("machine", "s4", day): "integer", ("machine", "s7", day): "integer"})
    typed.types["machine", "s7_float", day] = "string"
    rig.registry.intern(Point("mill", "s4_float", Kind.TEXT))
    async with rig.settings(canary=False, on_conflict="twin").build(bench(rig.registry)).session() as write:
        refused = await refusals(write, ten_signals(rig.registry, 0, 100))
        assert {entry.where for entry in refused} == {"mill/s4", "mill/s7"}
        assert len(refused) == 200
        before = len(rig.server.writes)
        assert len(await refusals(write, ten_signals(rig.registry, 100, 100))) == 200
        assert len(rig.server.writes) - before <= 3
    assert len(await rig.stored()) == 8 * 200


_ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300)), min_size=1, max_size=40)


@given(
    st.lists(_ROWS, min_size=1, max_size=4), st.sets(st.sampled_from(range(10)), max_size=3), st.booleans()
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
async def test_replays_change_nothing_property(writes: list[Any], bad: set[int], restart: bool) -> None:
    """I2: any writes, with conflicts and twins, written again in the same or a new session: the database stays as it is."""
    rig = await FakeV2Rig().start()
    try:
        typed = Typed(rig.server, shard=HOUR)
        typed.types.update({("machine", f"s{i}", START // HOUR): "integer" for i in bad})
        ids = [rig.registry.intern(Point("mill", f"s{i}", Kind.NUMBER)) for i in range(10)]
        batches = [
            [batch_of(Kind.NUMBER, [ids[i] for i, _ in rows], [START + at * 60 * 10**9 for _, at in rows],
                      [i + at / 7 for i, at in rows], received=1)]
            for rows in writes
        ]  # fmt: skip
        sink = rig.settings(canary=False, on_conflict="twin").build(bench(rig.registry))
        for one in batches:
            await write_once(sink, one)
        once = {key: dict(fields) for key, fields in rig.server.points.items()}
        again = rig.settings(canary=False, on_conflict="twin").build(bench(rig.registry)) if restart else sink
        for one in batches[::-1]:
            await write_once(again, one)
        after = {key: fields for key, fields in rig.server.points.items() if key[0] == "machine"}
        assert after == {key: fields for key, fields in once.items() if key[0] == "machine"}
        assert sum(map(len, after.values())) == len({cell for rows in writes for cell in rows})
    finally:
        await rig.stop()


def test_the_words_of_all_versions() -> None:
    """I4: what InfluxDB 1, 2 and 3 say about types and ages, as their sources and documentation have it."""
    for words in (V1, V2, V3):
        found = conflict_of(words.format("a b", "m, n", "float", "integer"))
        assert found is not None
        assert (found.field, found.here, found.there) == ("a b", "float", "integer")
    assert conflict_of("unable to parse 'm x=': missing field value") is None
    assert too_old("partial write: points beyond retention policy dropped=3") == 3
    assert too_old("partial write: dropped 7 points outside retention policy of duration 168h0m0s") == 7
    assert too_old("partial write: max-values-per-tag limit exceeded (100001/100000) dropped=1") == 0
    limit = Outcome(Verdict.BAD, "partial write: max-values-per-tag limit exceeded (100001/100000) dropped=1")
    assert "raise the limit" in advice(limit)


@pytest.mark.server("influxd")
async def test_conflicts_in_a_real_influxdb(tmp_path: Path) -> None:
    """I4: over the real line into InfluxDB 1.x: quarantined with both types, or in the twin; all others stored."""
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        earlier = Registry([Point("mill", "s4", Kind.INTEGER)])
        await write_once(
            rig.settings().build(bench(earlier)), [batch_of(Kind.INTEGER, [0], START - 1, [7], received=1)]
        )
        async with line(tmp_path, ["influx", "twins"]) as running:
            registry = rig.registry = running.journal.registry
            for first in range(0, 300, 100):
                await running.append(ten_signals(registry, first, 100))
            running.start(rig.settings(name="influx").build(bench(registry)))
            account = await running.drained("influx")
            reasons = {entry.refusal.reason for entry in await running.quarantined()}
            assert (account.stored, account.quarantined) == (2700, 300)
            assert len(reasons) == 1
            assert "type integer in the database and is float here" in reasons.pop()
            assert len(await rig.stored()) == 2701
            running.start(rig.settings(name="twins", on_conflict="twin").build(bench(registry)))
            assert (await running.drained("twins")).quarantined == 0
        (series,) = rig.query("SELECT s4_float FROM machine")
        assert [float(row[1]) for row in series["values"]] == [row + 0.4 for row in range(300)]
    finally:
        await rig.stop()
