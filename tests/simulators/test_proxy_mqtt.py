"""The fault proxy between a real broker and a real client library: what mosquitto and paho make of each fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.proxy.link import Tee
from simulators.proxy.server import Proxy, open_proxy
from tests.mqtt.peers import Mosquitto

SOON = 60.0
PASSWORD = "correct-horse"


class Client:
    """paho on its own thread; what happens to it arrives in a queue."""

    def __init__(self, port: int, keepalive: int = 60) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="through-the-proxy", clean_session=False
        )
        self.client.username_pw_set("operator", PASSWORD)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda *_: self._tell("up")
        self.client.on_disconnect = lambda *_: self._tell("down")
        self.client.on_subscribe = lambda *_: self._tell("subscribed")
        self.client.on_message = lambda _c, _d, message: self._tell(f"got {message.payload.decode()}")
        self.client.on_publish = lambda *_: self._tell("acknowledged")
        self.client.connect_async("127.0.0.1", port, keepalive)
        self.client.loop_start()

    def _tell(self, what: str) -> None:
        self.loop.call_soon_threadsafe(self.events.put_nowait, what)

    async def next(self, *wanted: str) -> None:
        """These happen, in any order, and nothing else before them."""
        left = list(wanted)
        while left:
            async with asyncio.timeout(SOON):
                left.remove(await self.events.get())

    async def until(self, wanted: str) -> None:
        """This happens, whatever a client that tries again and again says before."""
        async with asyncio.timeout(SOON):
            while await self.events.get() != wanted:
                pass


@contextmanager
def client(port: int, keepalive: int = 60) -> Iterator[Client]:
    made = Client(port, keepalive)
    try:
        yield made
    finally:
        made.client.disconnect()
        made.client.loop_stop()


@asynccontextmanager
async def line(folder: Path, tee: Tee | None = None) -> AsyncIterator[Proxy]:
    broker = Mosquitto(folder)
    await broker.start()
    try:
        async with open_proxy(("127.0.0.1", broker.port), tee=tee) as proxy:
            yield proxy
    finally:
        await broker.stop()


async def test_what_is_on_the_wire_can_be_looked_at(tmp_path: Path) -> None:
    wire = {"up": bytearray(), "down": bytearray()}
    async with line(tmp_path, lambda way, _, chunk: wire[way].extend(chunk)) as proxy:
        with client(proxy.port) as peer:
            await peer.next("up")
            peer.client.publish("shop/m1/load", "41.5", qos=1)
            await peer.next("acknowledged")
    assert wire["up"].count(PASSWORD.encode()) == 1  # plain MQTT: whoever listens can read it
    assert wire["up"].startswith(b"\x10")  # CONNECT
    assert wire["down"].startswith(b"\x20\x02")  # CONNACK
    assert b"41.5" in wire["up"]


async def test_a_message_in_slices_with_latency_arrives_whole(tmp_path: Path) -> None:
    async with line(tmp_path) as proxy:
        proxy.both(slice=1, latency=0.02, jitter=0.02)
        with client(proxy.port) as peer:
            await peer.next("up")
            peer.client.subscribe("a", 1)
            await peer.next("subscribed")
            peer.client.publish("a", "x" * 200, qos=1)
            await peer.next("acknowledged", "got " + "x" * 200)


async def test_cut_reset_and_a_closed_door_make_the_client_come_back(tmp_path: Path) -> None:
    async with line(tmp_path) as proxy:
        with client(proxy.port) as peer:
            await peer.next("up")
            for end in (proxy.cut, proxy.reset):
                end()
                await peer.next("down", "up")
            await proxy.set_door("closed")
            proxy.reset()
            await peer.next("down")
            await proxy.set_door("open")
            await peer.next("up")


async def test_half_open_is_noticed_by_the_keep_alive_alone(tmp_path: Path) -> None:
    async with line(tmp_path) as proxy:
        with client(proxy.port, keepalive=1) as peer:
            await peer.until("up")  # a broker that stood still for two seconds is left, and found again
            proxy.both(blackhole=True)
            await peer.until("down")
            proxy.clear()
            await peer.until("up")


async def test_a_publish_cut_off_in_its_middle_is_sent_again(tmp_path: Path) -> None:
    async with line(tmp_path) as proxy:
        with client(proxy.port) as peer:
            await peer.next("up")
            peer.client.subscribe("a", 1)
            await peer.next("subscribed")
            proxy.up.set(reset_at=proxy.up.counts.delivered + 50)
            peer.client.publish("a", "y" * 100, qos=1)
            await peer.next("down")
            proxy.clear()
            await peer.until("got " + "y" * 100)
