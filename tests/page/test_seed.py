"""After a restart the page shows what was said last, as old as it is; what comes meanwhile is not covered by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.base import Bench, Delivery, Entry
from adapters.history.settings import HistorySettings
from collector.facts import OWN
from collector.journal.sqlite import open_journal
from collector.page.live import LiveView, Tile
from collector.page.seed import seed
from pipelines import quality
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.stage import Treatments
from tests.page.scene import NOON, SECOND, FakeClock, Shop

HOUR = 3600 * SECOND


def shown(view: LiveView) -> dict[str, tuple[object, int]]:
    """Signal -> value and age in seconds."""
    shop = Shop((Tile("m"),))
    told = view.overview(shop.health, None)
    (machine,) = [one for one in told["machines"] if one["id"] == "m"]
    return {signal["name"]: (signal["value"], round(signal["age_s"])) for signal in machine["signals"]}


async def written(folder: Path, clock: FakeClock, *, sealed: bool) -> Registry:
    """Signals a (1, then 2), b (a text, then lost) and c (in the history only); `sealed`: everything is in the history too."""
    async with open_journal(
        folder / "buffer.sqlite", followers=["history"], clock=clock, window=0.0
    ) as journal:
        a, c = (journal.registry.intern(Point("m", name, Kind.NUMBER, "mm")) for name in "ac")
        b = journal.registry.intern(Point("m", "b", Kind.TEXT))
        own = journal.registry.intern(Point(OWN, "tick", Kind.INTEGER))
        old, new = NOON - 2 * HOUR, NOON - HOUR

        def numbers(point: int, at: int, value: float) -> Batch:
            return batch_of(Kind.NUMBER, [point], at, [value], received=at)

        lost = batch_of(
            Kind.TEXT, [b], new, [""], received=new, quality=quality.BAD_NO_COMMUNICATION, flags=Flag.NO_VALUE
        )
        first = [
            numbers(c, old, 7.0),
            numbers(a, old, 1.0),
            batch_of(Kind.TEXT, [b], old, ["RUN"], received=old),
        ]
        second = [numbers(a, new, 2.0), lost, batch_of(Kind.INTEGER, [own], new, [1], received=new)]
        for batches in (first, second):
            refine = refinery(journal.registry, Treatments())
            delivery = Delivery(batches, sum(map(len, batches)))
            await journal.append("plc", delivery, refine(batches, journal.identity("plc")))
        if sealed:
            archive = HistorySettings(seal_every="1s").build(Bench(journal.registry, clock, str(folder)))
            await archive.seal(1, 1, [Entry(1, batch) for batch in first])
            await archive.seal(2, 2, [Entry(2, batch) for batch in second])
        return journal.registry


@pytest.mark.parametrize("sealed", [False, True])
async def test_the_tiles_begin_with_what_was_said_last(tmp_path: Path, sealed: bool) -> None:
    clock = FakeClock()
    registry = await written(tmp_path, clock, sealed=sealed)
    view = LiveView(registry, (Tile("m"),), clock)
    await seed(view, tmp_path / "buffer.sqlite", tmp_path / "history" if sealed else None)
    assert shown(view) == {"a": (2.0, 3600), "b": (None, 3600), "c": (7.0, 7200)}
    told = view.overview(Shop().health, None)
    (b,) = [s for s in told["machines"][0]["signals"] if s["name"] == "b"]
    assert b["last_good"]["value"] == "RUN"


async def test_what_is_newer_stays(tmp_path: Path) -> None:
    """The source was faster than the reading."""
    shop = Shop((Tile("m"),))
    shop.registry = await written(tmp_path, shop.clock, sealed=True)
    view = shop.view = LiveView(shop.registry, (Tile("m"),), shop.clock)
    shop.say("m", "a", 3.0, unit="mm")
    await seed(view, tmp_path / "buffer.sqlite", tmp_path / "history")
    assert shown(view)["a"] == (3.0, 0)


async def test_a_machine_that_is_no_longer_configured_has_no_tile(tmp_path: Path) -> None:
    """What is stored of it stays for its time; on the page it would be there for months, without a source."""
    shop = Shop((Tile("n"),))
    shop.registry = await written(tmp_path, shop.clock, sealed=True)
    view = shop.view = LiveView(shop.registry, (Tile("n"),), shop.clock)
    await seed(view, tmp_path / "buffer.sqlite", tmp_path / "history")
    assert [machine["id"] for machine in view.overview(shop.health, None)["machines"]] == ["n"]
    shop.say("m", "a", 3.0, unit="mm")
    assert shown(view) == {"a": (3.0, 0)}, "unless it speaks"


async def test_a_buffer_that_was_lost_and_files_that_are_damaged(tmp_path: Path) -> None:
    """The page begins empty, and nothing else happens."""
    registry = await written(tmp_path, FakeClock(), sealed=True)
    before = registry.version
    for file in (tmp_path / "history").rglob("*.parquet"):
        file.write_bytes(b"PAR1 and nothing else")
    view = LiveView(registry, (Tile("m"),), FakeClock())
    await seed(view, tmp_path / "absent.sqlite", tmp_path / "history")
    assert shown(view) == {}
    await seed(view, tmp_path / "buffer.sqlite", tmp_path / "history")
    assert shown(view)["a"] == (2.0, 3600)
    assert registry.version == before
