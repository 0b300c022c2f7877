"""The books as the page tells them: per source and per sink, and whether every value is accounted for."""

from __future__ import annotations

from typing import Any

from collector.journal.base import Ledger, SinkAccount, SourceAccount
from collector.page.connections import Connections
from collector.page.words import clip


def accounts(connections: Connections, ledger: Ledger | None) -> dict[str, Any]:
    """Sources, sinks (the history is one), other jobs, buffer and the difference; None where the books are closed."""
    return {
        "sources": _sources(connections, ledger),
        "sinks": _sinks(connections, ledger),
        "services": [connections.tell(job) for job in connections.jobs("service", "derivation")],
        "buffer": None if ledger is None else {"bytes": ledger.size, "tail": ledger.tail},
        "unaccounted": None if ledger is None else ledger.unaccounted,
    }


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
