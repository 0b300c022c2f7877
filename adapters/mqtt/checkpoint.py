"""What the source must know after a restart: that the broker keeps a session for us, and the receipt times of late messages.

A value without a time of its own gets the time of receipt. When its acknowledgement is lost with the connection, the
broker sends it again (dup), and a second receipt time would make a second value of it. So the times of the last messages
of that kind are kept, durable together with their values: packet id and checksum find them again, and the identity rule
then drops the repetition. The ring holds as many as can be in flight.

Some brokers (aedes) send again without saying so, against MQTT 3.1.1, 3.3.1.1. So those that were not acknowledged in the connection before
are suspected without DUP too: packet id, topic and payload must be the same, once each, and only early in a session that the broker
kept. Those that were acknowledged before are not, and nothing is at a broker that was seen to say so once: most brokers do, and some
use the lowest free packet id, so that a new message may look like the last one.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from adapters.mqtt.channel import Message

_ENTRY = struct.Struct("<HIq")
EARLY = 20_000  # messages of a connection after which nothing is suspected any more: packet ids come round after 65,535


class _Stored(msgspec.Struct, array_like=True):
    version: int
    client_id: str
    filters: list[str]
    last: int
    ring: bytes
    dropped: int = -1
    sparkplug: bytes = b""
    owed: int = 0
    marks: bool = False
    untold: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Checkpoint:
    """filters: what is subscribed. last: ns, when the connection was last known to live. fresh: nothing was stored yet.

    dropped: the broker's count of dropped messages as last read, -1 if never. untold: see `Dropped`. sparkplug: see sparkplug/keep.py.
    owed: how many of the ring, at its end, were not acknowledged when it was stored. marks: the broker was seen to mark a
    repetition (DUP). repeats: how many were recognised without it.
    """

    client_id: str
    filters: list[str] = field(default_factory=list)
    last: int = 0
    fresh: bool = True
    size: int = 1000
    ring: OrderedDict[tuple[int, int], bytes] = field(
        default_factory=OrderedDict
    )  # entries as they are stored
    remembered: int = 0
    dropped: int = -1
    sparkplug: bytes = b""
    owed: int = 0
    marks: bool = False
    untold: tuple[int, int] = (0, 0)
    repeats: int = 0
    _acknowledged: int = 0
    _suspects: dict[int, int] = field(default_factory=dict)
    _passed: int = 0

    def __post_init__(self) -> None:
        self.remembered = self._acknowledged = len(self.ring)

    def connected(self, *, present: bool) -> None:
        """The broker goes on with the session, or has begun a new one: then nothing of the old one comes again."""
        if not present:  # its packet ids begin anew: a repetition in it is none of what we remember
            self.ring.clear()
            self.remembered = self._acknowledged = 0
        keys = list(self.ring)[max(0, len(self.ring) - self.owed) :]
        self._suspects = dict(keys) if present and not self.marks else {}

    def stamp(self, message: Message) -> int:
        """The time that stands for the receipt of a message: of its first receipt, if it is known to be a repetition."""
        if message.dup:
            return self._marked(message)
        check = self._suspects.get(message.mid)
        if check is None or not message.qos or check != _checksum(message):
            return message.at
        self.repeats += 1
        return self._first((message.mid, check)) or message.at

    def _marked(self, message: Message) -> int:
        first = self._first((message.mid, _checksum(message)))
        if not first:  # some brokers pass on the DUP of whoever published it
            return message.at
        self.marks = True
        self._suspects.clear()
        return first

    def _first(self, key: tuple[int, int]) -> int:
        entry = self.ring.get(key)
        return _ENTRY.unpack(entry)[2] if entry else 0

    def passed(self, messages: Iterable[Message]) -> None:
        """These were read: their packet ids stand for them from now on, whatever they were before."""
        if self._suspects:
            for message in messages:
                self._suspects.pop(message.mid, None)
                self._passed += 1
            if self._passed > EARLY:
                self._suspects.clear()

    def acknowledged(self, mark: int) -> None:
        """The acknowledgements of what was remembered before `remembered` stood at `mark` were sent, and not just now."""
        self._acknowledged = max(mark, self._acknowledged)

    def remember(self, message: Message, stamp: int) -> None:
        if message.qos:
            key = (message.mid, _checksum(message))
            self.remembered += 1
            self.ring[key] = _ENTRY.pack(*key, stamp)
            self.ring.move_to_end(key)
            while len(self.ring) > self.size:
                self.ring.popitem(last=False)

    def forget(self, mark: int) -> None:
        """What was remembered before `remembered` stood at `mark` is not needed any more: the broker has its acknowledgement."""
        while self.ring and self.remembered - len(self.ring) < mark:
            self.ring.popitem(last=False)

    def dump(self) -> bytes:
        ring, owed = self._stored()
        return msgspec.msgpack.encode(
            _Stored(
                1,
                self.client_id,
                self.filters,
                self.last,
                ring,
                self.dropped,
                self.sparkplug,
                owed,
                self.marks,
                self.untold,
            )
        )

    def _stored(self) -> tuple[bytes, int]:
        """The ring with those at the end that are not acknowledged, and how many these are."""
        entries = list(self.ring.values())
        done = max(0, len(entries) - (self.remembered - self._acknowledged))
        held = self._suspected(done)
        if held:
            apart = set(held)
            entries = [*(entry for entry in entries[:done] if entry not in apart), *held, *entries[done:]]
        return b"".join(entries), len(entries) - done + len(held)

    def _suspected(self, among: int) -> list[bytes]:
        """Of the oldest `among` those that may still come again without DUP."""
        if not self._suspects:
            return []
        return [
            entry
            for (mid, check), entry in islice(self.ring.items(), among)
            if self._suspects.get(mid) == check
        ]


def _checksum(message: Message) -> int:
    return zlib.crc32(message.payload, zlib.crc32(message.topic))


def load(blob: bytes | None, client_id: str, size: int) -> Checkpoint:
    """The stored checkpoint; a blob of another version or shape counts as none: at worst one value is stored twice."""
    if blob is None:
        return Checkpoint(client_id, size=size)
    try:
        stored = msgspec.msgpack.decode(blob, type=_Stored)
    except msgspec.MsgspecError:
        return Checkpoint(client_id, size=size, fresh=False)
    entries = [stored.ring[at : at + _ENTRY.size] for at in range(0, len(stored.ring), _ENTRY.size)]
    if entries and len(entries[-1]) < _ENTRY.size:
        return Checkpoint(client_id, size=size, fresh=False)
    ring = OrderedDict((_ENTRY.unpack(entry)[:2], entry) for entry in entries)
    known = Checkpoint(client_id, stored.filters, stored.last, fresh=False, size=size, ring=ring)
    known.dropped, known.sparkplug = stored.dropped, stored.sparkplug
    known.owed, known.marks, known.untold = stored.owed, stored.marks, stored.untold
    return known
