"""What a benchmark returns, and how people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulators.load.mix import Types


@dataclass(frozen=True, slots=True)
class Row:
    """One measured process.

    values_per_s: from the first value to the last one stored. cpu_us_per_value: user and system time of this process
    alone, start-up not included. rss_mb: its largest resident size. lost: emitted and not found in the database.
    extra: found there and not emitted, or twice.
    load_cpu_us_per_value: what the source of the load took meanwhile, on the other core. back_s: `returns` only, see there.
    """

    name: str
    values_per_s: float
    cpu_us_per_value: float
    rss_mb: float
    lost: int
    baseline: bool
    emitted: int
    extra: int = 0
    dropped_by_server: int = 0
    unaccounted: int | None = None
    load_cpu_us_per_value: float = 0.0
    back_s: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line. per_notification to fields: OPC UA only.

    values: in each message of MQTT, 0 for the usual (1 in JSON, 10 in Sparkplug). fields: options of the load (`--status`, `--picoseconds`, `--no-server-time`).
    away: s that the server of `returns` is gone.
    """

    seconds: float = 10.0
    seed: int = 42
    variables: int = 1000
    hz: int = 10
    values: int = 0
    per_notification: int = 1000
    order: str = "repeating"
    types: Types = "double"
    fields: tuple[str, ...] = ()
    away: float = 10.0
    profile: str = ""
    baseline: bool = True

    def load_options(self, settle: float, drain: float) -> list[str]:
        """For `python -m simulators.load opcua`. settle, drain: s."""
        asked = {
            "variables": self.variables,
            "hz": self.hz,
            "per-notification": self.per_notification,
            "order": self.order,
            "types": self.types,
            "seconds": self.seconds,
            "seed": self.seed,
            "settle": settle,
            "drain": drain,
        }
        return [*(f"--{name}={value}" for name, value in asked.items()), *self.fields]


def table(rows: Sequence[Row]) -> str:
    """For people; a baseline stands beneath what it is compared with, with the ratio of CPU time."""
    lines = [f"{'':28}{'values/s':>11}{'CPU µs/value':>15}{'RSS MB':>9}{'lost':>9}{'of':>10}  note"]
    for row in rows:
        note = _note(row, rows)
        lines.append(
            f"{row.name:28}{row.values_per_s:11,.0f}{row.cpu_us_per_value:15.2f}{row.rss_mb:9.0f}"
            f"{row.lost:9,}{row.emitted:10,}  {note}".rstrip()
        )
    return "\n".join(lines)


def _note(row: Row, rows: Sequence[Row]) -> str:
    if row.back_s is not None:
        return f"all back {row.back_s:.1f} s after the port was open"
    ours = next((r for r in rows if not r.baseline and row.name.startswith(f"{r.name} ")), None)
    if row.baseline and ours is not None and ours.cpu_us_per_value:
        return f"{row.cpu_us_per_value / ours.cpu_us_per_value:.1f} times the CPU of {ours.name}"
    return f"{row.dropped_by_server:,} dropped by the server" if row.dropped_by_server else ""
