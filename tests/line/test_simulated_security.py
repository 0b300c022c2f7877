"""The way of a new machine, with the real collector: refused as a stranger, trusted, signed in; the certificate changes, and comes back.

Nothing in the configuration that the simulator writes is edited; what is missing in the end is explained by gap records.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.line.harness import ENVIRONMENT, PATIENCE, Collector, collector, eventually, simulation

LONG = os.environ.get("SHOPFLOOR_LONG") == "1"
CHANGE = {"machine": "mill", "fault": "certificate_change"}


def source(running: Collector) -> dict[str, Any]:
    rows = (running.books() or {}).get("sources", ())
    return next((row for row in rows if row["name"] == "mill"), {})


def says(running: Collector, *words: str) -> None:
    """All of these, at one time."""

    def said() -> bool:
        found = json.dumps(source(running))
        return all(word in found for word in words)

    try:
        eventually(said, f"it says: {words}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {source(running)}") from None


def come_back(running: Collector) -> None:
    """A source that needs somebody's attention is tried again after 15 s; in the short form the collector is started again."""
    if not LONG:
        running.stop()
        running.start()
    running.wait_connected("mill")


def verified(truth: str, data: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "simulators", "verify", truth, "--against", str(data), "--json"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return counts


def test_a_stranger_is_let_in_and_a_changed_certificate_is_refused(tmp_path: Path) -> None:
    """U20: with the real collector: refused in words, another session when the certificate is back, the loss explained."""
    trusted, extra = tmp_path / "clients", tmp_path / "extra.yaml"
    extra.write_text(json.dumps({"version": 1, "page": "off", "history": {"seal_every": "10s"}}))
    wanted = ("--security", "encrypt", "--user", "anna:right", "--no-anonymous", "--trust", str(trusted))
    with (
        simulation(tmp_path, "cnc=mill", *wanted) as machines,
        collector(machines.config, extra) as running,
    ):
        says(running, "the machine does not trust this collector yet")
        (refused,) = (trusted / "rejected").iterdir()
        refused.rename(trusted / refused.name)
        come_back(running)
        machines.go()
        says(running, "SignAndEncrypt Aes256_Sha256_RsaPss, user anna")
        running.wait_for_more(50, "mill")
        machines.tell({"inject": CHANGE})
        says(running, "certificate changed", "collector trust mill")
        machines.tell({"clear": CHANGE})
        come_back(running)
        running.wait_for_more(50, "mill")
        machines.stop_changes()
        running.wait_stored(machines.truth(), {"mill": "mill"})
        running.stop()
        running.export()
    assert "right" not in running.log()
    found = verified(machines.ready["truth"], tmp_path / "export.jsonl")
    counts = {name: found[name] for name in ("missing", "spurious", "altered", "late")}
    assert set(counts.values()) == {0}, found
    assert found["explained"] > 0
