"""Recordings: what is stored becomes a file that the simulators play back, value by value; anonymous on request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.record import EPOCH_NS, recorded
from simulators.recording.rows import rows as played
from tests.collector.test_commands import run_until
from tests.collector.test_with_sim import OWN
from tests.line.harness import PATIENCE

VALUES = st.one_of(st.floats(allow_nan=False), st.integers(), st.booleans(), st.text(max_size=8), st.none())
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "time": st.integers(10**18, 2 * 10**18),
            "machine": st.sampled_from(["ACME-7", "lathe", "collector"]),
            "signal": st.sampled_from(["x", "secret_recipe", "z"]),
            "value": VALUES,
            "quality": st.sampled_from(["good", "bad"]),
        }
    )
)


@given(ROWS)
def test_an_anonymous_recording_keeps_everything_but_names(rows: list[dict[str, Any]]) -> None:
    plain, masked = list(recorded(rows, anonymous=False)), list(recorded(rows, anonymous=True))
    assert len(plain) == len(masked) == sum(row["machine"] != "collector" for row in rows)
    for key in ("machine", "signal"):
        pairs = {(a[key], b[key]) for a, b in zip(plain, masked, strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), "one to one"
    for a, b in zip(plain, masked, strict=True):
        assert b["time"] - EPOCH_NS == a["time"] - plain[0]["time"]
        assert b["quality"] == a["quality"]
        assert b["value"] == a["value"] or isinstance(a["value"], str)
    said = json.dumps(masked)
    assert "ACME" not in said
    assert "secret" not in said
    texts = {
        (a["value"], b["value"]) for a, b in zip(plain, masked, strict=True) if isinstance(a["value"], str)
    }
    assert len(texts) == len({b for _, b in texts})
    assert all(not a or b.startswith("text-") for a, b in texts)


def test_in_the_order_of_time() -> None:
    rows = [{"time": t, "machine": "m", "signal": "s", "value": t} for t in (3, 1, 2)]
    assert [row["time"] for row in recorded(rows, anonymous=False)] == [1, 2, 3]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and what a collector has stored of a simulated machine."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "collector.yaml").write_text(OWN, encoding="utf-8")
    run_until(lambda: run(folder, "export").stdout.count("\n") > 40, "--with-sim", "energy", folder=folder)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "collector", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip


def test_what_was_stored_is_what_is_played(stored: Path) -> None:
    done = run(stored, "record", "-o", "recording.jsonl")
    assert done.returncode == 0, done.stderr
    run(stored, "export", "-o", "export.jsonl")
    kept = [
        row
        for row in map(json.loads, (stored / "export.jsonl").read_text().splitlines())
        if row["machine"] != "collector"
    ]
    told = Counter(
        (r.machine, r.signal, r.t, repr(r.value), r.quality) for r in played(stored / "recording.jsonl")
    )
    assert told == Counter(
        (r["machine"], r["signal"], r["time"], repr(r["value"]), r["quality"]) for r in kept
    )
    assert len(kept) > 10


def test_a_stranger_learns_no_name(stored: Path) -> None:
    assert run(stored, "record", "-o", "strange.jsonl", "--anonymise").returncode == 0
    text = (stored / "strange.jsonl").read_text()
    assert "energy" not in text
    assert {row.machine for row in played(stored / "strange.jsonl")} == {"machine-1"}


def test_nothing_to_record_is_said(stored: Path, tmp_path: Path) -> None:
    assert run(stored, "record", "-o", "none.jsonl", "--machine", "nobody").returncode == 1
    assert run(stored, "record", "-o", "recording.txt").returncode == 2
    done = run(stored, "record", "-o", "later.jsonl", "--for", "1s")
    assert (done.returncode, "collector run" in done.stderr) == (69, True)
