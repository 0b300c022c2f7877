"""One feed for all readers: changes add up to the picture, four a second at most, and nobody can make it wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.health import State
from collector.page.changes import changes
from collector.page.feed import BEAT, FRAMES, HEARTBEAT, Feed, Reader
from collector.page.live import Tile
from pipelines.batch import Kind
from tests.page.scene import SECOND, FakeClock, Shop, books, source


def merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """What the browser does with a change (static/app.js)."""
    machines = {machine["key"]: machine for machine in before["machines"]}
    for part in change.get("machines", ()):
        known = {signal["id"]: signal for signal in machines.get(part["key"], {"signals": []})["signals"]}
        known |= {signal["id"]: signal for signal in part["signals"]}
        machines[part["key"]] = part | {"signals": list(known.values())}
    return before | change | {"machines": list(machines.values())}


deeds = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(0, 20)),
    st.tuples(st.just("board"), st.sampled_from(list(State))),
    st.tuples(st.just("books"), st.integers(0, 2)),
)


@given(st.lists(st.lists(deeds, max_size=6), max_size=6))
def test_changes_add_up_to_the_picture(rounds: list[list[tuple[Any, ...]]]) -> None:
    shop = Shop((Tile("m0"),), stale_after={("m0", "s0"): 5.0}, limit=2)
    shop.health.put(source("plc", State.STARTING, "m0", "m1"))
    held = shop.view.picture(shop.health, shop.accounts)
    for deeds_of_round in rounds:
        for deed in deeds_of_round:
            act(shop, *deed)
        after = shop.view.picture(shop.health, shop.accounts)
        change = changes(held, after)
        held = (
            held | {"now": after["now"]} if change is None else merged(held, json.loads(json.dumps(change)))
        )
        assert held == after


def act(shop: Shop, verb: str, *details: Any) -> None:
    if verb == "say":
        machine, name, value = details
        shop.say(f"m{machine}", f"s{name}", value, kind=Kind.INTEGER)
    elif verb == "wait":
        shop.clock.ns += details[0] * SECOND
    elif verb == "board":
        shop.health.change("plc", details[0], shop.clock.ns)
    else:
        shop.accounts = books(pending=details[0])


def test_nothing_new_is_no_change_and_one_value_is_one_row() -> None:
    shop = Shop()
    for number in range(50):
        shop.say("m", f"s{number}", 1.0)
    before = shop.view.picture(shop.health, None)
    shop.clock.ns += SECOND
    assert changes(before, shop.view.picture(shop.health, None)) is None
    shop.say("m", "s7", 2.0)
    change = changes(before, shop.view.picture(shop.health, None))
    assert change is not None
    assert [signal["name"] for signal in change["machines"][0]["signals"]] == ["s7"]


async def drained(reader: Reader) -> list[tuple[str, dict[str, Any]]]:
    """The frames that wait, decoded."""
    reader.close()
    found = []
    async for piece in reader.frames():
        fields = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n")[1:])
        found.append((fields["event"], json.loads(fields["data"])))
    return found


async def running(feed: Feed, clock: FakeClock, seconds: float) -> None:
    """Let the feed beat for this long by its own clock."""
    until = clock.ns + int(seconds * SECOND)
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(feed.run())
        while clock.ns <= until:  # one more sleep has begun: the beat at `until` is done
            await asyncio.sleep(0)
        beating.cancel()


async def test_a_flood_becomes_at_most_four_changes_a_second() -> None:
    shop = Shop()
    feed = Feed(shop.view, shop.health, shop.ledger)
    reader = await feed.join()

    class Chatty(FakeClock):
        async def sleep(self, seconds: float) -> None:
            for number in range(100):
                shop.say("m", "s", float(number), at=self.ns + number)
            await super().sleep(seconds)

    shop.view.clock = shop.clock = Chatty()
    await running(feed, shop.clock, 3)
    found = await drained(reader)
    assert found[0][0] == "snapshot"
    assert 3 / BEAT - 1 <= len(found) - 1 <= 3 / BEAT + 1
    assert {event for event, _ in found[1:]} == {"change"}
    assert found[-1][1]["machines"][0]["signals"][0]["value"] == 99.0


async def test_silence_is_broken_by_a_heartbeat() -> None:
    shop = Shop()
    feed = Feed(shop.view, shop.health, shop.ledger)
    reader = await feed.join()
    await running(feed, shop.clock, 4 * HEARTBEAT)
    found = [event for event, _ in await drained(reader)]
    assert found[0] == "snapshot"
    assert 3 <= found.count("heartbeat") <= 5


async def test_a_reader_that_does_not_read_is_cut_and_the_others_go_on() -> None:
    shop, cut = Shop(), asyncio.Event()
    feed = Feed(shop.view, shop.health, shop.ledger)
    slow = await feed.join(cut.set)
    other = await feed.join()
    seen = 0
    for number in range(FRAMES + 3):
        shop.say("m", "s", float(number), at=shop.clock.ns + number)
        await running(feed, shop.clock, BEAT)
        seen += len(other._frames)
        other._frames.clear()
    assert cut.is_set()
    assert await drained(slow) == []
    assert seen >= FRAMES + 3


async def test_a_late_reader_starts_where_the_next_change_begins() -> None:
    shop = Shop()
    feed = Feed(shop.view, shop.health, shop.ledger)
    first = await feed.join()
    shop.say("m", "s", 1.0)
    late = await feed.join()
    await running(feed, shop.clock, BEAT)
    for reader in (first, late):
        (_, held), (event, change) = (await drained(reader))[:2]
        assert event == "change"
        assert merged(held, change)["machines"][0]["signals"][0]["value"] == 1.0


async def test_the_books_are_asked_for_once_a_second() -> None:
    shop, asked = Shop(), 0

    async def ledger() -> Any:
        nonlocal asked
        asked += 1
        return books()

    feed = Feed(shop.view, shop.health, ledger)
    await running(feed, shop.clock, 10)
    assert asked == 0
    await feed.join()
    await running(feed, shop.clock, 10)
    assert 9 <= asked <= 12


async def test_a_costly_picture_is_made_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, told = Shop(), 0
    feed = Feed(shop.view, shop.health, shop.ledger)
    await feed.join()

    def costly(_: Any) -> None:
        nonlocal told
        told += 1
        shop.clock.ns += SECOND // 5

    monkeypatch.setattr(feed, "_tell", costly)
    await running(feed, shop.clock, 22)
    assert 9 <= told <= 11  # 0.2 s each, a tenth of the time


async def test_another_configuration_is_a_picture_anew() -> None:
    """Machines go and change their places: a difference would put the values of one below the name of another."""
    shop = Shop((Tile("mill"), Tile("press"), Tile("robot")))
    for machine in ("mill", "press", "robot"):
        shop.say(machine, f"{machine}_load", 1.0)
    feed = Feed(shop.view, shop.health, shop.ledger)
    first = await feed.join()
    shop.view.configure((Tile("robot"), Tile("mill")), {})
    late = await feed.join()
    await running(feed, shop.clock, BEAT)
    shop.say("mill", "mill_load", 2.0)
    await running(feed, shop.clock, BEAT)
    wanted = shop.view.picture(shop.health, shop.accounts)
    assert [machine["id"] for machine in wanted["machines"]] == ["robot", "mill"]
    for reader in (first, late):
        shown: dict[str, Any] = {}
        for event, data in await drained(reader):
            shown = data if event == "snapshot" else merged(shown, data)
        assert shown["machines"] == wanted["machines"]
