"""The books within a transaction: accounts of the sources, quarantine, gaps, registry. The caller begins and commits.

Quarantine and gaps are bounded: a peer that sends rubbish for a week must not push out the values. The oldest go first
and are counted; the accounts keep counting what the list no longer shows.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adapters.base import Delivery, Position
from collector.journal import setaside
from pipelines.registry import Registry
from pipelines.stage import Gap, Reason, Refined, Refusal, Remark

RAW: Final = 64 * 1024
QUARANTINE_ROWS: Final = 10_000
QUARANTINE_BYTES: Final = 32 * 1024 * 1024
GAP_ROWS: Final = 100_000


def add_points(connection: sqlite3.Connection, registry: Registry, stored: int) -> int:
    """Write the points that came since `stored` of them were written; returns how many are written now."""
    new = registry.since(stored)
    connection.executemany(
        "INSERT INTO points (id, machine, name, kind, unit, tags) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (stored + row, p.machine, p.name, int(p.kind), p.unit, json.dumps(dict(sorted(p.tags.items()))))
            for row, p in enumerate(new)
        ],
    )
    return stored + len(new)


def book(
    connection: sqlite3.Connection, source: str, journaled: int, delivery: Delivery, refined: Refined
) -> None:
    """One append in the account of its source, and its checkpoint if it brought one."""
    connection.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (source,))
    filtered, remarks = connection.execute(
        "SELECT filtered, remarks FROM sources WHERE name = ?", (source,)
    ).fetchone()
    refused = sum(r.values for r in delivery.refused) + sum(r.values for r in refined.refused)
    connection.execute(
        "UPDATE sources SET decoded = decoded + ?, journaled = journaled + ?, refused = refused + ?, gaps = gaps + ?,"
        " filtered = ?, remarks = ?, checkpoint = coalesce(?, checkpoint), booked = booked + 1 WHERE name = ?",
        (
            delivery.decoded,
            journaled,
            refused,
            len(delivery.gaps),
            _added(filtered, refined.counts),
            _added(remarks, refined.remarks),
            delivery.checkpoint,
            source,
        ),
    )


def _added(stored: str, more: Mapping[Reason, int] | Mapping[Remark, int]) -> str:
    if not more:
        return stored
    counts = Counter(json.loads(stored))
    counts.update({str(key): count for key, count in more.items()})
    return json.dumps(counts)


def add_refusals(connection: sqlite3.Connection, origin: str, refused: Iterable[Refusal]) -> int:
    """Into quarantine, cut to 64 KiB each; returns the bytes that were added."""
    added = 0
    for r in refused:
        row = connection.execute(
            "INSERT INTO quarantine (origin, place, reason, raw, at, count) VALUES (?, ?, ?, ?, ?, ?)",
            (origin, r.where, r.reason, bytes(r.raw[:RAW]), r.at, r.values),
        )
        added += len(r.raw[:RAW]) + len(r.where) + len(r.reason)
        added += setaside.keep_values(connection, row.lastrowid or 0, r)
    return added


def quarantine_size(connection: sqlite3.Connection) -> tuple[int, int]:
    """Rows and bytes (raw bytes and texts)."""
    rows, size = connection.execute(
        "SELECT count(*), coalesce(sum(length(raw) + length(place) + length(reason)), 0) FROM quarantine"
    ).fetchone()
    values = connection.execute("SELECT coalesce(sum(length(batch)), 0) FROM refused_values").fetchone()[0]
    return int(rows), int(size + values)


def trim_quarantine(connection: sqlite3.Connection, rows: int, size: int, most: int) -> None:
    """Drop the oldest refusals until QUARANTINE_ROWS and `most` bytes hold again, and count what was dropped."""
    doomed, freed = 0, 0
    oldest = connection.execute(
        "SELECT number, length(raw) + length(place) + length(reason) + coalesce(length(batch), 0)"
        " FROM quarantine LEFT JOIN refused_values USING (number) ORDER BY number"
    )
    last = 0
    for number, length in oldest:
        if rows - doomed <= QUARANTINE_ROWS and size - freed <= most:
            break
        last, doomed, freed = number, doomed + 1, freed + length
    oldest.close()
    connection.execute("DELETE FROM quarantine WHERE number <= ?", (last,))
    connection.execute("UPDATE meta SET value = value + ? WHERE key = 'quarantine_dropped'", (doomed,))


def add_gaps(
    connection: sqlite3.Connection,
    source: str,
    position: Position,
    gaps: Sequence[Gap],
    most: int = GAP_ROWS,
) -> None:
    """most: how many gaps are kept, of all sources."""
    connection.executemany(
        "INSERT INTO gaps (source, position, begins, ends, reason, detail, machines, count)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (source, position, g.begins, g.ends, g.reason, g.detail, json.dumps(list(g.machines)), g.count)
            for g in gaps
        ],
    )
    if gaps:
        _trim_gaps(connection, most)


def _trim_gaps(connection: sqlite3.Connection, most: int) -> None:
    connection.execute(
        "DELETE FROM gaps WHERE number <= (SELECT max(number) FROM gaps) - ?",
        (most,),
    )
    dropped = int(connection.execute("SELECT changes()").fetchone()[0])
    if dropped:
        connection.execute("UPDATE meta SET value = value + ? WHERE key = 'gaps_dropped'", (dropped,))
