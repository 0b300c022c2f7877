"""What channel.py uses of asyncua beyond its public names. When this fails, read channel.py before raising the pin."""

from __future__ import annotations

import asyncio
import inspect
import logging
import struct
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import asyncua
import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UaClientState, UASocketProtocol
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary, struct_to_binary
from asyncua.ua.uaerrors import UaError

from adapters.opcua.channel import PINNED, Channel, Credentials
from adapters.opcua.protocol import LARGEST_CHUNK, GuardedProtocol
from adapters.opcua.requests import publish_request
from simulators.doors import shut
from tests.contracts.rig import LEAVING, Alive, eventually, leap
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted import ScriptedServer

HINT = (
    f"asyncua is no longer the version that channel.py was written for ({PINNED}): check every name it uses"
)


def test_the_pinned_version_is_installed() -> None:
    assert metadata.version("asyncua") == PINNED, HINT


def test_private_names_and_shapes_are_as_expected() -> None:
    client = Client("opc.tcp://127.0.0.1:1")
    assert isinstance(client.uaclient, UaClient), HINT
    assert {"_policy_ids", "_server_nonce"} <= set(vars(client)), HINT
    for name in ("restore_authentication_token", "reset_authentication_token"):
        assert callable(getattr(client.uaclient.session, name, None)), f"{name}: {HINT}"
    for name in ("_make_protocol", "_on_transport_lost", "_is_session_closing"):
        assert callable(getattr(client.uaclient, name, None)), f"{name}: {HINT}"
    parameters = inspect.signature(SecureConnection.message_to_binary).parameters
    assert list(parameters) == ["self", "message", "message_type", "request_id"], HINT
    made = vars(UASocketProtocol(1.0))
    assert {"_request_id", "_request_handle", "_callbackmap", "_connection"} <= set(made), HINT
    for name in (
        "revolve_security_token",
        "_fail_all_pending",
        "data_received",
        "connection_lost",
        "_send_request",
        "_call_callback",
        "send_request",
        "send_hello",
    ):
        assert callable(getattr(UASocketProtocol, name, None)), f"{name}: {HINT}"
    assert "_limits" in SecureConnection.__init__.__code__.co_names, HINT
    assert set(TransportLimits.__dataclass_fields__) == {
        "max_recv_buffer", "max_send_buffer", "max_chunk_count", "max_message_size",
    }, HINT  # fmt: skip
    assert {state.name for state in UaClientState} >= {"CHANNEL_OPEN", "CONNECTED"}, HINT


@pytest.mark.parametrize(
    "token",
    [
        ua.NodeId(ua.Int32(7), ua.Int16(1)),
        ua.NodeId(ua.Int32(70_000), ua.Int16(3)),
        ua.NodeId(ua.ByteString(b"x" * 32), ua.Int16(1), ua.NodeIdType.ByteString),
    ],
)
@pytest.mark.parametrize("numbers", [[], [1], [4_294_967_295, 1, 2]])
def test_a_publish_request_has_the_librarys_own_bytes(token: ua.NodeId, numbers: list[int]) -> None:
    request = ua.PublishRequest()
    request.RequestHeader.AuthenticationToken = token
    request.RequestHeader.RequestHandle = 77
    request.RequestHeader.TimeoutHint = 0
    request.Parameters.SubscriptionAcknowledgements = [
        ua.SubscriptionAcknowledgement(SubscriptionId=9, SequenceNumber=number) for number in numbers
    ]
    theirs = struct_to_binary(request)
    ours = publish_request(bytes(nodeid_to_binary(token)), 9, numbers)(77)
    at = 4 + len(nodeid_to_binary(token))
    assert ours[:at] == theirs[:at]
    assert ours[at + 8 :] == theirs[at + 8 :]
    behind = struct.unpack_from("<q", ours, at)[0] - struct.unpack_from("<q", theirs, at)[0]
    assert 0 <= behind < 60 * 10_000_000, "the time of sending, in ticks of 100 ns since 1601"


def test_only_three_modules_touch_private_names_of_the_library() -> None:
    folder = Path(asyncua.__file__).parent
    assert folder.name == "asyncua"
    here = Path(inspect.getfile(Channel)).parent
    for file in here.glob("*.py"):
        if file.name not in {"channel.py", "chunks.py", "protocol.py"}:
            assert "SLF001" not in file.read_text(encoding="utf-8"), f"{file.name} touches private names"


def test_upstream_still_errs_in_the_order_of_datavalue() -> None:
    """The reason for our own decoder. When this fails, upstream has repaired it: update decisions and README."""
    now = enc.ticks(1_700_000_000_000_000_000)
    value = DataValue(Scalar(11, 1.0), source=now, source_pico=1, server=now, server_pico=2)
    read = struct_from_binary(ua.DataValue, Buffer(value.encode()))
    assert read.ServerTimestamp != read.SourceTimestamp


def test_the_library_is_kept_from_logging_requests() -> None:
    logging.getLogger("asyncua").setLevel(logging.DEBUG)

    async def look() -> None:
        with pytest.raises(OSError, match="Connect call failed"):
            await Channel("opc.tcp://127.0.0.1:9", 60.0).offers()

    asyncio.run(look())
    assert logging.getLogger("asyncua.client.ua_client").getEffectiveLevel() == logging.WARNING


async def test_a_huge_chunk_is_refused_before_it_is_buffered() -> None:
    alive = Alive()

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(struct.pack("<4sI", b"ACKF", 2**30) + bytes(1000))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hostile, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match=str(2**30)):
        await Channel(f"opc.tcp://127.0.0.1:{port}", 60.0).open(Credentials(), 60.0)
    await shut(server)
    await server.wait_closed()
    await alive.nothing_left(LEAVING)
    assert LARGEST_CHUNK < 2**30


async def test_a_server_hears_what_a_chunk_may_be() -> None:
    """The library offers 2 GB, and ours is the end of a connection with one over 65,535 bytes: a large answer would never come."""
    server = ScriptedServer()
    await server.start()
    channel = Channel(server.url, 60.0)
    await channel.open(Credentials(), 60.0)
    (hello,) = [connection.hello for connection in server.connections]
    await channel.close()
    await server.stop()
    assert hello is not None
    assert (hello.receive, hello.send) == (LARGEST_CHUNK, LARGEST_CHUNK)


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    alive = Alive()
    asked = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # its Hello
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    channel = Channel(f"opc.tcp://127.0.0.1:{port}", 60.0)
    opening = asyncio.get_running_loop().create_task(channel.open(Credentials(), 60.0))
    await asked.wait()
    leap(60.0)
    with pytest.raises(TimeoutError):
        await opening
    await shut(server)
    await server.wait_closed()
    await alive.nothing_left(LEAVING)


async def test_keys_are_renewed_while_it_runs() -> None:
    server = ScriptedServer()
    await server.start()
    channel = Channel(server.url, 60.0)
    await channel.open(Credentials(), 60.0)
    assert channel.lifetime == 3600.0
    await channel.renew()
    await channel.close()
    await server.stop()


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """U1: a server may answer on the new channel what an old one asked; the library would end the connection."""
    ours = GuardedProtocol(1.0)
    ours._call_callback(99, Buffer(b""))
    with pytest.raises(UaError):
        UASocketProtocol(1.0)._call_callback(99, Buffer(b""))


class Transport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def numbers(written: bytes) -> Iterator[tuple[int, int]]:
    """(sequence number, request id) of each chunk (OPC 10000-6, 6.7.2)."""
    while written:
        (size,) = struct.unpack_from("<I", written, 4)
        yield struct.unpack_from("<II", written, 16)
        written = written[size:]


async def test_requests_of_one_turn_are_one_write_and_numbered_when_they_go() -> None:
    """What the library sends in between has the earlier number: a server ends the channel over one that is out of order."""
    protocol, transport = GuardedProtocol(1.0), Transport()
    protocol.transport = transport
    request = publish_request(b"\x00\x00", 7, [])
    first, second = protocol.send_encoded(request), protocol.send_encoded(request)
    between = protocol._send_request(ua.GetEndpointsRequest(), 1.0)
    await eventually(lambda: len(transport.written) == 2, "the library's and ours")
    sent = [number for written in transport.written for number in numbers(written)]
    assert [sequence for sequence, _ in sent] == [1, 2, 3]
    assert [len(list(numbers(written))) for written in transport.written] == [1, 2]
    for sequence, request_id in sent:
        assert request_id in protocol._callbackmap, sequence
    protocol.connection_lost(None)
    outcome = await asyncio.gather(first, second, between, return_exceptions=True)
    assert [type(each) for each in outcome] == [ConnectionError] * 3
    with pytest.raises(ConnectionError):
        protocol.send_encoded(request)


async def test_a_cancellation_that_meets_the_answer_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.timeout` and task groups look for CancelledError itself: a subclass would end whoever asked, or the process."""
    protocol, loop = GuardedProtocol(1.0), asyncio.get_running_loop()
    answer: asyncio.Future[Buffer] = loop.create_future()
    monkeypatch.setattr(protocol, "_send_request", lambda *_: answer)
    asking = loop.create_task(protocol.send_request(ua.ReadRequest(), 60.0))
    await asyncio.sleep(0)
    answer.set_result(Buffer(b""))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await asking
    assert cancelled.type is asyncio.CancelledError
