"""Faults of the process itself, with the collector as a process: stopped in order, stopped hard, frozen, starved, broken inside.

Short forms; SHOPFLOOR_LONG=1 makes them as long as the fault list asks.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.cli.exits import Exit
from tests.influxdb.fake import Fake, refusal
from tests.line.harness import ENVIRONMENT, PATIENCE, Collector, eventually, simulation
from tests.line.oracle import compare
from tests.mqtt.peers import Mosquitto, parted

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX"),
    pytest.mark.timeout(600),
]
LONG = os.environ.get("SHOPFLOOR_LONG") == "1"


class Background:
    """An event loop on a thread of its own, for peers that must go on while the test waits for a process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="peers", daemon=True)
        self._thread.start()

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    made = Mosquitto(tmp_path / "broker", ["max_queued_messages 0", "max_inflight_messages 200"])
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
def database() -> Iterator[Fake]:
    background = Background()
    server = Fake()
    background.do(server.start())
    yield server
    background.do(server.stop())
    background.close()


class Load:
    """Numbers 0, 1, 2 … on one topic with QoS 1, each with its own time; `sent` are those that the broker has taken."""

    def __init__(self, port: int, pace: float = 0.002) -> None:
        self.sent = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.max_inflight_messages_set(500)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._pace, self._going = pace, True
        self._thread = threading.Thread(target=self._run, name="load")

    def go(self) -> None:
        """Not before somebody listens: what is sent before the first subscription is nobody's."""
        self._thread.start()

    def _run(self) -> None:
        while self._going:
            self.burst(1)
            time.sleep(self._pace)

    def burst(self, count: int) -> None:
        infos = []
        for _ in range(count):
            payload = json.dumps({"v": self.sent, "t": 1_790_000_000_000 + self.sent})
            infos.append(self._client.publish("hall/count", payload, 1))
            self.sent += 1
        for info in infos:
            info.wait_for_publish(PATIENCE)

    def pause(self) -> None:
        self._going = False
        self._thread.join()

    def close(self) -> None:
        if self._going and self._thread.is_alive():
            self.pause()
        self._client.disconnect()
        self._client.loop_stop()


def configuration(
    folder: Path, broker: Mosquitto, *sinks: dict[str, Any], keep_alive: str = "60s", **more: Any
) -> Path:
    """keep_alive: so long that no standstill of a busy computer parts anybody who is not meant to be parted."""
    path = folder / "collector.yaml"
    signals = [{"name": "count", "value": "v"}]
    read = {
        "source": "hall",
        "topic": "hall/count",
        "payload": {"type": "json", "time": "t"},
        "signals": signals,
    }
    source = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "keep_alive": keep_alive}
    config = {"version": 1, "page": "off", "sources": {"hall": source}, "sinks": list(sinks),
              "machines": [{"id": "meter", "read": [read]}], **more}  # fmt: skip
    path.write_text(json.dumps(config))
    return path


def influx(database: Fake) -> dict[str, Any]:
    return {"type": "influxdb", "url": database.url, "org": "o", "bucket": "machines", "token": "t"}


@contextmanager
def running(
    config: Path, limit: str = "true", more: Sequence[Path] = (), patch: str = ""
) -> Iterator[Collector]:
    """limit: what the shell sets for it, such as `ulimit -n 40`. more: further files of the configuration. patch: see `start`."""
    process = Collector(config, *more)
    start(process, limit, patch)
    try:
        yield process
    finally:
        process.close()


STOPS_AT_LEISURE = "import collector.run; collector.run.DRAIN = collector.run.SEALING = 36_000.0"
"""For tests of what is stored at the end: a computer that stands still for seconds would rightly leave the rest for later."""

DRAINS_FOR_HOURS = "import collector.run; collector.run.DRAIN = 36_000.0"


def start(process: Collector, limit: str = "true", patch: str = "") -> None:
    """patch: statements before the program."""
    program = ["-c", f"{patch}\nfrom collector.__main__ import main\nraise SystemExit(main())"]
    begun = program if patch else ["-m", "collector"]
    command = [sys.executable, "-P", *begun, "run", "--json", *map(str, process.config)]
    limited = ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", *command]
    with (process.folder / "collector.log").open("a") as log:
        process.process = subprocess.Popen(
            limited, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT, text=True
        )


def stored(process: Collector) -> list[int]:
    """The numbers in history and buffer, as `export` says, in their order."""
    rows = process.export()["meter", "count"]
    return [int(rows[at]) for at in sorted(rows)]


def taken(process: Collector, source: str = "hall") -> int:
    """Values in the buffer since the first start; after a reconnection some of them twice, under the same key."""
    books = process.books() or {"sources": []}
    return int(next((row["journaled"] for row in books["sources"] if row["name"] == source), 0))


def wait_stored(process: Collector, load: Load) -> None:
    """Until nothing that the broker took is missing: what is in a socket may come long before the rest, behind a new session."""

    def all_of_it() -> bool:
        return taken(process) >= load.sent and stored(process) == list(range(load.sent))

    eventually(all_of_it, "everything sent is stored")


def test_an_orderly_stop_under_load(tmp_path: Path, broker: Mosquitto, database: Fake) -> None:
    """P5: SIGTERM while messages come in and one batch after the other goes out: exit 0 without waiting for an end of the
    messages, nothing missing, and the next start sends at most one write again."""
    config = configuration(tmp_path, broker, influx(database))
    load = Load(broker.port)
    try:
        with running(config, patch="" if LONG else STOPS_AT_LEISURE) as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 300, "values flow")
            began = time.monotonic()
            books = process.stop()
            assert time.monotonic() - began < (16 if LONG else PATIENCE)
            assert books["unaccounted"] == 0
            assert all(row["pending"] == 0 for row in books["sinks"])
            before = len(database.writes)
            asyncio.run(parted(broker.port))  # a broker that stood still has acknowledgements to read
            start(process)
            eventually(lambda: taken(process) > 600, "values flow again")
            load.pause()
            eventually(lambda: len(values(database)) == load.sent, "everything sent is stored")
            process.stop()
            again = [body for body in bodies(database, 0, before) if body in set(bodies(database, before))]
            assert len(bodies(database, 0, before)) > 300
            assert again == []  # drained: not even the last write comes twice
            assert sorted(values(database)) == list(range(load.sent))
            assert stored(process) == list(range(load.sent))
        modes(tmp_path / "state")
    finally:
        load.close()


def bodies(database: Fake, first: int, last: int | None = None) -> list[bytes]:
    """The lines of the numbers in these writes, as sent."""
    lines = [line for request in database.writes[first:last] for line in request.body.splitlines()]
    return [line for line in lines if b" count=" in line]


def values(database: Fake) -> set[int]:
    return {int(fields["count"]) for fields in list(database.points.values()) if "count" in fields}


def modes(state: Path) -> None:
    """S8: the state folder is its owner's alone, and so is every file in it."""
    assert state.stat().st_mode & 0o777 == 0o700
    files = [path for path in state.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_a_backup_put_back_elsewhere_goes_on(tmp_path: Path, broker: Mosquitto) -> None:
    """S25: configuration and state folder copied while it is stopped, put back under another name: the books balance, and
    what came meanwhile comes to it.
    """
    load = Load(broker.port)
    (tmp_path / "old").mkdir()
    try:
        with running(configuration(tmp_path / "old", broker)) as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 200, "values flow")
            process.stop()
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        with running(tmp_path / "new" / "collector.yaml") as process:
            eventually(lambda: taken(process) > 400, "values flow again")
            load.pause()
            wait_stored(process, load)
            assert process.stop()["unaccounted"] == 0
            assert stored(process) == list(range(load.sent))
    finally:
        load.close()


def test_a_second_signal_does_not_wait(tmp_path: Path, broker: Mosquitto, database: Fake) -> None:
    """P5: with a dead database the first SIGTERM drains in vain; the second ends it at once, and nothing is missing."""
    database.rule = lambda *_: refusal(503, "down")
    load = Load(broker.port)
    try:
        with running(configuration(tmp_path, broker, influx(database)), patch=DRAINS_FOR_HOURS) as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 100, "values flow")
            assert process.process is not None
            process.process.send_signal(signal.SIGTERM)
            eventually(lambda: process.books() is None or "stopped" in str(process.books()), "it is stopping")
            process.process.send_signal(signal.SIGTERM)
            process.process.communicate(timeout=PATIENCE)
            assert process.process.returncode == Exit.OK
            load.pause()
            database.rule = lambda *_: None
            start(process)
            eventually(lambda: len(values(database)) == load.sent, "everything sent is stored")
            process.stop()
    finally:
        load.close()


def test_a_frozen_process_comes_back(tmp_path: Path, broker: Mosquitto) -> None:
    """P6: stopped for longer than any keep-alive: the session is found dead, comes back, the standstill is a gap record."""
    frozen = 30 if LONG else 7
    load = Load(broker.port, 0.01)
    try:
        with running(configuration(tmp_path, broker, keep_alive="2s")) as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 50, "values flow")
            assert process.process is not None
            process.process.send_signal(signal.SIGSTOP)
            time.sleep(frozen)  # the fault itself
            process.process.send_signal(signal.SIGCONT)
            seen = taken(process)
            eventually(lambda: taken(process) > seen + 100, "values flow again", 30 if LONG else PATIENCE)
            load.pause()
            wait_stored(process, load)
            books = process.stop()
            assert books["unaccounted"] == 0
            assert stored(process) == list(range(load.sent))
            holes = process.holes({"meter": "collector"})["meter"]
            assert any(hole.ends - hole.begins > (frozen - 1.5) * 1e9 for hole in holes)
            assert "stood still for" in process.log()
    finally:
        load.close()


def test_a_frozen_process_comes_back_to_a_machine(tmp_path: Path) -> None:
    """P6: the same over OPC UA: what the machine did not keep for us is covered by gap records, nothing else is missing."""
    frozen = 30 if LONG else 7
    extra = tmp_path / "extra.yaml"
    extra.write_text(json.dumps({"version": 1, "page": "off"}))
    with simulation(tmp_path, "cnc") as machine, running(machine.config, more=[extra]) as process:
        process.wait_connected("cnc-1")
        machine.go()
        eventually(lambda: taken(process, "cnc-1") > 50, "values flow")
        assert process.process is not None
        process.process.send_signal(signal.SIGSTOP)
        time.sleep(frozen)  # the fault itself
        process.process.send_signal(signal.SIGCONT)
        since = machine.told("value")[-1]["t"]
        eventually(
            lambda: newest(process) > since, "what is said now is stored, and not what was in the socket"
        )
        machine.stop_changes()
        process.wait_stored(machine.truth(), {"cnc-1": ("cnc-1", "collector")})
        books = process.stop()
        assert books["unaccounted"] == 0
        holes = [hole for source in ("cnc-1", "collector") for hole in process.holes({"x": source})["x"]]
        judged = compare(machine.truth(), process.export(), {"cnc-1": holes})
    assert judged.clean, (judged.missing[:5], judged.spurious[:5], judged.altered[:5])
    stood = [hole for hole in holes if hole.source == "collector"]
    assert any(hole.ends - hole.begins > (frozen - 1.5) * 1e9 for hole in stood)


def newest(process: Collector) -> int:
    """Of what the machine has said, ns."""
    return max(at for (machine, _), rows in process.export().items() if machine == "cnc-1" for at in rows)


def test_a_burst_within_a_memory_limit(tmp_path: Path, broker: Mosquitto, database: Fake) -> None:
    """P7: a limit on memory, ten times the load and a database that is away: it stays under the limit, or dies and starts
    again; nothing is missing."""
    limit = 1400 * 2**20
    database.rule = lambda *_: refusal(503, "down")
    load = Load(broker.port)
    try:
        with running(
            configuration(tmp_path, broker, influx(database)), f"ulimit -v {limit // 1024}"
        ) as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 100, "values flow")
            load.pause()
            for _ in range(40 if LONG else 5):
                load.burst(2500)
            eventually(lambda: came(process, load, limit), "everything came, restarts included")
            database.rule = lambda *_: None
            eventually(lambda: len(values(database)) == load.sent, "everything sent is stored")
            assert process.process is not None
            assert peak(process.process.pid) < limit
            books = process.stop()
            assert books["unaccounted"] == 0
    finally:
        load.close()


def came(process: Collector, load: Load, limit: int) -> bool:
    """Also when the limit killed it: then it is started again, as a service manager does."""
    assert process.process is not None
    if process.process.poll() is not None:
        process.process.communicate()  # else its pipe is closed by the collector of garbage, in somebody else's test
        start(process, f"ulimit -v {limit // 1024}")
    return taken(process) >= load.sent


def peak(pid: int) -> int:
    """The most memory that a process has had resident, bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_no_more_files(tmp_path: Path, broker: Mosquitto) -> None:
    """P8: forty files and somebody who takes them all: values flow on, an alarm at the next look, and it ends when there are some again."""
    load = Load(broker.port, 0.005)
    takers: list[socket.socket] = []
    try:
        with running(configuration(tmp_path, broker), "ulimit -n 40") as process:
            process.wait_connected("hall")
            load.go()
            eventually(lambda: taken(process) > 50, "values flow")
            takers += [socket.create_connection(taker_of(process)) for _ in range(40)]
            eventually(lambda: alarmed(process, takers), "the alarm", 5 if LONG else PATIENCE)
            for taker in takers:
                taker.close()
            books = eventually(lambda: well(process), "it is well again")
            before = next(row["journaled"] for row in books["sources"] if row["name"] == "hall")
            eventually(lambda: taken(process) > before + 50, "values flow on")
            load.pause()
            wait_stored(process, load)
            assert process.process is not None
            assert process.process.poll() is None
            assert process.stop()["unaccounted"] == 0
            assert stored(process) == list(range(load.sent))
            assert "Traceback" not in process.log()
    finally:
        for taker in takers:
            taker.close()
        load.close()


def alarmed(process: Collector, takers: list[socket.socket]) -> bool:
    """The collector lets go of who says nothing for 5 s; if it stood still meanwhile it has not looked: they come again."""
    if "this process may have are open" in process.log():
        return True
    for place, taker in enumerate(takers):
        if let_go(taker):
            taker.close()
            takers[place] = socket.create_connection(taker_of(process), timeout=PATIENCE)
    return False


def taker_of(process: Collector) -> tuple[str, int]:
    return "127.0.0.1", int(json.loads((process.state / "control.json").read_text())["port"])


def let_go(taker: socket.socket) -> bool:
    taker.setblocking(False)
    try:
        return taker.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def well(process: Collector) -> dict[str, Any] | None:
    """A computer that is so busy that the collector stands still is not what is asked for: it is told for a minute."""
    books = process.books()
    return books if books is not None and all("stood still" in why for why in books["reasons"]) else None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_nobody_from_outside_can_connect(tmp_path: Path, broker: Mosquitto) -> None:
    """S1, S26: page and control channel listen on this computer only, and nothing else listens."""
    config = configuration(tmp_path, broker, page={"port": 0})
    with running(config) as process:
        process.wait_connected("hall")
        assert process.process is not None
        pid = process.process.pid
        doors = eventually(
            lambda: found if len(found := listening(pid)) >= 2 else None, "page and control channel listen"
        )
        assert len(doors) == 2
        assert {address for address, _ in doors} == {"0100007F"}
    refused = tmp_path / "open.yaml"
    refused.write_text(config.read_text().replace('"port": 0', '"port": 0, "host": "0.0.0.0"'))
    command = [sys.executable, "-P", "-m", "collector", "run", str(refused)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE, check=False
    )
    assert done.returncode == Exit.CONFIG
    assert "127.0.0.1" in done.stderr


def listening(pid: int) -> set[tuple[str, str]]:
    """Address and port (hex) of every TCP socket on which this process listens. A table that changes while it is read may
    have a line twice.
    """
    mine = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            mine.add(str(handle.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and f"socket:[{cells[9]}]" in mine:
                address, _, port = cells[1].partition(":")
                found.add((address, port))
    return found
