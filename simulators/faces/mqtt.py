"""Machines as MQTT publishers: one connection for all, QoS 1, and nothing is called emitted before the broker has it.

Own queue in front of paho's: paho's identifiers are 16 bits and its queue forgets to say what it refused. Messages go
to paho a window at a time; after a lost connection nothing new is handed over until the interrupted ones are
acknowledged, because paho repeats them after telling us, and a newer value must not overtake an older one.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, NamedTuple

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from simulators.awake import patient
from simulators.clock import MILLISECOND
from simulators.errors import SimulatorError
from simulators.faces.base import CONNECTED_S, unlike
from simulators.faces.broker import Address
from simulators.faults.sensors import GOOD
from simulators.model import Model, Publication, Value, publications
from simulators.truth import Truth, Unlike

WINDOW = 20  # messages in flight; mosquitto's default for MQTT 3.1.1
LIMIT = 100_000  # messages kept while the broker is away
CONNECT_S = 10.0

encode = msgspec.json.encode


class Message(NamedTuple):
    """What goes out at once, and what it says: the rows for the truth."""

    topic: str
    payload: bytes
    machine: str
    t: int | None
    values: Mapping[str, Value | None]
    unlike: Unlike | None = None


def payload(publication: Publication, at_ns: int, values: Mapping[str, Value | None]) -> bytes:
    """The bytes of a publication: bare text, a bare number, or JSON with `ts` in ms since the epoch."""
    if publication.form == "text":
        return "".join(str(value) for value in values.values()).encode()
    if publication.form == "number":
        return b"".join(encode(value) for value in values.values())
    body: dict[str, Any] = {"ts": at_ns // MILLISECOND}
    for name, value in values.items():
        *groups, leaf = publication.fields[name].split(".")
        place = body
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = value
    return encode(body)


def messages(model: Model, at_ns: int, changed: Mapping[str, Value]) -> list[Message]:
    """What a machine says at this step, in the order of its publications."""
    said = []
    for publication in publications(model):
        names = publication.fields if publication.whole else publication.fields.keys() & changed.keys()
        values = {name: _spoken(model, name) for name in publication.fields if name in names}
        values = {n: v for n, v in values.items() if not model.silent(n) and _sayable(publication, v)}
        if values:
            topic = f"shop/{model.machine}/{publication.topic}"
            t = at_ns if publication.form == "json" else None
            more = unlike(model, changed) or None
            said.append(Message(topic, payload(publication, at_ns, values), model.machine, t, values, more))
    return said


def _spoken(model: Model, name: str) -> Value | None:
    """What is not good has no value here, as from a sensor that knows it: JSON has no word for quality."""
    return model.values[name] if model.quality_of(name) == GOOD else None


def _sayable(publication: Publication, value: Value | None) -> bool:
    return publication.form == "json" or value is not None


class Publisher:
    """One connection to the broker. Built by `open_publisher`; all methods run on the event loop."""

    def __init__(self, client: Client, truth: Truth, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._truth = truth
        self._loop = loop
        self._waiting: deque[Message] = deque()
        self._flying: dict[int, Message] = {}
        self._repeating = False
        self.connected = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.dropped: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """Messages the broker has not acknowledged."""
        return len(self._waiting) + len(self._flying)

    def unconfirmed(self) -> dict[str, int]:
        """Values per machine that the broker has not acknowledged; they may or may not have arrived."""
        counts: Counter[str] = Counter()
        for message in (*self._flying.values(), *self._waiting):
            counts[message.machine] += len(message.values)
        return dict(counts)

    def patience(self, seconds: float) -> float:
        """How long the broker may take for its last acknowledgement: so long, or longer while the connection stands."""
        return max(seconds, CONNECTED_S) if self.connected.is_set() else seconds

    def publish(self, message: Message) -> None:
        """Queue a message; beyond the limit it is dropped, counted, and said so in the truth."""
        if len(self._waiting) >= LIMIT:
            self.dropped[message.machine] += len(message.values)
            self._truth.rows(
                [{"kind": "dropped", "machine": message.machine, "t": message.t, "values": message.values}]
            )
            return
        self.idle.clear()
        self._waiting.append(message)
        self._pump()

    def on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        """On paho's thread."""
        if not reason.is_failure:
            self._loop.call_soon_threadsafe(self._up)

    def on_disconnect(self, _client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        """On paho's thread."""
        self._loop.call_soon_threadsafe(self.connected.clear)

    def on_socket_open(self, _client: Client, _data: Any, sock: Any) -> None:
        """On paho's thread. Without this, small messages wait 40 ms for the acknowledgement of the one before."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_publish(self, _client: Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        """On paho's thread: the broker's PUBACK."""
        self._loop.call_soon_threadsafe(self._acknowledged, mid)

    def _up(self) -> None:
        self._repeating = bool(self._flying)
        self.connected.set()
        self._pump()

    def _acknowledged(self, mid: int) -> None:
        if (message := self._flying.pop(mid, None)) is None:
            return
        with suppress(SimulatorError):  # who drives the machines ends with it: here is nobody to be told
            self._truth.values(message.machine, message.t, message.values, message.unlike)
        self._repeating = self._repeating and bool(self._flying)
        self._pump()
        if not self.pending:
            self.idle.set()

    def _pump(self) -> None:
        while (
            self._waiting and self.connected.is_set() and not self._repeating and len(self._flying) < WINDOW
        ):
            message = self._waiting[0]
            info = self._client.publish(message.topic, message.payload, qos=1)
            if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return
            self._waiting.popleft()
            self._flying[info.mid] = message


class MqttFace:
    """One machine of the publisher."""

    disturbances: ClassVar[frozenset[str]] = frozenset({"duplicate", "reorder", "restart"})

    def __init__(self, publisher: Publisher, model: Model) -> None:
        self._publisher = publisher
        self._model = model
        self._disturbed: set[str] = set()
        self._held: Message | None = None

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """Publish everything once: MQTT has no first value that waits for a reader."""
        await self.emit(at_ns, values, values)

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """Queue what this step says; who is away says nothing."""
        if "restart" in self._disturbed:
            return
        for message in messages(self._model, at_ns, changed):
            self._say(message)

    async def disturb(self, fault: str, *, on: bool, at_ns: int) -> None:
        (self._disturbed.add if on else self._disturbed.discard)(fault)
        if fault == "reorder" and not on:
            self._release()
        if fault == "restart" and not on:
            # just before the values of this step: two values of one time would be two facts
            said = at_ns + self._model.clock_error_ns - MILLISECOND
            await self.emit(said, self._model.values, self._model.values)

    async def drain(self, seconds: float) -> None:
        """Wait until the broker has acknowledged everything."""
        self._release()
        try:
            async with asyncio.timeout(self._publisher.patience(seconds)):
                await self._publisher.idle.wait()
        except TimeoutError:
            return  # what is pending is reported, and is not in the truth

    def _say(self, message: Message) -> None:
        if "reorder" in self._disturbed and self._held is None:
            self._held = message
            return
        for _ in range(2 if "duplicate" in self._disturbed else 1):
            self._publisher.publish(message)
        self._release()

    def _release(self) -> None:
        """What was overtaken comes after all."""
        if self._held is not None:
            held, self._held = self._held, None
            self._publisher.publish(held)


@asynccontextmanager
async def open_publisher(address: Address, truth: Truth, client_id: str) -> AsyncIterator[Publisher]:
    """Connect to the broker, waiting a few seconds for it; reconnects by itself for as long as it is open."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv311)
    client.reconnect_delay_set(1, 2)
    publisher = Publisher(client, truth, asyncio.get_running_loop())
    client.on_connect, client.on_disconnect = publisher.on_connect, publisher.on_disconnect
    client.on_publish, client.on_socket_open = publisher.on_publish, publisher.on_socket_open
    client.connect_async(address.host, address.port, keepalive=20)
    client.loop_start()
    try:
        await _first_connection(publisher, address)
        yield publisher
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
        # The pair of sockets that wakes its thread is otherwise left to the garbage collector, which may complain of it.
        client._reset_sockets(sockpair_only=True)  # noqa: SLF001 - paho offers no public way


async def _first_connection(publisher: Publisher, address: Address) -> None:
    try:
        async with patient(CONNECT_S):
            await publisher.connected.wait()
    except TimeoutError:
        raise SimulatorError(
            f"no MQTT broker answers at {address.url}. Start it, or leave --broker out to use the built-in one."
        ) from None
