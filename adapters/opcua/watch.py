"""Who looks after a connection while it works: silence, the session's own time-out, the keys, and how the server feels."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from adapters.errors import NotConnected
from adapters.opcua.peer import Peer
from adapters.opcua.resumption import Memory
from adapters.opcua.stream import Stream

log = logging.getLogger("adapters.opcua")
SILENCE: Final = 2.5  # revised keep-alives without a word, after which the connection counts as lost
_DOUBT, _LAST_LOOK = 2.0, 2.4
_MISSES: Final = 3
_RENEW: Final = 0.75  # of the channel's lifetime (OPC 10000-4, 5.6.2)
HEALTHY, DEGRADED = (
    200,
    100,
)  # ServiceLevel (OPC 10000-4, 6.6.2.4.2): below the first not well, below the second leave


class Watch:
    """Its jobs run for ever and raise what ends the session. `facts` is told of warnings.

    level: the server's, as last looked at. leave_below: a level at which another address is better than this one.
    """

    def __init__(
        self,
        peer: Peer,
        stream: Stream,
        memory: Memory,
        facts: dict[str, str],
    ) -> None:
        self._name, self._settings, self._channel, self._desk = (
            peer.name,
            peer.settings,
            peer.channel,
            peer.desk,
        )
        self._stream, self._clock, self._facts = stream, peer.clock, facts
        self._memory = memory
        self.level = 255
        self.leave_below = 0

    async def keep_watch(self) -> None:
        """The watchdog, on the keep-alive that the server really promised.

        It looks twice, a moment apart, and asks the server something in between: if it was we who slept, what has arrived
        meanwhile gets its turn; if the server answers, only the subscription is dead.
        """
        while True:
            promised = self._stream.subscription.keep_alive
            await self._clock.sleep(max(_DOUBT * promised - self._silence(), promised / 20))
            if not self._silent(_DOUBT * promised):
                continue
            answers = await self._answers((_LAST_LOOK - _DOUBT) * promised)
            await self._clock.sleep(max(_LAST_LOOK * promised - self._silence(), 0.0))
            if self._silent(_LAST_LOOK * promised):
                words = f"not a word for {self._silence():.1f} s"
                if not answers:
                    raise NotConnected(f"{self._settings.url}: {words}")
                self._stream.ended(words)

    def _silence(self) -> float:
        return self._clock.monotonic() - self._stream.publisher.heard

    def _silent(self, seconds: float) -> bool:
        return self._stream.publisher.waiting and self._silence() >= seconds

    async def _answers(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._desk.condition()
        except TimeoutError:
            return False
        except UaError:
            return True  # a refusal is an answer
        return True

    async def stay_known(self) -> None:
        """Keep the session alive while nothing is asked for, and see how the server feels."""
        missed = 0
        while True:
            await self._clock.sleep(max(1.0, min(self._channel.session_timeout / 3, 15.0)))
            try:
                await self.look()
                missed = 0
            except TimeoutError:
                missed += 1
                if missed >= _MISSES:
                    raise

    async def look(self) -> None:
        """State and service level of the server, and how long an answer takes."""
        asked = self._clock.monotonic()
        state, self.level = await self._desk.condition()
        took, publisher = self._clock.monotonic() - asked, self._stream.publisher
        publisher.round_trip = min(took, publisher.round_trip * 1.1 or took)
        if self.level < self.leave_below:
            self._memory.avoid = self._settings.url
            raise NotConnected(f"{self._settings.url}: {_words(0, self.level)}; there is another address")
        warned = self._facts.pop("warning", None)
        words = _words(state, self.level)
        if words:
            self._facts["warning"] = words
            if warned is None:
                log.warning("%s: %s", self._name, words)

    async def renew_keys(self) -> None:
        while True:
            await self._clock.sleep(self._channel.lifetime * _RENEW)
            await self._channel.renew()


def _words(state: int, level: int) -> str:
    if state:
        name = ua.ServerState(state).name if state in set(ua.ServerState) else str(state)
        return f"the server is not running normally: {name}"
    if level < HEALTHY:
        kind = "in maintenance" if level == 0 else "without data" if level == 1 else "degraded"
        return f"the server says that it is {kind} (service level {level})"
    return ""
