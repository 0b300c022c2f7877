"""Payloads read back by a reader of the tests' own, from sparkplug_b.proto alone; nothing of it is the simulators' or the adapter's."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

FIELDS = {
    1: "name",
    2: "alias",
    3: "timestamp",
    4: "datatype",
    5: "is_historical",
    6: "is_transient",
    7: "is_null",
}
FIELDS |= {8: "metadata", 9: "properties", 10: "int", 11: "long", 12: "float", 13: "double", 14: "boolean"}
FIELDS |= {15: "string", 16: "bytes", 17: "dataset", 18: "template"}


@dataclass
class Read:
    timestamp: int | None
    seq: int | None
    uuid: str | None
    body: bytes | None
    metrics: list[dict[str, Any]]

    def metric(self, name: str) -> dict[str, Any]:
        return next(metric for metric in self.metrics if metric.get("name") == name)


def raw(content: bytes) -> dict[int, list[Any]]:
    """Field number to its values, in order; fixed-size ones as bytes."""
    found: dict[int, list[Any]] = defaultdict(list)
    left = memoryview(content)
    while left:
        key, left = number(left)
        form = key & 7
        if form == 0:
            value, left = number(left)
            found[key >> 3].append(value)
            continue
        if form == 2:
            size, left = number(left)
        else:
            size = {1: 8, 5: 4}[form]
        assert size <= len(left)
        found[key >> 3].append(bytes(left[:size]))
        left = left[size:]
    return found


def number(left: memoryview) -> tuple[int, memoryview]:
    groups = next(count for count, byte in enumerate(left, 1) if byte < 128)
    assert groups <= 10
    return sum((byte & 127) << 7 * place for place, byte in enumerate(left[:groups])), left[groups:]


def payload(content: bytes) -> Read:
    found = raw(content)
    one = {
        name: found[key][-1] if key in found else None
        for key, name in ((1, "t"), (3, "s"), (4, "u"), (5, "b"))
    }
    uuid = one["u"].decode() if one["u"] else None
    return Read(one["t"], one["s"], uuid, one["b"], [metric(body) for body in found[2]])


def metric(content: bytes) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, values in raw(content).items():
        name, value = FIELDS[key], values[-1]
        if name in ("name", "string"):
            value = value.decode()
        elif name == "float":
            value = struct.unpack("<f", value)[0]
        elif name == "double":
            value = struct.unpack("<d", value)[0]
        made[name] = value
    return made
