"""An OPC UA server for load: N variables that all change at a fixed rate, by the clock and not by what a client can take.

When nobody asks, values wait in the items' queues; what does not fit is dropped and counted. At the end it tells what was
emitted, delivered, dropped and acknowledged, so that a difference in the database can be blamed on the right one.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from simulators.load.backlog import Backlog
from simulators.load.channel import Channel
from simulators.load.series import Series
from simulators.load.services import Services, decode, fault, variable_at
from simulators.load.sheet import Order, Sheet
from simulators.load.subscription import PUBLISH_REQUEST, Subscription

LARGEST = 2000  # items that are sure to fit into one chunk
_PUBLISH = bytes((1, 0, PUBLISH_REQUEST & 0xFF, PUBLISH_REQUEST >> 8))


@dataclass(frozen=True, slots=True)
class Load:
    """What to serve. queue: s of data that wait for a client at most. seed: of the shuffled order."""

    variables: int = 1000
    hz: int = 10
    per_notification: int = 1000
    order: Order = "repeating"
    queue: float = 10.0
    seed: int = 42


class LoadServer:
    """The server's state. One subscription at a time: a second one takes the place of the first."""

    def __init__(self, load: Load, url: str) -> None:
        self.load, self.url, self.series = load, url, Series(load.variables, load.hz)
        self._services = Services(self.series, url)
        depth = max(1, round(load.queue * load.hz))
        self.backlog = Backlog(load.variables, min(load.per_notification, load.variables), depth)
        self._handles = np.zeros(load.variables, np.uint32)
        self._wanted: set[int] = set()
        self._subscription: Subscription | None = None
        self._gone = {"delivered": 0, "acknowledged": 0}
        self._numbers = 0
        self.complete, self.moved = asyncio.Event(), asyncio.Event()
        self._requests: Mapping[str, Callable[[Any], Any]] = {
            "CreateSubscriptionRequest": self._subscribe,
            "CreateMonitoredItemsRequest": self._monitor,
            "ModifySubscriptionRequest": _modified,
            "SetPublishingModeRequest": _each_good("SubscriptionIds", ua.SetPublishingModeResponse),
            "DeleteMonitoredItemsRequest": _each_good("MonitoredItemIds", ua.DeleteMonitoredItemsResponse),
            "DeleteSubscriptionsRequest": self._delete,
        }

    def message(self, channel: Channel, request: int, body: bytes) -> None:
        if body.startswith(_PUBLISH):
            return self._publish(channel, request, body)
        asked = decode(body)
        if asked is None:
            return channel.send(request, fault(0, StatusCodes.BadServiceUnsupported))
        handle = asked.RequestHeader.RequestHandle
        if isinstance(asked, ua.RepublishRequest):
            return self._republish(channel, request, handle, asked.Parameters)
        make = self._requests.get(type(asked).__name__, self._services.answer)
        answer = make(asked)
        if answer is None:
            return channel.send(request, fault(handle, StatusCodes.BadServiceUnsupported))
        answer.ResponseHeader.RequestHandle = handle
        return channel.send(request, struct_to_binary(answer))

    def closed(self, channel: Channel) -> None:
        if self._subscription is not None:
            self._subscription.forget(channel)

    def tick(self) -> None:
        """Every variable changes once."""
        self.backlog.tick()
        self.pump()

    def pump(self) -> None:
        """Send what is waiting, as far as there are requests."""
        subscription = self._subscription
        while subscription is not None and len(self.backlog) and subscription.asked:
            subscription.send(self.backlog.take())
        if subscription is not None:
            subscription.keep_alive_if_due()
        self.moved.set()

    @property
    def settled(self) -> bool:
        """Everything was fetched and acknowledged, or there is nobody to do so."""
        return self._subscription is None or not (len(self.backlog) or self._subscription.owing)

    def report(self) -> dict[str, int]:
        """Values since the start: emitted = delivered + dropped + queued."""
        now = self._subscription
        return {
            "emitted": self.backlog.emitted,
            "delivered": self._gone["delivered"] + (now.delivered if now else 0),
            "dropped": self.backlog.dropped,
            "acknowledged": self._gone["acknowledged"] + (now.acknowledged if now else 0),
        }

    def _publish(self, channel: Channel, request: int, body: bytes) -> None:
        if self._subscription is None:
            return channel.send(request, fault(0, StatusCodes.BadNoSubscription))
        excess = self._subscription.publish(channel, request, body)
        if excess is not None:
            channel.send(excess.request, fault(excess.handle, StatusCodes.BadTooManyPublishRequests))
        return self.pump()

    def _republish(self, channel: Channel, request: int, handle: int, wanted: Any) -> None:
        known = self._subscription
        number = int(wanted.RetransmitSequenceNumber)
        if known is None or not known.republish(channel, request, handle, number):
            channel.send(request, fault(handle, StatusCodes.BadMessageNotAvailable))

    def _subscribe(self, request: Any) -> Any:
        self._end()
        wanted, answer = request.Parameters, ua.CreateSubscriptionResponse()
        interval = max(1.0, float(wanted.RequestedPublishingInterval))
        count = max(1, int(wanted.RequestedMaxKeepAliveCount))
        self._numbers += 1
        self._subscription = Subscription(self._numbers, interval * count / 1000)
        made: Any = answer.Parameters
        made.SubscriptionId, made.RevisedPublishingInterval = self._numbers, interval
        made.RevisedLifetimeCount, made.RevisedMaxKeepAliveCount = wanted.RequestedLifetimeCount, count
        return answer

    def _monitor(self, request: Any) -> Any:
        answer: Any = ua.CreateMonitoredItemsResponse()
        answer.Results = [self._item(wish) for wish in request.Parameters.ItemsToCreate]
        if len(self._wanted) == self.load.variables:
            self._attach()
            self.complete.set()
        return answer

    def start(self, start_ns: int) -> None:
        """Fix the time of the first tick; ns since the epoch."""
        self.series = Series(self.load.variables, self.load.hz, start_ns)
        self._attach()

    def _attach(self) -> None:
        """The items are all there: from now on the subscription can encode them."""
        if self._subscription is not None:
            self._subscription.sheet = Sheet(self.series, self._handles, self.load.order, self.load.seed)

    def _item(self, wish: Any) -> Any:
        result: Any = ua.MonitoredItemCreateResult()
        variable = variable_at(wish.ItemToMonitor.NodeId)
        if not 0 <= variable < self.load.variables:
            result.StatusCode = ua.StatusCode(ua.UInt32(StatusCodes.BadNodeIdUnknown))
            return result
        self._wanted.add(variable)
        self._handles[variable] = wish.RequestedParameters.ClientHandle
        result.MonitoredItemId = variable + 1
        result.RevisedSamplingInterval = 1000 / self.load.hz
        result.RevisedQueueSize = self.backlog.depth
        return result

    def _delete(self, request: Any) -> Any:
        self._end()
        return _each_good("SubscriptionIds", ua.DeleteSubscriptionsResponse)(request)

    def _end(self) -> None:
        """The subscription is over, and with it what waits in its queues."""
        gone, self._subscription = self._subscription, None
        if gone is None:
            return
        for channel, waiting in gone.fault_all():
            channel.send(waiting.request, fault(waiting.handle, StatusCodes.BadNoSubscription))
        self._gone["delivered"] += gone.delivered
        self._gone["acknowledged"] += gone.acknowledged
        self._wanted.clear()
        self.backlog.drop_all()
        self.moved.set()


def _modified(request: Any) -> Any:
    answer, wanted = ua.ModifySubscriptionResponse(), request.Parameters
    made: Any = answer.Parameters
    made.RevisedPublishingInterval = wanted.RequestedPublishingInterval
    made.RevisedLifetimeCount = wanted.RequestedLifetimeCount
    made.RevisedMaxKeepAliveCount = wanted.RequestedMaxKeepAliveCount
    return answer


def _each_good(wishes: str, response: Any) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        made = response()
        results = [ua.StatusCode() for _ in getattr(request.Parameters, wishes)]
        if hasattr(made, "Results"):
            made.Results = results
        else:
            made.Parameters.Results = results
        return made

    return answer
