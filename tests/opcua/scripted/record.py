"""What the server was asked and what it put on the wire: the oracle's side of the books, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.opcua.encoder import Array, DataValue, Scalar


class Told(NamedTuple):
    """One value in a notification that went out. node: its name. value: as scalar or list, None without one."""

    subscription: int
    sequence: int
    node: str
    value: Any
    status: int
    source: int | None  # ticks


def plain(value: DataValue) -> Any:
    if isinstance(value.value, Scalar):
        return value.value.value
    return list(value.value.values) if isinstance(value.value, Array) else None


@dataclass
class Record:
    """requests: (service, connection) in order. emitted: what the machine did; told: what was written to a socket;
    dropped: what a queue of the server let go. in_flight: the most PublishRequests that ever waited in a session."""

    requests: list[str] = field(default_factory=list)
    by_connection: list[tuple[int, str]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    acknowledgements: list[tuple[int, int, int]] = field(default_factory=list)  # subscription, number, result
    republished: list[tuple[int, int, int]] = field(default_factory=list)  # subscription, number, result
    transferred: list[tuple[int, int]] = field(default_factory=list)  # subscription, result
    called: list[tuple[int, Sequence[Any]]] = field(default_factory=list)  # method of namespace 0, arguments
    emitted: list[tuple[str, DataValue]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    dropped: list[tuple[str, DataValue]] = field(default_factory=list)
    users: list[tuple[str | None, bytes | None]] = field(default_factory=list)  # who signed in, with what
    heard: bytearray = field(default_factory=bytearray)  # every byte that came, where `listen` is on
    most_in_flight: int = 0
    opened: int = 0  # connections
    renewed: int = 0  # channels

    def count(self, service: str) -> int:
        return self.requests.count(service)

    @property
    def services(self) -> Counter[str]:
        return Counter(self.requests)

    def values(self, node: str) -> list[Any]:
        """What was told of a node, without repetitions by Republish, in order of sequence."""
        seen = {
            (told.subscription, told.sequence, n): told.value
            for n, told in enumerate(self.told)
            if told.node == node
        }
        return list(seen.values())
