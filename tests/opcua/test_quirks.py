"""Servers as they are: one test for each way in which real ones are small, slow, forgetful or wrong, at the scripted server.

What a queue of one value and values without time stamps come to is in rows/test_u_limits.py (U17) and rows/test_u_values.py (U14).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.discovery import Wishes, silent
from adapters.opcua.discover import discover
from adapters.opcua.security import Gate
from adapters.opcua.settings import OpcUaSource
from tests.contracts.rig import eventually, leap
from tests.opcua import encoder as enc
from tests.opcua.encoder import Scalar
from tests.opcua.opened import opened
from tests.opcua.scripted import Slow
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.entrance import Offer
from tests.opcua.scripted.space import Ref
from tests.opcua.settling import settled
from tests.opcua.test_session import begin
from tests.opcua.test_structures import POINT, POINT_TYPE, TOOL, TOOL_TYPE, point, tool
from tests.opcua.test_types import STATE_TYPE, UNECE, Types, information, localized


@pytest.fixture
async def bed() -> AsyncIterator[Types]:
    made = Types()
    made.server.space.own |= {POINT: POINT_TYPE, TOOL: TOOL_TYPE}
    async for bed in opened(made):
        yield bed


async def looked_at(bed: Types, folder: Any) -> Any:
    keys = {"type": "opcua", "url": bed.server.url, "security": "none"}
    gate = Gate("plc", OpcUaSource.model_validate(keys), str(folder), SystemClock().wall_now)
    return await discover(gate, "plc", keys, Wishes(watch=0.0), silent)


def many(bed: Types, count: int) -> None:
    for n in range(count):
        bed.put(f"v{n}", Scalar(11, float(n)), 11)
        bed.property(bed.node(f"v{n}"), "EngineeringUnits", information(UNECE, 4408652, "°C"))


async def test_a_server_that_calls_itself_by_a_name_that_nobody_knows(
    bed: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the configuration is used from the first to the last connection, whatever the endpoints say."""
    loop = asyncio.get_running_loop()
    really, asked = loop.getaddrinfo, []

    async def known(name: str, *how: Any, **more: Any) -> Any:  # some networks have an answer to everything
        if not name.endswith(".invalid"):
            return await really(name, *how, **more)
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(loop, "getaddrinfo", known)
    bed.server.entrance.offers = [Offer(url="opc.tcp://plc-in-the-works.invalid:4840/")]
    bed.put("x", Scalar(11, 1.0), 11)
    line = await begin(bed)
    await eventually(lambda: line.values("x") == [1.0], "the value")
    told = [finding async for finding in bed.source().examine()]
    said = [finding.message for finding in told if finding.where == "endpoints"]
    assert any("plc-in-the-works.invalid, which is not known here" in words for words in said)
    assert not [finding for finding in told if finding.level == "error"]
    assert asked == ["plc-in-the-works.invalid"]


async def test_a_server_that_names_no_way_to_sign_in(bed: Types) -> None:
    bed.server.entrance.offers = [Offer(tokens=())]
    bed.put("x", Scalar(11, 1.0), 11)
    line = await begin(bed)
    await eventually(lambda: line.values("x") == [1.0], "the value")


@pytest.mark.parametrize("announced", [True, False])
async def test_five_operations_per_call(bed: Types, announced: bool) -> None:
    """Values, units, names of enumerations and structure types, each in calls of five."""
    if announced:
        bed.server.space.limits |= {11705: 5, 11714: 5, 11710: 5}
    bed.server.policy.limits = dict.fromkeys(("Read", "CreateMonitoredItems", "Browse"), 5)
    many(bed, 12)
    bed.put("state", Scalar(6, 1), STATE_TYPE)
    bed.property(NodeId(0, STATE_TYPE), "EnumStrings", localized("Idle", "Running"))
    bed.put("tool", tool(7, 1, "mill"), TOOL)
    bed.put("p", point(1, 2), POINT)
    line = await begin(bed)
    await eventually(lambda: line.values("v11") == [11.0] and line.values("p.y") == [2.0], "the values")
    assert line.values("state.text") == ["Running"]
    latest = bed.registry.latest("m", "v11")
    assert latest is not None
    assert bed.registry[latest].unit == "CEL"


async def test_two_sessions_are_enough_to_look_at_a_collector_that_runs(bed: Types) -> None:
    """One for the collector, one for the doctor, and the place is free again at once."""
    bed.server.policy.sessions = 2
    bed.put("x", Scalar(11, 1.0), 11)
    line = await begin(bed)
    for _ in range(3):
        found = [finding async for finding in bed.source().examine()]
        assert not [finding for finding in found if finding.level == "error"]
        assert len(bed.server.machine.sessions) == 1
    bed.server.policy.sessions = 1
    found = [finding async for finding in bed.source().examine()]
    assert (found[-1].where, found[-1].level) == ("sign-in", "error")
    assert "BadTooManySessions" in found[-1].message
    bed.emit("x", Scalar(11, 2.0), 1)
    await eventually(lambda: line.values("x") == [1.0, 2.0], "the collector was not disturbed")


async def test_requests_do_not_grow_with_the_signals(bed: Types) -> None:
    """A server that needs 25 ms for each has 300 signals with units after a dozen requests, not after hundreds."""
    for service in ("Read", "Browse", "CreateMonitoredItems", "CreateSubscription"):
        bed.server.scripts.append(Slow(service, seconds=0.025))
    many(bed, 300)
    line = await begin(bed)
    await eventually(lambda: len(line.rows) == 300, "every value")
    asked = [
        name for name in bed.server.record.requests if name in ("Read", "Browse", "CreateMonitoredItems")
    ]
    assert len(asked) <= 12


async def test_answers_that_take_nearly_as_long_as_they_may(bed: Types) -> None:
    """8 s with the usual 10 s, a hundred times as long here: slow is not dead."""
    bed.settings["request_timeout"] = "1000s"
    for service in ("Read", "CreateMonitoredItems", "CreateSession", "CreateSubscription"):
        bed.server.scripts.append(Slow(service, times=2, seconds=800.0))
    bed.put("x", Scalar(11, 1.0), 11)
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        beginning = group.create_task(begin(bed))
        while not beginning.done():
            await eventually(lambda: bed.server.owing > 0 or beginning.done(), "a question")
            await settled()
            if bed.server.owing:
                leap(800.0)
    line = beginning.result()
    assert asyncio.get_running_loop().time() - began >= 4 * 800.0
    await eventually(lambda: line.values("x") == [1.0], "the value")
    assert line.error is None


async def test_names_that_are_no_text(bed: Types, tmp_path: Any) -> None:
    """Bytes that are not UTF-8 in names, units and texts: shown with a mark, never a crash, and the signals beside them are read."""
    bad = "M\udcfchle"  # Latin-1 in a name, as it comes out of the library
    bed.put("good", Scalar(11, 1.0), 11)
    bed.put("state", Scalar(6, 1), STATE_TYPE)
    names = struct_names(b"M\xfchle", b"Lauf")
    bed.property(NodeId(0, STATE_TYPE), "EnumStrings", names)
    bed.server.space.product = b"S\xfcd"  # type: ignore[assignment]
    line = await begin(bed)
    await eventually(
        lambda: line.values("state.text") == ["Lauf"] and line.values("good") == [1.0], "the values"
    )
    bed.emit("state", Scalar(6, 0), 1)
    await eventually(lambda: len(line.values("state.text")) == 2, "the other name")
    assert line.values("state.text")[1] == "M\ufffdhle"
    objects = NodeId(0, 85)
    bed.server.space.tree[objects] = [
        Ref(bed.node("good"), (2, b"M\xfchle"), True, 35),  # type: ignore[arg-type]
        Ref(bed.node("state"), (2, "state"), True, 35),
    ]
    report = await looked_at(bed, tmp_path)
    shown = json.dumps(report.data, ensure_ascii=False, default=str)
    assert bad not in shown
    shown.encode()
    assert "state" in shown


def struct_names(*texts: bytes) -> bytes:
    cells = b"".join(b"\2" + enc.string(text) for text in texts)
    return bytes([21 | 0x80]) + len(texts).to_bytes(4, "little") + cells
