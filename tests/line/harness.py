"""Starts the real things as processes: simulators, collector, databases; and ends them, whatever the test did."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.line.oracle import Hole, Series, Truth, compare, from_jsonl, read_truth

ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
"""Whoever is ended with SIGABRT says where each of its threads stands."""

PATIENCE = 120.0
"""Seconds until something that must come counts as not coming: a slow and busy computer has stalls of many in it."""

QUIET = 2.0
"""Seconds without anything new, while the collector answers all the time, after which nothing more is awaited."""


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition`; fails by name when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def exported(target: Path, *config: Path) -> None:
    """`collector export`, in this process: a new one takes a second to begin, and many tests ask again and again."""
    from collector.__main__ import main

    words = io.StringIO()
    with redirect_stdout(words), redirect_stderr(words):
        code = main(["export", *map(str, config), "-o", str(target)])
    assert code == 0, words.getvalue()


class Simulation:
    """`python -m simulators run --hold`: sockets listen, the clock waits for `go`. verb: `run` or `scenario`."""

    verb = "run"

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-P",
            "-m",
            "simulators",
            self.verb,
            *arguments,
            "--hold",
            "--dir",
            str(folder),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the simulators did not start"
        self.ready: dict[str, Any] = json.loads(line)
        self.config = Path(self.ready["config"])

    def deepen(self) -> Path:
        """The configuration with queues for minutes: at a multiple of its speed a machine fills the usual ones in a second or
        less, and its server does not say what it drops. For tests in which nothing may be dropped.
        """
        text = self.config.read_text(encoding="utf-8")
        deeper, count = re.subn(r"(every: \w+)\}", r"\1, queue: 10000}", text)
        assert count, "nothing has a queue"
        self.config.write_text(deeper, encoding="utf-8")
        return self.config

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def tell(self, command: Mapping[str, Any]) -> None:
        """A command as a line of JSON, such as `{"inject": {"machine": "m", "fault": "cut"}}`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def stop_changes(self, patience: float = PATIENCE) -> None:
        """Nothing new from now on; what went out is delivered before the sockets close. patience: s for that."""
        assert self.process.stdin is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        self.process.wait(patience)

    def truth(self) -> Truth:
        return read_truth(Path(self.ready["truth"]))

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The rows of this kind in the truth so far; the line that is being written is left out."""
        whole, _, _ = Path(self.ready["truth"]).read_text(encoding="utf-8").rpartition("\n")
        return [row for line in whole.splitlines() if (row := json.loads(line))["kind"] == kind]

    def emitted(self) -> int:
        return Path(self.ready["truth"]).read_bytes().count(b'"kind":"value"')

    def wait_for_more(self, count: int) -> None:
        """So many more values are said."""
        before = self.emitted()
        eventually(lambda: self.emitted() >= before + count, f"{count} more values are said")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE)


@contextmanager
def simulation(folder: Path, *arguments: str, kind: type[Simulation] = Simulation) -> Iterator[Simulation]:
    running = kind(folder, *arguments)
    try:
        yield running
    finally:
        running.close()


class Collector:
    """`collector run` as a process that can be asked, killed and started again with the same state."""

    module = "collector"

    def __init__(self, *config: Path) -> None:
        self.config = config
        self.environment = ENVIRONMENT
        self.folder = config[0].parent
        self.state = self.folder / "state"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        log = (self.folder / "collector.log").open("a")
        command = [sys.executable, "-P", "-m", self.module, "run", "--json", *map(str, self.config)]
        with log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=self.environment, text=True
            )

    def books(self) -> dict[str, Any] | None:
        """What the running collector says; None while it does not answer."""
        from collector.control import NotRunning, ask

        async def first() -> dict[str, Any] | None:
            async for row in ask(self.state, "status"):
                return row
            return None

        try:
            return asyncio.run(first())
        except (NotRunning, ConnectionError):
            return None

    def wait_connected(self, *names: str) -> None:
        def connected() -> bool:
            books = self.books()
            if books is None:
                return False
            states = {row["name"]: row.get("state") for row in [*books["sources"], *books["sinks"]]}
            return all(states.get(name) == "connected" for name in names)

        eventually(connected, f"connected: {names}; log:\n{self.log()[-2000:]}")

    def wait_lost(self, source: str) -> None:
        def lost() -> bool:
            rows = (self.books() or {"sources": []})["sources"]
            return any(row["name"] == source and row.get("state") != "connected" for row in rows)

        eventually(lost, f"{source} is lost")

    def asked(self) -> dict[str, Any]:
        """The books, as soon as it answers: a collector that stands still for a moment answers later."""
        return dict(eventually(self.books, "it answers"))

    def journaled(self, *sources: str) -> int:
        """Values in the buffer since the first start, of these sources or of all but the collector itself."""
        rows = self.asked()["sources"]
        wanted = [row for row in rows if (row["name"] in sources if sources else row["name"] != "collector")]
        return sum(int(row["journaled"]) for row in wanted)

    def wait_for_more(self, count: int, *sources: str) -> None:
        """So many more values go into the buffer."""
        before = self.journaled(*sources)
        try:
            eventually(lambda: self.journaled(*sources) >= before + count, f"{count} more values are stored")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.books()}; log:\n{self.log()[-2000:]}") from None

    def wait_stored(self, truth: Truth, sources: Mapping[str, str | tuple[str, ...]] | None = None) -> Series:
        """What is exported as soon as nothing is missing in it that was said. sources: of machines whose gap records may
        say what is missing.
        """

        def whole() -> Series | None:
            found = self.export()
            missing = compare(truth, found, self.holes(sources or {})).missing
            return None if missing else found

        return dict(eventually(whole, f"everything is stored; log:\n{self.log()[-2000:]}"))

    def wait_passed(self, *sinks: str) -> dict[str, Any]:
        """These sinks have everything that is in the buffer; the books of that moment."""

        def passed() -> dict[str, Any] | None:
            books = self.books()
            pending = [row["pending"] for row in books["sinks"] if row["name"] in sinks] if books else [1]
            return None if any(pending) else books

        return dict(eventually(passed, f"{sinks} have everything"))

    def wait_settled(self, *sinks: str, connected: Sequence[str] = ()) -> dict[str, Any]:
        """Nothing new comes in for two seconds, in which these sources are connected, and these sinks have everything.

        Where it is known what must come, `wait_stored` is right and this is not. Time in which the collector does not
        answer does not count: it may have stood still.
        """
        state: dict[str, Any] = {"count": -1, "since": 0.0, "asked": 0.0, "books": None}

        def settled() -> bool:
            books, before = self.books(), state["asked"]
            now = state["asked"] = time.monotonic()
            if books is None:
                return False
            count = sum(row["decoded"] for row in books["sources"] if row["name"] != "collector")
            there = {row["name"] for row in books["sources"] if row.get("state") == "connected"}
            if count != state["count"] or now - before > QUIET / 2 or not there.issuperset(connected):
                state.update(count=count, since=now)
            state["books"] = books
            pending = sum(row["pending"] for row in books["sinks"] if row["name"] in sinks)
            return bool(now - state["since"] > QUIET and pending == 0)

        eventually(settled, "everything is stored")
        assert state["books"] is not None
        return dict(state["books"])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def stop(self) -> dict[str, Any]:
        """An orderly stop; the books that it prints at the end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, self.log()[-3000:]
        return dict(json.loads(output.splitlines()[-1]))

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def tell_where(self) -> None:
        """In the output of a test that fails: where every thread of the collector stands, and what it said last."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)
            self.process.communicate(timeout=PATIENCE)
        sys.stdout.write(self.log()[-10_000:])

    def log(self) -> str:
        path = self.folder / "collector.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def export(self) -> Series:
        target = self.folder / "export.jsonl"
        exported(target, *self.config)
        return from_jsonl(target)

    def holes(self, machines: Mapping[str, str | tuple[str, ...]]) -> dict[str, list[Hole]]:
        """The gap records by machine; `machines` names the source or sources of each machine. Read with plain SQL."""
        import sqlite3

        file = f"file:{self.state / 'buffer.sqlite'}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, timeout=PATIENCE)) as books:
            rows = [Hole(*row) for row in books.execute("SELECT source, begins, ends FROM gaps")]
        return {
            machine: [hole for hole in rows if hole.source in said]
            for machine, said in ((name, (s,) if isinstance(s, str) else s) for name, s in machines.items())
        }


@contextmanager
def collector(*config: Path, kind: type[Collector] = Collector) -> Iterator[Collector]:
    running = kind(*config)
    running.start()
    try:
        yield running
    except (AssertionError, subprocess.TimeoutExpired, pytest.fail.Exception):
        running.tell_where()
        raise
    finally:
        running.close()
