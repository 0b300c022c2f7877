"""The processes of a measurement: each on its core, its output in files, its CPU time and memory read from /proc.

Output goes to files rather than pipes, so that nobody ever waits for somebody to read; a line is found by looking. CPU time
is that of one process alone: with everything in one process the load would be counted as the collector's work.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK = 0.02  # s between two looks at a file
MEASURED, OTHERS = 0, 1  # cores
ROOT = Path(__file__).parent.parent


class CannotMeasure(Exception):
    """Why there is no figure, in words for whoever started the benchmark."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core, as far as the machine has so many and can pin at all."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) <= core:
        yield
        return
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(slots=True)
class Child:
    """A running process."""

    name: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def cpu(self) -> float:
        """Seconds of user and system time so far, of all its threads (proc(5), stat, fields 14 and 15)."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """Largest resident size so far."""
        line = next(row for row in self._proc("status").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def _proc(self, what: str) -> str:
        try:
            return Path(f"/proc/{self.process.pid}/{what}").read_text()
        except OSError:
            raise CannotMeasure(f"{self.name} ended too early.\n{self.words()}") from None

    def event(self, wanted: str, seconds: float) -> dict[str, Any]:
        """The JSON line on its stdout with this `event`; waits for it."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [row for row in self.lines() if row.get("event") == wanted]
            return bool(found)

        self.wait_for(look, seconds, f"said no '{wanted}'")
        return found[0]

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines on its stdout."""
        return [json.loads(line) for line in self.out.read_text().split("\n")[:-1] if line.startswith("{")]

    def wait_for(self, ready: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait until `ready`; raises CannotMeasure when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise CannotMeasure(f"{self.name} ended too early.\n{self.words()}")
            if time.monotonic() > deadline:
                raise CannotMeasure(f"{self.name} {otherwise} within {seconds:g} s.\n{self.words()}")
            time.sleep(LOOK)

    def words(self) -> str:
        """The end of what it wrote on stderr."""
        return self.err.read_text(errors="replace")[-2000:].strip()

    def stop(self, seconds: float = 30.0) -> None:
        """Ask it to end, and make sure that it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def child(name: str, command: Sequence[str], core: int, folder: Path) -> Iterator[Child]:
    """A process on a core, gone when the block ends, whatever happened in it. Not reached by the terminal's Ctrl-C."""
    with ExitStack() as ending:
        with held():
            started = _started(name, command, core, folder)
            ending.callback(started.stop)
        yield started


def _started(name: str, command: Sequence[str], core: int, folder: Path) -> Child:
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    with out.open("wb") as stdout, err.open("wb") as stderr, on_core(core):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=ROOT, start_new_session=True
        )
    return Child(name, process, out, err)


@contextmanager
def held() -> Iterator[None]:
    """An interruption comes when this is left: raised between the start of a process and the place that ends it again, it
    would leave one behind.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda which, _frame: came.append(which)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def python(*arguments: str) -> list[str]:
    """A command for this interpreter."""
    return [sys.executable, *arguments]


PORTS = range(12_000, 20_000)
"""Below those that a system hands out by itself (Linux: from 32768): nobody takes one between the look and its server's start."""


def free_port() -> int:
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
