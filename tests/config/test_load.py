"""Several files as one, places, paths, and what the settings say to the rest of the collector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.catalogue import read_models, sink_types, source_types
from adapters.settings import ReadSettings
from config.explain import explain, render, seconds, size
from config.load import Loaded, load
from config.settings import Settings
from config.shapes import is_path
from pipelines.derivations.counter import Counter
from tests.config.samples import GOOD

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "examples"
ENV = {"TOKEN": "t0ken", "INFLUX_TOKEN": "t0ken", "IMM_PASSWORD": "passw0rd", "MQTT_PASSWORD": "passw0rd"}


def written(folder: Path, **files: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [folder / f"{name}.yaml" for name in files]


def good(loaded: Loaded) -> Settings:
    assert loaded.settings is not None, render(loaded.problems)
    return loaded.settings


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_examples_are_valid(example: Path) -> None:
    settings = good(load([example], env=ENV))
    assert list(settings.signals())
    assert explain(settings)


def test_the_workshop_example_says_what_it_promises() -> None:
    settings = good(load([EXAMPLES / "workshop.yaml"], env=ENV))
    assert [m.id for m in settings.machines] == ["cnc-1", *(f"mill-{n}" for n in range(1, 13))]
    (first, *_) = settings.readings("mill-gateway")
    assert (first.machine, first.tags["type"], first.tags["site"]) == ("mill-1", "mill", "diepenbeek")
    assert settings.treatments().of("mill-7", "spindle_load").deadband == 1.0
    assert any("Mill12.Coolant" in line for line in explain(settings))
    counted = {(c.machine, c.signal): c for c in settings.counters()}
    assert counted["mill-12", "part_counter"] == Counter("mill-12", "part_counter", "parts_made")
    assert counted["cnc-1", "part_counter"].outputs == ("parts_made", "parts_made_event", "parts_taken_back")
    (line,) = (line for line in explain(settings) if "s=Parts" in line)
    assert line.endswith("increments as parts_made (rolls over at 16 bits), corrections as parts_taken_back")
    assert getattr(settings.sources["lab-broker"], "ca", None) == EXAMPLES / "ca.pem"


def test_a_folder_is_one_configuration(tmp_path: Path) -> None:
    head, rest = GOOD.split("machines:\n")
    machines, sinks = rest.split("sinks:\n")
    cnc, meter = machines.split("  - id: meter-1")
    folder = tmp_path / "conf.d"
    written(
        folder,
        a=head,
        b=f"version: 1\nmachines:\n{cnc}",
        c=f"machines:\n  - id: meter-1{meter}",
        d=f"sinks:\n{sinks}",
    )
    whole = good(load(written(tmp_path, whole=GOOD), env=ENV))
    parts = good(load([folder, folder / "b.yaml"], env=ENV))
    assert parts.model_copy(update={"state": whole.state}) == whole
    assert parts.state == folder / "state"


def test_what_is_said_twice_names_both_places(tmp_path: Path) -> None:
    first = GOOD + "location: {site: a}\n"
    second = 'version: 1\nlocation: {site: b}\nsources:\n  plc: {type: mqtt, url: "mqtt://h"}\n'
    one, two = written(tmp_path, one=first, two=second)
    said = {(p.file, p.line): p.message for p in load([one, two], env=ENV).errors}
    assert said == {
        (str(two), 2): f"location is given twice: first in {one}:19",
        (str(two), 4): f"the source plc is given twice: first in {one}:3",
    }


def test_problems_of_every_file_are_listed(tmp_path: Path) -> None:
    files = written(tmp_path, a="version: 1\nfoo: 1\n", b="a: [\n", c="", d="machines: {}\n")
    assert {Path(p.file).stem for p in load([*files, tmp_path / "e.yaml"], env=ENV).errors} == set("abcde")


def test_places_are_remembered(tmp_path: Path) -> None:
    (file,) = written(tmp_path, c=GOOD)
    (tmp_path / "l.csv").write_text("name;node\nx;i=1\ny;i=2\n")
    text = GOOD.replace(
        "    signals:\n      - {name: load", "    signals_file: l.csv\n    signals:\n      - {name: load"
    )
    file.write_text(text)
    loaded = load([file], env=ENV)
    good(loaded)
    places = loaded.places
    assert str(places.source("broker")) == f"{file}:4:3"
    assert str(places.signal("cnc-1", "load")) == f"{file}:10:10"
    assert str(places.signal("cnc-1", "y")) == f"{tmp_path / 'l.csv'}:3:name"
    assert places.signal("cnc-1", "named by the machine") == places.machine("cnc-1")
    assert places.sink("influxdb").line == 19
    assert places.sink("unknown").file == str(file)
    assert set(loaded.files) == {file, tmp_path / "l.csv"}


def test_relative_paths_begin_at_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = 'sources:\n  b2: {type: mqtt, url: "mqtts://h", ca: ../ca.pem, client_id: x}\n'
    use = "machines:\n  - {id: x, source: b2, topic: t, payload: text, signals: [{name: a}]}\n"
    written(tmp_path / "one", a=GOOD)
    written(tmp_path / "two", b=broker + use)
    settings = good(load([Path("one"), Path("two")], env=ENV))
    assert getattr(settings.sources["b2"], "ca", None) == tmp_path / "ca.pem"
    assert settings.buffer_file == tmp_path / "one" / "state" / "buffer.sqlite"


def test_state_is_relative_and_absolute_stays(tmp_path: Path) -> None:
    assert good(load(written(tmp_path, a=GOOD + "state: s\n"), env=ENV)).state == tmp_path / "s"
    elsewhere = tmp_path / "elsewhere"
    assert good(load(written(tmp_path, a=f"{GOOD}state: {elsewhere}\n"), env=ENV)).state == elsewhere


def test_defaults(tmp_path: Path) -> None:
    settings = good(load(written(tmp_path, a=GOOD), env=ENV))
    assert settings.history is not None
    assert settings.page is not None
    assert (settings.history.path, settings.page.host, settings.page.port) == ("history", "127.0.0.1", 8080)
    assert (settings.buffer.max, settings.buffer.window) == (2 * 10**9, 0.25)
    assert settings.sink_names == ("influxdb",)
    assert settings.sinks[0].name == "influxdb"


def test_tags_and_stale_after(tmp_path: Path) -> None:
    text = GOOD.replace(
        "source: plc",
        "source: plc\n    type: mill\n    label: L\n    location: {site: b, line: '3'}\n    tags: {cell: x}",
    )
    text = (
        text.replace("value: P", "value: P\n            stale_after: 1min")
        + "location: {site: a, area: lab}\n"
    )
    settings = good(load(written(tmp_path, a=text), env=ENV))
    (reading,) = settings.readings("plc")
    assert dict(reading.tags) == {"site": "b", "area": "lab", "line": "3", "type": "mill", "cell": "x"}
    assert isinstance(reading.read, ReadSettings)
    assert settings.stale_after() == {("meter-1", "power"): 60.0}
    assert settings.readings("nobody") == []


def test_numbers_may_come_from_the_environment(tmp_path: Path) -> None:
    settings = good(
        load(written(tmp_path, a=GOOD + 'page: {port: "${env:PORT}"}\n'), env={**ENV, "PORT": "9001"})
    )
    assert settings.page is not None
    assert settings.page.port == 9001


def test_equal_files_make_equal_settings(tmp_path: Path) -> None:
    (file,) = written(tmp_path, a=GOOD)
    assert good(load([file], env=ENV)) == good(load([file], env=ENV))


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "x")
    good(load(written(tmp_path, a=GOOD)))


def test_warnings_do_not_prevent(tmp_path: Path) -> None:
    loaded = load(
        written(tmp_path, a=GOOD.replace("sources:\n", 'sources:\n  idle: {type: mqtt, url: "mqtt://h"}\n')),
        env=ENV,
    )
    good(loaded)
    (unused,) = [p for p in loaded.warnings if "no machine reads" in p.message]
    assert (unused.line, unused.level) == (3, "warning")


def test_nothing_kept_is_a_warning(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, a=GOOD[: GOOD.index("sinks:")] + "history: off\n"), env=ENV)
    assert any("nothing is kept" in p.message for p in loaded.warnings)


def test_explain_warns_of_namespace_indexes(tmp_path: Path) -> None:
    settings = good(load(written(tmp_path, a=GOOD.replace("nsu=urn:cnc;s=Load", "ns=3;s=Load")), env=ENV))
    lines = explain(settings)
    at = next(i for i, line in enumerate(lines) if "ns=3;s=Load" in line)
    assert "every 250ms" in lines[at]
    assert "nsu=<uri of namespace 3>;s=Load" in lines[at + 1]
    assert lines[-1] == "2 machines, 2 signals, 2 sources"


@pytest.mark.parametrize(
    ("given", "text"),
    [(0.25, "250ms"), (5, "5s"), (900, "15min"), (90 * 86400, "90d"), (1.5, "1500ms"), (0, "0s")],
)
def test_durations_are_shown_as_they_are_written(given: float, text: str) -> None:
    assert seconds(given) == text


@pytest.mark.parametrize(("given", "text"), [(2 * 10**9, "2GB"), (500 * 10**6, "500MB"), (10, "10B")])
def test_sizes_are_shown_as_they_are_written(given: int, text: str) -> None:
    assert size(given) == text


def test_the_catalogue_knows_every_type() -> None:
    assert set(source_types()) == {"opcua", "mqtt"}
    assert set(sink_types()) == {"influxdb", "mqtt"}
    assert read_models() == tuple(model.read_model for model in source_types().values())


def test_no_heavy_library_is_imported() -> None:
    """`check` and `--help` stay instant; checked in a process of its own, because other tests import everything."""
    code = (
        "import sys, config.load, config.explain, config.schema, adapters.catalogue\n"
        "heavy = {'asyncua', 'paho', 'influxdb_client', 'pyarrow', 'duckdb', 'cryptography', 'starlette'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["ca", "certificate", "private_key"])
def test_files_of_adapters_are_typed_as_paths(key: str) -> None:
    """Only what is typed Path is made relative to its file: a text would silently begin at the working folder."""
    models = [*source_types().values(), *sink_types().values()]
    fields = [model.model_fields[key] for model in models if key in model.model_fields]
    assert fields
    assert all(is_path(field.annotation) for field in fields)


@pytest.mark.parametrize("unit", ["CEL", "°C", "r/min", "RPM", "P1", "KWT", "kW", "pallets", ""])
def test_units_by_code_by_symbol_and_of_ones_own(tmp_path: Path, unit: str) -> None:
    good(load(written(tmp_path, a=GOOD.replace('unit: "%"', f'unit: "{unit}"')), env=ENV))
