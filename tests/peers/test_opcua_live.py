"""Clients that are not ours at a simulated machine that lives: alarms, Acknowledge, settings and history, as they know them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from simulators.clock import DrivenClock
from simulators.faults.wish import Wish
from simulators.workshop import open_workshop
from tests.peers.found import HERE, node, python
from tests.peers.test_opcua_machines import environment
from tests.simulators.runs import START, rows
from tests.simulators.test_opcua_face import plan

CLIENTS = {"python-opcua": (python, "python_opcua_live.py"), "node-opcua": (node, "node_opcua_live.js")}
SECOND, MILLISECOND = 1_000_000_000, 1_000_000


def moment(ns: int) -> str:
    made = datetime.fromtimestamp(ns // SECOND, UTC).replace(microsecond=ns % SECOND // 1000)
    return made.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def said(client: str, *given: str) -> dict[str, Any]:
    find, script = CLIENTS[client]
    process = await asyncio.create_subprocess_exec(
        *find(script)[:-1],
        str(HERE / "clients" / script),
        *given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    out, errors = await process.communicate()
    lines = [line for line in out.decode().splitlines() if line.startswith('{"alarms"')]
    assert len(lines) == 1, (out.decode()[-2000:], errors.decode()[-2000:])
    return dict(json.loads(lines[0]))


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=pytest.mark.xdist_group(f"peers-live-{name}")) for name in CLIENTS]
)
async def test_foreign_clients_hear_acknowledge_write_and_read_the_past(client: str, tmp_path: Path) -> None:
    clock, stop = DrivenClock(), asyncio.Event()
    wanted = plan(tmp_path, machines=(("robot", "robot-1"),))
    async with open_workshop(wanted) as workshop, asyncio.TaskGroup() as group:
        group.create_task(workshop.drive(clock, stop, origin_ns=START))
        await clock.advance(3)
        await workshop.engine.start(Wish("robot-1", "jam"))
        await clock.advance(1)
        ids = [f"ns=2;s={name}" for name in ("Motion.SpeedOverride", "Flange.Force")]
        answer = await said(
            client, workshop.endpoints["robot-1"], *ids, moment(START), moment(START + 10 * SECOND)
        )
        await clock.advance(0.2)
        assert workshop.units[0].model.values["speed_override"] == 50.0
        stop.set()
    began = {"active": True, "acked": False, "retain": True, "time": moment(START + 31 * SECOND // 10)}
    stuck = {
        "name": "PartStuck",
        "source": "Gripper",
        "severity": 700,
        "message": "A part is stuck in the gripper",
    }
    stopped = {"name": "ProtectiveStop", "source": "Safety", "severity": 600}
    words = "Protective stop: somebody or something is in the way"
    assert answer["alarms"] == [{**stuck, **began}, {**stopped, **began, "message": words}]
    assert answer["acknowledged"] == "Good"
    later = {**began, "acked": True, "time": moment(START + 4 * SECOND + MILLISECOND)}  # behind the refresh
    assert answer["after"] == [{**stuck, **later}, answer["alarms"][1]]
    assert answer["written"] == ["Good", "BadOutOfRange", "BadTypeMismatch"]
    truth = [(r["t"], r["value"]) for r in rows(tmp_path / "truth.jsonl") if r["signal"] == "flange_force"]
    past = [value for value in answer["values"] if value[1] is not None]  # python-opcua asks for bounds
    assert [[at, pytest.approx(value)] for at, value in past] == [
        [moment(t), value] for t, value in truth if t <= START + 4 * SECOND
    ]
    told = [
        (r["event"], r["condition"], r.get("by"), r.get("comment"))
        for r in rows(tmp_path / "truth.jsonl", "alarm")
    ]
    assert ("acknowledged", "PartStuck", "anonymous", "seen") in told
