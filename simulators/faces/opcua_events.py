"""Events of a machine's server: who is told, through which filter; the refresh of conditions, and Acknowledge (OPC 10000-9).

The library can raise events at one node, for whoever monitors exactly that node. Here an event goes to all notifiers above its
source: the Server object, the machine in the vendor's folder, and the machine of its companion specification. The queues are the
library's; what it would drop from a full one without a word is told by an EventQueueOverflowEventType (OPC 10000-4, 7.20.2).
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from simulators.faces.opcua_alarms import Alarms, Condition, Words, base
from simulators.faces.opcua_filter import Event, Field, lineage, passes, selected
from simulators.faces.opcua_nodes import node_id, node_text, root_name
from simulators.faces.opcua_times import status
from simulators.faces.spaces.space import Space
from simulators.faces.spaces.table import UA

# NodeIds.csv
SERVER: Final = node_id(2253)
OFF_NORMAL: Final = node_id(10637)
REFRESH_STARTS, REFRESH_ENDS, OVERFLOW = node_id(2787), node_id(2788), node_id(3035)
REFRESH, REFRESH_ITEM, ACKNOWLEDGE = node_id(3875), node_id(12912), node_id(9111)
HAS_EVENT_SOURCE, HAS_NOTIFIER, HAS_CONDITION = 36, 48, 9006
MACHINE_TOOL: Final = f"{UA}MachineTool/"
MESSAGES: Final = "Notification/Messages"  # of OPC 40501-1, 8.6
NOTIFIES: Final = 1  # EventNotifier: SubscribeToEvents
FRAME_SEVERITY: Final = 100
MOST_WAITING: Final = 10_000  # events of an item without a queue size of its own

Answer = ua.StatusCode | Sequence[ua.Variant]


@dataclass(slots=True)
class Events:
    """Of one machine in one server. Built by `attach`; the conditions outlive it."""

    server: Server
    alarms: Alarms
    words: Words
    index: int
    notifiers: set[ua.NodeId]
    sources: dict[str, ua.NodeId]
    _marks: dict[tuple[int, int], Any] = field(default_factory=dict)

    async def look(self, at_ns: int) -> None:
        """Tell what has changed."""
        for each in self.alarms.look(at_ns):
            await self._tell(self._event(each), self._items())

    def method(self, request: ua.CallMethodRequest) -> Callable[..., Any] | None:
        """What answers this call, if it is one of ours."""
        known = {REFRESH: self._refresh, REFRESH_ITEM: self._refresh, ACKNOWLEDGE: self._acknowledge}
        return known.get(request.MethodId)

    def _event(self, each: Condition) -> Event:
        return self.words.event(each, self.sources[each.alarm.source])

    # Telling

    def _items(self) -> Iterator[tuple[Any, Any]]:
        """Every monitored item that is for events of ours, with its subscription."""
        for subscription in list(self.server.iserver.subscription_service.subscriptions.values()):
            yield from ((subscription, item) for item in self._of(subscription))

    def _of(self, subscription: Any) -> list[Any]:
        # The library shows its items to nobody.
        items = subscription.monitored_item_srv._monitored_items.values()  # noqa: SLF001
        return [
            item
            for item in items
            if item.read_value_id.AttributeId == AttributeIds.EventNotifier
            and item.read_value_id.NodeId in self.notifiers
            and item.mode != ua.MonitoringMode.Disabled
            and isinstance(item.filter, ua.EventFilter)
        ]

    async def _tell(self, event: Event, items: Any) -> None:
        for subscription, item in items:
            if passes(event, item.filter.WhereClause):
                made = _listed(event, item)
                self._make_room(subscription, item)
                most = item.queue_size + 1 if item.queue_size else MOST_WAITING
                await subscription.enqueue_event(item.monitored_item_id, made, most)

    def _make_room(self, subscription: Any, item: Any) -> None:
        """The oldest event goes, and a mark that it did stands first; the mark takes no event's place."""
        key = (subscription.data.SubscriptionId, item.monitored_item_id)
        waiting = subscription._triggered_events.get(item.monitored_item_id)  # noqa: SLF001
        if not waiting or not item.queue_size:
            self._marks.pop(key, None)
            return
        marked = waiting[0] is self._marks.get(key)
        if len(waiting) - marked < item.queue_size:
            return
        del waiting[int(marked)]
        if not marked:
            lost = self._frame(OVERFLOW, "Events were lost: the queue is full", self.alarms.now_ns)
            self._marks[key] = mark = _listed(lost, item)
            waiting.insert(0, mark)

    # Methods

    async def _refresh(self, session: Any, request: ua.CallMethodRequest) -> Answer:
        """ConditionRefresh of a subscription, ConditionRefresh2 of one of its items (OPC 10000-9, 5.5.7 and 5.5.8)."""
        given = [each.Value for each in request.InputArguments or ()]
        if len(given) != (2 if request.MethodId == REFRESH_ITEM else 1):
            return status(StatusCodes.BadArgumentsMissing)
        subscription = self.server.iserver.subscription_service.subscriptions.get(given[0])
        if subscription is None or subscription.session_id != session.session_id:
            return status(StatusCodes.BadSubscriptionIdInvalid)
        mine = self._of(subscription)
        if len(given) == 2:
            mine = [item for item in mine if item.monitored_item_id == given[1]]
            if not mine:
                return status(StatusCodes.BadMonitoredItemIdInvalid)
        items = [(subscription, item) for item in mine]
        at_ns = self.alarms.refreshed() if items else self.alarms.now_ns
        retained = self.alarms.retained()
        await self._tell(self._frame(REFRESH_STARTS, "Refresh begins", at_ns), items)
        for each in retained:
            await self._tell(self._event(each), items)
        await self._tell(self._frame(REFRESH_ENDS, "Refresh ends", at_ns), items)
        return []

    async def _acknowledge(self, session: Any, request: ua.CallMethodRequest) -> Answer:
        """By the id of the condition's last event; a comment goes with it (OPC 10000-9, 5.7.3)."""
        if not getattr(session.user, "operator", True):
            return status(StatusCodes.BadUserAccessDenied)
        given = [each.Value for each in request.InputArguments or ()]
        if len(given) != 2:
            return status(StatusCodes.BadArgumentsMissing)
        alarms = self.alarms.model.alarms
        names = {self.words.condition_id(each.name): each.name for each in alarms}
        each = self.alarms.find(names.get(request.ObjectId, ""))
        if each is None:
            return status(StatusCodes.BadNodeIdUnknown)
        if not each.number or given[0] != each.event:
            return status(StatusCodes.BadEventIdUnknown)
        if each.acked:
            return status(StatusCodes.BadConditionBranchAlreadyAcked)
        comment = str(getattr(given[1], "Text", "") or "")[:1000]
        made = self.alarms.acknowledge(each.alarm.name, str(session.user.name or "anonymous"), comment)
        await self._tell(self._event(made), self._items())
        return []

    def _frame(self, kind: ua.NodeId, words: str, at_ns: int) -> Event:
        """An event of the server itself, which every filter lets through."""
        fields = dict(base(kind, secrets.token_bytes(16), at_ns, FRAME_SEVERITY, words))
        fields["SourceNode"] = ua.Variant(SERVER, ua.VariantType.NodeId)
        fields["SourceName"] = ua.Variant("Server", ua.VariantType.String)
        made: dict[Field, ua.Variant] = {((0, name),): value for name, value in fields.items()}
        return Event(made, lineage(self.server.iserver.aspace, kind), always=True)


def _listed(event: Event, item: Any) -> Any:
    made: Any = ua.EventFieldList()
    made.ClientHandle = item.client_handle
    made.EventFields = selected(event, item.filter.SelectClauses or ())
    return made


async def attach(server: Server, alarms: Alarms, index: int, space: Space | None) -> Events:
    """Make the machine a notifier of this server, and its vendor's folders the sources of its alarms."""
    model = alarms.model
    root = node_id(root_name(model), index)
    folders = {node_text(signal).partition(".")[0] for signal in model.signals}
    sources = {
        each.source: node_id(each.source, index) if each.source in folders else root for each in model.alarms
    }
    tops = [root] if space is None else [root, space.nodes[""]]
    messages = None if space is None else space.nodes.get(MESSAGES)
    notifiers = tops if messages is None else [*tops, messages]
    kind = OFF_NORMAL if space is None or MACHINE_TOOL not in space.numbers.index else _alert(space)
    links = [(SERVER, HAS_NOTIFIER, each) for each in tops]
    links += [] if messages is None else [(tops[-1], HAS_NOTIFIER, messages)]
    links += [
        (root, HAS_EVENT_SOURCE, each) for each in sorted(set(sources.values()), key=str) if each != root
    ]
    links += [(each, HAS_CONDITION, kind) for each in sorted(set(sources.values()), key=str)]
    if model.alarms:
        await _link(server, links)
        for each in notifiers:
            await _write(server, each, NOTIFIES)
    code = (
        (space.numbers.index[MACHINE_TOOL], "ErrorCode") if space is not None and kind != OFF_NORMAL else None
    )
    words = Words(index, kind, lineage(server.iserver.aspace, kind), code)
    return Events(server, alarms, words, index, {SERVER, *notifiers}, sources)


def _alert(space: Space) -> ua.NodeId:
    """AlertType of OPC 40501-1, 9.1."""
    return space.numbers.node(space.book.type(MACHINE_TOOL, "AlertType"))


async def _link(server: Server, links: Sequence[tuple[ua.NodeId, int, ua.NodeId]]) -> None:
    """References in both directions, as a browse from either side must find them."""
    items = []
    for source, by, target in links:
        for one, other, forward in ((source, target, True), (target, source, False)):
            item = ua.AddReferencesItem()
            item.SourceNodeId, item.TargetNodeId, item.IsForward = one, other, forward
            item.ReferenceTypeId = node_id(by)
            items.append(item)
    for each in await server.iserver.isession.add_references(items):
        each.check()


async def _write(server: Server, node: ua.NodeId, notifies: int) -> None:
    data = ua.DataValue(ua.Variant(notifies, ua.VariantType.Byte))
    await server.write_attribute_value(node, data, AttributeIds.EventNotifier)
