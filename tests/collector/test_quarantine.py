"""The quarantine: readable, repairable, and the books balance whatever is done with it.

The oracle of the property test is a set of keys outside the journal: every value that was journaled is, for the sink, in
exactly one of stored, quarantined, waiting, purged; and none is stored under another key than its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.base import Delivery, Finding, SourceSession
from adapters.errors import NotConnected, Rejected
from adapters.memory import MemorySink
from adapters.memory.sink import lost
from collector.__main__ import main
from collector.audit import trail
from collector.balance import EVERY, Balance
from collector.cli.exits import Exit
from collector.cli.quarantine import raw_lines
from collector.health import Health
from collector.journal import books
from collector.journal.base import Journal, Ledger, SinkAccount, SourceAccount
from collector.journal.memory import MemoryJournal
from collector.journal.setaside import Wanted
from collector.journal.sqlite import open_journal
from collector.quarantine import Keeper, details_of, row_of
from collector.refused import refused_by, write_again
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.identity import Learned
from pipelines.stage import Refined, Refusal
from tests.fakes import FakeClock
from tests.influxdb.peers import Server, influxd
from tests.journal.starting import memory
from tests.line.conftest import started, v1
from tests.line.databases import influx as ask_influx
from tests.line.harness import Collector, collector, eventually
from tests.mqtt.peers import Mosquitto, Publisher

START = 1_700_000_000_000_000_000
T = TypeVar("T")
Key = tuple[int, int]


def batch(journal: Journal, first: int, count: int) -> Batch:
    """`count` values of one point; the value is the number, the time says it too."""
    point = journal.registry.intern(Point("m1", "load", Kind.NUMBER))
    numbers = list(range(first, first + count))
    return batch_of(Kind.NUMBER, [point] * count, [START + n for n in numbers], numbers, received=START)


def refined(*batches: Batch) -> Refined:
    return Refined(batches, (), {}, {}, Learned())


def garbage(values: int) -> Refusal:
    return Refusal("m1/load", "not a number: send one", b"\xff?", START, values)


class Books(RuleBasedStateMachine):
    """sink.rows: what the database holds, by key. purged, held: keys and counts that the model expects elsewhere."""

    async def enter(self, stack: AsyncExitStack) -> Journal:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock()
        self.journal = self.run(self.enter(self.stack))
        self.bad = set(range(0, 60, 2))
        self.sink = MemorySink("sink", refuses=lambda key, _row: key.at - START in self.bad)
        self.journaled: set[Key] = set()
        self.purged: set[Key] = set()
        self.source_values = 0
        self.append(6, 1, taken=True)  # so that there is something in quarantine whatever comes

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.stack.aclose())
            self.runner.close()

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(job)

    def held(self, places: set[int], origin: str) -> list[int]:
        """Numbers of refusals that are there, by their places in the list."""
        found = self.run(self.journal.quarantine.select(Wanted(origin=origin)))
        return sorted({found[place % len(found)].number for place in places}) if found else []

    async def write(self, batches: Any) -> None:
        async with self.sink.session() as write:
            await write(batches)

    @rule(count=st.integers(1, 5), refused=st.integers(0, 3), taken=st.booleans())
    def append(self, count: int, refused: int, *, taken: bool) -> None:
        new = batch(self.journal, len(self.journaled), count)
        self.journaled |= {(int(p), int(t)) for p, t in zip(new.points, new.at, strict=True)}
        delivery = Delivery([new], count + refused, [garbage(refused)] if refused else [])
        self.run(self.journal.append("plc", delivery, refined(new)))
        self.source_values += count + refused
        if taken:
            self.the_sink_takes_what_is_new()

    @rule(bad=st.sampled_from([set(range(0, 60, 2)), set(range(0, 60, 3)), set(), set(range(60))]))
    def the_database_changes_its_mind(self, bad: set[int]) -> None:
        self.bad = bad

    @rule()
    def the_sink_takes_what_is_new(self) -> None:
        async def take() -> None:
            ledger = await self.journal.ledger()
            if ledger.sinks["sink"].cursor < ledger.tail:
                async for position, batches in self.journal.follow("sink"):
                    await self.journal.commit("sink", position, await refused_by(self.write, batches))
                    if position >= ledger.tail:
                        break

        self.run(take())

    @rule(places=st.sets(st.integers(0, 30), min_size=1, max_size=6), tried=st.booleans())
    def replay(self, places: set[int], *, tried: bool) -> None:
        numbers = [*self.held(places, "sink"), 10_000]  # and one that is not there
        self.run(self.journal.quarantine.write_again("sink", numbers))
        if tried:
            self.the_sink_writes_again()

    @rule()
    def the_sink_writes_again(self) -> None:
        async def again() -> None:
            before = {one.number for one in await self.journal.quarantine.select(Wanted(origin="sink"))}
            await write_again(self.journal, "sink", self.write)
            after = await self.journal.quarantine.select(Wanted(origin="sink"))
            fresh = [key for one in after if one.number not in before for key in keys_of(one.refusal)]
            assert len(fresh) == len(set(fresh))  # back in quarantine once
            assert not await self.journal.quarantine.waiting("sink", 10)

        self.run(again())

    @rule(place=st.integers(0, 30), count=st.integers(0, 4), refused=st.integers(0, 2))
    def the_source_reads_again(self, place: int, count: int, refused: int) -> None:
        numbers = self.held({place}, "plc")

        async def again() -> None:
            found = await self.journal.quarantine.select(Wanted(tuple(numbers), "plc"))
            new = batch(self.journal, len(self.journaled), count) if count else None
            if new is not None:
                self.journaled |= {(int(p), int(t)) for p, t in zip(new.points, new.at, strict=True)}
            delivery = Delivery([new] if new else [], count + refused, [garbage(refused)] if refused else [])
            result = refined(new) if new else refined()
            await self.journal.quarantine.read_again("plc", delivery, result, numbers)
            self.source_values += count + refused - found[0].refusal.values

        if numbers:
            self.run(again())

    @rule(places=st.sets(st.integers(0, 30), max_size=4))
    def purge(self, places: set[int]) -> None:
        at_sink, at_source = self.held(places, "sink"), self.held(places, "plc")

        async def go() -> None:
            found = await self.journal.quarantine.select(Wanted(tuple(at_sink), "sink")) if at_sink else []
            self.purged |= {key for one in found for key in keys_of(one.refusal)}
            gone = await self.journal.quarantine.purge([*at_sink, *at_source])
            assert gone.rows == len(at_sink) + len(at_source)

        self.run(go())

    @invariant()
    def every_value_is_in_one_place(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.look())

    async def look(self) -> None:
        ledger = await self.journal.ledger()
        assert ledger.unaccounted == 0
        account = ledger.sinks["sink"]
        held = await self.journal.quarantine.select(Wanted(origin="sink"))
        quarantined = {key for one in held for key in keys_of(one.refusal)}
        waits = await self.journal.quarantine.waiting("sink", 1 << 30)
        waiting = sum(one.values for one in waits)
        assert account.journaled == len(self.journaled)
        assert account.stored == len(self.sink.rows)
        assert account.quarantined == len(quarantined) + len(self.purged)
        assert not self.sink.rows.keys() & quarantined
        assert self.sink.rows.keys() | quarantined | self.purged <= self.journaled
        behind = len(self.journaled) - len(self.sink.rows) - len(quarantined) - len(self.purged)
        assert account.pending == behind
        assert account.pending >= waiting
        assert all(row.value == key[1] - START for key, row in self.sink.rows.items())
        if "plc" in ledger.sources:
            assert ledger.sources["plc"].decoded == self.source_values


def keys_of(refusal: Refusal) -> list[Key]:
    from pipelines import codec

    assert refusal.batch is not None
    return [
        (int(p), int(t))
        for one in codec.decode(refusal.batch)
        for p, t in zip(one.points, one.at, strict=True)
    ]


class MemoryBooks(Books):
    async def enter(self, stack: AsyncExitStack) -> Journal:
        return MemoryJournal(followers=["sink"], clock=self.clock)


class SqliteBooks(Books):
    async def enter(self, stack: AsyncExitStack) -> Journal:
        folder = tempfile.mkdtemp(prefix="quarantine-", dir=memory())
        stack.callback(shutil.rmtree, folder)
        opening = open_journal(Path(folder) / "j.db", followers=["sink"], clock=self.clock, window=0.0)
        return await stack.enter_async_context(opening)


QUICK = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMemoryBooks = MemoryBooks.TestCase
TestMemoryBooks.settings = QUICK
TestSqliteBooks = SqliteBooks.TestCase
TestSqliteBooks.settings = settings(QUICK, max_examples=30)


async def refuse_some(journal: Journal, sink: MemorySink, count: int) -> None:
    new = batch(journal, 0, count)
    await journal.append("plc", Delivery([new], count), refined(new))
    async with sink.session() as write:
        async for position, batches in journal.follow("sink"):
            await journal.commit("sink", position, await refused_by(write, batches))
            break


async def test_what_waits_survives_a_restart_and_a_sink_that_is_away(tmp_path: Path) -> None:
    """A sink that is lost in the middle of a replay loses nothing: it waits, also over a restart of the collector."""
    clock, bad = FakeClock(), {1, 3}
    sink = MemorySink("sink", refuses=lambda key, _row: key.at - START in bad)
    path = tmp_path / "j.db"
    async with open_journal(path, followers=["sink"], clock=clock, window=0.0) as journal:
        await refuse_some(journal, sink, 5)
        numbers = [one.number for one in await journal.quarantine.select(Wanted())]
        assert await journal.quarantine.write_again("sink", numbers) == 2
        assert (await journal.ledger()).sinks["sink"].pending == 2
    bad.clear()
    async with open_journal(path, followers=["sink"], clock=clock, window=0.0) as journal:
        async with sink.session() as write:
            sink.faults.append(lost(after_commit=True))
            with pytest.raises(NotConnected):
                await write_again(journal, "sink", write)
            assert (await journal.ledger()).sinks["sink"].pending == 2
            await write_again(journal, "sink", write)
        account = (await journal.ledger()).sinks["sink"]
    assert (account.stored, account.pending, account.quarantined, account.replayed) == (5, 0, 0, 2)
    assert sorted(key.at - START for key in sink.rows) == [0, 1, 2, 3, 4]


async def test_a_sink_that_left_takes_what_waited_for_it_and_a_new_life_balances(tmp_path: Path) -> None:
    clock = FakeClock()
    sink = MemorySink("sink", refuses=lambda _key, _row: True)
    path = tmp_path / "j.db"
    async with open_journal(path, followers=["sink"], clock=clock, window=0.0) as journal:
        await refuse_some(journal, sink, 3)
        first, *_ = await journal.quarantine.select(Wanted())
        await journal.quarantine.write_again("sink", [first.number])
    async with open_journal(path, followers=["other"], clock=clock, window=0.0) as journal:
        assert (await journal.ledger()).unaccounted == 0
    async with open_journal(path, followers=["sink", "other"], clock=clock, window=0.0) as journal:
        rest = [one.number for one in await journal.quarantine.select(Wanted())]
        assert await journal.quarantine.write_again("sink", rest) == 2
        ledger = await journal.ledger()
    assert ledger.unaccounted == 0
    assert ledger.sinks["sink"].pending >= 2


async def test_a_replay_to_a_sink_that_a_reload_has_let_go_of_meanwhile_changes_nothing(
    tmp_path: Path,
) -> None:
    """Chosen while it was there; the journal goes on, and what was refused stays where it is."""
    sink = MemorySink("sink", refuses=lambda _key, _row: True)
    path = tmp_path / "j.db"
    async with open_journal(path, followers=["sink", "other"], clock=FakeClock(), window=0.0) as journal:
        await refuse_some(journal, sink, 3)
        chosen = await journal.quarantine.select(Wanted())
        await journal.enrol(["other"])
        assert await journal.quarantine.write_again("sink", [one.number for one in chosen]) == 0
        assert await journal.quarantine.select(Wanted()) == chosen
        await journal.append("plc", Delivery([batch(journal, 9, 1)], 1), refined(batch(journal, 9, 1)))
        assert (await journal.ledger()).unaccounted == 0


class StillStrange:
    """A source that goes on refusing a message, and counts how often it was given it."""

    def __init__(self) -> None:
        self.name, self.read = "plc", 0
        self.machines: tuple[str, ...] = ("m1",)

    def session(self, resume: bytes | None) -> AbstractAsyncContextManager[SourceSession]:
        raise NotImplementedError

    async def probe(self) -> Sequence[Finding]:
        raise NotImplementedError

    def reread(self, where: str, raw: bytes, at: int) -> Delivery:
        self.read += 1
        return Delivery((), 1, [Refusal(where, "not a number: send one", raw, at)])


async def test_two_replays_at_once_read_every_message_once(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "j.db", followers=["sink"], clock=FakeClock(), window=0.0) as journal:
        await journal.append("plc", Delivery((), 3, [garbage(1)] * 3), refined())
        source = StillStrange()
        keeper = Keeper(journal, {"plc": source}, lambda _batches, _identity: refined())
        both = await asyncio.gather(*(keeper.replay(Wanted(numbers=(1, 2, 3))) for _ in range(2)))
        assert sorted(done["read_again"] for done in both) == [0, 3]
        assert source.read == len(await journal.quarantine.select(Wanted())) == 3
        account = (await journal.ledger()).sources["plc"]
    assert (account.decoded, account.refused, account.unaccounted) == (3, 3, 0)


async def test_bounded_with_values_and_the_drops_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUARANTINE_ROWS", 4)
    async with open_journal(tmp_path / "j.db", followers=["sink"], clock=FakeClock(), window=0.0) as journal:
        await refuse_some(journal, MemorySink("sink", refuses=lambda _key, _row: True), 10)
        held = await journal.quarantine.select(Wanted())
        ledger = await journal.ledger()
    assert [one.number for one in held] == [7, 8, 9, 10]
    assert ledger.quarantine == (4, 6)
    assert ledger.sinks["sink"].quarantined == 10
    assert ledger.unaccounted == 0


async def test_values_are_found_by_their_keys_whatever_their_batch() -> None:
    journal = MemoryJournal(followers=[], clock=FakeClock())
    text = journal.registry.intern(Point("m1", "program", Kind.TEXT))
    words = batch_of(Kind.TEXT, [text, text], [START + 1, START + 2], ["a", "ü"], received=START)
    numbers = batch(journal, 0, 3)

    async def write(_batches: Any) -> None:
        load = int(numbers.points[0])
        told = [
            Refusal("m1/program", "r", b"", START, keys=((text, START + 2),)),
            Refusal("m1/load", "r", b"", START, keys=((load, START + 1),)),
            Refusal("m1/load", "r", b"", START, keys=((load, START + 99),)),
            Refusal("m1/load", "r", b"", START),
        ]
        raise Rejected("no", told)

    refused = await refused_by(write, [numbers, words])
    shown = [details_of(_numbered(one), journal.registry)["kept"] for one in refused]
    assert [[(row["signal"], row["time"], row["value"]) for row in rows] for rows in shown] == [
        [("program", START + 2, "ü")],
        [("load", START + 1, 1.0)],
        [],
        [],
    ]


def _numbered(refusal: Refusal) -> Any:
    from collector.journal.base import Quarantined

    return Quarantined(1, "sink", refusal)


NASTY = [
    "\x1b[2J\x1b]0;owned\x07",
    "line\r\nInjected: line",
    "\u202egnirts\u202c",
    "\u2066isolate\u2069",
    "nul\x00byte",
    "\x9b31mred",
    "\u2028separator\u2029",
    "zero\u200bwidth\ufeff",
    "\udcff lone",
    "back\x08space",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_what_strangers_sent_is_shown_and_not_obeyed(nasty: str) -> None:
    """S16: one line per event, no terminal sequence, no turned direction; in JSON as well."""
    from collector.cli.quarantine import _details, _line

    one = _numbered(Refusal(nasty, f"reason {nasty}", nasty.encode("utf-8", "surrogateescape"), START))
    details = details_of(one, MemoryJournal(followers=[], clock=FakeClock()).registry)
    lines = [_line(row_of(one)), *_details(details)]
    assert all(line.isprintable() for line in lines), lines
    assert sum("Injected" in line for line in lines) <= 4
    assert json.dumps(details).isascii()
    assert json.dumps(details).isprintable()


def test_bytes_are_shown_as_bytes_and_text_as_text() -> None:
    assert list(raw_lines(bytes(range(20)))) == [
        f"0000  {bytes(range(16)).hex(' ')}  {'.' * 16}",
        f"0010  {'10 11 12 13':<47}  ....",
    ]
    assert list(raw_lines('{"a": 1,\n "b": "ü\x1b"}'.encode())) == ['{"a": 1,', ' "b": "ü\\x1b"}']
    assert list(raw_lines(b"")) == [""]


async def test_an_imbalance_is_told_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The books are compared every minute on the injected clock; edges, not levels."""
    clock, health = FakeClock(), Health()
    ledgers = [0, 3, 3, -2, 0, 0]
    looked: list[int] = []

    class Books:
        async def ledger(self) -> Ledger:
            looked.append(ledgers[len(looked)])
            return Ledger({"plc": SourceAccount(decoded=looked[-1])}, {"sink": SinkAccount()}, 0, 0)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(Balance(Books(), health, clock).watch())  # type: ignore[arg-type]  # only its ledger
        alarms = []
        for turn in range(len(ledgers)):
            while not clock.sleeping:
                await asyncio.sleep(0)
            assert len(looked) == turn
            clock.advance(EVERY)
            while len(looked) == turn or not clock.sleeping:
                await asyncio.sleep(0)
            alarms.append(health.alarms.get("books", ""))
        watching.cancel()
    assert [bool(alarm) for alarm in alarms] == [False, True, True, True, False, False]
    assert "plc 3 values missing" in alarms[1]
    assert "plc 2 values too many" in alarms[3]
    said = [record.message for record in caplog.records if "balance" in record.message]
    assert len(said) == 1  # the end of it is news of a lower level


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "influx").mkdir()
    yield from started(influxd(tmp_path / "influx"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    mosquitto = Mosquitto(tmp_path / "broker")
    asyncio.run(mosquitto.start())
    yield mosquitto
    asyncio.run(mosquitto.stop())


def configured(folder: Path, broker: Mosquitto, influx: Server, payload: Any) -> Path:
    path = folder / "collector.yaml"
    reading = {"source": "lab", "topic": "m1/load", "payload": payload}
    signals = [{"name": "load", **({"value": "v"} if isinstance(payload, dict) else {})}]
    settings_ = {
        "version": 1,
        "page": "off",
        "sources": {"lab": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}"}},
        "machines": [{"id": "m1", "read": [{**reading, "signals": signals}]}],
        "sinks": [dict(v1(influx.url))],
    }
    path.write_text(json.dumps(settings_))
    return path


class Said(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def quarantine(*words: str | Path) -> Said:
    """The command, in this process: a new one takes a second to begin. Nobody sits at a terminal here either."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["quarantine", *map(str, words)])
    return Said(code, out.getvalue(), err.getvalue())


def listed(state: Path, *words: str) -> list[dict[str, Any]]:
    done = quarantine("list", "--state", state, "--json", *words)
    assert done.returncode == Exit.OK, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def publish(broker: Mosquitto, *payloads: bytes) -> None:
    publisher = Publisher(broker.port)
    asyncio.run(publisher.send(*(("m1/load", payload) for payload in payloads)))
    publisher.close()


def settled(running: Collector, values: int) -> None:
    def there() -> bool:
        books_ = running.books()
        rows = {row["name"]: row for row in (books_ or {"sources": []})["sources"]}
        return bool(rows.get("lab", {}).get("decoded", 0) >= values)

    eventually(there, "the broker's messages are in the books")


@pytest.mark.timeout(600)
def test_garbage_is_listed_shown_repaired_and_purged(
    tmp_path: Path, broker: Mosquitto, influx: Server
) -> None:
    """B3: a poison message is set aside once and is read again when the configuration is right; S16: shown, not obeyed."""
    config = configured(tmp_path, broker, influx, "number")
    with collector(config) as running:
        running.wait_connected("lab", "influx")
        publish(broker, b'{"v": 1.5}', b"\x1b[31mred\r\nfalse line", b"7.25", b'{"v": 2.5}')
        settled(running, 4)
        rows = listed(running.state)
        assert [row["origin"] for row in rows] == ["lab"] * 3
        assert len(listed(running.state, "--limit", "1")) == 1
        assert not listed(running.state, "--reason", "*no such*")
        words = quarantine("list", "--state", running.state)
        assert words.stdout.count("\n") == 3
        assert "\x1b" not in words.stdout
        shown = quarantine("show", str(rows[1]["number"]), "--state", running.state)
        assert "\\x1b[31mred" in shown.stdout
        assert "m1/load" in shown.stdout
        assert quarantine("show", "99", "--state", running.state).returncode == Exit.PROBLEMS
        refused = quarantine("purge", str(rows[1]["number"]), "--state", running.state)
        assert refused.returncode == Exit.USAGE  # no terminal, no --yes
        purged = quarantine("purge", str(rows[1]["number"]), "--state", running.state, "--yes", "--json")
        assert json.loads(purged.stdout) == {"purged": 1, "values": 1}
        again = json.loads(quarantine("replay", "--all", "--state", running.state, "--json").stdout)
        assert (again["read_again"], again["stored"], again["refused"]) == (2, 0, 2)  # still not numbers
        assert len(listed(running.state)) == 2  # back once
        decided = [row["what"] for row in trail(running.state).rows]
        assert [what for what in decided if "quarantine" in what] == ["quarantine purge", "quarantine replay"]
        assert running.stop()["unaccounted"] == 0
    configured(tmp_path, broker, influx, {"type": "json"})
    done = quarantine("replay", "--all", "--config", config, "--json")  # nobody is running
    assert done.returncode == Exit.OK, done.stderr
    assert json.loads(done.stdout)["stored"] == 2
    assert trail(running.state).rows[-1]["what"] == "quarantine replay"
    assert not listed(running.state)
    with collector(config) as running:
        running.wait_connected("influx")
        running.wait_passed("influx")
        totals = running.stop()
    assert totals["unaccounted"] == 0
    assert totals["quarantine"] == {"rows": 0, "dropped": 0}
    found = ask_influx(influx.url, "shop", "SELECT load FROM machine WHERE machine = 'm1'")
    assert sorted(row["load"] for row in found) == [1.5, 2.5, 7.25]


@pytest.mark.timeout(600)
def test_what_the_database_refused_is_written_again_under_its_own_key(
    tmp_path: Path, broker: Mosquitto, influx: Server
) -> None:
    """I4: a field of another type; when it is gone the same points are stored at their old times, in a running collector
    and after a stop."""
    ask_influx(influx.url, "shop", "CREATE DATABASE shop", method="POST")
    make_text_field(influx)
    config = configured(tmp_path, broker, influx, "number")
    with collector(config) as running:
        running.wait_connected("lab", "influx")
        publish(broker, b"1.5", b"2.5", b"3.5")
        rows = eventually(
            lambda: listed(running.state) if len(listed(running.state)) == 3 else None, "three refused"
        )
        assert {row["origin"] for row in rows} == {"influx"}
        assert all(row["values_kept"] for row in rows)
        shown = json.loads(
            quarantine("show", str(rows[0]["number"]), "--state", running.state, "--json").stdout
        )
        (kept,) = shown["kept"]
        assert (kept["machine"], kept["signal"]) == ("m1", "load")
        times = sorted(
            value["time"]
            for row in rows
            for value in json.loads(
                quarantine("show", str(row["number"]), "--state", running.state, "--json").stdout
            )["kept"]
        )
        ask_influx(influx.url, "shop", "DROP MEASUREMENT machine", method="POST")
        first = quarantine("replay", str(rows[0]["number"]), "--state", running.state, "--json")
        assert json.loads(first.stdout)["to_sinks"] == 1

        def one_back() -> bool:
            return len(ask_influx(influx.url, "shop", "SELECT load FROM machine WHERE machine = 'm1'")) == 1

        eventually(one_back, "the replayed value is in the database")
        assert running.stop()["unaccounted"] == 0
    assert (
        json.loads(quarantine("replay", "--all", "--state", running.state, "--json").stdout)["to_sinks"] == 2
    )
    with collector(config) as running:
        running.wait_connected("influx")
        running.wait_passed("influx")
        totals = running.stop()
    (account,) = [row for row in totals["sinks"] if row["name"] == "influx"]
    assert (totals["unaccounted"], account["quarantined"], account["replayed"]) == (0, 0, 3)
    found = ask_influx(influx.url, "shop", "SELECT load FROM machine WHERE machine = 'm1'")
    assert sorted(row["time"] for row in found) == times
    assert sorted(row["load"] for row in found) == [1.5, 2.5, 3.5]


def make_text_field(influx: Server) -> None:
    import urllib.request

    request = urllib.request.Request(
        f"{influx.url}/write?db=shop&precision=ns", data=b'machine,machine=other load="text"', method="POST"
    )
    with urllib.request.urlopen(request, timeout=90) as answer:
        assert answer.status == 204


def test_what_needs_an_answer_says_so(tmp_path: Path) -> None:
    assert quarantine("replay", "--state", tmp_path).returncode == Exit.USAGE
    assert quarantine("show", "--state", tmp_path).returncode == Exit.USAGE
    assert quarantine("list", "--state", tmp_path).returncode == Exit.UNAVAILABLE
