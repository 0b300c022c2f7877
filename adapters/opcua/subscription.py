"""Creating the subscription and its monitored items: in batches the server can take, one answer per item.

Used by the session and by `check --online` alike, so that what the check says is what the session does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from adapters.opcua.batches import in_batches
from adapters.opcua.channel import Channel
from adapters.opcua.decode import Found, decode_read
from adapters.opcua.errors import doing, status_error, status_name
from adapters.opcua.items import Item, Items
from adapters.opcua.kinds import NotReadable, in_elements, native_kind, structured
from adapters.opcua.nodeid import NodeAddress, sound
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.structure_types import Types
from adapters.opcua.traits import Traits
from pipelines import quality as q

_BATCH: Final = 1000
_LIFETIME: Final = (
    1200.0  # s that the server keeps the subscription without a request of ours: a full disk, or nobody there
)
_NOTIFICATION: Final = 10_000  # values in one notification, at most
_SERVER: Final = {  # NodeIds.csv: Server_ServerStatus_*, Server_ServiceLevel, Server_ServerArray
    "product": 2261,
    "version": 2264,
    "state": 2259,
    "started": 2257,
    "level": 2267,
    "servers": 2254,
}
_NAMESPACES = 2255
_LIMITS: Final = (11705, 11714, 11710, 11712)  # of OperationLimits, in the order of `Limits`


@dataclass(slots=True)
class Limits:
    """Operations per call that the server takes (OPC 10000-5, 6.3.11)."""

    read: int = _BATCH
    create: int = _BATCH
    browse: int = _BATCH
    translate: int = _BATCH


@dataclass(slots=True)
class Subscription:
    """What the server made of our wishes. interval, keep_alive, lifetime: s, revised; lifetime 0 if it is not known."""

    id: int
    interval: float
    keep_alive: float
    lifetime: float = 0.0


class Desk:
    """Asks a connected server about nodes and for items."""

    def __init__(self, channel: Channel, settings: OpcUaSource) -> None:
        self._channel, self._settings = channel, settings
        self.limits = Limits()
        self.namespaces: list[str] = []
        self.traits = Traits(channel, self)
        self.types = Types(channel, self, self.traits)

    async def read(self, *nodes: int) -> list[Any]:
        """Values of nodes of namespace 0; None where there is none."""
        wanted = [ua.ReadValueId(NodeId=_node_id(node), AttributeId=AttributeIds.Value) for node in nodes]
        return await in_batches(wanted, _BATCH, self._values)

    async def _values(self, wanted: Sequence[ua.ReadValueId]) -> list[Any]:
        answer = await self._channel.call(_read_request(wanted), ua.ReadResponse)
        if len(answer.Results) != len(wanted):
            raise status_error(StatusCodes.BadUnexpectedError)
        good = [
            r.Value is not None and (r.StatusCode is None or r.StatusCode.is_good()) for r in answer.Results
        ]
        found = [
            r.Value.Value if ok and r.Value else None for r, ok in zip(answer.Results, good, strict=True)
        ]
        return [sound(value) if isinstance(value, str) else value for value in found]

    async def learn(self) -> dict[str, Any]:
        """Namespaces and limits, and what the server is: the keys of _SERVER."""
        with doing("asking what the server is"):
            found = await self.read(_NAMESPACES, *_SERVER.values(), *_LIMITS)
        namespaces = [str(uri) for uri in found[0] or []]
        if namespaces != self.namespaces:
            self.namespaces, self.traits = namespaces, Traits(self._channel, self)
            self.types = Types(self._channel, self, self.traits)
        about = len(_SERVER) + 1
        self.limits = Limits(*(min(_BATCH, int(most or 0) or _BATCH) for most in found[about:]))
        return dict(zip(_SERVER, found[1:about], strict=True))

    async def condition(self) -> tuple[int, int]:
        """ServerState (OPC 10000-5, 12.6; 0 is running) and ServiceLevel (OPC 10000-4, 6.6.2.4.2; 255 is best)."""
        with doing("asking how the server is"):
            state, level = await self.read(_SERVER["state"], _SERVER["level"])
        return 0 if state is None else int(state), 255 if level is None else int(level)

    def node_id(self, address: NodeAddress) -> ua.NodeId | None:
        """The node under the server's present numbering; None when the server does not know its namespace."""
        if address.uri is not None and address.uri not in self.namespaces:
            return None
        index = address.index if address.uri is None else self.namespaces.index(address.uri)
        return _node_id(address.identifier, index, _FORMS[address.form])

    async def subscribe(self) -> Subscription:
        """A subscription that says that it lives every `keep_alive`, and outlives ten minutes without us."""
        request = ua.CreateSubscriptionRequest()
        request.Parameters.PublishingEnabled = True
        self._wish_for(request.Parameters)
        with doing("making the subscription"):
            made = (await self._channel.call(request, ua.CreateSubscriptionResponse)).Parameters
        return self._revised(made.SubscriptionId, made)

    async def change(self, subscription: int) -> Subscription | str:
        """Have an earlier one as the settings are now (OPC 10000-4, 5.14.3): it loses nothing by that. A text: the refusal."""
        request = ua.ModifySubscriptionRequest()
        request.Parameters.SubscriptionId = subscription
        self._wish_for(request.Parameters)
        answer = await self._channel.attempt(request, ua.ModifySubscriptionResponse)
        return (
            status_name(answer) if isinstance(answer, int) else self._revised(subscription, answer.Parameters)
        )

    def _wish_for(self, asked: Any) -> None:
        interval = self._settings.publishing_interval
        count = max(1, round(self._settings.keep_alive / interval))
        asked.RequestedPublishingInterval, asked.RequestedMaxKeepAliveCount = interval * 1000, count
        asked.RequestedLifetimeCount = max(3 * count, math.ceil(_LIFETIME / interval))
        asked.MaxNotificationsPerPublish = _NOTIFICATION

    def _revised(self, number: int, made: Any) -> Subscription:
        revised = made.RevisedPublishingInterval / 1000 or self._settings.publishing_interval
        keep_alive, lifetime = max(1, made.RevisedMaxKeepAliveCount), made.RevisedLifetimeCount
        return Subscription(number, revised, revised * keep_alive, revised * lifetime)

    async def describe(self, items: Items, wanted: Sequence[Item]) -> list[Item]:
        """Find each node and give its point; those that can be monitored are returned, the others have failed."""
        known = [item for item in wanted if self._named(item)]
        with doing("looking at the nodes"):
            found = await in_batches(known, max(1, self.limits.read // 3), self.read_batch)
        there = [
            (item, about[0]) for item, about in zip(known, found, strict=True) if not about[0].quality >> 31
        ]
        await self.traits.look([item for item, _ in there], [str(kind.value or "") for _, kind in there])
        await self.types.learn(known, [(str(about[0].value or ""), about[2]) for about in found])
        return [item for item, about in zip(known, found, strict=True) if _described(items, item, about)]

    def _named(self, item: Item) -> bool:
        if item.barred:
            item.fail(item.barred, q.BAD_NODE_ID_UNKNOWN)
            return False
        if self.node_id(item.address) is None:
            item.fail(f"the server has no namespace {item.address.uri}", q.BAD_NODE_ID_UNKNOWN)
            return False
        return True

    async def read_batch(self, batch: Sequence[Item]) -> list[list[Found]]:
        """DataType, ValueRank and present value of each."""
        attributes = (AttributeIds.DataType, AttributeIds.ValueRank, AttributeIds.Value)
        nodes = [self.node_id(item.address) for item in batch]
        asked = [ua.ReadValueId(NodeId=node, AttributeId=a) for node in nodes if node for a in attributes]
        found = decode_read(await self._channel.call_raw(_read_request(asked)))
        if len(found) != len(asked):
            raise status_error(StatusCodes.BadUnexpectedError)
        return [found[at : at + 3] for at in range(0, len(found), 3)]

    async def monitor(self, subscription: Subscription, items: Sequence[Item]) -> None:
        """Create the items; each one is live or has failed afterwards."""
        with doing("having the nodes monitored"):
            results = await in_batches(
                items, self.limits.create, lambda batch: self._create(subscription, batch)
            )
        for item, result in zip(items, results, strict=True):
            if result.StatusCode.is_good():
                item.succeed(result.MonitoredItemId)
                item.revised = _shortfall(item, result, self._settings)
            else:
                item.fail(status_name(result.StatusCode.value), result.StatusCode.value)

    async def _create(self, subscription: Subscription, batch: Sequence[Item]) -> list[Any]:
        request = ua.CreateMonitoredItemsRequest()
        request.Parameters.SubscriptionId = subscription.id
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.ItemsToCreate = [self._wish(item) for item in batch]
        answer = await self._channel.call(request, ua.CreateMonitoredItemsResponse)
        if len(answer.Results) != len(batch):
            raise status_error(StatusCodes.BadUnexpectedError)
        return list(answer.Results)

    def _wish(self, item: Item) -> ua.MonitoredItemCreateRequest:
        wish = ua.MonitoredItemCreateRequest()
        wish.ItemToMonitor.NodeId = self.node_id(item.address) or ua.NodeId()
        wish.ItemToMonitor.AttributeId = AttributeIds.Value
        wish.MonitoringMode = ua.MonitoringMode.Reporting
        wish.RequestedParameters.ClientHandle = item.handle
        wish.RequestedParameters.SamplingInterval = item.signal.every * 1000
        wish.RequestedParameters.QueueSize = item.signal.queue_for(self._settings.hold)
        wish.RequestedParameters.DiscardOldest = True
        return wish


_FORMS: Final = {
    "i": ua.NodeIdType.Numeric,
    "s": ua.NodeIdType.String,
    "g": ua.NodeIdType.Guid,
    "b": ua.NodeIdType.ByteString,
}


def _node_id(*parts: Any) -> ua.NodeId:
    make: Any = ua.NodeId
    made: ua.NodeId = make(*parts)
    return made


def _read_request(nodes: Sequence[ua.ReadValueId]) -> ua.ReadRequest:
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
    request.Parameters.NodesToRead = list(nodes)
    return request


def _described(items: Items, item: Item, about: Sequence[Found]) -> bool:
    data_type, rank, value = about
    if data_type.quality >> 31:
        item.fail(status_name(data_type.quality), data_type.quality)
        return False
    item.failure = ""
    try:
        item.fields = structured(item.signal, value.value, item.types)
        item.spread = bool(item.fields) or in_elements(item.signal, rank.value, value)
        native = (
            None
            if item.spread
            else native_kind(data_type.value, rank.value, value.kind, value.value, item.signal)
        )
    except NotReadable as reason:
        item.fail(str(reason))
        return False
    return native is None or items.adopt(item, native)


def _shortfall(item: Item, result: Any, settings: OpcUaSource) -> str:
    """Where the server gives less than was asked for, in words; empty when it does not."""
    words = []
    sampling, queue = result.RevisedSamplingInterval / 1000, result.RevisedQueueSize
    if sampling > item.signal.every * 1.01 and item.signal.every > 0:
        words.append(f"looked at every {sampling:g} s instead of {item.signal.every:g} s")
    needed = max(1, math.ceil(settings.publishing_interval / max(item.signal.every, 0.001)))
    if queue < min(needed, item.signal.queue_for(settings.hold)):
        words.append(f"queue of {queue} values where one publishing interval brings {needed}")
    return ", ".join(words)
