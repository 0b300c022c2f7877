"""A source's event entries: monitored in the same subscription as its values, taken up again with it, refreshed after every beginning.

Their client handles are a digest of what was asked for, in the upper half of the numbers: they never meet those of values, and
whoever takes a subscription up again knows by the handle alone whether an event is still wanted.

ConditionRefresh is the one method (with ResendData) that is called: it changes nothing in the machine, and has the server send the
present state of its conditions to this subscription (OPC 10000-9, 5.5.7).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.clock import Clock
from adapters.opcua.browse import Browser
from adapters.opcua.channel import Channel
from adapters.opcua.errors import name_of, status_error, status_name
from adapters.opcua.events_book import Book
from adapters.opcua.events_decode import decode_events
from adapters.opcua.events_filter import STANDARD, event_filter, selective
from adapters.opcua.models import ModelWatch
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.paths import Step, parse_path
from adapters.opcua.values import Malformed
from pipelines.batch import Batch
from pipelines.registry import Registry
from pipelines.stage import Gap, Refusal

log = logging.getLogger("adapters.opcua")
_QUEUE: Final = 1000  # events of one entry that the server keeps for us
_OBJECTS, _CONDITION_TYPE, _CONDITION_REFRESH = 85, 2782, 3875  # NodeIds.csv
_AGAIN: Final = 2.0  # s between two refreshes, and before one that was refused because another is on its way
_TRIES: Final = 5
_RAW: Final = 65536
_REFUSED: Final = (UaStatusCodeError, TimeoutError, ValueError, struct.error, IndexError, TypeError)


@dataclass(slots=True)
class Entry:
    """One configured entry. failure: why it is not live, in words."""

    handle: int
    book: Book
    live: bool = False
    failure: str = ""
    at_server: int = 0

    @property
    def name(self) -> str:
        return f"{self.book.machine}/{self.book.settings.name} (events of {self.book.settings.notifier})"

    def fail(self, failure: str) -> None:
        if failure != self.failure:
            log.warning("%s: %s", self.name, failure)
        self.live, self.at_server, self.failure = False, 0, failure


@dataclass(slots=True)
class Taken:
    """What came of one notification. decoded: values. gaps: losses that the server told."""

    batches: list[Batch] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    decoded: int = 0
    newest: int = 0


class Events:
    """All entries of a source for one session. refreshing: how the last ConditionRefresh ended, in words."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries, self.model = entries, ModelWatch()
        self._by_handle = {entry.handle: entry for entry in entries}
        self._stale = asyncio.Event()
        self._told: set[int] = set()  # the server's ids of items that a refresh was asked for
        self.refreshing = ""

    @property
    def any(self) -> bool:
        return bool(self.entries)

    @property
    def waiting(self) -> bool:
        """Something is not live that should be."""
        return any(not entry.live for entry in self.entries)

    @property
    def live(self) -> list[list[int]]:
        """[handle, server's id], for whoever takes the subscription up again."""
        return [*([entry.handle, entry.at_server] for entry in self.entries if entry.live), *self.model.live]

    def forget(self) -> None:
        self._told.clear()  # the next subscription may number its items as this one did
        for entry in self.entries:
            entry.live, entry.at_server = False, 0

    def resume(self, live: Iterable[Sequence[int]]) -> list[int]:
        """Take up what an earlier session had; the server's ids of what nobody wants any more."""
        superfluous = []
        for handle, at_server in live:
            entry = self._by_handle.get(handle)
            if entry is None:
                superfluous += [] if self.model.resumed(handle, at_server) else [at_server]
            else:
                entry.live, entry.at_server, entry.failure = True, at_server, ""
        return superfluous

    # Asking

    async def attach(self, channel: Channel, desk: Any, subscription: int) -> None:
        """Monitor what is not live yet, and have all conditions told."""
        if not self.entries:
            return
        browser = Browser(channel, desk)
        for entry in self.entries:
            entry.book.namespaces = desk.namespaces
            if not entry.live:
                await self._attach(entry, channel, browser, desk, subscription)
        live = {entry.at_server for entry in self.entries if entry.live}
        if live - self._told:
            self._stale.set()
        self._told = live

    async def _attach(
        self, entry: Entry, channel: Channel, browser: Browser, desk: Any, subscription: int
    ) -> None:
        try:
            await self._ask_for(entry, channel, browser, desk, subscription)
        except _REFUSED as error:
            entry.fail(f"the server does not give its events ({name_of(error)})")

    async def _ask_for(
        self, entry: Entry, channel: Channel, browser: Browser, desk: Any, subscription: int
    ) -> None:
        node = await _found(entry, browser, desk)
        if node is None:
            return
        settings = entry.book.settings
        wish = _wish(entry, node, event_filter(settings, desk, browser))
        result = await _monitor(channel, subscription, wish)
        refused = not result.StatusCode.is_good()
        if refused and selective(settings) and settings.only is None:
            wish = _wish(entry, node, event_filter(settings, desk, browser, where=False))
            result = await _monitor(channel, subscription, wish)
        if result.StatusCode.is_good():
            entry.live, entry.at_server, entry.failure = True, result.MonitoredItemId, ""
        else:
            entry.fail(f"the server does not give its events ({status_name(result.StatusCode.value)})")

    async def keep_fresh(self, channel: Channel, clock: Clock, subscription: Callable[[], int]) -> None:
        """A ConditionRefresh for every reason to ask for one."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            for _ in range(_TRIES):
                try:
                    self.refreshing = await _refresh(channel, subscription())
                except _REFUSED as error:
                    self.refreshing = name_of(error)
                if self.refreshing != "BadRefreshInProgress":
                    break
                await clock.sleep(_AGAIN)
            if self.refreshing:
                log.info("the server does not tell its conditions again: %s", self.refreshing)
            await clock.sleep(_AGAIN)

    # Taking

    def take(self, body: bytes, start: int, end: int, where: str, received: int) -> Taken:
        """An EventNotificationList, as far as it can be read."""
        taken = Taken()
        most = len(STANDARD) + max((len(e.book.settings.fields) for e in self.entries), default=0)
        try:
            events = decode_events(body, start, end, most)
        except Malformed as error:
            reason = f"a notification that breaks the encoding: {error}"
            return Taken(refused=[Refusal(where, reason, body[start:end][:_RAW], received)], decoded=1)
        for event in events:
            entry = self._by_handle.get(event.handle)
            self.model.heard(event.handle)
            if entry is not None:  # another one's may still be on its way when its item is deleted
                gap = entry.book.take(event.fields, received)
                taken.gaps += [gap] if gap else []
        for entry in self.entries:
            self._finish(entry, taken, received)
        return taken

    def _finish(self, entry: Entry, taken: Taken, received: int) -> None:
        rows = entry.book.rows
        batches = list(rows.take(received))
        strange, rows.strange = rows.strange, []
        taken.batches += batches
        taken.refused += [Refusal(entry.name, reason, b"", received) for reason in strange]
        taken.decoded += sum(map(len, batches)) + len(strange)
        taken.newest = max(taken.newest, rows.newest)
        if entry.book.stale:
            entry.book.stale = False
            self._stale.set()

    # Telling

    def facts(self) -> dict[str, str]:
        """For `status`; nothing when there are no entries."""
        live, others = sum(e.live for e in self.entries), sum(e.book.others for e in self.entries)
        words = [f"{live} of {len(self.entries)} live"]
        words += [f"{e.name}: {e.failure}" for e in self.entries if e.failure]
        words += [f"{others} events of conditions beyond `most`"] if others else []
        words += [f"no refresh of conditions: {self.refreshing}"] if self.refreshing else []
        return {"events": "; ".join(words)} if self.entries else {}


def entries_of(readings: Iterable[Any], registry: Registry) -> Events:
    """The event entries of a source's readings. Two that ask for the same are one."""
    made: dict[int, Entry] = {}
    for reading in readings:
        for settings in getattr(reading.read, "events", ()):
            asked = repr((reading.machine, settings.model_dump()))
            digest = hashlib.blake2b(asked.encode(), digest_size=4).digest()
            handle = int.from_bytes(digest, "big") | 0x80000000
            book = Book(settings, reading.machine, reading.tags, registry)
            made.setdefault(handle, Entry(handle, book))
    return Events(list(made.values()))


async def _found(entry: Entry, browser: Browser, desk: Any) -> ua.NodeId | None:
    """The notifier here and now; None (and the entry has failed) if it is not there."""
    said = entry.book.settings.notifier
    try:
        address = parse_node_id(said)
    except ValueError:
        return await _below(entry, parse_path(said).steps, browser)
    node: ua.NodeId | None = desk.node_id(address)
    if node is None:
        entry.fail(f"the server has no namespace {address.uri}")
    return node


async def _below(entry: Entry, steps: Sequence[Step], browser: Browser) -> ua.NodeId | None:
    make: Any = ua.NodeId
    node: ua.NodeId = make(_OBJECTS)
    for step in steps:
        index = browser.index(step)
        children = (await browser.children([node]))[0]
        fit = [c for c in children if step.captured(c.name) is not None and index in (None, c.namespace)]
        if len(fit) != 1:
            entry.fail(f"{len(fit) or 'no'} nodes are named {step.written!r} there")
            return None
        node = fit[0].node
    return node


def _wish(entry: Entry, node: ua.NodeId, wanted: ua.EventFilter) -> ua.MonitoredItemCreateRequest:
    wish = ua.MonitoredItemCreateRequest()
    wish.ItemToMonitor.NodeId, wish.ItemToMonitor.AttributeId = node, AttributeIds.EventNotifier
    wish.MonitoringMode = ua.MonitoringMode.Reporting
    asked: Any = wish.RequestedParameters
    asked.ClientHandle, asked.SamplingInterval, asked.QueueSize = entry.handle, 0.0, _QUEUE
    asked.DiscardOldest, asked.Filter = True, wanted
    return wish


async def _monitor(channel: Channel, subscription: int, wish: ua.MonitoredItemCreateRequest) -> Any:
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ItemsToCreate = [wish]
    answer = await channel.call(request, ua.CreateMonitoredItemsResponse)
    if len(answer.Results) != 1:
        raise status_error(StatusCodes.BadUnexpectedError)
    return answer.Results[0]


async def _refresh(channel: Channel, subscription: int) -> str:
    """Empty, or the name of the refusal."""
    make: Any = ua.NodeId
    argument: Any = ua.Variant
    method = ua.CallMethodRequest()
    method.ObjectId, method.MethodId = make(_CONDITION_TYPE), make(_CONDITION_REFRESH)
    method.InputArguments = [argument(subscription, ua.VariantType.UInt32)]
    request = ua.CallRequest()
    request.Parameters.MethodsToCall = [method]
    answer = await channel.attempt(request, ua.CallResponse)
    if isinstance(answer, int):
        return status_name(answer)
    if len(answer.Results) != 1:
        return "an answer without a result"
    result = answer.Results[0].StatusCode
    return "" if result.is_good() else status_name(result.value)
