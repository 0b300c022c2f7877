"""All edge nodes of one source: a topic to its node, a message to its state, and what is left to rows, gaps and wishes.

The state lives in `node.py` and the values in `reading.py`; here they meet. Nothing is published from here: `commands` are
wishes that the session may grant (`rebirth: true`), at most one per node and `THROTTLE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from adapters.mqtt.adopted import Adopted
from adapters.mqtt.binding import Stamps
from adapters.mqtt.channel import Message
from adapters.mqtt.sheet import Cell, Sheet
from adapters.mqtt.sparkplug.judging import died_at, lost_words, state, waited, words
from adapters.mqtt.sparkplug.keep import NO_BIRTHS, births_of, dump_node, load_nodes
from adapters.mqtt.sparkplug.layouts import Skim
from adapters.mqtt.sparkplug.meaning import Sense
from adapters.mqtt.sparkplug.model import BREAK, LOSS, Act, Entity, Packet
from adapters.mqtt.sparkplug.packets import packet_of, rebirth
from adapters.mqtt.sparkplug.reading import Taker
from adapters.mqtt.sparkplug.seat import Key, Place, Seat
from adapters.mqtt.sparkplug.skim import Skimmer
from adapters.settings import Reading
from pipelines import quality as q
from pipelines.batch import Flag
from pipelines.registry import Registry
from pipelines.stage import Gap, Refusal

THROTTLE: Final = 30.0  # seconds between two rebirth requests to one node
KEPT: Final = 512_000  # bytes of births in the checkpoint
_MS: Final = 1_000_000  # ns
_NODE: Final = ("NBIRTH", "NDATA", "NDEATH")
_DEVICE: Final = ("DBIRTH", "DDATA", "DDEATH")

OTHER_TIME: Final = (
    "an alias of another time: the message came after later ones (seq), and a birth may lie between"
)
DOUBTED: Final = (
    "by alias alone, and a birth that gave it another meaning may have been missed (see collector status --facts): "
    "allow rebirth: true, or wait for the next birth of the edge"
)
UNNUMBERED: Final = (
    "by alias alone in a message without seq: nobody can tell whether a birth before it was lost; "
    "if the aliases of this edge never change, write aliases: trusting"
)


class Policy(NamedTuple):
    """What the source's settings say. patience: seconds. asked: when each node was asked last, over all connections.

    strict: an alias is believed only while its birth is certain (decision 0009).
    """

    namespace: str
    patience: float
    rebirth: bool
    asked: dict[Key, float]
    strict: bool = True


class Host:
    """Made anew with every connection, from the checkpoint. gaps, commands: taken away by who reads them."""

    def __init__(
        self, readings: Sequence[Reading], registry: Registry, adopted: Adopted, policy: Policy
    ) -> None:
        self.policy = policy
        self.gaps: list[Gap] = []
        self._skimmer = Skimmer()
        self.seats: dict[Key, Seat] = {}
        grouped: dict[Key, list[Reading]] = {}
        for reading in readings:
            grouped.setdefault(reading.read.place[:2], []).append(reading)
        for key, those in grouped.items():
            self.seats[key] = Seat(key, those, (registry, adopted), policy.patience)

    @property
    def filters(self) -> Sequence[str]:
        """Every message type of a node: seq counts over all of them."""
        return [self._filter(key) for key in self.seats]

    def _filter(self, key: Key) -> str:
        return f"{self.policy.namespace}/{key[0]}/+/{key[1]}/#"

    def filter_of(self, place: Place) -> str:
        return self._filter(place.seat.key)

    def place(self, topic: str) -> Place | None:
        """None: not a topic of any node that is read."""
        namespace = self.policy.namespace + "/"
        if not topic.startswith(namespace):
            return None
        levels = topic[len(namespace) :].split("/")
        if not 3 <= len(levels) <= 4 or (levels[0], levels[2]) not in self.seats:
            return None
        seat, device = self.seats[levels[0], levels[2]], levels[3] if len(levels) == 4 else ""
        kind = levels[1] if levels[1] in (_DEVICE if device else _NODE) else ""
        return Place(seat, kind, device)

    def read_quickly(self, place: Place, message: Message, sheet: Sheet) -> bool:
        """True if the message is data of a known layout, just what was expected, and read by one entry; else nothing was done.

        Not to be asked of what is retained.
        """
        payload, node = message.payload, place.seat.node
        said = None if place.habit is None else place.habit.read(payload)
        entity, sole = node.entities.get(place.device), place.sole
        if said is None or said.layout is None or entity is None or sole is None:
            return False
        track = sole.track(entity, said.layout)
        values = None if track is None else track.values(said)
        if track is None or values is None:
            return False
        if not node.next_in_line(crc32(payload) ^ place.salt, entity, said):
            return False
        track.add(said.times, values, sheet)
        return True

    def read(self, place: Place, message: Message, stamp: int, sheet: Sheet, now: float) -> bool:
        """Adds what the message says; True if a row took the time of receipt. now: monotonic seconds."""
        if not place.kind:
            return False
        said = None if place.habit is None else self._skimmer.read(message.payload, place.habit)
        entity = None if said is None or message.retain else _in_line(place, message, said)
        if entity is not None and said is not None and place.sole and place.sole.quick(entity, said, sheet):
            return False
        packet = packet_of(place.kind, place.device, message, stamp, said)
        if isinstance(packet, str):
            sheet.decoded += 1
            sheet.refused.extend(_refusal(message, packet, stamp))
            return False
        if entity is not None:
            return self._act(place.seat, Act("DATA", entity, packet), stamp, sheet)
        used = False
        for act in place.seat.node.take(packet, now):
            used |= self._act(place.seat, act, stamp, sheet)
        self._account(place.seat)
        return used

    def due(self, now: float, at: int, sheet: Sheet) -> None:
        """What the passing of time tells."""
        for seat in self.seats.values():
            until = seat.node.waits_until()
            if until is not None and until <= now:
                for act in seat.node.due(now):
                    self._act(seat, act, at, sheet)
                self._account(seat)
            node = seat.node
            if node.aside.waiting:
                self.gaps.extend(node.aside.told(node.name, at, seat.machines, over=not node.doubted))

    def is_due(self, now: float) -> bool:
        """Something waited long enough, or there is somebody to be asked."""
        return any(self._may_ask(seat, now) or waited(seat.node, now) for seat in self.seats.values())

    def _may_ask(self, seat: Seat, now: float) -> bool:
        wished = self.policy.rebirth and seat.node.wants_birth
        return wished and now - self.policy.asked.get(seat.key, -THROTTLE) >= THROTTLE

    def _act(self, seat: Seat, act: Act, at: int, sheet: Sheet) -> bool:
        entity, packet = act.entity, act.packet
        takers = seat.takers(entity.device)
        if act.what in ("BIRTH", "DEATH"):
            seat.births = b""
        if act.what == "DEATH":
            return _mark(takers, died_at(act, at), sheet)
        if packet is None or packet.kind.endswith("DEATH"):
            return False
        message, stamp, where = packet.origin
        stamps = Stamps(stamp, int(Flag.RETAINED) if packet.retain else 0)
        born, why = state(seat.node, entity, packet)
        void = OTHER_TIME if act.what == "STRAY" else self._void(entity, packet)
        sense = Sense(
            sheet, stamps, message.payload, where, packet.time, self._doubts(entity), void, born, why
        )
        for taker in takers:
            if act.what == "BIRTH":
                taker.born()
            taker.take(entity, packet, sense)
            seat.node.aside.add(taker.voided, stamp)
            if taker.unknown and act.what == "DATA":
                seat.node.wants_birth = True
        return bool(stamps.used)

    def _doubts(self, entity: Entity) -> bool:
        """A loss is doubted where a birth can be asked for; who only listens would doubt for ever (README)."""
        return entity.doubt >= (LOSS if self.policy.rebirth else BREAK)

    def _void(self, entity: Entity, packet: Packet) -> str:
        """Why values by alias are not read, if they are not."""
        if not self.policy.strict or packet.kind.endswith("BIRTH"):
            return ""
        return DOUBTED if entity.doubt else UNNUMBERED if packet.seq is None else ""

    def _account(self, seat: Seat) -> None:
        """Losses to gaps."""
        losses, seat.node.losses = seat.node.losses, []
        for loss in losses:
            at, said = loss.before.origin[1], loss.before.time * _MS
            begins = min(loss.after * _MS or at, at)
            detail = f"{'/'.join(seat.key)}: {lost_words(loss)}"
            self.gaps.append(Gap(begins, max(at, said), "sparkplug_messages_lost", detail, seat.machines))

    def commands(self, now: float, at: int) -> Sequence[tuple[str, bytes]]:
        """Rebirth requests that are wanted and allowed. at: ns, our clock."""
        made = []
        for seat in self.seats.values():
            if self._may_ask(seat, now):
                self.policy.asked[seat.key] = now
                seat.node.wants_birth = False
                seat.node.counts["rebirths asked"] += 1
                group, node = seat.key
                made.append((f"{self.policy.namespace}/{group}/NCMD/{node}", rebirth(at)))
        return made

    def words(self) -> str:
        """For `status`."""
        return "; ".join(words(seat.node.name, seat.node) for seat in self.seats.values())

    def dump(self) -> bytes:
        """For the checkpoint: what must be known after a restart, and what waits for an earlier message, whose acknowledgement was given.

        Births for which there is no room are left out, and nothing else.
        """
        parts, room = [], KEPT
        for key, seat in self.seats.items():
            seat.births = seat.births or births_of(seat.node)
            fits = len(seat.births) <= room
            room -= len(seat.births) if fits else 0
            parts.append(dump_node(key, seat.node, seat.births if fits else NO_BIRTHS))
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def restore(self, blob: bytes, now: float, *, continued: bool) -> None:
        """continued: the broker kept our session, so that no death of an edge connection was missed; births it does not keep (QoS 0)."""
        for key, fill in load_nodes(blob):
            seat = self.seats.get(key)
            if seat is None:
                continue
            fill(seat.node, now, self._again)
            seat.node.resumed = True
            if not continued or self.policy.strict:
                seat.node.doubt(BREAK)
            seat.node.wants_birth &= not seat.node.dead
            for entity in seat.node.entities.values():
                for taker in seat.takers(entity.device):
                    taker.prime(entity)

    def _again(self, topic: str, message: Message, stamp: int) -> Packet | None:
        place = self.place(topic)
        packet = packet_of(place.kind, place.device, message, stamp) if place else None
        return packet if isinstance(packet, Packet) else None


def _in_line(place: Place, message: Message, said: Skim) -> Entity | None:
    """Whose data they are, where they are just what was expected and one entry reads them; then they count as taken."""
    entity = place.seat.node.entities.get(place.device)
    if entity is None or place.sole is None:
        return None
    mark = crc32(message.payload) ^ place.salt
    return entity if place.seat.node.next_in_line(mark, entity, said) else None


def _mark(takers: Iterable[Taker], at: int, sheet: Sheet) -> bool:
    """One row without value per point."""
    marked = 0
    for taker in takers:
        for point, kind in taker.died().items():
            sheet.row(kind, Cell(point, at, kind.empty, q.BAD_NO_COMMUNICATION, Flag.NO_VALUE))
            marked += 1
    sheet.decoded += marked
    return marked > 0


def _refusal(message: Message, reason: str, stamp: int) -> Sequence[Refusal]:
    return [
        Refusal(message.topic.decode("utf-8", "backslashreplace"), reason, message.payload[:65_536], stamp)
    ]
