"""A scripted OPC UA server on its own codec: correct by default, and as wrong as a test's scripts make it.

Sockets and channels live here; sessions and subscriptions in machine.py outlive them. Time is the clock that is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from adapters.clock import Clock, SystemClock
from simulators.doors import shut
from tests.opcua.encoder import DataValue
from tests.opcua.scripted import codes
from tests.opcua.scripted.channel import Channel, Refused
from tests.opcua.scripted.codec import chunks
from tests.opcua.scripted.codec.secure import Forged, Identity
from tests.opcua.scripted.codec.services import Asked, Unknown, decode_request
from tests.opcua.scripted.codec.wire import Truncated
from tests.opcua.scripted.entrance import Entrance
from tests.opcua.scripted.machine import Machine, Policy, Session
from tests.opcua.scripted.record import Record
from tests.opcua.scripted.scripts import Cut, Later, Reply, Script
from tests.opcua.scripted.space import Space
from tests.opcua.scripted.subscription import Notice, Subscription
from tests.servers import free_port

_TICK = 0.01
_LARGEST_MESSAGE = 64 * 2**20
_PUBLIC = {"GetEndpoints", "FindServers", "CreateSession", "ActivateSession"}


class Connection:
    """One socket and its secure channel."""

    def __init__(self, server: ScriptedServer, writer: asyncio.StreamWriter, number: int) -> None:
        self.server, self.writer, self.number = server, writer, number
        self.channel = Channel(
            number,
            server.clock,
            server.entrance.identity,
            server.policy.channel_lifetime,
            server.policy.clock_off,
        )
        self.hello: chunks.Hello | None = None

    def abort(self) -> None:
        """Reset it: what is not yet out is lost."""
        self.writer.transport.abort()

    def write(self, chunk: bytes) -> None:
        for script in self.server.scripts:
            chunk = script.chunk(self, chunk)
        if chunk and not self.writer.is_closing():
            self.writer.write(chunk)

    def reply(self, asked: Asked, body: bytes) -> None:
        if self.writer.is_closing():
            return
        for chunk in self.channel.put(asked.request_id, body):
            self.write(chunk)

    def pour(self, chunks: Iterable[bytes]) -> None:
        """Write all these as fast as they are taken, as they are."""
        self.server.spawn(self._poured(chunks), "later: pour")

    async def _poured(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self.writer.write(chunk)
                await self.writer.drain()
        except ConnectionError:
            return

    @property
    def session(self) -> Session | None:
        found = (s for s in self.server.machine.sessions.values() if s.connection is self)
        return next(found, None)


class ScriptedServer:
    """Start it, give it variables, `emit`; break things with `policy`, `scripts` and the methods below; read `record`."""

    def __init__(self, clock: Clock | None = None, identity: Identity | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.space, self.record = Space(), Record()
        self.machine = Machine(self.clock, self.space, self.record)
        self.entrance = Entrance(self.machine, identity=identity)
        self.connections: list[Connection] = []
        self.listen = False  # to every byte, into record.heard
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    @property
    def policy(self) -> Policy:
        return self.machine.policy

    @property
    def scripts(self) -> list[Script]:
        return self.machine.scripts

    @property
    def variables(self) -> dict[str, Any]:
        return self.space.variables

    @property
    def subscriptions(self) -> list[Subscription]:
        return list(self.machine.subscriptions.values())

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    # Life

    async def start(self) -> None:
        """Listen, on the same port as before."""
        while self._server is None:
            port = self.port or free_port()
            try:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
            except OSError:
                if self.port:
                    raise
        self.port = port
        self.entrance.url = self.url
        if self._ticker is None:
            self.space.started = self.clock.now()
            self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def leave(self) -> None:
        """Reset all connections and listen no more; everything is remembered, and time goes on."""
        server, self._server = self._server, None
        if server is None:
            return
        await shut(server)
        self.cut()
        await asyncio.sleep(0)  # whoever was just accepted gets his turn, to be sent away
        others = [task for task in self._tasks if task is not self._ticker]
        await asyncio.gather(*others, return_exceptions=True)
        await server.wait_closed()

    async def stop(self) -> None:
        """Gone: nobody answers, sessions and subscriptions are forgotten."""
        for task in list(self._tasks):
            if task.get_name().startswith("later"):
                task.cancel()
        await self.leave()
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        self.machine.forget()

    def cut(self) -> None:
        """Reset every connection; whoever connects again is welcome."""
        for connection in list(self.connections):
            connection.abort()

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(_TICK)
            self.machine.tick()

    def spawn(self, job: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the machine does

    def emit(self, name: str, value: DataValue) -> None:
        self.machine.emit(name, value)

    def flush(self) -> None:
        """A publishing interval of every subscription, now."""
        for subscription in self.subscriptions:
            self.machine.cycle(subscription)

    def notify(self, type_id: int, body: bytes) -> None:
        """A notification with this body to every subscription, at once."""
        for subscription in self.subscriptions:
            self.machine.notify(subscription, type_id, body)

    def say(self, *notices: Notice) -> None:
        """Exactly these messages to every subscription, unnumbered and unkept."""
        for subscription in self.subscriptions:
            subscription.outbox += notices
        for session in list(self.machine.sessions.values()):
            self.machine.pump(session)

    def fault(self, code: int) -> None:
        """Answer every waiting PublishRequest with this code."""
        self.machine.refuse_waiting(code)

    def end_subscriptions(self, code: int = codes.TIMEOUT, silently: bool = False) -> None:
        """The subscriptions are over: their sessions are told by a status change, or (silently) never."""
        for subscription in self.subscriptions:
            if silently:
                subscription.silent = True
            else:
                self.machine.end(subscription, code)

    @property
    def owing(self) -> int:
        """Answers that are put off until a time has come."""
        return sum(task.get_name() == "later" for task in self._tasks)

    @property
    def waiting(self) -> int:
        """PublishRequests that wait, in all sessions."""
        return sum(len(session.waiting) for session in self.machine.sessions.values())

    # The wire

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.record.opened += 1
        connection = Connection(self, writer, self.record.opened)
        self.connections.append(connection)
        if self._server is None:
            connection.abort()  # accepted in the moment in which we left
        try:
            while await self._chunk(connection, reader):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Refused as refused:
            connection.write(chunks.error(*refused.args))
        except (Forged, Truncated) as error:
            connection.write(chunks.error(codes.SECURITY_CHECKS_FAILED, type(error).__name__))
        finally:
            self.connections.remove(connection)
            self.machine.gone(connection)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _chunk(self, connection: Connection, reader: asyncio.StreamReader) -> bool:
        header = await reader.readexactly(8)
        size = int.from_bytes(header[4:8], "little")
        if not 8 <= size <= _LARGEST_MESSAGE:
            raise Refused(codes.DECODING_ERROR, f"a chunk of {size} bytes")
        body = await reader.readexactly(size - 8)
        if self.listen:
            self.record.heard += header + body
        kind = header[:4]
        if kind == b"HELF":
            connection.hello = chunks.decode_hello(body)
            connection.channel.largest = min(chunks.LARGEST, connection.hello.receive)
            connection.write(chunks.acknowledge(connection.hello))
        elif kind == b"OPNF":
            self._open(connection, body)
        elif kind[:3] == b"MSG":
            taken = connection.channel.take(kind, body)
            if taken is not None:
                self._request(connection, *taken)
        return kind[:3] != b"CLO"

    def _open(self, connection: Connection, body: bytes) -> None:
        asked = connection.channel.open(body)
        self.record.renewed += connection.channel.opened > 1
        verdict = self._verdict(connection, asked)
        if isinstance(verdict, Later):
            self.spawn(self._granted_later(connection, asked, verdict.seconds), "later")
        elif isinstance(verdict, Cut):
            connection.abort()
        elif verdict is None:
            connection.write(connection.channel.granted(asked))

    async def _granted_later(self, connection: Connection, asked: Asked, later: float) -> None:
        await self.clock.sleep(later)
        connection.write(connection.channel.granted(asked))

    def _request(self, connection: Connection, request_id: int, message: bytes) -> None:
        try:
            asked = decode_request(message, request_id)
        except Unknown as unknown:
            raise Refused(codes.SERVICE_UNSUPPORTED, f"a request of type {unknown.args[0]}") from None
        self.record.requests.append(asked.name)
        self.record.by_connection.append((connection.number, asked.name))
        verdict = self._verdict(connection, asked)
        if isinstance(verdict, Cut):
            connection.abort()
            return
        if isinstance(verdict, Reply):
            self._reply(connection, asked, verdict.body, verdict.later)
        else:
            served = self.entrance if asked.name in _PUBLIC else self.machine
            later = verdict.seconds if isinstance(verdict, Later) else 0.0
            self._reply(connection, asked, served.serve(connection, asked), later)
        for script in self.scripts:
            script.after(connection, asked)

    def _verdict(self, connection: Connection, asked: Asked) -> Any:
        verdicts: Sequence[Any] = [script.before(connection, asked) for script in self.scripts]
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def _reply(self, connection: Connection, asked: Asked, body: bytes | None, later: float) -> None:
        if body is not None and later:
            self.spawn(self._reply_later(connection, asked, body, later), "later")
        elif body is not None:
            connection.reply(asked, body)

    async def _reply_later(self, connection: Connection, asked: Asked, body: bytes, later: float) -> None:
        await self.clock.sleep(later)
        connection.reply(asked, body)
