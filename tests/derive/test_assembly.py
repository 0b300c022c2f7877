"""From the configuration to derivations at work: which there are, who follows, and what a changed configuration touches."""

from __future__ import annotations

from pathlib import Path

from collector.assembly import derivations, followers
from collector.configured import changes, state_of
from collector.health import Health
from collector.journal.memory import MemoryJournal
from collector.run import alive_every
from collector.summary import summary
from config.load import load
from config.settings import Settings
from pipelines.registry import Registry
from tests.fakes import FakeClock

TEXT = """\
version: 1
sources:
  plc: {type: opcua, url: "opc.tcp://127.0.0.1:4840", security: none}
machines:
  - id: cnc-1
    source: plc
    signals:
      - {name: load, node: "nsu=urn:cnc;s=Load", unit: "%"LOAD}
      - {name: parts, node: "nsu=urn:cnc;s=Parts"PARTS}
"""


def settings(folder: Path, *, load_more: str = "", parts_more: str = "") -> Settings:
    file = folder / "collector.yaml"
    file.write_text(TEXT.replace("LOAD", load_more).replace("PARTS", parts_more), encoding="utf-8")
    loaded = load([file])
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def test_only_what_is_configured_is_there(tmp_path: Path) -> None:
    none = settings(tmp_path)
    assert followers(none) == ["history"]
    both = settings(tmp_path, load_more=", stale_after: 10s", parts_more=", increments: made")
    assert followers(both) == ["history", "derived.counter", "derived.stale"]
    counter, stale = (build() for build in derivations(both, Registry()).values())
    assert counter.reads.signals == {("cnc-1", "parts")}
    assert stale.reads.signals == {("cnc-1", "load")}


def test_a_changed_counter_restarts_its_derivation_and_no_other(tmp_path: Path) -> None:
    old = settings(tmp_path, load_more=", stale_after: 10s", parts_more=", increments: made")
    new = settings(tmp_path, load_more=", stale_after: 10s", parts_more=", counter: {name: made, width: 16}")
    found = changes(old, new)
    assert found.derivations.changed == ("derived.counter",)
    assert found.derivations.same == ("derived.stale",)
    assert "derived.counter" in found.ended
    assert "derived.counter" in found.begun
    gone = changes(old, settings(tmp_path, load_more=", stale_after: 10s"))
    assert gone.derivations.removed == ("derived.counter",)


def test_ticks_come_twice_per_patience_and_at_most_every_second(tmp_path: Path) -> None:
    def every(stale_after: str) -> float:
        text = f", stale_after: {stale_after}" if stale_after else ""
        return alive_every(state_of(settings(tmp_path, load_more=text), 0))

    assert [every(text) for text in ("", "1h", "8s", "100ms")] == [10.0, 10.0, 4.0, 1.0]
    assert alive_every(None) == 10.0


async def test_status_tells_derivations_beside_the_sinks() -> None:
    journal = MemoryJournal(followers=["influx", "derived.counter"], clock=FakeClock())
    books = summary(await journal.ledger(), Health())
    assert [row["name"] for row in books["sinks"]] == ["influx"]
    assert [row["name"] for row in books["derivations"]] == ["derived.counter"]
