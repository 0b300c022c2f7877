"""Servers that can or allow less than one would like: revised wishes, small calls, channels with a short life, few services."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from adapters.opcua.certificate import own_certificate
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua.rows.bed import LONG, Bed, passing, value
from tests.opcua.scripted import Connection, Identity, Refuse, Script, Slow, Unsupported, Variable, codes
from tests.opcua.scripted.codec.services import Asked
from tests.opcua.scripted.scripts import Verdict


async def test_u17_what_the_server_makes_of_wishes_is_used_and_told(bed: Bed) -> None:
    """U17: revised interval, sampling, queue and keep-alive: a warning where the queue is too small for what comes."""
    bed.server.policy.interval = 0.5
    bed.server.policy.keep_alive = 2.0
    bed.server.policy.sampling = 100.0
    bed.server.policy.queue = (1, 1)
    bed.variable("a", Variable(value=value(0)), every="10ms")
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        facts = line.facts
        assert facts["publishing_interval"] == "0.5 s (asked for 0.02 s)"
        assert facts["keep_alive"] == "2 s"
        assert "0.1 s instead of 0.01 s" in facts["revised"]
        assert "queue of 1 values" in facts["revised"]
        bed.emit()
        await line.until(lambda: line.values("a")[-1] == 1.0, "a value over the slower subscription")
        await line.stop()
        assert (await line.verdict()).clean
    warnings = [
        finding.message for finding in await bed.source(Registry()).probe() if finding.level == "warning"
    ]
    assert any("queue of 1 values" in words for words in warnings)
    assert any("every 0.5 s" in words for words in warnings)


@pytest.mark.parametrize("announced", [True, False])
async def test_u18_calls_are_as_small_as_the_server_wants(bed: Bed, announced: bool) -> None:
    """U18: ten operations per call, announced or found out by BadTooManyOperations: all items are created."""
    names = bed.variables(105)
    if announced:
        bed.server.space.limits |= {11705: 10, 11714: 10}
    else:
        bed.server.policy.limits = {"Read": 10, "CreateMonitoredItems": 10}
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == len(names), "every first value")
        for name in names:
            bed.emit(name)
        await line.until(lambda: len(line.rows) == 2 * len(names), "every second one")
        await line.stop()
        assert (await line.verdict()).clean
    created = [told.node for told in bed.server.record.told]
    assert sorted(created) == sorted(names * 2), "each item once"


async def test_u18_few_publish_requests_are_few(bed: Bed) -> None:
    """U18: BadTooManyPublishRequests is an answer and no loss: fewer from then on."""
    bed.server.policy.publish_limit = 1
    bed.variable("a", Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        for number in range(2, 30):
            bed.emit()
            await line.until(lambda n=number: len(line.rows) == n, "the next value")  # type: ignore[misc]
        await line.stop()
        assert (await line.verdict()).clean
        assert line.gaps == []
    assert bed.server.record.most_in_flight == 1
    assert bed.server.record.opened == 1


class Hesitant(Slow):
    """Every second renewal takes its time."""

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return super().verdict(connection, asked) if self.seen % 2 else None


@pytest.mark.parametrize("off", [0.0, -86_400.0, 86_400.0], ids=["on time", "late", "early"])
@pytest.mark.parametrize("secure", [False, True], ids=["none", "encrypted"])
async def test_u19_keys_are_renewed_without_a_break(
    still: Bed, clock: FakeClock, tmp_path: Path, *, secure: bool, off: float
) -> None:
    """U19: a lifetime of 10 s for half an hour (here: two minutes at most), old and new token side by side, slow answers: 0 reconnects.

    Also with a machine whose clock is a day off.
    """
    lifetime, times = 10.0, 240 if LONG else 4 if off else 12
    if secure:
        own = own_certificate(str(tmp_path / "server"), None, None)
        still.server.entrance.identity = Identity.load(own.certificate, own.key)
        still.server.space.application_uri = own.application_uri
        shown = hashlib.sha256(own.certificate).hexdigest()
        still.settings |= {"security": "sign_and_encrypt", "server_certificate_sha256": shown}
    still.server.policy.channel_lifetime = lifetime
    still.server.policy.clock_off = off
    still.server.scripts.append(Hesitant("OpenSecureChannel", passing=1 + secure, seconds=lifetime / 8))
    still.variable("a", Variable(value=value(0)))
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 1.0)
    connections = still.server.record.opened
    for number in range(1, times + 1):
        await passing(clock, lambda n=number: still.server.record.renewed == n, 0.76 * lifetime, 0.5)  # type: ignore[misc]
        for late in (0.0, lifetime / 8 + 0.1):
            clock.advance(late)
            still.emit()
            still.server.flush()
            seen = 1 + len(still.server.record.emitted)
            await passing(clock, lambda n=seen: len(taken.values()) == n, 0.3, 0.02)  # type: ignore[misc]
    assert taken.values() == [float(n) for n in range(1 + len(still.server.record.emitted))]
    assert not taken.task.done()
    assert taken.gaps == []
    assert still.server.record.opened == connections
    assert still.server.record.count("CreateSubscription") == 1


@pytest.mark.parametrize(
    "script",
    [
        Unsupported(
            [
                "Call",
                "TransferSubscriptions",
                "Republish",
                "Browse",
                "ModifySubscription",
                "SetPublishingMode",
            ]
        ),
        Refuse("Republish", code=codes.UNEXPECTED_ERROR),
    ],
    ids=["minimal", "faulty"],
)
async def test_u18_a_small_device_has_few_services(bed: Bed, script: Script) -> None:
    """U18: BadServiceUnsupported for everything but the bare minimum: values flow, and a restart is told as a gap."""
    bed.server.scripts.append(script)
    names = bed.variables(3)
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == len(names), "the first values")
        bed.server.cut()
        await eventually(lambda: bed.server.record.opened == 2, "it connects again")
        await line.until(lambda: line.state == "connected", "and works")
        for name in names:
            bed.emit(name)
        latest = {name: bed.server.variables[name].value.value.value for name in names}
        await line.until(lambda: all(line.values(name)[-1] == latest[name] for name in names), "values flow")
        await line.stop()
        assert (await line.verdict()).clean
