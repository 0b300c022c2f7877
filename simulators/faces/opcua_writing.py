"""Settings of a machine that clients may write: by whom, of what type, within which range (OPC 10000-4, 5.11.4).

A value that is taken counts from the machine's next step on, and only then stands in the variable: as at a control that reads its
inputs once per cycle. A machine that makes no further step takes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from simulators.faces.opcua_times import status
from simulators.live import Refused
from simulators.model import Model

SORTS: Final[Mapping[str, int]] = {
    "unknown": StatusCodes.BadNotWritable,
    "type": StatusCodes.BadTypeMismatch,
    "range": StatusCodes.BadOutOfRange,
    "busy": StatusCodes.BadTooManyOperations,
    "over": StatusCodes.BadInvalidState,
}


@dataclass(frozen=True, slots=True)
class Writing:
    """settings: names of signals by node."""

    model: Model
    space: AddressSpace
    settings: Mapping[ua.NodeId, str]

    def write(self, user: Any, wish: ua.WriteValue) -> ua.StatusCode:
        """One value of one client."""
        return status(self._code(user, wish))

    def _code(self, user: Any, wish: ua.WriteValue) -> int:
        if wish.NodeId not in self.space:
            return int(StatusCodes.BadNodeIdUnknown)
        name = self.settings.get(wish.NodeId)
        if name is None or wish.AttributeId != AttributeIds.Value:
            return int(StatusCodes.BadNotWritable)
        if not getattr(user, "operator", True):
            return int(StatusCodes.BadUserAccessDenied)
        if wish.IndexRange or (wish.Value.StatusCode is not None and wish.Value.StatusCode.value):
            return int(StatusCodes.BadWriteNotSupported)
        return self._set(name, str(user.name or "anonymous"), wish.Value.Value)

    def _set(self, name: str, who: str, given: Any) -> int:
        signal = next(each for each in self.model.signals if each.name == name)
        if not isinstance(given, ua.Variant) or given.VariantType.name != signal.type.value:
            return int(StatusCodes.BadTypeMismatch)
        try:
            self.model.set(name, given.Value, who)
        except Refused as refused:
            return int(SORTS[refused.sort])
        return 0


def access(model: Model, signal: str) -> int:
    """AccessLevel of a signal's variable."""
    level = int(ua.AccessLevel.CurrentRead.mask)
    if any(each.signal == signal for each in model.settings):
        level |= int(ua.AccessLevel.CurrentWrite.mask)
    return level | (int(ua.AccessLevel.HistoryRead.mask) if signal in model.remembered else 0)
