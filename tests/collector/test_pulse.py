"""The process feels its own pulse, says so once, and tells the service manager while the loop turns."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from collector import system
from collector.health import Health, JobHealth, State, verdict
from collector.journal.base import Space
from collector.pulse import Pulse
from collector.stopping import Stop, at_once
from tests.collector.instant import InstantClock
from tests.fakes import eventually
from tests.page.scene import books

linux = pytest.mark.skipif(sys.platform != "linux", reason="the service manager is systemd's")


def board(*states: State) -> Health:
    health = Health()
    for number, state in enumerate(states):
        health.put(
            JobHealth(f"s{number}", "source", state, 0, error="why" if state is State.NEEDS_ATTENTION else "")
        )
    return health


def test_a_standstill_is_measured_told_once_and_forgotten_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """P9: the lag is a figure, the edge is one line, and no `healthy` is said while it is fresh."""
    caplog.set_level(logging.INFO, "collector")
    clock, health, stood = InstantClock(), board(State.CONNECTED), list[float]()
    pulse = Pulse(health, clock, stood.append)
    pulse.look(0.01)
    assert verdict(health).healthy
    pulse.look(5.0)
    pulse.look(2.0)
    assert health.loop_lag_s == 5.0
    assert not verdict(health).healthy
    assert "stood still for 2.0 s" in verdict(health).reasons[0]
    assert stood == [5.0, 2.0]
    clock.seconds += 61
    pulse.look(0.0)
    assert health.loop_lag_s == 0.0
    assert verdict(health).healthy
    assert caplog.text.count("stood still") == 1
    assert caplog.text.count("no standstill for a minute") == 1


async def test_a_blocked_loop_is_noticed() -> None:
    """P9: a call that blocks the event loop for real shows as lag within one beat."""
    from adapters.clock import SystemClock

    health, asleep = board(State.CONNECTED), asyncio.Event()

    class Watched(SystemClock):
        async def sleep(self, seconds: float) -> None:
            asleep.set()
            await super().sleep(seconds)

    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(Pulse(health, Watched()).beat())
        await asleep.wait()
        time.sleep(1.8)  # the fault itself
        await eventually(lambda: health.loop_lag_s > 0)
        beating.cancel()
    assert health.loop_lag_s > 1.0
    assert "standstill" in health.alarms


@linux
def test_few_files_left_are_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: raised when few are left, cleared when there are some again."""
    health = board(State.CONNECTED)
    used = [36]
    monkeypatch.setattr("collector.pulse.open_files", lambda: (used[0], 40))
    pulse = Pulse(health, InstantClock())
    pulse.look(0.0)
    assert "36 of 40" in verdict(health).reasons[0]
    used[0] = 20
    pulse.look(0.0)
    assert verdict(health).healthy


COUNTED = """
import socket
from collector.system import open_files

before = open_files()
with socket.socket(), socket.socket():
    now = open_files()
print(now[0] - before[0])
"""


@linux
def test_open_files_are_counted() -> None:
    """In a process of its own: here others may open and close what they like meanwhile."""
    command = [sys.executable, "-P", "-c", COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "2\n"


@linux
async def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_notify(3): READY once, the watchdog at a third of its patience, the status where it changes."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        clock, health = InstantClock(), board(State.CONNECTED, State.WAITING)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(Pulse(health, clock).beat())
            while len(clock.slept) < 8:  # 0.5 s each
                await asyncio.sleep(0)
            beating.cancel()
        told = []
        while True:
            try:
                told.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
    assert told[0] == "READY=1"
    assert told.count("STATUS=1 of 2 connected; not: s1") == 1
    assert told.count("WATCHDOG=1") in (3, 4, 5)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not system.tell_service_manager(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not system.tell_service_manager(READY="1")


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert system.watchdog_seconds() is None


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        ([], False),
        ([State.STARTING], False),
        ([State.CONNECTED, State.WAITING], True),
        ([State.CONNECTED, State.NEEDS_ATTENTION], False),
    ],
)
def test_ready_and_healthy(states: list[State], ready: bool) -> None:
    found = verdict(board(*states))
    assert (found.ready, found.healthy) == (ready, True)
    assert verdict(board(*states), books(lost=3)).healthy is False
    full = replace(books(), space=Space(9, 10, condition="disk full: the sources wait"))
    assert "disk full: the sources wait" in verdict(board(*states), full).reasons
    assert verdict(board(*states), books()).healthy


async def test_the_second_wish_to_stop_means_at_once() -> None:
    stop = Stop()
    stop.ask()
    assert (stop.is_set(), at_once(stop).is_set()) == (True, False)
    stop.ask()
    assert at_once(stop).is_set()
    assert not at_once(asyncio.Event()).is_set()


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_state_folder_is_private_and_an_open_one_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S8: made with 0700; one that others can look into is named with the command that closes it."""
    assert stat.S_IMODE(system.private_folder(tmp_path / "state").stat().st_mode) == 0o700
    assert caplog.text == ""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    system.private_folder(tmp_path / "open")
    assert "chmod 700" in caplog.text
