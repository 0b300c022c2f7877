"""The collector feels its own pulse: how late the event loop is, and whether files run out; and tells the service manager.

On the event loop and not on a thread: a watchdog that is fed from beside would report a collector that stands still as
alive. What cannot be felt at the time (the loop stands still, the process is stopped) is measured afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from adapters.clock import Clock
from collector.health import Health, State
from collector.system import open_files, tell_service_manager, watchdog_seconds
from collector.words import duration_words

BEAT = 0.5
"""Seconds between two looks."""
LATE = 1.0
"""Seconds of standstill that are an alarm."""
MINUTE = 60.0
FILES_EVERY = 4
"""Looks between two counts of the open files: counting takes the system ten times as long as everything else here."""
FILES_LEFT = 8
"""Open files that must be left; below that the next connection or the next file of the history fails."""


class Pulse:
    """`beat` runs for ever beside the line. stood: told after a standstill, with its length in seconds."""

    def __init__(self, health: Health, clock: Clock, stood: Callable[[float], None] = lambda _: None) -> None:
        self._health, self._clock, self._stood = health, clock, stood
        self._lags: deque[tuple[float, float]] = deque()
        self._fed = -1e9
        self._looks = 0
        self._status = ""

    async def beat(self) -> None:
        tell_service_manager(READY="1")
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(BEAT)
            self.look(self._clock.monotonic() - before - BEAT)

    def look(self, late: float) -> None:
        """late: s by which this look comes after its time."""
        self._lag(late)
        if self._looks % FILES_EVERY == 0 or "files" in self._health.alarms:
            self._files()
        self._looks += 1
        self._manager()

    def _lag(self, late: float) -> None:
        now = self._clock.monotonic()
        self._lags.append((now, max(late, 0.0)))
        while self._lags[0][0] < now - MINUTE:
            self._lags.popleft()
        self._health.loop_lag_s = max(lag for _, lag in self._lags)
        if late > LATE:
            words = f"the collector stood still for {duration_words(late)}: nothing was read or stored in that time"
            self._health.alarm("standstill", words)
            self._stood(late)
        elif self._health.loop_lag_s <= LATE:
            self._health.clear("standstill", "no standstill for a minute")

    def _files(self) -> None:
        found = open_files()
        if found is None:
            return
        used, limit = found
        if used > limit - FILES_LEFT:
            self._health.alarm(
                "files",
                f"{used} of {limit} files and connections that this process may have are open: "
                "raise the limit (LimitNOFILE= of the service, ulimit -n)",
            )
        else:
            self._health.clear("files", "enough files and connections can be opened again")

    def _manager(self) -> None:
        """Feeds the watchdog at a third of its patience; says the status where it changed."""
        patience = watchdog_seconds()
        now = self._clock.monotonic()
        if patience is not None and now - self._fed >= patience / 3:
            self._fed = now
            tell_service_manager(WATCHDOG="1")
        if (status := _status(self._health)) != self._status:
            self._status = status
            tell_service_manager(STATUS=status)


def _status(health: Health) -> str:
    jobs = [job for job in health.all() if job.role in ("source", "sink")]
    lost = [job.name for job in jobs if job.state is not State.CONNECTED]
    connected = f"{len(jobs) - len(lost)} of {len(jobs)} connected"
    return f"{connected}; not: {', '.join(lost[:5])}" if lost else connected
