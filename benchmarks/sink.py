"""A client that reads bytes and acknowledges: what the load itself costs, with nobody behind it who works for the values.

asyncua makes session, subscription and items; then its transport is taken over, and of every answer only the sequence
number is looked at. For the load of simulators/load alone, which reads neither channel nor token of a request.
"""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import sys
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary

from adapters.opcua.requests import publish_request
from simulators.load.publish import PUBLISH_RESPONSE
from simulators.load.series import name_of

IN_FLIGHT = 8
_FRAME = struct.Struct("<3scIIIII")
_ANSWER = (
    24 + 4 + 24
)  # chunk header, type id, ResponseHeader without strings (OPC 10000-6, 6.7.2; 10000-4, 7.34)
_PUBLISHED = bytes((1, 0, PUBLISH_RESPONSE & 0xFF, PUBLISH_RESPONSE >> 8))


class Sink(asyncio.Protocol):
    """Keeps requests in flight and acknowledges what it gets. received: bytes; messages: with values or without."""

    def __init__(self, transport: asyncio.Transport, token: bytes, subscription: int) -> None:
        self._transport, self._token, self._subscription = transport, token, subscription
        self._left = bytearray()
        self._request = 1000
        self.received = self.messages = 0

    def start(self) -> None:
        self._transport.set_protocol(self)
        for _ in range(IN_FLIGHT):
            self._send([])

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        waiting = self._left + data
        at, numbers = 0, []
        while len(waiting) - at >= 8:
            (size,) = struct.unpack_from("<I", waiting, at + 4)
            if len(waiting) - at < size:
                break
            if waiting[at + 24 : at + 28] == _PUBLISHED:  # and not what the library still asks for by itself
                numbers.append(_number(waiting, at + _ANSWER))
            at += size
        self._left = waiting[at:]
        self.messages += len(numbers)
        for number in numbers:
            self._send([number])

    def _send(self, acknowledge: list[int]) -> None:
        self._request += 1
        body = publish_request(self._token, self._subscription, acknowledge)(self._request)
        size = _FRAME.size + len(body)
        self._transport.write(_FRAME.pack(b"MSG", b"F", size, 0, 0, self._request, self._request) + body)


def _number(frame: bytearray, at: int) -> int:
    """The sequence number behind SubscriptionId, AvailableSequenceNumbers and MoreNotifications."""
    (available,) = struct.unpack_from("<i", frame, at + 4)
    number: int = struct.unpack_from("<I", frame, at + 8 + 4 * max(available, 0) + 1)[0]
    return number


async def main(url: str, variables: int) -> None:
    """Subscribe to everything, and swallow it until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = Client(url, timeout=60, watchdog_intervall=60)
    await client.connect()
    protocol: Any = client.uaclient.protocol
    token = bytes(nodeid_to_binary(protocol.authentication_token))
    request: Any = ua.CreateSubscriptionRequest()
    request.Parameters.RequestedLifetimeCount, request.Parameters.RequestedMaxKeepAliveCount = 10_000, 100
    request.Parameters.RequestedPublishingInterval = 100
    answer: Any = struct_from_binary(ua.CreateSubscriptionResponse, await protocol.send_request(request))
    made = answer.Parameters
    sink = Sink(protocol.transport, token, made.SubscriptionId)
    for first in range(0, variables, 1000):
        await _monitor(client, made.SubscriptionId, range(first, min(first + 1000, variables)))
    sink.start()
    await stop.wait()
    print(json.dumps({"event": "swallowed", "bytes": sink.received, "messages": sink.messages}), flush=True)
    protocol.transport.abort()


async def _monitor(client: Client, subscription: int, variables: range) -> None:
    asked: Any = ua.CreateMonitoredItemsParameters()
    asked.SubscriptionId = subscription
    for variable in variables:
        wish: Any = ua.MonitoredItemCreateRequest()
        wish.ItemToMonitor.NodeId = ua.NodeId.from_string(f"ns=2;s={name_of(variable)}")
        wish.RequestedParameters.ClientHandle = variable
        wish.RequestedParameters.QueueSize, wish.RequestedParameters.DiscardOldest = 10_000, True
        asked.ItemsToCreate.append(wish)
    await client.uaclient.create_monitored_items(asked)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
