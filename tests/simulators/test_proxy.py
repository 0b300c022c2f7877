"""The fault proxy, each fault with a plain echo server; what is observed is what the sockets of client and server see."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulators.doors import shut
from simulators.errors import SimulatorError
from simulators.proxy.control import answer
from simulators.proxy.link import LINGER_0, Stream
from simulators.proxy.server import Proxy, open_proxy
from tests.fakes import eventually

SOON = 60.0
NEVER = 600.0  # seconds that nobody here waits for


@dataclass
class Echo:
    """A server that sends back what it gets, and notes how each connection ended for it."""

    port: int = 0
    got: bytearray = field(default_factory=bytearray)
    ends: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    sizes: list[int] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while chunk := await reader.read(65_536):
                self.got += chunk
                self.sizes.append(len(chunk))
                writer.write(chunk)
                await writer.drain()
            self.ends.put_nowait("fin")
        except ConnectionError:
            self.ends.put_nowait("rst")
        except asyncio.CancelledError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    peer = Echo()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        await shut(server)
        for writer in peer.writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


@dataclass
class Line:
    """A client through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hear(self, count: int, seconds: float = SOON) -> bytes:
        async with asyncio.timeout(seconds):
            return await self.reader.readexactly(count)

    async def ask(self, text: bytes) -> bytes:
        await self.say(text)
        return await self.hear(len(text))

    async def end(self) -> str:
        """How the connection ends for the client."""
        async with asyncio.timeout(SOON):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                return "rst"
        return "fin"

    async def silent(self, seconds: float = 0.2) -> bool:
        """Nothing comes: no byte, no end."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def rig(**options: Any) -> AsyncIterator[tuple[Echo, Proxy, Line]]:
    async with (
        echo() as peer,
        open_proxy(("127.0.0.1", peer.port), **options) as proxy,
        connected(proxy) as line,
    ):
        assert await line.ask(b"hello") == b"hello"
        yield peer, proxy, line


async def took(line: Line, text: bytes) -> float:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await line.ask(text) == text
    return loop.time() - begin


async def ended(peer: Echo) -> str:
    async with asyncio.timeout(SOON):
        return await peer.ends.get()


async def test_a_clean_wire_passes_everything_both_ways_and_counts_it() -> None:
    seen: list[tuple[str, int, bytes]] = []
    async with rig(tee=lambda *row: seen.append(row)) as (peer, proxy, line):
        text = bytes(range(256)) * 4000
        async with asyncio.TaskGroup() as group:
            group.create_task(line.say(text))
            assert await line.hear(len(text)) == text
        assert proxy.up.counts.delivered == proxy.down.counts.delivered == len(text) + 5
        line.writer.write_eof()
        assert await ended(peer) == "fin"
        assert await line.end() == "fin"
    for way in ("up", "down"):
        assert b"".join(chunk for name, _, chunk in seen if name == way) == b"hello" + text
    assert {number for _, number, _ in seen} == {1}
    assert proxy.report()["connections"] == 1
    assert proxy.open_connections == 0


@pytest.mark.parametrize("way", ["up", "down"])
async def test_latency_delays_and_does_not_slow_down(way: str) -> None:
    async with rig() as (_, proxy, line):
        delayed = getattr(proxy, way)
        delayed.set(latency=0.3)
        assert await took(line, b"one") >= 0.3
        delayed.set(latency=NEVER)
        proxy.clear()
        assert await line.ask(b"two") == b"two"
        delayed.set(latency=NEVER)
        before = delayed.counts.received, delayed.counts.delivered
        for number in range(1, 11):  # ten are under way together: none waits for the one before
            await line.say(b"x")
            await eventually(lambda n=number: delayed.counts.received == before[0] + n)  # type: ignore[misc]
        assert delayed.counts.delivered == before[1]


async def test_jitter_varies_and_keeps_the_order() -> None:
    async with rig(seed=3) as (_, proxy, line):
        proxy.up.set(jitter=0.05)
        times = [await took(line, b"%d" % number) for number in range(8)]
        assert max(times) - min(times) > 0.01
        for number in range(100):
            await line.say(b"%02d" % number)
        assert await line.hear(200) == b"".join(b"%02d" % number for number in range(100))


async def test_bandwidth_is_a_limit_per_direction() -> None:
    async with rig() as (_, proxy, line):
        proxy.down.set(bandwidth=20_000)
        assert await took(line, b"x" * 10_000) >= 0.45


async def test_slices_reach_the_server_one_by_one() -> None:
    async with rig() as (peer, proxy, line):
        peer.sizes.clear()
        proxy.up.set(slice=3, pause=0.5)  # a kernel that is late by as much would hand over two at once
        assert await line.ask(b"a" * 12) == b"a" * 12
        assert peer.sizes == [3] * 4


async def test_a_stall_loses_nothing() -> None:
    async with rig() as (peer, proxy, line):
        proxy.up.set(stall=True)
        await line.say(b"wait")
        assert await line.silent()
        assert bytes(peer.got) == b"hello"
        proxy.up.set(stall=False)
        assert await line.hear(4) == b"wait"


async def test_half_open_in_both_directions_no_byte_and_no_end_arrives() -> None:
    async with rig() as (peer, proxy, line):
        proxy.both(blackhole=True)
        await line.say(b"lost")
        assert await line.silent()
        line.writer.close()
        async with connected(proxy) as other:  # who connects meanwhile gets a connection and no answer
            await other.say(b"anybody?")
            assert await other.silent()
        await eventually(lambda: proxy.up.counts.swallowed == len(b"lost" + b"anybody?"))
        assert peer.ends.empty()
        assert bytes(peer.got) == b"hello"


async def test_half_open_in_one_direction_the_server_hears_and_is_not_heard() -> None:
    async with rig() as (peer, proxy, line):
        proxy.down.set(blackhole=True)
        await line.say(b"there")
        await eventually(lambda: bytes(peer.got) == b"hellothere")
        assert await line.silent()
        proxy.clear()
        await line.say(b"again")
        assert await line.end() == "rst"  # a stream with a hole in it must not go on
        assert await ended(peer) == "rst"


@pytest.mark.parametrize(("how", "seen"), [("cut", "fin"), ("reset", "rst")])
async def test_cut_and_reset_end_both_sides_now(how: str, seen: str) -> None:
    async with rig() as (peer, proxy, line):
        assert getattr(proxy, how)() == 1
        assert await line.end() == seen
        assert await ended(peer) == seen
        async with connected(proxy) as again:
            assert await again.ask(b"again") == b"again"


async def test_a_cut_in_full_flight_is_a_fin_and_no_reset() -> None:
    """Unread bytes in a socket that is closed turn its FIN into a RST; here they are taken."""
    async with rig() as (_, proxy, line):
        proxy.up.set(stall=True)
        line.writer.write(b"x" * 20_000_000)
        while proxy.up.counts.received < 4_000_000:  # the delay line is full, the rest waits in the sockets
            await asyncio.sleep(0.01)
        proxy.cut()
        assert await line.end() == "fin"
        proxy.clear()
        async with connected(proxy) as again:  # what was on its way to the other one has arrived
            assert await again.ask(b"again") == b"again"
        assert not line.writer.is_closing()  # no reset followed


async def test_one_side_only_leaves_the_other_in_its_belief() -> None:
    async with rig() as (peer, proxy, line):
        proxy.reset("client")
        assert await line.end() == "rst"
        async with connected(proxy) as again:  # what was on its way to the server has arrived
            assert await again.ask(b"again") == b"again"
            assert peer.ends.empty()


@pytest.mark.parametrize(("how", "seen"), [("cut", "fin"), ("reset", "rst")])
@pytest.mark.parametrize("at", [0, 1, 1000, 40_000])
async def test_an_end_at_a_byte_position(how: str, seen: str, at: int) -> None:
    async with echo() as peer, open_proxy(("127.0.0.1", peer.port)) as proxy:
        proxy.up.set(**{f"{how}_at": at})
        async with connected(proxy) as line:
            line.writer.write(b"y" * 50_000)
            assert await ended(peer) == seen
            assert await line.end() == seen
            assert len(peer.got) == at == proxy.up.counts.delivered


async def test_the_door_closes_and_opens_on_the_same_port() -> None:
    async with rig() as (_, proxy, line):
        port = proxy.port
        await proxy.set_door("closed")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await line.ask(b"still") == b"still"
        await proxy.set_door("open")
        assert proxy.port == port
        async with connected(proxy) as again:
            assert await again.ask(b"again") == b"again"


async def test_the_door_that_throws_out_and_the_door_that_never_answers() -> None:
    async with rig() as (peer, proxy, _):
        await proxy.set_door("reset")
        async with connected(proxy) as thrown:
            assert await thrown.end() == "rst"
        await proxy.set_door("silent")
        async with connected(proxy) as waiting:
            await waiting.say(b"anybody?")
            assert await waiting.silent()
            await proxy.set_door("open")
            assert await waiting.end() == "rst"
        assert bytes(peer.got) == b"hello"
        assert proxy.refused == 2


async def test_a_server_that_is_not_there_is_a_reset_and_may_come_later() -> None:
    with socket.socket() as held:  # nobody listens there, and nobody else can
        held.bind(("127.0.0.1", 0))
        async with open_proxy(held.getsockname()) as proxy, connected(proxy) as line:
            assert await line.end() == "rst"
            assert proxy.report()["refused"] == 1


async def test_a_server_that_resets_is_a_reset_for_the_client() -> None:
    async with rig() as (peer, _, line):
        import socket
        import struct

        link = peer.writers[0].get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writers[0].transport.abort()
        assert await line.end() == "rst"


@pytest.mark.parametrize(
    "faults",
    [{"latency": -1}, {"latency": "1"}, {"slice": 1.5}, {"stall": 1}, {"bandwidth": True}, {"cut_at": -1}, {"lag": 1}, {"slice": None}],
)  # fmt: skip
async def test_what_is_no_fault_is_refused(faults: dict[str, Any]) -> None:
    proxy = Proxy("127.0.0.1", ("127.0.0.1", 1))
    with pytest.raises(SimulatorError):
        proxy.up.set(**faults)


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"[]", b'{"up": 1}', b'{"up": {"lag": 1}}', b'{"cut": "left"}', b'{"door": "ajar"}', b'{"fire": true}'],
)  # fmt: skip
async def test_a_wrong_command_is_answered_in_words(line: bytes) -> None:
    said = await answer(Proxy("127.0.0.1", ("127.0.0.1", 1)), line, asyncio.Event())
    assert said["event"] == "refused"
    assert len(said["reason"]) > 20


async def test_the_command_line_says_ready_obeys_and_reports() -> None:
    async with echo() as peer:
        command = [sys.executable, "-P", "-m", "simulators", "proxy", "--to", f"127.0.0.1:{peer.port}", "--faults", '{"up": {"latency": 0.2}}']  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None

        async def tell(command: dict[str, Any]) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(command).encode() + b"\n")
            return dict(json.loads(await process.stdout.readline()))

        ready = json.loads(await process.stdout.readline())
        assert ready["event"] == "ready"
        reader, writer = await asyncio.open_connection("127.0.0.1", ready["port"])
        line = Line(reader, writer)
        assert await took(line, b"slow") >= 0.2
        await tell({"up": {"latency": NEVER}})
        assert (await tell({"clear": True}))["up"] == {"received": 4, "delivered": 4, "swallowed": 0}
        assert await line.ask(b"fast") == b"fast"
        assert (await tell({"door": "closed", "reset": "both"}))["door"] == "closed"
        assert await line.end() == "rst"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ready["port"])
        assert (await tell({"up": {"latency": "much"}}))["event"] == "refused"
        await tell({"stop": True})
        assert json.loads(await process.stdout.readline())["event"] == "stopped"
        await (
            process.communicate()
        )  # also closes the pipes, which `wait` alone leaves to the garbage collector
        assert process.returncode == 0
        writer.close()


async def test_who_was_thrown_out_is_told_no_end() -> None:
    """A RST that the loop has not seen yet: FIN can no longer be sent, which is nobody's error."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        reader, writer = await asyncio.open_connection(*door.getsockname())
        other, _ = door.accept()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    other.close()
    hung_up = select.poll()
    hung_up.register(writer.get_extra_info("socket").fileno(), 0)
    assert hung_up.poll(60_000), "the RST has come, and the loop had no turn to see it"
    with pytest.raises(OSError, match="not connected"):
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    Stream(reader, writer).finish()
    writer.transport.abort()
    await asyncio.sleep(0)
