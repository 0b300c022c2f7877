"""Sparkplug edges that are not ours, recorded: what they were told to say is what a reader finds on the wire.

The recordings in corpus/ are for whoever decodes Sparkplug: they need no peer, no broker, and hold what real libraries
write (compressed envelopes, aliases with names, a bdSeq that is unsigned, and pysparkplug's NDEATH of an
orderly end, which has the bdSeq of the next connection: a host that insists on the right one never sees it go).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.mqtt.peers import Mosquitto
from tests.peers.edges import KINDS, SESSIONS, Message, load, meant, record, value_of
from tests.simulators.sparkplug import reader
from tests.simulators.sparkplug.reader import Read


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


def opened(message: Message) -> Read:
    """The payload, out of its envelope."""
    read = reader.payload(message.payload)
    if read.uuid != "SPBV1.0_COMPRESSED":
        return read
    assert read.body is not None
    undo = gzip.decompress if read.metric("algorithm")["string"] == "GZIP" else zlib.decompress
    return reader.payload(undo(read.body))


def check(name: str, messages: Sequence[Message]) -> None:
    session = SESSIONS[name]
    assert [each.kind for each in messages] == ["NBIRTH", "DBIRTH", "DDATA", "DDEATH", "NDEATH"]
    reads = [opened(each) for each in messages]
    assert [read.seq for read in reads[:4]] == [0, 1, 2, 3]
    assert reads[4].metric("bdSeq")["long"] == reads[0].metric("bdSeq")["long"] + session.ahead
    assert reads[0].metric("Node Control/Rebirth")["boolean"] == 0
    for message, read in zip(messages, reads, strict=True):
        for row in message.means or ():
            said = found_in(read, row)
            assert said["timestamp"] > 1_600_000_000_000
            check_value(row, said)
    aliases = [metric.get("alias") for metric in reads[1].metrics]
    assert (None not in aliases) == session.aliases


def found_in(read: Read, row: Sequence[Any]) -> dict[str, Any]:
    name, alias = row[0], row[3] if len(row) > 3 else None
    named = (
        metric
        for metric in read.metrics
        if metric.get("name") == name or (alias and metric.get("alias") == alias)
    )
    return next(named)


def check_value(row: Sequence[Any], said: dict[str, Any]) -> None:
    kind, wanted = KINDS[row[1].lower()], meant(row)
    assert said.get("datatype", kind) == kind
    value = value_of(kind, said)
    if row[1] == "DataSet":
        table = reader.raw(value)
        cells = [[reader.raw(cell) for cell in reader.raw(each)[1]] for each in table[4]]
        assert [cell[0][6][0].decode() for cell in cells] == [each[0] for each in wanted["rows"]]
        assert [cell[1][1][0] for cell in cells] == [each[1] % (1 << 32) for each in wanted["rows"]]
    else:
        assert value == wanted, row


@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_the_corpus_means_what_it_says(name: str) -> None:
    check(name, load(name))


def samples() -> Iterator[str]:
    """One live session per library and manner of writing."""
    yield from ("sparkplug-client", "sparkplug-client-gzip", "pysparkplug-alias")


@pytest.mark.server("mosquitto")
@pytest.mark.parametrize("name", list(samples()))
async def test_edges_say_on_the_wire_what_they_were_told(broker: Mosquitto, name: str) -> None:
    check(name, await record(name, broker))
