"""The sink that publishes: every value with QoS 1, in order, at most `in_flight` at once, and done when the broker has confirmed all.

At least once: what is not known to be confirmed is published again as a whole, under the same topic and time, by which whoever
listens knows it again. The session at the broker is a clean one: nothing of a write that failed may come back from there in another
order. Packets are written and counted here and not by paho, which takes an object, two locks and a thread's condition per message.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.awake import patient
from adapters.base import Bench, Finding, Write
from adapters.errors import AdapterError, Misconfigured, NotConnected, Rejected, Throttled
from adapters.mqtt import errors
from adapters.mqtt.connection import FAREWELL, Connection
from adapters.mqtt.opening import connect
from adapters.mqtt.republish_encode import Encoder, Outgoing
from adapters.mqtt.republish_settings import MqttSink
from pipelines.batch import Batch
from pipelines.stage import Refusal

PATIENCE = 30.0  # seconds without any confirmation while some are due
LATER = 5.0  # seconds, where a broker says that its quota is used up: it does not say for how long
NEVER = frozenset(
    (0x87, 0x90, 0x95, 0x99)
)  # not authorised, topic invalid, packet too large, payload invalid
QUOTA, NOT_AUTHORISED = 0x97, 0x87
LONGEST_RAW = 65_536


class MqttPublisher:
    """A Sink (adapters/base.py). facts: words about the connection."""

    def __init__(self, settings: MqttSink, bench: Bench) -> None:
        self.name = settings.name or "mqtt"
        self.facts: dict[str, str] = {}
        self._settings, self._bench = settings, bench
        self._encoder = Encoder(bench.registry, settings, bench.clock.now)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Write]:
        connection = await self._connect()
        try:
            sender = Sender(connection, self._settings.in_flight)
            self.facts = sender.facts()
            told: set[int] = set()

            async def write(batches: Sequence[Batch]) -> None:
                await self._write(sender, batches, told)

            yield write
        finally:
            connection.close()

    async def _connect(self) -> Connection:
        """Under a name of its own each time, unless one is configured: a guest must not throw the collector out."""
        client_id = self._settings.client_id
        if self._bench.scratch or not client_id:
            client_id = f"{client_id or f'shopfloor-{self.name}'}-{secrets.token_hex(4)}"
        return await connect(self._settings, client_id, self._bench.clock.now, visiting=True)

    async def _write(self, sender: Sender, batches: Sequence[Batch], told: set[int]) -> None:
        messages, refused = self._encoder.encode(batches)
        if self._settings.metadata and sender.retains:
            messages = list(self._with_metadata(messages, told))
        outcome = await sender.send(messages)
        refused += [self._refusal(message, why) for message, why in outcome]
        told.update(point for message in messages for point, _ in message.keys)
        if refused:
            raise Rejected(
                f"{self._settings.url} takes {sum(r.values for r in refused)} values never", refused
            )

    def _with_metadata(self, messages: Sequence[Outgoing], told: set[int]) -> Sequence[Outgoing]:
        """What is not known at the broker in this session goes before the first value."""
        points = dict.fromkeys(
            point for message in messages for point, _ in message.keys if point not in told
        )
        return [*(self._encoder.metadata(point) for point in points), *messages]

    def _refusal(self, message: Outgoing, why: str) -> Refusal:
        topic = message.topic.decode("utf-8", "backslashreplace")
        reason = f"the broker does not take it under {topic[:200]}: {why}"
        raw = message.payload[:LONGEST_RAW]
        return Refusal(
            message.where, reason, raw, self._bench.clock.now(), len(message.keys), keys=message.keys
        )

    async def probe(self) -> Sequence[Finding]:
        """Connects and looks at what the broker says of itself; publishes nothing."""
        try:
            connection = await self._connect()
        except AdapterError as error:
            return [Finding("error", self.name, str(error), error.remedy)]
        try:
            return self._greeting(connection)
        except AdapterError as error:
            return [Finding("error", self.name, str(error), error.remedy)]
        finally:
            connection.close()

    def _greeting(self, connection: Connection) -> Sequence[Finding]:
        sender = Sender(connection, self._settings.in_flight)
        said = f"connected to {self._settings.url} with MQTT {connection.version}; {connection.security}"
        found = [Finding("ok", self.name, said)]
        if connection.version != "5":
            words = "with MQTT 3.1.1 a broker cannot say that it refuses a message: what its access list forbids is lost there"
            found.append(Finding("warning", self.name, words, "Allow this user to publish to the topics."))
        if not sender.retains and (self._settings.metadata or self._settings.retain):
            words = "the broker keeps no retained messages: there will be no metadata"
            found.append(Finding("warning", self.name, words, "Allow them, or write metadata: false."))
        return found


class Sender:
    """One connection's way out. Raises NotConnected, Throttled or Misconfigured; nothing is then known of what was under way."""

    def __init__(self, connection: Connection, in_flight: int) -> None:
        answer = connection.answer.properties if connection.answer else {}
        if answer.get("MaximumQoS", 1) == 0:
            raise Misconfigured(
                f"{connection.settings.url} takes QoS 0 only: nothing would ever be confirmed",
                "Use a broker with QoS 1.",
            )
        self._connection = connection
        self._limit = min(in_flight, answer.get("ReceiveMaximum", 65_535))
        self._largest = min(connection.settings.max_packet, answer.get("MaximumPacketSize", 268_435_455))
        self.retains = answer.get("RetainAvailable", 1) != 0
        self._mid = self._taken = 0
        self._waiting: dict[int, Outgoing] = {}
        self._refused: list[tuple[Outgoing, str]] = []
        connection.received = connection.woken.set

    def facts(self) -> dict[str, str]:
        connection = self._connection
        facts = {
            "broker": connection.settings.url,
            "protocol": f"MQTT {connection.version}",
            "security": connection.security,
        }
        if not self.retains:
            facts["retained"] = "the broker keeps no retained messages: no metadata, no last values"
        return facts

    async def send(self, messages: Sequence[Outgoing]) -> Sequence[tuple[Outgoing, str]]:
        """Those that will never be taken, with the reason, when the broker has confirmed all others."""
        queue = deque(messages)
        self._refused = []
        while queue or self._waiting:
            if self._connection.lost is not None:
                raise self._connection.lost
            self._connection.woken.clear()
            self._post(queue)
            if self._waiting and not self._confirmed():
                await self._wait()
        if self._refused and not self._taken:
            self._judge_refusals()
        return [(message, why) for message, why in self._refused if message.keys]

    async def _wait(self) -> None:
        try:
            async with patient(PATIENCE):
                await self._connection.woken.wait()
        except TimeoutError:
            url = self._connection.settings.url
            raise NotConnected(f"{url} confirms nothing", "See the broker's log and its load.") from None

    def _post(self, queue: deque[Outgoing]) -> None:
        """As many as may be under way."""
        packets = []
        while queue and len(self._waiting) < self._limit:
            message = queue.popleft()
            packet = self._packet(message)
            if len(packet) > self._largest:
                self._waiting.popitem()
                self._refused.append((message, f"{len(packet)} bytes, and it takes {self._largest}"))
            else:
                packets.append(packet)
        if packets:
            self._connection.wire.post(b"".join(packets))

    def _packet(self, message: Outgoing) -> bytes:
        """PUBLISH with QoS 1 (MQTT 5, 3.3); it counts as under way."""
        self._mid = self._mid % 65_535 + 1
        self._waiting[self._mid] = message
        properties = b"\0" if self._connection.version == "5" else b""
        body = b"%b%b%b%b%b" % (
            len(message.topic).to_bytes(2, "big"),
            message.topic,
            self._mid.to_bytes(2, "big"),
            properties,
            message.payload,
        )
        return bytes([0x32 | (message.retain and self.retains)]) + _varint(len(body)) + body

    def _confirmed(self) -> bool:
        """Takes note of what the broker has said; True if it said something."""
        said = self._connection.wire.confirmed
        if not said:
            return False
        while said:
            mid, code = said.popleft()
            message = self._waiting.pop(mid, None)
            if message is None:
                continue
            if code < FAREWELL:
                self._taken += 1
            else:
                self._refusal(message, code)
        return True

    def _refusal(self, message: Outgoing, code: int) -> None:
        url = self._connection.settings.url
        if code == QUOTA:
            raise Throttled(
                f"{url}: the quota is exceeded", LATER, "Raise the broker's quota for this client."
            )
        if code not in NEVER:
            raise NotConnected(f"{url} could not take a message (0x{code:02x})", "See the broker's log.")
        self._refused.append((message, _WORDS[code]))

    def _judge_refusals(self) -> None:
        """Nothing was ever taken in this session, and all for want of a right: that is hardly the fault of the values."""
        if all(why == _WORDS[NOT_AUTHORISED] for _, why in self._refused):
            raise Misconfigured(
                f"{self._connection.settings.url} lets this user publish nothing of this: not authorised",
                errors.CREDENTIALS + " Its access list must allow publishing to the topics.",
            )


_WORDS = {
    0x87: "not authorised: the broker's access list forbids it",
    0x90: "the topic is not valid there",
    0x95: "the message is too large",
    0x99: "the payload is not what it expects there",
}


def _varint(size: int) -> bytes:
    """MQTT 5, 1.5.5."""
    out = bytearray()
    while size > 127:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)
