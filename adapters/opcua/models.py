"""Where signals are looked for by path or pattern: the server's own word that its address space has changed (OPC 10000-3, 9.32).

One event item on the Server object in the session's subscription, for model changes alone; a server that has no events or does not
understand the filter is looked at in longer intervals instead.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.opcua.channel import Channel
from adapters.opcua.events_filter import changes_filter

HANDLE: Final = 0x7FFFFFFE  # of no value, and of no event entry
_WHICHEVER: Final = -1
_SERVER: Final = 2253  # NodeIds.csv: Server
_REFUSED: Final = (UaStatusCodeError, TimeoutError, ValueError, struct.error, IndexError, TypeError)
EVERY, AT_MOST_EVERY = 600.0, 10.0  # s between two searches without a word, and with one


class ModelWatch:
    """changed: the server has said so since the last search."""

    def __init__(self) -> None:
        self.changed = False
        self._subscription, self._at_server = 0, 0
        self._searched = float("-inf")

    @property
    def live(self) -> list[list[int]]:
        """[handle, server's id], so that the next session can delete it."""
        return [[HANDLE, self._at_server]] if self._at_server else []

    def resumed(self, handle: int, at_server: int) -> bool:
        """Whether this is ours; the next subscription is the one that has it already."""
        if handle != HANDLE:
            return False
        self._at_server, self._subscription = at_server, _WHICHEVER
        return True

    def heard(self, handle: int) -> None:
        self.changed = self.changed or handle == HANDLE

    def due(self, now: float) -> bool:
        """It is time to look for everything again. now: s, monotonic; the first time begins the interval."""
        if self._searched < 0:
            self._searched = now
        waited = now - self._searched
        return waited >= EVERY or (self.changed and waited >= AT_MOST_EVERY)

    def searched(self, now: float) -> None:
        self.changed, self._searched = False, now

    async def attach(self, channel: Channel, subscription: int) -> None:
        """Once for every subscription."""
        if self._subscription == _WHICHEVER:
            self._subscription = subscription
        if not subscription or subscription == self._subscription:
            return
        self._subscription, self._at_server = subscription, 0
        try:
            answer = await channel.call(_request(subscription), ua.CreateMonitoredItemsResponse)
        except _REFUSED:
            return
        if len(answer.Results) == 1 and answer.Results[0].StatusCode.is_good():
            self._at_server = answer.Results[0].MonitoredItemId


def _request(subscription: int) -> ua.CreateMonitoredItemsRequest:
    make: Any = ua.NodeId
    wish = ua.MonitoredItemCreateRequest()
    wish.ItemToMonitor.NodeId, wish.ItemToMonitor.AttributeId = make(_SERVER), AttributeIds.EventNotifier
    wish.MonitoringMode = ua.MonitoringMode.Reporting
    asked: Any = wish.RequestedParameters
    asked.ClientHandle, asked.SamplingInterval, asked.QueueSize = HANDLE, 0.0, 1
    asked.DiscardOldest, asked.Filter = True, changes_filter()
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ItemsToCreate = [wish]
    return request
