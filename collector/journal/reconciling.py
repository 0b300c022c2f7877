"""The mark and the file at a start: what was acknowledged and is not there is told, and never given out again."""

from __future__ import annotations

import logging
from typing import NamedTuple

from collector.journal import books
from collector.journal.mark import HighWater
from collector.journal.schema import Unreadable
from collector.journal.store import JOURNAL, Store
from pipelines.stage import Gap

log = logging.getLogger("collector.journal")


class Loss(NamedTuple):
    """begins: ns, since when something may be missing."""

    begins: int
    detail: str


def reconcile(store: Store, high: HighWater | None, loss: Loss | None, *, booked: bool) -> None:
    """Go on behind the mark, never before it: positions that a history file may already bear are not given again.

    booked: whether the count of appends can be relied on. Within a transaction. Raises Unreadable.
    """
    standing, now = store.standing, store.clock.now()
    ours = high is not None and (standing.position == 0 or high.store == store.name)
    if high is not None and ours and high.position > standing.position:
        _look_through(store)
        loss = loss or Loss(_last_seen(store, now), "the buffer ends before what was acknowledged")
        first, missing = standing.position + 1, high.total - standing.total
        detail = f"{loss.detail}: positions {first} to {high.position}"
        gap = Gap(loss.begins, now, "journal_damaged", detail, count=missing if standing.position else None)
        _rebase(store, high)
        _tell(store, gap)
    elif loss is not None:
        _tell(store, Gap(loss.begins, now, "journal_damaged", loss.detail))
    elif high is not None and ours and booked and high.booked > standing.booked:
        _look_through(store)
        _tell(store, _unbooked(store, high, now))


def _unbooked(store: Store, high: HighWater, now: int) -> Gap:
    """Appends without values bear no position: refusals, gaps, checkpoints and counts."""
    many = high.booked - store.standing.booked
    detail = f"{many} deliveries without values that were acknowledged are missing: what they refused or told is not known"
    return Gap(_last_seen(store, now), now, "journal_damaged", detail)


def _look_through(store: Store) -> None:
    """A log that ends too early may have left old pages beside new ones. This reads all of the file, and only now."""
    verdict = str(store.connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise Unreadable(verdict)


def _tell(store: Store, gap: Gap) -> None:
    log.error("%s: %s", store.path, gap.detail)
    books.add_gaps(store.connection, JOURNAL, store.standing.position, [gap])


def _last_seen(store: Store, now: int) -> int:
    row = store.connection.execute("SELECT appended FROM entries ORDER BY position DESC LIMIT 1").fetchone()
    return now if row is None else min(now, row[0])


def _rebase(store: Store, high: HighWater) -> None:
    store.standing.position, store.standing.total = high.position, high.total
    for key, value in (("base_position", high.position), ("base_total", high.total)):
        store.connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
