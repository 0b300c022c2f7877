"""What the standard nodes say follows from what the machine does: in memory against its true state, and over the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simulators.clock import FreeClock
from simulators.faces.spaces import machine_tool
from simulators.faces.spaces.layout import Values
from simulators.machines import kind
from tests.simulators.runs import START
from tests.simulators.spaces.seen import look
from tests.simulators.spaces.test_spaces import machine, served

SECOND = 1_000_000_000
MILLING = {
    "cutting": ("Executing", "Processing", "Running"),
    "rapid": ("Executing", "Processing", "Running"),
    "tool_change": ("Executing", "Processing", "Running"),
    "micro_stop": ("NotExecuting", "Processing", "Interrupted"),
    "part_change": ("NotExecuting", "Processing", "Ended"),
    "setup": ("NotExecuting", "Setup", "Ended"),
    "alarm": ("OutOfService", "Processing", "Aborted"),
}


def living(name: str, seconds: float, **faults: float) -> list[tuple[str, Values]]:
    """The machine, stepped; a copy of its signals whenever its state has changed."""
    model, t, before = kind(name)(f"{name}-1", 42), START, ""
    model.begin(t)
    model.faults.update(faults)
    seen: list[tuple[str, Values]] = []
    for _ in range(round(seconds * 1000 / model.period_ms)):
        t += model.period_ms * 1_000_000
        model.step(t, model.period_ms / 1000)
        if model.state != before:
            before = model.state
            seen.append((model.state, dict(model.values)))
    return seen


@pytest.mark.parametrize("faults", [{}, {"tool_break": 1.0}])
def test_the_states_of_a_milling_machine(faults: dict[str, float]) -> None:
    seen = living("cnc", 1500, **faults)
    states = set()
    for state, values in seen:
        states.add(state)
        said = (
            machine_tool.machine_state(values),
            machine_tool.mode(values),
            machine_tool.program_state(values),
        )
        assert said == MILLING[state], state
    assert ("alarm" in states) == bool(faults)
    assert len(states) >= 3


async def test_standard_nodes_go_with_the_machine(tmp_path: Path) -> None:
    """After a tool has broken, every client sees it: in the state, the lamps, the tool, and the program."""
    async with served(tmp_path, "cnc") as (workshop, clients):
        unit = workshop.units[0]
        before = machine(await look(clients["cnc"]), "cnc")
        assert before.at("MachineryBuildingBlocks/MachineryItemState/CurrentState").value.Text == "Executing"
        assert before.at("Monitoring/Stacklight/Green/SignalOn").value is True
        unit.model.faults["tool_break"] = 1.0
        until = START + 120 * SECOND
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=until)
        uris = await clients["cnc"].get_namespace_array()
        after = machine(await look(clients["cnc"]), "cnc")
    assert unit.model.state == "alarm"
    state = after.at("Monitoring/MachineTool/MachineryItemState/CurrentState")
    assert state.value.Text == "OutOfService"
    number = state.at("Id").value
    assert (uris[number.NamespaceIndex], number.Identifier) == (
        "http://opcfoundation.org/UA/Machinery/",
        5004,
    )
    assert [
        after.at(f"Monitoring/Stacklight/{lamp}/SignalOn").value for lamp in ("Red", "Yellow", "Green")
    ] == [
        True,
        False,
        False,
    ]
    tool = after.at(f"Equipment/Tools/Tool {unit.model.values['tool_number']}/Locked")
    assert (tool.value, tool.at("ReasonForLocking").value) == (True, 2)  # ToolBreak
    assert after.at("Production/ActiveProgram/State/CurrentState/Number").value == 4  # Aborted
    override = after.at("Monitoring/Channel 1/FeedOverride")
    assert override.value == unit.model.values["feed_override"]
    assert override.at("EngineeringUnits").value.UnitId == 20529  # P1
