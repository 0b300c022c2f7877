"""The books as people and scripts read them: one row per source and sink, and the one number that must be 0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collector.health import Health, JobHealth
from collector.journal.base import Ledger, SinkAccount, SourceAccount
from collector.words import duration_words
from pipelines.derivation import PREFIX


def summary(ledger: Ledger, health: Health | None = None) -> dict[str, Any]:
    """JSON-ready: `sources` and `sinks` (lists with `name` and counts of values), `unaccounted`, `buffer_bytes`.

    `derivations`: how far those that compute are; what they made stands among the sources.
    """
    jobs = {} if health is None else {job.name: job for job in health.all()}
    silent = {
        name: SourceAccount() for name, job in jobs.items() if job.role == "source"
    }  # nothing came of them yet
    sources = {**silent, **ledger.sources}
    sinks = [_sink(name, account, jobs.get(name)) for name, account in sorted(ledger.sinks.items())]
    return {
        "sources": [_source(name, account, jobs.get(name)) for name, account in sorted(sources.items())],
        "sinks": [row for row in sinks if not row["name"].startswith(PREFIX)],
        "derivations": [row for row in sinks if row["name"].startswith(PREFIX)],
        "unaccounted": ledger.unaccounted,
        "buffer_bytes": ledger.size,
        "buffer": _buffer(ledger),
        "quarantine": {"rows": ledger.quarantine.rows, "dropped": ledger.quarantine.dropped},
    }


def _buffer(ledger: Ledger) -> dict[str, Any]:
    """bytes, and of a running collector: max_bytes, full_in_s (None: does not fill), held_by, condition (None: well)."""
    if ledger.space is None:
        return {"bytes": ledger.size}
    space = ledger.space
    return {
        "bytes": space.bytes,
        "max_bytes": space.max_bytes,
        "full_in_s": None if space.full_in is None else round(space.full_in),
        "held_by": list(space.held_by),
        "condition": space.condition,
    }


def _buffer_words(buffer: dict[str, Any]) -> Iterable[str]:
    """'buffer: full in 4 d: waits for influxdb', only when there is something to say."""
    if buffer.get("condition"):
        yield f"buffer: {buffer['condition']}"
    holding = ", ".join(buffer.get("held_by", ()))
    if holding and buffer.get("full_in_s") is not None:
        yield f"buffer: full in {duration_words(buffer['full_in_s'])}: waits for {holding}"


def _source(name: str, account: SourceAccount, job: JobHealth | None) -> dict[str, Any]:
    return {
        "name": name,
        "decoded": account.decoded,
        "journaled": account.journaled,
        "refused": account.refused,
        "replayed": account.replayed,
        "purged": account.purged,
        "filtered": sum(account.filtered.values()),
        "filtered_by": {str(reason): count for reason, count in sorted(account.filtered.items())},
        "remarks": {str(remark): count for remark, count in sorted(account.remarks.items())},
        "gaps": account.gaps,
        "unaccounted": account.unaccounted,
        **_state(job),
    }


def _sink(name: str, account: SinkAccount, job: JobHealth | None) -> dict[str, Any]:
    return {
        "name": name,
        "journaled": account.journaled,
        "stored": account.stored,
        "quarantined": account.quarantined,
        "replayed": account.replayed,
        "purged": account.purged,
        "dropped": account.dropped,
        "pending": account.pending,
        "unaccounted": account.unaccounted,
        **_state(job),
    }


def _state(job: JobHealth | None) -> dict[str, Any]:
    if job is None:
        return {}
    return {
        "state": str(job.state),
        "since": job.since,
        "error": job.error,
        "remedy": job.remedy,
        "facts": dict(job.facts),
    }


def table(books: dict[str, Any]) -> Iterable[str]:
    """The same as lines for a terminal. In these words the journal is the buffer and the ledger 'accounted for'."""
    yield f"{'source':<20}{'decoded':>12}{'buffered':>12}{'filtered':>12}{'refused':>10}"
    for row in books["sources"]:
        yield f"{row['name']:<20}{row['decoded']:>12}{row['journaled']:>12}{row['filtered']:>12}{row['refused']:>10}"
    yield f"{'sink':<20}{'to store':>12}{'stored':>12}{'pending':>12}{'quarantined':>12}"
    for row in books["sinks"]:
        yield (
            f"{row['name']:<20}{row['journaled']:>12}{row['stored']:>12}{row['pending']:>12}{row['quarantined']:>12}"
        )
    for row in books["sinks"]:
        if row["dropped"]:
            yield f"{row['name']}: {row['dropped']} values were dropped unread; the gaps tell which"
    yield from _buffer_words(books["buffer"])
    held = books["quarantine"]
    if held["rows"] or held["dropped"]:
        yield f"quarantine: {held['rows']} refusals (collector quarantine list), {held['dropped']} older ones dropped"
    missing = books["unaccounted"]
    yield "accounted for: every value" if missing == 0 else f"NOT accounted for: {missing} values"
