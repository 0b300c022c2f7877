"""Every structure and union of the companion specifications, as node-opcua encodes it: found, loaded and read field by field.

The nodesets are those that come with node-opcua, and those of the folder that SHOPFLOOR_NODESETS names. The values are made up by
the server, and it says itself what it put into each; here is no table of types, and nothing of our decoder.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.batch import Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker, conserved
from tests.peers import found
from tests.peers.found import Peer
from tests.servers import free_port

pytestmark = pytest.mark.xdist_group("peers-companions")
SEED = int(os.environ.get("SEED", "1"))
UA = OPC = "http://opcfoundation.org/UA/"
LEAST = {
    UA: 100,
    f"{OPC}AutoID/": 18,
    f"{OPC}IJT/Base/": 22,
    f"{OPC}MachineVision": 16,
    f"{OPC}ISA95-JOBCONTROL_V2/": 11,
    f"{OPC}PackML/": 6,
    f"{OPC}Scales/V2/": 5,
    f"{OPC}Machinery/Result/": 4,
    f"{OPC}Machinery/Jobs/": 4,
    "http://www.OPCFoundation.org/UA/2013/01/ISA95": 4,
    f"{OPC}Glass/Flat/": 2,
    f"{OPC}CNC": 1,
}
"""Structures and unions by specification, at least."""
MOST_UNABLE = 40
MISTAKEN = {
    "WwMessageArgumentDataType",  # derived from Argument, and sent as an Argument, without its own field
    "ResultTransferOptionsDataType",  # a field of the type above is sent twice
    "JoiningProcessDataType",  # AllowSubTypes: sent as a structure that says itself what it is, and described as one that does not
    "OutputInformationDataType",  # an option set of a Byte is sent with four bytes …
    "BOMComponentInformationDataType",  # … also in those that contain it
    "BOMInformationDataType",
    "OutputPerformanceInfoDataType",
}
"""What node-opcua 2.157 sends otherwise than it describes it. It is refused by name; nothing of it may be stored wrongly.
Of a type with optional fields whose supertype has some too, it numbers the bits wrongly: the server leaves those out."""
PLACES = [str(found.NODE / "node-opcua-nodesets" / "nodesets"), os.environ.get("SHOPFLOOR_NODESETS", "")]


class Case(NamedTuple):
    """leaves: path, built-in type and value of everything in it."""

    signal: str
    uri: str
    type: str
    leaves: list[tuple[str, str, Any]]


class Companions:
    """The server. unable: types that node-opcua itself cannot make, and why."""

    def __init__(self, folder: Path) -> None:
        self.url = f"opc.tcp://127.0.0.1:{(port := free_port())}/"
        places = [place for place in PLACES if place]
        command = [*found.node("companions_node_opcua.js"), str(port), str(SEED), *places]
        self.peer = Peer(command, folder / "peer.log")
        self.cases = [Case(*case) for case in self.peer.ready["cases"]]
        self.unable = [tuple(one) for one in self.peer.ready["unable"]]


@pytest.fixture(scope="module")
def companions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Companions]:
    made = Companions(tmp_path_factory.mktemp("companions"))
    yield made
    made.peer.stop()


def reader(url: str, cases: list[Case], registry: Registry) -> OpcUaReader:
    signals = [
        {"name": case.signal, "node": f"nsu=urn:test:companions;s={case.signal}", "bytes": "hex"}
        for case in cases
    ]
    read = OpcUaRead.model_validate({"source": "plc", "signals": signals})
    given = {
        "type": "opcua",
        "url": url,
        "security": "none",
        "publishing_interval": "50ms",
        "request_timeout": "60s",
    }
    reading = Reading(machine="m", tags={}, read=read)
    return OpcUaReader("plc", OpcUaSource.model_validate(given), (reading,), Bench(registry, SystemClock()))


def stored(kind: str, value: Any) -> Any:
    """A value of this built-in type as the README of the adapter has it."""
    if kind in ("Int64", "UInt64"):
        return int(value)
    if kind == "DateTime":
        at = dt.datetime.fromtimestamp(value // 1000, dt.UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{value % 1000:03d}0000Z"
    if kind in ("NodeId", "ExpandedNodeId"):
        return f"ns=1;i={value}"
    return value.lower() if kind == "Guid" else value


async def taken(companions: Companions) -> Taker:
    registry = Registry()
    line = Taker(registry)
    wanted = {case.signal for case in companions.cases if case.leaves and case.type not in MISTAKEN}

    def heard() -> set[str]:
        return {row.signal.partition(".")[0].partition("[")[0] for row in line.rows}

    async with asyncio.TaskGroup() as group:
        task = group.create_task(line.run(reader(companions.url, companions.cases, registry)))
        try:
            await eventually(lambda: line.error is not None or heard() >= wanted, "everything", 600.0)
        finally:
            task.cancel()
    assert line.error is None, repr(line.error)
    return line


def right(kind: str, said: Any, got: Any) -> bool:
    """A value of an enumeration has a name and a text: a server may show the one or the other."""
    return got in said if kind == "Name" else bool(got == stored(kind, said))


def test_every_structure_of_every_companion_specification(companions: Companions) -> None:
    line = asyncio.run(taken(companions))
    assert all(conserved(delivery) for delivery in line.deliveries)
    there = {row.signal: row.value for row in line.rows if not row.flags & Flag.NO_VALUE}
    for case in companions.cases:
        ours = (case.signal + ".", case.signal + "[")
        got = {
            name.removeprefix(case.signal): there.pop(name) for name in list(there) if name.startswith(ours)
        }
        wrong = [leaf for leaf in case.leaves if leaf[0] in got and not right(*leaf[1:], got[leaf[0]])]
        missing = {path for path, *_ in case.leaves} - got.keys()
        strange = got.keys() - {path for path, *_ in case.leaves}
        assert (wrong, strange) == ([], set()), (case.uri, case.type, got)
        assert not missing or case.type in MISTAKEN, (case.uri, case.type, missing, line.refused)
    assert there == {}


def test_the_specifications_are_there(companions: Companions) -> None:
    """What node-opcua cannot make itself is counted: a library that could make less would prove less."""
    by_uri = Counter(case.uri for case in companions.cases)
    assert {uri: by_uri[uri] for uri in LEAST if by_uri[uri] < LEAST[uri]} == {}
    assert len(companions.unable) <= MOST_UNABLE, companions.unable
