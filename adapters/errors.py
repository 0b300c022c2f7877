"""Four errors at the border: every error of a protocol library becomes one of these, and a test proves the map complete.

An adapter says what happened; the supervisor decides what to do about it (wait, retry, tell the user). So no adapter
sleeps before a retry, and no caller needs to know asyncua's, paho's or urllib3's vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.stage import Refusal


class AdapterError(Exception):
    """Base of the four. The message says what, where and why; `remedy` says what the user can do, in one sentence."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotConnected(AdapterError):
    """The peer cannot be reached or was lost, now. Trying again later is right; nothing is known of unanswered requests."""


class Throttled(AdapterError):
    """The peer asks for patience. Write the same again after `wait` seconds (monotonic, already bounded to 300)."""

    def __init__(self, message: str, wait: float, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.wait = wait


class Rejected(AdapterError):
    """The peer will never take these values; all others of the same write are stored."""

    def __init__(self, message: str, refused: Sequence[Refusal], remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.refused = refused


class Misconfigured(AdapterError):
    """Somebody must change something (address, credentials, certificate, database name): retrying alone will not help.

    The supervisor still tries again, slowly, because the change may happen at the other end.
    """
