"""Questions about a node's state whose answers the host needs: may names be believed, when did it die, is it time, how is it."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.mqtt.sparkplug.model import Act, Entity, Loss, Packet
from adapters.mqtt.sparkplug.node import Node


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


def lost_words(loss: Loss) -> str:
    """For the gap record."""
    if not loss.messages:
        return "what it said while we were away; it was born again before it said anything else, so nobody knows how much"
    return (
        f"{loss.messages} {'message' if loss.messages == 1 else 'messages'} from seq {loss.seq} on never came"
    )


def waited(node: Node, now: float) -> bool:
    """Whether something waited long enough."""
    until = node.waits_until()
    return until is not None and until <= now


def words(name: str, node: Node) -> str:
    """A node for `status`."""
    devices = [entity for entity in node.entities.values() if entity.device]
    alive = sum(entity.alive for entity in devices)
    standing = "born" if node.alive else "dead" if node.dead else "no birth seen"
    counts: Mapping[str, int] = {name: n for name, n in node.counts.items() if n}
    told = [
        f"{alive} of {len(devices)} devices alive",
        *(f"{n} {name}" for name, n in sorted(counts.items())),
    ]
    if node.doubted:
        told.append("a birth may have been missed: what is known by alias is in doubt until the next one")
    return f"{name}: {standing}, {', '.join(told)}"
