"""The OPC UA load against asyncua's own client: it must deliver exactly what it says, and count what it drops."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.load.mix import exact, types_of
from simulators.load.opcua import Load, LoadServer
from simulators.load.opcua_run import emit, open_load
from simulators.load.series import name_of


class Handler:
    """Collects (name, value, ns); `enough` is set at `wanted` values."""

    def __init__(self, wanted: int) -> None:
        self.got: list[tuple[str, Any, int]] = []
        self.wanted, self.enough = wanted, asyncio.Event()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        at = data.monitored_item.Value.SourceTimestamp
        self.got.append((node.nodeid.Identifier, value, round(at.timestamp() * 1000) * 1_000_000))
        if len(self.got) >= self.wanted:
            self.enough.set()


@asynccontextmanager
async def serving(load: Load) -> AsyncIterator[LoadServer]:
    server, listener = await open_load(load, 0)
    async with listener:
        yield server


async def subscribe(client: Client, handler: Any, variables: int) -> Any:
    index = await client.get_namespace_index("urn:shopfloor:load")
    nodes = [client.get_node(f"ns={index};s={name_of(number)}") for number in range(variables)]
    subscription = await client.create_subscription(100, handler)
    await subscription.subscribe_data_change(nodes, queuesize=10)
    return subscription


async def until_settled(server: LoadServer) -> None:
    async with asyncio.timeout(90):
        while not server.settled:
            server.moved.clear()
            await server.moved.wait()


@pytest.mark.parametrize(
    ("per_notification", "order"), [(1000, "repeating"), (50, "repeating"), (50, "shuffled"), (7, "shuffled")]
)
async def test_every_value_arrives_as_stated(per_notification: int, order: Any) -> None:
    load = Load(variables=100, hz=20, per_notification=per_notification, order=order)
    async with serving(load) as server:
        handler = Handler(wanted=100 * 10)
        async with Client(server.url, timeout=90) as client:
            subscription = await subscribe(client, handler, 100)
            await emit(server, 0.5, 0.0, asyncio.Event())
            async with asyncio.timeout(90):
                await handler.enough.wait()
            await until_settled(server)
            await subscription.delete()
        stated = {
            (name_of(v), 100_000 + v + t / 8, server.series.start_ns + t * 50_000_000)
            for v in range(100)
            for t in range(10)
        }
        assert len(handler.got) == 1000
        assert set(handler.got) == stated
        whole = {"emitted": 1000, "delivered": 1000, "dropped": 0, "acknowledged": 1000, "unmonitored": 0}
        assert server.report() == whole


async def test_shuffled_means_another_order_every_tick() -> None:
    async with serving(Load(variables=50, hz=100, per_notification=50, order="shuffled")) as server:
        handler = Handler(wanted=150)
        async with Client(server.url, timeout=90) as client:
            await subscribe(client, handler, 50)
            await emit(server, 0.03, 0.0, asyncio.Event())
            async with asyncio.timeout(90):
                await handler.enough.wait()
    orders = {tuple(name for name, _, _ in handler.got[at : at + 50]) for at in (0, 50, 100)}
    assert len(orders) == 3
    assert all(sorted(order) == [name_of(number) for number in range(50)] for order in orders)


async def test_what_nobody_asks_for_is_dropped_and_counted() -> None:
    async with (
        serving(Load(variables=20, hz=100, per_notification=10, queue=0.05)) as server,
        Client(server.url, timeout=90) as client,
    ):
        parameters = ua.CreateSubscriptionParameters(RequestedPublishingInterval=100, PublishingEnabled=True)
        made = await create_without_publishing(client, parameters)
        await monitor_raw(client, made, 20)
        await emit(server, 0.2, 0.0, asyncio.Event())
        waiting = server.report()
        assert waiting == {
            "emitted": 400,
            "delivered": 0,
            "dropped": 300,
            "acknowledged": 0,
            "unmonitored": 0,
        }
        assert server.subscriptions[0].items.queues.queued == 100  # 5 ticks of 20 values
        first = await publish_once(client)
        assert [item.Value.Value.Value for item in first] == [100_000 + v + 15 / 8 for v in range(10)]
        assert server.report()["delivered"] == 10


async def create_without_publishing(client: Client, parameters: Any) -> int:
    request: Any = ua.CreateSubscriptionRequest()
    request.Parameters = parameters
    return int((await ask(client, request, ua.CreateSubscriptionResponse)).Parameters.SubscriptionId)


async def monitor_raw(
    client: Client, subscription: int, variables: int, size: int = 5, *, oldest: bool = True
) -> None:
    request: Any = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    for number in range(variables):
        wish: Any = ua.MonitoredItemCreateRequest()
        wish.ItemToMonitor.NodeId = ua.NodeId.from_string(f"ns=2;s={name_of(number)}")
        wish.RequestedParameters.ClientHandle = number
        wish.RequestedParameters.QueueSize, wish.RequestedParameters.DiscardOldest = size, oldest
        request.Parameters.ItemsToCreate.append(wish)
    answer = await ask(client, request, ua.CreateMonitoredItemsResponse)
    assert all(result.StatusCode.is_good() for result in answer.Results)


async def publish_once(client: Client) -> list[Any]:
    answer = await ask(client, ua.PublishRequest(), ua.PublishResponse)
    return list(answer.Parameters.NotificationMessage.NotificationData[0].MonitoredItems)


async def ask(client: Client, request: Any, answer: Any) -> Any:
    from asyncua.ua.ua_binary import struct_from_binary

    protocol: Any = client.uaclient.protocol
    return struct_from_binary(answer, await protocol.send_request(request))


async def test_the_same_notification_can_be_asked_for_again() -> None:
    async with (
        serving(Load(variables=10, hz=100, per_notification=10)) as server,
        Client(server.url, timeout=90) as client,
    ):
        made = await create_without_publishing(client, ua.CreateSubscriptionParameters())
        await monitor_raw(client, made, 10)
        await emit(server, 0.02, 0.0, asyncio.Event())
        first = await publish_once(client)
        request: Any = ua.RepublishRequest()
        request.Parameters.SubscriptionId, request.Parameters.RetransmitSequenceNumber = made, 1
        again = await ask(client, request, ua.RepublishResponse)
        assert again.NotificationMessage.NotificationData[0].MonitoredItems == first
        request.Parameters.RetransmitSequenceNumber = 9
        with pytest.raises(UaStatusCodeError, match="BadMessageNotAvailable"):
            await ask(client, request, ua.RepublishResponse)


async def test_unknown_nodes_and_services_are_refused() -> None:
    async with serving(Load(variables=10)) as server, Client(server.url, timeout=90) as client:
        with pytest.raises(UaStatusCodeError, match="BadServiceUnsupported"):
            await client.nodes.objects.get_children()
        with pytest.raises(UaStatusCodeError, match="BadNodeIdUnknown"):
            await client.get_node("ns=2;s=v00010").read_value()
        assert await client.get_node("ns=2;s=v00009").read_value() == 100_009.0


async def test_a_read_longer_than_a_chunk_is_answered_whole() -> None:
    async with serving(Load(variables=8000)) as server, Client(server.url, timeout=90) as client:
        nodes = [client.get_node(f"ns=2;s={name_of(number)}") for number in range(8000)]
        assert await client.read_values(nodes) == [100_000.0 + number for number in range(8000)]


async def test_a_peer_that_talks_nonsense_is_disconnected() -> None:
    async with serving(Load(variables=10)) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def test_the_command_says_ready_and_reports_when_stopped() -> None:
    command = [sys.executable, "-m", "simulators.load", "opcua", "--variables=10", "--seconds=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["url"].startswith("opc.tcp://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        finished = json.loads(process.stdout.readline())
        assert finished == {
            "event": "finished",
            "emitted": 0,
            "delivered": 0,
            "dropped": 0,
            "acknowledged": 0,
            "unmonitored": 0,
        }
    assert process.returncode == 0


@pytest.mark.parametrize("wrong", [["--hz=7"], ["--variables=0"], ["--per-notification=3000"]])
def test_what_cannot_be_is_refused_in_words(wrong: list[str]) -> None:
    command = [sys.executable, "-m", "simulators.load", "opcua", *wrong]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("simulators.load: ")
    assert "Traceback" not in refused.stderr


async def test_two_sessions_with_subscriptions_of_their_own_get_everything() -> None:
    """Each has its own queues, its own handles and its own requests; what both get is the same."""
    async with (
        serving(Load(variables=40, hz=20, per_notification=15, subscribers=2, types="mixed")) as server,
        Client(server.url, timeout=90) as one,
        Client(server.url, timeout=90) as other,
    ):
        handlers = [Handler(wanted=400), Handler(wanted=400)]
        for client, handler in zip((one, other), handlers, strict=True):
            assert not server.complete.is_set()
            await subscribe(client, handler, 40)
        assert server.complete.is_set()
        await emit(server, 0.5, 0.0, asyncio.Event())
        async with asyncio.timeout(90):
            await asyncio.gather(*(handler.enough.wait() for handler in handlers))
        await until_settled(server)
        assert sorted(map(repr, handlers[0].got)) == sorted(map(repr, handlers[1].got))
        kinds = types_of(40, "mixed")
        assert {(n, repr(v)) for n, v, _ in handlers[0].got} == {
            (name_of(v), repr(exact(int(kinds[v]), v, t))) for v in range(40) for t in range(10)
        }
        assert server.report()["delivered"] == server.report()["emitted"] == 800


async def test_a_subscription_outlives_its_session_and_can_be_taken_over() -> None:
    async with serving(Load(variables=10, hz=100)) as server, Client(server.url, timeout=90) as heir:
        async with Client(server.url, timeout=90) as client:
            made = await create_without_publishing(
                client, ua.CreateSubscriptionParameters(RequestedLifetimeCount=1000)
            )
            await monitor_raw(client, made, 10)
            await emit(server, 0.02, 0.0, asyncio.Event())
            first = await publish_once(client)
            client.disconnect_socket()
        request: Any = ua.TransferSubscriptionsRequest()
        request.Parameters.SubscriptionIds = [made, 99]
        answer = await ask(heir, request, ua.TransferSubscriptionsResponse)
        good, unknown = answer.Parameters.Results
        assert (good.StatusCode.is_good(), good.AvailableSequenceNumbers) == (True, [1])
        assert unknown.StatusCode.name == "BadSubscriptionIdInvalid"
        second = await publish_once(heir)
        assert [item.ClientHandle for item in second] == [item.ClientHandle for item in first]
        assert server.report()["dropped"] == 0


async def test_who_is_gone_is_forgotten_when_the_next_one_subscribes() -> None:
    async with serving(Load(variables=10, hz=100)) as server:
        async with Client(server.url, timeout=90) as client:
            made = await create_without_publishing(client, ua.CreateSubscriptionParameters())
            await monitor_raw(client, made, 10)
            await emit(server, 0.02, 0.0, asyncio.Event())
            client.disconnect_socket()
        async with Client(server.url, timeout=90) as other:
            await create_without_publishing(other, ua.CreateSubscriptionParameters())
            assert server.report()["dropped"] == 20
            assert len(server.subscriptions) == 1


async def test_the_client_limits_the_values_of_a_notification() -> None:
    async with serving(Load(variables=10, hz=100)) as server, Client(server.url, timeout=90) as client:
        wish = ua.CreateSubscriptionParameters(MaxNotificationsPerPublish=4)
        await monitor_raw(client, await create_without_publishing(client, wish), 10)
        await emit(server, 0.01, 0.0, asyncio.Event())
        assert [len(await publish_once(client)) for _ in range(3)] == [4, 4, 2]
