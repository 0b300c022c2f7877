"""DataSets and Templates as values by path: `Tools/0/offset`, `Motor/torque`. Each value keeps its own type; nothing is joined.

A row of a DataSet is named by its number from 0, because no column need be a key. A definition of a template has no values (its defaults
are not measurements). Limits: MOST values of one metric, DEEPEST templates in one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from adapters.mqtt.sparkplug.schema import DataSet, DecodeError, Row, Template, crowded
from adapters.mqtt.sparkplug.values import DATASET, NAMES, TEMPLATE, Unreadable

MOST: Final = 1000
DEEPEST: Final = 8


class Leaf(NamedTuple):
    """One value. message: metric, parameter or cell of the schema; None: the cell has no value."""

    path: str
    datatype: int
    message: Any


def leaves(path: str, metric: Any, datatype: int, depth: int = 0) -> Iterator[Leaf]:
    """Every value of a DataSet or Template metric. Raises Unreadable where the structure contradicts itself."""
    field = "dataset_value" if datatype == DATASET else "template_value"
    if not metric.HasField(field):
        found = metric.WhichOneof("value")
        raise Unreadable(f"{NAMES[datatype]} in {found}" if found else "neither a value nor is_null")
    if depth >= DEEPEST:
        raise Unreadable(f"templates nested more than {DEEPEST} deep")
    inner = _parsed(getattr(metric, field), DataSet if datatype == DATASET else Template, NAMES[datatype])
    yield from _cells(path, inner) if datatype == DATASET else _members(path, inner, depth)


def _parsed(raw: bytes, shape: Any, name: str) -> Any:
    if crowded(raw, MOST + 100):
        raise Unreadable(f"{name} with more than {MOST} rows or members")
    try:
        return shape.FromString(raw)
    except DecodeError:
        raise Unreadable(f"{name} that is no protobuf") from None


def _cells(path: str, table: Any) -> Iterator[Leaf]:
    columns, types = list(table.columns), list(table.types)
    announced = table.num_of_columns if table.HasField("num_of_columns") else len(columns)
    if not len(columns) == len(types) == announced:
        raise Unreadable(f"DataSet of {announced} columns with {len(columns)} names and {len(types)} types")
    if any(not isinstance(column, str) for column in columns) or len(set(columns)) < len(columns):
        raise Unreadable("DataSet with two columns of one name, or a name that is not UTF-8")
    if len(table.rows) * len(columns) > MOST:
        raise Unreadable(f"DataSet of more than {MOST} cells")
    for number, raw in enumerate(table.rows):
        cells = _parsed(raw, Row, "row of a DataSet").elements
        if len(cells) != len(columns):
            raise Unreadable(f"DataSet whose row {number} has {len(cells)} cells for {len(columns)} columns")
        for column, datatype, cell in zip(columns, types, cells, strict=True):
            said = cell.WhichOneof("value") is not None
            yield Leaf(f"{path}/{number}/{column}", datatype, cell if said else None)


def _members(path: str, template: Any, depth: int) -> Iterator[Leaf]:
    if template.is_definition:
        return
    if len(template.metrics) + len(template.parameters) > MOST:
        raise Unreadable(f"Template of more than {MOST} members")
    for parameter in template.parameters:
        yield Leaf(f"{path}/{_name(parameter)}", parameter.datatype, parameter)
    for metric in template.metrics:
        inner = f"{path}/{_name(metric)}"
        if metric.datatype in (DATASET, TEMPLATE) and not metric.is_null:
            yield from leaves(inner, metric, metric.datatype, depth + 1)
        else:
            yield Leaf(inner, metric.datatype, metric)


def _name(member: Any) -> str:
    if not isinstance(member.name, str) or not member.name:
        raise Unreadable("Template with a member that has no name, or one that is not UTF-8")
    return str(member.name)
