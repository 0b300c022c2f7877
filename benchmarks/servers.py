"""The real servers of a measurement, fresh for each one and on ports of their own; refused with a word when not installed."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlencode

from benchmarks.process import OTHERS, CannotMeasure, Child, child, free_port, listening
from simulators.load.mix import Types, exact, types_of
from simulators.load.series import Series, name_of, variable_of

START = 90.0  # s
_INSERTED = re.compile(r'^vm_rows_inserted_total\{type="influx"\} (\S+)$', re.MULTILINE)
_PATHS = {"victoria-metrics": "/usr/bin/victoria-metrics", "mosquitto": "/usr/sbin/mosquitto"}


def program(name: str) -> str:
    """Where a server's program is."""
    found = shutil.which(name) or shutil.which(_PATHS[name])
    if found is None:
        raise CannotMeasure(f"{name} is not installed (Debian: apt install {name}); nothing was measured.")
    return found


class Stored(NamedTuple):
    """What the database holds of a series: right ones, each counted once, and others under the same names."""

    right: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Database:
    """A VictoriaMetrics. `inserted` is its own counter of values, facts and all."""

    url: str

    def inserted(self) -> int:
        with self._get("/metrics") as answer:
            found = _INSERTED.search(answer.read().decode())
        return int(float(found[1])) if found else 0

    def stored(self, series: Series, ticks: int, types: Types = "double") -> Stored:
        """Compare value by value with what was emitted: missing and altered ones show, one stored twice counts once.

        VictoriaMetrics keeps texts that are digits as numbers.
        """
        kinds = types_of(series.variables, types).tolist()
        self._get("/internal/force_flush").close()
        right = wrong = 0
        query = urlencode({"match[]": '{__name__=~"machine_v[0-9]{5}"}'})
        with self._get(f"/api/v1/export?{query}") as answer:
            for line in answer:
                good, bad = _judge(json.loads(line), series, ticks, kinds)
                right, wrong = right + good, wrong + bad
        return Stored(right, wrong)

    def ticks(self, series: Series, variable: int) -> list[int]:
        """Those that it holds of one variable, in order."""
        query = urlencode({"match[]": f"machine_{name_of(variable)}"})
        with self._get(f"/api/v1/export?{query}") as answer:
            times = [at for line in answer for at in json.loads(line)["timestamps"]]
        return sorted(tick for tick in map(series.tick_of, times) if tick >= 0)

    def _get(self, path: str) -> IO[bytes]:
        opened: IO[bytes] = urllib.request.urlopen(self.url + path, timeout=60)
        return opened


def _judge(row: dict[str, object], series: Series, ticks: int, kinds: Sequence[int]) -> tuple[int, int]:
    labels, values, times = row["metric"], row["values"], row["timestamps"]
    assert isinstance(labels, dict)
    assert isinstance(values, list)
    assert isinstance(times, list)
    variable = variable_of(str(labels["__name__"]).removeprefix("machine_"))
    known = 0 <= variable < series.variables
    right: set[int] = set()
    for at, value in zip(times, values, strict=True):
        tick = series.tick_of(at)
        if known and 0 <= tick < ticks and value == float(exact(kinds[variable], variable, tick)):
            right.add(tick)
    return len(right), len(values) - len(right)


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """A VictoriaMetrics with an empty store. It keeps 100 years, so that no clock makes it drop values silently."""
    port = free_port()
    command = [
        program("victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={folder / 'victoria-metrics'}",
        "-retentionPeriod=100y",
    ]
    with child("victoria-metrics", command, OTHERS, folder) as server:
        server.wait_for(lambda: listening(port), START, "did not listen")
        yield Database(f"http://127.0.0.1:{port}")


@dataclass(frozen=True, slots=True)
class Broker:
    """A mosquitto."""

    url: str
    port: int
    server: Child

    def subscribed(self, seconds: float, topic: str) -> None:
        """Wait until somebody has subscribed; the broker's log says so."""
        self.server.wait_for(lambda: topic in self.server.words(), seconds, f"saw no subscription to {topic}")


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """A mosquitto that queues without limit: what is lost is not its fault. Its log tells of subscriptions."""
    port, settings = free_port(), folder / "mosquitto.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "log_dest stderr",
        "log_type error",
        "log_type subscribe",
        f"user {getpass.getuser()}",
    ]
    settings.write_text("\n".join(lines) + "\n")
    with child("mosquitto", [program("mosquitto"), "-c", str(settings)], OTHERS, folder) as server:
        server.wait_for(lambda: listening(port), START, "did not listen")
        yield Broker(f"mqtt://127.0.0.1:{port}", port, server)
