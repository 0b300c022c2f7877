"""The load's queues against one plain deque per item, and its bytes against the tests' own decoder."""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.load.mix import exact, types_of
from simulators.load.queues import Queues
from simulators.load.series import Series
from simulators.load.sheet import EVERY, UNCERTAIN, Fields, ua_time
from simulators.load.subscription import Items, Subscription, Terms, Wanted
from tests.opcua import reference

START = 1_767_225_600_000_000_000
TERMS = Terms(keep_alive=5.0, lifetime=60.0, most=1000)


class Item:
    """A monitored item's queue, straight from OPC 10000-4, 5.12.1.5."""

    def __init__(self, size: int, *, oldest: bool) -> None:
        self.size, self.oldest, self.values = size, oldest, deque[tuple[int, bool]]()
        self.dropped = 0

    def tick(self, tick: int) -> None:
        if len(self.values) < self.size:
            self.values.append((tick, False))
            return
        self.dropped += 1
        if self.size == 1:
            self.values[0] = (tick, False)
        elif self.oldest:
            self.values.popleft()
            self.values[0] = (self.values[0][0], True)
            self.values.append((tick, False))
        else:
            self.values[-1] = (tick, True)


items = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=8)
steps = st.lists(st.none() | st.integers(1, 9), max_size=60)


@given(items, steps, st.integers(0, 100))
@settings(max_examples=300, deadline=None)
def test_every_item_has_a_queue_of_its_own(
    shapes: list[tuple[int, bool]], todo: list[int | None], seed: int
) -> None:
    """None is a tick, a number is a notification of so many values at most."""
    queues, model = Queues(), [Item(size, oldest=oldest) for size, oldest in shapes]
    queues.add(
        np.array([size for size, _ in shapes], np.int32), np.array([oldest for _, oldest in shapes], np.bool_)
    )
    order = np.random.default_rng(seed).permutation(len(shapes)).astype(np.int32)
    tick = 0
    for step in todo:
        if step is None:
            queues.tick(tick, order)
            for item in model:
                item.tick(tick)
            tick += 1
        elif queues.queued:
            notice = queues.take(step)
            assert 1 <= len(notice.items) <= step
            marks = np.zeros(len(notice.items), bool) if notice.after_drop is None else notice.after_drop
            for number, mark in zip(notice.items.tolist(), marks.tolist(), strict=True):
                assert model[number].values.popleft() == (notice.tick, mark)
            if notice.first >= 0:
                same = notice.whole[notice.first : notice.first + len(notice.items)]
                assert same.tolist() == notice.items.tolist()
        assert queues.queued == sum(len(item.values) for item in model)
        assert queues.dropped == sum(item.dropped for item in model)


def served(variables: int, fields: Fields, order: Any = "repeating", size: int = 5) -> Subscription:
    found = Items(types_of(variables, "mixed"), order, 7)
    found.add([Wanted(n, 1000 + n, size, oldest=True) for n in range(variables)])
    made = Subscription(1, TERMS, found, fields)
    made.start(Series(variables, 10, START))
    return made


def read(subscription: Subscription) -> list[reference.Item]:
    _, (head, values, _) = subscription.message()
    return reference.decode(bytes(head[-4:]) + bytes(values))


@pytest.mark.parametrize("order", ["repeating", "shuffled"])
@pytest.mark.parametrize(
    "fields", [Fields(), Fields(True, False, True), Fields(True, True, True), Fields(False, False, False)]
)
def test_all_types_and_fields_are_what_they_say(fields: Fields, order: Any) -> None:
    subscription = served(60, fields, order)
    for tick in range(3):
        subscription.items.tick(tick)
        found = read(subscription)
        assert sorted(item.handle for item in found) == list(range(1000, 1060))
        for item in found:
            variable = item.handle - 1000
            assert item.type == types_of(60, "mixed")[variable]
            assert item.value == exact(int(item.type or 0), variable, tick)
            worse = fields.status and (variable + tick) % EVERY == 0
            assert item.status == (UNCERTAIN if worse else 0)
            at = ua_time(START + tick * 100_000_000)
            assert (item.source, item.server) == (at, at if fields.server else 0)
            assert (item.source_pico, item.server_pico) == (
                4200 * fields.picoseconds,
                4200 * (fields.picoseconds and fields.server),
            )
            assert ("status" in item.fields) == fields.status


def test_a_value_after_a_drop_says_so() -> None:
    subscription = served(20, Fields(), size=2)
    for tick in range(5):
        subscription.items.tick(tick)
    assert subscription.items.queues.dropped == 60
    first, second = read(subscription), read(subscription)
    assert {item.status for item in first} == {0x480}
    assert {item.status for item in second} == {0}
    assert [item.value for item in first] == [exact(int(i.type or 0), i.handle - 1000, 3) for i in first]
    subscription.items.tick(5)
    assert {item.status for item in read(subscription)} == {0}


def test_republish_gives_the_same_bytes_also_after_other_ticks() -> None:
    subscription = served(20, Fields(), "shuffled")
    for tick in range(2):
        subscription.items.tick(tick)
    first = bytes(subscription.message()[1][1])
    subscription.message()
    again = subscription.again(1)
    assert again is not None
    assert bytes(again[1]) == first
    assert subscription.available == (1, 2)
    assert struct.unpack_from("<I", again[0]) == (1,)


def test_an_item_that_is_deleted_leaves_the_others() -> None:
    subscription = served(20, Fields())
    subscription.items.tick(0)
    assert subscription.items.remove(3)
    assert not subscription.items.remove(3)
    subscription.items.tick(1)
    wanted = [n for n in range(1000, 1020) if n != 1003]
    assert [item.handle for item in read(subscription)] == wanted
    assert [item.handle for item in read(subscription)] == wanted
    assert subscription.items.queues.dropped == 1
