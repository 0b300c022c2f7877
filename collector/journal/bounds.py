"""The two doors through which something leaves the journal that a follower has not read: a full buffer that was told to
drop its oldest, and a sink that was told to let go. Both write a gap record in the transaction that does it, so that
there is no moment at which something is missing and nothing says so.

A drop reads what it deletes: its gap tells times and machines from the values themselves. A release may concern
gigabytes and deletes nothing by itself; its gap tells the times of the appends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from adapters.base import Position
from collector.journal import books, queries
from collector.journal.store import JOURNAL, Store
from pipelines import codec
from pipelines.batch import Batch
from pipelines.stage import Gap


@dataclass(slots=True)
class _Loss:
    """What one source loses. begins, ends: ns, the times of its values."""

    begins: int
    ends: int
    count: int = 0
    machines: set[str] = field(default_factory=set)


def drop(store: Store, upto: Position) -> int:
    """Delete the rows up to `upto` and move on whoever had not read them; returns how many rows went.

    Only rows that identity does not need any more. Within a transaction.
    """
    behind = sorted(name for name, cursor in store.standing.cursors.items() if cursor < upto)
    if behind:
        _tell_dropped(store, upto, behind)
    for name in behind:
        _pass_over(store, name, upto)
    return store.delete(upto)


def _tell_dropped(store: Store, upto: Position, behind: Sequence[str]) -> None:
    """One gap per source: from its first to its last value that some follower had not read."""
    after = min(store.standing.cursors[name] for name in behind)
    losses: dict[str, _Loss] = {}
    for row in queries.rows(store.connection, after, 1 << 62, upto):
        _count(store, losses, row)
    detail = f"the buffer was full; dropped before it was stored by {', '.join(behind)}"
    for source, loss in sorted(losses.items()):
        machines = tuple(sorted(loss.machines))
        gap = Gap(loss.begins, loss.ends, "buffer_full", detail, machines, loss.count)
        books.add_gaps(store.connection, source, upto, [gap], store.room.gap_rows)


def _count(store: Store, losses: dict[str, _Loss], row: queries.Row) -> None:
    batches = list(_readable(row))
    times = [int(edge) for batch in batches for edge in (batch.at.min(), batch.at.max())] or [row.appended]
    loss = losses.setdefault(row.source, _Loss(min(times), max(times)))
    loss.begins, loss.ends = min(loss.begins, *times), max(loss.ends, *times)
    loss.count += row.values
    loss.machines.update(_machines(store, batches))


def _readable(row: queries.Row) -> Iterator[Batch]:
    """Nothing of a damaged row: then the time of its append has to do."""
    try:
        batches = [] if row.damaged else codec.decode(row.blob)
    except codec.CodecError:
        return
    yield from (batch for batch in batches if len(batch))


def _machines(store: Store, batches: Iterable[Batch]) -> set[str]:
    return {store.registry[point].machine for batch in batches for point in set(batch.points.tolist())}


def release(store: Store, follower: str) -> int:
    """Move the cursor of a dead sink to the tail; returns the values that it will not get: none if somebody has let go of it
    meanwhile. Within a transaction.
    """
    known = queries.follower(store.connection, follower)
    if known is None:
        return 0
    begins, ends = _appended(store, known.cursor)
    count = _pass_over(store, follower, store.standing.position)
    if count:
        detail = f"{follower} was released: positions {known.cursor + 1} to {store.standing.position} were not stored there"
        gap = Gap(begins, ends, "sink_released", detail, count=count)
        books.add_gaps(store.connection, JOURNAL, store.standing.position, [gap])
    return count


def _appended(store: Store, after: Position) -> tuple[int, int]:
    """When the first and the last row behind `after` were appended."""
    ask = "SELECT appended FROM entries WHERE position > ? ORDER BY position {} LIMIT 1"
    first, last = (store.connection.execute(ask.format(way), (after,)).fetchone() for way in ("", "DESC"))
    now = store.clock.now()
    return (now, now) if first is None else (min(first[0], last[0]), max(first[0], last[0]))


def _pass_over(store: Store, follower: str, upto: Position) -> int:
    """A cursor moves on without its values having been stored; a range that was fixed there is given up."""
    total = store.total_at(upto)
    known = queries.follower(store.connection, follower)
    if known is None or known.cursor >= upto:
        return 0
    store.connection.execute(
        "UPDATE followers SET cursor = ?, reached = ?, dropped = dropped + ?, planned_first = NULL,"
        " planned_last = NULL WHERE name = ?",
        (upto, total, total - known.reached, follower),
    )
    store.standing.cursors[follower] = upto
    return total - known.reached
