"""How a message is read, and what a metric in it is: by its name, or by an alias of a birth of this very entity, or nobody's."""

from __future__ import annotations

from typing import Any, NamedTuple

from adapters.mqtt.binding import Stamps
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.sparkplug.model import Entity, Known
from adapters.mqtt.sparkplug.values import NAMES, READERS, Reader
from pipelines.batch import Kind


class Plan(NamedTuple):
    """Where the values of one metric go. reader: None for what is flattened."""

    point: int
    kind: Kind
    by_receipt: bool
    reader: Reader


class Mark(NamedTuple):
    """What a metric says beside its value. at: ns; may be none (0) or impossible."""

    at: int
    quality: int
    flags: int


class Sense(NamedTuple):
    """How a message is to be read, and where to. time: ms, of the payload, 0 if it has none.

    doubtful: values by alias are uncertain. void: why they are refused, if they are. born: what no birth names may be taken by name
    and datatype. why: no alias can be known.
    """

    sheet: Sheet
    stamps: Stamps
    raw: bytes
    where: str
    time: int
    doubtful: bool = False
    void: str = ""
    born: bool = True
    why: str = ""


def named(entity: Entity, metric: Any, sense: Sense) -> Known | str:
    """By its name; an alias beside it must not contradict."""
    name, known = metric.name, entity.by_name.get(metric.name)
    other = entity.by_alias.get(metric.alias) if metric.HasField("alias") else None
    if known is not None and other is not None and other.name != name and not (sense.doubtful or sense.void):
        return f"'{name[:80]}' with alias {metric.alias}, which its birth gave to '{other.name[:80]}'"
    if known is None and not (metric.datatype and sense.born):
        return f"'{name[:80]}' is in no birth and {sense.why or 'has no datatype'}"
    return known or Known(name, None, metric.datatype)


def aliased(entity: Entity, metric: Any, sense: Sense) -> Known | str:
    if not metric.HasField("alias"):
        return "a metric with neither name nor alias"
    known = entity.by_alias.get(metric.alias)
    if known is not None:
        return known
    several = metric.alias in entity.by_alias
    why = "was given to several metrics by its birth" if several else sense.why or "is in no birth"
    return f"alias {metric.alias} {why}"


def sort(datatype: int) -> int | Kind | None:
    """Types whose values can stand for one another: a number may change its width."""
    if 1 <= datatype <= 10:
        return Kind.NUMBER
    reader = READERS.get(datatype)
    return reader.kind if reader is not None else datatype or None


def type_name(datatype: int) -> str:
    return NAMES.get(datatype, f"a data type {datatype} that does not exist")
