"""A packaging cell as PackML (OPC 30050 1.01, ANSI/ISA-TR88.00.02-2015): three state machines within each other, status, counts."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from simulators.faces.spaces.layout import Layout, Part, Rule, Values, number
from simulators.faces.spaces.machinery import title
from simulators.faces.spaces.nodes import unit
from simulators.faces.spaces.table import UA, Key
from simulators.machines.packaging import SPEED
from simulators.model import Model

URI: Final = f"{UA}PackML/"
OBJECTS: Final = ("PackMLObjects", Key(URI, 72))
MODES: Final = Key(URI, 11)  # ProductionMaintenanceModeEnum
BASE: Final = frozenset({"Aborted", "Aborting"})
MACHINE: Final = frozenset({"Stopped", "Stopping", "Clearing"})


def layout(model: Model) -> Layout:
    """The machine below `PackMLObjects`."""
    parts = (*_about(model), *_states(), *_status(), *_counts())
    return Layout(("packml",), *OBJECTS, URI, "PackMLBaseObjectType", title(model), parts)


def _about(model: Model) -> Iterator[Part]:
    yield Part("TagID", value=model.machine)
    yield Part("PackMLVersion", value="2015")


def base_state(values: Values) -> str:
    """Of the outermost state machine."""
    state = str(values["state_text"])
    return state if state in BASE else "Cleared"


def machine_state(values: Values) -> str:
    """Within Cleared; empty while aborted."""
    state = str(values["state_text"])
    if state in BASE:
        return ""
    return state if state in MACHINE else "Running"


def execute_state(values: Values) -> str:
    """Within Running; empty while stopped or aborted."""
    state = str(values["state_text"])
    return "" if state in BASE or state in MACHINE else state


def _states() -> Iterator[Part]:
    path = "BaseStateMachine"
    for name, rule in (("", base_state), ("/MachineState", machine_state), ("/ExecuteState", execute_state)):
        path += name
        yield Part(path, state=rule)


def _status() -> Iterator[Part]:
    yield Part("Status/UnitModeCurrent", signal="unit_mode")
    yield Part("Status/UnitSupportedModes", value=MODES)
    yield Part("Status/MachSpeed", signal="mach_speed")
    yield Part("Status/CurMachSpeed", signal="cur_mach_speed")
    yield Part("Status/EquipmentBlocked", signal="equipment_blocked")
    yield Part("Status/EquipmentStarved", signal="equipment_starved")
    yield Part("Admin/MachDesignSpeed", value=SPEED)


def _counts() -> Iterator[Part]:
    for name, signal in (
        ("Consumed", "prod_consumed"),
        ("Processed", "prod_processed"),
        ("Defective", "prod_defective"),
    ):
        yield Part(f"Admin/Prod{name}Count", rule=_count(name, signal))


def _count(name: str, signal: str) -> Rule:
    """One product, counted since the machine was switched on; nobody resets it, so both counts agree."""

    def counted(values: Values) -> list[Mapping[str, Any]]:
        count = int(number(values[signal]))
        return [{"ID": 1, "Name": name, "Unit": unit("H87"), "Count": count, "AccCount": count}]

    return counted
