"""Notifications of every type and mask, decoded by us and by two implementations that are not ours and not asyncua.

python-opcua cuts times to microseconds, so times are compared as such; ours to the nanosecond is in test_differential.py.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from adapters.opcua.columns import Columns, segments, to_batch
from adapters.opcua.decode import Rows, decode_items
from adapters.opcua.layouts import WORTHWHILE, Layouts
from pipelines.batch import Flag, Kind
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue, Null, Scalar
from tests.opcua.test_differential import scalar
from tests.peers.found import NODE, node, python

HANDLES = 400
NOW = 133_801_632_001_234_567
TYPES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 19, 21)


def notifications() -> list[bytes]:
    """Each size with the same layout twice, so that the second is recognised; every mask with every type occurs."""
    chance, made = Random(42), []
    for size in (1, 10, WORTHWHILE + 5, HANDLES):
        shapes = [(chance.choice(TYPES), n % 64, chance.random() < 0.1) for n in range(size)]
        for _ in range(2):
            items = [(n, item(kind, mask, chance, wave=wave)) for n, (kind, mask, wave) in enumerate(shapes)]
            made.append(enc.data_change(items))
    return made


def item(kind: int, mask: int, chance: Random, *, wave: bool) -> DataValue:
    value: enc.Value = scalar(kind, chance)
    if kind == 19:  # node-opcua knows status codes by name, and makes others up
        value = Scalar(19, chance.choice([0, 0x80340000, 0x40920000]))
    if wave and kind in range(2, 12):
        value = Array(kind, [scalar(kind, chance).value for _ in range(chance.randint(0, 5))])
    elif wave:
        value = Null()
    return DataValue(
        value if mask & 1 else None,
        chance.choice([0, 0x480, 0x80340000, 0x40920480]) if mask & 2 else None,
        NOW + chance.randint(0, 10**9) if mask & 4 else None,
        chance.randint(0, 9999) if mask & 16 and mask & 4 else None,
        NOW + chance.randint(0, 10**9) if mask & 8 else None,
        chance.randint(0, 9999) if mask & 32 and mask & 8 else None,
    )


def ours(body: bytes, layouts: Layouts) -> list[dict[str, Any]]:
    table, rows = Columns.of(HANDLES), Rows(layouts)
    table.points[:] = np.arange(HANDLES)
    decode_items(bytes(4) + body + bytes(4), 4, len(body) + 4, rows, 1)
    assert not rows.strange
    found = []
    for segment in segments(rows, table):
        batch = to_batch(segment, table, rows, 0)
        for row in range(len(batch)):
            silent, server = batch.flags[row] & Flag.NO_VALUE, segment.server_at[row]
            found.append(
                {
                    "handle": int(batch.points[row]),
                    "value": None if silent else shown(batch.kind, batch.values[row]),
                    "status": int(batch.quality[row]),
                    "source": int(segment.at[row]) // 1000 or None,
                    "server": int(server) // 1000 or None,
                }
            )
    return sorted(found, key=lambda row: row["handle"])


def shown(kind: Kind, value: Any) -> Any:
    if kind is Kind.WAVEFORM:
        return [bits(cell) for cell in value.tolist()]
    return bits(float(value)) if kind is Kind.NUMBER else str(value)


def bits(value: float) -> str:
    return "x" + struct.pack(">d", value).hex()


def theirs(command: Sequence[str], bodies: Sequence[bytes]) -> list[list[dict[str, Any]]]:
    done = subprocess.run(
        command,
        input="".join(f"{body.hex()}\n" for body in bodies),
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        check=True,
        env={**os.environ, "NODE_PATH": str(NODE), "NODE_NO_WARNINGS": "1"},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def as_waves(row: dict[str, Any]) -> dict[str, Any]:
    """Waves are doubles with us, whatever they were on the wire."""
    if not isinstance(row["value"], list):
        return row
    return {**row, "value": [cell if cell.startswith("x") else bits(float(cell)) for cell in row["value"]]}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("oracle", ["python-opcua", "node-opcua"])
def test_others_read_the_same(oracle: str) -> None:
    command = (
        python("../../opcua/oracles/python_opcua.py")
        if oracle == "python-opcua"
        else node("../../opcua/oracles/node_opcua.js")
    )
    bodies, layouts = notifications(), Layouts()
    answers = theirs(command, bodies)
    assert len(answers) == len(bodies)
    for body, answer in zip(bodies, answers, strict=True):
        mine = ours(body, layouts)
        assert len(mine) == len(answer)
        for one, other in zip(mine, answer, strict=True):
            assert one == as_waves(other)
