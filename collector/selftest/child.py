"""The collector under test: a real `collector run` in a process of its own, on a scratch configuration, that can be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from collector.control import NotRunning, ask
from collector.journal.base import JournalFailed
from collector.journal.reader import JournalReader, NoJournal
from collector.selftest.truth import BARE, KIND, MACHINE, SIGNALS, TIMED
from collector.system import child_options

COMMAND: Final = (sys.executable, "-P", "-m", "collector")

BUFFER: Final = "4MB"
"""So small that the self-test can fill it."""


class Child:
    """start, kill and stop as often as you like: the state stays."""

    def __init__(self, folder: Path, config: Path, command: Sequence[str]) -> None:
        self._folder, self._config, self._command = folder, config, command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        path = self._folder / "collector.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        command = [*self._command, "run", "--json", str(self._config)]
        with (self._folder / "collector.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.DEVNULL, stderr=log, **child_options()
            )

    async def kill(self) -> None:
        """As kill -9 does: no farewell, nothing flushed."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self, patience: float = 120.0) -> bool:
        """An orderly stop; False if it did not end, or not with 0."""
        if self._process is None:
            return False
        try:
            async with asyncio.timeout(patience):
                async for _ in ask(self._folder / "state", "stop"):
                    pass
                return await self._process.wait() == 0
        except (TimeoutError, NotRunning, ConnectionError):
            return False

    async def books(self) -> dict[str, Any] | None:
        """What it says about itself; None while it does not answer."""
        try:
            async for row in ask(self._folder / "state", "status"):
                return dict(row)
        except (NotRunning, ConnectionError):
            pass
        return None

    def quarantine(self) -> set[bytes]:
        """The payloads that were refused, read from the stopped collector's file."""
        try:
            with JournalReader(self._folder / "state" / "buffer.sqlite") as reader:
                return {kept.refusal.raw for kept in reader.quarantined(1_000_000)}
        except (NoJournal, JournalFailed):
            return set()


@asynccontextmanager
async def child(
    folder: Path, broker: int, database: int, command: Sequence[str] = COMMAND
) -> AsyncIterator[Child]:
    """Not started yet; killed on leaving if it still runs."""
    config = folder / "collector.yaml"
    config.write_text(json.dumps(configuration(folder, broker, database)), encoding="utf-8")
    made = Child(folder, config, command)
    try:
        yield made
    finally:
        await made.kill()


def configuration(folder: Path, broker: int, database: int) -> Mapping[str, Any]:
    """JSON is YAML. Everything lies in `folder` and listens or connects on this computer only."""
    return {
        "version": 1,
        "state": str(folder / "state"),
        "page": "off",
        "history": "off",
        "buffer": {"max": BUFFER, "min_free": "1MB"},
        "sources": {
            "press": {
                "type": "mqtt",
                "url": f"mqtt://127.0.0.1:{broker}",
                "version": "3.1.1",
                "keep_alive": "5s",
            }
        },
        "machines": [{"id": MACHINE, "type": KIND, "read": [_timed(), _bare()]}],
        "sinks": [_sink(database)],
    }


def _timed() -> Mapping[str, Any]:
    return {
        "source": "press",
        "topic": TIMED,
        "payload": {"type": "json", "time": "ts", "time_unit": "ns"},
        "signals": [{"name": name, "value": name} for name in SIGNALS],
    }


def _bare() -> Mapping[str, Any]:
    return {"source": "press", "topic": BARE, "payload": "number", "signals": [{"name": "tick"}]}


def _sink(port: int) -> Mapping[str, Any]:
    """Without the canary: this database answers writes, not questions."""
    return {
        "type": "influxdb",
        "name": "database",
        "url": f"http://127.0.0.1:{port}",
        "org": "selftest",
        "bucket": "selftest",
        "timeout": "5s",
        "canary": False,
    }
