"""MQTT 3.1.1 packets, as many as the load needs: a whole round of PUBLISH packets is one array, patched in place.

Topics and payloads have one length, so every packet of a round has the same layout, and packet id, time and value are
columns of bytes: a thousand packets cost a dozen numpy operations. Sections are those of the OASIS standard 3.1.1.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from simulators.broker.packets import packet, text
from simulators.clock import MILLISECOND
from simulators.load.series import Series, name_of

PUBACK: Final = b"\x40\x02"
LAST_ID: Final = 0xFFFF
_TIME_DIGITS, _VALUE_DIGITS, _DECIMALS = 13, 9, 3
_TIME: Final = b'{"ts":%013d'
_ENTRY: Final = b',"%s":000000.000'
_TIME_AT: Final = len(b'{"ts":')


def connect(client_id: str) -> bytes:
    """3.1: clean session, no keep-alive."""
    return packet(0x10, text("MQTT") + bytes((4, 0x02, 0, 0)) + text(client_id))


def payload(at_ms: int, keys: Sequence[str] = ("value",)) -> bytes:
    """The JSON of every message, its values still 0. All keys have one length."""
    return _TIME % at_ms + b"".join(_ENTRY % key.encode() for key in keys) + b"}"


class Rounds(Protocol):
    """What is sent, round by round: one message for every topic."""

    size: int
    """Bytes of each packet of the round that `packets` gave last."""

    def opening(self) -> bytes:
        """Packets that come before the first round; nothing acknowledges them."""

    def packets(self, tick: int, first: int) -> memoryview:
        """All packets of a tick, back to back. first: how many came before. Valid until the next call."""


class Round:
    """One PUBLISH of JSON for every topic, `per_message` values in each: `value`, or the variables' names from 0."""

    def __init__(self, series: Series, prefix: str, qos: int, per_message: int = 1) -> None:
        self._series, self._qos, self._per = series, qos, per_message
        self._keys = ["value"] if per_message == 1 else [name_of(place) for place in range(per_message)]
        topics = series.variables // per_message
        made = [self._publish(f"{prefix}/{name_of(topic)}") for topic in range(topics)]
        self.size = len(made[0])
        self._rows = np.frombuffer(b"".join(made), np.uint8).copy().reshape(topics, self.size)
        self._payload_at = self.size - len(payload(0, self._keys))
        self._bytes = self._rows.data.cast("B")

    def opening(self) -> bytes:
        return b""

    def _publish(self, topic: str) -> bytes:
        """3.3: QoS in bits 1 and 2 of the flags; a packet id only above QoS 0."""
        number = b"\0\0" if self._qos else b""
        return packet(0x30 | self._qos << 1, text(topic) + number + payload(0, self._keys))

    def packets(self, tick: int, first: int) -> memoryview:
        """All packets of a tick, back to back, `size` bytes each. first: how many packets came before."""
        if self._qos:
            self._patch_ids(first)
        at_ms = self._series.at(tick) // MILLISECOND
        stamp = np.frombuffer(b"%013d" % at_ms, np.uint8)
        start = self._payload_at + _TIME_AT
        self._rows[:, start : start + _TIME_DIGITS] = stamp
        self._patch_values(self._series.values(tick))
        return self._bytes

    def _patch_ids(self, first: int) -> None:
        numbers = (np.arange(first, first + len(self._rows)) % LAST_ID + 1).astype(">u2")
        at = self._payload_at - 2
        self._rows[:, at : at + 2] = numbers.view(np.uint8).reshape(-1, 2)

    def _patch_values(self, values: NDArray[np.float64]) -> None:
        """Digit by digit, the last first, in 32 bits: a value is below 1,000,000.000."""
        left = np.round(values * 10**_DECIMALS).astype(np.uint32).reshape(-1, self._per)
        width = len(_ENTRY % self._keys[0].encode())
        last = self._payload_at + _TIME_AT + _TIME_DIGITS + width - 1
        for place in range(_VALUE_DIGITS):
            column = last - place - (place >= _DECIMALS)
            rest = left // 10
            columns = slice(column, column + width * (self._per - 1) + 1, width)
            self._rows[:, columns] = left - rest * 10 + ord("0")
            left = rest


def acknowledged(received: bytes, already: int) -> int:
    """How many PUBACKs stand in `received` (whole packets), which must be the next ones in order. ValueError if not."""
    rows = np.frombuffer(received, np.uint8).reshape(-1, 4)
    numbers = rows[:, 2].astype(np.int64) * 256 + rows[:, 3]
    expected = np.arange(already, already + len(rows)) % LAST_ID + 1
    if (rows[:, 0] != PUBACK[0]).any() or (rows[:, 1] != PUBACK[1]).any() or (numbers != expected).any():
        raise ValueError("the broker sent something else than the next PUBACKs")
    return len(rows)
