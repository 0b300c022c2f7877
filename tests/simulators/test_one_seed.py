"""A whole workshop on all faces, with every fault of the acceptance run in a few seconds: one seed is one run, whoever listens."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from simulators.clock import FreeClock
from simulators.faces.opcua_space import Nursery
from simulators.scenario.reading import read
from simulators.workshop import open_workshop
from tests.acceptance.run import WORKSHOP, stretched
from tests.simulators.runs import START
from tests.simulators.sparkplug import reader
from tests.simulators.test_broker import Stranger, strangers, until

SECONDS = 6
FILES = ("press.jsonl", "wrap.csv")


class Run(NamedTuple):
    """told: the truth's rows by kind and machine. heard: by topic what a stranger received. files: what lies beside the truth."""

    told: Mapping[str, list[Any]]
    heard: Mapping[str, list[Any]]
    files: list[bytes]


async def lived(folder: Path, nursery: Nursery) -> Run:
    folder.mkdir()
    file = folder / "scenario.yaml"
    file.write_text(json.dumps(stretched(WORKSHOP, SECONDS / 60)), encoding="utf-8")
    plan = replace(read(file), truth=folder / "truth.jsonl", config=folder / "c.yaml", start_ns=START)
    ear, marker = Stranger("ear", clean=False), Stranger("marker")
    async with open_workshop(plan, nursery) as workshop, strangers(ear, marker):
        assert workshop.broker is not None
        port = workshop.broker.address.port  # not through the proxy: that one is cut
        await ear.open(port, "shop/#", "spBv1.0/#", "end")
        await marker.open(port)
        until_ns = START + SECONDS * 10**9
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=until_ns)
        await workshop.drain()
        await marker.say("end", b".")
        await until(lambda: ear.got and ear.got[-1][0] == "end")
    return Run(by_kind(plan.truth), by_topic(ear), [(folder / name).read_bytes() for name in FILES])


def rows(truth: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]


def by_kind(truth: Path) -> Mapping[str, list[Any]]:
    """When the broker has acknowledged is the network's affair; the order of what one machine says is its own."""
    told = defaultdict(list)
    for row in rows(truth):
        told[f"{row['kind']} {row.get('machine', '')}"].append(row)
    return told


def by_topic(ear: Stranger) -> Mapping[str, list[Any]]:
    """MQTT to the byte; of Sparkplug all but the payload's timestamp, which is the moment of sending."""
    heard = defaultdict(list)
    for topic, payload, *_ in ear.got:
        said: Any = payload
        if topic.startswith("spBv1.0/"):
            packet = reader.payload(payload)
            said = packet.seq, repr([each for each in packet.metrics if each.get("name") not in CLOCKED])
        heard[topic].append(said)
    return heard


CLOCKED = ("bdSeq", "Node Control/Rebirth")


async def test_two_workshops_of_one_seed_are_the_same(tmp_path: Path, nursery: Nursery) -> None:
    one, two = await lived(tmp_path / "one", nursery), await lived(tmp_path / "two", nursery)
    assert set(one.told) == set(two.told)
    for sort in one.told:
        assert one.told[sort] == two.told[sort], sort
    assert set(one.heard) == set(two.heard)
    for topic in one.heard:
        assert one.heard[topic] == two.heard[topic], topic
    assert one.files == two.files
    assert len(one.heard) > 15
    assert sum(map(len, one.told.values())) > 1500
