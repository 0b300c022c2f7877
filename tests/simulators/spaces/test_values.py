"""What the standard nodes say follows from what the machine does: in memory against its true state, and over the wire."""

from __future__ import annotations

import asyncio
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.ua_binary import struct_from_binary

from simulators.clock import FreeClock
from simulators.faces.spaces import machine_tool, packml
from simulators.faces.spaces.layout import Values
from simulators.machines import kind
from simulators.workshop import Workshop, open_workshop
from tests.simulators.runs import START
from tests.simulators.spaces.seen import Seen, look
from tests.simulators.spaces.test_spaces import machine, served
from tests.simulators.test_opcua_face import plan

SECOND = 1_000_000_000
PACKML = "http://opcfoundation.org/UA/PackML/"
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
        hidden = await clients["cnc"].get_node("ns=2;s=/Channel/State/actParts[u1]").read_data_value()
        told = await clients["cnc"].get_node("ns=2;s=Production.Parts").read_data_value()
        after = machine(await look(clients["cnc"]), "cnc")
    assert unit.model.state == "alarm"
    assert (hidden.Value, hidden.SourceTimestamp) == (told.Value, told.SourceTimestamp)
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


def test_the_states_of_a_packaging_cell() -> None:
    """Three state machines within each other: exactly the deepest that is active names the state of PackML."""
    seen = [*living("packaging", 900), *living("packaging", 40, abort=1.0)]
    found = set()
    for state, values in seen:
        said = [packml.base_state(values), packml.machine_state(values), packml.execute_state(values)]
        deepest = [each for each in said if each][-1]
        assert deepest == state
        assert (said[0] == "Cleared") == bool(said[1])
        assert (said[1] == "Running") == bool(said[2])
        found.add(state)
    assert {"Execute", "Suspended", "Held", "Aborted"} <= found


async def test_packaging_counts_are_structures(tmp_path: Path) -> None:
    """Who asks for the data type can read them; and a machine that stands for good has no state to execute."""
    async with served(tmp_path, "packaging") as (workshop, clients):
        unit, client = workshop.units[0], clients["packaging"]
        unit.model.faults["abort"] = 1.0
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=START + 60 * SECOND)
        uris = await client.get_namespace_array()
        found = machine(await look(client), "packaging")
    (count,) = found.at("Admin/ProdProcessedCount").value
    assert (uris[count.TypeId.NamespaceIndex], count.TypeId.Identifier) == (
        "http://opcfoundation.org/UA/PackML/",
        69,
    )
    body = io.BytesIO(count.Body)
    assert struct.unpack("<ii9s", body.read(17)) == (1, 9, b"Processed")
    assert struct_from_binary(ua.EUInformation, body).UnitId == 4732983  # H87
    made = unit.model.values["prod_processed"]
    assert struct.unpack("<ii", body.read()) == (made, made)
    assert unit.model.state == "Aborted"
    base = found.at("BaseStateMachine")
    assert base.at("CurrentState").value.Text == "Aborted"
    assert len(base.at("AvailableStates").value) == 3
    assert base.at("MachineState/CurrentState").status == 0x80BF0000  # BadStateNotActive
    assert base.at("MachineState/ExecuteState/CurrentState/Id").status == 0x80BF0000


async def test_moulding_and_robot_say_what_they_measure(tmp_path: Path) -> None:
    async with served(tmp_path, "moulding", "robot") as (workshop, clients):
        until = START + 60 * SECOND
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=until)
        moulding = machine(await look(clients["moulding"]), "moulding")
        melt = clients["moulding"].get_node(
            moulding.at(
                "InjectionUnits/InjectionUnit_1/TemperatureZones/TemperatureZone_3/ActualTemperature"
            ).id
        )
        assert (await melt.read_description()).Text == "Barrel zone 3"
        assert await melt.get_access_level() == {ua.AccessLevel.CurrentRead}
        robot = machine(await look(clients["robot"]), "robot")
    said, moved = (dict[str, Any](unit.model.values) for unit in workshop.units)
    now = moulding.at("Jobs/ActiveJobValues")
    assert now.at("JobCycleCounter").value == said["cycle_counter"] > 0
    assert now.at("LastCycleTime").value == pytest.approx(1000 * said["cycle_time"])
    zone = moulding.at("InjectionUnits/InjectionUnit_1/TemperatureZones/TemperatureZone_3")
    assert zone.at("ActualTemperature").value == said["zone_3"]
    assert zone.at("ActualTemperature/EngineeringUnits").value.UnitId == 4408652  # CEL
    assert (
        moulding.at("MachineMESStatus/ProductionControl/ProductionStatus").value == said["production_status"]
    )
    axis = robot.at("MotionDevices/Arm/Axes/Axis_2/ParameterSet")
    assert axis.at("ActualPosition").value == moved["joint_2_position"]
    assert robot.at("SafetyStates/Safety/ParameterSet/OperationalMode").value == 3  # AUTOMATIC
    task = robot.at("Controllers/Controller/TaskControls/Task/ParameterSet")
    assert task.at("TaskProgramName").value == moved["program"]


async def test_a_server_that_comes_back_with_other_numbers_has_it_all_again(tmp_path: Path) -> None:
    """A restart after an update: every namespace has another index, and the machine looks and says the same."""
    async with open_workshop(plan(tmp_path, machines=(("packaging", "packaging-1"),))) as workshop:
        (unit,) = workshop.units
        before, uris = await _whole(workshop)
        await unit.face.disturb("reindex", on=True, at_ns=START + SECOND)
        unit.model.faults["abort"] = 1.0
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=START + 60 * SECOND)
        after, others = await _whole(workshop)
    assert [uris.index(PACKML), others.index(PACKML)] == [3, 4]
    assert {each.path for each in before.below()} == {each.path for each in after.below()}
    assert {(each.path, each.type) for each in before.below()} == {
        (each.path, each.type) for each in after.below()
    }
    state = machine(after, "packaging").at("BaseStateMachine/CurrentState")
    assert state.value.Text == "Aborted"
    assert state.at("Id").value.NamespaceIndex == 4


async def _whole(workshop: Workshop) -> tuple[Seen, list[str]]:
    async with Client(workshop.endpoints["packaging-1"], timeout=90) as client:
        return await look(client), await client.get_namespace_array()
