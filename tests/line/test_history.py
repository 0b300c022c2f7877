"""Over the real line: what nobody heard comes back from the machine's history into InfluxDB, and its gap says that it is repaired."""

from __future__ import annotations

from pathlib import Path

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.databases import influx as query
from tests.line.harness import collector, eventually
from tests.line.test_alarms import machine as machine  # noqa: PLC0414 (a fixture)
from tests.line.test_opcua_resumption import Machine, arrived
from tests.opcua.rows.bed import START
from tests.opcua.scripted import URI, Unsupported

CONFIG = """
version: 1
sources:
  plc: {{type: opcua, url: "{url}", security: none, publishing_interval: 50ms, hold: 60s}}
machines:
  - id: m
    read: [{{source: plc, signals: [
      {{name: a, node: "nsu={uri};s=a", every: 10ms, increments: made}}, {{name: b, node: "nsu={uri};s=b", every: 10ms}}]}}]
"""


def test_a_time_without_a_collector_comes_back(
    tmp_path: Path, machine: Machine, influx: Server, extra: Extra
) -> None:
    """kill -9, values that no queue keeps, a kill in the repair: each value once, the books balance, counters are not fooled."""
    server = machine.server
    server.policy.reactivate = False
    server.scripts.append(Unsupported(["TransferSubscriptions"]))
    server.machine.archive.page = 20
    for name in "ab":
        server.variables[name].access = 5
        server.machine.archive.remember(name)
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url=server.url, uri=URI))
    with collector(config, extra(v1(influx.url))) as running:
        running.wait_connected("plc", "influx")
        machine.emit(20)
        eventually(lambda: arrived(running) >= 20, "the first values are stored")
        running.kill()
        machine.emit(1000)
        running.start()
        eventually(lambda: arrived(running) >= 100, "a part of the history is there")
        running.kill()
        running.start()
        machine.emit(20)
        eventually(lambda: repaired(influx), "the gap is told as repaired")
        eventually(lambda: good(influx) == said(machine), "every value is in the database")
        eventually(lambda: grown(influx) == machine.count - machine.count % 2, "the increments, too")
        books = running.stop()
    assert good(influx) == said(machine)
    (plc,) = [row for row in books["sources"] if row["name"] == "plc"]
    assert books["unaccounted"] == 0
    assert plc["decoded"] >= machine.count
    assert grown(influx) == machine.count - machine.count % 2


def said(machine: Machine) -> dict[str, dict[int, float]]:
    """By signal and time, what the machine has said since its first values, which are zero."""
    numbers = range(1, machine.count + 1)
    return {
        name: {START + 100 * n: float(n) for n in numbers if n % 2 == rest} for rest, name in enumerate("ab")
    }


def good(influx: Server) -> dict[str, dict[int, float]]:
    """What the database has, but for zeros."""
    rows = query(influx.url, "shop", 'SELECT "a", "b" FROM "machine"')
    return {name: {row["time"]: row[name] for row in rows if row.get(name)} for name in "ab"}


def grown(influx: Server) -> float:
    rows = query(influx.url, "shop", 'SELECT sum("made") FROM "machine"')
    return float(rows[0]["sum"]) if rows else 0.0


def repaired(influx: Server) -> bool:
    rows = query(
        influx.url,
        "shop",
        'SELECT "reason", "repaired", "repair" FROM "collector_gap" WHERE "source" = \'plc\'',
    )
    done = [row for row in rows if str(row["repair"]).startswith("repaired: ")]
    return any(row["reason"] == "collector_down" for row in done)
