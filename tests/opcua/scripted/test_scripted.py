"""The scripted server against a client that is not ours, and its rules of queues and sequence numbers by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from adapters.opcua.certificate import OwnCertificate, own_certificate
from tests.contracts.rig import LEAVING, Alive, eventually
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted import URI, Identity, ScriptedServer, Slow, Variable
from tests.opcua.scripted.codec.chunks import pieces
from tests.opcua.scripted.subscription import LAST, Monitored, Subscription
from tests.opcua.settling import settled

START = 1_700_000_000_000_000_000


def value(number: float, tick: int = 0) -> DataValue:
    return DataValue(Scalar(11, float(number)), None, enc.ticks(START + 100 * tick))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    alive = Alive()
    made = ScriptedServer()
    made.variables["a"] = Variable(value=value(1))
    made.variables["b"] = Variable(value=value(2))
    await made.start()
    yield made
    await made.stop()
    await alive.nothing_left(LEAVING)


class Collected:
    """A handler of asyncua's subscriptions."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def datachange_notification(self, _node: Any, value: Any, _data: Any) -> None:
        self.values.append(value)


async def test_a_client_of_another_making_browses_reads_and_subscribes(server: ScriptedServer) -> None:
    async with Client(server.url, timeout=60, watchdog_intervall=60.0) as client:
        assert await client.get_namespace_array() == server.space.namespaces
        index = await client.get_namespace_index(URI)
        found = await client.nodes.objects.get_children()
        assert [node.nodeid.Identifier for node in found] == ["a", "b"]
        node = client.get_node(f"ns={index};s=a")
        assert await node.read_value() == 1.0
        handler = Collected()
        subscription = await client.create_subscription(20, handler)
        item: Any = (await subscription.subscribe_data_change([node]))[0]
        for number in range(3, 100):
            server.emit("a", value(number, number))
        await eventually(lambda: handler.values == [1.0, *map(float, range(3, 100))], "all values in order")
        make: Any = ua.NodeId
        shown: Any = subscription.subscription_id
        lists = await client.nodes.server.call_method(make(11492), ua.Variant(shown, ua.VariantType.UInt32))
        assert lists[0] == [item]
        await subscription.unsubscribe(item)
        await subscription.delete()
    assert server.record.count("DeleteSubscriptions") == 1
    assert server.record.values("a") == handler.values


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[OwnCertificate, OwnCertificate]:
    made = [tmp_path_factory.mktemp(name) for name in ("server", "client")]
    first, second = (own_certificate(str(folder), None, None) for folder in made)
    return first, second


@pytest.mark.parametrize("mode", [ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt])
async def test_both_kinds_of_security_with_a_password_and_renewed_keys(
    mode: ua.MessageSecurityMode, pair: tuple[OwnCertificate, OwnCertificate], tmp_path: Path
) -> None:
    own, theirs = pair
    server = ScriptedServer(identity=Identity.load(own.certificate, own.key))
    server.entrance.users = {"reader": "right"}
    server.listen = True
    server.variables["a"] = Variable(value=value(1))
    await server.start()
    certificate, key, trusted = tmp_path / "c.der", tmp_path / "k.der", tmp_path / "s.der"
    certificate.write_bytes(theirs.certificate)
    key.write_bytes(theirs.key)
    trusted.write_bytes(own.certificate)
    client = Client(server.url, timeout=60, watchdog_intervall=60.0)
    client.application_uri = theirs.application_uri
    client.set_user("reader")
    client.set_password("right")
    await client.set_security(
        SecurityPolicyBasic256Sha256, str(certificate), str(key), server_certificate=str(trusted), mode=mode
    )
    async with client:
        node = client.get_node("ns=2;s=a")
        assert await node.read_value() == 1.0
        for _ in range(3):
            await client.open_secure_channel(renew=True)
            client.uaclient.revolve_security_token()
            assert await node.read_value() == 1.0
    await server.stop()
    assert server.record.users == [("reader", b"right")]
    assert server.record.renewed == 3
    assert b"right" not in server.record.heard, "a password is encrypted in either mode"


async def test_long_answers_come_in_chunks(server: ScriptedServer) -> None:
    long = "x" * 300_000
    server.variables["long"] = Variable(12, DataValue(Scalar(12, long)))
    async with Client(server.url, timeout=60, watchdog_intervall=60.0) as client:
        assert await client.get_node("ns=2;s=long").read_value() == long
    assert [(kind, len(piece)) for kind, piece in pieces(b"x" * 25, 10)] == [
        (b"C", 10),
        (b"C", 10),
        (b"F", 5),
    ]


def test_a_full_queue_tells_where_the_hole_is() -> None:
    oldest, newest, single = (
        Monitored(1, 1, "a", 0.0, size, way) for size, way in [(3, True), (3, False), (1, True)]
    )
    for item in (oldest, newest, single):
        for number in range(1, 6):
            item.put(value(number))
    assert [(v.value, v.status) for v in oldest.queue] == [
        (Scalar(11, 3.0), 0x480), (Scalar(11, 4.0), None), (Scalar(11, 5.0), None),
    ]  # fmt: skip
    assert [(v.value, v.status) for v in newest.queue] == [
        (Scalar(11, 1.0), None), (Scalar(11, 2.0), None), (Scalar(11, 5.0), 0x480),
    ]  # fmt: skip
    assert [(v.value, v.status) for v in single.queue] == [(Scalar(11, 5.0), None)]


def test_sequence_numbers_go_round_past_zero_and_old_messages_go() -> None:
    made = Subscription(1, 1.0, 1.0, 1.0, 0, enabled=True, session=None, sequence=LAST, keep=2)
    assert [made.number([(1, b"")]).sequence for _ in range(3)] == [LAST, 1, 2]
    assert list(made.kept) == [1, 2]


async def test_time_is_the_clock_that_is_handed_in() -> None:
    """Nothing moves until it does: an answer that is late, and a session that nobody speaks in."""
    clock = FakeClock()
    server = ScriptedServer(clock)
    server.variables["a"] = Variable(value=value(1))
    server.scripts.append(Slow("Read", passing=1, seconds=30.0))
    await server.start()
    client = Client(server.url, timeout=60, watchdog_intervall=60.0)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    await client.create_session()
    await client.activate_session()
    await client.get_node("i=2259").read_value()
    asked = asyncio.get_running_loop().create_task(client.get_node("ns=2;s=a").read_value())
    await eventually(lambda: server.owing == 1, "it is asked")
    await settled()
    clock.advance(29.0)
    await settled()
    assert not asked.done()
    clock.advance(1.1)
    assert await asked == 1.0
    clock.advance(3600 * 24)
    await eventually(lambda: not server.machine.sessions, "the session is over")
    client.disconnect_socket()
    await eventually(lambda: not server.connections, "the connection is closed")
    await server.stop()


async def test_what_a_server_says_of_itself_and_of_its_twin(server: ScriptedServer) -> None:
    """Service level, redundancy and the addresses of the others (OPC 10000-4, 6.6.2)."""
    server.space.service_level, server.space.redundancy = 120, 2
    server.space.redundant = [("urn:test:server", 255, 0), ("urn:test:twin", 199, 0)]
    server.entrance.peers = [("urn:test:twin", "opc.tcp://127.0.0.1:4841")]
    async with Client(server.url, timeout=60, watchdog_intervall=60.0) as client:
        assert await client.get_node("i=2267").read_value() == 120
        assert await client.get_node("i=3709").read_value() == 2
        twins = await client.get_node("i=11313").read_value()
        assert [(t.ServerId, t.ServiceLevel, int(t.ServerState)) for t in twins] == server.space.redundant
        found = await client.find_servers()
        assert [(a.ApplicationUri, a.DiscoveryUrls) for a in found] == [
            ("urn:test:server", [server.url]),
            ("urn:test:twin", ["opc.tcp://127.0.0.1:4841"]),
        ]


async def test_a_subscription_without_requests_ends_after_its_lifetime() -> None:
    """It is there for ten minutes without its session, and then no more (OPC 10000-4, 5.14.1.1)."""
    clock = FakeClock()
    server = ScriptedServer(clock)
    server.variables["a"] = Variable(value=value(1))
    await server.start()
    client = Client(server.url, timeout=60, watchdog_intervall=60.0)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    await client.create_session()
    await client.activate_session()
    wish = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=1000, RequestedLifetimeCount=600, RequestedMaxKeepAliveCount=5
    )
    assert client.uaclient.protocol is not None
    await client.uaclient.protocol.send_request(ua.CreateSubscriptionRequest(Parameters=wish))
    client.disconnect_socket()
    await eventually(lambda: not server.connections, "the connection is closed")
    for passed, alive in ((590.0, 1), (20.0, 0)):
        clock.advance(passed)
        for _ in range(3):
            await settled()
            clock.advance(0.02)
        await settled()
        assert len(server.subscriptions) == alive
    await server.stop()
