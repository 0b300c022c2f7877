"""Edges that say anything at any time: no exception, balanced books, a checkpoint that can be written and read, gaps that are times."""

from __future__ import annotations

import random
from typing import Any

import pytest

from simulators.sparkplug.model import DataType, Metric
from tests.mqtt.sparkplug.bed import T0, Bed, Edge, living, number

TIMES = (0, 1, T0 - 5000, T0, T0 + 5, 2**42, 9_223_372_036_854, 9_223_372_036_855, 2**63, 2**64 - 1)
NAMES = {"Load": 0, "Force": 1, "Stroke": 2, "X": 3}
VALUES: dict[DataType, tuple[Any, ...]] = {
    DataType.INT8: (-1, 100, None),
    DataType.INT64: (-(2**63), 2**63 - 1, None),
    DataType.UINT64: (0, 2**64 - 1, None),
    DataType.DOUBLE: (1.5, float("nan"), None),
    DataType.BOOLEAN: (True, False, None),
    DataType.STRING: ("", "x", None),
    DataType.DATETIME: (0, T0, 2**63, None),
}
KINDS = ("NBIRTH", "NDATA", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDATA", "DDATA", "DDEATH")


def metric(chance: random.Random, kind: str, ms: int) -> Metric:
    name, alias = chance.choice([*NAMES.items()])
    shown = 3 if kind.endswith("BIRTH") else chance.randrange(4)
    datatype = chance.choice([*VALUES])
    time = chance.choice([None, ms, ms, chance.choice(TIMES)])
    return Metric(name if shown & 1 else None, alias if shown & 2 else None, time, datatype, value=chance.choice(VALUES[datatype]))  # fmt: skip


def say(edge: Edge, chance: random.Random) -> None:
    kind = chance.choice(KINDS)
    metrics = [metric(chance, kind, edge.ms) for _ in range(chance.randrange(4))]
    edge.bd_seq += chance.randrange(2) if kind == "NBIRTH" else 0
    if kind in ("NBIRTH", "NDEATH"):
        metrics.append(Metric("bdSeq", datatype=DataType.INT64, value=edge.bd_seq))
    more = {"timestamp": chance.choice((None, *TIMES))} if chance.random() < 0.2 else {}
    if chance.random() < 0.1:
        more["seq"] = chance.choice((None, 0, 255, 256, 2**63))
    topic, raw = edge.make(kind, metrics, "press" if kind[0] == "D" else "", **more)
    if chance.random() < 0.1 and raw:
        place = chance.randrange(len(raw))
        raw = (
            raw[:place] + bytes(chance.randrange(256) for _ in range(chance.randrange(3))) + raw[place + 1 :]
        )
    for _ in range(1 + (chance.random() < 0.1)):
        edge.bed.hear(topic, raw, retain=chance.random() < 0.05)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_whatever_an_edge_says(seed: int, strict: bool) -> None:
    """M14: sixty messages, some lost, repeated, broken or of impossible times, and connections between them."""
    chance = random.Random(seed)
    rebirth = chance.random() < 0.5
    edge = living(Bed(strict=strict, rebirth=rebirth, patience=chance.choice([0.0, 2.0])))
    host = edge.bed.host
    for _ in range(60):
        what = chance.random()
        if what < 0.06:
            edge.bed.restart(continued=chance.random() < 0.5)
        elif what < 0.12:
            edge.bed.wait(chance.choice([0.5, 3.0, 11.0, 30.0]))
            edge.bed.commands()
        elif what < 0.16:
            edge.seq += chance.choice([1, 2, 100, 200])
        else:
            say(edge, chance)
        host = edge.bed.host
        assert host.dump()
        assert all(0 <= gap.begins <= gap.ends < 2**63 for gap in host.gaps)


@pytest.mark.parametrize("time", [9_223_372_036_855, 2**63, 2**64 - 1])
def test_values_of_an_impossible_time_are_set_aside_at_their_receipt(time: int) -> None:
    """M14: in doubt (a message is missing), with a time that 64 bits of nanoseconds do not hold: the checkpoint could not be
    written, and the gap record told of the year 2262."""
    bed = Bed()
    edge = living(bed)
    edge.seq += 1
    edge.ddata(number(None, 5.0, 1, timestamp=time))
    bed.wait(3)
    bed.restart()
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(number("Force", 2.0, 1))
    bed.wait(0)
    (gap,) = [gap for gap in bed.host.gaps if gap.reason == "sparkplug_aliases_in_doubt"]
    now = bed.clock.now()
    assert gap.count == 1
    assert now - 10**10 < gap.begins <= gap.ends <= now
