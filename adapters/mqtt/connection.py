"""One connection to a broker: from CONNECT to DISCONNECT, and never again. A new one is a new object.

It knows nothing of payloads. It wakes its session when something came or the end is there, and it can stop reading:
what is not read fills the system's buffers and then the broker's, which is the only back-pressure that QoS 0 has.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.awake import patient
from adapters.errors import AdapterError, NotConnected
from adapters.mqtt import errors
from adapters.mqtt.broker_settings import Broker
from adapters.mqtt.channel import Message, Wire, connect_properties, say_goodbye
from adapters.mqtt.rivals import HungUp
from adapters.mqtt.websocket import WebSocket

ANSWER = 10.0  # seconds for CONNACK and SUBACK
TURNS = 60  # so often for SUBACK, as long as messages come before it
HESITATION = (
    2.0  # seconds for the answer to a CONNECT of MQTT 5 that may not be understood (amqtt then says nothing)
)
TICK = 1.0  # seconds between two looks at keep-alive, at most; and a tenth of it
AT_ONCE = 100  # filters per SUBSCRIBE
FAREWELL = 0x80


class Connack(NamedTuple):
    """The broker's answer. properties: MQTT 5 only, by paho's names."""

    code: int
    name: str
    session_present: bool
    properties: dict[str, Any]


class Connection:
    """`lost` says why it ended; `woken` is set when there is something to look at."""

    def __init__(self, settings: Broker, wire: Wire, version: str, *, visiting: bool = False) -> None:
        self._visiting = visiting
        self.settings, self.wire, self.version = settings, wire, version
        self.woken = asyncio.Event()
        self.lost: AdapterError | None = None
        self.received: Callable[[], None] = lambda: None
        self.security = "none (plain text)"
        self.answer: Connack | None = None
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[Connack] = self._loop.create_future()
        self._granted: dict[int, asyncio.Future[list[int]]] = {}
        self._paused = self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.ticked: Callable[[], None] = lambda: None

    async def open(self) -> Connack:
        """CONNECT and wait for the answer, which may be a refusal. Raises NotConnected."""
        wire, settings = self.wire, self.settings
        wire.on_connect, wire.on_subscribe = self._on_connect, self._on_subscribe
        wire.on_disconnect = self._on_disconnect
        wire.on_socket_open, wire.on_socket_close = self._on_open, self._on_close
        wire.on_socket_register_write = self._on_want_write
        wire.on_socket_unregister_write = self._on_no_write
        if self.version == "5":
            asked = connect_properties(settings.session_expiry, settings.receive_maximum, settings.max_packet)
            clean = self._visiting
            wire.connect(
                settings.host, settings.port, round(settings.keep_alive), clean_start=clean, properties=asked
            )
        else:
            wire.connect(settings.host, settings.port, round(settings.keep_alive))
        self._next_tick()
        hesitant = self.version == "5" and settings.version == "auto"
        self.answer = await self._wait(self._answered, "CONNECT", HESITATION if hesitant else ANSWER)
        return self.answer

    async def _wait(self, answer: asyncio.Future[Any], to: str, patience: float = ANSWER) -> Any:
        try:
            async with patient(patience):
                return await answer
        except TimeoutError:
            raise NotConnected(f"{self.settings.url} does not answer {to}", "See the broker's log.") from None

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[int]:
        """The broker's reason code per filter: the granted QoS, or 0x80 and above for a refusal."""
        codes: list[int] = []
        for start in range(0, len(filters), AT_ONCE):
            answer = self.ask(filters[start : start + AT_ONCE])
            if self.lost is not None:
                raise self.lost
            codes += await self._granted_by(answer)
        if len(codes) != len(filters):
            said = f"{self.settings.url} answers for {len(codes)} topics where {len(filters)} were asked for"
            raise NotConnected(said, "The broker breaks the standard (SUBACK): see its log and its version.")
        return codes

    async def _granted_by(self, answer: asyncio.Future[list[int]]) -> list[int]:
        """A broker that still sends what it kept for us is not silent: its answer comes behind that, over a slow line in minutes."""
        turns = 0
        while True:
            before, turns = self.wire.brought, turns + 1
            try:
                return await self._wait(asyncio.shield(answer), "SUBSCRIBE")  # type: ignore[no-any-return]
            except NotConnected:
                if self.lost is not None or self.wire.brought == before or turns == TURNS:
                    raise

    def ask(self, filters: Sequence[tuple[str, int]], *, retained: bool = False) -> asyncio.Future[list[int]]:
        """Subscribe without waiting. retained: what is retained there is wanted also if the subscription exists already.

        On a connection that is lost already the answer stays out: whoever reads from it learns why.
        """
        answer: asyncio.Future[list[int]] = self._loop.create_future()
        rc, mid = self.wire.subscribe(
            [(name, self._options(qos, retained=retained)) for name, qos in filters]
        )
        if rc == MQTTErrorCode.MQTT_ERR_SUCCESS and mid is not None:
            self._granted[mid] = answer
        return answer

    def _options(self, qos: int, *, retained: bool) -> Any:
        """MQTT 5: retained messages only for a new subscription, or every reconnection would bring them as news."""
        if self.version != "5":
            return qos
        handling = (
            SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        return SubscribeOptions(qos=qos, retainHandling=handling)

    def publish(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False) -> MQTTMessageInfo:
        """Lost with the connection, and never sent again: only what was opted in to is ever published (README)."""
        return self.wire.publish(topic, payload, qos, retain)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        for start in range(0, len(filters), AT_ONCE):
            self.wire.unsubscribe(list(filters[start : start + AT_ONCE]))

    def pause(self) -> None:
        """Leave the socket unread."""
        sock = self.wire.socket()
        if not self._paused and sock is not None:
            self._paused = True
            self._loop.remove_reader(sock)

    def resume(self) -> None:
        sock = self.wire.socket()
        if self._paused and sock is not None:
            self._paused = False
            self.wire.pardon()
            self._loop.add_reader(sock, self._readable)

    @property
    def _pace(self) -> float:
        """Seconds between two looks: of the keep-alive that counts, which may be the broker's."""
        return min(TICK, self.wire.keepalive / 10)

    @property
    def paused(self) -> bool:
        return self._paused

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Nothing happens when the connection is gone: the broker sends the messages again."""
        if self.lost is None:
            self.wire.acknowledge(messages)

    def close(self) -> None:
        """Say good-bye as far as the socket takes it without waiting, and release everything."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        say_goodbye(self.wire)
        for waiting in self._waiting():
            waiting.cancel()

    def _waiting(self) -> Sequence[asyncio.Future[Any]]:
        return [self._answered, *self._granted.values()]

    def _lose(self, error: AdapterError) -> None:
        """Leaves the socket alone: within paho's callbacks its lock is held, and paho closes the socket itself."""
        if self.lost is None and not self._closing:
            self.lost = error
            for waiting in self._waiting():
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()  # looked at: nobody may be waiting for it
        self.woken.set()

    def _next_tick(self) -> None:
        self._due = self._loop.time() + self._pace
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        """The client pings; that an answer is missing is found here, 1.5 keep-alives after the last sign of life.

        Time in which nobody here could look (this process stood still) is no silence of the broker: the connection
        would be lost in the very moment in which the ping goes out.
        """
        late = self._loop.time() - self._due
        self._next_tick()
        if late > self._pace:
            self.wire.excuse(late)
        if self._paused:
            self.wire.pardon()
        self.wire.loop_misc()
        if self.lost is None and self.wire.silence() > 1.5 * self.wire.keepalive - 2 * self._pace:
            self.wire.drop()
            self._lose(
                NotConnected(
                    f"{self.settings.url} no longer answers (keep-alive)", "Check network and broker."
                )
            )
        self.ticked()

    def _readable(self) -> None:
        self.wire.receive()
        self.received()

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._answered.done():
            known = properties.json() if properties is not None else {}
            self.wire.keep_alive_of(self.settings.keep_alive)
            self._answered.set_result(Connack(reason.value, str(reason), bool(flags.session_present), known))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        waiting = self._granted.pop(mid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result([reason.value for reason in reasons])

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        url, broken = self.settings.url, self.wire.broken
        if flags.is_disconnect_packet_from_server:
            self._lose(errors.by_reason(url, reason.value, str(reason), "closed the connection"))
        elif isinstance(broken, ssl.SSLError) and not self._answered.done():
            self._lose(
                errors.by_system(url, broken)
            )  # TLS 1.3: a missing client certificate is told only now
        elif self.wire.hung_up:
            self._lose(
                HungUp(f"{url} closed the connection.", "Check network and broker; see the broker's log.")
            )
        else:
            self._lose(
                NotConnected(f"{url}: the connection was lost ({reason})", "Check network and broker.")
            )

    def _on_open(self, _client: Any, _data: Any, sock: Any) -> None:
        inner = sock.inner if isinstance(sock, WebSocket) else sock
        if isinstance(inner, ssl.SSLSocket):
            self.security = f"{inner.version()}, certificate and host verified"
        self._loop.add_reader(sock, self._readable)

    def _on_close(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_want_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self.wire.loop_write)

    def _on_no_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)
