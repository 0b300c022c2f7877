"""The parts of payload settings that describe places: samples of a list, fields of a binary message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from adapters.mqtt.paths import parse_path
from adapters.settings import Duration, Strict


def _is_step(seconds: float) -> float:
    if not 1e-9 <= seconds <= 86_400:
        raise ValueError("the time between two samples is 1ns to 1d")
    return seconds


Step = Annotated[Duration, AfterValidator(_is_step)]
Shape = Literal[
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "text"
]
WIDTHS: Mapping[str, int] = {
    **{f"{sign}int{bits}": bits // 8 for bits in (8, 16, 32, 64) for sign in ("", "u")},
    "float32": 4,
    "float64": 8,
}


class Samples(Strict):
    """When the values of a list were taken: `start` and `every` (or the path of an `interval`), `times`, or `pairs: true`."""

    start: str = Field("", description="Path of the first sample's time; left out: the time of the message")
    every: Step | None = Field(None, description="Between two samples, such as 10ms")
    interval: str = Field("", description="Path of the time between two samples")
    interval_unit: Literal["s", "ms", "us", "ns"] = "ms"
    times: str = Field("", description="Path of a list of times, one for each value")
    pairs: bool = Field(default=False, description="The list holds [time, value] pairs")

    @field_validator("start", "interval", "times")
    @classmethod
    def _is_path(cls, path: str) -> str:
        parse_path(path)
        return path

    @model_validator(mode="after")
    def _one_way(self) -> Samples:
        ways = [self.every is not None, bool(self.interval), bool(self.times), self.pairs]
        if sum(ways) != 1:
            raise ValueError("samples take exactly one of every, interval, times and pairs: true")
        if self.start and (self.times or self.pairs):
            raise ValueError("start belongs to every or interval")
        return self


class BinaryField(Strict):
    """One field. at: bytes from the beginning of the message or record. bit: counted from the lowest, gives a truth value."""

    name: str = Field(min_length=1, max_length=200)
    at: int = Field(ge=0, le=8 * 2**20)
    as_: Shape = Field(alias="as")
    length: int = Field(0, ge=0, le=65_535, description="Bytes of a text, which ends at the first zero byte")
    bit: int | None = Field(None, ge=0, le=63)

    @model_validator(mode="after")
    def _fits(self) -> BinaryField:
        if (self.as_ == "text") != (self.length > 0):
            raise ValueError(f"field '{self.name}': length is for texts, and a text needs it")
        if self.bit is not None and (not self.as_.startswith("uint") or self.bit >= 8 * WIDTHS[self.as_]):
            raise ValueError(f"field '{self.name}': a bit is one of a uint that is wide enough")
        return self

    @property
    def end(self) -> int:
        return self.at + (self.length or WIDTHS[self.as_])


class RecordLayout(Strict):
    """Records that follow each other until the end of the message."""

    at: int = Field(0, ge=0, le=8 * 2**20, description="Where the first one begins")
    size: int = Field(ge=1, le=65_535, description="Bytes of one record")
    every: Step | None = Field(None, description="Between two records, the first of which has the time")


def check_layout(
    fields: Sequence[BinaryField],
    header: Sequence[BinaryField],
    records: RecordLayout | None,
    size: int | None,
    wanted: Mapping[str, str],
) -> None:
    """Raises ValueError: which field or key does not fit the others."""
    names = [field.name for field in (*fields, *header)]
    if len(set(names)) < len(names):
        raise ValueError("every field may stand in fields and header once")
    for key, name in wanted.items():
        if name and name not in names:
            raise ValueError(f"{key}: there is no field '{name}'")
    if records is None and header:
        raise ValueError("header is for messages with records; without them everything stands in fields")
    if records is not None and size is not None:
        raise ValueError("size is for messages without records: those have any number of them")
    if records is not None and max(field.end for field in fields) > records.size:
        raise ValueError(f"the fields of a record reach beyond its size of {records.size} bytes")
    if records is not None and header and max(field.end for field in header) > records.at:
        raise ValueError(f"the header reaches into the records, which begin at {records.at}")
    if size is not None and max(field.end for field in fields) > size:
        raise ValueError(f"the fields reach beyond the size of {size} bytes")
