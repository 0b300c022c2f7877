"""The laws of a journal (collector/journal/base.py), one test each, run over every implementation.

The oracle is what the test itself handed in and what it saw come back: lists of numbers, kept outside the journal.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import numpy as np
import pytest

from adapters.base import Delivery, Position
from adapters.pressing import Pressing
from collector.journal.base import Digest, Journal, Range, SinkAccount, Slice, Standing
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.identity import Identity, Learned
from pipelines.stage import Gap, Reason, Refined, Refusal, Remark
from tests.fakes import FakeClock, eventually

START = 1_700_000_000_000_000_000
NOTHING = Refined((), (), {}, {}, Learned())


class JournalRig(ABC):
    """clock: the one that the journal is opened with. survives: whether what was appended is there after a reopening."""

    clock: FakeClock
    survives: bool

    @abstractmethod
    def open(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        """The journal, without a commit window. A second call after leaving reopens it."""

    @abstractmethod
    def open_small(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        """A journal that is full after at most 40,000 values."""

    @abstractmethod
    def open_dropping(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        """The same, which drops its oldest when it is full."""


def point(journal: Journal, machine: str = "m1", name: str = "load") -> int:
    return journal.registry.intern(Point(machine, name, Kind.NUMBER, "%"))


def numbers(
    journal: Journal, values: Iterable[float], *, at: int | None = None, machine: str = "m1"
) -> Batch:
    """Values of one point; each value says its own time, so that distinct numbers are distinct samples."""
    listed = list(values)
    times = [START + round(value * 1000) for value in listed] if at is None else [at] * len(listed)
    ids = [point(journal, machine)] * len(listed)
    return batch_of(
        Kind.NUMBER, ids, times, listed, received=START, registry_version=journal.registry.version
    )


def refine(batches: Sequence[Batch], identity: Identity) -> Refined:
    """Identity and nothing else."""
    kept, parts, dropped, shifted = [], [], 0, 0
    for batch in batches:
        assigned = identity.assign(batch)
        moved = assigned.at - batch.at if assigned.shifted.any() else None
        dropped += int((~assigned.keep).sum())
        shifted += int((assigned.shifted & assigned.keep).sum())
        if assigned.keep.any():
            kept.append(replace(batch, at=assigned.at, moved=moved).take(assigned.keep))
            parts.append(assigned.learned)
    counts = {Reason.DUPLICATE: dropped} if dropped else {}
    remarks = {Remark.SHIFTED: shifted} if shifted else {}
    return Refined(kept, (), counts, remarks, Learned.merge(parts))


async def append(
    journal: Journal,
    values: Iterable[float] = (),
    *,
    source: str = "s1",
    at: int | None = None,
    refused: Sequence[Refusal] = (),
    gaps: Sequence[Gap] = (),
    checkpoint: bytes | None = None,
    pressing: Pressing | None = None,
    own: bool = False,
) -> Position:
    """What intake does with one delivery."""
    listed = list(values)
    batches = [numbers(journal, listed, at=at, machine=source)] if listed else []
    decoded = len(listed) + sum(r.values for r in refused)
    delivery = Delivery(batches, decoded, refused, gaps, checkpoint, pressing=pressing)
    refined = refine(batches, journal.identity(source))
    return await journal.append(source, delivery, refined, own=own)


async def fed(journal: Journal, values: Sequence[float]) -> None:
    """400 at a time, from the source `s1`."""
    for n in range(0, len(values), 400):
        await append(journal, values[n : n + 400])


async def taken_in(journal: Journal) -> int:
    """Values of `s1`."""
    return (await journal.ledger()).sources["s1"].journaled


async def turns() -> None:
    """So many of the event loop that everything has happened that needs no thread."""
    for _ in range(30):
        await asyncio.sleep(0)


async def presses(journal: Journal) -> None:
    """Returns when the journal is full, and whoever is to wait does."""
    await asyncio.wait_for(journal.pressed.wait(), 300)


def values_of(batches: Iterable[Batch]) -> list[float]:
    return [float(value) for batch in batches for value in batch.values]


def following(journal: Journal, follower: str, *, values: int = 10_000) -> AsyncGenerator[Slice, None]:
    return cast("AsyncGenerator[Slice, None]", journal.follow(follower, values=values))


async def take(journal: Journal, follower: str, last: Position, *, values: int = 10_000) -> list[Slice]:
    """What `follow` yields up to a position, nothing committed."""
    seen: list[Slice] = []
    async with aclosing(following(journal, follower, values=values)) as slices:
        async for one in slices:
            seen.append(one)
            if one.position >= last:
                break
    return seen


async def next_range(journal: Journal, follower: str, *, values: int, seconds: float) -> Range:
    spans = cast("AsyncGenerator[Range, None]", journal.ranges(follower, values=values, seconds=seconds))
    async with aclosing(spans):
        return await anext(spans)


def seen_by(slices: Iterable[Slice]) -> list[float]:
    return [value for one in slices for value in values_of(one.batches)]


def noise(count: int) -> list[float]:
    """Numbers that no codec makes small, so that they fill a buffer."""
    listed: list[float] = (np.random.default_rng(1).random(count) * 1e12).tolist()
    return listed


def refusal(values: int = 1, raw: bytes = b"?") -> Refusal:
    return Refusal("topic/a", "not a number; send numbers", raw, START, values)


class JournalLaws:
    """Subclass with a fixture `rig`."""

    async def test_law_1_positions_are_contiguous_and_rise_by_one(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            assert [await append(journal, [n]) for n in range(5)] == [1, 2, 3, 4, 5]

    async def test_law_1_an_append_of_nothing_moves_only_the_checkpoint(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            assert await append(journal) == 0
            await append(journal, [1.0], checkpoint=b"one")
            assert await append(journal, checkpoint=b"two") == 1
            assert journal.checkpoint("s1") == b"two"
            assert await append(journal) == 1
            assert journal.checkpoint("s1") == b"two"
            assert journal.checkpoint("other") is None

    async def test_law_1_refusals_and_gaps_are_kept_with_the_append(self, rig: JournalRig) -> None:
        gap = Gap(START, START + 5, "connection_lost", "cable", ("m1",), 3)
        async with rig.open("sink") as journal:
            await append(journal, [1.0], refused=[refusal(2, b"abc")], gaps=[gap])
            assert [tuple(g) for g in await journal.gaps()] == [("s1", 1, gap)]
            (kept,) = await journal.quarantined()
            assert (kept.origin, kept.refusal) == ("s1", refusal(2, b"abc"))

    async def test_law_1_the_newest_gaps_or_all_of_them(self, rig: JournalRig) -> None:
        gaps = [Gap(START + n, START + n + 1, "connection_lost") for n in range(1200)]
        async with rig.open("sink") as journal:
            await append(journal, gaps=gaps)
            assert [one.gap for one in await journal.gaps()] == gaps[-1000:]
            assert [one.gap for one in await journal.gaps(2)] == gaps[-2:]
            assert [one.gap for one in await journal.gaps(None)] == gaps

    async def test_law_1_appends_of_several_sources_all_arrive(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal, asyncio.TaskGroup() as tasks:
            jobs = [
                tasks.create_task(append(journal, [n * 10.0, n * 10.0 + 1], source=f"s{n}")) for n in range(8)
            ]
            assert sorted([await job for job in jobs]) == list(range(1, 9))
            seen = seen_by(await take(journal, "sink", 8))
            assert sorted(seen) == sorted(n * 10.0 + i for n in range(8) for i in (0, 1))

    async def test_law_2_every_value_once_and_in_order(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            for n in range(0, 100, 10):
                await append(journal, range(n, n + 10))
            assert seen_by(await take(journal, "sink", 10, values=25)) == list(map(float, range(100)))

    async def test_law_2_positions_are_merged_up_to_the_number_of_values(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            for n in range(0, 60, 10):
                await append(journal, range(n, n + 10))
            slices = await take(journal, "sink", 6, values=20)
            assert [one.position for one in slices] == [2, 4, 6]
            assert [one.position for one in await take(journal, "sink", 6)] == [6]

    async def test_law_2_waits_at_the_tail_and_wakes(self, rig: JournalRig) -> None:
        async with (
            rig.open("sink") as journal,
            aclosing(following(journal, "sink")) as slices,
            asyncio.TaskGroup() as tasks,
        ):
            waiting = tasks.create_task(anext(slices))
            await journal.ledger()  # behind its own question
            await turns()
            assert not waiting.done()
            await append(journal, [1.0])
            assert seen_by([await waiting]) == [1.0]

    async def test_law_2_what_was_not_committed_comes_again(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            for n in range(6):
                await append(journal, [n])
            first = await take(journal, "sink", 6, values=1)
            await journal.commit("sink", 2)
            again = await take(journal, "sink", 6, values=1)
            assert [one.position for one in again] == [3, 4, 5, 6]
            assert seen_by(again) == seen_by(first)[2:]

    async def test_law_2_kinds_flags_and_times_come_back_as_they_were(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            ids = [journal.registry.intern(Point("m1", f"p{kind}", kind)) for kind in Kind]
            cells: dict[Kind, Sequence[Any]] = {
                Kind.NUMBER: [0.1, -0.0],
                Kind.INTEGER: [-(2**63), 2**63 - 1],
                Kind.UNSIGNED: [0, 2**64 - 1],
                Kind.FLAG: [True, False],
                Kind.TEXT: ["", "é\n\0"],
                Kind.WAVEFORM: [[], [1.0, 2.5]],
            }
            sent = [
                batch_of(
                    kind,
                    [ids[i]] * 2,
                    [START + i, START - i - 1],
                    cells[kind],
                    received=START,
                    flags=[4, 8],
                    quality=[0, 0x80000000],
                    server_at=[START, 0],
                )
                for i, kind in enumerate(Kind)
            ]
            delivery = Delivery(sent, 12)
            await journal.append("s1", delivery, refine(sent, journal.identity("s1")))
            (got,) = await take(journal, "sink", 1)
            assert [repr(_cells(batch)) for batch in got.batches] == [repr(_cells(batch)) for batch in sent]

    async def test_law_3_a_commit_moves_cursor_counts_and_quarantine_together(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            await append(journal, range(10))
            await append(journal, range(10, 15))
            await journal.commit("sink", 1, [refusal(3)])
            account = (await journal.ledger()).sinks["sink"]
            assert account == SinkAccount(journaled=15, stored=7, quarantined=3, pending=5, cursor=1)
            (kept,) = await journal.quarantined()
            assert (kept.origin, kept.refusal.values) == ("sink", 3)

    async def test_law_3_a_cursor_never_goes_back_nor_beyond_the_tail(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            await append(journal, [1.0])
            await append(journal, [2.0])
            await journal.commit("sink", 2)
            await journal.commit("sink", 1, [refusal()])
            assert (await journal.ledger()).sinks["sink"] == SinkAccount(2, 2, 0, 0, 2)
            with pytest.raises(ValueError, match="behind the tail"):
                await journal.commit("sink", 3)

    async def test_law_3_strangers_are_told_who_is_known(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            with pytest.raises(ValueError, match="sink"):
                await journal.commit("nobody", 0)
            with pytest.raises(ValueError, match="sink"):
                await anext(following(journal, "nobody"))

    async def test_law_4_followers_do_not_see_each_other(self, rig: JournalRig) -> None:
        async with rig.open("a", "b") as journal:
            for n in range(700):
                await append(journal, [n])
                await journal.commit("a", n + 1)
            assert (await journal.ledger()).sinks["a"].pending == 0
            assert (await journal.ledger()).sinks["b"].pending == 700
            assert seen_by(await take(journal, "b", 700)) == list(map(float, range(700)))

    async def test_law_4_exactly_those_follow_that_are_enrolled(self, rig: JournalRig) -> None:
        """Who stays keeps its place, who is new begins at the oldest held, who goes leaves a gap for what it had not read."""
        async with rig.open("stays", "goes") as journal:
            for n in range(4):
                await append(journal, [n])
            await journal.commit("stays", 3)
            await journal.commit("goes", 1)
            await journal.enrol(["stays", "new"])
            assert seen_by(await take(journal, "stays", 4)) == [3.0]
            assert seen_by(await take(journal, "new", 4))[-3:] == [1.0, 2.0, 3.0]
            with pytest.raises(ValueError, match="goes"):
                await journal.commit("goes", 2)
            (told,) = await journal.gaps()
            assert (told.source, told.gap.reason, told.gap.count) == ("journal", "sink_released", 3)
            ledger = await journal.ledger()
            assert set(ledger.sinks) == {"stays", "new"}
            assert ledger.unaccounted == 0

    async def test_law_4_who_had_read_all_goes_without_a_gap(self, rig: JournalRig) -> None:
        async with rig.open("stays", "goes") as journal:
            await append(journal, [1.0])
            await journal.commit("goes", 1)
            await journal.enrol(["stays"])
            assert await journal.gaps() == []
            await journal.enrol(["stays", "goes"])
            assert seen_by(await take(journal, "goes", 1)) == [1.0]
            assert (await journal.ledger()).unaccounted == 0

    async def test_law_4_who_is_not_there_after_a_reopening_has_let_go(self, rig: JournalRig) -> None:
        if not rig.survives:
            return
        async with rig.open("stays", "goes") as journal:
            await append(journal, [1.0, 2.0])
        async with rig.open("stays") as journal:
            (told,) = await journal.gaps()
            assert (told.gap.reason, told.gap.count) == ("sink_released", 2)

    async def test_law_4_a_full_journal_drops_its_oldest_and_says_exactly_what(self, rig: JournalRig) -> None:
        """Every value is still there or in exactly one gap of its source, which tells its times."""
        numbers_, sent = noise(80_000), dict[str, list[float]](s1=[], s2=[])
        async with rig.open_dropping("slow") as journal:
            for n in range(0, 80_000, 400):
                source = ("s1", "s2")[n // 400 % 2]
                await append(journal, numbers_[n : n + 400], source=source)
                sent[source] += numbers_[n : n + 400]
            seen = set(seen_by(await take(journal, "slow", journal.tail.position)))
            told = await journal.gaps()
            for source, values in sent.items():
                lost = [value for value in values if value not in seen]
                gaps = [one.gap for one in told if one.source == source]
                assert lost
                assert {(gap.reason, gap.machines) for gap in gaps} == {("buffer_full", (source,))}
                assert sum(gap.count or 0 for gap in gaps) == len(lost)
                stamps = [START + round(value * 1000) for value in lost]
                assert min(gap.begins for gap in gaps) == min(stamps)
                assert max(gap.ends for gap in gaps) == max(stamps)
            account = (await journal.ledger()).sinks["slow"]
            assert (account.journaled, account.stored) == (80_000, 0)
            assert account.dropped == sum(one.gap.count or 0 for one in told)
            assert (await journal.ledger()).unaccounted == 0

    async def test_law_4_a_full_journal_drops_on_although_its_identity_memory_grows(
        self, rig: JournalRig
    ) -> None:
        """All values of two sources bear one time: the snapshots of who took which key are what grows."""
        sent = noise(40_000)
        async with rig.open_dropping("slow") as journal:
            for n in range(0, 40_000, 400):
                await append(journal, sent[n : n + 400], source=("s1", "s2")[n // 400 % 2], at=START)
            ledger = await journal.ledger()
            (account,) = ledger.sinks.values()
            assert (account.journaled, ledger.unaccounted) == (40_000, 0)
            assert account.dropped == sum(one.gap.count or 0 for one in await journal.gaps()) > 0

    async def test_law_4_what_a_derivation_needs_is_not_dropped(self, rig: JournalRig) -> None:
        """Then the sources wait instead."""
        sent = noise(60_000)
        async with rig.open_dropping("sum") as journal, asyncio.TaskGroup() as tasks:
            await append(journal, sent[:400])
            await journal.append_derived("sum", 1, Delivery((), 0), NOTHING, b"memory")
            feeding = tasks.create_task(fed(journal, sent[400:]))
            await presses(journal)
            assert await taken_in(journal) < 60_000
            assert await journal.gaps() == []
            feeding.cancel()

    async def test_law_5_the_ledger_balances(self, rig: JournalRig) -> None:
        async with rig.open("a", "b") as journal:
            await append(journal, [1.0, 1.0, 2.0], refused=[refusal(4)])  # one duplicate
            await append(journal, [1.0, 3.0], source="s2")
            await append(journal, [2.0])  # a duplicate and nothing else
            await journal.commit("a", 1, [refusal(1)])
            ledger = await journal.ledger()
            first = ledger.sources["s1"]
            assert (first.decoded, first.journaled, first.refused) == (8, 2, 4)
            assert first.filtered == {Reason.DUPLICATE: 2}
            assert ledger.sinks["a"] == SinkAccount(4, 1, 1, 2, 1)
            assert ledger.sinks["b"] == SinkAccount(4, 0, 0, 4, 0)
            assert (ledger.unaccounted, ledger.tail) == (0, 2)

    async def test_law_5_a_value_that_a_source_loses_is_unaccounted(self, rig: JournalRig) -> None:
        async with rig.open("a") as journal:
            batches = [numbers(journal, [1.0, 2.0])]
            await journal.append("s1", Delivery(batches, 3), refine(batches, Identity()))
            await journal.append("s2", Delivery((), 0, (refusal(1),)), NOTHING)
            ledger = await journal.ledger()
            assert (ledger.sources["s1"].unaccounted, ledger.sources["s2"].unaccounted) == (1, -1)
            assert ledger.unaccounted == 2

    async def test_law_5_remarks_are_counted(self, rig: JournalRig) -> None:
        async with rig.open("a") as journal:
            await append(journal, [1.0, 2.0], at=START)
            account = (await journal.ledger()).sources["s1"]
            assert (account.remarks, account.journaled) == ({Remark.SHIFTED: 1}, 2)

    async def test_law_6_identity_is_the_fold_of_what_was_journaled(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            for n in range(20):
                await append(journal, [n % 7, n % 5 + 0.5], at=START + n // 2)
            slices = await take(journal, "sink", (await journal.ledger()).tail)
            fold = Identity()
            fold.replay([batch for one in slices for batch in one.batches])
            assert journal.identity("s1") == fold
            assert journal.identity("s1") != Identity()
            assert journal.identity("s2") == Identity()

    async def test_law_7_all_of_it_is_there_after_a_reopening(self, rig: JournalRig) -> None:
        gap = Gap(START, START, "collector_down")
        async with rig.open("a", "b") as journal:
            for n in range(50):
                await append(journal, [n, n + 0.5], source=f"s{n % 3}", checkpoint=b"%d" % n)
            await append(journal, refused=[refusal()], gaps=[gap])
            await journal.commit("a", 20, [refusal(2)])
            ledger, memory = await journal.ledger(), journal.identity("s1").snapshot()
        if not rig.survives:
            return
        async with rig.open("a", "b") as journal:
            after = await journal.ledger()
            assert (after.sources, after.sinks, after.tail) == (ledger.sources, ledger.sinks, ledger.tail)
            assert journal.identity("s1").snapshot() == memory
            assert [journal.checkpoint(f"s{i}") for i in range(3)] == [b"48", b"49", b"47"]
            assert [stored.gap for stored in await journal.gaps()] == [gap]
            assert [kept.origin for kept in await journal.quarantined()] == ["s1", "a"]
            assert seen_by(await take(journal, "b", 50)) == [n + i for n in range(50) for i in (0, 0.5)]
            assert [p.machine for p in journal.registry.since(0)] == ["s0", "s1", "s2"]
            assert await append(journal, [99.0]) == 51

    async def test_ranges_close_at_the_number_of_values(self, rig: JournalRig) -> None:
        async with rig.open("archive") as journal:
            for n in range(0, 50, 10):
                await append(journal, range(n, n + 10))
            span = await next_range(journal, "archive", values=25, seconds=1e9)
            assert (span.first, span.last) == (1, 3)
            assert [entry.position for entry in span.entries] == [1, 2, 3]
            assert values_of(entry.batch for entry in span.entries) == list(map(float, range(30)))

    async def test_ranges_close_at_the_age_of_their_oldest_entry(self, rig: JournalRig) -> None:
        async with rig.open("archive") as journal, asyncio.TaskGroup() as tasks:
            await append(journal, [1.0])
            waiting = tasks.create_task(next_range(journal, "archive", values=100, seconds=60.0))
            await eventually(lambda: rig.clock.sleeping > 0)
            rig.clock.advance(59.0)
            await append(journal, [2.0])
            await eventually(lambda: rig.clock.sleeping > 0)
            assert not waiting.done()
            rig.clock.advance(1.1)
            span = await waiting
            assert (span.first, span.last) == (1, 2)

    async def test_ranges_close_although_the_wall_clock_was_set_back(self, rig: JournalRig) -> None:
        async with rig.open("archive") as journal, asyncio.TaskGroup() as tasks:
            await append(journal, [1.0])
            rig.clock.advance(0.0, wall=-1e6)
            waiting = tasks.create_task(next_range(journal, "archive", values=100, seconds=60.0))
            await eventually(lambda: rig.clock.sleeping > 0)
            rig.clock.advance(60.1)
            assert (await waiting).last == 1

    async def test_ranges_come_again_unchanged_until_committed(self, rig: JournalRig) -> None:
        async with rig.open("archive", "b") as journal:
            for n in range(6):
                await append(journal, [n])
            span = await next_range(journal, "archive", values=3, seconds=1e9)
            again = await next_range(journal, "archive", values=5, seconds=0.0)
            assert (span.first, span.last) == (again.first, again.last) == (1, 3)
            await journal.commit("archive", 3)
            rest = await next_range(journal, "archive", values=100, seconds=0.0)
            assert (rest.first, rest.last) == (4, 6)
        if rig.survives:
            async with rig.open("archive", "b") as journal:
                await append(journal, [7.0])
                again = await next_range(journal, "archive", values=100, seconds=0.0)
                assert (again.first, again.last) == (4, 6)

    async def test_watch_shows_what_comes_and_holds_nothing(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            await append(journal, [1.0])
            async with journal.watch() as slices:
                await append(journal, [2.0])
                assert seen_by([await anext(slices)]) == [2.0]
                for n in range(1000):
                    await append(journal, range(n * 200, n * 200 + 200))
                missed = await anext(slices)  # skipped ahead: 200,000 values are not kept for a view
                assert isinstance(missed, Digest)
                assert missed.position > 500
                assert values_of(missed.batches) == [
                    (missed.position - 2) * 200 - 1
                ]  # the newest of the one point
                first = await anext(slices)
                assert not isinstance(first, Digest)
                assert first.position == missed.position + 1
                assert values_of(first.batches)[0] == (first.position - 3) * 200

    async def test_a_slow_view_misses_the_newest_row_of_no_point(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            async with journal.watch() as slices:
                for n in range(40):  # points that speak once
                    await append(journal, [n], source=f"quiet-{n}")
                for n in range(600):
                    await append(journal, range(n * 200, n * 200 + 200), source="loud")
                missed = await anext(slices)
            assert isinstance(missed, Digest)
            seen = {
                journal.registry[int(point)].machine: float(value)
                for batch in missed.batches
                for point, value in zip(batch.points, batch.values, strict=True)
            }
            assert {f"quiet-{n}": float(n) for n in range(40)}.items() <= seen.items()
            assert len(seen) == 41

    async def test_a_full_journal_waits_and_loses_nothing(self, rig: JournalRig) -> None:
        async with rig.open_small("slow") as journal, asyncio.TaskGroup() as tasks:
            sent = noise(80_000)
            feeding = tasks.create_task(fed(journal, sent))
            await presses(journal)
            assert not feeding.done()
            stopped = await taken_in(journal)
            seen: list[float] = []
            async with aclosing(following(journal, "slow", values=4000)) as slices:
                async for one in slices:
                    seen += values_of(one.batches)
                    await journal.commit("slow", one.position)
                    if len(seen) >= 80_000:
                        break
            await feeding
            assert 0 < stopped <= 40_000
            assert seen == sent
            assert (await journal.ledger()).unaccounted == 0

    async def test_a_full_journal_without_followers_keeps_the_newest(self, rig: JournalRig) -> None:
        async with rig.open_small() as journal:
            sent = noise(80_000)
            for n in range(0, 80_000, 400):
                await append(journal, sent[n : n + 400])
            assert (await journal.ledger()).sources["s1"].journaled == 80_000

    async def test_a_cancelled_append_is_whole_or_not_at_all(self, rig: JournalRig) -> None:
        async with rig.open("sink") as journal:
            for n in range(30):
                async with asyncio.TaskGroup() as tasks:
                    job = tasks.create_task(append(journal, [n]))
                    for _ in range(n % 6):
                        await asyncio.sleep(0)
                    job.cancel()
                await append(journal, [n])  # redelivery
            tail = (await journal.ledger()).tail
            assert seen_by(await take(journal, "sink", tail)) == list(map(float, range(30)))
            assert (await journal.ledger()).unaccounted == 0

    async def test_law_8_output_account_cursor_and_snapshot_are_stored_together(
        self, rig: JournalRig
    ) -> None:
        async with rig.open("sink", "derived.sum") as journal:
            await append(journal, [1.0])
            await append(journal, [2.0])
            assert await journal.standing("derived.sum") == Standing(0, 0, None)
            assert (
                await derived(journal, 2, [100.0], snapshot=b"two") == 3
            )  # past its own output: nothing in between
            assert await journal.standing("derived.sum") == Standing(3, 3, b"two")
            assert seen_by(await take(journal, "sink", 3)) == [1.0, 2.0, 100.0]
            ledger = await journal.ledger()
            assert (ledger.sources["derived.sum"].decoded, ledger.sources["derived.sum"].journaled) == (1, 1)
            assert (ledger.sinks["derived.sum"].pending, ledger.unaccounted) == (0, 0)
        if rig.survives:
            async with rig.open("sink", "derived.sum") as journal:
                assert await journal.standing("derived.sum") == Standing(3, 3, b"two")
                assert journal.identity("derived.sum").snapshot() == _fold(journal, [100.0], "derived.sum")

    async def test_law_8_nothing_is_derived_twice_from_a_position(self, rig: JournalRig) -> None:
        async with rig.open("sink", "derived.sum") as journal:
            for n in range(3):
                await append(journal, [n])
            assert await derived(journal, 2, [100.0]) == 2  # position 3 lies in between
            assert await derived(journal, 2, [100.0]) == 2
            assert await derived(journal, 1, [100.0]) == 2
            assert await derived(journal, 4, [101.0]) == 5
            assert (await journal.ledger()).tail == 5
            assert seen_by(await take(journal, "sink", 5)) == [0.0, 1.0, 2.0, 100.0, 101.0]
            assert (await journal.ledger()).unaccounted == 0

    async def test_law_8_nothing_derived_moves_only_the_cursor(self, rig: JournalRig) -> None:
        async with rig.open("derived.sum") as journal:
            await append(journal, [1.0])
            assert await derived(journal, 1) == 1
            assert await derived(journal, 1, snapshot=b"later") == 1
            assert await journal.standing("derived.sum") == Standing(1, 1, b"later")
            ledger = await journal.ledger()
            assert ledger.tail == 1
            assert "derived.sum" not in ledger.sources

    async def test_law_8_entries_are_given_with_their_sources(self, rig: JournalRig) -> None:
        async with rig.open("derived.sum") as journal:
            await append(journal, [1.0], source="s1")
            await append(journal, [2.0], source="s2")
            await derived(journal, 1, [100.0])
            span = await journal.behind("derived.sum", 1)
            assert [(e.position, e.source) for e in span.entries] == [(2, "s2"), (3, "derived.sum")]
            span = await journal.behind("derived.sum", 1, last=2)
            assert (span.first, span.last, values_of(e.batch for e in span.entries)) == (2, 2, [2.0])

    async def test_law_8_what_lies_behind_the_last_snapshot_is_held(self, rig: JournalRig) -> None:
        """Many small appends: more than what may lie there before deleting begins."""
        async with rig.open("derived.sum") as journal:
            await append(journal, [0.5])
            await derived(journal, 1, snapshot=b"one")
            await asyncio.gather(*(append(journal, [n]) for n in range(1, 1000)))
            await derived(journal, 1000)
            await append(journal, [1000.0])
            span = await journal.behind("derived.sum", 1, values=1_000_000)
            assert values_of(entry.batch for entry in span.entries) == list(map(float, range(1, 1001)))

    async def test_law_8_the_derivation_that_holds_a_full_journal_is_let_through(
        self, rig: JournalRig
    ) -> None:
        """However much it puts out: nobody else could make room, and each snapshot makes some."""
        async with rig.open_small("derived.sum") as journal, asyncio.TaskGroup() as tasks:
            await append(journal, [0.5])
            at = await derived(journal, 1, snapshot=b"one")
            feeding = tasks.create_task(fed(journal, noise(80_000)))
            await presses(journal)
            assert not feeding.done()
            made = iter(noise(400_000))
            while not feeding.done():
                span = await journal.behind("derived.sum", at)
                at = await derived(journal, span.last, list(islice(made, 4000)), snapshot=b"again")
                await asyncio.sleep(0.001)
            assert (await journal.ledger()).unaccounted == 0

    async def test_a_full_journal_takes_a_word_of_the_collector_itself(self, rig: JournalRig) -> None:
        """It overtakes the source that waits, which is stored as a whole when there is space."""
        async with rig.open_small("slow") as journal, asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(fed(journal, noise(80_000)))
            await presses(journal)
            async with asyncio.timeout(300):
                said = await append(journal, [1.0], source="collector", own=True)
            assert not feeding.done()
            while not feeding.done():
                await journal.commit("slow", journal.tail.position)
                await asyncio.sleep(0.001)
            books = await journal.ledger()
            assert said < books.tail
            assert (books.sources["s1"].journaled, books.sources["collector"].journaled) == (80_000, 1)
            assert books.unaccounted == 0

    async def test_law_8_derived_values_have_a_reserve_and_wait_where_it_ends(self, rig: JournalRig) -> None:
        """A dead sink holds everything: what is derived must not fill the disk. Then it goes on, and nothing is lost."""
        async with rig.open_small("dead", "derived.sum") as journal, asyncio.TaskGroup() as tasks:
            await append(journal, [0.5])
            await derived(journal, 1, snapshot=b"one")
            feeding = tasks.create_task(fed(journal, noise(80_000)))
            await presses(journal)
            full = (await journal.ledger()).tail
            made, given = noise(400 * full), list[float]()
            for position in range(2, full + 1):
                given += (values := made[400 * position - 400 : 400 * position])
                waiting = tasks.create_task(derived(journal, position, values, snapshot=b"more"))
                if not await _goes_through(journal, waiting):
                    break
            ledger = await journal.ledger()
            assert 3 <= position <= 2 + full // 8
            assert ledger.space is None or ledger.space.bytes <= ledger.space.max_bytes
            assert (await journal.standing("derived.sum")).cursor == position - 1
            assert await derived(journal, position - 1, snapshot=b"again") == position - 1  # takes no space
            assert journal.pressed.is_set()
            assert not feeding.done()
            seen = await _drained(journal, "dead", 1 + 200 * 400 + len(given), waiting)
            assert [value for machine, value in seen if machine == "derived.sum"] == given
            await feeding
            assert not journal.pressed.is_set()
            assert (await journal.ledger()).unaccounted == 0


def _fold(journal: Journal, values: Iterable[float], source: str) -> bytes:
    fold = Identity()
    fold.replay([numbers(journal, values, machine=source)])
    return fold.snapshot()


async def derived(
    journal: Journal, position: Position, values: Iterable[float] = (), *, snapshot: bytes | None = None
) -> Position:
    """What the derivation `derived.sum` does with what lies behind its cursor."""
    name, listed = "derived.sum", list(values)
    batches = [numbers(journal, listed, machine=name)] if listed else []
    refined = refine(batches, journal.identity(name))
    return await journal.append_derived(name, position, Delivery(batches, len(listed)), refined, snapshot)


def _cells(batch: Batch) -> list[object]:
    columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags, batch.server_at)
    listed: list[object] = [batch.kind, batch.received]
    for column in columns:
        listed.append(None if column is None else [_plain(cell) for cell in column])
    return listed


def _plain(cell: object) -> object:
    return cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell


async def _goes_through(journal: Journal, appending: asyncio.Task[Position]) -> bool:
    """Whether it is done by the time when something that came behind it, and takes no space, is done."""
    await asyncio.sleep(0)
    await journal.commit("dead", 0)
    await turns()
    return appending.done()


async def _drained(
    journal: Journal, follower: str, count: int, derived_append: asyncio.Task[Position]
) -> list[tuple[str, float]]:
    """So many values with their machines, as a sink takes them; the derivation goes on behind its append."""
    seen: list[tuple[str, float]] = []
    async with asyncio.timeout(300), aclosing(following(journal, follower, values=4000)) as slices:
        while len(seen) < count:
            one = await anext(slices)
            for batch in one.batches:
                machine = journal.registry[int(batch.points[0])].machine
                seen += [(machine, float(value)) for value in batch.values]
            await journal.commit(follower, one.position)
            if derived_append.done():
                await derived(journal, one.position, snapshot=b"on")
    return seen
