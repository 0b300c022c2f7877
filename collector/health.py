"""What is true of every job right now: one state per source and sink, kept by the supervisor, read by status, page and tests.

And of the process itself: alarms by name, raised and cleared by whoever watches something (`collector/pulse.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from collector.journal.base import Ledger

log = logging.getLogger("collector")


class State(StrEnum):
    """Where a job stands. `waiting` is between two attempts; `needs_attention` waits for somebody to change something."""

    STARTING = "starting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    NEEDS_ATTENTION = "needs_attention"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class JobHealth:
    """name: the source, sink or service. since: ns, when this state began. attempts: failed tries since it last worked."""

    name: str
    role: str  # source | sink | archive | service
    state: State
    since: int
    attempts: int = 0
    error: str = ""
    remedy: str = ""
    machines: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


class Health:
    """The board on which the supervisor writes and everybody else reads."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobHealth] = {}
        self._alarms: dict[str, str] = {}
        self.loop_lag_s = 0.0  # the worst of the last minute

    @property
    def alarms(self) -> Mapping[str, str]:
        """What is wrong with the process right now, in a sentence each, by name."""
        return self._alarms

    def alarm(self, name: str, words: str) -> None:
        """Raised: one line in the log; raised again: none."""
        if name not in self._alarms:
            log.error("%s", words)
        self._alarms[name] = words

    def clear(self, name: str, words: str) -> None:
        if self._alarms.pop(name, None) is not None:
            log.info("%s", words)

    def put(self, job: JobHealth) -> None:
        self._jobs[job.name] = job

    def change(self, name: str, state: State, since: int, **changes: object) -> JobHealth:
        """A new state for a known job; `since` moves only when the state really changed."""
        before = self._jobs[name]
        began = since if before.state is not state else before.since
        self._jobs[name] = replace(before, state=state, since=began, **changes)  # type: ignore[arg-type]
        return self._jobs[name]

    def remove(self, name: str) -> None:
        self._jobs.pop(name, None)

    def __getitem__(self, name: str) -> JobHealth:
        return self._jobs[name]

    def all(self) -> tuple[JobHealth, ...]:
        return tuple(self._jobs.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """ready: everything has begun and nothing waits for somebody. healthy: the process itself does its work.

    A machine that is lost makes neither false: the collector tries again, and nothing is missing yet. reasons: why not,
    in sentences.
    """

    ready: bool
    healthy: bool
    reasons: tuple[str, ...] = ()


def verdict(health: Health, ledger: Ledger | None = None) -> Verdict:
    """As command, page and service manager say it alike. ledger: values that the books miss, or a buffer without space,
    are faults of ours.
    """
    waiting = [_why(job) for job in waits(health)]
    faults = list(health.alarms.values())
    if ledger is not None and ledger.unaccounted:
        faults.append(f"{ledger.unaccounted} values are not accounted for")
    if ledger is not None and ledger.space is not None and ledger.space.condition:
        faults.append(ledger.space.condition)
    ready = bool(health.all()) and not waiting
    return Verdict(ready, not faults, (*faults, *waiting))


def waits(health: Health) -> list[JobHealth]:
    """Those that have not begun, and those that wait for somebody to change something."""
    return [job for job in health.all() if job.state in (State.STARTING, State.NEEDS_ATTENTION)]


def _why(job: JobHealth) -> str:
    return f"{job.name}: {job.error}" if job.error else f"{job.name}: {str(job.state).replace('_', ' ')}"
