"""A scripted OPC UA server without security: it does exactly what a test tells it, faults included.

asyncua's own server has no overflow bits, loses messages on republish and errs in the field order of DataValue. So the
notifications come from the tests' own encoder, the framing (OPC 10000-6, 6.7 and 7.1) is done here by hand, and only
the dull services are encoded by the library.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar

URI = "urn:test:machine"
DOUBLE, INT32, STRING = 11, 6, 12
NONE_POLICY = "http://opcfoundation.org/UA/SecurityPolicy#None"


@dataclass
class Variable:
    """A node `nsu=urn:test:machine;s=<name>`: its DataType (a number of namespace 0) and present value."""

    data_type: int = DOUBLE
    value: DataValue = field(default_factory=lambda: DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(10**18)))
    rank: int = -1
    create: int = 0  # the status of its monitored item


@dataclass
class Connection:
    """One client: its PublishRequests that wait, and what its subscription has sent."""

    writer: asyncio.StreamWriter
    sent: int = 0
    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    subscription: int = 0
    interval: float = 0.01
    keep_alive: float = 5.0
    items: dict[str, int] = field(default_factory=dict)
    pending: deque[tuple[int, DataValue]] = field(default_factory=deque)
    sequence: int = 1
    kept: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    spoke: float = 0.0


class ScriptedServer:
    """Start it, give it variables, `emit`; then break things by the attributes below."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.namespaces = ["http://opcfoundation.org/UA/", "urn:test:server", URI]
        self.connections: list[Connection] = []
        self.requests: list[str] = []
        self.acknowledged: list[int] = []
        self.most_in_flight = 0
        self.per_notification = 1000
        self.publish_limit = 100
        self.operation_limit = 1000
        self.announced_limit = 0
        self.first_sequence = 1
        self.keep_alive: float | None = None
        self.sampling = 0.0
        self.state = 0
        self.mute = False
        self.swallow = 0  # notifications that are numbered and kept, and not sent
        self.republish: Callable[[Connection, int], bytes | None] = lambda c, n: None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._ids = 0

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def stop(self) -> None:
        """Gone: nobody answers, sessions and subscriptions are forgotten."""
        server, ticker, self._server, self._ticker = self._server, self._ticker, None, None
        if server is None or ticker is None:
            return
        server.close()
        ticker.cancel()
        for connection in list(self.connections):
            connection.writer.transport.abort()
        await asyncio.gather(ticker, *self._serving, return_exceptions=True)
        await server.wait_closed()

    def emit(self, name: str, value: DataValue) -> None:
        self.variables[name].value = value
        for connection in self.connections:
            if name in connection.items:
                connection.pending.append((connection.items[name], value))

    def flush(self) -> None:
        """Send what is pending now, as one interval would."""
        for connection in self.connections:
            self._publish(connection)

    def notify(self, type_id: int, body: bytes) -> None:
        """A notification with this body, at once."""
        for connection in self.connections:
            self._send(connection, [(type_id, body)])

    def fault(self, code: int) -> None:
        """Answer every waiting PublishRequest with this code."""
        for connection in self.connections:
            while connection.waiting:
                request, handle = connection.waiting.popleft()
                self._reply(connection, request, enc.service_fault(code, handle))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            for connection in self.connections:
                self._publish(connection)
                quiet = asyncio.get_running_loop().time() - connection.spoke
                if (
                    connection.subscription
                    and connection.waiting
                    and quiet > connection.keep_alive
                    and not self.mute
                ):
                    self._answer(connection, connection.sequence, [])

    def _publish(self, connection: Connection) -> None:
        while connection.pending and connection.waiting and not self.mute:
            count = min(self.per_notification, len(connection.pending))
            items = [connection.pending.popleft() for _ in range(count)]
            self._send(connection, [(811, enc.data_change(items))])

    def _send(self, connection: Connection, parts: Sequence[tuple[int, bytes]]) -> None:
        sequence = connection.sequence
        connection.sequence = 1 if sequence == 0xFFFFFFFF else sequence + 1
        connection.kept[sequence] = list(parts)
        if self.swallow:
            self.swallow -= 1
        else:
            self._answer(connection, sequence, parts)

    def _answer(self, connection: Connection, sequence: int, parts: Sequence[tuple[int, bytes]]) -> None:
        request, handle = connection.waiting.popleft()
        connection.spoke = asyncio.get_running_loop().time()
        body = enc.publish_response(
            connection.subscription, sequence, parts, available=list(connection.kept), handle=handle
        )
        self._reply(connection, request, body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        connection = Connection(writer, sequence=self.first_sequence)
        self.connections.append(connection)
        try:
            while await self._one(connection, reader):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections.remove(connection)
            self._serving.discard(task)
            writer.close()

    async def _one(self, connection: Connection, reader: asyncio.StreamReader) -> bool:
        header = await reader.readexactly(8)
        body = await reader.readexactly(int.from_bytes(header[4:8], "little") - 8)
        kind = header[:3]
        if kind == b"HEL":
            connection.writer.write(struct.pack("<4sIIIIII", b"ACKF", 28, 0, 65535, 65535, 0, 0))
        elif kind == b"OPN":
            self._open(connection, body)
        elif kind == b"MSG":
            request_id = struct.unpack_from("<I", body, 12)[0]
            await self._serve_request(connection, request_id, body[16:])
        return kind != b"CLO"

    def _open(self, connection: Connection, body: bytes) -> None:
        data = Buffer(body[4:])
        struct_from_binary(ua.AsymmetricAlgorithmHeader, data)
        request_id = struct.unpack("<II", data.read(8))[1]
        nodeid_from_binary(data)
        response = ua.OpenSecureChannelResponse()
        response.Parameters.SecurityToken.ChannelId = 1
        response.Parameters.SecurityToken.TokenId = 1
        response.Parameters.SecurityToken.RevisedLifetime = 3_600_000
        connection.sent += 1
        head = (
            struct.pack("<I", 1)
            + enc.string(NONE_POLICY)
            + struct.pack("<iiII", -1, -1, connection.sent, request_id)
        )
        self._write(connection, b"OPNF", head + struct_to_binary(response))

    def _reply(self, connection: Connection, request_id: int, body: bytes) -> None:
        connection.sent += 1
        self._write(connection, b"MSGF", struct.pack("<IIII", 1, 1, connection.sent, request_id) + body)

    def _write(self, connection: Connection, kind: bytes, body: bytes) -> None:
        if not connection.writer.is_closing():
            connection.writer.write(struct.pack("<4sI", kind, len(body) + 8) + body)

    async def _serve_request(self, connection: Connection, request_id: int, body: bytes) -> None:
        data = Buffer(body)
        type_id: Any = nodeid_from_binary(data).Identifier
        name = ObjectIdNames[type_id].split("_")[0]
        request = struct_from_binary(getattr(ua, name), Buffer(body))
        self.requests.append(name.removesuffix("Request"))
        handler = getattr(self, f"_on_{self.requests[-1]}", None)
        if handler is None:
            self._reply(
                connection, request_id, enc.service_fault(0x800B0000, request.RequestHeader.RequestHandle)
            )
            return
        answer = handler(connection, request_id, request)
        if answer is None:
            return
        if not isinstance(answer, bytes):
            answer.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
            answer = struct_to_binary(answer)
        self._reply(connection, request_id, answer)

    def _on_GetEndpoints(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        response = ua.GetEndpointsResponse()
        response.Endpoints = [self._endpoint()]
        return response

    def _endpoint(self) -> ua.EndpointDescription:
        endpoint = ua.EndpointDescription(EndpointUrl=self.url, SecurityPolicyUri=NONE_POLICY)
        endpoint.SecurityMode = ua.MessageSecurityMode.None_
        endpoint.UserIdentityTokens = [
            ua.UserTokenPolicy(PolicyId="anonymous", TokenType=ua.UserTokenType.Anonymous)
        ]
        return endpoint

    def _on_CreateSession(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        response = ua.CreateSessionResponse()
        self._ids += 1
        token: Any = ua.NodeId
        response.Parameters.SessionId = response.Parameters.AuthenticationToken = token(self._ids, 1)
        response.Parameters.RevisedSessionTimeout = request.Parameters.RequestedSessionTimeout
        response.Parameters.ServerEndpoints = [self._endpoint()]
        return response

    def _on_ActivateSession(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        return ua.ActivateSessionResponse()

    def _on_CloseSession(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        connection.subscription = 0
        return ua.CloseSessionResponse()

    def _on_Read(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        nodes = request.Parameters.NodesToRead
        if len(nodes) > self.operation_limit:
            return enc.service_fault(0x80100000, request.RequestHeader.RequestHandle)
        head = enc.node(0, 634) + enc.response_header(request.RequestHeader.RequestHandle)
        cells = b"".join(self._read(wanted) for wanted in nodes)
        return head + struct.pack("<i", len(nodes)) + cells + struct.pack("<i", -1)

    def _read(self, wanted: Any) -> bytes:
        node, attribute = wanted.NodeId, wanted.AttributeId
        if node.NamespaceIndex == 0:
            return self._own(node.Identifier)
        variable = self._variable(node)
        if variable is None:
            return DataValue(None, 0x80340000).encode()
        if attribute == AttributeIds.DataType:
            return b"\1\x11" + enc.node(0, variable.data_type)
        if attribute == AttributeIds.ValueRank:
            return DataValue(Scalar(6, variable.rank)).encode()
        return DataValue(variable.value.value, variable.value.status).encode()

    def _own(self, identifier: int) -> bytes:
        uris = (
            b"\1"
            + struct.pack("<Bi", 0x8C, len(self.namespaces))
            + b"".join(map(enc.string, self.namespaces))
        )
        known = {
            2255: uris,
            2259: DataValue(Scalar(6, self.state)).encode(),
            2261: DataValue(Scalar(12, "Scripted")).encode(),
            11705: DataValue(Scalar(7, self.announced_limit)).encode(),
            11714: DataValue(Scalar(7, self.announced_limit)).encode(),
        }
        return known.get(identifier, DataValue(None, 0x80340000).encode())

    def _variable(self, node: ua.NodeId) -> Variable | None:
        known = node.NamespaceIndex < len(self.namespaces) and self.namespaces[node.NamespaceIndex] == URI
        return self.variables.get(str(node.Identifier)) if known else None

    def _on_CreateSubscription(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        self._ids += 1
        wish = request.Parameters
        connection.subscription = self._ids
        connection.spoke = asyncio.get_running_loop().time()
        response = ua.CreateSubscriptionResponse()
        made = response.Parameters
        made.SubscriptionId, made.RevisedPublishingInterval = self._ids, wish.RequestedPublishingInterval
        made.RevisedLifetimeCount, made.RevisedMaxKeepAliveCount = (
            wish.RequestedLifetimeCount,
            wish.RequestedMaxKeepAliveCount,
        )
        if self.keep_alive is not None:
            made.RevisedMaxKeepAliveCount = max(
                1, round(self.keep_alive / (made.RevisedPublishingInterval / 1000))
            )
        connection.keep_alive = made.RevisedMaxKeepAliveCount * made.RevisedPublishingInterval / 1000
        return response

    def _on_CreateMonitoredItems(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        wishes = request.Parameters.ItemsToCreate
        if len(wishes) > self.operation_limit:
            return enc.service_fault(0x80100000, request.RequestHeader.RequestHandle)
        response = ua.CreateMonitoredItemsResponse()
        response.Results = [self._monitor(connection, wish) for wish in wishes]
        return response

    def _monitor(self, connection: Connection, wish: Any) -> ua.MonitoredItemCreateResult:
        result = ua.MonitoredItemCreateResult()
        variable = self._variable(wish.ItemToMonitor.NodeId)
        code = 0x80340000 if variable is None else variable.create
        result.StatusCode = ua.StatusCode(ua.UInt32(code))
        result.RevisedSamplingInterval = max(self.sampling, wish.RequestedParameters.SamplingInterval)
        result.RevisedQueueSize = wish.RequestedParameters.QueueSize
        if variable is not None and not code:
            handle = wish.RequestedParameters.ClientHandle
            connection.items[str(wish.ItemToMonitor.NodeId.Identifier)] = handle
            connection.pending.append((handle, variable.value))
        return result

    def _on_Publish(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        if len(connection.waiting) >= self.publish_limit:
            return enc.service_fault(0x80780000, request.RequestHeader.RequestHandle)
        for acknowledged in request.Parameters.SubscriptionAcknowledgements:
            self.acknowledged.append(acknowledged.SequenceNumber)
            connection.kept.pop(acknowledged.SequenceNumber, None)
        connection.waiting.append((request_id, request.RequestHeader.RequestHandle))
        self.most_in_flight = max(self.most_in_flight, len(connection.waiting))
        return None

    def _on_Republish(self, connection: Connection, request_id: int, request: Any) -> Any:  # noqa: N802
        number, handle = request.Parameters.RetransmitSequenceNumber, request.RequestHeader.RequestHandle
        scripted = self.republish(connection, number)
        if scripted is not None:
            return scripted
        if number not in connection.kept:
            return enc.service_fault(0x807B0000, handle)
        return enc.republish_response(number, connection.kept[number], handle)
