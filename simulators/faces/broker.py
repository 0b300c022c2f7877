"""The broker: an own one where there is none, so that a demo needs nothing installed.

amqtt runs in this process behind a socket of ours: its own listener cannot report which free port it took. It speaks
MQTT 3.1.1 only.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from simulators.errors import SimulatorError

LOG = logging.getLogger(__name__)
DRAIN_STEP_S = 0.02
CLOSE_S = 2.0


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
        raise SimulatorError(f"--broker {url}: only mqtt://host:port is understood (no TLS, no user).")
    return Address(parts.hostname, port)


class OwnBroker:
    """amqtt, running. Built by `own_broker`."""

    def __init__(self, broker: Any, address: Address) -> None:
        self._broker = broker
        self.address = address

    async def drain(self, seconds: float) -> None:
        """Wait until every connected subscriber has acknowledged what the broker took."""
        try:
            async with asyncio.timeout(seconds):
                while self._owing():  # noqa: ASYNC110 - the library has no event for it
                    await asyncio.sleep(DRAIN_STEP_S)
        except TimeoutError:
            return  # a subscriber that does not acknowledge is not waited for

    def _owing(self) -> bool:
        # amqtt offers no public view of what it still holds; a task here ends with the subscriber's PUBACK.
        queued = not self._broker._broadcast_queue.empty()  # noqa: SLF001
        return queued or any(not task.done() for task in self._broker._tasks_queue)  # noqa: SLF001


@asynccontextmanager
async def own_broker(host: str, port: int) -> AsyncIterator[OwnBroker]:
    """Run amqtt here on `port` (0: a free one)."""
    broker = _amqtt()
    await broker.start()
    connections: set[asyncio.Task[Any]] = set()
    try:
        listener = await _listen(broker, host, port, connections)
        address = Address("127.0.0.1" if host == "0.0.0.0" else host, listener.sockets[0].getsockname()[1])
        try:
            yield OwnBroker(broker, address)
        finally:
            listener.close()
    finally:
        await broker.shutdown()
        if connections:
            await asyncio.wait(connections, timeout=CLOSE_S)


def _amqtt() -> Any:
    try:
        from amqtt.broker import Broker
        from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
    except ImportError as error:
        raise SimulatorError(
            "these machines speak MQTT and there is no broker: give one with --broker mqtt://host:port, "
            "or install the built-in one: pip install shopfloor-collector[demo]"
        ) from error
    listeners = {"default": ListenerConfig(type=ListenerType.EXTERNAL)}
    return Broker(BrokerConfig(listeners=listeners, plugins={"simulators.faces.open_door.OpenDoor": {}}))


async def _listen(broker: Any, host: str, port: int, connections: set[asyncio.Task[Any]]) -> asyncio.Server:
    from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        try:
            await broker.external_connected(
                StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default"
            )
        except OSError as error:  # gone while it was being refused: nothing that anybody could mend here
            LOG.info("a client hung up: %s", error)
        finally:
            writer.close()  # amqtt leaves some open

    try:
        return await asyncio.start_server(connected, host, port)
    except OSError as error:
        raise SimulatorError(
            f"the broker cannot listen on {host}:{port} ({error}). Choose another --port."
        ) from error
