"""What real libraries wrote on the wire, recorded (tests/peers/corpus), read as it was meant."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pipelines import quality as q
from tests.mqtt.sparkplug.bed import Bed, Row
from tests.peers.edges import SESSIONS, load, meant


def expected(row: Any) -> Any:
    kind, value = row[1].lower(), meant(row)
    if kind == "datetime":
        return "2023-11-14T22:13:20.123Z"
    if kind.endswith("array"):
        return [float(each) for each in value]
    return value


@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_recorded_edges_are_read_as_they_were_meant(name: str) -> None:
    reads = [
        {"sparkplug": f"plant/{name}", "adopt": True},
        {"sparkplug": f"plant/{name}/press", "adopt": True},
    ]
    bed = Bed(reads)
    for message in load(name):
        rows = bed.hear(message.topic, message.payload)
        by_name = {row.signal.removeprefix("m/"): row for row in rows}
        for each in message.means or ():
            check(each, by_name)
        if message.kind in ("DDEATH", "NDEATH"):
            assert rows
            assert all((row.value, row.quality) == (None, q.BAD_NO_COMMUNICATION) for row in rows)
    bytes_only = [reason for reason in bed.refused if "Bytes is not stored" not in reason]
    assert bytes_only == []
    assert not bed.host.seats["plant", name].node.alive


def check(each: Any, by_name: dict[str, Row]) -> None:
    name, kind, value, *_ = each
    if kind == "Bytes":
        assert name not in by_name
        assert base64.b64decode(value)
    elif kind == "DataSet":
        cells = [
            (f"{name}/{n}/{column}", cell)
            for n, line in enumerate(value["rows"])
            for column, cell in zip(value["columns"], line, strict=True)
        ]
        assert [(path, by_name[path].value) for path, _ in cells] == cells
    elif kind in ("StringArray", "DateTimeArray"):
        found = json.loads(by_name[name].value)
        wanted = value if kind == "StringArray" else ["2009-10-21T05:27:55.335Z", "2022-06-24T21:57:55.000Z"]
        assert found == wanted
    else:
        found = by_name[name].value
        assert (found.tolist() if hasattr(found, "tolist") else found) == expected(each), name
