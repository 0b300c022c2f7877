"""The laws of a source (adapters/base.py), one test per law, for every source that can be configured.

An adapter's own tests subclass `SourceContract` and give it a rig: a real server or broker (or an imaginary one) that
emits values and loses connections on command. The oracle is conservation, held by the rig and not by the adapter:
emitted = taken + refused; missing none if it redelivers; duplicates only after a fault; order per point kept.

    class TestMqttSource(SourceContract):
        @pytest.fixture
        async def rig(self, tmp_path):
            rig = await MqttRig.start(tmp_path)
            yield rig
            await rig.stop()
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, NamedTuple

import pytest

from adapters.base import Delivery, Source, SourceSession
from adapters.errors import AdapterError, Misconfigured, NotConnected
from pipelines.batch import Flag
from pipelines.registry import Registry
from pipelines.stage import Gap, Refusal
from tests.contracts.rig import LEAVING, Alive, a_while, eventually, inapplicable


class Emitted(NamedTuple):
    """One value as the rig put it on the wire. at: ns, None when the wire carries no time."""

    signal: str
    at: int | None
    value: Any


class Row(NamedTuple):
    """One row as the adapter handed it over."""

    signal: str
    at: int
    value: Any
    quality: int
    flags: int


class SourceRig(ABC):
    """A peer for one source. `registry` is shared by all sources of the rig, as the journal's is between sessions.

    bound: values that may be on their way unacknowledged before the adapter stops reading (law 7); choose settings
    that make it small.
    """

    registry: Registry
    bound: int = 1000
    initial: Collection[tuple[str, Any]] = ()
    """(signal, value) pairs that a subscription brings without an emission, such as OPC UA's initial values."""
    restates: bool = False
    """True if a new session may bring the last value of each point again without a fault (OPC UA, MQTT retained)."""

    held: int = 0
    """Sockets that the rig itself holds while the connection is cut, such as one that keeps a port."""

    @abstractmethod
    def source(self) -> Source:
        """A fresh object with the same identity (name, client id, registry): what a restart makes."""

    @abstractmethod
    def unreachable(self) -> Source:
        """The same kind of source, configured for a place where nobody answers."""

    @abstractmethod
    async def emit(self, n: int) -> Sequence[Emitted]:
        """Put n values on the wire, each unique in the rig's life, over at least two signals if n > 1. Returns them in
        the order of the wire, when they were handed to the server or broker."""

    @abstractmethod
    async def cut(self) -> None:
        """Lose the connection now; nobody answers until `restore`."""

    @abstractmethod
    async def restore(self) -> None:
        """Answer again. What the server remembers of sessions is kept, if it can."""

    @abstractmethod
    async def stop(self) -> None:
        """End the server; called once, by the fixture."""

    async def arrived(self, emitted: Sequence[Emitted]) -> None:
        """What was emitted has reached this process, whether the consumer takes it or not. Better than this: to know."""
        await a_while()

    async def parted(self) -> None:
        """The peer has taken all that a source said before it left, its last acknowledgements too."""
        return

    async def garbage(self) -> int:
        """Send undecodable messages; how many values they stand for in the ledger. 0: the protocol cannot."""
        return 0

    async def blank(self) -> str | None:
        """Emit one row that has no value (bad status, null): its signal. None: the protocol cannot."""
        return None

    async def lose(self) -> bool:
        """Provoke a loss that the adapter can know of (overflow, server restart, stale alias). False: it cannot."""
        return False


class Taker:
    """The consumer that the line would be: records everything and acknowledges if told to."""

    def __init__(self, registry: Registry, *, acking: bool = True) -> None:
        self.acking = acking
        self.deliveries: list[Delivery] = []
        self.rows: list[Row] = []
        self.refused: list[Refusal] = []
        self.gaps: list[Gap] = []
        self.owed: list[Delivery] = []
        self.checkpoint: bytes | None = None
        self.session: SourceSession | None = None
        self.error: AdapterError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._registry = registry

    async def run(self, source: Source, resume: bytes | None = None) -> None:
        """Until the session is lost (then `error` says why) or the task is cancelled."""
        try:
            async with source.session(resume) as session:
                self.session = session
                await self._consume(session)
        except AdapterError as error:
            self.error = error

    async def _consume(self, session: SourceSession) -> None:
        async for delivery in session:
            self._note(delivery)
            await self.gate.wait()
            if self.acking:
                await self._settle(delivery)
            else:
                self.owed.append(delivery)

    def _note(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.refused += delivery.refused
        self.gaps += delivery.gaps
        for batch in delivery.batches:
            columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
            for point, *cells in zip(*(column.tolist() for column in columns), strict=True):
                self.rows.append(Row(self._registry[point].name, *cells))

    async def _settle(self, delivery: Delivery) -> None:
        if delivery.checkpoint is not None:
            self.checkpoint = delivery.checkpoint
        await delivery.ack()

    async def settle(self) -> None:
        """Acknowledge what is owed, in order, and from now on at once."""
        self.acking = True
        owed, self.owed = self.owed, []
        for delivery in owed:
            await self._settle(delivery)

    def has(self, emitted: Sequence[Emitted]) -> bool:
        return not missing(emitted, self.rows)


@asynccontextmanager
async def taking(
    rig: SourceRig, *, acking: bool = True, resume: bytes | None = None, connected: bool = True
) -> AsyncIterator[Taker]:
    """A taker on a fresh source; leaves the session at the end, by cancellation if it is still open."""
    taker = Taker(rig.registry, acking=acking)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(taker.run(rig.source(), resume))
        try:
            if connected:
                await eventually(lambda: taker.session is not None or task.done(), "the source connects")
                assert taker.session is not None, f"the source did not connect: {taker.error}"
            yield taker
        finally:
            task.cancel()


def key(row: Row | Emitted) -> tuple[str, Any]:
    return row.signal, row.value


def missing(emitted: Iterable[Emitted], rows: Iterable[Row]) -> list[Emitted]:
    taken = {key(row) for row in rows}
    return [value for value in emitted if key(value) not in taken]


def duplicated(rows: Iterable[Row], allowed: Collection[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    counts = Counter(key(row) for row in rows)
    return [value for value, count in counts.items() if count > 1 and value not in allowed]


def invented(
    emitted: Iterable[Emitted], rows: Iterable[Row], initial: Collection[tuple[str, Any]] = ()
) -> list[Row]:
    """Rows with a value that nobody emitted. A row without value states quality only and invents nothing."""
    known = {key(value) for value in emitted} | set(initial)
    return [row for row in rows if not row.flags & Flag.NO_VALUE and key(row) not in known]


def by_signal(values: Iterable[Row | Emitted], among: set[tuple[str, Any]]) -> Mapping[str, list[Any]]:
    """The values of each signal in order, first occurrences only."""
    order: dict[str, dict[Any, None]] = defaultdict(dict)
    for value in values:
        if key(value) in among:
            order[value.signal].setdefault(value.value)
    return {signal: list(cells) for signal, cells in order.items()}


def conserved(delivery: Delivery) -> bool:
    rows = sum(len(batch) for batch in delivery.batches)
    return delivery.decoded == rows + sum(refusal.values for refusal in delivery.refused)


class SourceContract:
    """Subclass it and give it a fixture `rig`. CANNOT: laws that this peer cannot break, with the reason."""

    CANNOT: ClassVar[Mapping[str, str]] = {}

    async def test_values_arrive_exactly(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            emitted = await rig.emit(60)
            await eventually(lambda: taker.has(emitted), "all values arrive")
        assert duplicated(taker.rows, rig.initial) == []
        assert invented(emitted, taker.rows, rig.initial) == []
        for value in emitted:
            row = next(row for row in taker.rows if key(row) == key(value))
            assert value.at is None or row.at == value.at, f"{value} came with the time {row.at}"

    async def test_law_1_entering_connects_or_says_why_not(self, rig: SourceRig) -> None:
        with pytest.raises((NotConnected, Misconfigured)) as caught:
            async with rig.unreachable().session(None):
                pytest.fail("entered a session with nobody")
        assert str(caught.value)

    async def test_law_2_a_lost_connection_ends_the_iterator_and_the_next_session_goes_on(
        self, rig: SourceRig
    ) -> None:
        async with taking(rig) as before:
            first = await rig.emit(20)
            await eventually(lambda: before.has(first), "values arrive before the cut")
            await rig.cut()
            await eventually(
                lambda: before.error is not None, "the iterator says that the connection is lost"
            )
        assert isinstance(before.error, NotConnected)
        await rig.restore()
        async with taking(rig, resume=before.checkpoint) as after:
            second = await rig.emit(20)
            await eventually(lambda: after.has(second), "values arrive after the cut")
        assert invented([*first, *second], [*before.rows, *after.rows], rig.initial) == []

    async def test_law_2_what_was_received_comes_before_the_end(self, rig: SourceRig) -> None:
        async with taking(rig) as before:
            first = await rig.emit(1)
            await eventually(lambda: before.has(first), "the first value arrives")
            before.gate.clear()
            held = await rig.emit(20)
            await rig.arrived(held)  # the time of a slow disk; what was emitted is received meanwhile
            await rig.cut()
            before.gate.set()
            await eventually(lambda: before.error is not None, "the iterator ends")
        await rig.restore()
        async with taking(rig, resume=before.checkpoint) as after:
            assert after.session is not None
            if after.session.redelivers:
                await eventually(
                    lambda: not missing(held, [*before.rows, *after.rows]), "nothing is lost by a cut"
                )

    async def test_law_3_leaving_releases_everything(self, rig: SourceRig) -> None:
        alive = Alive()
        async with taking(rig) as taker:
            emitted = await rig.emit(10)
            await eventually(lambda: taker.has(emitted), "values arrive")
        await alive.nothing_left(LEAVING)

    async def test_law_3_also_when_cancelled_while_connecting_or_cut(self, rig: SourceRig) -> None:
        alive = Alive()
        async with taking(rig, connected=False):
            await asyncio.sleep(0)
        await alive.nothing_left(LEAVING)
        async with taking(rig) as taker:
            await rig.cut()
            await eventually(lambda: taker.error is not None, "the loss is noticed")
        await alive.nothing_left(LEAVING, held=rig.held)
        await rig.restore()

    async def test_law_4_order_per_point_is_the_order_of_the_wire(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            emitted = [value for _ in range(5) for value in await rig.emit(30)]
            await eventually(lambda: taker.has(emitted), "all values arrive")
        among = {key(value) for value in emitted}
        assert by_signal(taker.rows, among) == by_signal(emitted, among)

    async def test_law_5_what_was_not_acknowledged_comes_again(self, rig: SourceRig) -> None:
        async with taking(rig) as confirmed:
            done = await rig.emit(20)
            await eventually(lambda: confirmed.has(done), "values arrive")
        assert confirmed.session is not None
        if not confirmed.session.redelivers:
            inapplicable("this source says that it cannot redeliver")
        await rig.parted()  # or these are in flight again, and leave no room for those
        async with taking(rig, acking=False, resume=confirmed.checkpoint) as first:
            owed = await rig.emit(20)
            await eventually(lambda: first.has(owed), "values arrive")
        async with taking(rig, resume=confirmed.checkpoint) as second:
            await eventually(lambda: second.has(owed), "what was not acknowledged comes again")
        among = {key(value) for value in owed}
        assert by_signal(second.rows, among) == by_signal(owed, among)

    async def test_law_5_what_was_acknowledged_does_not_come_again(self, rig: SourceRig) -> None:
        async with taking(rig) as first:
            done = await rig.emit(20)
            await eventually(lambda: first.has(done), "values arrive")
        await rig.parted()
        async with taking(rig, resume=first.checkpoint) as second:
            more = await rig.emit(20)
            await eventually(lambda: second.has(more), "new values arrive")
        last = {
            signal: values[-1] for signal, values in by_signal(done, {key(value) for value in done}).items()
        }
        allowed = {*rig.initial, *(last.items() if rig.restates else ())}
        assert duplicated([*first.rows, *second.rows], allowed) == []

    async def test_law_6_reception_never_waits_for_the_disk(self, rig: SourceRig) -> None:
        async with taking(rig, acking=False) as taker:
            first = await rig.emit(1)
            await eventually(lambda: taker.has(first), "the first value arrives")
            taker.gate.clear()  # from here on the first delivery is "being journaled"
            held = [value for _ in range(min(20, rig.bound - 2)) for value in await rig.emit(1)]
            await rig.arrived(held)  # the time of a slow disk; what was emitted is received meanwhile
            before = len(taker.deliveries)
            taker.gate.set()
            await eventually(lambda: taker.has(held), "values come without any acknowledgement")
        assert len(taker.deliveries) - before <= len(held) / 2, (
            "what arrived meanwhile is handed over together"
        )

    async def test_law_7_what_is_not_acknowledged_is_bounded(self, rig: SourceRig) -> None:
        async with taking(rig, acking=False) as taker:
            emitted = await rig.emit(3 * rig.bound)
            await quiet(taker)
            assert len(taker.rows) <= rig.bound + len(rig.initial)
            assert not taker.has(emitted), "the bound was not reached: choose a smaller one"
            await taker.settle()
            await eventually(lambda: taker.has(emitted), "acknowledging makes room for the rest")

    async def test_law_8_an_undecodable_message_is_a_refusal(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            before = await rig.emit(5)
            values = await rig.garbage()
            if not values:
                inapplicable("this protocol cannot carry an undecodable message")
            after = await rig.emit(5)
            await eventually(lambda: taker.has([*before, *after]), "the stream goes on")
            await eventually(lambda: sum(r.values for r in taker.refused) >= values, "it is refused")
        assert sum(refusal.values for refusal in taker.refused) == values
        assert all(refusal.where and refusal.reason and refusal.at > 0 for refusal in taker.refused)
        assert all(0 < len(refusal.raw) <= 65536 for refusal in taker.refused)
        await rig.parted()
        async with taking(rig, resume=taker.checkpoint) as again:
            more = await rig.emit(5)
            await eventually(lambda: again.has(more), "values arrive")
        assert again.refused == [], "it was acknowledged like any other"

    async def test_law_9_a_loss_that_is_known_is_a_gap(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            if not await rig.lose():
                inapplicable("this source cannot know of a loss")
            await eventually(lambda: bool(taker.gaps), "the loss is told")
        assert all(gap.reason and gap.begins <= gap.ends for gap in taker.gaps)

    async def test_law_9_a_point_without_a_value_says_so(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            signal = await rig.blank()
            if signal is None:
                inapplicable("this protocol cannot send a point without a value")
            await eventually(
                lambda: any(
                    row.signal == signal and row.flags & Flag.NO_VALUE and row.quality for row in taker.rows
                ),
                "the row says that it has no value, and of what quality it is",
            )

    async def test_law_10_conservation_per_delivery(self, rig: SourceRig) -> None:
        async with taking(rig) as taker:
            emitted = [*await rig.emit(20)]
            refused = await rig.garbage()
            emitted += await rig.emit(20)
            await eventually(lambda: taker.has(emitted), "all values arrive")
            await eventually(
                lambda: sum(r.values for r in taker.refused) == refused, "the garbage is refused"
            )
        assert all(conserved(delivery) for delivery in taker.deliveries)
        assert sum(delivery.decoded for delivery in taker.deliveries) >= len(emitted) + refused

    async def test_probe_tells_what_it_found(self, rig: SourceRig) -> None:
        findings = await rig.source().probe()
        assert findings
        assert [finding for finding in findings if finding.level == "error"] == []
        try:
            findings = await rig.unreachable().probe()
        except AdapterError:
            return
        assert [finding for finding in findings if finding.level == "error"]


async def quiet(taker: Taker, seconds: float = 0.5) -> None:
    """Returns when nothing has come for a while: the only proof of an absence there is."""
    seen = -1
    while seen != len(taker.rows):
        seen = len(taker.rows)
        await asyncio.sleep(seconds)
