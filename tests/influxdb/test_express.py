"""The ordinary write (adapters/influxdb/express.py): what it may take a short way for, and that nothing else is taken for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import urllib3

from adapters.errors import AdapterError, NotConnected, Throttled
from adapters.influxdb import wire
from tests.contracts.sink import contents, difference
from tests.influxdb.fake import Answer
from tests.influxdb.rigs import FakeV2Rig, bench, some_numbers
from tests.influxdb.test_session import ANSWERS


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The writes that went through urllib3."""
    went: list[str] = []
    request = urllib3.PoolManager.request

    def counted(self: Any, method: str, url: str, **more: Any) -> Any:
        went.extend([url] if "/write" in url else [])
        return request(self, method, url, **more)

    monkeypatch.setattr(urllib3.PoolManager, "request", counted)
    return went


async def test_every_write_but_the_first_is_short_and_looks_the_same(
    rig: FakeV2Rig, long_way: list[str]
) -> None:
    batches = some_numbers(rig.registry, 40)
    async with rig.sink().session() as write:
        for batch in batches:
            for row in range(len(batch)):
                await write([batch.take(slice(row, row + 1))])
    assert len(long_way) == 1
    first, *others = rig.server.writes
    assert len(others) >= 3
    for other in others:
        assert (other.method, other.path, other.query) == (first.method, first.path, first.query)
        named = {**first.headers, "content-length": str(len(other.body))}
        assert list(other.headers.items()) == [(name, named[name]) for name in first.headers]
    assert difference(contents(rig.registry, batches), await rig.stored()) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    ANSWERS,
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
async def test_other_answers_mean_what_they_always_mean(
    rig: FakeV2Rig, long_way: list[str], answer: Answer, error: type[AdapterError]
) -> None:
    """As in test_only_204_is_success, on a connection on which two writes were stored before (I8)."""
    batches = some_numbers(rig.registry, 20)
    async with rig.sink().session() as write:
        await write(batches)
        await write(batches)
        assert len(long_way) == 1
        rig.server.script.append(answer)
        with pytest.raises(error) as caught:
            await write(batches)
        assert rig.server.url in str(caught.value) or isinstance(caught.value, Throttled)
        assert len(rig.server.writes) == 3, "an adapter does not retry"
        await write(batches)
        assert len(long_way) == 2, "on a new connection"


@pytest.mark.parametrize("resets", ["before", "during", "after"])
async def test_a_connection_that_is_torn_down_proves_nothing(rig: FakeV2Rig, resets: str) -> None:
    batches = some_numbers(rig.registry, 200)
    async with rig.sink().session() as write:
        await write(batches)
        await write(batches)
        rig.server.script.append(Answer(resets=resets))
        with pytest.raises(NotConnected):
            await write(batches)
        await write(batches)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    rig: FakeV2Rig, long_way: list[str]
) -> None:
    batches = some_numbers(rig.registry, 3)
    async with rig.sink().session() as write:
        await write(batches)
        await write(batches)
        for writer in list(rig.server._open):
            writer.close()
            await writer.wait_closed()
        await write(batches)
    assert len(long_way) == 2
    assert len(rig.server.writes) == 3


async def test_stored_and_closed_is_stored(rig: FakeV2Rig, long_way: list[str]) -> None:
    batches = some_numbers(rig.registry, 3)
    async with rig.sink().session() as write:
        await write(batches)
        rig.server.script.append(Answer(204, headers={"Connection": "close"}, stores=True))
        await write(batches)
        await write(batches)
    assert len(long_way) == 2
    assert len(rig.server.writes) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer(204, drips=0.02),
        Answer(200, b"x" * 500, drips=0.02),
        Answer(500, endless=True),
        Answer(hangs=True),
    ],
    ids=["head drips", "body drips", "endless", "hangs"],
)
async def test_no_answer_takes_for_ever(
    rig: FakeV2Rig, answer: Answer, long_way: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the long way (I1, I9). The time is short for the slow answer alone: a stall must not end those before it."""
    slow = Answer(
        answer.status,
        answer.body,
        {"X-Long": "y" * 9000},
        drips=answer.drips,
        endless=answer.endless,
        hangs=answer.hangs,
    )
    monkeypatch.setattr(wire, "CONNECT_TIMEOUT", 0.3)
    batches = some_numbers(rig.registry, 3)
    settings = rig.settings(timeout="10min")
    async with settings.build(bench(rig.registry)).session() as write:
        await write(batches)
        await write(batches)
        assert len(long_way) == 1
        rig.server.script.append(slow)
        settings.__dict__["timeout"] = 0.3  # it is frozen
        began = time.monotonic()
        with pytest.raises(NotConnected):
            await write(batches)
        assert time.monotonic() - began < 90.0  # its bytes would drip for twice as long


async def test_leaving_in_the_middle_of_a_short_write(rig: FakeV2Rig) -> None:
    batches = some_numbers(rig.registry, 3)

    async def endlessly() -> None:
        async with rig.sink().session() as write:
            await write(batches)
            rig.server.script.append(Answer(hangs=True))
            await write(batches)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        task = group.create_task(endlessly())
        while len(rig.server.writes) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
