"""Everything that is published for a while, kept in bounds: a few messages of each topic, and how many there were.

A guest at the broker: a client id of its own, no session left behind, QoS 0, nothing published. `#` does not reach `$SYS`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from adapters.discovery import Progress, Wishes
from adapters.errors import Misconfigured
from adapters.mqtt.channel import Message
from adapters.mqtt.connection import FAREWELL, Connection
from adapters.mqtt.opening import connect
from adapters.mqtt.settings import MqttSource

SAMPLES: Final = 12  # messages kept of a topic
LONGEST: Final = 65_536  # bytes of a message that is kept
MEMORY: Final = 32 << 20  # bytes of all that is kept
TURN: Final = 0.2  # s between two words about progress


@dataclass(slots=True)
class Topic:
    """One topic. samples: the first messages, those of a birth always. size: of the largest one."""

    name: str
    samples: list[bytes] = field(default_factory=list)
    live: int = 0
    retained: int = 0
    size: int = 0


@dataclass(slots=True)
class Heard:
    """What was heard. seconds: how long. beyond: messages of topics of which nothing was kept any more."""

    topics: dict[str, Topic] = field(default_factory=dict)
    seconds: float = 0.0
    beyond: int = 0
    unnamed: int = 0
    memory: int = 0
    words: dict[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        return sum(topic.live + topic.retained for topic in self.topics.values())

    def take(self, message: Message, most: int) -> None:
        try:
            name = message.topic.decode()
        except UnicodeDecodeError:
            self.unnamed += 1
            return
        topic = self.topics.get(name)
        if topic is None:
            if len(self.topics) >= most or self.memory + len(name) > MEMORY:
                self.beyond += 1
                return
            topic = self.topics[name] = Topic(name)
            self.memory += len(name)
        self._keep(topic, message)

    def _keep(self, topic: Topic, message: Message) -> None:
        if message.retain:
            topic.retained += 1
        else:
            topic.live += 1
        topic.size = max(topic.size, message.size)
        fits = message.size <= LONGEST and self.memory + message.size <= MEMORY
        if fits and len(topic.samples) < SAMPLES:
            topic.samples.append(message.payload)
            self.memory += message.size


def plainly(wishes: Wishes) -> Wishes:
    """--under as levels of topics: `hall/#` is what people of MQTT write for `hall`. Raises Misconfigured."""
    under = (
        wishes.under.removesuffix("#") if wishes.under.endswith("/#") or wishes.under == "#" else wishes.under
    )
    if set(under) & set("+#"):
        raise Misconfigured(
            f"--under {wishes.under} is not the beginning of topics",
            "Write their first levels without + and #, such as --under factory/hall-1; --select takes patterns (factory/*/temp).",
        )
    return replace(wishes, under=under)


def filters(wishes: Wishes) -> Sequence[str]:
    """What is asked for: everything, or what lies at and below --under. With a slash before it, the topics that begin with one too."""
    under = wishes.under.strip("/")
    asked = [under, f"{under}/#"] if under else ["#"]
    return [*asked, *(f"/{name}" for name in asked)] if under and wishes.under.startswith("/") else asked


async def listen(settings: MqttSource, wishes: Wishes, progress: Progress) -> Heard:
    """Raises NotConnected and Misconfigured."""
    guest = settings.model_copy(update={"session_expiry": 0.0})
    progress("connecting", 0, 0)
    connection = await connect(guest, f"shopfloor-look-{secrets.token_hex(4)}", time.time_ns, visiting=True)
    try:
        heard = Heard(words={"broker": settings.url, "protocol": f"MQTT {connection.version}", "security": connection.security})  # fmt: skip
        await _subscribe(connection, filters(wishes))
        await _hear(connection, heard, wishes, progress)
        return heard
    finally:
        connection.close()


async def _subscribe(connection: Connection, asked: Sequence[str]) -> None:
    codes = await connection.subscribe([(name, 0) for name in asked])
    if all(code >= FAREWELL for code in codes):
        raise Misconfigured(
            f"{connection.settings.url} does not let this user subscribe {' or '.join(asked)}",
            "Sign in as somebody who may (--username), or name a part of the topics that is allowed (--under factory/hall-1).",
        )


async def _hear(connection: Connection, heard: Heard, wishes: Wishes, progress: Progress) -> None:
    begun, loop = time.monotonic(), asyncio.get_running_loop()
    told = 0.0
    connection.received = connection.woken.set
    while connection.lost is None and (past := time.monotonic() - begun) < wishes.watch:
        heard.seconds = past
        if past - told >= TURN:
            told = past
            progress(f"{heard.messages} messages on {len(heard.topics)} topics", round(past), round(wishes.watch))  # fmt: skip
        connection.woken.clear()
        loop.call_later(min(TURN, wishes.watch - past), connection.woken.set)
        if not connection.wire.messages:
            await connection.woken.wait()
        else:
            await asyncio.sleep(0)
        for _ in range(len(connection.wire.messages)):  # all: one turn of the loop reads no more than a chunk
            heard.take(connection.wire.messages.popleft(), wishes.nodes)
    heard.seconds = time.monotonic() - begun
    if connection.lost is not None and not heard.topics:
        raise connection.lost
    if connection.lost is not None:
        heard.words["ended"] = f"after {heard.seconds:.0f} s: {connection.lost}"
