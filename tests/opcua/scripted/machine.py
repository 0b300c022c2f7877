"""What the server remembers: sessions and subscriptions, and what each service does with them (OPC 10000-4, clause 5).

It knows connections only as places that an answer can be put into; they come and go, sessions and subscriptions stay.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.clock import Clock
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.services import Asked, answer, fault
from tests.opcua.scripted.codec.wire import ItemWish, NodeId, array, no_diagnostics, node_bytes, several
from tests.opcua.scripted.events import CONDITION_REFRESH, EVENT_NOTIFIER, Alarms
from tests.opcua.scripted.history import Archive
from tests.opcua.scripted.record import Record, Told, plain
from tests.opcua.scripted.scripts import Script
from tests.opcua.scripted.space import Ref, Space
from tests.opcua.scripted.subscription import REPORTING, Monitored, Notice, Subscription

if TYPE_CHECKING:
    from tests.opcua.scripted.server import Connection

RESEND_DATA, GET_MONITORED_ITEMS = 12873, 11492
_LIMITED = {
    "Read": (11705, "nodes"),
    "Browse": (11710, "nodes"),
    "TranslateBrowsePathsToNodeIds": (11712, "paths"),
    "Call": (11709, "methods"),
    "CreateMonitoredItems": (11714, "items"),
    "DeleteMonitoredItems": (11714, "items"),
    "ModifyMonitoredItems": (11714, "items"),
    "SetMonitoringMode": (11714, "items"),
}
_LISTS = {
    **{service: name for service, (_, name) in _LIMITED.items()},
    "SetPublishingMode": "subscriptions",
    "DeleteSubscriptions": "subscriptions",
    "TransferSubscriptions": "subscriptions",
}
"""What must not be empty, by service."""


@dataclass
class Session:
    """connection: where it was activated last, None when that one is gone. waiting: its PublishRequests."""

    id: NodeId
    token: NodeId
    timeout: float
    connection: Connection | None
    nonce: bytes = b""
    active: bool = False
    heard: float = 0.0
    waiting: deque[tuple[Connection, Asked, list[int]]] = field(default_factory=deque)


@dataclass
class Policy:
    """What the server makes of wishes, and how many it takes. Times in s; None leaves a wish as it is.

    limits: operations per call that it takes, by service; announced or not (Space.limits). queue: (least, most).
    """

    interval: float | None = None
    keep_alive: float | None = None
    lifetime: float | None = None
    sampling: float = 0.0
    queue: tuple[int, int] = (100_000, 1_000_000)
    per_notification: int = 1000
    publish_limit: int = 100
    subscriptions: int = 100
    limits: dict[str, int] = field(default_factory=dict)
    first_sequence: int = 1
    keep: int = 1000
    channel_lifetime: float = 3600.0
    clock_off: float = 0.0  # what the server's own stamps are ahead of the true time
    session_timeout: float | None = None
    null_keep_alive: bool = False
    reactivate: bool = True  # a session can be activated on another connection
    reactivate_refusal: int = codes.SESSION_ID_INVALID
    close_from_anywhere: bool = False  # a session can be closed on another connection
    sessions: int = 1000
    per_browse: int = 1000  # references in one answer
    continuation_points: int = 1000
    stamp: int | None = None  # the server's clock as answers to Read say it, ns; None: its true one
    transfer: int | None = None  # the result of every transfer; None: as it is


BAD_POINT = struct.pack("<I", codes.CONTINUATION_POINT_INVALID) + enc.octets(None) + several([])


def _reference(ref: Ref) -> bytes:
    """A ReferenceDescription (OPC 10000-4, 7.30)."""
    title = struct.pack("<H", ref.name[0]) + enc.string(ref.name[1])
    kind = struct.pack("<I", 2 if ref.variable else 1) + enc.node(0, 63 if ref.variable else 58)
    return (
        enc.node(0, ref.kind)
        + struct.pack("<?", ref.forward)
        + node_bytes(ref.node)
        + title
        + b"\2"
        + enc.string(ref.name[1])
        + kind
    )


class Machine:
    """`serve` answers a request, or None when the answer comes later or never."""

    def __init__(self, clock: Clock, space: Space, record: Record) -> None:
        self.clock, self.space, self.record = clock, space, record
        self.policy = Policy()
        self.scripts: list[Script] = []
        self.sessions: dict[NodeId, Session] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.points: dict[bytes, list[Ref]] = {}  # by continuation point
        self.mute = False
        self.alarms = Alarms()
        self.archive = Archive()
        self._ids = 0

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def forget(self) -> None:
        """A restart: nobody is known any more."""
        self.sessions.clear()
        self.subscriptions.clear()

    def gone(self, connection: Connection) -> None:
        """A connection was lost; requests that waited on it will never be answered."""
        for session in self.sessions.values():
            if session.connection is connection:
                session.connection = None
                session.waiting.clear()

    def emit(self, name: str, value: DataValue) -> None:
        """The machine has a new value; every item that looks at it takes it."""
        self.space.variables[name].value = value
        self.record.emitted.append((name, value))
        self.archive.take(name, value)
        for subscription in self.subscriptions.values():
            for item in list(subscription.items.values()):
                if item.node == name:
                    self._put(subscription, item, value)

    def _put(self, subscription: Subscription, item: Monitored, value: DataValue) -> None:
        lost = subscription.put(item, value)
        if lost is not None:
            self.record.dropped.append((item.node, lost))

    # Publishing (OPC 10000-4, 5.14.1.2)

    def tick(self) -> None:
        """What is due by the clock."""
        now = self.clock.monotonic()
        for subscription in list(self.subscriptions.values()):
            if now >= subscription.next_cycle:
                subscription.next_cycle = now + subscription.interval
                self.cycle(subscription)
        for session in [s for s in self.sessions.values() if now - s.heard > s.timeout]:
            self.close_session(session, delete=False)

    def cycle(self, subscription: Subscription) -> None:
        """One publishing interval of a subscription."""
        session, now = self._owner(subscription), self.clock.monotonic()
        if subscription.silent or self.mute:
            return
        if session is not None and session.waiting:
            subscription.asked = now
        elif now - subscription.asked > subscription.lifetime:
            self.end(subscription, codes.TIMEOUT)
            return
        self._report(subscription, session)
        quiet = not subscription.begun or now - subscription.spoke >= subscription.keep_alive
        if session is not None and session.waiting and quiet and not subscription.outbox:
            self._put_out(subscription, Notice(subscription.sequence, (), self.policy.null_keep_alive))
        self.pump(session)

    def _owner(self, subscription: Subscription) -> Session | None:
        return next((s for s in self.sessions.values() if s.id == subscription.session), None)

    def _report(self, subscription: Subscription, session: Session | None) -> None:
        most = min(self.policy.per_notification, subscription.most or self.policy.per_notification)
        while (
            session is not None and subscription.reporting and len(session.waiting) > len(subscription.outbox)
        ):
            taken = subscription.take(most)
            if not taken:
                return
            told = [
                Told(subscription.id, subscription.sequence, i.node, plain(v), v.status or 0, v.source)
                for i, v in taken
            ]
            self.record.told += told
            self._put_out(subscription, subscription.changes(taken))

    def _put_out(self, subscription: Subscription, notice: Notice) -> None:
        """Through the scripts, into the outbox."""
        subscription.spoke, subscription.begun = self.clock.monotonic(), True
        notices: Sequence[Notice] = [notice]
        for script in self.scripts:
            notices = [passed for each in notices for passed in script.notice(subscription, each)]
        subscription.outbox += notices

    def pump(self, session: Session | None) -> None:
        """Send what is ready, as far as requests are there."""
        if session is None or self.mute:
            return
        for subscription in list(self.subscriptions.values()):
            while subscription.session == session.id and subscription.outbox and session.waiting:
                self.send(subscription, session, subscription.outbox.popleft())

    def send(self, subscription: Subscription, session: Session, notice: Notice) -> None:
        connection, asked, results = session.waiting.popleft()
        parts = [enc.extension(*part) for part in notice.parts]
        cells = struct.pack("<i", -1) if notice.null and not parts else several(parts)
        message = struct.pack("<Iq", notice.sequence, enc.ticks(self.clock.now() // 100 * 100)) + cells
        more = bool(subscription.outbox) or subscription.reporting
        body = (
            struct.pack("<I", subscription.id) + array("I", list(subscription.kept)) + bytes([more]) + message
        )
        connection.reply(asked, answer(asked, body + array("I", results) + no_diagnostics()))

    def end(self, subscription: Subscription, code: int) -> None:
        """The subscription is over; its session is told by a StatusChangeNotification (7.25.4)."""
        session = self._owner(subscription)
        del self.subscriptions[subscription.id]
        if session is not None and session.waiting:
            self.send(subscription, session, subscription.ended(code))

    def notify(self, subscription: Subscription, type_id: int, body: bytes) -> None:
        self._put_out(subscription, subscription.number([(type_id, body)]))
        self.pump(self._owner(subscription))

    def refuse_waiting(self, code: int) -> None:
        """Every waiting PublishRequest gets this fault."""
        for session in self.sessions.values():
            while session.waiting:
                connection, asked, _ = session.waiting.popleft()
                connection.reply(asked, fault(asked, code))

    def close_session(self, session: Session, delete: bool) -> None:
        self.sessions.pop(session.token, None)
        while session.waiting:
            connection, asked, _ = session.waiting.popleft()
            connection.reply(asked, fault(asked, codes.SESSION_CLOSED))
        for subscription in [s for s in self.subscriptions.values() if s.session == session.id]:
            if delete:
                del self.subscriptions[subscription.id]
            else:
                subscription.session = None

    # Services

    def serve(self, connection: Connection, asked: Asked) -> bytes | None:
        handler: Callable[[Session, Asked], bytes | None] | None = getattr(self, f"_on_{asked.name}", None)
        session = self.sessions.get(asked.token)
        if handler is None:
            return fault(asked, codes.SERVICE_UNSUPPORTED)
        if session is None:
            return fault(asked, codes.SESSION_ID_INVALID)
        anywhere = self.policy.close_from_anywhere and asked.name == "CloseSession"
        if session.connection is not connection and not anywhere:
            return fault(asked, codes.SECURE_CHANNEL_ID_INVALID)
        if not session.active and asked.name != "CloseSession":  # OPC 10000-4, 5.6.3.1
            return fault(asked, codes.SESSION_NOT_ACTIVATED)
        session.heard = self.clock.monotonic()
        if asked.name in _LIMITED and len(asked[_LIMITED[asked.name][1]]) > self._limit(asked.name):
            return fault(asked, codes.TOO_MANY_OPERATIONS)
        if asked.name in _LISTS and not asked[_LISTS[asked.name]]:
            return fault(asked, codes.NOTHING_TO_DO)
        return handler(session, asked)

    def _limit(self, service: str) -> int:
        announced = self.space.limits.get(_LIMITED[service][0], 0) or 1 << 30
        return min(announced, self.policy.limits.get(service, 1 << 30))

    def open_session(self, connection: Connection, timeout: float) -> Session:
        number = self.next_id()
        session = Session(NodeId(1, number), NodeId(1, os.urandom(32)), timeout, connection, os.urandom(32))
        session.heard = self.clock.monotonic()
        self.sessions[session.token] = session
        return session

    def _on_CloseSession(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        self.close_session(session, asked["delete"])
        return answer(asked)

    def _on_Cancel(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        return answer(asked, struct.pack("<I", 0))

    def _on_Read(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        cells = [self.space.read(wish, asked["times"]) for wish in asked["nodes"]]
        now = self.clock.now() if self.policy.stamp is None else self.policy.stamp
        return answer(asked, several(cells) + no_diagnostics(), stamp=enc.ticks(now // 100 * 100))

    def _on_HistoryRead(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        return self.archive.serve(asked)

    def _on_Browse(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        wishes = [(node, direction == 1, kind.identifier) for node, direction, kind, *_ in asked["nodes"]]
        results = [self._page(self.space.around(*wish)) for wish in wishes]
        return answer(asked, several(results) + no_diagnostics())

    def _on_BrowseNext(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        known = [self.points.pop(point, None) for point in asked["points"]]
        given_back = bool(asked["release"])  # then nothing more is said (OPC 10000-4, 5.9.3)
        results = [BAD_POINT if rest is None else self._page([] if given_back else rest) for rest in known]
        return answer(asked, several(results) + no_diagnostics())

    def _page(self, references: list[Ref]) -> bytes:
        """A BrowseResult with as many references as the policy allows at once, and a continuation point for the others."""
        most, point = self.policy.per_browse, None
        if len(references) > most and len(self.points) >= self.policy.continuation_points:
            return struct.pack("<I", codes.NO_CONTINUATION_POINTS) + enc.octets(None) + several([])
        if len(references) > most:
            point = os.urandom(8)
            self.points[point] = references[most:]
        cells = [_reference(ref) for ref in references[:most]]
        return struct.pack("<I", 0) + enc.octets(point) + several(cells)

    def _on_TranslateBrowsePathsToNodeIds(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        results = [self._translated(*path) for path in asked["paths"]]
        return answer(asked, several(results) + no_diagnostics())

    def _translated(self, root: NodeId, elements: list[Any]) -> bytes:
        """A BrowsePathResult: every node at the end of the path."""
        nodes = [root]
        for *_, name in elements:
            nodes = [ref.node for node in nodes for ref in self.space.below(node) if ref.name == name]
        targets = [node_bytes(node) + struct.pack("<I", 0xFFFFFFFF) for node in nodes]
        return struct.pack("<I", 0 if targets else codes.NO_MATCH) + several(targets)

    def _on_CreateSubscription(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        if len(self.subscriptions) >= self.policy.subscriptions:
            return fault(asked, codes.TOO_MANY_SUBSCRIPTIONS)
        interval, keep_alive, lifetime = self._revised(asked)
        now = self.clock.monotonic()
        made = Subscription(
            self.next_id(), interval, keep_alive * interval, lifetime * interval, asked["most"], asked["enabled"], session.id,
            self.policy.first_sequence, self.policy.keep, next_cycle=now + interval, spoke=now, asked=now,
        )  # fmt: skip
        self.subscriptions[made.id] = made
        return answer(asked, struct.pack("<IdII", made.id, interval * 1000, lifetime, keep_alive))

    def _revised(self, asked: Asked) -> tuple[float, int, int]:
        interval = max(asked["interval"] / 1000, self.policy.interval or 0.0, 0.001)
        wanted = (
            asked["keep_alive"]
            if self.policy.keep_alive is None
            else round(self.policy.keep_alive / interval)
        )
        keep_alive = max(1, wanted)
        lived = asked["lifetime"] if self.policy.lifetime is None else round(self.policy.lifetime / interval)
        return interval, keep_alive, max(3 * keep_alive, lived)

    def _on_ModifySubscription(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        found = self._mine(session, asked["subscription"])
        if found is None:
            return fault(asked, codes.SUBSCRIPTION_ID_INVALID)
        interval, keep_alive, lifetime = self._revised(asked)
        found.interval, found.keep_alive, found.lifetime = (
            interval,
            keep_alive * interval,
            lifetime * interval,
        )
        found.most = asked["most"]
        return answer(asked, struct.pack("<dII", interval * 1000, lifetime, keep_alive))

    def _mine(self, session: Session, number: int) -> Subscription | None:
        found = self.subscriptions.get(number)
        return found if found is not None and found.session == session.id and not found.silent else None

    def _on_SetPublishingMode(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        def one(number: int) -> int:
            found = self._mine(session, number)
            if found is None:
                return codes.SUBSCRIPTION_ID_INVALID
            found.enabled = asked["enabled"]
            return codes.GOOD

        return self._each(asked, [one(number) for number in asked["subscriptions"]])

    def _each(self, asked: Asked, results: list[int]) -> bytes:
        return answer(asked, array("I", results) + no_diagnostics())

    def _on_DeleteSubscriptions(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        def one(number: int) -> int:
            if self._mine(session, number) is None:
                return codes.SUBSCRIPTION_ID_INVALID
            del self.subscriptions[number]
            return codes.GOOD

        made = self._each(asked, [one(number) for number in asked["subscriptions"]])
        if not any(subscription.session == session.id for subscription in self.subscriptions.values()):
            self.refuse_waiting_of(session, codes.NO_SUBSCRIPTION)
        return made

    def refuse_waiting_of(self, session: Session, code: int) -> None:
        while session.waiting:
            connection, asked, _ = session.waiting.popleft()
            connection.reply(asked, fault(asked, code))

    def _on_TransferSubscriptions(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        cells = [self._transfer(session, number, asked["initial"]) for number in asked["subscriptions"]]
        return answer(asked, several(cells) + no_diagnostics())

    def _transfer(self, session: Session, number: int, initial: bool) -> bytes:
        """A TransferResult: status, and the numbers that can be republished."""
        found = self.subscriptions.get(number)
        result = (
            codes.SUBSCRIPTION_ID_INVALID
            if found is None or found.silent
            else self.policy.transfer or codes.GOOD
        )
        self.record.transferred.append((number, result))
        if found is None or result:
            return struct.pack("<I", result) + array("I", None)
        before = self._owner(found)
        found.session, found.asked = session.id, self.clock.monotonic()
        if before is not None and before is not session and before.waiting:
            told = Subscription(found.id, 0, 0, 0, 0, True, before.id)
            self.send(told, before, told.ended(codes.SUBSCRIPTION_TRANSFERRED))
        available = list(found.kept)
        if initial:
            self._restate(found)
        return struct.pack("<I", codes.GOOD) + array("I", available)

    def _restate(self, subscription: Subscription) -> None:
        """The present value of every reporting item whose queue is empty (ResendData, OPC 10000-5, 9.2)."""
        for item in subscription.items.values():
            if item.mode == REPORTING and not item.queue and item.node:
                self._put(subscription, item, self.space.variables[item.node].value)

    def _on_CreateMonitoredItems(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        found = self._mine(session, asked["subscription"])
        if found is None:
            return fault(asked, codes.SUBSCRIPTION_ID_INVALID)
        return answer(asked, several([self._monitor(found, w) for w in asked["items"]]) + no_diagnostics())

    def _monitor(self, subscription: Subscription, wish: ItemWish) -> bytes:
        """A MonitoredItemCreateResult; the present value is queued at once."""
        if wish.attribute == EVENT_NOTIFIER:
            return self.alarms.monitor(self, subscription, wish)
        known = self.space.find(wish.node)
        code = codes.NODE_ID_UNKNOWN if known is None else known[1].create
        sampling, size = self._granted(wish.sampling, wish.queue)
        number = 0
        if known is not None and not code >> 31:
            number = self.next_id()
            item = Monitored(number, wish.handle, known[0], sampling, size, wish.discard_oldest, wish.mode)
            subscription.items[number] = item
            self._put(subscription, item, known[1].value)
        return struct.pack("<IIdI", code, number, sampling, size) + b"\0\0\0"

    def _granted(self, sampling: float, queue: int) -> tuple[float, int]:
        least, most = self.policy.queue
        return max(sampling, self.policy.sampling), min(max(queue, least, 1), most)

    def _on_ModifyMonitoredItems(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        found = self._mine(session, asked["subscription"])
        if found is None:
            return fault(asked, codes.SUBSCRIPTION_ID_INVALID)

        def one(change: Any) -> bytes:
            item = found.items.get(change.item)
            if item is None:
                return struct.pack("<IdI", codes.MONITORED_ITEM_ID_INVALID, 0.0, 0) + b"\0\0\0"
            item.handle, item.discard_oldest = change.handle, change.discard_oldest
            item.sampling, item.size = self._granted(change.sampling, change.queue)
            return struct.pack("<IdI", codes.GOOD, item.sampling, item.size) + b"\0\0\0"

        return answer(asked, several([one(change) for change in asked["items"]]) + no_diagnostics())

    def _on_SetMonitoringMode(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        def mode(_: Subscription, item: Monitored) -> None:
            item.mode = asked["mode"]

        return self._items(session, asked, mode)

    def _on_DeleteMonitoredItems(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        def delete(subscription: Subscription, item: Monitored) -> None:
            del subscription.items[item.id]

        return self._items(session, asked, delete)

    def _items(self, session: Session, asked: Asked, do: Callable[[Subscription, Monitored], None]) -> bytes:
        found = self._mine(session, asked["subscription"])
        if found is None:
            return fault(asked, codes.SUBSCRIPTION_ID_INVALID)
        results = []
        for number in asked["items"]:
            item = found.items.get(number)
            results.append(codes.MONITORED_ITEM_ID_INVALID if item is None else codes.GOOD)
            if item is not None:
                do(found, item)
        return self._each(asked, results)

    def _on_Publish(self, session: Session, asked: Asked) -> bytes | None:  # noqa: N802
        if not any(subscription.session == session.id for subscription in self.subscriptions.values()):
            return fault(asked, codes.NO_SUBSCRIPTION)
        if len(session.waiting) >= self.policy.publish_limit:
            return fault(asked, codes.TOO_MANY_PUBLISH_REQUESTS)
        results = [self._acknowledge(session, *pair) for pair in asked["acknowledged"]]
        assert session.connection is not None
        session.waiting.append((session.connection, asked, results))
        self.record.most_in_flight = max(self.record.most_in_flight, len(session.waiting))
        self.pump(session)
        return None

    def _acknowledge(self, session: Session, number: int, sequence: int) -> int:
        found = self._mine(session, number)
        if found is None:
            result = codes.SUBSCRIPTION_ID_INVALID
        elif found.kept.pop(sequence, None) is None:
            result = codes.SEQUENCE_NUMBER_UNKNOWN
        else:
            result = codes.GOOD
        self.record.acknowledged.append(sequence)
        self.record.acknowledgements.append((number, sequence, result))
        return result

    def _on_Republish(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        number, sequence = asked["subscription"], asked["sequence"]
        found = self._mine(session, number)
        result = codes.GOOD if found is not None and sequence in found.kept else codes.MESSAGE_NOT_AVAILABLE
        result = codes.SUBSCRIPTION_ID_INVALID if found is None else result
        self.record.republished.append((number, sequence, result))
        if found is None or result:
            return fault(asked, result)
        return answer(asked, enc.message(sequence, found.kept[sequence]))

    def _on_Call(self, session: Session, asked: Asked) -> bytes:  # noqa: N802
        results = [self._call(session, call.method, call.arguments) for call in asked["methods"]]
        return answer(asked, several(results) + no_diagnostics())

    def _call(self, session: Session, method: NodeId, arguments: list[tuple[int, Any]]) -> bytes:
        """A CallMethodResult: status, no results of single arguments, output."""
        self.record.called.append((method.identifier, [value for _, value in arguments]))
        found = self._mine(session, int(arguments[0][1])) if arguments else None
        if method.identifier == CONDITION_REFRESH and found is not None:
            return struct.pack("<Iiii", self.alarms.refreshed(self), -1, -1, -1)
        if method.namespace or method.identifier not in (RESEND_DATA, GET_MONITORED_ITEMS):
            return struct.pack("<Iiii", codes.METHOD_INVALID, -1, -1, -1)
        if found is None:
            return struct.pack("<Iiii", codes.SUBSCRIPTION_ID_INVALID, -1, -1, -1)
        if method.identifier == RESEND_DATA:
            self._restate(found)
            return struct.pack("<Iiii", codes.GOOD, -1, -1, -1)
        items = list(found.items.values())
        lists = [
            b"\x87" + array("I", [item.id for item in items]),
            b"\x87" + array("I", [item.handle for item in items]),
        ]
        return struct.pack("<Iii", codes.GOOD, -1, -1) + several(lists)
