"""`returns`: an OPC UA server is killed and started again on the same port; when does every signal have a value again?

The clock of the figure begins when the port is open, and ends when the database holds the first value of each signal from the
server's second life (its counter is told once a second, so the figure is up to a second too long).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.collector import collector
from benchmarks.measure import START_UP, unaccounted
from benchmarks.opcua import read_entry
from benchmarks.process import OTHERS, CannotMeasure, Child, child, python
from benchmarks.row import Row, Wish
from benchmarks.servers import Database, database, program
from simulators.load.series import Series, name_of

LOOK = 0.05


def returns(wish: Wish) -> Iterator[Row]:
    """One row; CPU time per value is that of coming back, from the open port to the last of the first values."""
    program("victoria-metrics")
    with tempfile.TemporaryDirectory(prefix="bench-returns-") as made:
        folder = Path(made)
        with database(folder) as store:
            yield _run(folder, store, wish)


def _run(folder: Path, store: Database, wish: Wish) -> Row:
    with _load(folder, "first", 0, wish) as load:
        url = str(load.event("ready", START_UP)["url"])
        source = {"type": "opcua", "url": url, "security": "none"}
        with collector(folder, source, [read_entry(wish)], store.url, wish) as running:
            load.event("emitting", START_UP)
            _until(running, store, wish.variables)
            load.process.kill()
            time.sleep(wish.away)
            return _back(folder, store, running, int(urlsplit(url).port or 0), wish)


def _back(folder: Path, store: Database, running: Child, port: int, wish: Wish) -> Row:
    before = store.inserted()
    with _load(folder, "second", port, wish) as load:
        load.event("ready", START_UP)
        opened, cpu = time.monotonic(), running.cpu()
        emitting = load.event("emitting", START_UP)
        _until(running, store, before + wish.variables)
        lasted, used = time.monotonic() - opened, running.cpu() - cpu
        finished = load.event("finished", START_UP + wish.seconds)
        peak = running.peak_mb()
        running.stop()
        series = Series(wish.variables, wish.hz, int(emitting["start_ns"]))
        stored = store.stored(series, int(emitting["ticks"]), wish.types)
    if stored.right < int(finished["emitted"]):
        print(_why(store, series, finished, running), file=sys.stderr)
    return Row(
        name="returns",
        values_per_s=round(wish.variables / lasted, 1),
        cpu_us_per_value=round(used / wish.variables * 1e6, 3),
        rss_mb=round(peak, 1),
        lost=int(finished["emitted"]) - stored.right,
        baseline=False,
        emitted=int(finished["emitted"]),
        dropped_by_server=int(finished.get("dropped", 0)),
        unaccounted=unaccounted(running),
        back_s=round(lasted, 2),
    )


def _why(store: Database, series: Series, finished: Mapping[str, Any], running: Child) -> str:
    """Whose loss it is: what the server says, which ticks the database has of one variable, the collector's books and words."""
    books = [line for line in running.lines() if "unaccounted" in line][-1:]
    told = {name: count for name, count in finished.items() if name != "event"}
    return (
        f"server: {told}\nticks of {name_of(0)}: {store.ticks(series, 0)}\nbooks: {books}\n{running.words()}"
    )


def _load(folder: Path, name: str, port: int, wish: Wish) -> AbstractContextManager[Child]:
    # The server waits for the last acknowledgement: a disk that stands still for some seconds is not a loss.
    options = [*wish.load_options(settle=0, drain=60), f"--port={port}", "--stay"]
    return child(name, python("-m", "simulators.load", "opcua", *options), OTHERS, folder)


def _until(running: Child, store: Database, values: int) -> None:
    deadline = time.monotonic() + START_UP
    while store.inserted() < values:
        if time.monotonic() > deadline:
            raise CannotMeasure(f"not every signal came back within {START_UP:g} s.\n{running.words()}")
        time.sleep(LOOK)
