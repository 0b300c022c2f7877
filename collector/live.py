"""Values in flight as rows for people and scripts: what `tap`, `run --dry-run` and the demo show."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from typing import Any

from collector.journal.base import Journal
from collector.words import printable, time_words
from pipelines.batch import Batch, Flag, Kind
from pipelines.quality import class_of
from pipelines.registry import Registry


def rows_of(registry: Registry, batch: Batch) -> Iterator[dict[str, Any]]:
    """JSON-ready rows of a batch: time in ns, value None where there is none."""
    for row in range(len(batch)):
        point = registry[int(batch.points[row])]
        yield {
            "time": int(batch.at[row]),
            "machine": point.machine,
            "signal": point.name,
            "value": None if batch.flags[row] & Flag.NO_VALUE else _plain(batch.kind, batch.values[row]),
            "unit": point.unit,
            "quality": class_of(int(batch.quality[row])),
            "status_code": int(batch.quality[row]),
        }


def _plain(kind: Kind, value: Any) -> Any:
    if kind is Kind.TEXT:
        return str(value)
    return value.tolist()


async def tap(journal: Journal, machine: str = "*", signal: str = "*") -> AsyncIterator[dict[str, Any]]:
    """What becomes durable from now on, as rows; a slow reader skips ahead rather than holding anything up."""
    wanted = lru_cache(maxsize=None)(
        lambda point: (
            fnmatch.fnmatchcase(journal.registry[point].machine, machine)
            and fnmatch.fnmatchcase(journal.registry[point].name, signal)
        )
    )
    async with journal.watch() as slices:
        async for _, batches in slices:
            for batch in batches:
                rows = [row for row in range(len(batch)) if wanted(int(batch.points[row]))]
                for row in rows_of(journal.registry, batch.take(_index(rows))) if rows else ():
                    yield row


def _index(rows: list[int]) -> Any:
    import numpy as np

    return np.asarray(rows, dtype=np.intp)


def line_of(row: Mapping[str, Any]) -> str:
    """'2026-11-21T08:00:00.000000000Z  cnc-1/spindle_load  41.2 %', with the quality where it is not good."""
    value = "-" if row["value"] is None else row["value"]
    quality = "" if row["quality"] == "good" else f"  [{row['quality']} 0x{row['status_code']:08X}]"
    text = f"{time_words(row['time'])}  {row['machine']}/{row['signal']}  {value} {row['unit']}{quality}"
    return printable(text.rstrip())
