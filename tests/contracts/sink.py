"""The laws of a sink (adapters/base.py), one test per law, for every sink that can be configured.

The oracle is what the peer holds, read back by its own means (`stored`), never what the adapter says of itself.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from adapters.base import Sink
from adapters.errors import Misconfigured, NotConnected, Rejected, Throttled
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.quality import BAD_NO_DATA, UNCERTAIN
from pipelines.registry import Registry
from tests.contracts.rig import LEAVING, Alive, inapplicable

START = 1_700_000_000_000_000_000
"""A time that every database accepts: 2023-11-14T22:13:20Z, in ns."""

SAMPLES: Mapping[Kind, Sequence[Any]] = {
    Kind.NUMBER: [0.1, -0.0, 1e300, 5e-324, 123456789.987654321, 3.0],
    Kind.INTEGER: [0, -1, 2**63 - 1, -(2**63) + 1, 42, 7],
    Kind.UNSIGNED: [0, 1, 2**32, 2**63 - 1, 42, 7],
    Kind.FLAG: [True, False, True, True, False, False],
    Kind.TEXT: ["", "running", 'a "quoted" \\ text\\', "two\nlines, and = signs", "Grüße €", "#1"],
    Kind.WAVEFORM: [np.array([0.5, -1.25, 1e-9]) * step for step in range(1, 7)],
}


class Place(NamedTuple):
    """Where a value belongs. at: ns."""

    machine: str
    signal: str
    at: int


class Poisoned(NamedTuple):
    """Batches of which some values will never be taken: `good` must be stored, `bad` values must be refused."""

    batches: Sequence[Batch]
    good: Mapping[Place, Any]
    bad: int


class SinkRig(ABC):
    """A peer for one sink. kinds: what it can hold exactly. step: ns between two times that it can tell apart."""

    registry: Registry
    kinds: Sequence[Kind] = tuple(Kind)
    step: int = 1

    @abstractmethod
    def sink(self) -> Sink:
        """A fresh object with the same identity: what a restart makes."""

    @abstractmethod
    def unreachable(self) -> Sink:
        """The same kind of sink, configured for a place where nobody answers."""

    @abstractmethod
    async def stored(self) -> Mapping[Place, Any]:
        """Every value that the peer holds, read by the peer's own means."""

    @abstractmethod
    async def stop(self) -> None: ...

    async def down(self) -> bool:
        """Take the peer away; False: this rig cannot."""
        return False

    async def up(self) -> None:  # noqa: B027 - nothing to bring back where nothing can be taken away
        """Bring it back with what it held."""

    async def lose_answer(self) -> bool:
        """The next write is stored, but its answer is lost. False: this rig cannot."""
        return False

    async def throttle(self) -> bool:
        """The next write is answered with a request for patience. False: this rig cannot."""
        return False

    async def poison(self) -> Poisoned | None:
        """Values of which some will be refused for ever, mixed with good ones. None: this peer takes everything."""
        return None


def points(registry: Registry, kinds: Iterable[Kind], machines: int = 2) -> dict[Kind, list[int]]:
    """One point per machine and kind, interned."""
    tags = {"enterprise": "demo", "site": "plant 1", "area": "lab"}
    return {
        kind: [
            registry.intern(Point(f"mill-{m}", f"{kind.name.lower()}_{m}", kind, "", tags))
            for m in range(machines)
        ]
        for kind in kinds
    }


def batches_of(rig: SinkRig, start: int = START) -> list[Batch]:
    """All samples of all kinds that the rig can hold, on two machines that share times."""
    batches = []
    for kind, ids in points(rig.registry, rig.kinds).items():
        samples = SAMPLES[kind]
        rows = [(ids[i % 2], start + i // 2 * rig.step, value) for i, value in enumerate(samples)]
        batches.append(
            batch_of(kind, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], received=start)
        )
    return batches


def contents(registry: Registry, batches: Iterable[Batch]) -> dict[Place, Any]:
    """What a peer must hold: the model of every test here."""
    return {
        Place(registry[point].machine, registry[point].name, at): value
        for batch in batches
        for point, at, value in zip(
            batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True
        )
    }


def same(left: Mapping[Place, Any], right: Mapping[Place, Any]) -> bool:
    """Equal places with equal values of equal types; -0.0 is not 0.0."""
    return left.keys() == right.keys() and all(repr(left[place]) == repr(right[place]) for place in left)


def difference(left: Mapping[Place, Any], right: Mapping[Place, Any]) -> list[tuple[Place, Any, Any]]:
    places = sorted(left.keys() | right.keys())
    pairs = [(place, left.get(place, "missing"), right.get(place, "missing")) for place in places]
    return [pair for pair in pairs if repr(pair[1]) != repr(pair[2])][:10]


async def write_once(sink: Sink, batches: Sequence[Batch]) -> None:
    async with sink.session() as write:
        await write(batches)


class SinkContract:
    """Subclass it and give it a fixture `rig`. CANNOT: laws that this peer cannot break, with the reason."""

    CANNOT: ClassVar[Mapping[str, str]] = {}

    async def test_law_1_returning_means_stored(self, rig: SinkRig) -> None:
        batches = batches_of(rig)
        await write_once(rig.sink(), batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []

    async def test_law_1_write_after_write_in_one_session(self, rig: SinkRig) -> None:
        writes = [batches_of(rig, START + n * 1000 * rig.step) for n in range(5)]
        async with rig.sink().session() as write:
            for batches in writes:
                await write(batches)
        everything = [batch for batches in writes for batch in batches]
        assert difference(contents(rig.registry, everything), await rig.stored()) == []

    async def test_an_unreachable_peer_is_said_by_its_name(self, rig: SinkRig) -> None:
        with pytest.raises((NotConnected, Misconfigured)) as caught:
            await write_once(rig.unreachable(), batches_of(rig))
        assert str(caught.value)

    async def test_law_2_not_connected_then_the_same_again(self, rig: SinkRig) -> None:
        if not await rig.down():
            inapplicable("this rig cannot take its peer away")
        batches = batches_of(rig)
        with pytest.raises(NotConnected):
            await write_once(rig.sink(), batches)
        await rig.up()
        await write_once(rig.sink(), batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []

    async def test_law_2_a_lost_answer_does_no_harm(self, rig: SinkRig) -> None:
        batches = batches_of(rig)
        if not await rig.lose_answer():
            inapplicable("this rig cannot lose an answer")
        with pytest.raises(NotConnected):
            await write_once(rig.sink(), batches)
        await write_once(rig.sink(), batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []

    async def test_law_2_throttled_says_how_long(self, rig: SinkRig) -> None:
        batches = batches_of(rig)
        if not await rig.throttle():
            inapplicable("this rig cannot ask for patience")
        with pytest.raises(Throttled) as caught:
            await write_once(rig.sink(), batches)
        assert 0 <= caught.value.wait <= 300
        await write_once(rig.sink(), batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []

    async def test_law_3_rejected_values_never_all_others_stored(self, rig: SinkRig) -> None:
        poisoned = await rig.poison()
        if poisoned is None:
            inapplicable("this peer takes everything")
        with pytest.raises(Rejected) as caught:
            await write_once(rig.sink(), poisoned.batches)
        assert sum(refusal.values for refusal in caught.value.refused) == poisoned.bad
        assert all(refusal.where and refusal.reason and refusal.raw for refusal in caught.value.refused)
        assert difference(poisoned.good, await rig.stored()) == []

    async def test_law_4_writing_twice_equals_writing_once(self, rig: SinkRig) -> None:
        batches = batches_of(rig)
        await write_once(rig.sink(), batches)
        once = await rig.stored()
        await write_once(rig.sink(), batches)
        async with rig.sink().session() as write:
            await write(batches[:1])
            await write(batches)
        assert difference(once, await rig.stored()) == []

    async def test_law_5_leaving_releases_everything(self, rig: SinkRig) -> None:
        alive = Alive()
        await write_once(rig.sink(), batches_of(rig))
        await alive.nothing_left(LEAVING)

    async def test_law_5_also_when_cancelled(self, rig: SinkRig) -> None:
        alive = Alive()
        writing = asyncio.Event()

        async def endless() -> None:
            async with rig.sink().session() as write:
                while True:
                    await write(batches_of(rig))
                    writing.set()
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(endless())
            await writing.wait()
            task.cancel()
        await alive.nothing_left(LEAVING)

    async def test_a_row_that_is_not_good_is_never_a_value(self, rig: SinkRig) -> None:
        kind = rig.kinds[0]
        (point, *_) = points(rig.registry, [kind])[kind]
        value = SAMPLES[kind][0]
        rows = batch_of(
            kind,
            [point] * 3,
            [START, START + rig.step, START + 2 * rig.step],
            [value] * 3,
            received=START,
            quality=[0, UNCERTAIN, BAD_NO_DATA],
            flags=[0, 0, Flag.NO_VALUE],
        )
        await write_once(rig.sink(), [rows])
        good = contents(rig.registry, [rows.take(np.array([0]))])
        assert difference(good, await rig.stored()) == []

    async def test_probe_tells_what_it_found(self, rig: SinkRig) -> None:
        before = await rig.stored()
        findings = await rig.sink().probe()
        assert findings
        assert [finding for finding in findings if finding.level == "error"] == []
        assert difference(before, await rig.stored()) == [], "a probe changes nothing"
        assert [finding for finding in await rig.unreachable().probe() if finding.level == "error"]
