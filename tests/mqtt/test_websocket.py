"""MQTT over WebSocket: through a strict server that is not ours, to a real broker; and the framing, cut anywhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from adapters.errors import Misconfigured, NotConnected
from adapters.mqtt.session import MqttSession
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.websocket import Refused, WebSocket, check, hello
from tests.fakes import eventually
from tests.mqtt.certificates import authority
from tests.mqtt.conftest import Later
from tests.mqtt.peers import NUMBERS, Mosquitto, Shop
from tests.mqtt.taking import cells, send, take, tick

PINGREQ = b"\xc0\x00"
KEEP_ALIVE = 60.0  # less half of it is what the broker may stand still


@dataclass(slots=True)
class Bridge:
    """fronts: who connected. asked: PINGREQ packets that came through."""

    port: int = 0
    fronts: list[ServerConnection] = field(default_factory=list)
    asked: int = 0


@asynccontextmanager
async def bridged(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Bridge]:
    """A WebSocket server before the broker at `port`; it takes the path /mqtt only."""
    bridge = Bridge()

    async def relay(front: ServerConnection) -> None:
        if front.request is None or front.request.path != "/mqtt":
            return
        bridge.fronts.append(front)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def down() -> None:
            while chunk := await reader.read(300):  # many frames, cut anywhere
                await front.send(chunk)
            await front.close()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(down())
            try:
                async for content in front:
                    assert isinstance(content, bytes)
                    bridge.asked += content == PINGREQ
                    writer.write(content)
            except ConnectionClosed:
                pass
            finally:
                task.cancel()
                writer.close()

    server = serve(
        relay,
        "127.0.0.1",
        0,
        ssl=context,
        subprotocols=[Subprotocol("mqtt")],
        open_timeout=None,
        ping_interval=0.05,
        ping_timeout=None,
    )
    async with server as running:
        bridge.port = next(iter(running.sockets)).getsockname()[1]
        yield bridge


async def pinged(bridge: Bridge, session: MqttSession, later: Later) -> None:
    """Both kinds of ping: the server's of the WebSocket is answered, and the client's of MQTT comes when it is time."""
    async with asyncio.timeout(90):
        await (await bridge.fronts[0].ping())
        before = bridge.asked
        later(KEEP_ALIVE)
        tick(session)
        await eventually(lambda: bridge.asked > before)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_values_come_through(
    tmp_path: Path,
    broker: Mosquitto,
    later: Later,
    version: str,
    encrypted: bool,
) -> None:
    ours = authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.issue("server"))
    async with bridged(broker.port, context if encrypted else None) as bridge:
        scheme, trust = ("wss", {"ca": str(ours.ca)}) if encrypted else ("ws", {})
        source = Shop(broker.port).source(
            NUMBERS,
            url=f"{scheme}://127.0.0.1:{bridge.port}/mqtt",
            version=version,
            keep_alive=f"{KEEP_ALIVE}s",
            **trust,
        )
        async with source.session(None) as session:
            assert ("TLS" in session.facts["security"]) is encrypted
            await take(session, 0)
            for start in (0, 500):
                messages = [("shop/m1/a", f"{n}") for n in range(start, start + 500)]
                await send(broker.port, *messages, ("shop/m1/long", "1" + "0" * 200))
                taken = await take(session, 501)
                values = [value for _, _, value in cells(taken) if value < 1e9]
                assert sorted(values) == [float(n) for n in range(start, start + 500)]
                await pinged(bridge, session, later)
        findings = await source.probe()
        assert findings[0].level == "ok"


async def test_what_is_no_websocket_is_named(broker: Mosquitto) -> None:
    async with bridged(broker.port) as bridge:
        port = bridge.port
        for url, words in (
            (f"ws://127.0.0.1:{broker.port}", "no WebSocket there|reset"),
            (f"ws://127.0.0.1:{port}/other", "as soon as it is open|lost|closed|hung"),
            (f"wss://127.0.0.1:{port}", "encr"),
        ):
            with pytest.raises((Misconfigured, NotConnected), match=words) as caught:
                async with Shop(1).source(NUMBERS, url=url).session(None):
                    pytest.fail("connected")
            assert caught.value.remedy


@pytest.mark.parametrize("before", [b"", b"\x89\x02ab"])
async def test_a_goodbye_right_behind_the_answer_is_heard(before: bytes) -> None:
    """In the same piece as the answer, maybe behind a ping: nothing follows it that would wake anybody."""

    left = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_to(request) + before + b"\x88\x02\x03\xe8")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, asyncio.timeout(90):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NotConnected, match="as soon as it is open"):
            async with Shop(1).source(NUMBERS, url=url).session(None):
                pytest.fail("connected")
        await left.wait()


def answer_to(request: bytes) -> bytes:
    """RFC 6455, 4.2.2."""
    key = next(
        line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")
    )
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "path", "port"),
    [
        ("ws://h", "/mqtt", 80),
        ("wss://h/", "/mqtt", 443),
        ("wss://h:8084/a/b?c=d", "/a/b?c=d", 8084),
        ("mqtt://h", None, 1883),
    ],
)
def test_urls(url: str, path: str | None, port: int) -> None:
    settings = MqttSource.model_validate({"url": url})
    assert (settings.path, settings.port) == (path, port)


@pytest.mark.parametrize("url", ["ws://h/a b", "ws://h/ä", "ws://h/#x", "mqtt://h/mqtt"])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        MqttSource.model_validate({"url": url})


def test_a_password_does_not_travel_in_plain_text() -> None:
    with pytest.raises(ValueError, match="plain text"):
        MqttSource.model_validate({"url": "ws://h", "username": "a", "password": "b"})
    MqttSource.model_validate({"url": "wss://h", "username": "a", "password": "b"})


def answer(key: bytes, **changes: str) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    headers = {
        "Upgrade": "WebSocket",
        "Sec-WebSocket-Accept": accept,
        "Sec-WebSocket-Protocol": "mqtt",
        **changes,
    }
    return "\r\n".join(["HTTP/1.1 101 x", *(f"{name}: {value}" for name, value in headers.items())]).encode()


def test_the_servers_answer_is_checked() -> None:
    key = hello("h", 1, "/").key
    check(answer(key), key)
    wrong = ({"Upgrade": "h2c"}, {"Sec-WebSocket-Accept": "x"}, {"Sec-WebSocket-Protocol": "chat"})
    for changes in wrong:
        with pytest.raises(Refused):
            check(answer(key, **changes), key)
    for raw in (b"", b"HTTP/1.1 404 no", b"\xff\xff", b"SSH-2.0-x"):
        with pytest.raises(Refused, match="no WebSocket"):
            check(raw, key)


def frame(opcode: int, content: bytes, *, final: bool) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes([(0x80 if final else 0) | opcode]) + length + content


FRAMES = st.lists(
    st.tuples(st.sampled_from([0, 2, 2, 9, 10]), st.binary(max_size=200), st.booleans()), max_size=12
)


@given(FRAMES, st.lists(st.integers(1, 60), min_size=1))
def test_content_comes_whole_however_it_is_framed_and_cut(
    drawn: list[tuple[int, bytes, bool]], cuts: list[int]
) -> None:
    stream = b"".join(
        frame(op, content[:125] if op > 8 else content, final=final or op > 8) for op, content, final in drawn
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        web = WebSocket(ours)
        found = b""
        place = turn = 0
        while place < len(stream):
            cut = cuts[turn % len(cuts)]
            turn += 1
            theirs.sendall(stream[place : place + cut])
            place += cut
            with suppress(BlockingIOError):
                found += web.recv(65_536)
        assert found == b"".join(content for op, content, _ in drawn if op < 8)
        theirs.setblocking(False)
        pings = [content[:125] for op, content, _ in drawn if op == 9]
        sent = theirs.recv(1 << 16) if pings else b""
        assert len(sent) == sum(6 + len(content) for content in pings)


@given(st.binary(min_size=1, max_size=40))
def test_no_bytes_of_a_server_raise_anything_but_what_ends_the_connection(junk: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(junk)
        with suppress(OSError):
            WebSocket(ours).recv(65_536)
