"""A subscription outlives its session: taken up again, reconciled with another configuration, given up; several addresses.

The server is the scripted one, whose own record is the oracle: what it emitted, what it was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.errors import NotConnected
from adapters.opcua.certificate import own_certificate
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.publishing import IN_FLIGHT, MOST_IN_FLIGHT, Publisher
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.opened import opened
from tests.opcua.rows.bed import Bed, Taken, passing, value, within
from tests.opcua.scripted import Identity, Refuse, Swallow, Unsupported, Variable
from tests.opcua.scripted.codes import USER_ACCESS_DENIED


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        yield made


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def first_life(bed: Bed, registry: Registry) -> bytes:
    """Connected, a value read, its checkpoint durable, gone."""
    taken = await bed.begin(registry)
    await eventually(
        lambda: all(taken.values(s["name"]) for s in bed.signals if s["name"] != "ghost"), "first values"
    )
    await end(taken)
    assert taken.checkpoint is not None
    return taken.checkpoint


async def end(taken: Taken) -> None:
    taken.task.cancel()
    await asyncio.gather(taken.task, return_exceptions=True)


@pytest.mark.parametrize("way", ["session", "transfer"])
async def test_what_happened_between_two_sessions_arrives_once(
    bed: Bed, registry: Registry, way: str
) -> None:
    """U1: nothing missing, nothing twice, no gap, and the same subscription, by either way of taking it up."""
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    bed.server.policy.reactivate = way == "session"
    bed.emit("a", 25)
    taken = await bed.begin(registry, checkpoint)
    bed.emit("a", 5)
    await eventually(lambda: len(taken.values()) == 30, "all of them arrive")
    assert taken.values() == [float(n) for n in range(1, 31)]
    assert taken.gaps == []
    assert bed.server.record.count("CreateSubscription") == 1
    assert bed.server.record.count("TransferSubscriptions") == 1 + (way == "transfer")
    assert taken.session is not None
    assert taken.session.redelivers
    assert taken.session.facts["session"] == {"session": "session continued", "transfer": "transferred"}[way]


def secured(bed: Bed, tmp_path: Path) -> None:
    """The server signs, encrypts and knows one user; it takes every activation only with a signature over its last nonce."""
    own = own_certificate(str(tmp_path / "server"), None, None)
    bed.server.entrance.identity = Identity.load(own.certificate, own.key)
    bed.server.entrance.users = {"reader": "right"}
    bed.server.space.application_uri = own.application_uri
    shown = hashlib.sha256(own.certificate).hexdigest()
    bed.settings |= {"security": "sign_and_encrypt", "server_certificate_sha256": shown}
    bed.settings |= {"username": "reader", "password": "right"}


async def test_an_encrypted_session_is_revived_with_a_signature_over_the_last_nonce(
    bed: Bed, registry: Registry, tmp_path: Path
) -> None:
    """U1: ActivateSession on another secure channel, three times in a row, each with another nonce."""
    secured(bed, tmp_path)
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    nonces = set()
    for life in range(1, 4):
        bed.emit("a", 5)
        nonces |= {session.nonce for session in bed.server.machine.sessions.values()}
        taken = await bed.begin(registry, checkpoint)
        await eventually(lambda now=taken: len(now.values()) == 5, "all of them arrive")  # type: ignore[misc]
        assert taken.values() == [float(n) for n in range(5 * life - 4, 5 * life + 1)]
        assert taken.gaps == []
        assert taken.session is not None
        assert taken.session.facts["session"] == "session continued"
        await end(taken)
        assert taken.checkpoint is not None
        checkpoint = taken.checkpoint
    assert len(nonces) == 3
    assert bed.server.record.count("CreateSession") == bed.server.record.count("CreateSubscription") == 1
    assert bed.server.record.users == [("reader", b"right")] * 4


async def test_a_nonce_that_was_used_is_a_transfer_and_no_loss(
    bed: Bed, registry: Registry, tmp_path: Path
) -> None:
    """U1: killed between the revival and the next commit: the stored nonce is not the last one, the server says no."""
    secured(bed, tmp_path)
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    (session,) = bed.server.machine.sessions.values()
    session.nonce = b"another one, given to a life that was killed"
    bed.emit("a", 5)
    taken = await bed.begin(registry, checkpoint)
    await eventually(lambda: len(taken.values()) == 5, "all of them arrive")
    assert taken.values() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert taken.gaps == []
    assert taken.session is not None
    assert taken.session.facts["session"] == "transferred"
    assert bed.server.record.count("CreateSubscription") == 1


@pytest.mark.parametrize("anywhere", [True, False])
async def test_a_session_that_is_refused_and_still_there_is_asked_to_go(
    bed: Bed, registry: Registry, *, anywhere: bool
) -> None:
    """Its subscription is transferred first; where the server says no, it ends by itself, and nobody asks again."""
    bed.server.policy.reactivate, bed.server.policy.reactivate_refusal = False, USER_ACCESS_DENIED
    bed.server.policy.close_from_anywhere = anywhere
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    bed.emit("a", 5)
    taken = await bed.begin(registry, checkpoint)
    await eventually(lambda: len(taken.values()) == 5, "all of them arrive")
    assert taken.values() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert taken.gaps == []
    assert len(bed.server.machine.sessions) == (1 if anywhere else 2)
    assert bed.server.record.count("CloseSession") == 1
    bed.server.cut()
    await eventually(taken.task.done, "the session ends")


async def test_the_last_place_at_a_server_is_not_held_by_a_session_nobody_can_use(
    bed: Bed, registry: Registry
) -> None:
    """BadTooManySessions once, with words; then the place is free."""
    bed.server.policy.reactivate, bed.server.policy.reactivate_refusal = False, USER_ACCESS_DENIED
    bed.server.policy.close_from_anywhere, bed.server.policy.sessions = True, 1
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    bed.emit("a", 5)
    source = bed.source(registry)
    with pytest.raises(NotConnected, match="BadTooManySessions") as caught:
        async with source.session(checkpoint):
            pytest.fail("there was no place")
    assert "session_timeout" in (caught.value.remedy or "")
    taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source, checkpoint))
    bed.tasks.append(taken.task)
    await eventually(lambda: taken.values() == [1.0, 2.0, 3.0, 4.0, 5.0], "nothing is lost")
    assert taken.gaps == []


async def test_what_was_stored_and_not_acknowledged_is_not_taken_twice(bed: Bed, registry: Registry) -> None:
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    bed.server.scripts.append(
        refused := Refuse("Publish", code=0x800A0000)
    )  # acknowledgements get lost from here on
    bed.emit("a", 1)
    await eventually(lambda: len(taken.values()) == 2, "the next value")
    await end(taken)
    bed.server.scripts.remove(refused)
    again = await bed.begin(registry, taken.checkpoint)
    bed.emit("a", 1)
    await eventually(lambda: again.values() == [2.0], "only what is new")
    await eventually(lambda: not bed.server.subscriptions[0].kept, "the server may forget everything")


async def test_what_was_not_stored_comes_again(bed: Bed, registry: Registry) -> None:
    """U1: also when the wire broke between the server's answer and us, again and again."""
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    seen: list[float] = []
    for life in range(1, 4):
        taken = await bed.begin(registry, checkpoint, acking=False)
        bed.emit("a", 4)
        await eventually(lambda now=taken, n=4 * life: len(now.values()) == n, "values")  # type: ignore[misc]
        assert taken.values()[: len(seen)] == seen
        seen = taken.values()
        bed.server.cut()
        await eventually(taken.task.done, "the session ends")
    assert seen == [float(n) for n in range(1, 13)]


@pytest.mark.parametrize("lost", [USER_ACCESS_DENIED, "unsupported", "deleted", "restarted"])
async def test_a_refusal_is_a_new_subscription_and_a_gap(bed: Bed, registry: Registry, lost: Any) -> None:
    """U3: told from the newest value stored to the first of the new life."""
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    bed.server.policy.reactivate = False
    if lost == "unsupported":
        bed.server.scripts.append(Unsupported(["TransferSubscriptions", "Republish"]))
    elif lost == "deleted":
        bed.server.end_subscriptions()
    elif lost == "restarted":
        await bed.server.stop()
        await bed.server.start()
    else:
        bed.server.policy.transfer = lost
    bed.emit("a", 3)
    taken = await bed.begin(registry, checkpoint)
    await eventually(lambda: bool(taken.gaps), "the gap is told")
    assert [gap.reason for gap in taken.gaps] == ["collector_down"]
    assert taken.values() == [3.0]
    assert taken.session is not None
    assert taken.session.redelivers is (lost != "unsupported")


@pytest.mark.parametrize("reactivate", [True, False])
async def test_numbers_of_another_life_of_the_server_are_left_alone(
    bed: Bed, registry: Registry, reactivate: bool
) -> None:
    """U15: after a restart somebody else may have our session's and subscription's numbers."""
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    (subscription,) = bed.server.subscriptions
    bed.server.space.started += 10**9
    bed.server.policy.reactivate = reactivate
    source, taken = bed.source(registry), Taken(registry)
    if (
        reactivate
    ):  # it answers to our token: that is found out and left alone, and the next attempt begins anew
        await taken.run(source, checkpoint)
        assert "another client's" in str(taken.error)
        taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source, checkpoint))
    bed.tasks.append(taken.task)
    await eventually(lambda: bool(taken.gaps), "the gap is told")
    assert bed.server.record.transferred == []
    assert subscription in bed.server.subscriptions


async def test_another_configuration_keeps_what_stays(bed: Bed, registry: Registry) -> None:
    """What stays loses nothing, what is new is added, what is gone is deleted at the server, and no value changes its name."""
    for name in "abc":
        bed.variable(name, Variable(value=value(0)))
    signals = bed.signals
    bed.signals = [signals[0], signals[1]]
    checkpoint = await first_life(bed, registry)
    bed.signals = [signals[2], signals[1]]
    for name in "abab":
        bed.emit(name)
    taken = await bed.begin(registry, checkpoint)
    await eventually(
        lambda: taken.values("c") == [0.0] and taken.values("b") == [2.0, 4.0], "the new and the old"
    )
    bed.emit("c")
    bed.emit("b")
    await eventually(
        lambda: taken.values("b")[-1:] == [6.0] and taken.values("c")[-1:] == [5.0], "both go on"
    )
    assert taken.values("a") == []
    assert taken.gaps == []
    assert bed.server.record.count("CreateSubscription") == 1
    assert bed.server.record.count("DeleteMonitoredItems") == 1
    assert sorted(item.node for item in bed.server.subscriptions[0].items.values()) == ["b", "c"]
    await end(taken)
    more = await bed.begin(registry, taken.checkpoint)
    bed.emit("b")
    bed.emit("c")
    await eventually(lambda: more.values("b") == [7.0] and more.values("c") == [8.0], "and a third time")


async def test_another_user_does_not_take_the_session(bed: Bed, registry: Registry) -> None:
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    stored = Checkpoint.from_bytes(checkpoint)
    assert stored is not None
    assert stored.ticket is not None
    other = stored.ticket.text.replace(stored.ticket.who, "0" * len(stored.ticket.who))
    changed = checkpoint.decode().replace(stored.ticket.text, other).encode()
    before = bed.server.record.count("ActivateSession")
    taken = await bed.begin(registry, changed)
    await eventually(lambda: bool(taken.gaps), "the gap is told")
    assert bed.server.record.count("ActivateSession") == before + 1
    assert bed.server.record.count("CreateSession") == 2


@pytest.mark.parametrize("way", ["status", "fault", "silently"])
async def test_a_subscription_that_ended_is_renewed_on_the_same_session(
    bed: Bed, registry: Registry, way: str
) -> None:
    """U6, U7: with all items, with the gap, and without a new connection."""
    bed.clock = clock = FakeClock(SystemClock().now())
    bed.settings["keep_alive"] = "60s"  # the server is on its own time
    for name in "ab":
        bed.variable(name, Variable(value=value(0)))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values("b") == [0.0], "first values")
    bed.emit("a")
    await eventually(lambda: taken.values("a") == [0.0, 1.0], "the next value")
    if way == "fault":
        bed.server.machine.subscriptions.clear()
        bed.server.fault(0x80790000)  # BadNoSubscription
    else:
        bed.server.end_subscriptions(silently=way == "silently")
    bed.server.variables["a"].value = value(9, 9)
    if way == "silently":
        await passing(clock, lambda: bed.server.record.count("CreateSubscription") == 2, 150.0, 1.0)
    await eventually(lambda: taken.values("a")[-1:] == [9.0], "items are back")
    await eventually(lambda: [gap.reason for gap in taken.gaps] == ["subscription_lost"], "the gap is told")
    assert bed.server.record.opened == 1
    assert bed.server.record.count("CreateSession") == 1
    bed.emit("b")
    await eventually(lambda: taken.values("b")[-1:] == [2.0], "and it goes on")
    await end(taken)
    again = await bed.begin(registry, taken.checkpoint)
    bed.emit("b")
    await eventually(lambda: again.values("b") == [3.0], "the new one is taken up like any other")
    assert again.gaps == []


async def test_a_server_that_ends_every_subscription_loses_the_session(bed: Bed, registry: Registry) -> None:
    bed.clock = FakeClock(SystemClock().now())  # however slow the machine is, it all happens within a minute
    bed.settings["keep_alive"] = "600s"
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    told = bed.server.record.told
    for made in range(1, 5):
        await eventually(lambda n=made: len({one.subscription for one in told}) == n, "another one speaks")  # type: ignore[misc]
        await eventually(lambda: bed.server.waiting > 0, "it may say more")
        bed.server.end_subscriptions()
    await eventually(taken.task.done, "no endless renewing")
    assert "again and again" in str(taken.error)
    assert bed.server.record.count("CreateSubscription") == 4


@pytest.mark.parametrize("how", ["ResendData", "Read"])
async def test_after_a_loss_the_present_value_is_right_at_once(
    bed: Bed, registry: Registry, how: str
) -> None:
    """U8: the lost notification held the only change of `b` for hours."""
    for name in "ab":
        bed.variable(name, Variable(value=value(0)))
    if how == "Read":
        bed.server.scripts.append(Unsupported(["Call"]))
    bed.server.scripts.append(Refuse("Republish", code=0x807B0000))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values("b") == [0.0], "first values")
    bed.server.scripts.append(Swallow(1))
    bed.emit("b")
    bed.server.flush()
    bed.emit("a")
    await eventually(
        lambda: [gap.reason for gap in taken.gaps] == ["notifications_missing"], "the gap is told"
    )
    async with within(2.0):
        await eventually(lambda: taken.values("b")[-1:] == [1.0], "the present value")
    row = next(row for row in taken.rows if row.signal == "b" and row.value == 1.0)
    assert row.at == 1_700_000_000_000_000_100


async def test_the_last_acknowledgements_of_a_burst_do_not_wait_for_a_keep_alive(
    bed: Bed, registry: Registry
) -> None:
    bed.settings["keep_alive"] = "600s"
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry, acking=False)
    for number in range(2, 12):
        bed.emit("a")
        bed.server.flush()
        await eventually(lambda n=number: len(taken.values()) == n, "one by one")  # type: ignore[misc]
    taken.acking = True
    for delivery in taken.owed:
        await delivery.ack()
        await asyncio.sleep(0.01)  # a commit between two acknowledgements
    await eventually(lambda: sorted(bed.server.record.acknowledged) == list(range(1, 12)), "all are told")


async def test_a_source_that_is_no_longer_configured_leaves_nothing(bed: Bed, registry: Registry) -> None:
    bed.variable("a", Variable(value=value(0)))
    source = bed.source(registry)
    taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source))
    bed.tasks.append(taken.task)
    await eventually(lambda: taken.values() == [0.0] and taken.checkpoint is not None, "the first value")
    await end(taken)
    assert len(bed.server.subscriptions) == 1
    assert source.lingers
    await source.farewell()
    assert bed.server.subscriptions == []
    assert bed.server.machine.sessions == {}


async def test_a_server_that_proves_nothing_keeps_nothing(bed: Bed, registry: Registry) -> None:
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Unsupported(["TransferSubscriptions"]))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    assert taken.session is not None
    assert not taken.session.redelivers
    await end(taken)
    assert bed.server.subscriptions == []
    assert taken.checkpoint is not None
    assert b'"ticket":null' in taken.checkpoint


@pytest.mark.parametrize("started", [0, -11_644_473_600 * 10**9])
async def test_a_server_whose_clock_was_never_set_is_asked_for_nothing_of_before(
    bed: Bed, registry: Registry, started: int
) -> None:
    """U15: its start time comes again after a restart (1970, or no time at all), so it cannot tell its lives apart."""
    bed.server.space.started = started
    bed.variable("a", Variable(value=value(0)))
    checkpoint = await first_life(bed, registry)
    assert b'"ticket":null' in checkpoint
    assert bed.server.subscriptions == []
    bed.emit("a", 3)
    taken = await bed.begin(registry, checkpoint)
    await eventually(lambda: bool(taken.gaps), "the gap is told")
    assert [gap.reason for gap in taken.gaps] == ["collector_down"]
    assert taken.values() == [3.0]
    assert bed.server.record.transferred == []


async def test_the_next_address_when_one_fails_and_the_one_that_works_next_time(
    tmp_path: Path, bed: Bed
) -> None:
    other = Bed(tmp_path)
    await other.server.start()
    registry = Registry()
    for each in (bed, other):
        each.variable("a", Variable(value=value(0)))
    bed.settings["also"] = [other.server.url]
    await bed.server.leave()
    source = bed.source(registry)
    taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source))
    bed.tasks.append(taken.task)
    await eventually(lambda: taken.values() == [0.0], "values of the other server")
    await bed.server.start()
    await end(taken)
    again = Taken(registry)
    again.task = asyncio.get_running_loop().create_task(again.run(source, taken.checkpoint))
    bed.tasks.append(again.task)
    await eventually(lambda: again.session is not None, "connected again")
    assert again.session is not None
    assert again.session.facts["endpoint"] == other.server.url
    assert again.session.facts["session"] == "session continued"
    await end(again)
    await other.server.stop()
    third = Taken(registry)
    third.task = asyncio.get_running_loop().create_task(
        third.run(source, again.checkpoint or taken.checkpoint)
    )
    bed.tasks.append(third.task)
    await eventually(lambda: third.values() == [0.0], "values of the first server again")
    assert [gap.reason for gap in third.gaps] == ["connection_lost"], "another server is another subscription"


async def test_a_server_without_data_is_left_for_another(tmp_path: Path, bed: Bed) -> None:
    other = Bed(tmp_path)
    await other.server.start()
    registry = Registry()
    for each in (bed, other):
        each.variable("a", Variable(value=value(0)))
    bed.server.space.service_level, other.server.space.service_level = 1, 150
    bed.settings["also"] = [other.server.url]
    source = bed.source(registry)
    taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source))
    bed.tasks.append(taken.task)
    await eventually(lambda: taken.session is not None, "connected")
    assert taken.session is not None
    assert taken.session.facts["endpoint"] == other.server.url
    assert "degraded (service level 150)" in taken.session.facts["warning"]
    await end(taken)
    await other.server.stop()


async def test_a_level_that_drops_in_mid_session_is_told_and_left(tmp_path: Path, bed: Bed) -> None:
    """Degraded: a warning and nothing more. No data: to the other address, with the gap; back to none by itself."""
    other = Bed(tmp_path)
    await other.server.start()
    registry, clock = Registry(), FakeClock(SystemClock().now())
    bed.clock = clock
    bed.settings["keep_alive"] = other.settings["keep_alive"] = "600s"  # the servers are on their own time
    for each in (bed, other):
        each.variable("a", Variable(value=value(0)))
    bed.settings["also"] = [other.server.url]
    source = bed.source(registry)
    taken = Taken(registry)
    taken.task = asyncio.get_running_loop().create_task(taken.run(source))
    bed.tasks.append(taken.task)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    assert taken.session is not None
    assert "warning" not in taken.session.facts
    bed.server.space.service_level = 150
    facts = taken.session.facts
    await passing(clock, lambda: "degraded (service level 150)" in facts.get("warning", ""), 30.0, 1.0)
    assert not taken.task.done()
    bed.server.space.service_level = 255
    await passing(clock, lambda: "warning" not in facts, 30.0, 1.0)
    bed.server.space.service_level = 1
    await passing(clock, taken.task.done, 30.0, 1.0)
    assert isinstance(taken.error, NotConnected)
    assert "without data (service level 1); there is another address" in str(taken.error)
    again = Taken(registry)
    again.task = asyncio.get_running_loop().create_task(again.run(source, taken.checkpoint))
    bed.tasks.append(again.task)
    await eventually(lambda: again.values() == [0.0], "the first value of the other one")
    assert again.session is not None
    assert again.session.facts["endpoint"] == other.server.url
    assert [gap.reason for gap in again.gaps] == ["connection_lost"]
    await end(again)
    await other.server.stop()


async def test_a_level_that_drops_is_only_a_warning_where_there_is_no_other_address(bed: Bed) -> None:
    bed.clock = clock = FakeClock(SystemClock().now())
    bed.settings["keep_alive"] = "600s"  # the server is on its own time
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(Registry())
    await eventually(lambda: taken.values() == [0.0], "the first value")
    assert taken.session is not None
    facts = taken.session.facts
    bed.server.space.service_level = 1
    await passing(clock, lambda: "without data (service level 1)" in facts.get("warning", ""), 30.0, 1.0)
    bed.emit("a")
    await eventually(lambda: taken.values() == [0.0, 1.0], "the next value")
    assert bed.server.record.opened == 1
    await end(taken)


class Wire:
    """Where a publisher sends to: answers come when the test says."""

    url = "opc.tcp://wire"

    def __init__(self) -> None:
        self.sent: list[asyncio.Future[bytes]] = []

    def publish(self, subscription: int, acknowledge: Any) -> asyncio.Future[bytes]:
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]


class Moment(SystemClock):
    at = 0.0

    def monotonic(self) -> float:
        return self.at


def publisher(wire: Any, clock: Moment) -> Publisher:
    made = Publisher(wire, 10_000, clock, wake=lambda: None, fail=lambda _: None, ended=lambda _: None)
    made.round_trip = 0.1
    made.switch(1)
    return made


async def answered(wire: Wire, clock: Moment, took: float, number: int) -> None:
    """The oldest request is answered `took` seconds after it was sent."""
    clock.at += took
    future = next(future for future in wire.sent if not future.done())
    future.set_result(enc.publish_response(1, number, [(811, enc.data_change([]))]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_requests_in_flight_follow_the_round_trip_and_stay_below_the_cap() -> None:
    wire, clock = Wire(), Moment()
    made = publisher(wire, clock)
    assert len(wire.sent) == IN_FLIGHT
    for number in range(
        1, 50
    ):  # the server publishes every 20 ms over a line of 100 ms: requests come back at once
        await answered(wire, clock, 0.02, number)
    settled = made.target
    assert 0.1 / 0.02 < settled <= 12, "enough to bridge the round trip, and not many more"
    for number in range(50, 200):
        await answered(wire, clock, 0.02, number)
    assert made.target <= settled + 1
    for number in range(200, 3000):
        await answered(wire, clock, 0.0, number)
    assert made.target <= MOST_IN_FLIGHT
    assert sum(not future.done() for future in wire.sent) <= MOST_IN_FLIGHT
    made.stop()
