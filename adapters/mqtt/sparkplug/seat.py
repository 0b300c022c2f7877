"""Where a message belongs: the node that its topic names, and who reads of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.mqtt.adopted import Adopted
from adapters.mqtt.sparkplug.layouts import Habit
from adapters.mqtt.sparkplug.node import Node
from adapters.mqtt.sparkplug.reading import Taker
from adapters.mqtt.sparkplug.recent import salt
from adapters.settings import Reading
from pipelines.registry import Registry

ANY: Final = "+"
Key = tuple[str, str]


class Seat:
    """One node and who reads of it."""

    def __init__(self, key: Key, readings: Sequence[Reading], shop: tuple[Registry, Adopted], patience: float) -> None:  # fmt: skip
        self.key, self.node = key, Node("/".join(key), patience)
        self.births = b""  # of the checkpoint, made anew when they change
        self.machines = tuple(dict.fromkeys(reading.machine for reading in readings))
        self._readings, self._shop = readings, shop
        self._takers: dict[str, list[Taker]] = {}

    def takers(self, device: str) -> list[Taker]:
        """Who reads of this entity; asked for devices that exist only, which are bounded."""
        known = self._takers.get(device)
        if known is None:
            known = self._takers[device] = [
                Taker(reading, *self._shop, device, {"device": device} if wanted == ANY else {})
                for reading in self._readings
                if (wanted := reading.read.place[2]) == device or (wanted == ANY and device)
            ]
        return known

    def sole(self, device: str) -> Taker | None:
        """The only one who reads of this entity; None: there is none, or more than one."""
        takers = self.takers(device) if device in self.node.entities else ()
        return takers[0] if len(takers) == 1 else None


class Place:
    """What a topic says. kind: empty for commands and whatever is nothing to a host that listens. habit: None: no data."""

    __slots__ = ("_sole", "device", "habit", "kind", "salt", "seat")

    def __init__(self, seat: Seat, kind: str, device: str) -> None:
        self.seat, self.kind, self.device = seat, kind, device
        self.salt = salt(kind, device)
        self.habit = Habit() if kind.endswith("DATA") else None
        self._sole: Taker | None = None

    @property
    def sole(self) -> Taker | None:
        """See Seat.sole: once there is one, it stays."""
        if self._sole is None:
            self._sole = self.seat.sole(self.device)
        return self._sole
