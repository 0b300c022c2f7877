"""`load`: the OPC UA load by itself, swallowed by a client that only reads and acknowledges (`sink.py`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import START_UP
from benchmarks.process import MEASURED, OTHERS, child, python
from benchmarks.row import Row, Wish


def load(wish: Wish) -> Iterator[Row]:
    """One row; its CPU time and memory are those of the load."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as made:
        yield _measured(Path(made), wish)


def _measured(folder: Path, wish: Wish) -> Row:
    command = python("-m", "simulators.load", "opcua", *wish.load_options(settle=1, drain=60), "--stay")
    with child("load", command, MEASURED, folder) as server:
        url = str(server.event("ready", START_UP)["url"])
        sink = python("-m", "benchmarks.sink", url, str(wish.variables))
        with child("sink", sink, OTHERS, folder):
            server.event("emitting", START_UP)
            begin, cpu = time.monotonic(), server.cpu()
            finished = server.event("finished", START_UP + wish.seconds)
            lasted, used, peak = time.monotonic() - begin - 1, server.cpu() - cpu, server.peak_mb()
    delivered = int(finished["delivered"])
    return Row(
        name="load",
        values_per_s=round(delivered / lasted, 1),
        cpu_us_per_value=round(used / max(1, delivered) * 1e6, 3),
        rss_mb=round(peak, 1),
        lost=int(finished["emitted"]) - delivered,
        baseline=False,
        emitted=int(finished["emitted"]),
        dropped_by_server=int(finished["dropped"]),
    )
