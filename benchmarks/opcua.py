"""OPC UA to buffer, history and VictoriaMetrics, beside asyncua's handler with `Point` and the batching writer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.collector import collector
from benchmarks.measure import START_UP, Subject, measure
from benchmarks.process import MEASURED, OTHERS, Child, child, python
from benchmarks.row import Row, Wish
from benchmarks.servers import Database, database, program
from simulators.load.series import NAMESPACE, name_of

Start = Callable[[Path, str, Database], AbstractContextManager[Child]]


def opcua(wish: Wish) -> Iterator[Row]:
    """The collector's row, then the baseline's, if it is wanted."""
    program("victoria-metrics")
    yield _run("opcua", partial(_collector, wish=wish), wish, baseline=False)
    if wish.baseline:
        yield _run("opcua asyncua+Point", partial(_script, wish=wish), wish, baseline=True)


def _run(name: str, start: Start, wish: Wish, *, baseline: bool) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-opcua-") as made:
        folder = Path(made)
        with database(folder) as store, _load(folder, wish) as load:
            url = str(load.event("ready", START_UP)["url"])
            with start(folder, url, store) as process:
                return measure(Subject(name, process, baseline), load, store, wish)


def _load(folder: Path, wish: Wish) -> AbstractContextManager[Child]:
    options = wish.load_options(settle=2, drain=60)
    return child("load", python("-m", "simulators.load", "opcua", *options, "--stay"), OTHERS, folder)


def read_entry(wish: Wish) -> dict[str, Any]:
    """All variables, looked at as often as they change."""
    every = f"{1000 / wish.hz:g}ms"
    names = [name_of(variable) for variable in range(wish.variables)]
    return {"signals": [{"name": n, "node": f"nsu={NAMESPACE};s={n}", "every": every} for n in names]}


@contextmanager
def _collector(folder: Path, url: str, store: Database, wish: Wish) -> Iterator[Child]:
    source = {"type": "opcua", "url": url, "security": "none"}
    with collector(folder, source, [read_entry(wish)], store.url, wish) as running:
        yield running


def _script(folder: Path, url: str, store: Database, wish: Wish) -> AbstractContextManager[Child]:
    command = python("-m", "benchmarks.baseline_opcua", url, store.url, str(wish.variables))
    return child("baseline", command, MEASURED, folder)
