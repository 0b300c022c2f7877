"""Places where a value could be dropped without a word, a subscription given away that was still ours, or a loss told that was none."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.errors import Misconfigured, NotConnected
from adapters.opcua.sequence import MOST_REPUBLISHED, Anew
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.rig import eventually, leap
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue
from tests.opcua.opened import opened
from tests.opcua.rows.bed import REQUEST_TIMEOUT, START, Bed, Hurried, Taken, passing, value
from tests.opcua.scripted import (
    CutAt,
    Ignore,
    Notice,
    Refuse,
    Slow,
    Subscription,
    Swallow,
    Unsupported,
    Variable,
)
from tests.opcua.scripted.codes import USER_ACCESS_DENIED
from tests.opcua.scripted.events import EVENTS
from tests.opcua.scripted.subscription import DATA_CHANGE
from tests.opcua.settling import settled
from tests.opcua.test_resumption import end

UNKNOWN, OVERFLOW, TOO_BUSY, INTERNAL_ERROR = 0x80340000, 0x480, 0x80EE0000, 0x80020000


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        yield made


@pytest.fixture
async def hurried(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path, Hurried(20))):
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(SystemClock().now())


@pytest.fixture
async def still(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path, clock, clock)):
        yield made


@pytest.fixture
def registry() -> Registry:
    return Registry()


def pair(first: float, tick: int = 0, status: int | None = None) -> DataValue:
    """An array of two."""
    return DataValue(Array(11, [first, first + 1]), status, enc.ticks(START + 100 * tick))


def reason(taken: Taken) -> list[str]:
    return [gap.reason for gap in taken.gaps]


@pytest.mark.parametrize(
    ("way", "late"),
    [
        ("session", "ActivateSession"),
        ("session", "Read"),
        ("session", "Republish"),
        ("transfer", "TransferSubscriptions"),
        ("transfer", "Republish"),
    ],
)
async def test_u4_an_attempt_that_ends_in_between_takes_nothing_along(bed: Bed, way: str, late: str) -> None:
    """U4: an answer that comes too late while a subscription is taken up costs an attempt, and not the subscription."""
    bed.variable("a", Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        await eventually(lambda: not bed.server.subscriptions[0].kept, "acknowledged")
        bed.server.policy.reactivate = way == "session"
        bed.server.scripts.append(Slow(late, times=1, seconds=2 * REQUEST_TIMEOUT))
        connections = bed.server.record.opened
        bed.server.cut()
        bed.emit("a", 25)
        await eventually(lambda: bed.server.owing == 1, "it is asked")
        await settled()
        leap(REQUEST_TIMEOUT)
        await eventually(lambda: bed.server.record.opened >= connections + 2, "another attempt")
        leap(REQUEST_TIMEOUT)  # now comes what the first one was to get
        await line.until(lambda: line.values("a") == [float(n) for n in range(26)], "all of them")
        assert line.gaps == []
    assert bed.server.record.count("CreateSubscription") == 1


async def test_u10_a_server_that_begins_to_count_again_is_not_taken_for_one_that_repeats(
    bed: Bed, registry: Registry
) -> None:
    """U10: all that it says has numbers that we have had; three of them, and there is a new subscription, with the gap."""
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    for number in range(1, 6):
        await eventually(lambda n=number: len(taken.values()) == n, "one by one")  # type: ignore[misc]
        bed.emit("a")
    await eventually(lambda: len(taken.values()) == 6, "six notifications")
    bed.server.subscriptions[0].sequence = 1
    for number in (1, 2, 3):
        bed.emit("a")
        await eventually(lambda n=number: bed.server.record.told[-1].sequence == n, "said")  # type: ignore[misc]
    await eventually(lambda: taken.values()[6:] == [8.0], "the present value")
    (gap,) = taken.gaps
    assert (gap.reason, gap.begins, gap.ends) == ("subscription_lost", START + 500, START + 800)
    assert "numbers its notifications anew" in gap.detail
    bed.emit("a")
    await eventually(lambda: taken.values()[6:] == [8.0, 9.0], "and it goes on")
    assert bed.server.record.opened == 1


def test_what_was_published_before_is_a_duplicate_however_often_it_comes() -> None:
    anew = Anew()
    anew.taken(published=500)
    assert not any(anew.duplicate(number, published=400 + number) for number in range(1, 100))
    assert [anew.duplicate(number, 600) for number in (7, 7, 9, 10, 11)] == [False] * 4 + [True]
    anew.taken(published=700)
    assert not any(anew.duplicate(number, 800) for number in (12, 13)), "what comes in its turn ends the run"
    assert [anew.duplicate(n, 0) for n in range(20, 20 + MOST_REPUBLISHED)].count(True) == 1


async def test_u10_a_notification_with_number_0_is_read(bed: Bed, registry: Registry) -> None:
    """U10: there should be none; what is in it is a value all the same, and it does not count as unacknowledged for ever."""
    bed.settings["unacknowledged"] = 10
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    for number in range(1, 20):
        notice = Notice(0, [(DATA_CHANGE, enc.data_change([(0, value(number, number))]))])
        bed.server.say(notice)
        await eventually(lambda n=number: len(taken.values()) == n + 1, "read")  # type: ignore[misc]
    bed.emit("a")
    await eventually(lambda: len(taken.values()) == 21, "and the numbered ones go on")
    assert taken.gaps == []


def beside(bed: Bed) -> Subscription:
    """Another subscription on the session, as one that a broken connection left behind half made."""
    (session,) = bed.server.machine.sessions.values()
    number = bed.server.machine.next_id()
    made = Subscription(number, 0.02, 0.02, 600.0, 100, True, session.id)
    bed.server.machine.subscriptions[number] = made
    return made


async def test_a_subscription_that_nobody_reads_is_deleted(bed: Bed, registry: Registry) -> None:
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    other = beside(bed)
    await eventually(lambda: other not in bed.server.subscriptions, "it takes no requests any more")
    bed.emit("a")
    await eventually(lambda: taken.values() == [0.0, 1.0], "ours goes on")
    assert taken.gaps == []
    assert bed.server.record.count("DeleteSubscriptions") == 1


async def speaks(bed: Bed) -> None:
    """Requests come back and are sent again."""
    seen = bed.server.record.count("Publish")
    await eventually(lambda: bed.server.record.count("Publish") > seen + 3, "somebody speaks")


async def test_u7_another_subscription_that_speaks_hides_no_silence(bed: Bed, registry: Registry) -> None:
    """U7: the one that is read is dead, another one of the session speaks fifty times a second and does not go."""
    bed.clock = clock = FakeClock(SystemClock().now())
    bed.settings["keep_alive"] = "60s"  # the server is on its own time
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Refuse("DeleteSubscriptions", times=1))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0], "the first value")
    beside(bed)
    bed.server.subscriptions[0].silent = True
    for _ in range(12):
        await speaks(bed)
        clock.advance(10.0)
    await passing(clock, lambda: bed.server.record.count("CreateSubscription") == 2, 30.0, 1.0)
    await eventually(lambda: reason(taken) == ["subscription_lost"], "noticed")
    bed.emit("a")
    await eventually(lambda: taken.values()[-1:] == [1.0], "and it goes on")


async def test_u12_a_queue_of_what_is_taken_apart_overflows(bed: Bed, registry: Registry) -> None:
    """U12: an array whose elements are signals is one queue at the server, and its loss is told like any other."""
    bed.variable("a", Variable(value=pair(1.0)), array="elements")
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values("a[1]") == [2.0], "the first values")
    bed.server.emit("a", pair(3.0, 9, OVERFLOW))
    await eventually(lambda: taken.values("a[1]") == [2.0, 4.0], "the next")
    (gap,) = taken.gaps
    assert (gap.reason, gap.machines) == ("server_queue_overflow", ("m",))
    assert (gap.begins, gap.ends) == (START, START + 900)


async def test_u5_a_node_whose_value_is_taken_apart_vanishes_and_returns(hurried: Bed) -> None:
    """U5: the item that the server keeps is dead, so it is made anew; what came meanwhile is told."""
    hurried.variable("a", Variable(value=pair(1.0)), array="elements")
    async with hurried.line() as line:
        await line.until(lambda: line.values("a[0]") == [1.0], "the first values")
        (item,) = hurried.server.subscriptions[0].items.values()
        hurried.server.variables["a"].known = False
        hurried.server.emit("a", DataValue(None, UNKNOWN))
        item.node = "nobody"
        await line.until(lambda: any(row.quality == UNKNOWN for row in line.rows), "told as unknown")
        asked = hurried.server.record.count("Read")
        await line.until(lambda: hurried.server.record.count("Read") > asked + 1, "tried in vain")
        hurried.server.variables["a"].known = True
        hurried.server.emit("a", pair(5.0, 5))
        await line.until(lambda: line.values("a[0]") == [1.0, 5.0], "it is back")
        await line.until(lambda: [gap.reason for gap in line.gaps] == ["node_unknown"], "the gap is told")
        assert (line.gaps[0].begins, line.gaps[0].ends) == (START, START + 500)


async def test_u5_a_value_and_the_word_that_its_node_is_gone_in_one_notification(hurried: Bed) -> None:
    """U5: the value came before: it is no sign of a return."""
    hurried.variable("a", Variable(value=value(0)))
    async with hurried.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        (item,) = hurried.server.subscriptions[0].items.values()
        hurried.server.variables["a"].known = False
        hurried.emit("a")
        hurried.server.emit("a", DataValue(None, UNKNOWN))
        item.node = "nobody"
        hurried.server.subscriptions[0].order.extend([item, item])
        await line.until(lambda: any(row.quality == UNKNOWN for row in line.rows), "told as unknown")
        hurried.server.variables["a"].known = True
        hurried.server.variables["a"].value = value(9, 9)
        await line.until(lambda: line.values("a") == [0.0, 1.0, 9.0], "it is back")


async def test_events_beside_polled_signals_tell_what_was_missed(bed: Bed, registry: Registry) -> None:
    """No value comes by subscription, and no event tells how far we have come: the readings do."""
    bed.variable("a", Variable(value=value(0)), mode="poll")

    def source() -> OpcUaReader:
        read = OpcUaRead.model_validate({"source": "plc", "events": [{}], "signals": bed.signals})
        wishes = {"type": "opcua", "url": bed.server.url, "security": "none", **bed.settings}
        readings = (Reading(machine="m", tags={}, read=read),)
        return OpcUaReader(
            "plc", OpcUaSource.model_validate(wishes), readings, Bench(registry, SystemClock())
        )

    async def living(resume: bytes | None = None) -> Taken:
        taken = Taken(registry)
        taken.task = asyncio.get_running_loop().create_task(taken.run(source(), resume))
        bed.tasks.append(taken.task)
        return taken

    first = await living()
    await eventually(lambda: first.values() == [0.0] and first.checkpoint is not None, "the first value")
    await end(first)
    await bed.server.stop()
    await bed.server.start()
    bed.emit("a", 5)
    second = await living(first.checkpoint)
    await eventually(lambda: second.values() == [5.0], "the present value")
    assert [(gap.reason, gap.begins, gap.ends) for gap in second.gaps] == [
        ("collector_down", START, START + 500)
    ]


async def test_what_was_acknowledged_is_no_loss_even_where_nothing_was_in_it(
    bed: Bed, registry: Registry
) -> None:
    """A notification without anything to store (such as: the model has changed) as the last word before a stop."""
    bed.variable("a", Variable(value=value(0)))
    taken = await bed.begin(registry)
    await eventually(lambda: 1 in bed.server.record.acknowledged, "the first value")
    bed.server.notify(EVENTS, struct.pack("<i", 0))
    await eventually(lambda: 2 in bed.server.record.acknowledged, "the second word")
    await end(taken)
    again = await bed.begin(registry, taken.checkpoint)
    bed.emit("a")
    await eventually(lambda: again.values() == [1.0], "it goes on")
    assert again.gaps == []


@pytest.mark.parametrize("able", [True, False])
async def test_u17_a_subscription_that_is_taken_up_follows_the_settings(
    bed: Bed, registry: Registry, *, able: bool
) -> None:
    """U17: another publishing interval and keep-alive count at once, and cost no value; where the server cannot, it is said."""
    bed.variable("a", Variable(value=value(0)))
    if not able:
        bed.server.scripts.append(Unsupported(["ModifySubscription"]))
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values() == [0.0] and taken.checkpoint is not None, "the first value")
    await end(taken)
    bed.emit("a", 3)
    bed.settings |= {"publishing_interval": "40ms", "keep_alive": "30s"}
    again = await bed.begin(registry, taken.checkpoint)
    await eventually(lambda: again.values() == [1.0, 2.0, 3.0], "all of them")
    assert again.gaps == []
    assert bed.server.record.count("ModifySubscription") == 1
    assert again.session is not None
    facts = again.session.facts
    assert facts["session"] == "session continued"
    assert (facts["publishing_interval"], facts["keep_alive"]) == (
        ("0.04 s", "30 s") if able else ("0.02 s (asked for 0.04 s)", "5 s")
    )
    assert bed.server.subscriptions[0].interval == (0.04 if able else 0.02)
    await end(again)
    third = await bed.begin(registry, again.checkpoint)
    bed.emit("a")
    await eventually(lambda: third.values() == [4.0], "and a third time")
    assert bed.server.record.count("ModifySubscription") == 1


async def test_a_server_that_is_too_busy_for_a_question_loses_no_session(
    still: Bed, clock: FakeClock, registry: Registry
) -> None:
    """Its state, and a node that is not there, are asked about again later; values go on."""
    still.settings["keep_alive"] = "600s"
    still.variable("a", Variable(value=value(0)))
    still.variable("ghost")
    taken = await still.begin(registry)
    await passing(clock, lambda: taken.values() == [0.0], 2.0)
    still.server.scripts.append(busy := Refuse("Read", code=TOO_BUSY))
    await passing(clock, lambda: busy.seen >= 6, 120.0, 1.0)
    still.server.scripts.remove(busy)
    still.server.variables["ghost"] = Variable(value=value(7))
    await passing(clock, lambda: taken.values("ghost") == [7.0], 120.0, 1.0)
    still.emit("a")
    await passing(clock, lambda: taken.values() == [0.0, 1.0], 5.0)
    assert not taken.task.done()
    assert taken.gaps == []


async def test_u8_present_values_after_a_loss_although_the_connection_breaks_first(bed: Bed) -> None:
    """U8: the lost notification held the only change of `b`; the session that told it ended before it could ask for it."""
    for name in "ab":
        bed.variable(name, Variable(value=value(0)))
    bed.server.policy.keep = 1
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == line.values("b") == [0.0], "the first values")
        bed.server.scripts.append(CutAt("Call", times=1))
        bed.server.scripts.append(Swallow(1))
        bed.emit("b")
        bed.server.flush()
        bed.emit("a")
        await line.until(lambda: line.values("b")[-1:] == [1.0], "the present value")
        assert [gap.reason for gap in line.gaps] == ["notifications_missing"]
    assert bed.server.record.count("CreateSubscription") == 1


STEPS = {
    "CreateSession": "signing in",
    "ActivateSession": "signing in",
    "Read": "asking what the server is",
    "CreateSubscription": "making the subscription",
    "CreateMonitoredItems": "having the nodes monitored",
}


@pytest.mark.parametrize("service", STEPS)
async def test_a_refusal_on_the_way_in_says_where_and_leaves_nothing(
    bed: Bed, registry: Registry, service: str
) -> None:
    """Connect, sign in, learn, subscribe, monitor: no session is left behind, and the words say what was being done."""
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Refuse(service, code=INTERNAL_ERROR))
    taken = Taken(registry)
    await taken.run(bed.source(registry))
    assert isinstance(taken.error, NotConnected)
    assert f"BadInternalError while {STEPS[service]}: " in str(taken.error)
    await eventually(lambda: not bed.server.connections, "the connection is closed")
    assert not bed.server.machine.sessions
    assert not bed.server.subscriptions


@pytest.mark.parametrize(
    ("service", "remedy"), [("ActivateSession", "username and password"), ("CreateMonitoredItems", "right")]
)
async def test_what_a_user_may_not_do_is_no_wrong_password(
    bed: Bed, registry: Registry, service: str, remedy: str
) -> None:
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Refuse(service, code=USER_ACCESS_DENIED))
    taken = Taken(registry)
    await taken.run(bed.source(registry))
    assert isinstance(taken.error, Misconfigured)
    assert remedy in (taken.error.remedy or "")


@pytest.mark.parametrize("service", ["CreateSession", "CreateMonitoredItems"])
async def test_an_answer_that_never_comes_on_the_way_in_says_where(
    bed: Bed, registry: Registry, service: str
) -> None:
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Ignore(service))
    taken = Taken(registry)
    async with asyncio.TaskGroup() as group:
        group.create_task(taken.run(bed.source(registry)))
        await eventually(lambda: bed.server.record.count(service) == 1, "it is asked")
        leap(REQUEST_TIMEOUT)
    assert isinstance(taken.error, NotConnected)
    assert f"no answer in time while {STEPS[service]}" in str(taken.error)
    assert "request_timeout" in (taken.error.remedy or "")
    await eventually(lambda: not bed.server.connections, "the connection is closed")
    assert not bed.server.machine.sessions


async def test_a_server_without_subscriptions_is_fit_to_be_read(bed: Bed, registry: Registry) -> None:
    """What `check --online` and `doctor` say is what the session does: `mode: poll` asks for no subscription."""
    bed.variable("a", Variable(value=value(0)), mode="poll")
    bed.server.scripts.append(Unsupported(["CreateSubscription", "CreateMonitoredItems"]))
    source = bed.source(registry)
    assert [finding.level for finding in await source.probe()] == ["ok", "ok"]
    examined = [finding async for finding in source.examine()]
    assert [finding for finding in examined if finding.level == "error"] == []
    assert "read" in next(finding.message for finding in examined if finding.where == "values")


async def test_first_values_of_what_is_taken_apart_that_come_late_make_the_gap_longer(
    bed: Bed, registry: Registry
) -> None:
    """After a renewal the gap ends with the first notification; an array that comes in the second was missing for longer."""
    bed.variable("a", Variable(value=pair(1.0)), array="elements")
    bed.variable("b", Variable(value=pair(1.0)), array="elements")
    taken = await bed.begin(registry)
    await eventually(lambda: taken.values("a[1]") == taken.values("b[1]") == [2.0], "the first values")
    bed.server.policy.per_notification = 1
    bed.server.variables["a"].value, bed.server.variables["b"].value = pair(3.0, 9), pair(5.0, 20)
    bed.server.end_subscriptions()
    await eventually(lambda: taken.values("b[1]") == [2.0, 6.0], "the first values of the new one")
    assert [gap.reason for gap in taken.gaps] == ["subscription_lost"] * len(taken.gaps)
    assert min(gap.begins for gap in taken.gaps) == START
    assert max(gap.ends for gap in taken.gaps) == START + 2000
