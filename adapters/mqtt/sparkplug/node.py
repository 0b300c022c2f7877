"""What is known of one edge node and its devices: births, aliases, sequence, deaths. Pure: no I/O, and time is handed in.

MQTT keeps the order of one publisher, brokers in a cluster may not, and QoS 0 loses. So a message whose seq is not the next one is
held back until those before it came or `patience` is over (3.0, 6.4.5 and the reorder timeout of 5.x, operational-behavior-host-reordering).
Then what is missing is lost: a lost message may have been a birth that gave the aliases another meaning, so what is known by alias
is in doubt until the next birth. A message that fits nowhere although later ones came in order is a stray: its aliases
belong to another time and are never read. A number far behind its turn tells of a birth that never came (its numbers begin anew), so it is
doubted at once and not when the patience is over: before that the new numbers may have reached the one that was waited for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from adapters.mqtt.sparkplug.aside import Aside
from adapters.mqtt.sparkplug.layouts import Skim
from adapters.mqtt.sparkplug.model import BREAK, LOSS, SURE, Act, Entity, Loss, Packet, said_in, spoken
from adapters.mqtt.sparkplug.recent import Recent, salt

MOST_HELD: Final = 64  # messages of a node that wait for an earlier one
MOST_BYTES: Final = 256_000  # of them: they stand in the checkpoint
DEVICES: Final = 1000  # of a node; more are strangers' inventions
UNBORN: Final = 10.0  # seconds that a device has for its birth after the node was born again


class Node:
    """Take messages in the order of receipt; consume each result before the next call: it speaks of the state right then."""

    def __init__(self, name: str, patience: float) -> None:
        self.name, self.patience = name, patience
        self.entities: dict[str, Entity] = {"": Entity("")}
        self.bd_seq: int | None = None
        self.former: int | None = None  # bdSeq of the birth before
        self.expected: int | None = None
        self.held: list[Packet] = []
        self.recent = Recent()
        self.counts: Counter[str] = Counter()
        self.losses: list[Loss] = []
        self.aside = Aside()
        self.wants_birth = self.resumed = self.dead = False
        self._last: Skim | None = None
        self._said_at = self._progress = 0
        self._newest = 0  # ms, the time of the last message that had its turn

    alive = property(lambda self: self.entities[""].alive)
    doubted = property(lambda self: any(entity.doubt for entity in self.entities.values()))
    _weight = property(lambda self: sum(packet.size for packet in self.held))

    def entity(self, device: str) -> Entity | None:
        """Of this device; None: more devices than a node can have."""
        known = self.entities.get(device)
        if known is None and len(self.entities) <= DEVICES:
            known = self.entities[device] = Entity(device)
        return known

    def next_in_line(self, mark: int, entity: Entity, said: Skim) -> bool:
        """Whether data are just what was expected of somebody who is alive and sure; then they are taken."""
        seq, time = said.seq, said.time
        if seq is None or seq != self.expected or self.held:
            return False
        if not entity.alive or entity.doubt or time < entity.born_at or time < self.entities[""].born_at:
            return False
        self.recent.add(mark)
        self.resumed, self.expected = False, (seq + 1) % 256
        self._last, self._newest = said, time
        self._progress += 1
        return True

    @property
    def said_at(self) -> int:
        """ms, the time of what was said last by a message that had its turn; 0: unknown. Worked out when somebody asks."""
        if self._last is not None:
            said, self._last = self._last, None
            self._said_at = spoken(said.time, said.times) or self._said_at
        return self._said_at

    @said_at.setter
    def said_at(self, at: int) -> None:
        self._said_at, self._last = at, None

    def take(self, packet: Packet, now: float) -> Iterator[Act]:
        mark = packet.check ^ salt(packet.kind, packet.device)
        if packet.retain:
            yield from self._retained(packet)
        elif mark in self.recent and self._is_repetition(packet):
            self.counts["repeated"] += 1
        elif packet.kind == "NDEATH":
            yield from self._node_death(packet)
        else:
            self.recent.add(mark)
            yield from (
                self._node_birth(packet, now) if packet.kind == "NBIRTH" else self._in_turn(packet, now)
            )

    def _is_repetition(self, packet: Packet) -> bool:
        """Not without seq or time, which may say the same twice; and not what is due: the number of a message that had its turn
        is due again 256 messages later, so that a mark of 32 bits that is equal by chance takes no value away.
        """
        follows = packet.seq == self.expected and packet.time >= self.entities[""].born_at
        return packet.seq is not None and packet.time > 0 and not follows

    def _in_turn(self, packet: Packet, now: float) -> Iterator[Act]:
        if packet.seq is None and self.expected == 0:
            packet.seq = 0  # libraries of proto3 leave zeros out
        if packet.seq is None or self.expected is None:
            self.counts["without seq"] += packet.seq is None
            if self.alive and packet.seq not in (None, 1):
                self.doubt(LOSS)  # the birth said no number: what came between is not known
            self._advance(packet)
            yield from self._apply(packet)
            return
        if packet.seq == self.expected:
            if not self._is_said_later(packet):
                yield from self._apply_and_drain(packet)
                return
            while self.held:
                yield from self._give_up()
            self.doubt(LOSS)
        packet.since, packet.progress = now, self._progress
        self.held.append(packet)
        self.counts["out of order"] += 1
        if (packet.seq - self.expected) % 256 > 127 and not self._is_from_before(packet):
            self.doubt(LOSS)
        while self.held and (self.resumed or len(self.held) > MOST_HELD or self._weight > MOST_BYTES):
            yield from self._give_up()

    def _advance(self, packet: Packet) -> None:
        self.resumed = False
        self.said_at, self._newest = said_in(packet) or self.said_at, packet.time
        if packet.seq is not None:
            self.expected = (packet.seq + 1) % 256
            self._progress += 1

    def _apply_and_drain(self, packet: Packet) -> Iterator[Act]:
        self._advance(packet)
        yield from self._apply(packet)
        yield from self._drain()

    def _drain(self) -> Iterator[Act]:
        """Those that waited for just this; where a number waits twice they are of two births, and nobody knows which is whose."""
        turn = ((self.expected or 0) - 1) % 256
        twice = len({packet.seq for packet in self.held} - {turn}) < len(self.held)
        while (following := next((p for p in self.held if self._follows(p)), None)) is not None:
            self.held.remove(following)
            self._advance(following)
            if twice:
                self.doubt(LOSS)
            yield from self._apply(following)

    def _follows(self, packet: Packet) -> bool:
        return packet.seq == self.expected and not self._is_from_before(packet)

    def _is_said_later(self, packet: Packet) -> bool:
        """Than all that wait for its number: then it is not what they wait for, but counts from a birth that never came."""
        turn = self._newest or self.entities[""].born_at
        return 0 < max((each.time for each in self.held if each.time >= turn), default=0) < packet.time

    def _is_from_before(self, packet: Packet) -> bool:
        """Sent before the node's birth that is known: late, and no sign of another birth."""
        return 0 < packet.time < self.entities[""].born_at

    def due(self, now: float) -> Iterator[Act]:
        """What the passing of time tells."""
        while self.held and now - self.held[0].since >= self.patience:
            yield from self._give_up()
        for entity in self.entities.values():
            if entity.due is not None and now >= entity.due:
                self.counts["births that did not follow"] += 1
                entity.forget()
                yield Act("DEATH", entity, None)

    def waits_until(self) -> float | None:
        """When `due` has something to tell."""
        times = [entity.due for entity in self.entities.values() if entity.due is not None]
        if self.held:
            times.append(self.held[0].since + self.patience)
        return min(times, default=None)

    def _give_up(self) -> Iterator[Act]:
        """The first that waits: either a stray, because later ones came in order, or those before it are lost."""
        first = self.held[0]
        if self._progress > first.progress and not 0 < self._newest <= first.time:
            self.held.pop(0)
            self.counts["strays"] += 1
            if not self._is_from_before(first):
                self.doubt(LOSS)
            entity = self.entity(first.device)
            if entity is not None:
                yield Act("STRAY", entity, first)
            return
        expected = self.expected or 0
        nearest = min(self.held, key=lambda packet: ((packet.seq or 0) - expected) % 256)
        self.held.remove(nearest)
        self._lost(((nearest.seq or 0) - expected) % 256, expected, nearest)
        yield from self._apply_and_drain(nearest)

    def _lost(self, messages: int, seq: int, before: Packet) -> None:
        self.counts["lost messages"] += messages
        self.losses.append(Loss(messages, seq, self.said_at, before))
        self.doubt(LOSS)

    def doubt(self, level: int) -> None:
        """Aliases may mean something else by now: only a birth tells."""
        self.wants_birth = True
        for entity in self.entities.values():
            if entity.by_name:
                entity.doubt = max(entity.doubt, level)

    def _apply(self, packet: Packet) -> Iterator[Act]:
        entity = self.entity(packet.device)
        if entity is None:
            self.counts["devices beyond the limit"] += 1
        elif packet.kind == "DBIRTH":
            self._bear(entity, packet)
            yield Act("BIRTH", entity, packet)
        elif packet.kind == "DDEATH":
            if entity.alive or entity.by_name:
                entity.forget()
                yield Act("DEATH", entity, packet)
        else:
            self.wants_birth |= not entity.alive
            if self._is_older(packet, entity):
                self.counts["data older than the birth"] += 1
                entity.doubt, self.wants_birth = max(entity.doubt, LOSS), True
            yield Act("DATA", entity, packet)

    def _is_older(self, packet: Packet, entity: Entity) -> bool:
        """Sent before the birth that is known: its seq fits by chance, or the edge's clock was set back."""
        return 0 < packet.time < max(entity.born_at, self.entities[""].born_at)

    def _bear(self, entity: Entity, packet: Packet) -> None:
        """A birth that is older than the one before, or of a device of a dead node, is one that came too late."""
        older = self._is_older(packet, entity) or (self.dead and packet.kind == "DBIRTH")
        entity.bear(packet.metrics)
        entity.alive, entity.dead, entity.due = True, False, None
        entity.doubt = BREAK if older else SURE
        entity.born_at = packet.time or entity.born_at
        if older:
            self.counts["births out of their time"] += 1
            self.wants_birth = True

    def _node_birth(self, packet: Packet, now: float) -> Iterator[Act]:
        """Any seq begins (two clauses of 3.0 differ), and devices are not good before their own births.

        As the first word after we were away it hides from seq what was said meanwhile: a loss of which nobody knows how much it is.
        """
        if self.resumed and self.said_at:
            self.losses.append(Loss(0, 0, self.said_at, packet))
        later = [p for p in self.held if packet.time and p.time >= packet.time]
        self.held = [p for p in self.held if not (packet.time and p.time >= packet.time)]
        while self.held:
            yield from self._give_up()
        self.wants_birth = self.dead = False
        for entity in self.entities.values():
            if entity.device:
                entity.due = now + UNBORN if entity.alive or entity.due is not None else None
                entity.alive, entity.by_name, entity.by_alias = False, {}, {}
        self.former, self.bd_seq = self.bd_seq, packet.bd_seq
        self.expected = None
        self._advance(packet)
        self._bear(self.entities[""], packet)
        yield Act("BIRTH", self.entities[""], packet)
        self.held = later
        yield from self._drain()

    def _node_death(self, packet: Packet) -> Iterator[Act]:
        """Only that of the present edge connection counts, found by bdSeq (3.0, 6.4.21 and host rules).

        pysparkplug's orderly death has the bdSeq of the connection to come: a number that an old will cannot have.
        """
        said, ours = packet.bd_seq, self.bd_seq
        if said is not None and ours is not None and said != ours:
            if said % 256 != (ours + 1) % 256:
                self.counts["old deaths"] += 1
                if said not in (self.former, (ours - 1) % 256):
                    self.doubt(BREAK)  # it may be of a connection whose birth never came
                return
            self.counts["deaths with the next bdSeq"] += 1
        while self.held:
            yield from self._give_up()
        self.expected, self.bd_seq, self.wants_birth, self.dead = None, None, False, True
        self.said_at = max(self.said_at, packet.origin[1] // 1_000_000) if self.said_at else 0
        for entity in self.entities.values():
            known = entity.alive or bool(entity.by_name) or entity.due is not None
            entity.forget()
            if known:
                yield Act("DEATH", entity, packet)

    def _retained(self, packet: Packet) -> Iterator[Act]:
        """A birth that a broker or bridge kept: it may outlive the edge, so it tells names, and its aliases are in doubt."""
        self.counts["retained"] += 1
        entity = self.entity(packet.device)
        if entity is None or not packet.kind.endswith("BIRTH"):
            return
        if not entity.alive and not entity.by_name:
            entity.bear(packet.metrics)
            entity.doubt, self.wants_birth = BREAK, True
        yield Act("BIRTH", entity, packet)
