"""The books as the page tells them: per source and per sink, and whether every value is accounted for."""

from __future__ import annotations

from typing import Any

from collector.journal.base import Ledger, SinkAccount, SourceAccount, Space
from collector.page.connections import Connections
from collector.page.words import clip


def accounts(connections: Connections, ledger: Ledger | None) -> dict[str, Any]:
    """Sources, sinks (the history is one), other jobs, buffer and the difference; None where the books are closed."""
    return {
        "sources": _sources(connections, ledger),
        "sinks": _sinks(connections, ledger),
        "services": [connections.tell(job) for job in connections.jobs("service", "derivation")],
        "buffer": None
        if ledger is None
        else {"bytes": ledger.size, "tail": ledger.tail, **_space(ledger.space)},
        "unaccounted": None if ledger is None else ledger.unaccounted,
    }


def _space(space: Space | None) -> dict[str, Any]:
    """full_in: s until the buffer is full, None while nobody holds it up; condition: what is wrong with it now, or ""."""
    if space is None:
        return {"full_in": None, "held_by": [], "condition": ""}
    full_in = space.full_in if space.held_by else None
    return {
        "full_in": None if full_in is None else _coarse(full_in),
        "held_by": [clip(name) for name in space.held_by],
        "condition": clip(space.condition or ""),
    }


def _coarse(seconds: float) -> int:
    """So that a forecast does not change at every look: full hours beyond a day, minutes beyond an hour, else ten seconds."""
    step = 3600 if seconds >= 86_400 else 60 if seconds >= 3600 else 10
    return int(seconds // step) * step


def _sources(connections: Connections, ledger: Ledger | None) -> list[dict[str, Any]]:
    books = {} if ledger is None else ledger.sources
    jobs = connections.jobs("source")
    return [
        connections.tell(job)
        | {"machines": [clip(machine) for machine in job.machines]}
        | _source(books.get(job.name))
        for job in jobs
    ]


def _source(account: SourceAccount | None) -> dict[str, int]:
    if account is None:
        return {}
    return {
        "decoded": account.decoded,
        "journaled": account.journaled,
        "refused": account.refused,
        "filtered": sum(account.filtered.values()),
        "gaps": account.gaps,
        "unaccounted": account.unaccounted,
    }


def _sinks(connections: Connections, ledger: Ledger | None) -> list[dict[str, Any]]:
    """Also followers that have books and no job any more: their values are still waiting."""
    books = {} if ledger is None else ledger.sinks
    jobs = connections.jobs("sink", "archive")
    known = {job.name for job in (*jobs, *connections.jobs("derivation"))}
    orphans = [name for name in books if name not in known]
    told = [connections.tell(job) | _sink(books.get(job.name)) for job in jobs]
    return told + [_orphan(name) | _sink(books[name]) for name in orphans]


def _orphan(name: str) -> dict[str, Any]:
    return {
        "name": clip(name), "role": "sink", "state": "stopped", "level": "off",
        "since": None, "attempts": 0, "error": "", "remedy": "",
    }  # fmt: skip


def _sink(account: SinkAccount | None) -> dict[str, int]:
    if account is None:
        return {}
    return {
        "stored": account.stored,
        "quarantined": account.quarantined,
        "pending": account.pending,
        "unaccounted": account.unaccounted,
    }
