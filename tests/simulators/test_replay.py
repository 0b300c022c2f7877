"""Recordings played again: what a stranger's client receives equals the file; the oracle reads the file by itself."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asyncua import ua
from asyncua.client.client import Client
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.cli import main
from simulators.errors import SimulatorError
from simulators.model import Type
from simulators.replay.run import Plan, run
from simulators.replay.tape import open_tape
from tests.mqtt.peers import Mosquitto
from tests.mqtt.test_okuma import PLACES, expected
from tests.simulators.runs import rows
from tests.simulators.test_cli import Start, line, say, start

__all__ = ["start"]

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


def recording(name: str) -> Path:
    for place in PLACES:
        if place and (Path(place) / name).is_file():
            return Path(place) / name
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing: set SHOPFLOOR_DATA to its folder")
    pytest.skip(f"{name} is not here: set SHOPFLOOR_DATA to its folder")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker", ["max_queued_messages 0"])
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@contextmanager
def subscriber(port: int, topic: str) -> Iterator[Callable[[int], list[tuple[str, bytes]]]]:
    """A client that is not ours; the function waits until it has so many messages."""
    import threading

    got: list[tuple[str, bytes]] = []
    more, ready = threading.Condition(), threading.Event()

    def message(_client: Any, _data: Any, received: paho.MQTTMessage) -> None:
        with more:
            got.append((received.topic, bytes(received.payload)))
            more.notify()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(topic, 1)
    assert ready.wait(90)

    def wait(count: int) -> list[tuple[str, bytes]]:
        with more:
            assert more.wait_for(lambda: len(got) >= count, 120)
        return got

    try:
        yield wait
    finally:
        client.disconnect()
        client.loop_stop()


def play(file: Path, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Play to the end; the value rows of the truth."""
    command = ["replay", str(file), "--dir", str(folder), "--leave", "--speed", "0", *arguments]
    assert main(command) == 0
    return list(rows(folder / "truth.jsonl"))


def test_a_real_machines_lines_come_out_as_they_went_in(tmp_path: Path, mosquitto: Mosquitto) -> None:
    file = recording("okuma.txt")
    lines = file.read_bytes().splitlines()
    with subscriber(mosquitto.port, "shdr/okuma") as received:
        truth = play(file, tmp_path / "d", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
        assert [payload for _, payload in received(len(lines))] == lines
    said = Counter(
        (name, None if text == "UNAVAILABLE" else text) for each in lines for name, text in expected(each)
    )
    assert Counter((row["signal"], row["value"]) for row in truth) == said
    timed = [row for row in truth if row["t"] is not None]
    first = next(row for row in timed if row["signal"] == "avail")
    assert first["t"] == 1659966694716714600  # 2022-08-08T13:51:34.7167146Z


def test_shifted_lines_keep_all_but_their_time(tmp_path: Path, mosquitto: Mosquitto) -> None:
    file = tmp_path / "rec.txt"
    file.write_text("2022-01-01T00:00:00.5Z|a|1\n* note: x\n2022-01-01T00:00:00.7000001Z|b|2|c|UNAVAILABLE\n")
    with subscriber(mosquitto.port, "shdr/#") as received:
        broker = f"mqtt://127.0.0.1:{mosquitto.port}"
        truth = play(
            file, tmp_path / "d", "--broker", broker, "--machine", "lathe", "--shift", "2026-01-01T00:00:00Z"
        )
        assert received(3) == [
            ("shdr/lathe", b"2026-01-01T00:00:00.000000000Z|a|1"),
            ("shdr/lathe", b"* note: x"),
            ("shdr/lathe", b"2026-01-01T00:00:00.200000100Z|b|2|c|UNAVAILABLE"),
        ]
    assert [(row["signal"], row["t"], row["value"]) for row in truth] == [
        ("a", START, "1"),
        ("* note", None, "x"),
        ("b", START + 200_000_100, "2"),
        ("c", START + 200_000_100, None),
    ]


def test_a_series_of_temperatures_as_json(tmp_path: Path, mosquitto: Mosquitto) -> None:
    file = recording("machine_temperature_system_failure.csv")
    with file.open() as opened:
        table = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(opened)][:2000]
    with subscriber(mosquitto.port, "replay/pump/value") as received:
        broker = f"mqtt://127.0.0.1:{mosquitto.port}"
        truth = play(file, tmp_path / "d", "--broker", broker, "--machine", "pump", "--max-values", "2000")
        payloads = [json.loads(payload) for _, payload in received(2000)]
    times = [int(dt.datetime.fromisoformat(f"{t}+00:00").timestamp()) for t, _ in table]
    assert [(each["ts"] / 1e6, each["value"]) for each in payloads] == list(
        zip(times, [v for _, v in table], strict=True)
    )
    assert [(row["t"] // 10**9, row["value"]) for row in truth] == list(
        zip(times, [v for _, v in table], strict=True)
    )


class Listener:
    def __init__(self) -> None:
        self.got: list[tuple[str, int, Any, int]] = []

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        received = data.monitored_item.Value
        at = received.SourceTimestamp
        since = (
            0
            if at is None
            else (at.replace(tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
            // dt.timedelta(microseconds=1)
        )
        self.got.append((str(node.nodeid.Identifier), since * 1000, value, received.StatusCode.value))


TABLE = [
    ("2026-01-01T00:00:00Z", "load", "41.5", "good"),
    ("2026-01-01T00:00:00.000001Z", "count", "7", ""),
    ("2026-01-01T00:00:00.000002Z", "on", "true", "good"),
    ("2026-01-01T00:00:00.000003Z", "tool", "T12", "good"),
    ("2026-01-01T00:00:00.000004Z", "load", "42", "uncertain"),
    ("2026-01-01T00:00:00.000005Z", "count", "7", "good"),  # no change: no server reports it
    ("2026-01-01T00:00:00.000006Z", "tool", "12", "good"),
    ("2026-01-01T00:00:00.000007Z", "load", "", "bad"),
]
PLAYED = [
    ("m1/load", 0, 41.5, 0),
    ("m1/count", 1, 7, 0),
    ("m1/on", 2, True, 0),
    ("m1/tool", 3, "T12", 0),
    ("m1/load", 4, 42.0, 0x40000000),
    ("m1/tool", 6, "12", 0),
    ("m1/load", 7, None, 0x80000000),
]


def table_file(folder: Path, ending: str) -> Path:
    path = folder / f"rec.{ending}"
    if ending == "csv":
        lines = ["t,machine,signal,value,quality", *(f"{t},m1,{s},{v},{q}" for t, s, v, q in TABLE)]
        path.write_text("\n".join(lines) + "\n")
        return path
    named = [
        {"seq": n, "machine": "m1", "signal": s, "at": START + n * 1000, "flags": 0, **_column(s, v)}
        | {"quality": {"good": 0, "": 0, "uncertain": 0x40000000, "bad": 0x80000000}[q]}
        for n, (_, s, v, q) in enumerate(TABLE)
    ]
    if ending == "jsonl":
        rows_ = [
            {
                "t": r["at"],
                "machine": "m1",
                "signal": r["signal"],
                "value": _value(r),
                "quality": r["quality"],
            }
            for r in named
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows_)))  # order is found by time
        return path
    types = {
        "at": pa.timestamp("ns", "UTC"),
        "integer": pa.int64(),
        "quality": pa.uint32(),
        "flags": pa.uint8(),
    }
    types |= {
        "unsigned": pa.uint64(),
        "flag": pa.bool_(),
        "text": pa.string(),
        "waveform": pa.list_(pa.float64()),
    }
    names = [
        "seq",
        "machine",
        "signal",
        "at",
        "number",
        "integer",
        "unsigned",
        "flag",
        "text",
        "waveform",
        "quality",
        "flags",
    ]
    columns = {
        n: pa.array([row.get(n) for row in sorted(named, key=lambda r: r["signal"])], types.get(n))
        for n in names
    }
    pq.write_table(pa.table(columns), path)
    return path


def _column(signal: str, value: str) -> dict[str, Any]:
    if value == "":
        return {}
    typed: dict[str, tuple[str, Any]] = {
        "load": ("number", 41.5 if value == "41.5" else 42.0),
        "count": ("integer", 7),
        "on": ("flag", True),
        "tool": ("text", value),
    }
    kind, cell = typed[signal]
    return {kind: cell}


def _value(row: dict[str, Any]) -> Any:
    return next((row[name] for name in ("number", "integer", "flag", "text") if name in row), None)


def test_what_a_collector_said_of_itself_is_no_machine(tmp_path: Path) -> None:
    """A whole export has it; a configuration with such a machine would be refused."""
    file = tmp_path / "export.csv"
    file.write_text("time,machine,signal,value\n1,collector,tick,1\n2,m,a,5\n3,collector,tick,2\n")
    tape = open_tape(file)
    assert (tape.machines, tape.values, tape.first) == (["m"], 1, next(tape.events()).t)
    alone = tmp_path / "collector.csv"
    alone.write_text("time,a\n1,5\n")
    assert open_tape(alone, "m").machines == ["m"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
async def test_a_table_becomes_nodes(start: Start, tmp_path: Path, ending: str) -> None:
    process = start(
        "replay",
        str(table_file(tmp_path, ending)),
        "--face",
        "opcua",
        "--hold",
        "--speed",
        "0",
        "--dir",
        str(tmp_path / "d"),
    )
    ready = line(process)
    assert (ready["machines"], ready["signals"], ready["values"]) == (["m1"], 4, 8)
    listener = Listener()
    async with Client(ready["endpoints"]["replay"], timeout=90) as client:
        index = await client.get_namespace_index("urn:shopfloor:replay")
        nodes = [client.get_node(f"ns={index};s=m1/{name}") for name in ("load", "count", "on", "tool")]
        kinds = [await node.read_data_type_as_variant_type() for node in nodes]
        assert kinds == [
            ua.VariantType.Double,
            ua.VariantType.Int64,
            ua.VariantType.Boolean,
            ua.VariantType.String,
        ]
        subscription = await client.create_subscription(20, listener)
        await subscription.subscribe_data_change(nodes, queuesize=100)
        while (
            len(listener.got) < 4
        ):  # or a first value and the next ones come in one notification, signal by signal
            await asyncio.sleep(0.02)
        say(process, "go")
        done = await asyncio.to_thread(line, process)  # it waits for this client, which lives in this loop
        assert done["emitted"] == {"m1": 7}
        while len(listener.got) < 4 + 7:
            await asyncio.sleep(0.02)
        await subscription.delete()
    assert {status for *_, status in listener.got[:4]} == {0x80320000}
    wanted = [(name, START + us * 1000, value, status) for name, us, value, status in PLAYED]
    assert sorted(listener.got[4:], key=lambda row: row[1]) == wanted
    truth = [(f"m1/{r['signal']}", r["t"], r["value"]) for r in rows(tmp_path / "d" / "truth.jsonl")]
    assert truth == [row[:3] for row in wanted]
    say(process, "stop")
    assert line(process)["event"] == "stopped"
    assert process.wait(120) == 0


async def test_speed_and_loop_move_the_times_on(tmp_path: Path) -> None:
    file = tmp_path / "rec.csv"
    file.write_text("t,signal,value\n" + "".join(f"2026-01-01T00:00:{s:02d}Z,x,{s}\n" for s in range(10)))
    plan = Plan(file, tmp_path / "t", tmp_path / "c", "opcua", speed=20.0, loop=True, limit=25, leave=True)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await run(plan) == 0
    assert loop.time() - begin >= 24 / 20
    found = [(row["t"] - START, row["value"]) for row in rows(tmp_path / "t")]
    assert found == [(n * 10**9, n % 10) for n in range(25)]


def test_types_follow_from_all_values_of_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "a b.csv"
    file.write_text(
        "timestamp,n,f,b,s,big\n1767225600,1,1,true,1,18446744073709551615\n1767225601,2,2.5,false,x,\n"
    )
    tape = open_tape(file)
    assert tape.machines == ["a-b"]
    assert [kind.name for kind in tape.signals.values()] == ["INT64", "DOUBLE", "BOOLEAN", "STRING", "DOUBLE"]
    assert (tape.first, tape.last - tape.first, tape.span) == (START, 10**9, 2 * 10**9)
    assert tape.signals["a-b", "s"] is Type.STRING


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", ""), ("a.csv", "x,y\n1,2\n"), ("a.csv", "t,signal,value\nsoon,x,1\n"), ("a.csv", "t,signal,value\n1,x\n"),
     ("a.txt", "nonsense\n"), ("a.txt", "soon|a|1\n"), ("a.jsonl", "{}\n"), ("a.jsonl", "[]\n"), ("a.xls", "")],
)  # fmt: skip
def test_what_is_no_recording_is_said_in_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SimulatorError, match=name):
        open_tape(tmp_path / name)


@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_a_recording_that_grows_is_played_as_far_as_it_was_looked_through(
    ending: str, tmp_path: Path
) -> None:
    """Somebody may still be recording: of a signal that came later neither readers nor the address space know anything."""
    at = "2026-01-01T00:00:0{}Z"
    lines = {
        "csv": [
            "time,machine,signal,value\n",
            *(f"{at.format(n)},m,{s},{n}\n" for n, s in enumerate("aabb")),
        ],
        "txt": [f"{at.format(n)}|{s}|{n}\n" for n, s in enumerate("aabb")],
    }[ending]
    file = tmp_path / f"r.{ending}"
    file.write_text("".join(lines[:-2]))
    tape = open_tape(file, "m")
    with file.open("a") as still:
        still.writelines(lines[-2:])
    assert [(row.signal, str(row.value)) for event in tape.events() for row in event.rows] == [
        ("a", "0"), ("a", "1")
    ]  # fmt: skip
