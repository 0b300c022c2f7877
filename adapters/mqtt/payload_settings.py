"""How the payload of a message is read: one model per payload type, chosen by `payload: {type: …}` or by the name alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from adapters.mqtt.paths import parse_path
from adapters.mqtt.payload_layouts import BinaryField, RecordLayout, Samples, check_layout
from adapters.settings import Strict

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "rfc3339"]
Scalar = str | int | float | bool | None


class Payload(Strict):
    """What all payloads have. names_items: the payload itself says which signal a value belongs to."""

    names_items: ClassVar[bool] = False
    has_paths: ClassVar[bool] = False
    is_bare: ClassVar[bool] = False
    type: str
    compression: Literal["none", "gzip", "deflate", "auto"] = Field(
        "none", description="Inflated before anything else, to at most 8 MiB and 100 times its size"
    )

    @property
    def names(self) -> bool:
        """The payload names its signals: they are listed by `item` or `name`, not by a path."""
        return self.names_items


class QualityMap(Strict):
    """A field that says how good a value is, and what its words mean; a word that is nowhere is uncertain."""

    value: str = Field(description="Path of the field, or name of the column")
    good: Sequence[Scalar] = Field((), description="Words or codes for good; null: the field is missing")
    uncertain: Sequence[Scalar] = ()
    bad: Sequence[Scalar] = ()

    @model_validator(mode="after")
    def _says_something(self) -> QualityMap:
        if not self.good:
            raise ValueError("quality needs the words that mean good, such as good: [0, ok]")
        return self


class TimedPayload(Payload):
    """A payload that may bring its own time."""

    time: str = Field("", description="Path or name of the time; left out: the time of receipt")
    time_unit: TimeUnit = Field(
        "auto",
        description="Left out: texts are RFC 3339; numbers below 1e11 are s, below 1e14 ms, below 1e17 us, else ns",
    )
    time_format: str = Field("", description="Of texts: %Y %y %m %d %b %j %H %I %p %M %S %f %z")
    time_zone: str = Field("", description="Of texts without a zone, such as Europe/Brussels; left out: UTC")
    quality: QualityMap | None = None
    unit_from: str = Field("", description="Path or name of the field with the signal's unit")

    @model_validator(mode="after")
    def _time_can_be_read(self) -> TimedPayload:
        if (self.time_format or self.time_zone) and self.time_unit not in ("auto", "rfc3339"):
            raise ValueError(
                f"time_unit: {self.time_unit} is for numbers, time_format and time_zone for texts"
            )
        self.when()
        return self

    def when(self) -> Callable[[Any], int | None]:
        """The function that reads a time: ns since 1970 UTC, None for what is none."""
        from adapters.mqtt.payloads.moments import moments

        return moments(self.time_unit, self.time_format, self.time_zone)


class DocumentPayload(TimedPayload):
    """A document of objects and lists; each signal names the place of its value (`value: U.L1`)."""

    has_paths: ClassVar[bool] = True
    each: str | None = Field(
        None, description="Path of a list of records, read one by one; empty: the document itself"
    )
    name: str = Field("", description="Path of the signal's name in a record (or in the document)")
    value: str = Field("", description="With name: path of the value")
    samples: Samples | None = Field(
        None, description="Values are lists, whose places have times of their own"
    )

    @field_validator("time", "each", "name", "value", "unit_from")
    @classmethod
    def _is_path(cls, path: str | None) -> str | None:
        parse_path(path or "")
        return path

    @model_validator(mode="after")
    def _fits_together(self) -> DocumentPayload:
        if self.quality:
            parse_path(self.quality.value)
        if bool(self.name) != bool(self.value):
            raise ValueError("name and value of the payload belong together: give both paths or neither")
        return self

    @property
    def names(self) -> bool:
        return bool(self.name)

    @property
    def plain(self) -> bool:
        """One record, values by path: nothing that only the long way reads."""
        return not (
            self.each is not None or self.name or self.samples or self.quality or self.unit_from
        ) and (self.compression == "none")


class JsonPayload(DocumentPayload):
    """A JSON document (RFC 8259)."""

    type: Literal["json"] = "json"


class BinaryDocumentPayload(DocumentPayload):
    """A document that can say of a value that it is a moment: such a one counts, whatever unit other times have."""

    def when(self) -> Callable[[Any], int | None]:
        from adapters.mqtt.times import rfc3339

        configured = super().when()

        def read(value: Any) -> int | None:
            at = configured(value)
            return rfc3339(value) if at is None and type(value) is str and value.endswith("Z") else at

        return read


class MessagePackPayload(BinaryDocumentPayload):
    """A MessagePack document, read by the same paths as JSON."""

    type: Literal["msgpack"] = "msgpack"


class CborPayload(BinaryDocumentPayload):
    """A CBOR document (RFC 8949), read by the same paths as JSON."""

    type: Literal["cbor"] = "cbor"


class NumberPayload(Payload):
    """One decimal number as text, such as 21.5 or -3e-2."""

    is_bare: ClassVar[bool] = True
    type: Literal["number"] = "number"


class TextPayload(Payload):
    """One UTF-8 text."""

    is_bare: ClassVar[bool] = True
    type: Literal["text"] = "text"


class FlagPayload(Payload):
    """One truth value: true/false, on/off, yes/no, 1/0, in any case."""

    is_bare: ClassVar[bool] = True
    type: Literal["flag"] = "flag"


class ShdrPayload(Payload):
    """MTConnect SHDR lines: time|item|value|item|value…; conditions with six fields are recognised by themselves.

    SHDR has no types: an item is text unless `numbers` (patterns such as `*load`) or the signal's own `kind` says otherwise.
    """

    names_items: ClassVar[bool] = True
    type: Literal["shdr"] = "shdr"
    numbers: Sequence[str] = Field((), description="Patterns (* and ?) of the items that are numbers")
    conditions: Sequence[str] = Field((), description="Conditions that stand among other items of a line")
    messages: Sequence[str] = Field((), description="Messages: item|native code|text")
    time_series: Sequence[str] = Field((), description="Time series: item|count|rate|values")


class CsvPayload(TimedPayload):
    """Rows of cells (RFC 4180); the columns are the signals. A column is numbers unless `texts` or the signal's `kind` says otherwise."""

    names_items: ClassVar[bool] = True
    type: Literal["csv"] = "csv"
    columns: Sequence[str] = Field((), description="Left out: the first line of every message names them")
    separator: str = Field(",", min_length=1, max_length=1, description='Such as ";" or "\\t"')
    decimal: Literal[".", ","] = "."
    texts: Sequence[str] = Field((), description="Patterns (* and ?) of the columns that are texts")

    @model_validator(mode="after")
    def _columns_fit(self) -> CsvPayload:
        if self.separator in '"\r\n' or self.separator == self.decimal:
            raise ValueError(
                f"separator {self.separator!r} cannot be told from quotes, lines or the decimal sign"
            )
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("every column may stand in columns once")
        if self.time and self.columns and self.time not in self.columns:
            raise ValueError(f"the time column '{self.time}' is not among the columns")
        return self


class LinePayload(Payload):
    """InfluxDB line protocol: `measurement,tag=a field=1.5,other=2i time`. A signal is called `measurement.field`."""

    names_items: ClassVar[bool] = True
    type: Literal["line"] = "line"
    precision: Literal["s", "ms", "us", "ns"] = "ns"


class BinaryPayload(TimedPayload):
    """Numbers at fixed places, once or as repeated records. Fields are the signals."""

    names_items: ClassVar[bool] = True
    type: Literal["binary"] = "binary"
    endian: Literal["big", "little"] = "big"
    fields: Sequence[BinaryField] = Field(min_length=1, description="Of the message, or of each record")
    header: Sequence[BinaryField] = Field((), description="With records: what stands once, such as the time")
    records: RecordLayout | None = None
    size: int | None = Field(None, ge=1, description="Bytes of a message, if more than the fields take")

    @model_validator(mode="after")
    def _fields_fit(self) -> BinaryPayload:
        wanted: Mapping[str, str] = {
            "time": self.time,
            "unit_from": self.unit_from,
            "quality": self.quality.value if self.quality else "",
        }
        check_layout(self.fields, self.header, self.records, self.size, wanted)
        return self


AnyPayload = Annotated[
    JsonPayload
    | MessagePackPayload
    | CborPayload
    | NumberPayload
    | TextPayload
    | FlagPayload
    | ShdrPayload
    | CsvPayload
    | LinePayload
    | BinaryPayload,
    Field(discriminator="type"),
]

PayloadName = Literal["json", "msgpack", "cbor", "number", "text", "flag", "shdr", "csv", "line"]


def payload_by_name(payload: Any) -> Any:
    return {"type": payload} if isinstance(payload, str) else payload
