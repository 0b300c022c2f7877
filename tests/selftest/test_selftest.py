"""The self-test passes with the collector as it is, and says what is missing with a collector that loses or doubles values."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from collector.cli.exits import Exit
from collector.selftest.database import database
from collector.selftest.lines import read_lines
from collector.selftest.plan import run
from collector.selftest.truth import Counts, Truth
from tests.influxdb.lines import read_all

LOSES = """
import collector.journal.sqlite as sqlite
append, calls = sqlite.SqliteJournal.append, [0]
async def lossy(self, source, delivery, refined, **how):
    valuable = source == "press" and len(refined.batches) > 0
    calls[0] += valuable
    if valuable and calls[0] % 20 == 1:  # in every life at least once, however short it is
        return self.tail.position
    return await append(self, source, delivery, refined, **how)
sqlite.SqliteJournal.append = lossy
"""

DOUBLES = """
import os, pathlib
import adapters.mqtt.checkpoint as checkpoint
import collector.journal.sqlite as sqlite
checkpoint.Checkpoint.stamp = lambda self, message: message.at
append, once = sqlite.SqliteJournal.append, pathlib.Path(__file__).with_suffix(".once")
def has_ticks(self, batches):
    names = [point.name for point in self.registry.since(0)]
    return any(names[point] == "tick" for batch in batches for point in batch.points.tolist())
async def dies_before_it_acknowledges(self, source, delivery, refined, **how):
    position = await append(self, source, delivery, refined, **how)
    if source == "press" and has_ticks(self, refined.batches) and not once.exists():
        once.touch()
        os._exit(9)
    return position
sqlite.SqliteJournal.append = dies_before_it_acknowledges
"""

GOES_ON = """
import sys
from collector.__main__ import main
sys.exit(main())
"""


@pytest.mark.timeout(900)
def test_by_command(tmp_path: Path) -> None:
    """The whole of it, as a user types it, shortened."""
    command = [sys.executable, "-P", "-m", "collector", "selftest", "--for", "5s", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    found = json.loads(done.stdout)
    assert {type(found[name]) for name in Counts._fields} == {int}
    assert found["sent"] == found["stored"] + found["refused"] > 5_000
    assert (found["missing"], found["duplicated"], found["refused"]) == (0, 0, 60)
    assert [phase["ok"] for phase in found["phases"]] == [True] * 6
    assert "temporary folder" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is still there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_the_system_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """A service manager, a closed terminal: neither the collector that it tries nor its folder stay."""
    command = [sys.executable, "-P", "-m", "collector", "selftest"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        told = next((line for line in running.stderr if "kill -9" in line), "")
        running.send_signal(number)
        rest = running.stderr.read()
    assert (running.returncode, told != "") == (Exit.INTERRUPTED, True), rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    assert [who for who in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read(who)] == []


def read(process: Path) -> bytes:
    """Nothing of one that has just ended."""
    with suppress(OSError):
        return process.read_bytes()
    return b""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("sabotage", "what"), [(LOSES, "missing"), (DOUBLES, "duplicated")])
async def test_a_sabotaged_collector_is_found_out(tmp_path: Path, sabotage: str, what: str) -> None:
    wrapper = tmp_path / "sabotaged.py"
    wrapper.write_text(sabotage + GOES_ON)
    result = await run(tmp_path, 1.0, command=[sys.executable, "-P", str(wrapper)], phases=2)
    assert not result.ok
    assert getattr(result.counts, what) > 0, result
    assert result.counts.stored > 1_000


@pytest.mark.skipif(sys.platform != "linux", reason="other systems answer differently")
async def test_a_database_that_is_away_keeps_its_port() -> None:
    """Any program may be given a port that nobody holds: the database could not come back, and the collector be blamed."""
    async with database() as store:
        await store.stop()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", store.port))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", store.port)
        await store.start()
        _, writer = await asyncio.open_connection("127.0.0.1", store.port)
        writer.close()
        await writer.wait_closed()
        await store.stop()
    with socket.socket() as other:  # and holds it no longer than it needs it
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", store.port))
        other.listen()


def _said() -> tuple[Truth, dict[tuple[str, int], object]]:
    truth = Truth()
    for _ in range(50):
        truth.timed()
        truth.bare()
    stored = {(signal, at or 10**18 + n): value for n, (signal, at, value) in enumerate(truth.good)}
    return truth, stored


def test_the_comparison_counts_exactly() -> None:
    truth, stored = _said()
    bad = truth.nonsense()
    whole = truth.compare(stored, {bad})
    assert whole == Counts(251, 250, 1, 0, 0)
    assert truth.compare(stored, set()) == Counts(251, 250, 0, 1, 0)
    for key in list(stored)[:10]:
        less = {place: value for place, value in stored.items() if place != key}
        assert truth.compare(less, {bad}) == Counts(251, 249, 1, 1, 0)
    tick = next(value for (signal, _), value in stored.items() if signal == "tick")
    assert truth.compare({**stored, ("tick", 5): tick}, {bad}) == Counts(251, 250, 1, 0, 1)


@pytest.mark.parametrize("signal", ["load", "running", "program"])
def test_an_altered_value_is_missing_and_too_much(signal: str) -> None:
    truth, stored = _said()
    place = next(key for key in stored if key[0] == signal)
    wrong = {"load": 0.1, "running": int(bool(stored[place])), "program": "another"}[signal]
    assert truth.compare({**stored, place: wrong}, set()) == Counts(250, 249, 0, 1, 1)


HARD = [
    r'press,machine=press-1,x=a\ b\,c\=d f="x \"y\" \\",g=1.5,h=true,i=3i 1700000000000000001',
    'm,machine=a f="two\nlines, and = signs" 5',
    r"m\ n\,o,machine=a a\ b=1e-300,c=-0 -5",
    "# a comment",
    'm f="",g=18446744073709551615u 0',
]


def test_its_reader_of_lines_agrees_with_the_tests_own() -> None:
    text = "\n".join(HARD)
    assert [tuple(line) for line in read_lines(text)] == [tuple(line) for line in read_all(text)]


@pytest.mark.parametrize("line", ["m f=1", "m", "m f= 5", 'm f="open 5', "m,machine=a  f=1 5"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        list(read_lines(line))
