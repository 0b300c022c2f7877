"""Sparkplug edges of other people at a mosquitto: what they were told to say, and what was really on the wire.

A row is [name, datatype, value, alias]: bytes as base64, 64-bit integers and times (ms) as texts, None is null. Recorded
sessions lie in corpus/, one JSON object per message: topic, payload (base64), and `means`, the metrics as they were
handed to the library. `python -m tests.peers.edges` records them anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.sparkplug.model import DataType
from tests.contracts.rig import eventually
from tests.mqtt.peers import Mosquitto
from tests.peers import found
from tests.peers.found import Peer

CORPUS = Path(__file__).parent / "corpus"
KINDS = {kind.name.replace("_", "").lower(): kind for kind in DataType}
Row = Sequence[Any]
PLAIN: Sequence[Row] = (
    ("Load", "Double", 12.25),
    ("Speed", "Float", -0.5),
    ("Axis/Int8", "Int8", -128),
    ("Axis/Int16", "Int16", -2),
    ("Axis/Int32", "Int32", -2147483648),
    ("Axis/Int64", "Int64", "-9223372036854775808"),
    ("Axis/UInt8", "UInt8", 255),
    ("Axis/UInt16", "UInt16", 65535),
    ("Axis/UInt32", "UInt32", "4294967295"),
    ("Axis/UInt64", "UInt64", "18446744073709551615"),
    ("Running", "Boolean", True),
    ("Programme", "String", "läuft – 加工中"),
    ("Note", "Text", ""),
    ("Serial", "UUID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("Since", "DateTime", "1700000000123"),
    ("Blob", "Bytes", base64.b64encode(b"\0\xff\n").decode()),
    ("Gone", "Double", None),
)
ARRAYS: Sequence[Row] = (
    ("A/Int8", "Int8Array", [-23, 123]),
    ("A/Int16", "Int16Array", [-30000, 30000]),
    ("A/Int32", "Int32Array", [-1, 315338746]),
    ("A/Int64", "Int64Array", [-4270929666821191986, -3601064768563266876]),
    ("A/UInt8", "UInt8Array", [23, 250]),
    ("A/UInt16", "UInt16Array", [30, 52360]),
    ("A/UInt32", "UInt32Array", [52, 3293969225]),
    ("A/UInt64", "UInt64Array", [52, 16444743074749521625]),
    ("A/Float", "FloatArray", [1.5, -2.25]),
    ("A/Double", "DoubleArray", [12.354213, 1022.9123213]),
    ("A/Boolean", "BooleanArray", [False, False, True, True, False, True, False, False, True, True, False, True]),
    ("A/String", "StringArray", ["ABC", "hello"]),
    ("A/DateTime", "DateTimeArray", [1256102875335, 1656107875000]),
)  # fmt: skip
TABLE: Row = (
    "Tools", "DataSet",
    {"numOfColumns": 2, "types": ["String", "Int32"], "columns": ["tool", "offset"], "rows": [["T1", -3], ["T2", 4]]},
)  # fmt: skip
CHANGED: Sequence[Row] = (
    ("Load", "Double", 99.5),
    ("Axis/Int8", "Int8", 127),
    ("Axis/Int16", "Int16", -32768),
    ("Axis/Int64", "Int64", "-1"),
    ("Running", "Boolean", None),
)


@dataclass(frozen=True)
class Message:
    """What was on the wire; `means` is what the edge was told to say, None for what it says by itself."""

    topic: str
    payload: bytes
    means: Sequence[Row] | None

    @property
    def kind(self) -> str:
        return self.topic.split("/")[2]


@dataclass(frozen=True)
class Session:
    """One library, one manner. aliases: metrics have some. ahead: by how much the last NDEATH's bdSeq is wrong."""

    library: str
    device: Sequence[Row]
    compress: str = ""
    aliases: bool = False
    ahead: int = 0

    def numbered(self, rows: Sequence[Row]) -> list[list[Any]]:
        """With aliases by name, from 1."""
        names = [row[0] for row in self.device]
        return [[*row, names.index(row[0]) + 1 if self.aliases else None] for row in rows]

    def command(self) -> list[str]:
        if self.library == "pysparkplug":
            return found.python("pysparkplug_edge.py")
        return found.node("sparkplug_client.js")


SESSIONS: Mapping[str, Session] = {
    "sparkplug-client": Session("sparkplug-client", (*PLAIN, TABLE)),
    "sparkplug-client-alias": Session("sparkplug-client", (*PLAIN, TABLE), aliases=True),
    "sparkplug-client-gzip": Session("sparkplug-client", PLAIN, compress="GZIP"),
    "sparkplug-client-deflate": Session("sparkplug-client", PLAIN, compress="DEFLATE"),
    "pysparkplug": Session("pysparkplug", (*PLAIN, *ARRAYS), ahead=1),
    "pysparkplug-alias": Session("pysparkplug", (*PLAIN, *ARRAYS), aliases=True, ahead=1),
}


async def record(name: str, broker: Mosquitto) -> list[Message]:
    """Births, changed values, the device's death, an orderly end."""
    session, heard = SESSIONS[name], list[tuple[str, bytes]]()
    ear = paho.Client(CallbackAPIVersion.VERSION2)
    ear.on_message = lambda _client, _data, message: heard.append((message.topic, bytes(message.payload)))
    subscribed = threading.Event()
    ear.on_subscribe = lambda *_: subscribed.set()
    ear.connect("127.0.0.1", broker.port)
    ear.loop_start()
    ear.subscribe("spBv1.0/#", qos=0)
    assert await asyncio.to_thread(subscribed.wait, 60), "no SUBACK: births would not be heard"
    peer = await asyncio.to_thread(Peer, session.command(), broker.folder / f"{name}.log")
    try:
        births = {"node": [["Version", "String", "1.0"]], "device": session.numbered(session.device)}
        wish = {"birth": births, "port": broker.port, "node": name, "compress": session.compress}
        assert (await asyncio.to_thread(peer.ask, wish))["event"] == "born"
        await eventually(lambda: len(heard) == 2, "births arrive")
        await asyncio.to_thread(peer.ask, {"device": session.numbered(CHANGED)})
        await asyncio.to_thread(peer.ask, {"death": True})
        await eventually(lambda: len(heard) == 4, "data and death arrive")
    finally:
        await asyncio.to_thread(peer.stop)
    await eventually(lambda: len(heard) == 5, "the node says that it goes")
    ear.disconnect()
    ear.loop_stop()
    means = [births["node"], births["device"], session.numbered(CHANGED), [], None]
    return [Message(topic, payload, said) for (topic, payload), said in zip(heard, means, strict=True)]


def load(name: str) -> list[Message]:
    """A recorded session of the corpus."""
    lines = (CORPUS / f"{name}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Message(row["topic"], base64.b64decode(row["payload"]), row["means"]) for row in rows]


def save(name: str, messages: Sequence[Message]) -> None:
    rows = [
        {"topic": each.topic, "payload": base64.b64encode(each.payload).decode(), "means": each.means}
        for each in messages
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (CORPUS / f"{name}.jsonl").write_text(text, "utf-8")


def meant(row: Row) -> Any:
    """The value of a row as a Python object."""
    _, kind, value, *_ = row
    if value is None or kind == "DataSet":
        return value
    if kind in ("Bytes", "File"):
        return base64.b64decode(value)
    return int(value) if kind in ("Int64", "UInt64", "UInt32", "DateTime") else value


def value_of(kind: DataType, metric: Mapping[str, Any]) -> Any:
    """The value of a metric that the tests' reader read, by its datatype; both widths of two's complement."""
    if metric.get("is_null"):
        return None
    if kind <= DataType.UINT64:
        bits = {1: 8, 2: 16, 3: 32, 4: 64, 5: 8, 6: 16, 7: 32, 8: 64}[kind]
        number = int(metric["int" if "int" in metric else "long"]) % (1 << bits)
        return number - (1 << bits) if kind <= DataType.INT64 and number >> bits - 1 else number
    if kind >= DataType.INT8_ARRAY:
        return array(kind, metric["bytes"])
    if kind == DataType.BOOLEAN:
        return bool(metric["boolean"])
    field = {9: "float", 10: "double", 13: "long", 16: "dataset", 17: "bytes", 18: "bytes"}.get(
        kind, "string"
    )
    return metric[field]


def array(kind: DataType, content: bytes) -> list[Any]:
    if kind == DataType.STRING_ARRAY:
        return [part.decode() for part in content.split(b"\0")[:-1]]
    if kind == DataType.BOOLEAN_ARRAY:
        (count,) = struct.unpack_from("<I", content)
        return [bool(content[4 + place // 8] >> 7 - place % 8 & 1) for place in range(count)]
    letter = "q" if kind == DataType.DATETIME_ARRAY else "bhiqBHIQfd"[kind - DataType.INT8_ARRAY]
    return list(struct.unpack(f"<{len(content) // struct.calcsize('<' + letter)}{letter}", content))


async def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        await broker.start()
        try:
            for name in SESSIONS:
                messages = await record(name, broker)
                save(name, messages)
                sys.stdout.write(f"{name}: {len(messages)} messages\n")
        finally:
            await broker.stop()


if __name__ == "__main__":
    asyncio.run(main())
