"""Sparkplug B data messages, as many as the load needs: each topic is an edge node, its metrics are named by alias.

The bytes come from the simulators' own encoder once; then only seq, times and values are patched, all edges at a time. All
edges are one connection and have no will: what is measured is the host, not its bookkeeping of deaths.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.broker.packets import packet, text
from simulators.clock import MILLISECOND
from simulators.errors import SimulatorError
from simulators.load.series import Series, name_of
from simulators.sparkplug.encode import Encoder
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.model import DataType, Metric, Payload

SEQ = 256
MOST: Final = 127  # metrics of a message: an alias is one byte, so that all are of one length
_TIME_BYTES: Final = 6  # of a varint: any ms from 1971 to 2109
_METRIC: Final = np.dtype(
    {
        "names": ["time", "value"],
        "formats": [(np.uint8, (_TIME_BYTES,)), "<f8"],
        "offsets": [5, 12],  # behind tag and length of the metric, alias, and the tag of the time
        "itemsize": 20,
    }
)


class Edges:
    """One NDATA for every edge node `spBv1.0/<group>/NDATA/v00000`: `per_message` Doubles, called by the variables' names."""

    def __init__(self, series: Series, group: str, per_message: int) -> None:
        if not 1 <= per_message <= MOST:
            raise SimulatorError(f"--values {per_message}: between 1 and {MOST} in a Sparkplug message.")
        self._series, self._group, self._per = series, group, per_message
        self._edges = [name_of(edge) for edge in range(series.variables // per_message)]
        self._encoder = Encoder(Habits())
        self._short, self._long = self._rows(0), self._rows(SEQ - 1)
        self.size = self._short.itemsize

    def opening(self) -> bytes:
        """An NBIRTH for every edge: names, aliases and types, and no values yet."""
        at_ms = self._series.start_ns // MILLISECOND
        payload = self._encoder.payload(Payload(self._born(at_ms), timestamp=at_ms, seq=0))
        return b"".join(self._packet("NBIRTH", edge, payload) for edge in self._edges)

    def _born(self, at_ms: int) -> list[Metric]:
        names = [name_of(place) for place in range(self._per)]
        return [
            Metric("bdSeq", timestamp=at_ms, datatype=DataType.INT64, value=0),
            Metric("Node Control/Rebirth", timestamp=at_ms, datatype=DataType.BOOLEAN, value=False),
            *(
                Metric(name, alias, at_ms, DataType.DOUBLE, is_null=True)
                for alias, name in enumerate(names)
            ),
        ]  # fmt: skip

    def _packet(self, kind: str, edge: str, payload: bytes) -> bytes:
        return packet(0x30, text(f"spBv1.0/{self._group}/{kind}/{edge}") + payload)

    def _rows(self, seq: int) -> NDArray[np.void]:
        """All NDATA with a seq of this length, as records whose fields are what changes."""
        at_ms = 1 << 41
        metrics = [
            Metric(alias=a, timestamp=at_ms, encode_as=DataType.DOUBLE, value=0.0) for a in range(self._per)
        ]
        payload = self._encoder.payload(Payload(metrics, timestamp=at_ms, seq=seq))
        made = [self._packet("NDATA", edge, payload) for edge in self._edges]
        start, seq_at = len(made[0]) - len(payload), len(made[0]) - (2 if seq >= SEQ // 2 else 1)
        layout = np.dtype(
            {
                "names": ["time", "metrics", "seq"],
                "formats": [(np.uint8, (_TIME_BYTES,)), (_METRIC, (self._per,)), np.uint8],
                "offsets": [start + 1, start + 1 + _TIME_BYTES, seq_at],
                "itemsize": len(made[0]),
            }
        )
        return np.frombuffer(b"".join(made), np.uint8).copy().view(layout)

    def packets(self, tick: int, first: int) -> memoryview:
        """All packets of a tick; NBIRTH had seq 0, so the first tick has 1."""
        seq = (tick + 1) % SEQ
        rows = self._long if seq >= SEQ // 2 else self._short
        stamp = _varint(self._series.at(tick) // MILLISECOND)
        rows["seq"], rows["time"] = seq, stamp
        rows["metrics"]["time"] = stamp
        rows["metrics"]["value"] = self._series.values(tick).reshape(-1, self._per)
        self.size = rows.itemsize
        return rows.view(np.uint8).data.cast("B")


def _varint(number: int) -> NDArray[np.uint8]:
    groups = number >> 7 * np.arange(_TIME_BYTES) & 0x7F
    groups[:-1] |= 0x80
    return groups.astype(np.uint8)
