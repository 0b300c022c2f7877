"""A client's session at a simulated server: what the library would do with a call, a write or a history read goes past here first."""

from typing import Any

from asyncua import ua
from asyncua.server.internal_session import InternalSession
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.opcua_events import Events
from simulators.faces.opcua_history import History
from simulators.faces.opcua_writing import Writing


class Live:
    """What one server has beside its variables. None: it has no such thing (yet)."""

    def __init__(self) -> None:
        self.events: Events | None = None
        self.history: History | None = None
        self.writing: Writing | None = None


class LiveSession(InternalSession):
    """Made by the server for every client; `live` is what all of them share."""

    live: Live

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        return [await self._call(request) for request in params]

    async def _call(self, request: ua.CallMethodRequest) -> ua.CallMethodResult:
        events = self.live.events
        own = events.method(request) if events is not None else None
        if own is None:
            (result,) = await super().call([request])
            return result
        answer = await own(self, request)
        result = ua.CallMethodResult()
        if isinstance(answer, ua.StatusCode):
            result.StatusCode = answer
        else:
            result.InputArgumentResults = [ua.StatusCode() for _ in request.InputArguments or ()]
        return result

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Only settings can be written; everything else says so, whatever the library would think of it."""
        writing = self.live.writing
        if writing is None:
            return await super().write(params)
        return [writing.write(self.user, each) for each in params.NodesToWrite]

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """UserAccessLevel as it is for this user; the library knows only one for all."""
        results = await super().read(params)
        if getattr(self.user, "operator", True):
            return results
        wanted = [each.AttributeId == AttributeIds.UserAccessLevel for each in params.NodesToRead]
        return [_readable(data) if asked else data for asked, data in zip(wanted, results, strict=True)]

    async def history_read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        history = self.live.history
        return await super().history_read(params) if history is None else history.read(params)


def _readable(data: ua.DataValue) -> ua.DataValue:
    level: Any = None if data.Value is None else data.Value.Value
    if not isinstance(level, int):
        return data
    return ua.DataValue(ua.Variant(level & ~ua.AccessLevel.CurrentWrite.mask, ua.VariantType.Byte))
