"""One connection to a broker: from CONNECT to DISCONNECT, and never again. A new one is a new object.

It knows nothing of payloads. It wakes its session when something came or the end is there, and it can stop reading:
what is not read fills the system's buffers and then the broker's, which is the only back-pressure that QoS 0 has.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.mqtt import errors
from adapters.mqtt.channel import Identity, Message, Wire, connect_properties, say_goodbye
from adapters.mqtt.dial import dial
from adapters.mqtt.settings import MqttSource

ANSWER = 10.0  # seconds for CONNACK and SUBACK
HESITATION = (
    2.0  # seconds for the answer to a CONNECT of MQTT 5 that may not be understood (amqtt then says nothing)
)
TICK = 1.0  # seconds between two looks at keep-alive
AT_ONCE = 100  # filters per SUBSCRIBE
FAREWELL = 0x80
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class Connack(NamedTuple):
    """The broker's answer. properties: MQTT 5 only, by paho's names."""

    code: int
    name: str
    session_present: bool
    properties: dict[str, Any]


class Connection:
    """`lost` says why it ended; `woken` is set when there is something to look at."""

    def __init__(self, settings: MqttSource, wire: Wire, version: str, *, visiting: bool = False) -> None:
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
        self._timer = self._loop.call_later(TICK, self._tick)
        hesitant = self.version == "5" and settings.version == "auto"
        self.answer = await self._wait(self._answered, "CONNECT", HESITATION if hesitant else ANSWER)
        return self.answer

    async def _wait(self, answer: asyncio.Future[Any], to: str, patience: float = ANSWER) -> Any:
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            raise NotConnected(f"{self.settings.url} does not answer {to}", "See the broker's log.") from None

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[int]:
        """The broker's reason code per filter: the granted QoS, or 0x80 and above for a refusal."""
        codes: list[int] = []
        for start in range(0, len(filters), AT_ONCE):
            part = [(name, self._options(qos)) for name, qos in filters[start : start + AT_ONCE]]
            answer: asyncio.Future[list[int]] = self._loop.create_future()
            rc, mid = self.wire.subscribe(part)
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
                raise self.lost or NotConnected(
                    f"{self.settings.url}: the connection was lost while subscribing"
                )
            self._granted[mid] = answer
            codes += await self._wait(answer, "SUBSCRIBE")
        return codes

    def _options(self, qos: int) -> Any:
        """MQTT 5: retained messages only for a new subscription, or every reconnection would bring them as news."""
        if self.version != "5":
            return qos
        return SubscribeOptions(qos=qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)

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

    def _tick(self) -> None:
        """The client pings; that an answer is missing is found here, at half a keep-alive instead of a whole one."""
        self._timer = self._loop.call_later(TICK, self._tick)
        if self._paused:
            self.wire.pardon()
        self.wire.loop_misc()
        if self.lost is None and self.wire.ping_unanswered() > self.wire.keepalive / 2:
            self.wire.drop()
            self._lose(
                NotConnected(
                    f"{self.settings.url} no longer answers (keep-alive)", "Check network and broker."
                )
            )

    def _readable(self) -> None:
        self.wire.receive()
        self.received()

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._answered.done():
            known = properties.json() if properties is not None else {}
            self._answered.set_result(Connack(reason.value, str(reason), bool(flags.session_present), known))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        waiting = self._granted.pop(mid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result([reason.value for reason in reasons])

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        url = self.settings.url
        if flags.is_disconnect_packet_from_server:
            self._lose(errors.by_reason(url, reason.value, str(reason), "closed the connection"))
        else:
            self._lose(
                NotConnected(f"{url}: the connection was lost ({reason})", "Check network and broker.")
            )

    def _on_open(self, _client: Any, _data: Any, sock: Any) -> None:
        if isinstance(sock, ssl.SSLSocket):
            self.security = f"{sock.version()}, certificate and host verified"
        self._loop.add_reader(sock, self._readable)

    def _on_close(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_want_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self.wire.loop_write)

    def _on_no_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)


async def connect(
    settings: MqttSource, client_id: str, now: Callable[[], int], *, visiting: bool = False
) -> Connection:
    """A connection that the broker accepted. With version auto, 3.1.1 is tried when 5 is refused.

    visiting: the broker keeps nothing of this connection when it ends.
    """
    dialled = _Dial(settings, client_id, now, visiting)
    if settings.version != "auto":
        return await _connect(dialled, settings.version)
    try:
        return await _connect(dialled, "5")
    except (_TooNew, _NoAnswer):
        return await _connect(dialled, "3.1.1")


class _Dial(NamedTuple):
    settings: MqttSource
    client_id: str
    now: Callable[[], int]
    visiting: bool


def _identity(dialled: _Dial, version: str) -> Identity:
    largest = dialled.settings.max_packet
    return Identity(dialled.client_id, VERSIONS[version], largest, dialled.visiting, dialled.now)


class _TooNew(Misconfigured):
    """The broker refuses MQTT 5, with its reason code or with that of 3.1.1."""


class _NoAnswer(NotConnected):
    """No answer to a CONNECT of MQTT 5: the broker is in trouble, or does not understand it."""


async def _connect(dialled: _Dial, version: str) -> Connection:
    settings = dialled.settings
    prepared = await dial(settings)
    wire = Wire(prepared, _identity(dialled, version))
    if settings.username:
        password = settings.password.get_secret_value() if settings.password else None
        wire.username_pw_set(settings.username, password)
    connection = Connection(settings, wire, version, visiting=dialled.visiting)
    with ExitStack() as undo:
        undo.callback(connection.close)
        answer = await _opened(connection)
        if answer.code < FAREWELL:
            undo.pop_all()
            return connection
    error = errors.by_reason(settings.url, answer.code, answer.name)
    raise _TooNew(str(error), error.remedy) if version == "5" and answer.code == 0x84 else error


async def _opened(connection: Connection) -> Connack:
    """Old brokers hang up on what they do not understand, or say nothing: without any answer, 5 counts as refused."""
    try:
        return await connection.open()
    except NotConnected as error:
        if connection.version == "5":
            raise _NoAnswer(str(error), error.remedy) from error
        raise
