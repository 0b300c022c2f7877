"""A process that has everything imported and forks the processes that are killed: a death costs milliseconds.

One line of JSON per death on stdin, one line of JSON back on stdout when the child is gone. The child says what is safe
into a file (see tests/journal/child.py): what it wrote survives it. With `inject`, strace is attached before the child
does anything and does at the nth system call what it is told: kill it, or let the call fail.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from collector.journal.base import JournalFailed
from tests.journal import child
from tests.journal.workload import small

ROOT: Final = Path(__file__).parent.parent.parent
FAILED: Final = 3
"""Exit code of a child whose journal said that the disk failed."""

PATIENCE: Final = 180.0
_ANY_TRACER: Final = (0x59616D61, ctypes.c_ulong(-1))
"""prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY): where Yama lets only ancestors trace."""


class Nursery:
    """`with Nursery() as nursery: nursery.death(…)`: the exit status of a child, negative for a signal."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def death(
        self,
        path: Path,
        seed: int,
        *,
        appends: int = 0,
        after: float | None = None,
        inject: tuple[str, ...] = (),
    ) -> int:
        """appends: per source, then it ends by itself; -1: it only opens and closes. after: s until it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"path": str(path), "seed": seed, "appends": appends, "after": after, "inject": inject}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


def said(path: Path) -> Path:
    return path.with_name("said")


def _one(order: dict[str, Any]) -> int:
    path, gate = Path(order["path"]), os.pipe()
    saying = os.open(said(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid == 0:
        os.close(gate[1])
        os.dup2(saying, 1)
        _child(path, order["seed"], order["appends"], gate[0])
    os.close(gate[0])
    os.close(saying)
    with _traced(pid, order["inject"]):
        os.close(gate[1])
        if order["after"] is not None:
            time.sleep(order["after"])  # the moment is the point of the test
            os.kill(pid, signal.SIGKILL)
        return _awaited(pid)


def _awaited(pid: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise TimeoutError(f"a child did not end within {PATIENCE} s")


@contextmanager
def _traced(pid: int, inject: list[str]) -> Iterator[None]:
    if not inject:
        yield
        return
    calls = ",".join(one.split(":")[0] for one in inject)
    rules = [word for one in inject for word in ("-e", f"inject={one}")]
    command = ["strace", "-f", "-o", os.devnull, "-e", f"trace={calls}", *rules, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"strace: {line}{tracer.stderr.read()}")
        yield
        tracer.stderr.read()


def _child(path: Path, seed: int, appends: int, gate: int) -> None:
    """Never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(*_ANY_TRACER, 0, 0, 0)
        os.read(gate, 1)
        with small():
            asyncio.run(_lives(path, random.Random(seed), appends))
        code = 0
    except JournalFailed:
        code = FAILED
    except BaseExceptionGroup as group:
        code = 1 if group.split(JournalFailed)[1] else FAILED
        if code == 1:
            sys.excepthook(type(group), group, None)
    finally:
        os._exit(code)


async def _lives(path: Path, dice: random.Random, appends: int) -> None:
    begun = time.monotonic_ns()
    async with child.opened(path) as journal, asyncio.TaskGroup() as tasks:
        child.say("o", time.monotonic_ns() - begun)
        if appends < 0:
            return
        reading = [tasks.create_task(child.drain(journal, "sink", dice))]
        reading.append(tasks.create_task(child.archive(journal, "archive")))
        feeding = [
            tasks.create_task(child.feed(journal, source, n * child.STRIDE, dice, appends))
            for n, source in enumerate(child.SOURCES)
        ]
        await asyncio.wait(feeding)
        for one in reading:
            one.cancel()


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(_one(json.loads(line))), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    main()
