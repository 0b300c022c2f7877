"""The collector as a Sparkplug host that edges wait for: its STATE, said, taken back, and said again (3.0, 4.2.3, 5.3 and 6.4.27).

Opt-in (`primary_host: ID`), because it publishes, and because edges that wait for a host stop while it is away: then a collector that is
down stops data for everybody. An edge that keeps what happens meanwhile sends it as history afterwards, which is what it is good for.
One Primary is one connection: its will and its birth bear the same time, so that a will that comes late says nothing about the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from adapters.awake import patient
from adapters.mqtt.channel import Message
from adapters.mqtt.connection import Connection

STATE: Final = "spBv1.0/STATE/"
QOS: Final = 1
PATIENCE: Final = 1.0  # seconds that the broker has for its answer to the last message
_MS: Final = 1_000_000


class Will(NamedTuple):
    """What the broker says, retained, when this connection ends without a word."""

    topic: str
    payload: bytes


class Primary:
    """now: ns."""

    def __init__(self, host: str, now: Callable[[], int]) -> None:
        self.topic = STATE + host
        self._now, self._since = now, now() // _MS
        self._connection: Connection | None = None

    @property
    def will(self) -> Will:
        """tck-id-host-topic-phid-death-payload: offline, with the time of the CONNECT."""
        return Will(self.topic, _said(online=False, at=self._since))

    async def announce(self, connection: Connection) -> None:
        """After the topics of the nodes: subscribe our own STATE, then say that we are there."""
        await connection.subscribe([(self.topic, QOS)])
        self._connection = connection
        self._birth()

    def _birth(self) -> None:
        if self._connection is not None:
            self._connection.publish(self.topic, _said(online=True, at=self._since), QOS, retain=True)

    def heard(self, message: Message) -> None:
        """Whoever says that we are away is told at once that we are not, with the time of before."""
        try:
            said: Any = msgspec.json.decode(message.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if isinstance(said, dict) and said.get("online") is False:
            self._birth()

    async def retire(self) -> None:
        """An orderly end, before DISCONNECT, which makes the broker forget the will: offline, with the time of now.

        The broker's answer is waited for: who closes a socket on which something is still to come resets it, and a broker that
        meets this before it reads DISCONNECT speaks the will after all.
        """
        connection, self._connection = self._connection, None
        if connection is None or connection.lost is not None:
            return
        answered = asyncio.Event()
        connection.wire.on_publish = lambda *_: answered.set()
        connection.unsubscribe([self.topic])
        said = _said(online=False, at=max(self._now() // _MS, self._since))
        last = connection.publish(self.topic, said, QOS, retain=True)
        connection.resume()
        with contextlib.suppress(TimeoutError):
            async with patient(PATIENCE):
                while not (last.rc or last.is_published()):
                    answered.clear()
                    await answered.wait()


def _said(*, online: bool, at: int) -> bytes:
    return msgspec.json.encode({"online": online, "timestamp": at})
