"""A workshop for the tests of the page: fake board, fake books, fake clock; the view and the server are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.labels import Label, Labels
from collector.health import Health, JobHealth, State
from collector.journal.base import Ledger, SinkAccount, Slice, SourceAccount
from collector.page.live import LiveView, Tile
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.registry import Registry

SECOND = 1_000_000_000
NOON = 1_795_262_400 * SECOND  # 21 November 2026, 12:00 UTC


class FakeClock:
    """Stands still until told otherwise; `sleep` yields to the loop and moves it on."""

    def __init__(self, now: int = NOON) -> None:
        self.ns = now

    def now(self) -> int:
        return self.ns

    def wall_now(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return (self.ns - NOON) / SECOND

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND)
        await asyncio.sleep(0)

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        self.ns += int(seconds * SECOND)
        return asyncio.get_running_loop().call_soon(call).cancel


def source(name: str, state: State, *machines: str, since: int = NOON, **more: Any) -> JobHealth:
    return JobHealth(name, "source", state, since, machines=machines, **more)


def books(*, pending: int = 0, lost: int = 0) -> Ledger:
    return Ledger(
        sources={"cnc-plc": SourceAccount(decoded=1000, journaled=1000 - lost)},
        sinks={"influxdb": SinkAccount(journaled=1000, stored=1000 - pending, pending=pending)},
        size=4096,
        tail=12,
    )


@dataclass
class Shop:
    """A registry, a view and a board that a test fills."""

    machines: Sequence[Tile] = ()
    clock: Any = field(default_factory=FakeClock)
    stale_after: dict[tuple[str, str], float] = field(default_factory=dict)
    limit: int = 500

    def __post_init__(self) -> None:
        self.registry, self.health = Registry(), Health()
        self.labels = Labels()
        self.view = LiveView(
            self.registry, self.machines, self.clock, self.stale_after, self.limit, labels=self.labels
        )
        self.accounts = books()

    async def ledger(self) -> Ledger:
        return self.accounts

    def say(
        self,
        machine: str,
        name: str,
        value: Any,
        *,
        kind: Kind = Kind.NUMBER,
        unit: str = "",
        at: int | None = None,
        quality: int = 0,
        flags: int = 0,
        received: int | None = None,
    ) -> None:
        """One value becomes durable."""
        point = self.registry.intern(Point(machine, name, kind, unit))
        now = self.clock.now() if received is None else received
        when = now if at is None else at
        self.fold(batch_of(kind, [point], when, [value], received=now, quality=quality, flags=flags))

    def fold(self, *batches: Batch) -> None:
        self.view.fold(Slice(1, batches))

    def signals(self, machine: str) -> dict[str, dict[str, Any]]:
        told = self.view.overview(self.health, self.accounts)
        found = next(one for one in told["machines"] if one["id"] == machine)
        return {signal["name"]: signal for signal in found["signals"]}

    def connection(self, machine: str) -> dict[str, Any]:
        told = self.view.overview(self.health, self.accounts)
        return next(one["connection"] for one in told["machines"] if one["id"] == machine)


def workshop(clock: Any) -> Shop:
    """Three machines: one connected, one lost with stale values, one that needs attention."""
    shop = Shop(
        (Tile("cnc-1", "DMU 50 (cel 2)"), Tile("press-1", "Spuitgietpers Arburg"), Tile("meter-1")), clock
    )
    now = clock.now()
    _milling(shop, now)
    _press(shop, now - 252 * SECOND)
    _meter(shop, now - 4000 * SECOND)
    put = shop.health.put
    put(source("cnc-plc", State.CONNECTED, "cnc-1", since=now - 7500 * SECOND))
    put(
        source(
            "press-plc", State.WAITING, "press-1", since=now - 250 * SECOND, attempts=9,
            error="opc.tcp://10.0.0.14:4840 does not answer (connection refused)",
            remedy="check that the press is on and its network cable is plugged in; it is tried again by itself",
        )
    )  # fmt: skip
    put(
        source(
            "lab-broker", State.NEEDS_ATTENTION, "meter-1", since=now - 3900 * SECOND, attempts=3,
            error="the broker mqtts://10.0.0.5 refuses user 'collector' (not authorised)",
            remedy="set the right password in sources.lab-broker (collector.yaml:14)",
        )
    )  # fmt: skip
    put(
        JobHealth(
            "influxdb", "sink", State.WAITING, now - 90 * SECOND, 4, "http://localhost:8086 does not answer"
        )
    )
    put(JobHealth("history", "archive", State.CONNECTED, now - 7500 * SECOND))
    shop.accounts = Ledger(
        sources={"cnc-plc": SourceAccount(decoded=48210, journaled=48210)},
        sinks={
            "influxdb": SinkAccount(journaled=48210, stored=46090, pending=2120),
            "history": SinkAccount(journaled=48210, stored=48210),
        },
        size=9_000_000,
        tail=410,
    )
    return shop


def _milling(shop: Shop, now: int) -> None:
    say = shop.say
    say("cnc-1", "state", "EXECUTING", kind=Kind.TEXT)
    say("cnc-1", "program", "O4711 flange rev C", kind=Kind.TEXT, at=now - 900 * SECOND)
    say("cnc-1", "spindle_speed", 8012.4, unit="r/min")
    say("cnc-1", "spindle_load", 62.531, unit="%")
    say("cnc-1", "axis_x_position", -103.4567, unit="mm")
    say("cnc-1", "spindle_temperature", 48.23, unit="°C", at=now - 4 * SECOND)
    say("cnc-1", "coolant_level", 17.2, unit="%", quality=0x40930000)
    say("cnc-1", "coolant_pressure", 5.84, unit="bar", at=now - 95 * SECOND)
    say("cnc-1", "coolant_pressure", 0.0, unit="bar", quality=0x808C0000, flags=int(Flag.NO_VALUE))
    say("cnc-1", "door_closed", True, kind=Kind.FLAG, at=now - 61 * SECOND)
    say("cnc-1", "part_count", 1742, kind=Kind.INTEGER, at=now - 61 * SECOND)
    say("cnc-1", "feed_override", 100.0, unit="%", at=now - 3605 * SECOND, flags=int(Flag.HEARTBEAT))


def _press(shop: Shop, then: int) -> None:
    say = shop.say
    shop.labels.tell("press-1", "cavity_pressure", Label("Druk in de matrijs", "Hoogste van de cyclus"))
    shop.labels.tell("press-1", "cycle_time", Label("Cycle time"))
    say("press-1", "melt_temperature", 218.4, unit="°C", at=then, received=then)
    say("press-1", "cavity_pressure", 412.0, unit="bar", at=then, received=then)
    say("press-1", "cushion", 4.31, unit="mm", at=then - SECOND, received=then)
    say("press-1", "cycle_time", 21.74, unit="s", at=then - 9 * SECOND, received=then)
    say("press-1", "mode", "Automatic", kind=Kind.TEXT, at=then - 300 * SECOND, received=then)


def _meter(shop: Shop, then: int) -> None:
    shop.say("meter-1", "active_power", 12.84, unit="kW", at=then, received=then)
    shop.say("meter-1", "energy", 10482.6, unit="kWh", at=then, received=then)
    shop.say("meter-1", "leak_rate", 0.00004, unit="m³/s", at=then, received=then)
