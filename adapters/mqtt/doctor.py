"""`collector doctor` for an MQTT source: name, port, then what `check --online` asks for, step by step, and the clocks of payloads.

A guest under a name of its own: the collector's session and what waits in it stay untouched, and the broker forgets the guest at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from adapters.base import Finding
from adapters.clock import Clock
from adapters.mqtt.probe import look_around
from adapters.mqtt.settings import MqttSource
from adapters.reach import reach
from adapters.settings import Reading


async def examine(
    source: str, settings: MqttSource, client_id: str, readings: Sequence[Reading], clock: Clock
) -> AsyncIterator[Finding]:
    """As adapters.base.Doctor has it."""
    async for finding in reach(settings.host, settings.port):
        yield finding
        if finding.level == "error":
            return
    for finding in await look_around(source, settings, client_id, readings, clock):
        topic = finding.where.partition(": ")[2]
        step = "clock" if topic == "clock" else "topics" if topic else "broker"
        yield Finding(
            finding.level,
            step,
            f"{topic}: {finding.message}" if step == "topics" else finding.message,
            finding.hint,
        )
