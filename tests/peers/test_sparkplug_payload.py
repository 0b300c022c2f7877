"""Our simulators' Sparkplug encoder, judged by decoders that are not ours: Google's protobuf, and npm sparkplug-payload."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from simulators.sparkplug.cell import made_of
from simulators.sparkplug.encode import Encoder
from simulators.sparkplug.habits import DIALECTS, Habits
from simulators.sparkplug.model import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
)
from tests.peers import found
from tests.peers.found import Peer

KINDS = [kind for kind in DataType if kind not in (0, 20, 21)]


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    peer = Peer(found.python("decode.py"), tmp_path_factory.mktemp("google") / "peer.log")
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    peer = Peer(found.node("decode.js"), tmp_path_factory.mktemp("javascript") / "peer.log")
    yield peer
    peer.stop()


def everything(random: Random) -> Payload:
    """A payload with every field that there is."""
    properties = {
        "Quality": Property(DataType.INT32, 192),
        "gone": Property(DataType.DOUBLE),
        "wide": Property(DataType.UINT64, 2**63),
        "inner": Property(DataType.PROPERTY_SET, {"a": Property(DataType.FLOAT, 0.5)}),
        "list": Property(DataType.PROPERTY_SET_LIST, [{"b": Property(DataType.STRING, "x")}, {}]),
    }
    meta = MetaData(True, "text/plain", 3, 1, "f.txt", "txt", "0" * 32, "a file")
    metrics = [
        Metric(f"m{kind}", alias=kind, timestamp=10**12 + kind, datatype=kind, value=made_of(kind, random))
        for kind in KINDS
    ]
    metrics.append(
        Metric(
            "p",
            datatype=3,
            value=5,
            properties=properties,
            metadata=meta,
            is_historical=True,
            is_transient=False,
        )
    )
    metrics.append(Metric("n", datatype=9, is_null=True))
    parameters = [
        Parameter("p", DataType.INT64, -5),
        Parameter("q", DataType.BOOLEAN, True),
        Parameter("r", DataType.TEXT),
    ]
    metrics.append(
        Metric(
            "t",
            datatype=19,
            value=Template(metrics[:3], version="2", parameters=parameters, is_definition=True),
        )
    )
    ragged = DataSet(["a"], [DataType.DOUBLE, DataType.INT32], [[1.5], [], [1.5, -2, 3]], announced=4)
    metrics.append(Metric("ragged", datatype=16, value=ragged))
    return Payload(metrics, timestamp=1_700_000_000_000, seq=255, uuid="u", body=b"\0\1")


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_google_reads_every_byte_and_would_write_the_same(google: Peer, dialect: str) -> None:
    """Field numbers, wire types and order: no unknown field, and serialised again nothing has changed."""
    for seed in range(20):
        payload = everything(Random(seed))
        written = base64.b64encode(Encoder(DIALECTS[dialect]).payload(payload)).decode()
        answer = google.ask(written)
        assert not answer["unknown"]
        assert answer["again"] == written


def test_google_reads_what_was_meant(google: Peer) -> None:
    payload = everything(Random(1))
    said = google.ask(base64.b64encode(Encoder(Habits()).payload(payload)).decode())["said"]
    assert (said["timestamp"], said["seq"], said["uuid"], said["body"]) == (
        "1700000000000",
        "255",
        "u",
        "AAE=",
    )
    by_name = {metric["name"]: metric for metric in said["metrics"]}
    for metric in payload.metrics[: len(KINDS)]:
        read = by_name[metric.name]
        assert (read["datatype"], read["alias"]) == (metric.datatype, str(metric.datatype))
        field, value = expected(DataType(metric.datatype or 0), metric.value)
        assert read[field] == value, metric
    assert by_name["n"]["is_null"] is True
    assert (by_name["p"]["is_historical"], by_name["p"]["is_transient"]) == (True, False)
    assert by_name["p"]["metadata"]["md5"] == "0" * 32
    assert by_name["p"]["properties"]["keys"] == ["Quality", "gone", "wide", "inner", "list"]
    values = by_name["p"]["properties"]["values"]
    assert values[0] == {"type": 3, "int_value": 192}
    assert values[1] == {"type": 10, "is_null": True}
    assert values[3]["propertyset_value"] == {"keys": ["a"], "values": [{"type": 9, "float_value": 0.5}]}
    assert values[4]["propertysets_value"]["propertyset"][0]["keys"] == ["b"]
    assert by_name["t"]["template_value"]["parameters"][0] == {
        "name": "p",
        "type": 4,
        "long_value": str(2**64 - 5),
    }
    rows = by_name["ragged"]["dataset_value"]["rows"]
    assert [len(row.get("elements", [])) for row in rows] == [1, 0, 3]
    assert by_name["ragged"]["dataset_value"]["num_of_columns"] == "4"


def expected(kind: DataType, value: Any) -> tuple[str, Any]:
    """What protobuf's JSON says of a value in the dialect of the standard; 64 bits are texts there."""
    if kind in (1, 2, 3):
        return "int_value", value % (1 << {1: 8, 2: 16, 3: 32}[kind])
    if kind in (5, 6, 7):
        return "int_value", value
    if kind in (4, 8, 13):
        return "long_value", str(value % (1 << 64))
    if kind == 9:
        return "float_value", pytest.approx(value, rel=1e-6)
    if kind == 10:
        return "double_value", value
    if kind == 11:
        return "boolean_value", value
    if kind in (12, 14, 15):
        return "string_value", value
    if kind == 16:
        return "dataset_value", dataset(value)
    if kind == 19:
        return "template_value", template(value)
    raw = value if isinstance(value, bytes) else Encoder(Habits()).array(kind, value)
    return "bytes_value", base64.b64encode(raw).decode()


def dataset(value: DataSet) -> Any:
    rows = [
        {"elements": [{"string_value": a}, {"double_value": b}, {"int_value": c % (1 << 32)}]}
        for a, b, c in value.rows
    ]
    made: dict[str, Any] = {"num_of_columns": "3", "columns": list(value.columns), "types": list(value.types)}
    return made | ({"rows": rows} if rows else {})


def template(value: Template) -> Any:
    speed, running = value.metrics
    inner = [
        {"name": "speed", "datatype": 10, "double_value": speed.value},
        {"name": "running", "datatype": 11, "boolean_value": running.value},
    ]
    return {"version": "1", "metrics": inner, "template_ref": "Motor", "is_definition": False}


@pytest.mark.parametrize("dialect", ["ignition", "sparkplug-payload"])
def test_javascript_reads_what_was_meant(javascript: Peer, dialect: str) -> None:
    """In the dialects of Java and JavaScript: the widest integers come as texts, tables and templates are left out here."""
    kinds = [kind for kind in KINDS if kind <= DataType.UUID]
    for seed in range(10):
        random = Random(seed)
        metrics = [Metric(f"m{kind}", datatype=kind, value=made_of(kind, random)) for kind in kinds]
        read = javascript.ask(
            base64.b64encode(Encoder(DIALECTS[dialect]).payload(Payload(metrics, seq=7))).decode()
        )
        assert read["seq"] in (7, "7")
        for metric, said in zip(metrics, read["metrics"], strict=True):
            value: Any = said["value"]
            if metric.datatype in (4, 8, 13, 7):
                value = int(value) % (1 << (32 if metric.datatype == 7 else 64))
                assert value == metric.value % (1 << (32 if metric.datatype == 7 else 64)), metric
            else:
                assert value == metric.value, metric


def test_javascript_misreads_signed_integers_of_the_standard(javascript: Peer) -> None:
    """Known of sparkplug-payload 1.0: an Int16 as the standard writes it (65535) is not -1 to it. A host must read both."""
    minus = Payload([Metric("m", datatype=DataType.INT16, value=-1)])
    written = base64.b64encode(Encoder(DIALECTS["spec"]).payload(minus)).decode()
    assert javascript.ask(written)["metrics"][0]["value"] == 65535
