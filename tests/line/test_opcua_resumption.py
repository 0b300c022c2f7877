"""A collector that is killed reads on where it was: what an OPC UA server queued meanwhile arrives, each value once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.line.harness import Collector, collector, eventually
from tests.opcua.rows.bed import START, value
from tests.opcua.scripted import URI, ScriptedServer, Variable

CONFIG = """
version: 1
page: off
sources:
  plc: {{type: opcua, url: "{url}", security: none, publishing_interval: 50ms, hold: 10min}}
machines:
  - id: m
    read: [{{source: plc, signals: [
      {{name: a, node: "nsu={uri};s=a", every: 10ms}}, {{name: b, node: "nsu={uri};s=b", every: 10ms}}]}}]
"""


class Machine:
    """The scripted server on a loop in a thread of its own. Values are 1, 2, …, 100 ns apart, `a` and `b` in turn."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="machine")
        self.server = ScriptedServer()
        self.count = 0
        for name in "ab":
            self.server.variables[name] = Variable(value=value(0))
        self.thread.start()
        self._do(self.server.start)

    def _do(self, job: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job(), self.loop).result(60)

    def emit(self, count: int) -> None:
        async def all_of_them() -> None:
            for _ in range(count):
                self.count += 1
                self.server.emit("ab"[self.count % 2], value(self.count, self.count))

        self._do(all_of_them)

    def works_on(self, cycles: int) -> None:
        """Returns when every subscription has come round so often."""
        listed = list(self.server.machine.subscriptions.values())
        until = [one.next_cycle + cycles * one.interval for one in listed]
        eventually(
            lambda: all(one.next_cycle >= end for one, end in zip(listed, until, strict=True)), "it works on"
        )

    def said(self, service: str) -> int:
        return self.server.record.count(service)

    def stop(self) -> None:
        self._do(self.server.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.stop()


def arrived(running: Collector) -> int:
    """Values in its buffer; 0 while it does not answer, and before it knows of the source."""
    rows = (running.books() or {"sources": ()})["sources"]
    return next((int(row["journaled"]) for row in rows if row["name"] == "plc"), 0)


def test_killed_while_the_machine_goes_on(tmp_path: Path, machine: Machine) -> None:
    """P1, U1: kill -9 with values on their way, dead for a while, again and again; missing 0, twice 0, no gap record."""
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url=machine.server.url, uri=URI))
    with collector(config) as running:
        running.wait_connected("plc")
        eventually(lambda: arrived(running) >= 2, "the first values are stored")
        for _ in range(3):
            before = running.journaled("plc")
            machine.emit(100)
            eventually(lambda: arrived(running) > before, "some are stored")  # noqa: B023 - asked at once
            machine.emit(100)  # and these are not, or are on their way
            running.kill()
            machine.emit(300)
            machine.works_on(5)
            machine.emit(300)
            running.start()
            running.wait_connected("plc")
        machine.emit(100)
        eventually(lambda: arrived(running) >= machine.count + 2, "everything is stored")
        books = running.stop()
    found = running.export()
    for rest, name in enumerate("ab"):
        numbers = [n for n in range(1, machine.count + 1) if n % 2 == rest]
        assert found["m", name] == {START + 100 * n: float(n) for n in [0, *numbers]}, name
    (plc,) = [row for row in books["sources"] if row["name"] == "plc"]
    assert plc["journaled"] == machine.count + 2, "stored once, also in the ledger"
    assert books["unaccounted"] == 0
    assert running.holes({"m": "plc"})["m"] == []
    assert machine.said("CreateSubscription") == 1
    assert machine.said("TransferSubscriptions") == 1, "the question whether it could, and no more"


def test_what_stands_is_good_again_when_the_collector_is_back(tmp_path: Path, machine: Machine) -> None:
    """A stop leaves every signal without a value; what has not changed since is said again, and what has is not."""
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url=machine.server.url, uri=URI))
    with collector(config) as running:
        running.wait_connected("plc")
        eventually(lambda: arrived(running) >= 2, "the first values are stored")
        running.stop()
        running.start()
        running.wait_connected("plc")
        eventually(lambda: arrived(running) >= 4, "both are stored again")
        machine.emit(1)
        eventually(lambda: arrived(running) >= 5, "the change is stored")
        running.stop()
    found = running.export()
    ((again, said),) = found["collector", "restated.plc"].items()
    assert said is True
    assert again > START
    assert found["m", "a"] == {START: 0.0, again: 0.0}
    assert found["m", "b"] == {START: 0.0, START + 100: 1.0, again: 0.0}
