"""The history of a scripted server (OPC 10000-4, 5.11.3; OPC 10000-11, 6.4.3): raw values, a page at a time, as wrong as a test wants it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.services import Asked, answer
from tests.opcua.scripted.codec.wire import NodeId, Reader, no_diagnostics, several

READ_RAW, HISTORY_DATA = 649, 658
NO_DATA, UNSUPPORTED, MORE = 0x00A50000, 0x80720000, 0x00A60000


@dataclass
class Archive:
    """values: of the variables that are remembered, by name, in the order of time. page: values in one answer.

    statuses: what single nodes are answered instead. reads: (names, begins, ends in ticks) of each call. released: points given back.
    endless: every answer is empty and has a continuation point.
    """

    values: dict[str, list[DataValue]] = field(default_factory=dict)
    page: int = 1000
    statuses: dict[str, int] = field(default_factory=dict)
    reads: list[tuple[list[str], int, int]] = field(default_factory=list)
    released: int = 0
    endless: bool = False
    points: dict[bytes, list[DataValue]] = field(default_factory=dict)

    def remember(self, *names: str) -> None:
        for name in names:
            self.values.setdefault(name, [])

    def take(self, name: str, value: DataValue) -> None:
        if name in self.values:
            self.values[name].append(value)

    def serve(self, asked: Asked) -> bytes:
        reader = Reader(asked["details"].body)
        assert asked["details"].type_id == NodeId(0, READ_RAW)
        assert not reader.boolean()
        begins, ends, most = reader.i64(), reader.i64(), reader.u32()
        names = [str(node.identifier) for node, _ in asked["nodes"]]
        if asked["release"]:
            self.released += len(names)
            return answer(asked, several([_result(codes.GOOD, None, None) for _ in names]) + no_diagnostics())
        self.reads.append((names, begins, ends))
        results = [
            self._node(name, point, (begins, ends), most)
            for name, (_, point) in zip(names, asked["nodes"], strict=True)
        ]
        return answer(asked, several(results) + no_diagnostics())

    def _node(self, name: str, point: bytes | None, span: tuple[int, int], most: int) -> bytes:
        if name in self.statuses:
            return _result(self.statuses[name], None, None)
        if self.endless:
            return _result(codes.GOOD, os.urandom(8), [])
        if point:
            fit = self.points.pop(point)
        else:
            fit = [v for v in self.values.get(name, []) if span[0] <= (v.source or 0) < span[1]]
        size = min(self.page, most or self.page)
        again = os.urandom(8) if len(fit) > size else None
        if again:
            self.points[again] = fit[size:]
        return _result(codes.GOOD if fit else NO_DATA, again, fit[:size])


def _result(status: int, point: bytes | None, values: list[DataValue] | None) -> bytes:
    """A HistoryReadResult."""
    head = struct.pack("<I", status) + enc.octets(point)
    if values is None:
        return head + b"\0\0\0"
    return head + enc.extension(HISTORY_DATA, several([value.encode() for value in values]))
