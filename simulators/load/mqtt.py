"""A publisher for load: JSON payloads at a fixed rate by the clock, QoS 1 with a window, or QoS 0.

No MQTT library: a client that makes an object per message would be the limit of what is measured. When the broker does
not keep up, packets wait here and go out late; none is left out.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal, cast

from simulators.broker.packets import GOODBYE
from simulators.clock import wall_ns
from simulators.errors import SimulatorError
from simulators.faces.broker import Address, parse
from simulators.load.edges import Edges
from simulators.load.pace import paced, settled
from simulators.load.packets import LAST_ID, Round, Rounds, acknowledged, connect
from simulators.load.series import Series
from simulators.runner import say, stop_signals

SLICES = 10  # turns per round: a rate is a stream, not a burst every tick
CONNECTED = b"\x20\x02\x00\x00"  # CONNACK, accepted (3.2)
ANSWER = 60.0  # s


@dataclass(frozen=True, slots=True)
class Publishing:
    """What to send. rate: messages per second, a whole multiple of the number of topics. window: unacknowledged, at most.

    values: in each message. Sparkplug: prefix is the group id, and QoS is 0 as the standard asks.
    """

    topics: int = 1000
    rate: int = 10_000
    prefix: str = "load/m1"
    qos: int = 1
    window: int = 5000
    form: Literal["json", "sparkplug"] = "json"
    values: int = 1

    def rounds(self, start_ns: int) -> Rounds:
        """The packets, from the first on."""
        series = self.series(start_ns)
        if self.form == "sparkplug":
            return Edges(series, self.prefix, self.values)
        return Round(series, self.prefix, self.qos, self.values)

    def series(self, start_ns: int = 0) -> Series:
        if self.rate % self.topics:
            raise SimulatorError(f"--rate {self.rate} is no whole multiple of --topics {self.topics}.")
        if not 1 <= self.window < LAST_ID:
            raise SimulatorError(
                f"--window {self.window}: between 1 and {LAST_ID - 1}, as packet ids have 16 bits."
            )
        if self.form == "sparkplug" and self.qos:
            raise SimulatorError("Sparkplug data have QoS 0: --qos 0.")
        return Series(self.topics * self.values, self.rate // self.topics, start_ns)


class Publisher(asyncio.Protocol):
    """One connection. emitted: due by the clock; sent: written; acknowledged: with PUBACK (QoS 1)."""

    def __init__(self, what: Publishing) -> None:
        self.what = what
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._round: Rounds | None = None
        self._tick, self._packets = -1, memoryview(b"")
        self.emitted = self.sent = self.acknowledged = 0
        self._congested = False
        self.connected, self.moved, self.lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(connect(f"load-{time.time_ns():x}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        self.moved.set()

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self._flush()
        self.moved.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        whole = len(self._received) & ~3  # every packet that can come has four bytes
        taken, self._received = self._received[:whole], self._received[whole:]
        try:
            self._take(taken)
        except ValueError:
            self.close()

    def _take(self, taken: bytes) -> None:
        if not self.connected.is_set() and taken:
            if taken[:4] != CONNECTED:
                raise ValueError("refused")
            self.connected.set()
            taken = taken[4:]
        self.acknowledged += acknowledged(taken, self.acknowledged) if taken else 0
        self._flush()
        self.moved.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.write(GOODBYE)
            self._transport.close()

    def begin(self, start_ns: int) -> None:
        """Fix the time of the first round (ns since the epoch), and send what comes before it."""
        self._round = self.what.rounds(start_ns)
        if self._transport is not None:
            self._transport.write(self._round.opening())

    def emit(self, messages: int) -> None:
        """So many more messages are due."""
        self.emitted += messages
        self._flush()

    @property
    def settled(self) -> bool:
        done = self.acknowledged if self.what.qos else self.sent
        return done == self.emitted or self.lost.is_set()

    def _flush(self) -> None:
        """Send what is due, as far as the window and the socket allow."""
        while self._transport is not None and not self._congested:
            most = self.what.window - (self.sent - self.acknowledged) if self.what.qos else self.emitted
            count = min(self.emitted - self.sent, most)
            if count <= 0 or self._round is None:
                break
            self._send(count, self._round)

    def _send(self, count: int, messages: Rounds) -> None:
        tick, first = divmod(self.sent, self.what.topics)
        if tick != self._tick:
            self._tick, self._packets = tick, messages.packets(tick, self.sent)
        last = min(first + count, self.what.topics)
        if self._transport is not None:
            self._transport.write(bytes(self._packets[first * messages.size : last * messages.size]))
        self.sent += last - first


@dataclass(frozen=True, slots=True)
class Run:
    """seconds: of data. settle: s before the first message. drain: s for the last PUBACKs. stay: end when told to."""

    seconds: float = 15.0
    settle: float = 0.5
    drain: float = 10.0
    stay: bool = False


async def run(broker: str, what: Publishing, how: Run) -> int:
    """Connect, publish, wait for the last PUBACKs, report."""
    what.series()
    address, stop = parse(broker), asyncio.Event()
    with stop_signals(stop):
        publisher = await open_publisher(address, what)
        say({"event": "ready", "broker": broker, "prefix": what.prefix, "topics": what.topics})
        await publish(publisher, what, how.seconds, how.settle, stop)
        await settled(lambda: publisher.settled, publisher.moved, how.drain, stop)
        cut = publisher.lost.is_set()
        publisher.close()
        await settled(publisher.lost.is_set, publisher.moved, how.drain, asyncio.Event())  # all is written
        say({"event": "finished", **report(publisher)})
        if how.stay and not cut:
            await stop.wait()
    if cut:
        raise SimulatorError(f"{broker} closed the connection.")
    return 0


async def open_publisher(address: Address, what: Publishing) -> Publisher:
    """A publisher that the broker has accepted."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWER):
            _, publisher = await loop.create_connection(lambda: Publisher(what), *address)
            await publisher.connected.wait()
    except (OSError, TimeoutError) as error:
        raise SimulatorError(
            f"{address.url} does not answer ({error or 'time-out'}). Is the broker running?"
        ) from error
    return publisher


async def publish(
    publisher: Publisher, what: Publishing, seconds: float, settle: float, stop: asyncio.Event
) -> None:
    """All rounds, in slices, by the clock; says when the first one is, and how many there will be."""
    series = what.series()
    ticks = max(1, round(seconds * series.hz))
    begin, start_ns = time.monotonic() + settle, wall_ns() + round(settle * 1000) * 1_000_000
    publisher.begin(start_ns)
    say({"event": "emitting", "start_ns": start_ns, "ticks": ticks, "settle": settle})
    slices = min(SLICES, what.topics)
    edges = [what.topics * part // slices for part in range(slices + 1)]

    def turn(number: int) -> None:
        part = number % slices
        publisher.emit(edges[part + 1] - edges[part])

    await paced(ticks * slices, 1 / (series.hz * slices), begin, stop, turn)


def report(publisher: Publisher) -> dict[str, int]:
    """Since the start: messages, values that were written, and the processor time of this process in ms."""
    return {
        "emitted": publisher.emitted,
        "sent": publisher.sent,
        "acknowledged": publisher.acknowledged,
        "values": publisher.sent * publisher.what.values,
        "cpu_ms": round(time.process_time() * 1000),
    }
