"""An OPC UA server for load: N variables that all change at a fixed rate, by the clock and not by what a client can take.

When nobody asks, values wait in the items' queues; what does not fit is dropped and counted. At the end it tells what was
emitted, delivered, dropped and acknowledged, so that a difference in the database can be blamed on the right one. Who is gone
without a word keeps its subscription until its lifetime ends, somebody transfers it, or the next client subscribes.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary

from simulators.load.answers import Answer, each_good, modified, status
from simulators.load.channel import Channel
from simulators.load.mix import Types, types_of
from simulators.load.publish import PUBLISH, REPUBLISH_RESPONSE, response_head, token_of
from simulators.load.series import Series
from simulators.load.services import Services, decode, fault, variable_at
from simulators.load.sessions import Session
from simulators.load.sheet import Fields, Order
from simulators.load.subscription import Items, Subscription, Terms, Wanted

LARGEST = 2000  # items that are sure to fit into one chunk
ITEM_BASE = 1  # the first MonitoredItemId


@dataclass(frozen=True, slots=True)
class Load:
    """What to serve. queue: s of data that wait for a client at most. seed: of the shuffled order.

    subscribers: so many complete sets of items are waited for before anything is emitted.
    """

    variables: int = 1000
    hz: int = 10
    per_notification: int = 1000
    order: Order = "repeating"
    queue: float = 10.0
    seed: int = 42
    types: Types = "double"
    fields: Fields = field(default_factory=Fields)
    subscribers: int = 1

    @property
    def depth(self) -> int:
        """Values that an item's queue keeps at most."""
        return max(1, round(self.queue * self.hz))


class LoadServer:
    """The server's state."""

    def __init__(self, load: Load, url: str) -> None:
        self.load, self.url, self.series = load, url, Series(load.variables, load.hz)
        self._types = types_of(load.variables, load.types)
        self._services = Services(self._types, url)
        self._sessions: dict[bytes, Session] = {}
        self._books: Counter[str] = Counter()
        self._numbers, self._tick, self._nobody = 0, 0, load.variables
        self.complete, self.moved = asyncio.Event(), asyncio.Event()
        self._requests: Mapping[str, Answer] = {
            "ActivateSessionRequest": lambda _, __: ua.ActivateSessionResponse(),
            "CloseSessionRequest": self._close,
            "CreateSubscriptionRequest": self._subscribe,
            "CreateMonitoredItemsRequest": self._monitor,
            "ModifySubscriptionRequest": modified,
            "SetPublishingModeRequest": each_good("SubscriptionIds", ua.SetPublishingModeResponse),
            "DeleteMonitoredItemsRequest": self._unmonitor,
            "DeleteSubscriptionsRequest": self._delete,
            "TransferSubscriptionsRequest": self._transfer,
        }

    @property
    def subscriptions(self) -> list[Subscription]:
        return [one for session in self._sessions.values() for one in session.subscriptions.values()]

    def message(self, channel: Channel, request: int, body: bytes) -> None:
        token = token_of(body)
        session = self._sessions.get(token)
        if body.startswith(PUBLISH):
            return self._publish(channel, request, body, session)
        asked = decode(body)
        if asked is None:
            return channel.send(request, fault(0, StatusCodes.BadServiceUnsupported))
        handle = asked.RequestHeader.RequestHandle
        if isinstance(asked, ua.RepublishRequest):
            return self._republish(channel, request, handle, asked.Parameters)
        answer = self._answer(asked, channel, session)
        if isinstance(answer, int):
            return channel.send(request, fault(handle, answer))
        answer.ResponseHeader.RequestHandle = handle
        channel.send(request, struct_to_binary(answer))
        return self.pump()

    def _answer(self, asked: Any, channel: Channel, session: Session | None) -> Any:
        make = self._requests.get(type(asked).__name__)
        if make is None:
            answer = self._services.answer(asked)
            if isinstance(answer, ua.CreateSessionResponse):
                token = bytes(nodeid_to_binary(answer.Parameters.AuthenticationToken))
                self._sessions[token] = Session(token)
            return answer if answer is not None else StatusCodes.BadServiceUnsupported
        if session is None:
            return StatusCodes.BadSessionIdInvalid
        session.channel = channel
        return make(asked, session)

    def closed(self, channel: Channel) -> None:
        for session in self._sessions.values():
            session.forget(channel)

    def tick(self) -> None:
        """Every variable changes once."""
        for subscription in self.subscriptions:
            subscription.items.tick(self._tick)
            self._books["emitted"] += len(subscription.items.base)
        self._books["emitted"] += self._nobody
        self._books["unmonitored"] += self._nobody
        self._tick += 1
        self.pump()

    def pump(self) -> None:
        """Send what is waiting, as far as there are requests."""
        for session in self._sessions.values():
            session.pump()
        self.moved.set()

    def look(self) -> None:
        """From time to time: what nobody asks about any more is over."""
        for session in self._sessions.values():
            for number in session.expired():
                self._end(session, number)
        self.pump()

    @property
    def settled(self) -> bool:
        """Everything was fetched and acknowledged, or there is nobody to do so."""
        return not any(one.items.queues.queued or one.owing for one in self.subscriptions)

    def report(self) -> dict[str, int]:
        """Values since the start: emitted = delivered + dropped + queued + unmonitored."""
        now = self.subscriptions
        return {
            "emitted": self._books["emitted"],
            "delivered": self._books["delivered"] + sum(one.delivered for one in now),
            "dropped": self._books["dropped"] + sum(one.items.queues.dropped for one in now),
            "acknowledged": self._books["acknowledged"] + sum(one.acknowledged for one in now),
            "unmonitored": self._books["unmonitored"],
        }

    def start(self, start_ns: int) -> None:
        """Fix the time of the first tick; ns since the epoch."""
        self.series = Series(self.load.variables, self.load.hz, start_ns)
        for subscription in self.subscriptions:
            subscription.start(self.series)

    def _publish(self, channel: Channel, request: int, body: bytes, session: Session | None) -> None:
        if session is None or not session.subscriptions:
            code = StatusCodes.BadSessionIdInvalid if session is None else StatusCodes.BadNoSubscription
            return channel.send(request, fault(0, code))
        session.publish(channel, request, body)
        session.pump()
        return self.moved.set()

    def _republish(self, channel: Channel, request: int, handle: int, wanted: Any) -> None:
        known = self._find(int(wanted.SubscriptionId))
        again = known and known[1].again(int(wanted.RetransmitSequenceNumber))
        if not again:
            code = StatusCodes.BadMessageNotAvailable if known else StatusCodes.BadSubscriptionIdInvalid
            return channel.send(request, fault(handle, code))
        return channel.send_parts(request, [response_head(REPUBLISH_RESPONSE, handle), *again])

    def _find(self, number: int) -> tuple[Session, Subscription] | None:
        for session in self._sessions.values():
            if number in session.subscriptions:
                return session, session.subscriptions[number]
        return None

    def _subscribe(self, request: Any, session: Session) -> Any:
        self._end_the_lost()
        wanted, answer = request.Parameters, ua.CreateSubscriptionResponse()
        interval = max(1.0, float(wanted.RequestedPublishingInterval))
        count = max(1, int(wanted.RequestedMaxKeepAliveCount))
        lifetime = max(3 * count, int(wanted.RequestedLifetimeCount))
        most = min(int(wanted.MaxNotificationsPerPublish) or LARGEST, self.load.per_notification)
        self._numbers += 1
        session.subscriptions[self._numbers] = Subscription(
            self._numbers,
            Terms(interval * count / 1000, interval * lifetime / 1000, most),
            Items(self._types, self.load.order, self.load.seed),
            self.load.fields,
        )
        made: Any = answer.Parameters
        made.SubscriptionId, made.RevisedPublishingInterval = self._numbers, interval
        made.RevisedLifetimeCount, made.RevisedMaxKeepAliveCount = lifetime, count
        return answer

    def _monitor(self, request: Any, session: Session) -> Any:
        known = session.subscriptions.get(int(request.Parameters.SubscriptionId))
        if known is None:
            return StatusCodes.BadSubscriptionIdInvalid
        answer: Any = ua.CreateMonitoredItemsResponse()
        wanted = [self._wanted(wish) for wish in request.Parameters.ItemsToCreate]
        good = [one for one in wanted if one is not None]
        positions = iter(known.items.add(good) if good else ())
        answer.Results = [self._result(one, next(positions) if one else 0) for one in wanted]
        known.start(self.series)
        self._count()
        return answer

    def _wanted(self, wish: Any) -> Wanted | None:
        variable = variable_at(wish.ItemToMonitor.NodeId)
        if not 0 <= variable < self.load.variables:
            return None
        asked = wish.RequestedParameters
        size = min(max(1, int(asked.QueueSize)), self.load.depth)
        return Wanted(variable, int(asked.ClientHandle), size, bool(asked.DiscardOldest))

    def _result(self, wanted: Wanted | None, position: int) -> Any:
        result: Any = ua.MonitoredItemCreateResult()
        if wanted is None:
            result.StatusCode = status(StatusCodes.BadNodeIdUnknown)
            return result
        result.MonitoredItemId = position + ITEM_BASE
        result.RevisedSamplingInterval, result.RevisedQueueSize = 1000 / self.load.hz, wanted.size
        return result

    def _unmonitor(self, request: Any, session: Session) -> Any:
        known = session.subscriptions.get(int(request.Parameters.SubscriptionId))
        if known is None:
            return StatusCodes.BadSubscriptionIdInvalid
        answer: Any = ua.DeleteMonitoredItemsResponse()
        ids = [int(number) for number in request.Parameters.MonitoredItemIds]
        gone = [known.items.remove(number - ITEM_BASE) for number in ids]
        answer.Results = [status(0 if good else StatusCodes.BadMonitoredItemIdInvalid) for good in gone]
        self._count()
        return answer

    def _count(self) -> None:
        """Which variables nobody monitors, and whether there are as many items as were waited for."""
        items = [one.items.variables[one.items.base] for one in self.subscriptions]
        self._nobody = self.load.variables - len(np.unique(np.concatenate([np.zeros(0, np.int32), *items])))
        if sum(len(one) for one in items) >= self.load.variables * self.load.subscribers:
            self.complete.set()

    def _transfer(self, request: Any, session: Session) -> Any:
        answer: Any = ua.TransferSubscriptionsResponse()
        for number in request.Parameters.SubscriptionIds:
            result: Any = ua.TransferResult()
            found = self._find(int(number))
            if found is None:
                result.StatusCode = status(StatusCodes.BadSubscriptionIdInvalid)
            else:
                session.subscriptions[int(number)] = found[0].subscriptions.pop(int(number))
                result.AvailableSequenceNumbers = list(found[1].available)
            answer.Parameters.Results.append(result)
        return answer

    def _delete(self, request: Any, session: Session) -> Any:
        for number in request.Parameters.SubscriptionIds:
            self._end(session, int(number))
        return each_good("SubscriptionIds", ua.DeleteSubscriptionsResponse)(request, session)

    def _close(self, request: Any, session: Session) -> Any:
        if request.DeleteSubscriptions:
            for number in list(session.subscriptions):
                self._end(session, number)
            self._sessions.pop(session.token, None)
        session.refuse_all(StatusCodes.BadSessionClosed)
        return ua.CloseSessionResponse()

    def _end_the_lost(self) -> None:
        for session in list(self._sessions.values()):
            if session.channel is None:
                for number in list(session.subscriptions):
                    self._end(session, number)
                self._sessions.pop(session.token)

    def _end(self, session: Session, number: int) -> None:
        """A subscription is over, and with it what waits in its queues."""
        gone = session.subscriptions.pop(number, None)
        if gone is None:
            return
        if not session.subscriptions:
            session.refuse_all(StatusCodes.BadNoSubscription)
        queues = gone.items.queues
        self._books["delivered"] += gone.delivered
        self._books["acknowledged"] += gone.acknowledged
        self._books["dropped"] += queues.dropped + queues.queued
        self._count()
        self.moved.set()
