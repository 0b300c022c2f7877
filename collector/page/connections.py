"""What a visitor is told about a connection: a level per source that does not flicker with every retry.

The supervisor's states change at each attempt (waiting, connecting, waiting, …), and `since` with them. A person asks
"since when is it gone?", so the view keeps the moment at which the level, not the state, changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from collector.health import Health, JobHealth, State
from collector.page.newest import NEVER
from collector.page.words import clip, milliseconds

ORDER: Final = ("unknown", "ok", "busy", "off", "lost", "attention")
"""Levels, the worst last."""


def level_of(job: JobHealth) -> str:
    """Level: ok | busy (first attempt) | off (stopped) | lost (being retried) | attention (somebody must act)."""
    if job.state is State.CONNECTED:
        return "ok"
    if job.state is State.NEEDS_ATTENTION:
        return "attention"
    if job.state is State.STOPPED:
        return "off"
    return "lost" if job.state is State.WAITING or job.attempts else "busy"


class Connections:
    """Levels of all jobs and since when, from looking at the board again and again. Times in ns."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobHealth] = {}
        self._levels: dict[str, tuple[str, int]] = {}
        self._down: dict[str, int] = {}

    def observe(self, health: Health) -> None:
        self._jobs = {job.name: job for job in health.all()}
        for gone in self._levels.keys() - self._jobs.keys():
            del self._levels[gone]
            self._down.pop(gone, None)
        for job in self._jobs.values():
            self._observe(job)

    def _observe(self, job: JobHealth) -> None:
        level = level_of(job)
        if self._levels.get(job.name, ("", 0))[0] != level:
            self._levels[job.name] = (level, job.since)
        if level == "ok":
            self._down.pop(job.name, None)
        else:
            self._down.setdefault(job.name, job.since)

    def jobs(self, *roles: str) -> list[JobHealth]:
        return [job for job in self._jobs.values() if job.role in roles]

    def feeding(self, machine: str) -> list[JobHealth]:
        """The sources that name this machine; else those that name none, because they feed whatever comes."""
        sources = self.jobs("source")
        named = [job for job in sources if machine in job.machines]
        return named or [job for job in sources if not job.machines]

    def down(self, machine: str, now: int) -> int:
        """Values received up to this moment are stale because a source is lost; NEVER when none is."""
        sources = self.feeding(machine)
        lost = [self._down[job.name] for job in sources if job.name in self._down]
        if not lost:
            return NEVER
        return now if len(lost) == len(sources) else max(lost)

    def of(self, machine: str) -> dict[str, Any]:
        """The worst connection of a machine's sources, as JSON."""
        told = [self.tell(job) for job in self.feeding(machine)]
        if not told:
            return {"state": "", "level": "unknown", "since": None, "error": "", "remedy": "", "source": ""}
        worst = worst_of(told)
        return {key: worst[key] for key in ("state", "level", "since", "error", "remedy")} | {
            "source": worst["name"]
        }

    def tell(self, job: JobHealth) -> dict[str, Any]:
        """One job as JSON; error and remedy only while it does not work."""
        level, since = self._levels[job.name]
        broken = level != "ok"
        return {
            "name": clip(job.name),
            "role": job.role,
            "state": str(job.state),
            "level": level,
            "since": milliseconds(since),
            "attempts": job.attempts,
            "error": clip(job.error) if broken else "",
            "remedy": clip(job.remedy) if broken else "",
        }


def worst_of(told: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return max(told, key=lambda job: ORDER.index(job["level"]))
