"""What refining promises: every value that enters leaves in exactly one of a batch, a refusal, or a counted reason.

A stage is a pure function on columns. It has no clock and does no I/O, and it never raises for data: what it cannot
use it marks (quality) or counts (reason). Memory that must survive a crash (identity) is not kept here but handed in
and handed back, so that it becomes durable in the same transaction as the values; all other memory (deadband, minimum
interval) lives one session and costs at most one redundant value per point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from pipelines.batch import Batch
from pipelines.identity import Identity, Learned


class Reason(StrEnum):
    """Why a value was left out on purpose. The texts are stored in the ledger."""

    DUPLICATE = "duplicate"  # same point, same time, same value
    DEADBAND = "deadband"  # moved less than configured
    INTERVAL = "interval"  # sooner than the configured minimum interval
    RETAINED = "retained"  # a retained message, and the configuration says to ignore these


class Remark(StrEnum):
    """What was done to a value that was kept: it is journaled, and counted here as well."""

    NOT_FINITE = "not_finite"  # NaN or infinity: now without value, quality bad
    OUT_OF_RANGE = "out_of_range"  # outside the configured range: quality says so
    UNCASTABLE = "uncastable"  # could not become the point's kind: now without value, quality bad
    TIME_SUBSTITUTED = "time_substituted"
    CLOCK_UNTRUSTED = "clock_untrusted"  # has the time of receipt, and our own clock could not be believed then: marked GoodEdited
    SHIFTED = "shifted"
    LATE = "late"  # came after newer values: stored as it is, and nothing was derived from it


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that could not be read or stored, as it came: it goes to quarantine and the stream goes on.

    where: topic, node id or file:line, as the user would look for it. reason: what is wrong and what to change.
    raw: the bytes as received, cut to 64 KiB. at: ns, our clock. values: how many values it stands for in the ledger.
    keys: of a sink's refusal, which values these are: (point id, time in ns) each. batch: those values by the codec, so
    that they can be written again under the same keys; filled in by the line, which has them, and not by the sink.
    """

    where: str
    reason: str
    raw: bytes
    at: int
    values: int = 1
    keys: tuple[tuple[int, int], ...] = ()
    batch: bytes | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A loss that is known: stored with its time and reason, so that a hole is a fact and not a flat line.

    begins, ends: ns, both inclusive, the times between which values are or may be missing.
    reason: machine-readable word (`connection_lost`, `collector_down`, `server_queue_overflow`, `session_not_present`, …).
    machines: whom it concerns; empty means every machine of the source. count: values known missing, None if unknown.
    """

    begins: int
    ends: int
    reason: str
    detail: str = ""
    machines: tuple[str, ...] = ()
    count: int | None = None


Stage = Callable[[Batch], Batch]


class Refined(NamedTuple):
    """What came of a delivery's batches: nothing is in two places and nothing is nowhere."""

    batches: Sequence[Batch]
    refused: Sequence[Refusal]
    counts: Mapping[Reason, int]
    remarks: Mapping[Remark, int]
    learned: Learned


class Refine(Protocol):
    """Law: Σ rows in = Σ rows of `batches` + Σ `refused`.values + Σ `counts`; order per point is kept.

    `identity` is read, never changed: what was learned is returned, and the journal keeps it only when the append
    that carries it is durable. Redelivery of the same values after a crash therefore yields the same keys.
    """

    def __call__(self, batches: Sequence[Batch], identity: Identity) -> Refined: ...


@dataclass(frozen=True, slots=True)
class Treatment:
    """How the values of one signal are treated; the defaults change nothing.

    value = wire x scale + offset. low, high: inclusive range in the point's unit, None = open.
    deadband: absolute, in the point's unit; percent deadbands are resolved against the range when the table is built.
    min_interval: ns between two stored values of the point; a change of quality is always stored.
    keep_retained: False drops retained messages (counted).
    """

    scale: float = 1.0
    offset: float = 0.0
    low: float | None = None
    high: float | None = None
    deadband: float = 0.0
    min_interval: int = 0
    keep_retained: bool = True
    time: str = "source"  # source | server | receive: the first to be trusted


@dataclass(frozen=True, slots=True)
class Treatments:
    """Treatment by (machine, signal name); what is not named gets the default treatment.

    patterns: (machine, regular expression of whole names, treatment), for signals that are found and not named.
    """

    by_signal: Mapping[tuple[str, str], Treatment] = field(default_factory=dict)
    patterns: Sequence[tuple[str, str, Treatment]] = ()

    def of(self, machine: str, name: str) -> Treatment:
        known = self.by_signal.get((machine, name))
        if known is not None:
            return known
        return next(self._matching(machine, name), DEFAULT_TREATMENT)

    def _matching(self, machine: str, name: str) -> Iterator[Treatment]:
        return (t for owner, names, t in self.patterns if owner == machine and re.fullmatch(names, name))


DEFAULT_TREATMENT = Treatment()
