"""What every machine says right now, and how sure we are of it: the picture that the page paints.

It is fed with what became durable (never with what was only received), keeps one row per signal, and tells the truth
about it: a value that is bad or missing is not shown as a value, the last good one is told apart, with its age.
Rows are built only when their signal changed, so that a picture costs what changed and not what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.clock import Clock, SystemClock
from adapters.labels import Labels
from collector.facts import OWN
from collector.health import Health
from collector.journal.base import Journal, Ledger, Slice
from collector.page.accounts import accounts
from collector.page.called import Words
from collector.page.connections import Connections
from collector.page.newest import NEVER, Newest
from collector.page.words import (
    LONGEST_NAME,
    clip,
    flag_names,
    milliseconds,
    quality_name,
    shown,
    unit_symbol,
)
from collector.signals import NO_WORDS
from pipelines.batch import Flag, Kind
from pipelines.quality import class_of
from pipelines.registry import Registry

SHOWN_SIGNALS: Final = 500
SHOWN_MACHINES: Final = 500
NO_VALUE: Final = int(Flag.NO_VALUE)  # as a plain number: this is asked for every row

Json = dict[str, Any]


class Tile(NamedTuple):
    """A machine that has a tile from the start, in the order of the configuration. simulated: it says so in its tags."""

    id: str
    label: str = ""
    simulated: bool = False


class LiveView:
    """Newest value per signal, and connections. Not safe for threads: everything happens on the event loop.

    stale_after: s by (machine, signal), where configured. limit: signals told per machine; the rest is counted.
    """

    def __init__(
        self,
        registry: Registry,
        machines: Sequence[Tile] = (),
        clock: Clock | None = None,
        stale_after: Mapping[tuple[str, str], float] | None = None,
        limit: int = SHOWN_SIGNALS,
        *,
        labels: Labels | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self._newest = Newest(registry)
        self._connections = Connections()
        self._limit = limit
        self._stale_after = dict(stale_after or {})
        self._labels = {tile.id: tile.label or tile.id for tile in machines}
        self._simulated = {tile.id for tile in machines if tile.simulated}
        self._slots: dict[str, list[int]] = {tile.id: [] for tile in machines}
        self._patience = np.zeros(0, dtype=np.int64)
        self._stale = np.zeros(0, dtype=np.bool_)
        self._has_row: list[bool] = []
        self._rows: list[Json | None] = []
        self._names: dict[int, tuple[Kind, Json]] = {}
        self._words = Words(labels or Labels())
        self._gone: set[str] = set()
        self.configured = (
            0  # how often: each time lines may go or change their places, which no difference can say
        )

    def fold(self, piece: Slice) -> None:
        """Take in what became durable. Older rows do not replace newer ones, in whatever order they come."""
        for batch in piece.batches:
            changed = self._newest.fold(batch)
            self._learn()
            for slot in changed.tolist():
                self._changed(slot)

    async def follow(self, journal: Journal) -> None:
        """Fold what the journal's `watch` yields, until cancelled."""
        async with journal.watch() as pieces:
            async for piece in pieces:
                self.fold(piece)

    def _changed(self, slot: int) -> None:
        self._rows[slot] = None
        if not self._has_row[slot]:
            self._has_row[slot] = True
            machine = self._newest.signals[slot][0]
            if (
                machine != OWN
            ):  # the collector's own facts are not a machine: connections have their place in the header
                self._slots.setdefault(machine, []).append(slot)

    def _learn(self) -> None:
        fresh = self._newest.signals[len(self._rows) :]
        if fresh:
            patience = [int(self._stale_after.get(signal, 0) * 1e9) for signal in fresh]
            self._patience = np.append(self._patience, np.asarray(patience, dtype=np.int64))
            self._stale = np.append(self._stale, np.zeros(len(fresh), dtype=np.bool_))
            self._has_row += [False] * len(fresh)
            self._rows += [None] * len(fresh)

    def configure(self, machines: Sequence[Tile], stale_after: Mapping[tuple[str, str], float]) -> None:
        """Another configuration: its machines, in its order. What is known of those that stay is kept."""
        self.configured += 1
        self._gone = (self._gone | set(self._labels)) - {tile.id for tile in machines}
        self._stale_after = dict(stale_after)
        self._labels = {tile.id: tile.label or tile.id for tile in machines}
        self._simulated = {tile.id for tile in machines if tile.simulated}
        self._slots = {tile.id: [] for tile in machines}
        for slot, (machine, _) in enumerate(self._newest.signals[: len(self._has_row)]):
            if self._has_row[slot] and machine != OWN and machine not in self._gone:
                self._slots.setdefault(machine, []).append(slot)
        patience = [
            int(self._stale_after.get(signal, 0) * 1e9) for signal in self._newest.signals[: len(self._rows)]
        ]
        self._patience = np.asarray(patience, dtype=np.int64)

    def has_tile(self, point: int) -> bool:
        """It belongs to a machine of the configuration; a stranger gets a tile when it speaks, and not for what it once said."""
        return self._newest.registry[point].machine in self._labels

    def observe(self, health: Health) -> None:
        """Look at the board; done often, `since` is exact even when nobody looks at the page."""
        self._connections.observe(health)

    def overview(self, health: Health, ledger: Ledger | None) -> Json:
        """The picture with the age of every value (s), and the words beside the values. See `picture` for the rest."""
        told = self.picture(health, ledger)
        words = told.pop("words")
        machines = [
            machine | {"signals": _aged(machine["signals"], told["now"], words)}
            for machine in told["machines"]
        ]
        return told | {"machines": machines}

    def picture(self, health: Health, ledger: Ledger | None) -> Json:
        """Everything that the page shows, as JSON; times in ms since 1970 UTC, ages left to the reader.

        Rows of signals that did not change are the same objects as in the picture before: do not modify them.
        `words`: by id, what signals are called, apart from their values because it hardly ever changes.
        """
        self.observe(health)
        now = self.clock.now()
        self._mark_stale(now)
        shown_machines = list(self._slots)[:SHOWN_MACHINES]
        machines = [self._machine(key, machine) for key, machine in enumerate(shown_machines)]
        more = max(0, len(self._slots) - SHOWN_MACHINES)
        return {
            "now": milliseconds(now),
            "machines": machines,
            "more_machines": more,
            "words": self._words.of(
                self._newest.signals,
                [slot for machine in shown_machines for slot in self._slots[machine][: self._limit]],
            ),
            **accounts(self._connections, ledger),
        }

    def _machine(self, key: int, machine: str) -> Json:
        slots = self._slots[machine]
        return {
            "key": key,
            "id": clip(machine, LONGEST_NAME),
            "label": clip(self._labels.get(machine, machine), LONGEST_NAME),
            "simulated": machine in self._simulated,
            "connection": self._connections.of(machine),
            "signals": [self._row(slot) for slot in slots[: self._limit]],
            "more_signals": max(0, len(slots) - self._limit),
        }

    def _mark_stale(self, now: int) -> None:
        stale = self._stale_now(now)
        for slot in np.flatnonzero(stale != self._stale).tolist():
            self._rows[slot] = None
        self._stale = stale

    def _stale_now(self, now: int) -> NDArray[np.bool_]:
        """Its source is lost, or it was silent for longer than configured (DESIGN 8)."""
        count = len(self._rows)
        machines = {machine for machine, _ in self._newest.signals[:count]}
        down = {machine: self._connections.down(machine, now) for machine in machines}
        lost_at = np.fromiter((down[machine] for machine, _ in self._newest.signals[:count]), np.int64, count)
        rows = self._newest.rows
        silent = (self._patience > 0) & (rows.rank[:count] < now - self._patience)
        return (rows.received[:count] <= lost_at) | silent

    def _row(self, slot: int) -> Json:
        row = self._rows[slot]
        if row is None:
            row = self._rows[slot] = self._build(slot)
        return row

    def _build(self, slot: int) -> Json:
        rows = self._newest.rows
        point = int(rows.point[slot])
        kind, named = self._named(point)
        code, flags = int(rows.quality[slot]), int(rows.flags[slot])
        usable = not flags & NO_VALUE and class_of(code) != "bad"
        value = shown(kind, rows.value[slot]) if usable else None
        return {
            "id": slot,
            **named,
            "value": value,
            "quality": class_of(code),
            "quality_code": code,
            "quality_name": quality_name(code),
            "at": milliseconds(int(rows.at[slot])),
            "stale": bool(self._stale[slot]),
            "flags": list(flag_names(flags)),
            "last_good": self._last_good(slot) if value is None else None,
        }

    def _named(self, point: int) -> tuple[Kind, Json]:
        """What never changes about a point: an entry of the registry is for ever."""
        if point not in self._names:
            entry = self._newest.registry[point]
            name, unit = clip(entry.name, LONGEST_NAME), unit_symbol(entry.unit)
            self._names[point] = (entry.kind, {"name": name, "kind": entry.kind.name.lower(), "unit": unit})
        return self._names[point]

    def _last_good(self, slot: int) -> Json | None:
        good = self._newest.good
        if good.rank[slot] == NEVER:
            return None
        point = self._newest.registry[int(good.point[slot])]
        value = shown(point.kind, good.value[slot])
        return {
            "value": value,
            "unit": unit_symbol(point.unit),
            "at": milliseconds(int(good.at[slot])),
        }


def _aged(signals: Sequence[Json], now: int, words: Json) -> list[Json]:
    return [
        signal | words.get(str(signal["id"]), NO_WORDS) | {"age_s": max(0, now - signal["at"]) / 1000}
        for signal in signals
    ]
