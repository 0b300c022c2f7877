"""Connections and what they share: sessions, retained messages, who wants what. All on the event loop, without a task."""

import asyncio
import logging
from collections import Counter
from typing import Final, cast

from simulators.broker import packets
from simulators.broker.filters import is_filter, matches
from simulators.broker.packets import Malformed, Message
from simulators.broker.session import Session

LOG = logging.getLogger(__name__)
SHY: Final = 10.0  # s that a client has for its CONNECT
KNOWN: Final = 10_000  # topics whose readers are remembered
BACKLOG: Final = 8_000_000  # bytes that a slow reader may leave in its socket's buffer before QoS 0 is no longer kept for it
VERSION, IDENTIFIER = 1, 2  # 3.2.2.3: why a connection is refused


class Broker:
    """`accept` makes the protocol of a connection. changed: set whenever a reader owes less.

    undelivered: messages that a client should have got and never will, because it reads too slowly or is away too long.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.changed = asyncio.Event()
        self.undelivered: Counter[str] = Counter()
        self._retained: dict[str, Message] = {}
        self._readers: dict[str, list[tuple[Session, int]]] = {}
        self._unnamed = 0

    def accept(self) -> "Connection":
        return Connection(self)

    def owing(self) -> int:
        """Messages that readers who are there have not acknowledged."""
        return sum(session.owes for session in self.sessions.values() if session.write is not None)

    def close(self) -> None:
        """End all connections."""
        for connection in list(self.connections):
            connection.abort()

    def name(self) -> str:
        """For a client without one (3.1.3.1)."""
        self._unnamed += 1
        return f"unnamed-{self._unnamed}"

    def session(self, client_id: str, *, clean: bool) -> tuple[Session, bool]:
        """The client's session, and whether it was there (3.1.2.4). Who has it now is thrown out."""
        for other in [each for each in self.connections if each.client_id == client_id]:
            other.abort()
        known = self.sessions.get(client_id)
        if known is not None and not clean and not known.clean:
            return known, True
        self.sessions[client_id] = made = Session(client_id, self.undelivered, clean=clean)
        self._readers.clear()
        return made, False

    def forget(self, session: Session) -> None:
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            self._readers.clear()

    def subscribe(self, session: Session, text: str, wanted: int) -> int:
        """What is granted (3.9.3): at most QoS 1; retained messages follow."""
        if not is_filter(text) or wanted > 2:
            return 0x80
        session.filters[text] = granted = min(wanted, 1)
        self._readers.clear()
        return granted

    def retained(self, session: Session, text: str, granted: int) -> None:
        for topic, message in self._retained.items():
            if matches(text, topic):
                session.send(message, granted)

    def unsubscribe(self, session: Session, text: str) -> None:
        session.filters.pop(text, None)
        self._readers.clear()

    def publish(self, message: Message) -> None:
        """To everybody who wants it; an empty retained one clears (3.3.1.3)."""
        if message.retain and message.payload:
            self._retained[message.topic] = message
        elif message.retain:
            self._retained.pop(message.topic, None)
        passed = message._replace(retain=False)
        for session, qos in self._wanting(message.topic):
            session.send(passed, qos)

    def _wanting(self, topic: str) -> list[tuple[Session, int]]:
        known = self._readers.get(topic)
        if known is None:
            if len(self._readers) >= KNOWN:
                self._readers.clear()
            pairs = ((session, session.qos_for(topic)) for session in self.sessions.values())
            known = self._readers[topic] = [(session, qos) for session, qos in pairs if qos is not None]
        return known


class Connection(asyncio.Protocol):
    """One client. It ends at once at anything that is not allowed; then its will is spoken."""

    def __init__(self, broker: Broker) -> None:
        self.client_id = ""
        self._broker, self._received = broker, bytearray()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._will: Message | None = None
        self._keep_alive = SHY
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._broker.connections.add(self)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def abort(self) -> None:
        """Gone at once, as far as anybody else is concerned."""
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._heard = asyncio.get_running_loop().time()
        try:
            self._greet()
            for kind, body in packets.split(self._received):
                if self._transport is None:
                    return
                self._take(kind, body)
        except Malformed as why:
            LOG.info("%s: %s", self.client_id or "a client", why)
            self.abort()

    def _greet(self) -> None:
        """What begins otherwise may never be a whole packet."""
        if self._session is None and self._received[0] & 0xF0 != packets.CONNECT:
            raise Malformed("the first packet is no CONNECT")

    def _take(self, kind: int, body: bytes) -> None:
        session, sort = self._session, kind & 0xF0
        if session is None:
            if sort != packets.CONNECT:
                raise Malformed("nothing but a CONNECT comes first")
            self._connect(packets.read_connect(body))
        elif sort == packets.PUBLISH:
            self._publish(session, *packets.read_publish(kind & 0x0F, body))
        elif sort == packets.PUBACK:
            session.acknowledged(int.from_bytes(body[:2], "big"))
            self._broker.changed.set()
        elif sort == packets.PUBREL:
            session.received.discard(number := int.from_bytes(body[:2], "big"))
            self._write(packets.answer(packets.PUBCOMP, number))
        elif sort == packets.PINGREQ:
            self._write(packets.PONG)
        elif sort in (packets.SUBSCRIBE, packets.UNSUBSCRIBE):
            self._choose(session, sort, body)
        elif sort == packets.DISCONNECT:
            self._goodbye()
        else:
            raise Malformed(f"a packet of type {kind >> 4} from a client")

    def _goodbye(self) -> None:
        """3.14: in order, and the will is forgotten."""
        self._will = None
        if self._transport is not None:
            self._transport.close()
        self._leave()

    def _connect(self, wanted: packets.Connect) -> None:
        if wanted.level > 4 or not (wanted.client_id or wanted.clean):
            self._write(packets.connack(VERSION if wanted.level > 4 else IDENTIFIER))
            if self._transport is not None:
                self._transport.close()
            return
        client_id = wanted.client_id or self._broker.name()
        session, present = self._broker.session(client_id, clean=wanted.clean)
        self.client_id, self._session, self._will = client_id, session, wanted.will
        self._keep_alive = wanted.keep_alive * 1.5
        self._look()
        self._write(packets.connack(0, present=present))
        session.attach(self._write)

    def _publish(self, session: Session, message: Message, number: int) -> None:
        """4.3; a QoS 2 message is passed on when it comes, and its number is remembered until it is released."""
        if message.qos == 2:
            if number not in session.received:
                self._broker.publish(message)
            session.received.add(number)
            self._write(packets.answer(packets.PUBREC, number))
            return
        self._broker.publish(message)
        if message.qos:
            self._write(packets.answer(packets.PUBACK, number))

    def _choose(self, session: Session, sort: int, body: bytes) -> None:
        broker = self._broker
        if sort == packets.UNSUBSCRIBE:
            number, filters = packets.read_unsubscribe(body)
            for text in filters:
                broker.unsubscribe(session, text)
            self._write(packets.answer(packets.UNSUBACK, number))
            return
        number, wanted = packets.read_subscribe(body)
        granted = [broker.subscribe(session, text, qos) for text, qos in wanted]
        self._write(packets.answer(packets.SUBACK, number, bytes(granted)))
        for (text, _), qos in zip(wanted, granted, strict=True):
            if qos < 0x80:
                broker.retained(session, text, qos)

    def _write(self, content: bytes) -> None:
        """QoS 0 for a reader that does not read is thrown away; what must arrive is bounded by its window."""
        if self._transport is None:
            return
        if content[0] & 0xF6 == packets.PUBLISH and self._transport.get_write_buffer_size() > BACKLOG:
            if self._session is not None:
                self._session.throw_away(f"{BACKLOG:,} bytes wait in its connection already")
            return
        self._transport.write(content)

    def _look(self) -> None:
        """3.1.2.10: who is silent for one and a half times its keep-alive is gone."""
        if self._watch is not None:
            self._watch.cancel()
        if not self._keep_alive or self._transport is None:
            return
        loop = asyncio.get_running_loop()
        due = (self._heard or loop.time()) + self._keep_alive
        if due <= loop.time():
            self.abort()
        else:
            self._watch = loop.call_at(due, self._look)

    def _leave(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._transport = None
        self._broker.connections.discard(self)
        session, self._session = self._session, None
        if session is not None:
            session.detach()
            if session.clean:
                self._broker.forget(session)
        will, self._will = self._will, None
        if will is not None:
            self._broker.publish(will)
        self._broker.changed.set()
