"""Another configuration for a collector at work, as one transaction: all of it, or the old one goes on untouched.

Load and validate, build and probe what is new beside what runs, and only then close what changed and open what replaces
it. What does not come up is undone: the old objects start again. Sources and sinks that stay the same are not looked at:
their sessions, subscriptions and cursors live on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from adapters.base import Bench, Finding, Lingering, Sink, Source
from adapters.errors import AdapterError, Misconfigured
from collector.assembly import Line, followers, reassemble
from collector.configured import Changes, ConfigState, changes, hash_of
from collector.health import State
from collector.journal.waiting import first_of
from collector.probe import ask_all
from collector.run import Plant, Running
from collector.supervisor import attempted
from config.load import Loaded
from config.problems import Problem
from config.settings import Settings
from pipelines.registry import Registry

log = logging.getLogger("collector")

PROBE_PATIENCE = 15.0
"""Seconds that a new or changed peer may take to answer the probe."""
COMING_UP = 20.0
"""Seconds in which what was opened must be connected, or all is undone."""
FAREWELL = 5.0
"""Seconds for telling a broker that a session is no longer needed."""

Listener = Callable[[Settings], None]
Row = dict[str, Any]


class Reload:
    """Call it for every wish to reload; wishes are served one after the other. `listeners` learn what is at work now."""

    def __init__(self, running: Running, plant: Plant, read: Callable[[], Loaded]) -> None:
        self._running, self._plant, self._read = running, plant, read
        self._one_at_a_time = asyncio.Lock()
        self.listeners: list[Listener] = []
        self.read_files: Sequence[Any] = ()

    async def __call__(self, *, probe: bool = True) -> Row:
        """The outcome as JSON: `outcome` is applied, unchanged or rejected. Raises JournalFailed and nothing else."""
        async with self._one_at_a_time:
            await self._plant.working.wait()
            result = await attempted(self._reload(probe=probe))
            if isinstance(result, Exception):
                log.error("reloading the configuration failed; the old one goes on", exc_info=result)
                return self._rejected([_problem("collector", f"an error that nobody foresaw: {result!r}")])
            return result

    async def _reload(self, *, probe: bool) -> Row:
        loaded = await asyncio.to_thread(self._read)
        self.read_files = loaded.files
        if loaded.settings is None:
            return self._rejected([_of_file(problem) for problem in loaded.errors])
        found = changes(self._config.settings, loaded.settings)
        refused = await self._examined(found, probe=probe)
        if refused:
            return self._rejected(refused, by_peer=True)
        if self._plant.stopping.is_set():
            return self._rejected([_stopping()])
        return await self._apply(found, [_of_file(problem) for problem in loaded.warnings], sure=probe)

    @property
    def _config(self) -> ConfigState:
        if self._running.config is None:
            raise Misconfigured("this collector was not started from a configuration")
        return self._running.config

    async def _examined(self, found: Changes, *, probe: bool) -> list[Row]:
        """Built beside the running line, off the event loop because libraries may be imported for the first time."""
        if not found.begun:
            return []
        try:
            line = await asyncio.to_thread(self._built_aside, found)
        except AdapterError as error:
            return [_problem("configuration", str(error), error.remedy)]
        if not probe:
            return []
        everybody: list[Source | Sink] = [*line.sources, *line.sinks]
        peers = [peer for peer in everybody if peer.name in found.begun]
        findings: list[Finding] = []

        async def asked() -> None:
            findings.extend(await ask_all(peers, PROBE_PATIENCE))

        await first_of(asked(), self._plant.stopping.wait())
        return [_of_peer(finding) for finding in findings if finding.level == "error"]

    def _built_aside(self, found: Changes) -> Line:
        bench = Bench(Registry(), self._running.clock, str(self._running.state_dir), scratch=True)
        return reassemble(found, self._running.line, bench)

    async def _apply(self, found: Changes, warnings: Sequence[Row], *, sure: bool) -> Row:
        old_line, old = self._running.line, self._config.settings
        running = self._running
        bench = Bench(running.journal.registry, running.clock, str(running.state_dir), labels=old_line.labels)
        line = reassemble(found, old_line, bench)
        both = dict.fromkeys([*followers(old), *followers(found.effective)])
        await self._follow(list(both))
        await self._plant.exchange(found.ended, line, found.begun)
        failed = await self._coming_up(found.begun) if sure else []
        if failed:
            await self._plant.exchange(found.begun, old_line, found.ended)
            await self._follow(followers(old))
            return self._rejected(failed, by_peer=True)
        released = await self._let_go(found)
        await self._follow(followers(found.effective))
        await _say_farewell(old_line.sources, line.sources)
        return self._applied(found, [*warnings, *released])

    async def _follow(self, names: list[str]) -> None:
        if set(names) != set((await self._running.journal.ledger()).sinks):
            await self._running.journal.enrol(names)

    async def _let_go(self, found: Changes) -> list[Row]:
        """What removed sinks had not stored yet is said: nobody will store it now. The journal makes the gap record."""
        sinks = (await self._running.journal.ledger()).sinks
        waiting = [name for name in found.sinks.removed if name in sinks and sinks[name].pending]
        words = "it lets go of {} values that it had not stored yet; a gap record says which"
        return [_problem(name, words.format(sinks[name].pending), level="warning") for name in waiting]

    async def _coming_up(self, names: Sequence[str]) -> list[Row]:
        """Returns when all are connected, or with why one is not, after its first try or at the end of patience."""
        clock, health = self._running.clock, self._running.health
        deadline = clock.monotonic() + COMING_UP
        while True:
            if self._plant.stopping.is_set():
                return [_stopping()]
            jobs = [job for job in health.all() if job.name in names and job.state is not State.CONNECTED]
            lost = [job for job in jobs if job.attempts or clock.monotonic() > deadline]
            if lost:
                why = "it did not come up in time"
                return [_problem(job.name, job.error or why, job.remedy) for job in lost]
            if not jobs:
                return []
            await clock.sleep(0.05)

    def _applied(self, found: Changes, warnings: Sequence[Row]) -> Row:
        config = self._config
        nothing = not (found.begun or found.ended) and found.effective == config.settings
        if not nothing:
            config.loaded_at = self._running.clock.now()
        config.settings, config.hash = found.effective, hash_of(found.effective)
        config.rejected, config.told, config.needs_restart = (), "", found.needs_restart
        self._running.line.labels.configure(found.effective.labels())
        self._plant.keep_time()
        for listener in self.listeners:
            listener(found.effective)
        row = {"outcome": "unchanged" if nothing else "applied", **_names(found), "problems": list(warnings)}
        _log_applied(row)
        return row | {"config": config.as_json()}

    def _rejected(self, problems: Sequence[Row], *, by_peer: bool = False) -> Row:
        """by_peer: the file may be right and a peer not there; it is worth trying again."""
        config = self._config
        config.rejected = problems
        told = json.dumps(problems, ensure_ascii=False)
        if told != config.told:
            config.told = told
            words = "; ".join(f"{row['where']}: {row['message']}" for row in problems)
            log.error("the new configuration is rejected, the old one goes on: %s", words)
        return {
            "outcome": "rejected",
            "by_peer": by_peer,
            "problems": list(problems),
            "config": config.as_json(),
        }


def _names(found: Changes) -> Row:
    return {
        "started": [*found.sources.added, *found.sinks.added],
        "restarted": [*found.sources.changed, *found.sinks.changed],
        "stopped": [*found.sources.removed, *found.sinks.removed],
        "untouched": [*found.sources.same, *found.sinks.same],
        "needs_restart": list(found.needs_restart),
    }


def _log_applied(row: Mapping[str, Any]) -> None:
    said = [f"{word}: {', '.join(row[word])}" for word in ("started", "restarted", "stopped") if row[word]]
    if row["outcome"] == "applied":
        log.info("the new configuration is at work; %s", "; ".join(said) or "no connection was touched")
    for warning in row["problems"]:
        log.warning("%s: %s", warning["where"], warning["message"])
    if row["needs_restart"]:
        log.warning("these changes wait for a restart of the collector: %s", ", ".join(row["needs_restart"]))


async def _say_farewell(old: Sequence[Source], new: Sequence[Source]) -> None:
    """What peers keep only for sources that are gone is ended, unless a source at work goes by the same name there."""
    kept = {source.lingers for source in new if isinstance(source, Lingering)}
    gone = [source for source in old if isinstance(source, Lingering) and source.lingers not in kept]
    await asyncio.gather(*(_farewell(source.name, source.farewell) for source in gone))


async def _farewell(name: str, farewell: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(FAREWELL):
            await farewell()
    except (AdapterError, TimeoutError) as error:
        log.warning(
            "%s: its session at the broker could not be ended and expires by itself (%s)", name, error
        )


def _problem(where: str, message: str, hint: str = "", level: str = "error") -> Row:
    return {"where": where, "message": message, "hint": hint, "level": level}


def _stopping() -> Row:
    return _problem("collector", "it is being stopped; the next start reads the new configuration")


def _of_file(problem: Problem) -> Row:
    return _problem(problem.where, problem.message, problem.hint, problem.level)


def _of_peer(finding: Finding) -> Row:
    row = dataclasses.asdict(finding)
    return _problem(row["where"], row["message"], row["hint"], row["level"])
