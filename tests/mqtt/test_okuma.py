"""A recording of a real Okuma machine tool, decoded line by line and as a whole; the oracle is `split` and arithmetic."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.payloads.shdr import Items, shdr
from tests.mqtt.peers import Mosquitto, Publisher, Shop

PLACES = (os.environ.get("SHOPFLOOR_DATA", ""), str(Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    for place in PLACES:
        recording = Path(place) / "okuma.txt"
        if place and recording.is_file():
            return recording.read_bytes().splitlines()
    if os.environ.get("CI") == "true":
        pytest.fail("okuma.txt is missing: set SHOPFLOOR_DATA to its folder")
    pytest.skip("okuma.txt is not here: set SHOPFLOOR_DATA to its folder")


def expected(line: bytes) -> list[tuple[str, str]]:
    """(name, text) pairs of a line, by the recording's own regular shape."""
    if line.startswith(b"--multiline--"):
        return []
    if line.startswith(b"<"):
        return [("@ASSET@", line.decode())]
    if line.startswith(b"*"):
        name, _, said = line.decode().partition(":")
        return [(name, said)]
    first, *rest = line.decode().split("|")[1:]
    if first == "@ASSET@":
        return [("@ASSET@.id", rest[0]), ("@ASSET@.type", rest[1])]
    if first.startswith("@"):
        return [(first, rest[0])]
    if first == "system" or first.endswith("_cond"):
        return list(
            zip(
                [first, *(f"{first}.{part}" for part in ("code", "severity", "qualifier", "message"))],
                rest,
                strict=True,
            )
        )
    fields = [first, *rest]
    return list(zip(fields[::2], fields[1::2], strict=True))


def test_every_line_decodes_to_exactly_what_it_says(lines: list[bytes]) -> None:
    decode = shdr(Items())
    assert len(lines) == 10_770
    conditions = 0
    for line in lines:
        decoded = decode(line)
        assert not decoded.refused, line
        found = [(row.key, "UNAVAILABLE" if row.kind is None else row.value) for row in decoded.rows]
        assert found == expected(line)
        conditions += any(str(key).endswith(".qualifier") for key, _ in found)
    assert conditions == 40


def test_as_one_message_it_says_the_same(lines: list[bytes]) -> None:
    decode = shdr(Items())
    single = Counter((row.key, row.value) for line in lines for row in decode(line).rows)
    whole = decode(b"\n".join(lines))
    assert not whole.refused
    assert Counter((row.key, row.value) for row in whole.rows) == single
    assert whole.seen == single.total() == 26_064


async def test_published_line_by_line_it_arrives_completely(lines: list[bytes], tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, ["max_queued_messages 0"])
    await broker.start()
    shop, publisher = Shop(broker.port), Publisher(broker.port)
    rows: Counter[tuple[str, Any]] = Counter()
    decoded = 0
    source = shop.source({"topic": "shdr/{machine}", "payload": "shdr", "adopt": True})
    async with source.session(None) as session, asyncio.timeout(200), asyncio.TaskGroup() as group:
        await anext(aiter(session))
        group.create_task(publisher.send(*[("shdr/m1", line) for line in lines]))
        while decoded < 26_064:
            delivery = await anext(aiter(session))
            assert not delivery.refused
            decoded += delivery.decoded
            for batch in delivery.batches:
                named = [shop.registry[point].name for point in batch.points.tolist()]
                rows.update(zip(named, batch.values.tolist(), strict=True))
            await delivery.ack()
    publisher.close()
    await broker.stop()
    said = [(name, "" if text == "UNAVAILABLE" else text) for line in lines for name, text in expected(line)]
    assert rows == Counter(said)
