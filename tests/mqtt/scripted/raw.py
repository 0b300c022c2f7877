"""A client that sends the bytes it is told to, to any broker: for what no library agrees to publish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.mqtt.scripted import codec
from tests.mqtt.scripted.codec import Login, Packet


class Raw:
    """Connected. `publish` waits for the acknowledgement; `send` waits for nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, level: int) -> None:
        self.level, self._reader, self._writer = level, reader, writer
        self._mid = 0

    async def send(self, raw: bytes) -> None:
        self._writer.write(raw)
        await self._writer.drain()

    async def receive(self, kind: int) -> Packet | None:
        """The next packet of this kind; None when the broker hangs up."""
        while (packet := await codec.read_packet(self._reader, self.level)) is not None:
            if packet.kind == kind:
                return packet
        return None

    async def publish(self, topic: bytes | str, payload: bytes, *, qos: int = 1, **rest: Any) -> bool:
        """True when the broker took it; False when it hung up instead. QoS 0: sent."""
        self._mid = self._mid % 65_535 + 1
        await self.send(codec.publish(self.level, topic, payload, mid=self._mid, qos=qos, **rest))
        return not qos or await self.receive(codec.PUBACK) is not None

    async def flood(self, topic: str, payloads: list[bytes], *, retain: bool = False) -> None:
        """All of them with QoS 0 in one piece; the broker has them when it has answered a ping."""
        await self.send(
            b"".join(codec.publish(self.level, topic, body, qos=0, retain=retain) for body in payloads)
        )
        await self.send(codec.packet(codec.PINGREQ, b""))
        assert await self.receive(codec.PINGRESP) is not None


@asynccontextmanager
async def raw(port: int, level: int = 4, login: Login | None = None) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Raw(reader, writer, level)
    try:
        await client.send(codec.connect(level, login or Login("raw")))
        answer = await client.receive(codec.CONNACK)
        assert answer is not None
        assert answer.codes == (0,)
        yield client
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
