"""A machine that is switched off when the collector starts: shown as such, tried for ever, and the others run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.influxdb.peers import free_port
from tests.line.harness import Collector, collector, eventually, simulation

CONFIG = """
version: 1
page: off
sources:
  absent: {{type: opcua, url: "opc.tcp://127.0.0.1:{port}/", security: none}}
machines:
  - id: cnc-2
    read: [{{source: absent, signals: [{{name: spindle_load, node: "nsu=urn:shopfloor:sim:cnc;s=Spindle.Load"}}]}}]
"""


def row(running: Collector, name: str) -> dict[str, Any]:
    books = running.books() or {"sources": []}
    found = [source for source in books["sources"] if source["name"] == name]
    return dict(found[0]) if found else {}


def told(running: Collector) -> dict[str, Any] | None:
    """Its row, once that says what is wrong."""
    found = row(running, "absent")
    return found if found.get("error") else None


def test_an_absent_server_is_shown_and_disturbs_nobody(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "shop").mkdir()
    extra = tmp_path / "shop" / "extra.yaml"
    extra.write_text(CONFIG.format(port=port))
    with simulation(tmp_path / "shop", "energy", "--seed", "3") as machines:
        machines.go()
        with collector(machines.config, extra) as running:
            running.wait_connected("broker")
            eventually(lambda: row(running, "broker").get("decoded", 0) > 20, "the meter is read")
            shown = eventually(lambda: told(running), "the absent machine is shown")
            assert shown["state"] in ("waiting", "connecting")
            assert "connection refused" in shown["error"]
            assert shown["remedy"]
            with simulation(tmp_path / "late", "cnc", "--seed", "4", "--port", str(port)):
                running.wait_connected("absent")
                eventually(lambda: row(running, "absent").get("decoded", 0) > 0, "the late machine is read")
            running.stop()
    log = running.log()
    assert log.count("absent: ") < 10, "edges are logged, not every attempt"
