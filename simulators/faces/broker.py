"""The broker: an own one (`simulators.broker`, MQTT 3.1.1) where there is none, so that a demo needs nothing installed."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from simulators.broker.server import Broker
from simulators.doors import shut
from simulators.errors import SimulatorError
from simulators.faces.base import CONNECTED_S


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"


def parse(url: str) -> Address:
    """`mqtt://host[:port]` to an address; anything else is refused with what is understood."""
    parts = urlsplit(url)
    try:
        port = parts.port or 1883
    except ValueError:
        port = -1
    if parts.scheme != "mqtt" or not parts.hostname or port < 0 or parts.username or parts.path.strip("/"):
        shown = re.sub(r"//.*@", "//…@", url)
        raise SimulatorError(f"--broker {shown}: only mqtt://host:port is understood (no TLS, no user).")
    return Address(parts.hostname, port)


class OwnBroker:
    """The built-in broker, listening. Made by `own_broker`."""

    def __init__(self, broker: Broker, address: Address) -> None:
        self._broker = broker
        self.address = address

    @property
    def undelivered(self) -> Mapping[str, int]:
        """Messages that were acknowledged and thrown away, by the client that did not get them."""
        return dict(self._broker.undelivered)

    async def drain(self, seconds: float) -> None:
        """Wait until every connected subscriber has acknowledged what the broker took."""
        try:
            async with asyncio.timeout(max(seconds, CONNECTED_S)):
                while self._broker.owing():
                    self._broker.changed.clear()
                    await self._broker.changed.wait()
        except TimeoutError:
            return  # a subscriber that does not acknowledge is not waited for


@asynccontextmanager
async def own_broker(host: str, port: int) -> AsyncIterator[OwnBroker]:
    """Run one here on `port` (0: a free one)."""
    broker = Broker()
    try:
        listener = await asyncio.get_running_loop().create_server(broker.accept, host, port)
    except OSError as error:
        raise SimulatorError(
            f"the broker cannot listen on {host}:{port} ({error}). Choose another --port."
        ) from error
    address = Address("127.0.0.1" if host == "0.0.0.0" else host, listener.sockets[0].getsockname()[1])
    try:
        yield OwnBroker(broker, address)
    finally:
        await shut(listener)
        broker.close()
        await listener.wait_closed()
