"""A connected socket, encrypted if asked, made by the event loop: nothing here blocks it, and everything can be cancelled.

paho would connect with blocking calls (name resolution, TCP, TLS); in a thread they could not be cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from adapters.awake import patient
from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.mqtt import errors
from adapters.mqtt.broker_settings import Broker
from adapters.mqtt.websocket import LONGEST, Refused, WebSocket, check, hello, says_goodbye

Result = TypeVar("Result")
PATIENCE = 5.0  # seconds per address, and again for the handshake


def tls_context(settings: Broker) -> ssl.SSLContext | None:
    """Verified always: there is no way to switch the check of certificate and host name off. Reads files."""
    if not settings.tls:
        return None
    context = ssl.create_default_context()
    try:
        if settings.ca:
            context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate and settings.private_key:
            # A password callback, because OpenSSL would otherwise ask on the terminal and wait for ever.
            context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: b"")
    except OSError as error:
        raise errors.files(error, _files(settings)) from error
    return context


def _files(settings: Broker) -> str:
    return ", ".join(str(file) for file in (settings.ca, settings.certificate, settings.private_key) if file)


async def dial(settings: Broker) -> socket.socket | WebSocket:
    """The socket, non-blocking, handshakes of TLS and WebSocket done. Raises NotConnected or Misconfigured."""
    context = await asyncio.to_thread(tls_context, settings)
    try:
        async with patient(3 * PATIENCE):
            plain = await _connect(settings)
            sock = plain if context is None else await _encrypt(plain, context, settings.host)
            return sock if settings.path is None else await _upgrade(sock, settings, settings.path)
    except Refused as error:
        remedy = "Check port and path of the url (mosquitto: a listener with `protocol websockets`)."
        raise Misconfigured(f"{settings.url}: {error}", remedy) from error
    except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
        raise errors.by_system(settings.url, error) from error


async def _connect(settings: Broker) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:  # a name that cannot be one at all is no OSError
        raise _unknown(settings, error) from error
    return await _first(loop, found)


def _unknown(settings: Broker, error: socket.gaierror | UnicodeError) -> AdapterError:
    why = f" ({error.strerror})" if isinstance(error, socket.gaierror) else ", and cannot be a name"
    return NotConnected(
        f"{settings.url}: the name '{settings.host}' is not known{why}",
        "Check the name, or write the broker's address in numbers.",
    )


async def _first(loop: asyncio.AbstractEventLoop, found: Sequence[tuple[Any, ...]]) -> socket.socket:
    """The first address that answers; the error of the last one if none does."""
    last: OSError = ConnectionRefusedError()
    for family, kind, protocol, _, address in found:
        try:
            return await _one(loop, socket.socket(family, kind, protocol), address)
        except OSError as error:
            last = error
    raise last


async def _one(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Any) -> socket.socket:
    with ExitStack() as undo:
        undo.callback(sock.close)
        sock.setblocking(False)
        async with patient(PATIENCE):
            await loop.sock_connect(sock, address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()
    return sock


async def _encrypt(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    with ExitStack() as undo:
        undo.callback(plain.close)
        wrapped = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        undo.callback(wrapped.close)
        async with patient(PATIENCE):
            await _handshake(wrapped)
        undo.pop_all()
    return wrapped


async def _handshake(wrapped: ssl.SSLSocket) -> None:
    try:
        await _done_when_ready(wrapped, wrapped.do_handshake, writing=False)
    except ConnectionError as error:  # what a port without encryption does to a TLS hello
        raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the broker hung up") from error


async def _done_when_ready(sock: socket.socket, step: Callable[[], Result], *, writing: bool) -> Result:
    """What `step` returns once the socket is ready for it. writing: what it waits for without encryption."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            await _ready(sock, writing=False)
        except ssl.SSLWantWriteError:
            await _ready(sock, writing=True)
        except BlockingIOError:
            await _ready(sock, writing=writing)


async def _upgrade(sock: socket.socket, settings: Broker, path: str) -> WebSocket:
    with ExitStack() as undo:
        undo.callback(sock.close)
        asked = hello(settings.host, settings.port, path)
        rest = asked.request
        while rest:
            rest = rest[await _done_when_ready(sock, partial(sock.send, rest), writing=True) :]
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = await _done_when_ready(sock, partial(sock.recv, LONGEST), writing=False)
            answer += chunk
            if not chunk or len(answer) > LONGEST:
                raise Refused("no WebSocket there: it hangs up or never comes to an end")
        head, _, early = answer.partition(b"\r\n\r\n")
        check(head, asked.key)
        if says_goodbye(early):
            raise NotConnected(
                f"{settings.url} ends the connection as soon as it is open.",
                "Check the path of the url, and see the broker's log.",
            )
        undo.pop_all()
    return WebSocket(sock, early)


async def _ready(sock: socket.socket, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(sock, _done, ready)
    try:
        await ready
    finally:
        remove(sock)


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
