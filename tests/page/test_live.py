"""The view against a scalar model, and the truths a visitor must be told."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec.json
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector.health import Health, JobHealth, State
from collector.journal.base import Slice
from collector.page.live import LiveView, Tile
from collector.page.newest import AHEAD, Newest
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.registry import Registry
from tests.page.scene import NOON, SECOND, FakeClock, Shop, books, source

BAD = 0x80310000
UNCERTAIN = 0x40900000

row = st.tuples(
    st.integers(0, 5),
    st.integers(-20, 20),
    st.integers(-1000, 1000),
    st.sampled_from([0, UNCERTAIN, BAD]),
    st.sampled_from([0, int(Flag.NO_VALUE), int(Flag.HISTORICAL)]),
)
streams = st.lists(
    st.tuples(st.integers(0, 30), st.lists(row, min_size=1, max_size=30)), min_size=1, max_size=8
)


def registry_of(points: int) -> Registry:
    """Two points share a signal: the unit changed on the way."""
    names = [Point("m", f"s{i}", Kind.INTEGER, "mm") for i in range(points - 1)]
    return Registry([*names, Point("m", "s0", Kind.INTEGER, "cm")])


def batches_of(stream: list[tuple[int, list[tuple[int, int, int, int, int]]]]) -> list[Batch]:
    made = []
    for received, rows in stream:
        points, at, values, quality, flags = (list(column) for column in zip(*rows, strict=True))
        stamps = [NOON + when * SECOND for when in at]
        arrived = NOON + received * SECOND
        made.append(
            batch_of(Kind.INTEGER, points, stamps, values, received=arrived, quality=quality, flags=flags)
        )
    return made


class Model:
    """One value at a time, in plain Python."""

    def __init__(self) -> None:
        self.newest: dict[str, tuple[Any, ...]] = {}
        self.good: dict[str, tuple[Any, ...]] = {}

    def fold(self, registry: Registry, batch: Batch) -> None:
        columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
        for point, at, value, quality, flags in zip(*(column.tolist() for column in columns), strict=True):
            order = (min(at, batch.received + AHEAD), at)
            held = (order, point, value, quality, flags, batch.received)
            self._offer(self.newest, registry[point].name, held)
            if quality >> 30 == 0 and not flags & Flag.NO_VALUE:
                self._offer(self.good, registry[point].name, held)

    def _offer(self, into: dict[str, tuple[Any, ...]], name: str, held: tuple[Any, ...]) -> None:
        if name not in into or held[0] >= into[name][0]:
            into[name] = held


@given(streams)
def test_newest_agrees_with_the_scalar_model(stream: list[Any]) -> None:
    registry, model = registry_of(6), Model()
    newest = Newest(registry)
    for batch in batches_of(stream):
        before = (dict(model.newest), dict(model.good))
        model.fold(registry, batch)
        changed = {newest.signals[slot][1] for slot in newest.fold(batch).tolist()}
        assert {name for name in model.newest if model.newest[name] != before[0].get(name)} <= changed
        assert {name for name in model.good if model.good[name] != before[1].get(name)} <= changed
    for rows, expected in ((newest.rows, model.newest), (newest.good, model.good)):
        found = {}
        for slot, (_, name) in enumerate(newest.signals):
            if rows.point[slot] >= 0:
                columns = (rows.point, rows.value, rows.quality, rows.flags, rows.received)
                found[name] = ((rows.rank[slot], rows.at[slot]), *(column[slot] for column in columns))
        assert found == expected


@given(streams)
def test_any_chunking_tells_the_same(stream: list[Any]) -> None:
    whole, rowwise = Newest(registry_of(6)), Newest(registry_of(6))
    for batch in batches_of(stream):
        whole.fold(batch)
        for position in range(len(batch)):
            rowwise.fold(batch.take(np.asarray([position])))
    for name in ("at", "point", "value", "quality", "flags"):
        assert getattr(whole.rows, name).tolist() == getattr(rowwise.rows, name).tolist()
        assert getattr(whole.good, name).tolist() == getattr(rowwise.good, name).tolist()


def test_points_that_appear_later_find_their_place() -> None:
    shop = Shop()
    for number in range(300):
        shop.say(f"m{number % 7}", f"s{number}", float(number))
    assert shop.signals("m3")["s150"]["value"] == 150.0
    told = shop.view.overview(shop.health, None)
    assert sum(len(machine["signals"]) for machine in told["machines"]) == 300


def test_late_and_historical_rows_do_not_replace_a_newer_one() -> None:
    shop = Shop()
    shop.say("m", "s", 2.0)
    shop.say("m", "s", 1.0, at=NOON - SECOND, flags=int(Flag.HISTORICAL))
    assert shop.signals("m")["s"]["value"] == 2.0
    shop.say("m", "s", 3.0, at=NOON + 1)
    assert shop.signals("m")["s"]["value"] == 3.0


def test_a_clock_that_was_put_right_does_not_freeze_the_value() -> None:
    shop = Shop()
    shop.say("m", "s", 1.0, at=NOON + 3600 * SECOND)
    shop.clock.ns += 11 * SECOND
    shop.say("m", "s", 2.0)
    assert shop.signals("m")["s"]["value"] == 2.0


def test_bad_is_never_shown_as_a_value() -> None:
    shop = Shop()
    shop.say("m", "s", 5.5, unit="bar")
    shop.clock.ns += 90 * SECOND
    shop.say("m", "s", 99.0, unit="bar", quality=BAD)
    told = shop.signals("m")["s"]
    assert (told["value"], told["quality"], told["quality_name"]) == (None, "bad", "BadNoCommunication")
    assert told["last_good"] == {"value": 5.5, "unit": "bar", "at": NOON // 1_000_000}
    shop.clock.ns += SECOND
    shop.say("m", "s", 0.0, unit="bar", flags=int(Flag.NO_VALUE))
    told = shop.signals("m")["s"]
    assert (told["value"], told["quality"], told["last_good"]["value"]) == (None, "good", 5.5)


def test_uncertain_shows_its_value_and_says_so() -> None:
    shop = Shop()
    shop.say("m", "s", 7.0, quality=UNCERTAIN)
    told = shop.signals("m")["s"]
    assert (told["value"], told["quality"], told["last_good"]) == (7.0, "uncertain", None)


def test_a_new_unit_keeps_the_line_of_the_signal() -> None:
    shop = Shop()
    shop.say("m", "s", 1.0, unit="mm")
    shop.clock.ns += SECOND
    shop.say("m", "s", 2.0, unit="cm")
    told = shop.view.overview(shop.health, None)["machines"][0]["signals"]
    assert [(signal["value"], signal["unit"]) for signal in told] == [(2.0, "cm")]


def test_machines_come_in_the_configured_order_and_strangers_last() -> None:
    shop = Shop((Tile("b", "Bee"), Tile("a")))
    shop.say("z", "s", 1.0)
    told = shop.view.overview(shop.health, None)["machines"]
    assert [(machine["id"], machine["label"]) for machine in told] == [("b", "Bee"), ("a", "a"), ("z", "z")]


def test_a_machine_that_was_taken_out_stays_out() -> None:
    shop = Shop((Tile("a"), Tile("b")))
    shop.say("b", "s", 1.0)
    for wanted in (("a",), ("a",), ("a", "b")):
        shop.view.configure([Tile(name) for name in wanted], {})
        told = shop.view.overview(shop.health, None)["machines"]
        assert tuple(machine["id"] for machine in told) == wanted
    assert shop.signals("b")["s"]["value"] == 1.0, "and is there again when it comes back"


def test_more_signals_than_the_limit_are_counted() -> None:
    shop = Shop(limit=3)
    for number in range(5):
        shop.say("m", f"s{number}", 1.0)
    machine = shop.view.overview(shop.health, None)["machines"][0]
    assert ([signal["name"] for signal in machine["signals"]], machine["more_signals"]) == (
        ["s0", "s1", "s2"],
        2,
    )


def test_values_are_what_a_browser_can_hold() -> None:
    shop = Shop()
    shop.say("m", "big", 2**60 + 1, kind=Kind.INTEGER)
    shop.say("m", "huge", 2**64 - 1, kind=Kind.UNSIGNED)
    shop.say("m", "nan", math.nan)
    shop.say("m", "flag", np.True_, kind=Kind.FLAG)
    shop.say("m", "text", "x" * 70_000 + "\ud800", kind=Kind.TEXT)
    shop.say("m", "lone", "\ud800</script>", kind=Kind.TEXT)
    shop.say("m", "wave", [1.0, -2.0, math.inf], kind=Kind.WAVEFORM)
    told = {name: signal["value"] for name, signal in shop.signals("m").items()}
    assert (told["big"], told["huge"], told["nan"], told["flag"]) == (
        str(2**60 + 1),
        str(2**64 - 1),
        None,
        True,
    )
    assert len(told["text"]) == 500
    assert told["lone"] == "?</script>"
    assert told["wave"] == {"count": 3, "min": -2.0, "max": 1.0}
    encoded = msgspec.json.encode(shop.view.overview(shop.health, None))
    json.loads(encoded, parse_constant=not_json)


def not_json(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_stale_when_the_source_is_lost_and_fresh_again() -> None:
    shop = Shop((Tile("m"),))
    shop.health.put(source("plc", State.CONNECTED, "m", since=NOON - SECOND))
    shop.say("m", "s", 1.0)
    assert not shop.signals("m")["s"]["stale"]
    shop.clock.ns += 5 * SECOND
    shop.health.change("plc", State.WAITING, shop.clock.ns, error="no answer")
    assert shop.signals("m")["s"]["stale"]
    shop.clock.ns += 5 * SECOND
    shop.health.change("plc", State.CONNECTED, shop.clock.ns)
    assert not shop.signals("m")["s"]["stale"]


def test_with_two_sources_only_what_the_living_one_repeats_is_fresh() -> None:
    shop = Shop((Tile("m"),))
    shop.health.put(source("plc", State.CONNECTED, "m"))
    shop.health.put(source("broker", State.CONNECTED, "m"))
    shop.say("m", "position", 1.0)
    shop.say("m", "power", 1.0)
    shop.clock.ns += SECOND
    shop.health.change("plc", State.WAITING, shop.clock.ns)
    shop.signals("m")
    shop.clock.ns += SECOND
    shop.say("m", "power", 2.0)
    shop.health.change("plc", State.CONNECTING, shop.clock.ns + 5, attempts=1)
    told = shop.signals("m")
    assert (told["position"]["stale"], told["power"]["stale"]) == (True, False)


def test_stale_after_the_configured_silence() -> None:
    shop = Shop(stale_after={("m", "s"): 10.0})
    shop.say("m", "s", 1.0)
    shop.say("m", "other", 1.0)
    shop.clock.ns += 10 * SECOND
    assert not shop.signals("m")["s"]["stale"]
    shop.clock.ns += 1
    assert shop.signals("m")["s"]["stale"]
    assert not shop.signals("m")["other"]["stale"]
    assert shop.signals("m")["other"]["age_s"] == 10.0


def test_a_machine_shows_the_worst_of_its_sources() -> None:
    shop = Shop((Tile("m"), Tile("n")))
    shop.health.put(source("good", State.CONNECTED, "m", "n", error="old news"))
    assert shop.connection("m") == {
        "state": "connected", "level": "ok", "since": NOON // 1_000_000, "error": "", "remedy": "", "source": "good",
    }  # fmt: skip
    shop.health.put(source("lost", State.WAITING, "m", error="e1", remedy="r1"))
    shop.health.put(source("locked", State.NEEDS_ATTENTION, "m", error="e2", remedy="r2"))
    told = shop.connection("m")
    assert (told["level"], told["source"], told["error"], told["remedy"]) == (
        "attention",
        "locked",
        "e2",
        "r2",
    )
    assert shop.connection("n")["level"] == "ok"


def test_retries_do_not_move_since() -> None:
    shop = Shop((Tile("m"),))
    shop.health.put(source("plc", State.CONNECTED, "m"))
    shop.view.observe(shop.health)
    lost = NOON + 60 * SECOND
    states = [State.WAITING, State.CONNECTING, State.WAITING, State.CONNECTING]
    for attempt, state in enumerate(states, 1):
        shop.health.change("plc", state, lost + (attempt - 1) * SECOND, attempts=attempt)
        told = shop.connection("m")
        assert (told["level"], told["since"]) == ("lost", lost // 1_000_000)


def test_a_machine_that_nobody_names_belongs_to_the_sources_that_name_none() -> None:
    shop = Shop()
    shop.say("found-by-topic", "s", 1.0)
    assert shop.connection("found-by-topic")["level"] == "unknown"
    shop.health.put(source("plc", State.WAITING, "m"))
    shop.health.put(source("broker", State.CONNECTED))
    assert shop.connection("found-by-topic")["source"] == "broker"


def test_the_books_are_told_as_they_are() -> None:
    shop = Shop(clock=FakeClock())
    shop.health.put(source("cnc-plc", State.CONNECTED, "m"))
    shop.health.put(JobHealth("page", "service", State.CONNECTED, NOON))
    told = shop.view.overview(shop.health, books(pending=7, lost=3))
    assert told["unaccounted"] == 3
    assert (told["sources"][0]["decoded"], told["sources"][0]["unaccounted"]) == (1000, 3)
    assert [(sink["name"], sink["level"], sink["pending"]) for sink in told["sinks"]] == [
        ("influxdb", "off", 7)
    ]
    assert [service["name"] for service in told["services"]] == ["page"]
    assert shop.view.overview(shop.health, None)["unaccounted"] is None


async def test_it_follows_what_becomes_durable() -> None:
    shop = Shop()
    point = shop.registry.intern(Point("m", "s", Kind.NUMBER))
    left = asyncio.Event()

    class FakeJournal:
        @asynccontextmanager
        async def watch(self) -> AsyncIterator[AsyncIterator[Slice]]:
            async def pieces() -> AsyncIterator[Slice]:
                yield Slice(1, [batch_of(Kind.NUMBER, [point], NOON, [4.5], received=NOON)])
                yield Slice(2, [batch_of(Kind.NUMBER, [point], NOON + 1, [5.5], received=NOON)])

            yield pieces()
            left.set()

    await shop.view.follow(FakeJournal())  # type: ignore[arg-type]
    assert shop.signals("m")["s"]["value"] == 5.5
    assert left.is_set()


def test_units_are_shown_as_people_write_them() -> None:
    registry = Registry(
        [Point("m", name, Kind.NUMBER, unit) for name, unit in (("t", "CEL"), ("n", "C62"), ("x", "pallets"))]
    )
    view = LiveView(registry)
    view.fold(Slice(1, [batch_of(Kind.NUMBER, [0, 1, 2], 1, [1.0, 2.0, 3.0], received=1)]))
    (machine,) = view.overview(Health(), None)["machines"]
    assert [signal["unit"] for signal in machine["signals"]] == ["°C", "", "pallets"]


def test_the_collectors_own_facts_are_no_machine() -> None:
    registry = Registry([Point("collector", "connected.cnc-1", Kind.FLAG)])
    view = LiveView(registry)
    view.fold(Slice(1, [batch_of(Kind.FLAG, [0], 1, [True], received=1)]))
    assert view.overview(Health(), None)["machines"] == []
