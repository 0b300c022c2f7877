"""The commands as a user types them, against simulated machines: what goes to standard output, what to standard error, how they end."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from collector.cli.exits import Exit
from collector.dry_run import rows
from config.load import load
from tests.collector.test_process import STOPS_AT_LEISURE
from tests.line.harness import ENVIRONMENT, PATIENCE, Collector, Simulation, collector, eventually, simulation


def program(patch: str = "") -> list[str]:
    """patch: statements before it."""
    begun = f"{patch}\nfrom collector.__main__ import main\nraise SystemExit(main())"
    return [sys.executable, "-P", *(["-c", begun] if patch else ["-m", "collector"])]


def command(*words: str | Path, patch: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(patch), *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=False,
    )


def run_until(
    holds: Callable[[], object],
    *words: str | Path,
    folder: Path | None = None,
    verb: str = "run",
    patch: str = "",
) -> str:
    """`collector run` in `folder` until what it stores is enough, however long a busy computer takes for it; its output."""
    environment = ENVIRONMENT if folder is None else {**ENVIRONMENT, "TMPDIR": str(folder)}
    line = [*program(patch), verb, *map(str, words)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=environment, text=True
    ) as running:
        try:
            eventually(lambda: running.poll() is not None or holds(), "it has stored enough")
        finally:
            running.terminate()
        said, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == Exit.OK
        return said


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "extra.yaml").write_text("version: 1\npage: off\n")
    with simulation(folder, "cnc", "energy", "compressor", "--seed", "5") as machines:
        machines.go()
        yield machines


@pytest.fixture(scope="module")
def running(workshop: Simulation) -> Iterator[Collector]:
    with collector(workshop.config, workshop.config.parent / "extra.yaml") as process:
        process.wait_connected("cnc-1", "broker")
        yield process


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "version: 1\nsources:\n  plc: {type: opcua, url: 'opc.tcp://127.0.0.1:4840', security: none, pasword: x}\n"
        "machines:\n  - {id: m, read: [{source: plc, signals: [{name: a, node: oops}, {name: a, node: 'i=2258'}]}]}\n"
        "  - {id: m, read: []}\n"
    )
    return path


def well(status: subprocess.CompletedProcess[str]) -> bool:
    """Or the computer was so busy that the collector stood still for a moment, which is told for a minute."""
    reasons = [line for line in status.stderr.splitlines() if line.startswith("  ")]
    excused = bool(reasons) and all("the collector stood still for" in why for why in reasons)
    return status.returncode == Exit.OK or (status.returncode == Exit.PROBLEMS and excused)


def test_status_and_its_json(running: Collector) -> None:
    words = command("status", *running.config)
    assert well(words), words.stderr
    assert "accounted for: every value" in words.stdout
    facts = command("status", *running.config, "--facts").stdout
    assert facts.startswith(words.stdout.splitlines()[0])
    assert "broker: connected" in facts.splitlines()
    assert any(line.startswith("  protocol: MQTT") for line in facts.splitlines())
    books = json.loads(command("status", "--json", "--state", running.state).stdout)
    assert books["running"] is True
    assert books["unaccounted"] == 0
    assert {"cnc-1", "broker", "collector"} <= {row["name"] for row in books["sources"]}
    assert all(row["state"] == "connected" for row in books["sources"] if row["name"] != "collector")


def test_tap_shows_what_flows(running: Collector) -> None:
    lines = command("tap", *running.config, "--machine", "energy-1", "--count", "5").stdout.splitlines()
    assert len(lines) == 5
    assert all(" energy-1/" in line for line in lines)
    row = json.loads(command("tap", "--state", running.state, "--json", "--count", "1").stdout)
    assert row.keys() == {"time", "machine", "signal", "value", "unit", "quality", "status_code"}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_export_while_it_runs(running: Collector, tmp_path: Path, ending: str) -> None:
    eventually(lambda: running.journaled("cnc-1") > 100, "there is something of each signal")
    target = tmp_path / f"values.{ending}"
    done = command("export", *running.config, "--machine", "cnc-1", "--signal", "spindle_*", "-o", target)
    assert done.returncode == Exit.OK, done.stderr
    if ending == "csv":
        rows = list(csv.DictReader(io.StringIO(target.read_text())))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in target.read_text().splitlines()]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(target, columns=["machine", "signal", "number"]).to_pylist()
    assert len(rows) > 5
    assert {row["machine"] for row in rows} == {"cnc-1"}
    assert all(row["signal"].startswith("spindle_") for row in rows)


def test_export_of_a_time(running: Collector) -> None:
    assert command("export", *running.config, "--to", "1999-01-01").stdout.count("\n") == 1
    wrong = command("export", *running.config, "--from", "yesterday")
    assert wrong.returncode == Exit.USAGE
    assert "'yesterday' is not a time" in wrong.stderr


def test_a_second_collector_refuses(running: Collector) -> None:
    second = command("run", *running.config)
    assert second.returncode == Exit.FAILED
    assert "Traceback" not in second.stderr
    assert str(running.process.pid) in second.stderr  # type: ignore[union-attr]


def test_check_offline_explains_and_online_asks(workshop: Simulation) -> None:
    offline = command("check", workshop.config)
    assert offline.returncode == Exit.OK
    assert "spindle_load" in offline.stdout
    online = command("check", "--online", workshop.config)
    assert online.returncode == Exit.OK, online.stdout + online.stderr
    assert "cnc-1" in online.stdout
    assert "broker" in online.stdout


def test_check_names_every_problem_at_once(bad: Path) -> None:
    done = command("check", bad)
    assert done.returncode == Exit.PROBLEMS
    for place, words in (("3:", "did you mean password"), ("5:", "oops"), ("6:", "m")):
        assert any(f"bad.yaml:{place}" in line for line in done.stderr.splitlines()), done.stderr
        assert words in done.stderr
    answer = json.loads(command("check", "--json", bad).stdout)
    assert answer["ok"] is False
    assert len(answer["problems"]) >= 3


def test_run_refuses_a_bad_configuration_before_anything_connects(bad: Path) -> None:
    done = command("run", bad)
    assert done.returncode == Exit.CONFIG
    assert not (bad.parent / "state").exists()


def test_check_online_names_what_does_not_answer(tmp_path: Path) -> None:
    config = tmp_path / "absent.yaml"
    config.write_text(
        "version: 1\nsources:\n  plc: {type: opcua, url: 'opc.tcp://127.0.0.1:9', security: none}\n"
        "machines:\n  - {id: m, read: [{source: plc, signals: [{name: a, node: 'i=2258'}]}]}\n"
    )
    done = command("check", "--online", config)
    assert done.returncode == Exit.PROBLEMS
    assert "ERROR" in done.stdout
    assert "plc" in done.stdout


def test_once_stores_something_of_every_source_and_ends(workshop: Simulation, tmp_path: Path) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text(json.dumps({"version": 1, "page": "off", "state": str(tmp_path / "state")}))
    config = tmp_path / "collector.yaml"
    config.write_text(workshop.config.read_text().replace("shopfloor-demo", "shopfloor-once"))
    done = command("run", "--once", "--json", config, extra, patch=STOPS_AT_LEISURE)
    assert done.returncode == Exit.OK, done.stderr
    books = json.loads(done.stdout)
    assert all(row["decoded"] > 0 for row in books["sources"])
    assert books["unaccounted"] == 0
    assert all(row["pending"] == 0 for row in books["sinks"])
    at_rest = command("status", "--json", "--state", tmp_path / "state")
    assert at_rest.returncode == Exit.UNAVAILABLE
    assert json.loads(at_rest.stdout)["running"] is False


def test_a_dry_run_prints_and_stores_nothing(workshop: Simulation, tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text(workshop.config.read_text())
    seen = said_by({"cnc-1", "energy-1", "compressor-1"}, "run", "--dry-run", "--json", config)
    assert seen == {"cnc-1", "energy-1", "compressor-1"}
    assert command("run", "--dry-run", "--for", "100ms", config).returncode == Exit.OK
    assert [path.name for path in tmp_path.iterdir()] == ["collector.yaml"]


def said_by(wanted: set[str], *words: str | Path) -> set[str]:
    """The machines of `wanted` that have said something when all of them have, or when it ends by itself."""
    line, seen = [sys.executable, "-P", "-m", "collector", *map(str, words)], set[str]()
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True
    ) as process:
        assert process.stdout is not None
        for row in map(json.loads, process.stdout):
            seen |= wanted & {row["machine"]}
            if seen == wanted:
                break
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == Exit.OK
    return seen


async def test_a_dry_run_trusts_whom_the_collector_trusts(workshop: Simulation, tmp_path: Path) -> None:
    """And shows the machine the same certificate: trusted once, on both sides, is enough."""
    config = tmp_path / "collector.yaml"
    yaml = YAML()
    content = yaml.load(workshop.config)
    content["sources"]["cnc-1"].update(security="sign_and_encrypt")
    content["state"] = str(tmp_path / "state")
    yaml.dump(content, config)
    trusted = command("trust", "cnc-1", "--yes", "--config", config)
    assert trusted.returncode == Exit.OK, trusted.stderr
    settings, stop = load([config]).settings, asyncio.Event()
    assert settings is not None
    async with asyncio.timeout(PATIENCE):
        async for row in rows(settings, stop):
            if row["machine"] == "cnc-1":
                stop.set()
    assert (tmp_path / "state" / "pki" / "own" / "collector.pem").exists()


def test_nothing_there(tmp_path: Path) -> None:
    for words in (("status", "--state", tmp_path), ("tap", "--state", tmp_path)):
        done = command(*words)
        assert done.returncode == Exit.UNAVAILABLE
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    missing = command("check", tmp_path / "none.yaml")
    assert missing.returncode == Exit.PROBLEMS
    assert "no such file" in missing.stderr


def test_schema_is_the_committed_one() -> None:
    committed = Path(__file__).parents[2] / "config" / "schema.json"
    assert command("schema").stdout == committed.read_text(encoding="utf-8")


def test_the_demo_ends_with_balanced_books(tmp_path: Path) -> None:
    config = tmp_path / "kept" / "collector.yaml"
    words = ("--json", "--dir", config.parent, "--for", "10min")
    said = run_until(lambda: enough(Collector(config)), *words, verb="demo", patch=STOPS_AT_LEISURE)
    books = json.loads(said)
    assert books["unaccounted"] == 0
    assert {row["name"] for row in books["sources"]} == {"cnc-1", "broker", "collector"}
    assert all(row["decoded"] > 0 for row in books["sources"])
    history = next(row for row in books["sinks"] if row["name"] == "history")
    assert history["stored"] == history["journaled"] > 100
    exported = command("export", config).stdout
    assert exported.count("\n") == history["stored"] + 1


def enough(demo: Collector) -> bool:
    return demo.journaled("cnc-1") > 100 and demo.journaled("broker") > 20


def test_the_demo_ends_when_its_time_is_over(tmp_path: Path) -> None:
    done = command("demo", "--for", "1s", "--json", "--dir", tmp_path / "kept")
    assert done.returncode == Exit.OK, done.stderr
    assert json.loads(done.stdout)["unaccounted"] == 0
