"""The simulators' own broker and mosquitto give a client the same bytes: so that what works in the one works in the other.

Each story is played with packets written here (MQTT 3.1.1), and everything that every client receives is compared, step by step. A ping
behind each step, and its answer, is the sign that nothing more comes. What a broker may choose is left out: QoS 2 is granted as 1 by
ours, and it answers packets that no client should send where mosquitto hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from pathlib import Path

from simulators.faces.broker import own_broker
from tests.mqtt.scripted.codec import varint
from tests.mqtt.taking import mosquitto

PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0\x00"
LOST = b""  # the client's connection is cut, and somebody hears of it
Step = tuple[str, bytes]


def text(said: str) -> bytes:
    return struct.pack(">H", len(said.encode())) + said.encode()


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + varint(len(body)) + body


def connect(name: str, *, clean: bool = True, flags: int = 0, more: bytes = b"") -> bytes:
    return packet(0x10, text("MQTT") + bytes([4, flags | clean << 1, 0, 60]) + text(name) + more)


def will(name: str, topic: str, *, retain: bool = False) -> bytes:
    return connect(name, flags=0x0C | retain << 5, more=text(topic) + text("gone"))


def subscribe(mid: int, *filters: tuple[str, int]) -> bytes:
    asked = b"".join(text(name) + bytes([qos]) for name, qos in filters)
    return packet(0x82, struct.pack(">H", mid) + asked)


def unsubscribe(mid: int, *filters: str) -> bytes:
    return packet(0xA2, struct.pack(">H", mid) + b"".join(map(text, filters)))


def publish(topic: str, payload: bytes, mid: int = 0, *, retain: bool = False, dup: bool = False) -> bytes:
    number = struct.pack(">H", mid) if mid else b""
    return packet(0x30 | bool(mid) << 1 | retain | dup << 3, text(topic) + number + payload)


def puback(mid: int) -> bytes:
    return packet(0x40, struct.pack(">H", mid))


A, B = ("a", connect("a")), ("b", connect("b"))
KEPT = ("a", connect("a", clean=False))
STORIES: dict[str, Sequence[Step]] = {
    "filters are granted": [A, ("a", subscribe(1, ("1/a/+", 0), ("1/b/#", 1)))],
    "a message comes back": [
        A,
        ("a", subscribe(1, ("2/t", 1))),
        ("a", publish("2/t", b"x", 7)),
        ("a", publish("2/t", b"y")),
        ("a", puback(1)),
    ],
    "the QoS of a message is the lower one": [
        A, ("a", subscribe(1, ("3/zero", 0), ("3/one", 1))), ("a", publish("3/zero", b"x", 7)), ("a", publish("3/one", b"x")),
    ],
    "levels that are empty": [
        A, ("a", subscribe(1, ("+/4", 0), ("/4/", 0), ("4//b", 0))),
        ("a", publish("/4", b"1")), ("a", publish("/4/", b"2")), ("a", publish("4//b", b"3")), ("a", publish("4/b", b"4")),
    ],
    "# is its parent too": [A, ("a", subscribe(1, ("5/t/#", 0))), ("a", publish("5/t", b"x"))],
    "wildcards and $": [A, ("a", subscribe(1, ("+/6", 0), ("$x/6", 0))), ("a", publish("$x/6", b"x"))],
    "two filters of one client": [A, ("a", subscribe(1, ("7/+", 0), ("7/a", 1))), ("a", publish("7/a", b"x", 9))],
    "retained": [
        A, ("a", publish("8/t", b"1", 1, retain=True)), ("a", subscribe(2, ("8/t", 1))), ("a", subscribe(3, ("8/t", 1))),
        ("a", publish("8/t", b"2", 4, retain=True)), ("a", publish("8/t", b"", 5, retain=True)), ("a", subscribe(6, ("8/t", 1))),
    ],
    "unsubscribed": [
        A, ("a", subscribe(1, ("9/t", 1))), ("a", unsubscribe(2, "9/t", "9/nothing")), ("a", publish("9/t", b"x", 3)),
    ],
    "a will": [A, ("a", subscribe(1, ("10/w", 1))), ("w", will("w", "10/w")), ("w", LOST)],
    "no will after a farewell": [
        A, ("a", subscribe(1, ("11/w", 1))), ("w", will("w", "11/w")), ("w", DISCONNECT), ("a", publish("11/w", b"x")),
    ],
    "a retained will": [
        A, ("a", subscribe(1, ("12/w", 1))), ("w", will("w", "12/w", retain=True)), ("w", LOST), B, ("b", subscribe(1, ("12/w", 1))),
    ],
    "one name twice": [A, ("other", connect("a")), ("other", publish("13", b"x", 1))],
    "a session waits": [
        KEPT, ("a", subscribe(1, ("14/t", 1))), ("a", DISCONNECT), B, ("b", publish("14/t", b"1", 5)), ("b", publish("14/t", b"2", 6)),
        KEPT, ("a", puback(1)), ("a", DISCONNECT), KEPT, ("a", puback(2)), ("a", DISCONNECT), KEPT,
    ],
    "nothing of QoS 0 waits": [
        KEPT, ("a", subscribe(1, ("15/t", 1))), ("a", DISCONNECT), B, ("b", publish("15/t", b"1")), KEPT,
    ],
    "a clean start ends a session": [
        KEPT, ("a", subscribe(1, ("16/t", 1))), ("a", DISCONNECT), A, ("a", DISCONNECT), B, ("b", publish("16/t", b"1", 5)), KEPT,
    ],
    "a publisher repeats itself": [
        A, ("a", subscribe(1, ("17/t", 1))), ("a", publish("17/t", b"x", 7)), ("a", publish("17/t", b"x", 7, dup=True)),
    ],
    "an acknowledgement of nothing": [A, ("a", puback(9))],
    "hello twice": [A, A],
    "a word before hello": [("a", publish("20", b"x"))],
}  # fmt: skip


def whole(got: bytes) -> int:
    """Bytes of the packet that begins here; 0 while it is not all there."""
    size = 0
    for number, byte in enumerate(got[1:5]):
        size |= (byte & 127) << 7 * number
        if byte < 128:
            end = 2 + number + size
            return end if end <= len(got) else 0
    return 0


def answered(got: bytes) -> int:
    """Where the answer to a ping stands, or -1. Behind it there may be what came in the same moment."""
    at = 0
    while not got.startswith(PINGRESP, at):
        size = whole(got[at:])
        if not size:
            return -1
        at += size
    return at


class Client:
    """Collects what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.got = b""
        self.ended = False

    async def heard(self) -> bytes:
        """All that came up to the answer to a ping, without it; `END` at the end of the connection."""
        if not self.ended:
            self.writer.write(PINGREQ)
        while (end := answered(self.got)) < 0 and not self.ended:
            try:
                chunk = await asyncio.wait_for(self.reader.read(4096), 90)
            except ConnectionError:
                chunk = b""
            self.got, self.ended = self.got + chunk, not chunk
        if end < 0:
            said, self.got = self.got + b"END", b""
        else:
            said, self.got = self.got[:end], self.got[end + len(PINGRESP) :]
        return said


async def played(port: int, story: Sequence[Step]) -> list[dict[str, bytes]]:
    """What every client heard, after each step."""
    clients: dict[str, Client] = {}
    writers, heard = [], []
    for who, said in story:
        if said == LOST:
            clients.pop(who).writer.transport.abort()
            heard.append({"a": await _something(clients["a"])})
            continue
        if who not in clients:
            clients[who] = Client(*await asyncio.open_connection("127.0.0.1", port))
            writers.append(clients[who].writer)
        clients[who].writer.write(said)
        order = [who, *(name for name in clients if name != who)]
        heard.append({name: await clients[name].heard() for name in order})
        clients = {name: client for name, client in clients.items() if not client.ended}
    for writer in writers:
        with contextlib.suppress(ConnectionError):
            writer.write(DISCONNECT)
            writer.close()
            await writer.wait_closed()
    return heard


async def _something(client: Client) -> bytes:
    async with asyncio.timeout(90):
        while not (said := await client.heard()):
            await asyncio.sleep(0.01)
    return said


async def test_both_brokers_say_the_same(tmp_path: Path) -> None:
    """Wills, sessions, retained messages, filters: whoever tries his collector with the built-in broker sees what a real one does."""
    async with mosquitto(tmp_path, persistence=False) as real:
        for name, story in STORIES.items():
            await played(real.port, [A])  # whose clean session ends what the story before left
            async with own_broker("127.0.0.1", 0) as own:
                assert await played(own.address.port, story) == await played(real.port, story), name
