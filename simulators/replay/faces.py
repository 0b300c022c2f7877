"""How a recording is spoken: lines as they are, or a JSON payload per value, over MQTT; nodes made from its signals over OPC UA.

The truth gets a row exactly when a value was handed over, as with simulated machines. Times on these wires are whole
microseconds; a recorded line keeps all its digits.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec

from simulators.faces.broker import Address, OwnBroker, own_broker
from simulators.faces.mqtt import Message, Publisher, open_publisher
from simulators.recording.rows import Row
from simulators.replay.event import Event
from simulators.replay.tape import Signal, Tape, spoken
from simulators.truth import Truth
from simulators.verify.verdict import time_words

MICROSECOND: Final = 1000
WAITING: Final = 1000  # messages in front of the broker before the recording is stopped for it
PAUSE_S: Final = 0.01
CODES: Final = {"good": 0x00000000, "uncertain": 0x40000000, "bad": 0x80000000}


class Face(Protocol):
    """Speaks the events of a recording, `shift` ns later than they were recorded."""

    async def emit(self, event: Event, shift: int) -> None:
        """Hand one event over."""

    async def drain(self, seconds: float) -> None:
        """Wait until the readers have what was emitted, at most so long."""

    def report(self) -> Mapping[str, object]:
        """What became of it besides."""


class MqttReplay:
    """A recording as messages. `topics` are those of `Segments`; lines go to shdr/<machine>."""

    def __init__(
        self,
        publisher: Publisher,
        own: OwnBroker | None,
        tape: Tape,
        topics: Mapping[Signal, str],
        lines: bool,
    ) -> None:
        self._publisher, self._own, self._tape = publisher, own, tape
        self._topics, self._lines = topics, lines

    async def emit(self, event: Event, shift: int) -> None:
        while self._publisher.pending > WAITING:  # noqa: ASYNC110 - the publisher has an event for empty only
            await asyncio.sleep(PAUSE_S)
        if self._lines and event.raw is not None:
            self._publisher.publish(self._line(event, event.raw, shift))
            return
        for row in event.rows:
            self._publisher.publish(self._value(row, shift))

    def _line(self, event: Event, raw: bytes, shift: int) -> Message:
        values = {row.signal: None if row.value is None else str(row.value) for row in event.rows}
        if event.timed and shift:
            raw = time_words(event.t + shift).encode() + raw[raw.index(b"|") :]
        t = event.t + shift if event.timed else None
        return Message(f"shdr/{self._tape.machine}", raw, self._tape.machine, t, values)

    def _value(self, row: Row, shift: int) -> Message:
        t = (row.t + shift) // MICROSECOND
        kind = self._tape.signals[row.machine, row.signal]
        value = spoken(row.value, kind) if row.quality == "good" else None
        payload = msgspec.json.encode({"ts": t, "value": value})
        topic = self._topics[row.machine, row.signal]
        return Message(topic, payload, row.machine, t * MICROSECOND, {row.signal: value})

    async def drain(self, seconds: float) -> None:
        """Wait until the broker has acknowledged everything."""
        try:
            async with asyncio.timeout(self._publisher.patience(seconds)):
                await self._publisher.idle.wait()
        except TimeoutError:
            return

    def report(self) -> Mapping[str, object]:
        """As `run` says it."""
        said = {"unconfirmed": self._publisher.unconfirmed(), "dropped": dict(self._publisher.dropped)}
        return said if self._own is None else {**said, "undelivered": self._own.undelivered}


def topics(tape: Tape) -> dict[Signal, str]:
    """A topic per signal: its name, without what means something in topics; two names that become one are numbered."""
    found: dict[Signal, str] = {}
    for machine, signal in tape.signals:
        topic = wanted = f"replay/{machine}/{re.sub(r'[^A-Za-z0-9_.@*-]', '_', signal)}"
        number = 1
        while topic in found.values():
            number += 1
            topic = f"{wanted}_{number}"
        found[machine, signal] = topic
    return found


@asynccontextmanager
async def open_mqtt(
    tape: Tape, truth: Truth, broker: Address | None, host: str, port: int, *, lines: bool
) -> AsyncIterator[tuple[Face, str]]:
    """Connect to the broker, or run one."""
    async with AsyncExitStack() as stack:
        own = None if broker else await stack.enter_async_context(own_broker(host, port))
        address = broker or (own.address if own else Address(host, port))
        client_id = f"shopfloor-replay-{uuid4().hex[:12]}"
        publisher = await stack.enter_async_context(open_publisher(address, truth, client_id))
        yield MqttReplay(publisher, own, tape, topics(tape), lines), address.url
        if own is not None:
            await own.drain(3.0)


class OpcUaReplay:
    """A recording as variables. What repeats the value before it is no change: no server would report it."""

    def __init__(self, server: Any, nodes: Mapping[Signal, Any], tape: Tape, truth: Truth) -> None:
        self._server, self._nodes, self._tape, self._truth = server, nodes, tape, truth
        self._last: dict[Signal, tuple[Any, str]] = {}

    async def emit(self, event: Event, shift: int) -> None:
        for row in event.rows:
            signal = row.machine, row.signal
            value = spoken(row.value, self._tape.signals[signal])
            if self._last.get(signal) != (value, row.quality):
                self._last[signal] = value, row.quality
                await self._write(signal, value, row.quality, (row.t + shift) // MICROSECOND)

    async def _write(self, signal: Signal, value: Any, quality: str, t_us: int) -> None:
        from simulators.replay.nodes import data_value

        data = data_value(value, self._tape.signals[signal], CODES[quality], t_us)
        await self._server.write_attribute_value(self._nodes[signal], data)
        machine, name = signal
        said = {"kind": "value", "machine": machine, "signal": name, "t": t_us * MICROSECOND, "value": value}
        self._truth.rows([said if quality == "good" else {**said, "quality": quality}])
        self._truth.emitted[machine] += 1

    async def drain(self, seconds: float) -> None:
        """Wait until every subscription has published all and its client has acknowledged all."""
        from simulators.faces.opcua_server import drained

        await drained(self._server, seconds)

    def report(self) -> Mapping[str, object]:
        """All that was set was said."""
        return {}


@asynccontextmanager
async def open_opcua(tape: Tape, truth: Truth, host: str, port: int) -> AsyncIterator[tuple[Face, str]]:
    """Serve the recording's signals; none has a value before its first one is played."""
    from simulators.faces.opcua_server import add_nodes, prepared, serving
    from simulators.replay.nodes import NAMESPACE, first_values, node_ids, nodes

    server, index = await prepared("replay", f"Recording {tape.path.name}", NAMESPACE, host, port)
    await add_nodes(server, nodes(tape, index))
    found = node_ids(tape, index)
    await first_values(server, found)
    async with serving(server, "replay", host, port) as url:
        yield OpcUaReplay(server, found, tape, truth), url
