"""The watcher over a request's time (adapters/influxdb/deadline.py); over sockets it is tested in test_faults.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from adapters.influxdb.deadline import Watcher


class Struck:
    def __init__(self) -> None:
        self.times = 0
        self.event = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        self.event.set()


@pytest.fixture
def struck() -> Struck:
    return Struck()


@pytest.fixture
def watcher(struck: Struck) -> Iterator[Watcher]:
    watcher = Watcher(struck)
    yield watcher
    watcher.close()
    assert watcher._thread is not None
    assert not watcher._thread.is_alive()


def test_a_late_request_is_struck_once_and_the_next_one_is_not(watcher: Watcher, struck: Struck) -> None:
    watcher.begin(0.0)
    assert struck.event.wait(60)
    assert watcher.end()
    watcher.begin(600.0)
    assert not watcher.end()
    assert struck.times == 1


def test_a_shorter_time_behind_a_longer_one_is_kept(watcher: Watcher, struck: Struck) -> None:
    """The thread sleeps for the time of a request that is long done."""
    watcher.begin(600.0)
    assert not watcher.end()
    watcher.begin(0.01)
    assert struck.event.wait(60)
    assert watcher.end()


def test_what_is_done_in_time_is_left_alone(watcher: Watcher, struck: Struck) -> None:
    """Also when the thread wakes at the time of an earlier request, while another one is under way."""
    for _ in range(50):
        begun = time.monotonic()
        watcher.begin(0.05)
        late = watcher.end()
        assert not late or time.monotonic() - begun >= 0.05
    times = struck.times
    watcher.begin(600.0)
    time.sleep(0.2)  # longer than any request before it had
    assert not watcher.end()
    assert struck.times == times
