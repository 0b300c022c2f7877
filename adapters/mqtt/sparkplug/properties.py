"""What is said about a metric beside its value: quality and engineering unit (Sparkplug B 3.0, 6.4.8 and 6.4.14)."""

from __future__ import annotations

from typing import Any, Final

from adapters.mqtt.sparkplug.schema import DecodeError, PropertySet, crowded
from pipelines import quality as q

MOST: Final = 100
LONGEST: Final = 50  # characters of a unit
_UNITS: Final = frozenset(
    ("engunit", "engunits", "engineeringunit", "engineeringunits", "engineering unit", "engineering units", "unit", "units")
)  # fmt: skip


def _properties(raw: bytes) -> dict[str, Any]:
    """By name, in lower case; nothing at all where keys and values do not fit together: what is said beside a value cannot spoil it."""
    if crowded(raw, 2 * MOST):
        return {}
    try:
        found = PropertySet.FromString(raw)
    except DecodeError:
        return {}
    if len(found.keys) != len(found.values):
        return {}
    return {str(key).lower(): value for key, value in zip(found.keys, found.values, strict=True)}


def quality_of(raw: bytes) -> int:
    """192 good, 0 bad, 500 stale (6.4.14); between them the ranges of OPC classic, of which these numbers come."""
    said = _properties(raw).get("quality")
    if said is None or not (said.HasField("int_value") or said.HasField("long_value")):
        return q.GOOD
    number = said.int_value if said.HasField("int_value") else said.long_value
    if 192 <= number < 256:
        return q.GOOD
    if number == 500:
        return q.UNCERTAIN_LAST_USABLE
    return q.BAD if number < 64 else q.UNCERTAIN


def unit_of(raw: bytes) -> str:
    for name, value in _properties(raw).items():
        if name in _UNITS and isinstance(value.string_value, str):
            return value.string_value[:LONGEST]
    return ""
