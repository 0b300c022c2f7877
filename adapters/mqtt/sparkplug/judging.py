"""Questions about a node's state whose answers the host needs: may names be believed, when did it die, is it time, how is it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters.mqtt.sparkplug.model import Act, Entity, Packet
from adapters.mqtt.sparkplug.node import Node
from pipelines.stage import Gap

SHORTEST: Final = (
    10 * 10**9
)  # ns until values that are set aside are told as a gap; doubled as long as it goes on
LONGEST: Final = 3600 * 10**9


def state(node: Node, entity: Entity, packet: Packet) -> tuple[bool, str]:
    """Whether values by name may be taken without a birth, and why an alias cannot be known."""
    if packet.kind.endswith("BIRTH") or entity.by_name:
        return True, ""
    who = "the device" if entity.device and not node.dead else "the node"
    if node.dead or entity.dead:
        return False, f"came after {who} died and before its next birth"
    return True, f"came before a birth of {who}"


def died_at(act: Act, at: int) -> int:
    """A device's death bears its time; a node's was written when it connected, so it is the time of receipt that counts (3.0, 5.5, 5.7)."""
    packet = act.packet
    said = packet.time if packet is not None and packet.kind == "DDEATH" else 0
    return said * 1_000_000 if said >= act.entity.born_at and said else at


def waited(node: Node, now: float) -> bool:
    """Whether something waited long enough."""
    until = node.waits_until()
    return until is not None and until <= now


class Aside:
    """What the doubt about aliases costs a node: gap records over the times in which values were set aside, ever longer ones."""

    def __init__(self) -> None:
        self._count = self._begins = self._ends = 0
        self._wait = SHORTEST

    def add(self, values: int, said: int, at: int) -> None:
        """said: the message's own time, which counts if it is shortly before its receipt; ns."""
        if values:
            self._begins = self._begins if self._count else said if at - SHORTEST < said < at else at
            self._count, self._ends = self._count + values, at

    def told(self, node: Node, at: int, machines: tuple[str, ...]) -> Sequence[Gap]:
        """The record, when the doubt is over or it is time for one."""
        over = not any(entity.doubt for entity in node.entities.values())
        if not self._count or not (over or at - self._begins >= self._wait):
            return ()
        detail = (
            f"{node.name}: {self._count} values by alias were set aside, because a birth may have been missed"
        )
        gap = Gap(self._begins, self._ends, "sparkplug_aliases_in_doubt", detail, machines, self._count)
        self._count, self._wait = 0, SHORTEST if over else min(2 * self._wait, LONGEST)
        return (gap,)


def words(name: str, node: Node) -> str:
    """A node for `status`."""
    devices = [entity for entity in node.entities.values() if entity.device]
    alive = sum(entity.alive for entity in devices)
    standing = "born" if node.alive else "dead" if node.dead else "no birth seen"
    doubted = any(entity.doubt for entity in node.entities.values())
    counts: Mapping[str, int] = {name: n for name, n in node.counts.items() if n}
    told = [
        f"{alive} of {len(devices)} devices alive",
        *(f"{n} {name}" for name, n in sorted(counts.items())),
    ]
    if doubted:
        told.append("a birth may have been missed: what is known by alias is in doubt until the next one")
    return f"{name}: {standing}, {', '.join(told)}"
