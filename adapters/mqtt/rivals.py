"""Two clients with one client id throw each other out for ever: found, told, and slowed down.

A broker of MQTT 5 should say so (reason 0x8E); mosquitto 2.0 and every broker of 3.1.1 just close the first connection. So it is told
by its shape: the broker accepts us at once after it closed a connection, and closes this one too, in good order and without
a reason, within SHORT seconds; and all of that once more. A broker that restarts does not accept at once, and a broken link ends
with an error instead of an orderly end. The end is then Misconfigured, which the supervisor tries again only every 15 s: less
than one reconnection in 10 s, also in a fight, because a fight slower than SHORT is slow by itself. As long as the fight lasts,
each further throw is enough. (Once more, because a broker that crashes twice in seconds looks the same; it should be back at once.)
"""

from __future__ import annotations

from adapters.clock import Clock
from adapters.errors import AdapterError, Misconfigured, NotConnected

SHORT = 10.0  # seconds: a life that ends sooner is suspicious
STRIKES = 2  # suspicious ends in a row until it is told


class HungUp(NotConnected):
    """The broker closed a connection that it had accepted, in good order and without a reason."""


class Rivals:
    """What a source remembers of how its connections began and ended, over all its sessions."""

    def __init__(self, client_id: str, clock: Clock) -> None:
        self._client_id, self._clock = client_id, clock
        self._ended: float | None = None
        self._begun = 0.0
        self._at_once = False
        self._strikes = 0

    def unreachable(self) -> None:
        """An attempt failed: whatever was before, nobody took the connection over."""
        self._ended, self._strikes = None, 0

    def accepted(self) -> None:
        self._begun = self._clock.monotonic()
        self._at_once = self._ended is not None and self._begun - self._ended < 2 * SHORT

    def judge(self, error: AdapterError) -> AdapterError:
        """The end of a connection, or what must be behind it."""
        self._ended = self._clock.monotonic()
        if not isinstance(error, HungUp):  # a broken link proves nothing, one way or the other
            return error
        lasted = self._ended - self._begun
        self._strikes = self._strikes + 1 if self._at_once and lasted < SHORT else 0
        if self._strikes < STRIKES:
            return error
        return Misconfigured(
            f"{error} It closed three connections in a row that it had accepted, this one after {lasted:.1f} s: "
            f"another client probably uses the client id '{self._client_id}' too",
            "Give every collector at a broker its own client_id; see the broker's log for who connects.",
        )
