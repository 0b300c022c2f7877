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
        running.wait_settled("influx")
        books = running.stop()
    found = influx_values(influx)
    for rest, name in enumerate("ab"):
        numbers = [n for n in range(1, machine.count + 1) if n % 2 == rest]
        assert {at: value for at, value in found[name].items() if value} == {
            START + 100 * n: float(n) for n in numbers
        }
    (plc,) = [row for row in books["sources"] if row["name"] == "plc"]
    assert books["unaccounted"] == 0
    assert plc["decoded"] >= machine.count
    grown = query(influx.url, "shop", 'SELECT sum("made") FROM "machine"')
    assert grown[0]["sum"] == float(machine.count - machine.count % 2)


def influx_values(influx: Server) -> dict[str, dict[int, float]]:
    rows = query(influx.url, "shop", 'SELECT "a", "b" FROM "machine"')
    return {name: {row["time"]: row[name] for row in rows if row.get(name) is not None} for name in "ab"}


def repaired(influx: Server) -> bool:
    rows = query(
        influx.url,
        "shop",
        'SELECT "reason", "repaired", "repair" FROM "collector_gap" WHERE "source" = \'plc\'',
    )
    done = [row for row in rows if str(row["repair"]).startswith("repaired: ")]
    return bool(done) and done[0]["reason"] == "collector_down"
