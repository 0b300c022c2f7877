"""What the user asked for, whole and valid: made by config.load, immutable, comparable (reload compares two of them).

Sources and sinks are the adapters' own models; a read entry gets the model of the source that it names, which pydantic's
unions cannot express, because the name stands elsewhere in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, Union, get_args

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from adapters.catalogue import AnySink, AnySource, read_models
from adapters.history.settings import HistorySettings
from adapters.labels import NO_RANGE, Label
from adapters.settings import (
    CounterSettings,
    Duration,
    Reading,
    ReadSettings,
    SignalSettings,
    Size,
    Strict,
    on_this_computer,
)
from pipelines.derivations.counter import Counter
from pipelines.stage import DEFAULT_TREATMENT, Treatment, Treatments

RESERVED = "history"
"""The follower name of the archive: no sink may have it."""


def _clean(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters (line breaks, tabs …) are not allowed here")
    return text


def _loopback(host: str) -> str:
    if not on_this_computer(host):
        raise ValueError(
            "the page is shown on this computer only (127.0.0.1): it has no login and no encryption yet; "
            "from elsewhere, use an SSH tunnel or a reverse proxy that has both"
        )
    return host


CleanText = Annotated[str, Field(max_length=200), AfterValidator(_clean)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


class Location(Strict):
    """Where machines stand, in the words of ISA-95 (IEC 62264-1, equipment hierarchy); each becomes a tag."""

    enterprise: CleanText = ""
    site: CleanText = ""
    area: CleanText = ""
    line: CleanText = ""


LEAST_BUFFER: Final = 10**6


class Buffer(Strict):
    """The journal on disk, in which every value waits until all sinks have it."""

    path: str = Field("buffer.sqlite", min_length=1, description="File; relative to the state folder")
    max: Size = Field("2GB", validate_default=True, description="Size at which reading waits for the sinks")
    window: Duration = Field(
        "250ms", validate_default=True, description="How long values are collected into one commit, at most"
    )
    min_free: Size = Field("200MB", validate_default=True, description="Space that stays free on the disk")
    on_full: Literal["wait", "drop_oldest"] = Field(
        "wait",
        description="When full: reading waits for the sinks, or the oldest values go, with a gap record",
    )
    network_drive: Literal["refuse", "allow"] = Field(
        "refuse",
        description="allow: only for a drive that no other computer uses and that keeps locks and flushes",
    )

    def bounds(self) -> dict[str, Any]:
        """As whoever opens the buffer says them (collector.journal.sqlite.open_journal)."""
        return {
            "max_bytes": self.max,
            "min_free": self.min_free,
            "on_full": self.on_full,
            "network_drive": self.network_drive,
        }

    @field_validator("max")
    @classmethod
    def _enough(cls, size: int) -> int:
        if size < LEAST_BUFFER:
            raise ValueError("the buffer needs at least 1MB: less holds little more than its own books")
        return size


class Page(Strict):
    """The live page, on this computer."""

    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535, description="The next free port is taken if this one is not")


class OfItsSource:
    """Types a read entry by the source that it names (validation context: `reads`), for the JSON Schema by any."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        any_read = handler.generate_schema(Union[read_models()])  # noqa: UP007 (built at run time)
        return core_schema.with_info_wrap_validator_function(_read_of_its_source, any_read)


def _read_of_its_source(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    if isinstance(value, ReadSettings) or info.context is None:
        return value if isinstance(value, ReadSettings) else handler(value)
    if not isinstance(value, dict):
        raise ValueError("a read entry is a group of keys: write {source: plc, signals: […]}")  # noqa: TRY004 (pydantic's way)
    source = value.get("source")
    model = info.context["reads"].get(source) if isinstance(source, str) else None
    if model is None:  # reported beside the others by config.relations, with the names that exist
        return ReadSettings.model_construct(source=str(source))
    return model.model_validate(value, context=info.context)


class Machine(Strict):
    """One machine. `id` is its name in every store, for life; `label` is what people read."""

    id: Name = Field(description="Letters, digits, . _ -; the machine's name in every store, for life")
    label: CleanText = ""
    type: CleanText = Field("", description="Kind of machine, such as mill or compressor; becomes a tag")
    location: Location = Field(Location(), description="What differs from the location of the whole")
    tags: Mapping[TagName, CleanText] = Field(default_factory=dict)
    read: tuple[Annotated[ReadSettings, OfItsSource()], ...] = ()


@dataclass(frozen=True, slots=True)
class Configured:
    """One configured signal, with the machine and the read entry that it belongs to."""

    machine: Machine
    read: ReadSettings
    signal: SignalSettings


class OrOff:
    """A part that `off` turns off: then it is None. A part that is merely left empty is a mistake and not off."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        model = next(member for member in get_args(source) if member is not NoneType)
        return core_schema.no_info_wrap_validator_function(_none_if_off, handler.generate_schema(model))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"const": "off"}]}


def _none_if_off(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return None if value == "off" else handler(value)


class Settings(Strict):
    """The whole configuration. `state` is absolute after loading; what is relative in buffer and history lies in it."""

    version: Literal[1]
    location: Location = Location()
    sources: Mapping[Name, AnySource] = Field(default_factory=dict)
    machines: tuple[Machine, ...] = ()
    sinks: tuple[AnySink, ...] = ()
    history: Annotated[HistorySettings | None, OrOff()] = Field(default_factory=HistorySettings)
    buffer: Buffer = Field(default_factory=Buffer)
    page: Annotated[Page | None, OrOff()] = Field(default_factory=Page)
    state: Path = Field(
        Path("state"), description="Folder of buffer and history; relative to the first configuration file"
    )

    @field_validator("sinks")
    @classmethod
    def _named(cls, sinks: tuple[AnySink, ...]) -> tuple[AnySink, ...]:
        """A sink without a name has that of its type."""
        return tuple(sink.model_copy(update={"name": sink.name or sink.type}) for sink in sinks)

    @property
    def buffer_file(self) -> Path:
        return self.state / self.buffer.path

    @property
    def sink_names(self) -> tuple[str, ...]:
        """The followers' names, in the order of `sinks`."""
        return tuple(sink.name for sink in self.sinks)

    def tags(self, machine: Machine) -> dict[str, str]:
        """The tags of a machine: location (its own words first), type, its tags; empty ones are left out."""
        place = {**self.location.model_dump(), **_given(machine.location)}
        tags = {**place, "type": machine.type, **machine.tags}
        return {name: text for name, text in tags.items() if text}

    def readings(self, source_name: str) -> list[Reading]:
        """What a source is to read, in the order of the file."""
        return [
            Reading(machine=machine.id, tags=self.tags(machine), read=read)
            for machine in self.machines
            for read in machine.read
            if read.source == source_name
        ]

    def signals(self) -> Iterator[Configured]:
        """Every signal that is named in the configuration (those that a machine names itself are not)."""
        for machine in self.machines:
            for read in machine.read:
                for signal in signals_of(read):
                    yield Configured(machine, read, signal)

    def treatments(self) -> Treatments:
        by_signal: dict[tuple[str, str], Treatment] = {
            (c.machine.id, c.signal.name): c.signal.treatment() for c in self.signals()
        }
        patterns = [
            (c.machine.id, c.signal.names_made, treatment)
            for c in self.signals()
            if c.signal.names_made and (treatment := c.signal.treatment()) != DEFAULT_TREATMENT
        ]
        return Treatments(by_signal, tuple(patterns))

    def counters(self) -> Iterator[Counter]:
        """Every signal that is to become increments."""
        for configured in self.signals():
            if (counting := configured.signal.counting) is not None:
                yield _counter(configured, counting)

    def labels(self) -> dict[tuple[str, str], Label]:
        """By (machine, signal) what the configuration calls it for people, and its range."""
        return {
            (c.machine.id, c.signal.name): Label(c.signal.label, range=c.signal.range)
            for c in self.signals()
            if c.signal.label or c.signal.range != NO_RANGE
        }

    def stale_after(self) -> dict[tuple[str, str], float]:
        """By (machine, signal) the seconds after which a value is stale, where one is configured."""
        return {
            (c.machine.id, c.signal.name): c.signal.stale_after
            for c in self.signals()
            if c.signal.stale_after is not None
        }


def _counter(configured: Configured, counting: CounterSettings) -> Counter:
    machine, signal = configured.machine.id, configured.signal.name
    return Counter(machine, signal, counting.name, counting.width, counting.rework)


def signals_of(read: ReadSettings) -> tuple[SignalSettings, ...]:
    """The signals of a read entry, whatever its source."""
    return tuple(getattr(read, "signals", ()))


def _given(location: Location) -> dict[str, str]:
    return {name: text for name, text in location.model_dump().items() if text}
