"""Simulated time and status codes as OPC UA's library wants them."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua

from simulators.clock import MILLISECOND

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at_ns: int) -> Any:
    """Whole milliseconds; integer arithmetic, because a float of seconds is not exact."""
    return EPOCH + timedelta(milliseconds=at_ns // MILLISECOND)


def status(code: int) -> ua.StatusCode:
    """0 is Good."""
    return ua.StatusCode(ua.UInt32(code))
