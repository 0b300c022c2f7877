"""Derived values over the whole line: a simulated machine's part counter as increments, through kill -9, into the history.

The oracle is the simulator's own record: what the counter rose by is what the increments add up to, whatever happened to
the collector meanwhile; and since the machine makes one part at a time, more than one at once must be flagged.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.line.harness import Collector, collector, eventually, simulation

START = "2026-03-02T06:00:00Z"
KILLS = int(os.environ.get("DERIVE_LINE_KILLS", "4"))
SPEED = "300" if KILLS <= 10 else "30"  # a long run need not record ten million values to make its parts
PATIENCE = 2
COUNTER = "derived.counter"


def configuration(written: Path, target: Path) -> Path:
    """Of the simulator's own file three signals: a counter with increments, and one that never changes and becomes stale."""
    kept = []
    for line in written.read_text(encoding="utf-8").splitlines():
        found = re.match(r" *- \{name: (\w+), ", line)
        if found is None or found[1] in ("part_counter", "good_parts"):
            kept.append(line.replace("name: part_counter,", "name: part_counter, increments: parts_made,"))
        elif found[1] == "bad_parts":
            kept.append(line.replace("name: bad_parts,", f"name: bad_parts, stale_after: {PATIENCE}s,"))
    target.write_text("\n".join([*kept, "page: off", ""]), encoding="utf-8")
    return target


def rows_of(running: Collector) -> list[dict[str, Any]]:
    running.export()
    text = (running.folder / "export.jsonl").read_text(encoding="utf-8")
    return [row for line in text.splitlines() if (row := json.loads(line))["machine"] == "cnc-1"]


def increments(truth: dict[int, int]) -> int:
    """What the counter rose by."""
    return max(truth.values()) - min(truth.values())


def parts_told(rows: list[dict[str, Any]]) -> list[int]:
    return [row["value"] for row in rows if row["signal"] == "parts_made"]


def became_stale(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["signal"] == "bad_parts" and "derived" in row["flags"]]


@pytest.mark.timeout(600 + 15 * KILLS)
def test_increments_add_up_to_what_the_machine_made_through_kill_9(tmp_path: Path) -> None:
    chance = random.Random(4)
    with simulation(tmp_path, "cnc", "--seed", "7", "--start", START, "--speed", SPEED) as machines:
        config = configuration(machines.deepen(), tmp_path / "derived.yaml")
        with collector(config) as running:
            running.wait_connected("cnc-1")
            machines.go()
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.5, 2.0))  # the moment is what is tried, not something waited for
                running.kill()
                running.start()
                running.wait_connected("cnc-1")
            running.wait_for_more(3, COUNTER)  # of this life: not all of them were made while nobody listened
            eventually(lambda: became_stale(rows_of(running)), "bad_parts has been silent for too long")
            machines.stop_changes()
            truth = machines.truth().timed
            made = increments(truth["cnc-1", "part_counter"])
            eventually(lambda: sum(parts_told(rows_of(running))) == made, "every part is told")
            books = running.stop()
    rows = rows_of(running)
    assert_increments(truth["cnc-1", "part_counter"], rows, books)
    assert_stale(truth["cnc-1", "bad_parts"], rows)
    assert books["unaccounted"] == 0


def assert_increments(truth: dict[int, int], rows: list[dict[str, Any]], books: dict[str, Any]) -> None:
    made = [row for row in rows if row["signal"] == "parts_made"]
    assert len(made) >= 4, "too little was made to show anything"
    assert max(Counter(row["time"] for row in made).values()) == 1, "an increment is there twice"
    assert {row["time"] for row in made} <= set(truth)
    assert sum(row["value"] for row in made) == increments(truth)
    assert all(
        "derived" in row["flags"] and row["kind"] == "integer" and row["unit"] == "H87" for row in made
    )
    several = [row for row in made if row["value"] > 1]
    assert all("during_gap" in row["flags"] for row in several), several
    assert any("during_gap" in row["flags"] for row in made)
    assert not all("during_gap" in row["flags"] for row in made)
    events = [row for row in rows if row["signal"] == "parts_made_event"]
    assert {row["value"] for row in events} == {"during_gap"}
    account = next(row for row in books["sources"] if row["name"] == COUNTER)
    assert account["decoded"] == account["journaled"] == len(made) + len(events)


def assert_stale(truth: dict[int, int], rows: list[dict[str, Any]]) -> None:
    """Told once per silence, at the machine's own time."""
    stale = became_stale(rows)
    assert stale, "bad_parts did not become stale"
    assert all(row["value"] is None and row["status_code"] == 0x809B0000 for row in stale)
    assert {row["time"] - PATIENCE * 10**9 for row in stale} <= set(truth)
    assert max(Counter(row["time"] for row in stale).values()) == 1
