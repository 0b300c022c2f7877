"""What an edge really said, for the truth: values when the broker has them, births, deaths and every broken rule when they happen.

A value counts once: a birth that repeats a value with its own time states no new fact. What a broken rule makes unreadable
(an unknown alias, data before a birth) is written as `unreadable`, never as a value: nobody may be blamed for not storing it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.clock import MILLISECOND, wall_ns
from simulators.sparkplug.model import DataSet, Metric, Template
from simulators.truth import Truth


@dataclass(slots=True)
class Book:
    """pending: rows that wait for the next fence."""

    truth: Truth
    pending: list[Mapping[str, Any]] = field(default_factory=list)
    _known: dict[tuple[str, str], tuple[int | None, Any]] = field(default_factory=dict)

    def values(self, machine: str, metrics: Sequence[tuple[str, Metric]], payload_ms: int | None) -> None:
        """Metrics by their real names, as published; `payload_ms` is the time of those that have none."""
        for name, metric in metrics:
            at = metric.timestamp if metric.timestamp is not None else payload_ms
            stated = (at, metric.value)
            if self._known.get((machine, name)) != stated:
                self._known[machine, name] = stated
                self.pending.append(_row(machine, name, at, metric))

    def note(self, kind: str, **more: Any) -> None:
        """Something else that happened, after what was said before it."""
        self.pending.append({"kind": kind, "at": wall_ns(), **more})

    def settle(self) -> None:
        """The broker has it all."""
        rows, self.pending = self.pending, []
        self.truth.rows(rows)
        for row in rows:
            if row["kind"] == "value":
                self.truth.emitted[row["machine"]] += 1

    def lose(self) -> None:
        """The connection went before the fence: those values may or may not have arrived."""
        rows, self.pending = self.pending, []
        for row in rows:
            self._known.pop((row.get("machine", ""), row.get("signal", "")), None)
        self.truth.rows({**row, "kind": "unconfirmed"} if row["kind"] == "value" else row for row in rows)


def _row(machine: str, name: str, at: int | None, metric: Metric) -> Mapping[str, Any]:
    plain = not isinstance(metric.value, DataSet | Template | bytes | list | tuple)
    row: dict[str, Any] = {
        "kind": "value" if plain else "structure",
        "machine": machine,
        "signal": name,
        "t": None if at is None else at * MILLISECOND,
        "value": readable(metric.value),
        "datatype": metric.datatype if metric.encode_as is None else metric.encode_as,
    }
    if metric.is_historical:
        row["historical"] = True
    return row


def readable(value: Any) -> Any:
    """As JSON: tables as rows by column, bytes as base64."""
    if isinstance(value, DataSet):
        return [dict(zip(value.columns, row, strict=False)) for row in value.rows]
    if isinstance(value, Template):
        return {metric.name: readable(metric.value) for metric in value.metrics}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
