"""An edge node's session with a broker (Sparkplug B 3.0, chapters 5 and 6), to the letter unless its habits say otherwise.

Everything after CONNECT is synchronous: a rebirth command is obeyed between two messages and never in the middle of one,
and a broken rule can put its own message exactly where it wants it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from simulators.clock import MILLISECOND, wall_ns
from simulators.errors import SimulatorError
from simulators.faces.broker import Address
from simulators.sparkplug import wire
from simulators.sparkplug.book import Book
from simulators.sparkplug.cell import Cell, Signal, definition
from simulators.sparkplug.encode import Encoder
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.link import Link, Will, open_link
from simulators.sparkplug.model import DataType, Metric, Payload

REBIRTH: Final = "Node Control/Rebirth"
BACKLOG: Final = 1000  # messages kept while the host is away, then sent as history
Named = tuple[str, Metric]


def now_ms() -> int:
    return wall_ns() // MILLISECOND


@dataclass(frozen=True, slots=True)
class Place:
    """Where the edge lives. host: the primary host whose STATE it waits for; empty: it waits for nobody."""

    address: Address
    group: str = "plant"
    node: str = "cell"
    host: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH and what it says: metrics by their real names. unreadable: why no host can understand it."""

    topic: str
    payload: bytes
    machine: str
    metrics: Sequence[Named] = ()
    at_ms: int | None = None
    retain: bool = False
    unreadable: str = ""


class Edge:
    """One edge node with its devices. `connect`, then `data`, `birth`, `leave` or `lose`.

    spoiled: devices (the node: the empty name) whose data nobody can understand until the next birth, and why.
    """

    def __init__(self, place: Place, cell: Cell, habits: Habits, book: Book) -> None:
        self.place, self.cell, self.habits, self.book = place, cell, habits, book
        self.encoder = Encoder(habits)
        self.link: Link | None = None
        self.seq = self.bd_seq = -1
        self.born = False
        self.connections = 0
        self.host_online = not place.host
        self.spoiled: dict[str, str] = {}
        self._host_since = 0
        self._backlog: deque[tuple[str, list[Metric], list[str]]] = deque(maxlen=BACKLOG)

    @property
    def connected(self) -> bool:
        return self.link is not None and not self.link.lost.is_set()

    def topic(self, kind: str, device: str = "") -> str:
        place = self.place
        return "/".join((self.habits.namespace, place.group, kind, place.node, *([device] if device else [])))

    def state_topic(self) -> str:
        return ("STATE/" if self.habits.state == "2" else "spBv1.0/STATE/") + self.place.host

    async def connect(self, *, silent: bool = False) -> None:
        """A new connection with the next bdSeq; the births follow, or wait for the primary host, or (silent) for `birth`."""
        rises = self.habits.bd_seq == "rises"
        self.bd_seq = (self.habits.first_bd_seq + (self.connections if rises else 0)) % 256
        self.connections, self.born = self.connections + 1, False
        if self.place.host:
            self.host_online = False
        client_id = f"{self.place.group}-{self.place.node}"
        self.link = await open_link(self.place.address, client_id, self._will(), self.heard)
        await self._subscribe(self.link)
        if not self.place.host and not silent:
            self.birth()

    async def _subscribe(self, link: Link) -> None:
        """Whoever accepts a connection may still go before it has answered this."""
        topics = [self.topic("NCMD"), self.topic("DCMD", "+")]
        try:
            await link.subscribe([*topics, *([self.state_topic()] if self.place.host else [])])
        except (OSError, TimeoutError) as error:
            link.abort()
            raise SimulatorError(
                f"{self.place.address.url} does not answer ({error or 'time-out'}). Is the broker running?"
            ) from error

    def _will(self) -> Will | None:
        if self.habits.will == "none":
            return None
        number = (self.bd_seq - (self.habits.will == "old")) % 256
        return Will(self.topic("NDEATH"), self.death(number))

    def death(self, bd_seq: int) -> bytes:
        """NDEATH has no seq (6.4.5)."""
        metric = Metric("bdSeq", timestamp=now_ms(), datatype=DataType.INT64, value=bd_seq)
        return self.encoder.payload(Payload([metric], timestamp=now_ms()))

    def next_seq(self) -> int:
        self.seq = (self.seq + 1) % 256
        return self.seq

    def heard(self, topic: str, payload: bytes) -> None:
        """Commands and the host's state, on the link's callback."""
        if topic == self.topic("NCMD") and _asks_rebirth(payload):
            self.book.note("command", topic=topic, command=REBIRTH)
            if self.habits.rebirth == "obeys":
                self.birth()
        elif self.place.host and topic == self.state_topic():
            self._host(payload)

    def _host(self, payload: bytes) -> None:
        """5.6: offline counts only if it is not older than the last online."""
        online, since = _state(payload)
        if online is None or (not online and since < self._host_since):
            return
        self.book.note("host", online=online)
        self.host_online = online
        self._host_since = since if online else self._host_since
        if online and not self.born:
            self.birth()
        elif not online and self.born:
            self.leave()

    def birth(self) -> None:
        """NBIRTH and all DBIRTHs; then what waited for the host, as history."""
        self.spoiled.clear()
        self.seq = (self.habits.first_seq - 1) % 256
        self.send(self.make("NBIRTH", "", self.birth_metrics("")))
        for device in self.cell.devices:
            if device and self.habits.births == "all":
                self.send(self.make("DBIRTH", device, self.birth_metrics(device)))
        self.born = True
        self.book.note("birth", node=self.place.node, bd_seq=self.bd_seq)
        while self._backlog:
            device, metrics, names = self._backlog.popleft()
            told = [replace(metric, is_historical=True) for metric in metrics]
            self.send(self.make(_data(device), device, list(zip(names, told, strict=True))))

    def birth_metrics(self, device: str) -> list[Named]:
        """All metrics of the node (empty name) or a device, with everything a birth must say."""
        own = [(signal.name, self.metric(signal, birth=True)) for signal in self.cell.devices[device]]
        return [*self._control(), *own] if not device else own

    def _control(self) -> list[Named]:
        at, habits, made = now_ms(), self.habits, []
        if habits.bd_seq != "missing":
            made.append(Metric("bdSeq", timestamp=at, datatype=DataType.INT64, value=self.bd_seq))
        if habits.rebirth_metric != "missing":
            alias = 1 << 40 if habits.rebirth_metric == "alias" else None
            made.append(Metric(REBIRTH, alias=alias, timestamp=at, datatype=DataType.BOOLEAN, value=False))
        signals = [signal for device in self.cell.devices.values() for signal in device]
        if any(signal.datatype == DataType.TEMPLATE for signal in signals):
            made.append(replace(definition(), timestamp=at))
        return [(metric.name or "", metric) for metric in made]

    def metric(self, signal: Signal, *, birth: bool) -> Metric:
        """As a birth or as data say it."""
        habits = self.habits
        how = ("both" if birth else habits.data) if habits.aliases else "name"
        return Metric(
            name=signal.name if how in ("name", "both") else None,
            alias=signal.alias if how in ("alias", "both") else None,
            timestamp=signal.at_ms if habits.metric_times else None,
            datatype=signal.datatype if habits.types == "always" or (birth and habits.types == "birth") else None,
            value=signal.value,
            is_null=True if signal.value is None else None,
            is_transient=signal.transient,
            encode_as=signal.datatype,
            properties=signal.properties if birth else None,
            metadata=signal.metadata if birth else None,
        )  # fmt: skip

    def make(self, kind: str, device: str, metrics: Sequence[Named], **more: Any) -> Message:
        """A message with the next seq. more: fields of Payload to have otherwise; `unreadable` for the book."""
        unreadable = more.pop("unreadable", "") or self._unreadable(kind, device)
        at = now_ms() if self.habits.payload_time else None
        fields = {"timestamp": at, "seq": None, **more}
        if "seq" not in more:
            fields["seq"] = self.next_seq()
        payload = self.encoder.wrapped(Payload([metric for _, metric in metrics], **fields))
        if kind == "DBIRTH":
            self.spoiled.pop(device, None)
        machine, retain = device or self.place.node, self.habits.retain and kind.endswith("BIRTH")
        return Message(self.topic(kind, device), payload, machine, metrics, at, retain, unreadable)

    def _unreadable(self, kind: str, device: str) -> str:
        if device and self.habits.births == "node":
            return "the device was never born"
        if kind.endswith("DATA") and self.habits.aliases and self.habits.data == "neither":
            return "metrics have neither name nor alias"
        return self.spoiled.get(device, "") if kind.endswith("DATA") else ""

    def data(self, device: str, signals: Iterable[Signal]) -> None:
        """Say that these changed; without a host that listens it is kept for later."""
        chosen = list(signals)
        named = [(each.name, self.metric(each, birth=False)) for each in chosen]
        if self.born and self.connected:
            self.send(self.make(_data(device), device, named))
        else:
            self._backlog.append((device, [metric for _, metric in named], [name for name, _ in named]))

    def send(self, message: Message) -> None:
        if self.link is None:
            return
        self.link.publish(message.topic, message.payload, retain=message.retain)
        if message.unreadable:
            self.book.note("unreadable", topic=message.topic, reason=message.unreadable)
        else:
            self.book.values(message.machine, message.metrics, message.at_ms)

    def device_death(self, device: str) -> None:
        self.send(self.make("DDEATH", device, ()))
        self.book.note("death", machine=device)

    def leave(self) -> None:
        """An orderly end: NDEATH first, for the broker forgets the will."""
        if self.link is not None and self.connected:
            if self.habits.death != "none":
                said = (self.bd_seq + (self.habits.death == "next")) % 256
                self.link.publish(self.topic("NDEATH"), self.death(said))
                self.book.note("death", machine=self.place.node, bd_seq=said)
            self.link.close()
        self.born = False

    def lose(self) -> None:
        """The connection is gone; the broker speaks the will."""
        if self.link is not None:
            self.link.abort()
        self.book.note("lost", machine=self.place.node, bd_seq=self.bd_seq, will=self.habits.will)
        self.born = False


def _data(device: str) -> str:
    return "DDATA" if device else "NDATA"


def _asks_rebirth(payload: bytes) -> bool:
    """A metric `Node Control/Rebirth` with boolean_value true (6.4.21)."""
    try:
        metrics = [dict(wire.fields(body)) for number, body in wire.fields(payload) if number == 2 and isinstance(body, bytes)]  # fmt: skip
    except ValueError:
        return False
    return any(metric.get(1) == REBIRTH.encode() and metric.get(14) == 1 for metric in metrics)


def _state(payload: bytes) -> tuple[bool | None, int]:
    """(online, since ms) of either form; None: neither."""
    if payload in (b"ONLINE", b"OFFLINE"):
        return payload == b"ONLINE", 0
    try:
        said = msgspec.json.decode(payload)
        return bool(said["online"]), int(said["timestamp"])
    except (msgspec.DecodeError, TypeError, KeyError, ValueError):
        return None, 0
