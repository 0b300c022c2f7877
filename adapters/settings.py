"""What every adapter's settings have in common: strict models, human durations and sizes, and the treatment of a signal.

Unknown keys are errors and nothing is corrected silently. A settings model is the factory of its adapter (`build`);
parsing it touches neither network nor disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from adapters.base import Bench, Sink, Source
from pipelines.batch import Kind, Point
from pipelines.registry import Registry
from pipelines.stage import Treatment

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def parse_duration(text: Any) -> Any:
    """'500ms', '10s', '15min', '90d' as seconds; anything else is refused with an example."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*", text) if isinstance(text, str) else None
    if match is None or match[2] not in _SECONDS:
        raise ValueError("a duration is a number with its unit, such as 500ms, 10s, 15min, 8h or 90d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(text: Any) -> Any:
    """'500MB', '20GB', '1GiB' as bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text) if isinstance(text, str) else None
    if match is None or match[2] not in _BYTES:
        raise ValueError("a size is a number with its unit, such as 500MB, 20GB or 1GiB")
    return int(float(match[1]) * _BYTES[match[2]])


def on_this_computer(host: str) -> bool:
    """Whether what is said to this host stays here. A name is not looked up: it may lead elsewhere tomorrow."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d)\s*$",
    "examples": ["500ms", "10s"],
}
_SIZE_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*\d+(\.\d+)?\s*(B|[kKMGT]B|[KMG]iB)\s*$",
    "examples": ["500MB", "20GB"],
}
Duration = Annotated[float, BeforeValidator(parse_duration), Field(json_schema_extra=_DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(parse_size), Field(json_schema_extra=_SIZE_SCHEMA)]
Secret = SecretStr
KindName = Literal["number", "integer", "unsigned", "flag", "text", "waveform"]


class Strict(BaseModel):
    """Unknown keys are refused, values are not coerced beyond what the field says, and the model never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CounterSettings(Strict):
    """How a counter becomes increments; see pipelines/derivations/counter.py for the rules."""

    name: str = Field(
        min_length=1,
        max_length=190,
        description="Name of the signal with what was counted since the reading before",
    )
    width: Literal[16, 32, 64] | None = Field(
        None, description="Bits of the machine's register, if it goes back to 0 when it is full"
    )
    rework: str = Field(
        "",
        max_length=200,
        description="Name of a signal for corrections by hand; without it a fall is a reset",
    )


class SignalSettings(Strict):
    """One signal of a machine, whatever it is read from. An adapter adds the address."""

    name: str = Field(
        min_length=1, max_length=200, description="Name of the signal; the field in the database"
    )
    label: str = ""
    unit: str = Field("", description="UNECE code (CEL, RPM, P1, KWT) or plain text (°C, r/min, %, kW)")
    kind: KindName | None = Field(None, description="Left out: taken from the machine, and kept for life")
    scale: float = 1.0
    offset: float = 0.0
    range: tuple[float | None, float | None] = (None, None)
    deadband: float | str = Field(0.0, description="0.5 (in the signal's unit) or 2% (of the range)")
    min_interval: Duration = 0.0
    stale_after: Duration | None = None
    time: Literal["source", "server", "receive"] = "source"
    retained: Literal["keep", "ignore"] = "keep"
    tags: Mapping[str, str] = Field(default_factory=dict)
    increments: str = Field(
        "",
        max_length=190,
        description="For a counter: name of a signal with what was counted since the reading before",
    )
    counter: CounterSettings | None = Field(
        None, description="For a counter that rolls over or is corrected by hand, in place of increments:"
    )

    @model_validator(mode="after")
    def _deadband_makes_sense(self) -> SignalSettings:
        self.treatment()
        return self

    @model_validator(mode="after")
    def _counts_numbers(self) -> SignalSettings:
        if self.increments and self.counter is not None:
            raise ValueError("increments and counter say the same: keep one of them")
        if self.counting is not None and self.kind in ("flag", "text", "waveform"):
            raise ValueError(f"a counter counts in numbers, and kind says {self.kind}: leave kind out")
        return self

    @property
    def counting(self) -> CounterSettings | None:
        """How this signal counts, in whichever form it was written; None: it is no counter."""
        return CounterSettings(name=self.increments) if self.increments else self.counter

    @property
    def names_made(self) -> str:
        """A regular expression of further names that are this signal too, such as those that a pattern finds; empty: none."""
        return ""

    def kind_for(self, native: Kind) -> Kind:
        """The kind of the point, when the wire brings `native`: as configured, else NUMBER if scaled, else native."""
        if self.kind is not None:
            return Kind[self.kind.upper()]
        scaled = (self.scale, self.offset) != (1.0, 0.0)
        return Kind.NUMBER if scaled and native in (Kind.INTEGER, Kind.UNSIGNED, Kind.FLAG) else native

    def treatment(self) -> Treatment:
        low, high = self.range
        return Treatment(
            scale=self.scale,
            offset=self.offset,
            low=low,
            high=high,
            deadband=_absolute_deadband(self.deadband, low, high),
            min_interval=round(self.min_interval * 1e9),
            keep_retained=self.retained == "keep",
            time=self.time,
        )


def _absolute_deadband(deadband: float | str, low: float | None, high: float | None) -> float:
    if not isinstance(deadband, str):
        return deadband
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", deadband)
    if match is None:
        raise ValueError("deadband is a number in the signal's unit (0.5) or a percentage of its range (2%)")
    if low is None or high is None or high <= low:
        raise ValueError(
            "a deadband in % needs the range of the signal, lowest first, such as range: [0, 100]"
        )
    return float(match[1]) / 100 * (high - low)


def intern(
    registry: Registry, machine: str, tags: Mapping[str, str], signal: SignalSettings, native: Kind
) -> int:
    """The id of a signal's point, when the wire brings values of kind `native`.

    The kind: as configured; else the one that the signal has had since it was first seen; else by `kind_for`.
    Raises KindConflict when the configuration asks for another kind than was stored so far.
    """
    known = None if signal.kind else registry.kind_of(machine, signal.name)
    kind = known if known is not None else signal.kind_for(native)
    return registry.intern(Point(machine, signal.name, kind, signal.unit, {**tags, **signal.tags}))


class ReadSettings(Strict):
    """One entry of a machine's `read:` list. Adapters add addresses; `signals` is redefined with the adapter's own model."""

    source: str
    signals_file: str | None = None


class Reading(Strict):
    """A read entry with the machine it belongs to: what a source is built from. `tags` are the machine's location and label."""

    machine: str
    tags: Mapping[str, str]
    read: Any


class SourceSettings(Strict):
    """Base of every `sources:` entry. `type` names the adapter."""

    read_model: ClassVar[type[ReadSettings]]
    type: str

    def build(self, name: str, readings: Sequence[Reading], bench: Bench) -> Source:
        """The source, not yet connected. Imports its protocol library here and not before."""
        raise NotImplementedError

    def review(self, readings: Sequence[Reading]) -> Sequence[str]:
        """What an offline check can warn about, in one sentence each; errors are raised by validation instead."""
        return ()


class SinkSettings(Strict):
    """Base of every `sinks:` entry."""

    type: str
    name: str = ""

    def build(self, bench: Bench) -> Sink:
        raise NotImplementedError

    def review(self) -> Sequence[str]:
        return ()

    def clashes(self, sources: Mapping[str, tuple[SourceSettings, Sequence[Reading]]]) -> Sequence[str]:
        """What cannot be beside these sources (by name, with what they read), in one sentence each: errors of `check`."""
        return ()
