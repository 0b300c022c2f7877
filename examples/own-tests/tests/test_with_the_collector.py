"""The real collector beside simulated machines: what it has kept is what the machines have said, to the last bit."""

import os
import shutil
import subprocess
import sys

import pytest

HERE = bool(os.environ.get("SHOPFLOOR_COLLECTOR") or shutil.which("collector"))


@pytest.mark.skipif(not HERE, reason="no collector here: set SHOPFLOOR_COLLECTOR to its command (README.md)")
def test_nothing_is_missing(sim_workshop, sim_collector) -> None:
    workshop = sim_workshop("moulding=imm", faces={"imm": "mqtt"}, faulty=False)
    collector = sim_collector(workshop.config)
    workshop.advance(10)
    collector.wait_for(len([row for row in workshop.truth if row["kind"] == "value"]), "broker")
    collector.stop()
    workshop.close()
    collector.stored()
    verify = [sys.executable, "-m", "simulators", "verify", str(workshop.truth_file)]
    done = subprocess.run(
        [*verify, "--against", str(collector.folder / "stored.jsonl")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
