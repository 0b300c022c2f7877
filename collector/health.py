"""What is true of every job right now: one state per source and sink, kept by the supervisor, read by status, page and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


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
