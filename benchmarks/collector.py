"""The collector as it is measured: `collector run`, with buffer, history and database, from a configuration made here.

The page is off (nobody looks at it); everything else is as by default, except that the history closes its files every
5 s instead of every 5 min: otherwise a run of ten seconds would not contain that work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.process import MEASURED, Child, child, python
from benchmarks.row import Wish


@contextmanager
def collector(
    folder: Path, source: Mapping[str, Any], reads: Sequence[Mapping[str, Any]], influx: str, wish: Wish
) -> Iterator[Child]:
    """`collector run` on its own core. source, reads: as in the configuration."""
    settings = folder / "collector.yaml"
    settings.write_text(json.dumps(configuration(folder, source, reads, influx)))
    profile = ["-m", "cProfile", "-o", wish.profile] if wish.profile else []
    command = python("-P", *profile, "-m", "collector", "run", str(settings), "--json")
    with child("collector", command, MEASURED, folder) as running:
        yield running


def configuration(
    folder: Path, source: Mapping[str, Any], reads: Sequence[Mapping[str, Any]], influx: str
) -> dict[str, Any]:
    """JSON is YAML."""
    return {
        "version": 1,
        "state": str(folder / "state"),
        "page": "off",
        "sources": {"load": source},
        "machines": [{"id": "m1", "read": [{"source": "load", **read} for read in reads]}],
        "sinks": [{"type": "influxdb", "url": influx, "org": "bench", "bucket": "bench"}],
        "history": {"seal_every": "5s"},
    }
