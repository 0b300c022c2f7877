"""The benchmarks work and find what is lost; how fast anything is, is not tested here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.process import CannotMeasure, child, python
from benchmarks.row import Row, Wish, table
from benchmarks.servers import Database, Stored, database
from simulators.load.series import Series, name_of
from tests.servers import binary

pytestmark = pytest.mark.timeout(1200)

KEYS = {"name", "values_per_s", "cpu_us_per_value", "rss_mb", "lost", "baseline"}
ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1000, check=False, cwd=ROOT)


@pytest.mark.server("victoria-metrics")
@pytest.mark.server("mosquitto")
@pytest.mark.parametrize(
    ("name", "options", "scripts"),
    [
        ("opcua", ["--seconds=2"], 1),
        ("mqtt", ["--seconds=1", "--values=20"], 2),
        ("sparkplug", ["--seconds=1"], 0),
        ("returns", ["--seconds=1", "--away=1"], 0),
    ],
)
def test_rows_of_a_short_run(name: str, options: list[str], scripts: int) -> None:
    """Nothing lost, nothing invented; beside MQTT there is a script with paho's thread and one with aiomqtt."""
    binary("victoria-metrics")
    binary("mosquitto")
    done = run(name, *options, "--variables=100", "--json")
    assert done.returncode == 0, done.stderr
    ours, *others = json.loads(done.stdout)["rows"]
    emitted = 2000 if name == "opcua" else 1000
    assert (ours["back_s"] is not None) is (name == "returns")
    assert all(set(row) >= KEYS for row in (ours, *others))
    assert (ours["name"], ours["baseline"]) == (name, False)
    assert [row["baseline"] for row in others] == [True] * scripts
    balance = (ours["lost"], ours["extra"], ours["emitted"], ours["unaccounted"])
    assert balance == (0, 0, emitted, 0), done.stderr
    assert all(row["emitted"] == emitted for row in others)
    assert ours["cpu_us_per_value"] > 0
    assert ours["rss_mb"] > 20


def test_rows_of_encode() -> None:
    """Each shape of a write beside the client library's Point; nothing lost on the way to text. How much faster ours is stands
    in the benchmarks' README: a computer that others work on gives no figure that two rows can be compared by.
    """
    done = run("encode", "--seconds=0.1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["baseline"], row["lost"], row["emitted"]) for row in rows] == [
        (False, 0, 20_000),
        (True, 0, 20_000),
    ] * 2
    assert all(row["cpu_us_per_value"] > 0 for row in rows)


def test_rows_of_decode() -> None:
    """Every decoder of MQTT payloads reads every value that it is given."""
    done = run("decode", "--seconds=0.2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) >= 12
    assert all(row["lost"] == 0 and row["emitted"] >= 1000 and row["cpu_us_per_value"] > 0 for row in rows)


def test_rows_of_the_load_and_of_security() -> None:
    """The load by itself delivers everything; every encrypted chunk comes out as it went in."""
    done = run(
        "load", "secure", "--seconds=1", "--variables=100", "--types=mixed", "--per-notification=20", "--json"
    )
    assert done.returncode == 0, done.stderr
    load, secure, plain = json.loads(done.stdout)["rows"]
    assert (load["emitted"], load["lost"], load["dropped_by_server"]) == (1000, 0, 0)
    assert (secure["lost"], plain["lost"], plain["baseline"]) == (0, 0, True)
    assert min(secure["cpu_us_per_value"], plain["cpu_us_per_value"]) > 0


@pytest.mark.server("victoria-metrics")
def test_mixed_types_arrive_in_the_database() -> None:
    binary("victoria-metrics")
    done = run(
        "opcua",
        "--seconds=1",
        "--variables=100",
        "--types=mixed",
        "--no-baseline",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    (ours,) = json.loads(done.stdout)["rows"]
    assert (ours["lost"], ours["extra"], ours["emitted"], ours["unaccounted"]) == (0, 0, 1000, 0)


def write(store: Database, series: Series, points: list[tuple[int, int, float]]) -> None:
    import urllib.request

    lines = [f"machine,machine=m1 {name_of(v)}={value!r} {series.at(t)}" for v, t, value in points]
    url = f"{store.url}/api/v2/write?org=o&bucket=b&precision=ns"
    urllib.request.urlopen(url, "\n".join(lines).encode(), timeout=120).close()


@pytest.mark.server("victoria-metrics")
def test_a_lost_an_altered_and_a_repeated_value_are_seen(tmp_path: Path) -> None:
    binary("victoria-metrics")
    series = Series(3, 10, 1_767_225_600_000_000_000)
    whole = [(v, t, series.value(v, t)) for v in range(3) for t in range(5)]
    altered = [
        *whole[:7],
        (1, 2, 1.5),
        *whole[8:14],
        whole[0],
    ]  # one digit wrong, the last one missing, one twice
    with database(tmp_path) as store:
        write(store, series, altered)
        assert store.stored(series, 5) == Stored(right=13, wrong=2)
        write(store, Series(3, 10, series.start_ns + 7_000_000), whole)
        assert store.stored(series, 5) == Stored(right=13, wrong=2 + 15)
        assert store.inserted() == 30


def test_a_missing_server_is_a_plain_word() -> None:
    code = """import shutil, sys
shutil.which = lambda *_: None
from benchmarks.__main__ import main
sys.exit(main(["opcua"]))"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "victoria-metrics is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_cpu_and_memory_are_those_of_the_child(tmp_path: Path) -> None:
    code = """import time
data = bytearray(100_000_000)
sum(range(20_000_000))
print('{"event": "done"}', flush=True)
time.sleep(600)"""
    with child("busy", python("-c", code), 0, tmp_path) as busy:
        busy.event("done", 300)
        assert busy.cpu() > 0.1
        assert busy.peak_mb() > 100
        process = busy.process
    assert process.poll() is not None


def test_a_child_that_ends_early_shows_its_words(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no such thing')"
    with (
        child("short", python("-c", code), 0, tmp_path) as short,
        pytest.raises(CannotMeasure, match="no such thing"),
    ):
        short.event("ready", 300)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_in_the_moment_of_a_start_leaves_no_process(
    tmp_path: Path, asked: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the process is there and nobody knows of it yet."""
    made: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)
            signal.raise_signal(asked)

    before = signal.signal(asked, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", Interrupted)
            with (
                pytest.raises(KeyboardInterrupt),
                child("busy", python("-c", "import time; time.sleep(600)"), 0, tmp_path),
            ):
                pytest.fail("nobody was interrupted")
        assert signal.getsignal(asked) is signal.default_int_handler
    finally:
        signal.signal(asked, before)
    assert made[0].poll() is not None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_a_child_is_pinned_and_we_are_not(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    code = "import json, os, time; print(json.dumps({'event': 'on', 'cores': list(os.sched_getaffinity(0))}), flush=True); time.sleep(600)"
    with child("pinned", python("-c", code), 0, tmp_path) as pinned:
        assert pinned.event("on", 300)["cores"] == [0]
    assert os.sched_getaffinity(0) == before


def test_the_table_compares_with_the_baseline() -> None:
    ours = Row("opcua", 9000.0, 4.0, 100.0, 0, baseline=False, emitted=90_000)
    script = Row("opcua asyncua+Point", 9000.0, 60.0, 90.0, 7, baseline=True, emitted=90_000)
    shown = table([ours, script]).splitlines()
    assert len(shown) == 3
    assert "15.0 times the CPU of opcua" in shown[2]
    assert Wish().seconds == 10


def children(pid: int) -> set[int]:
    return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pid: int) -> bool:
    """It runs: it is there, and no zombie that only waits to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.server("victoria-metrics")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_file(tmp_path: Path, asked: signal.Signals) -> None:
    binary("victoria-metrics")
    command = [sys.executable, "-m", "benchmarks", "opcua", "--seconds=600"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while len(started := children(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(started) == 3  # database, load, collector
        process.send_signal(asked)
        assert process.wait(300) == 130
    deadline = (
        time.monotonic() + 120
    )  # who was told to end a moment before its parent has ended or is about to
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if alive(pid)]
    assert list(tmp_path.iterdir()) == []
