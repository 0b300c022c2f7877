"""From the first value to the last one stored: the same measurement for the collector and for the scripts beside it."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.process import CannotMeasure, Child
from benchmarks.row import Row, Wish
from benchmarks.servers import Database
from simulators.load.series import Series

START_UP = 90.0  # s until everything is subscribed
PATIENCE = 60.0  # s without a new value in the database, after which the rest counts as lost
LOOK = 0.1
STILL = 2.0  # s; the collector collects for 0.2 s, the scripts for 1 s
TRICKLE = 50  # values


class Subject(NamedTuple):
    """What is measured. per_message: values for each that the load counts as one."""

    name: str
    process: Child
    baseline: bool
    per_message: int = 1


class Arrived(NamedTuple):
    """When the database had the last value (monotonic, s), and the CPU time of the subject then (s)."""

    moment: float
    cpu: float


def measure(subject: Subject, load: Child, database: Database, wish: Wish) -> Row:
    """One row. The load has been started; it waits for its subscriber or is about to begin."""
    emitting = load.event("emitting", START_UP)
    series = Series(wish.variables, wish.hz, int(emitting["start_ns"]))
    ticks = int(emitting["ticks"])
    time.sleep(max(0.0, (series.start_ns - time.time_ns()) / 1e9 - 2 * LOOK))
    before = database.inserted()
    begin, load_begin = Arrived(time.monotonic(), subject.process.cpu()), load.cpu()
    time.sleep(ticks / wish.hz)
    end = _arrived(subject.process, database, before + ticks * wish.variables)
    load_cpu, finished = load.cpu() - load_begin, load.event("finished", START_UP)
    rss = subject.process.peak_mb()
    emitted = int(finished["emitted"]) * subject.per_message
    _complete(database, series, ticks, emitted, wish)
    subject.process.stop()
    stored = database.stored(series, ticks, wish.types)
    if not stored.right:
        raise CannotMeasure(f"{subject.name} stored nothing.\n{subject.process.words()}")
    return Row(
        name=subject.name,
        values_per_s=round(stored.right / (end.moment - begin.moment), 1),
        cpu_us_per_value=round((end.cpu - begin.cpu) / stored.right * 1e6, 3),
        rss_mb=round(rss, 1),
        lost=emitted - stored.right,
        baseline=subject.baseline,
        emitted=emitted,
        extra=stored.wrong,
        dropped_by_server=int(finished.get("dropped", 0)),
        unaccounted=unaccounted(subject.process),
        load_cpu_us_per_value=round(load_cpu / stored.right * 1e6, 3),
    )


def _arrived(process: Child, database: Database, target: int) -> Arrived:
    """Look at the database's counter until it stands still: shortly if it has come to `target`, longer if not.

    Standing still is less than TRICKLE more: facts about the connection are values too, and come all the time. For the
    same reason the counter may come to `target` before the last value has.
    """
    seen, last = database.inserted(), Arrived(time.monotonic(), process.cpu())
    while time.monotonic() - last.moment < (STILL if seen >= target else PATIENCE):
        time.sleep(LOOK)
        now = database.inserted()
        if now >= seen + TRICKLE:
            seen, last = now, Arrived(time.monotonic(), process.cpu())
    return last


def _complete(database: Database, series: Series, ticks: int, emitted: int, wish: Wish) -> None:
    """Wait until everything is there, or nothing more has come for so long that it will not: a machine may stand still."""
    right, since = -1, time.monotonic()
    while right < emitted and time.monotonic() - since < PATIENCE:
        if (now := database.stored(series, ticks, wish.types).right) > right:
            right, since = now, time.monotonic()
        else:
            time.sleep(LOOK)


def unaccounted(process: Child) -> int | None:
    """What the collector's own books say at the end; None for who keeps none."""
    books = [line for line in process.lines() if "unaccounted" in line]
    return int(books[-1]["unaccounted"]) if books else None
