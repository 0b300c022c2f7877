"""A milling machine as OPC 40501-1 (Machine Tools 1.02) with the Machinery building blocks of OPC 40001-1 (1.03).

The standard has no spindle speed, load or axis: those stay in the vendor's folder, as on real machines.
"""

from collections.abc import Iterator
from typing import Final

from simulators.faces.spaces.layout import Layout, Part, Place, Rule, Values, number
from simulators.faces.spaces.machinery import MACHINES, identification, title
from simulators.faces.spaces.table import UA
from simulators.machines.cnc_mishaps import TOOL_BROKEN
from simulators.machines.cnc_work import PROGRAMS
from simulators.model import Model

URI: Final = f"{UA}MachineTool/"
IA: Final = f"{UA}IA/"
TABLES: Final = ("di", "machinery", "ia", "machinetool")
MANUAL, AUTOMATIC = 0, 1  # MachineOperationMode
ACTIVE, INTERRUPTED, RESET = 0, 1, 2  # ChannelState
CHANNEL_AUTOMATIC, CHANNEL_MANUAL = 0, 2  # ChannelMode
RED, GREEN, YELLOW = 1, 2, 4  # SignalColor
BY_NUMBER, TOOL_LIFE, TOOL_BREAK, NOT_LOCKED = 0, 3, 2, 0  # ToolManagement, ToolLocked
OTHER_LIFE = 7  # ToolLifeIndication
MESSAGES: Final = "Notification/Messages"  # where its alerts are told


def layout(model: Model) -> Layout:
    """The machine below `Machines`."""
    parts = (
        Part(MESSAGES),
        *identification(model, "Milling machine"),
        *_monitoring(),
        *_stack_light(),
        *_production(model),
        *_tools(),
    )
    return Layout(TABLES, *MACHINES, URI, "MachineToolType", title(model), parts)


def executing(values: Values) -> bool:
    """A part is being made."""
    return values["execution"] == "ACTIVE"


def out_of_order(values: Values) -> bool:
    """An alarm that the machine does not leave by itself."""
    return values["alarm_number"] == TOOL_BROKEN


def machine_state(values: Values) -> str:
    """MachineryItemState (OPC 40001-1, 11)."""
    if out_of_order(values):
        return "OutOfService"
    return "Executing" if executing(values) else "NotExecuting"


def mode(values: Values) -> str:
    """MachineryOperationMode (OPC 40001-1, 12)."""
    return "Setup" if values["mode"] == "MANUAL" else "Processing"


def program_state(values: Values) -> str:
    """Of the active programme (OPC 40501-1, 8.5)."""
    words = {
        "ACTIVE": "Running",
        "INTERRUPTED": "Interrupted",
        "PROGRAM_COMPLETED": "Ended",
        "STOPPED": "Ended",
    }
    return "Aborted" if out_of_order(values) else words.get(str(values["execution"]), "Initializing")


def _monitoring() -> Iterator[Part]:
    tool, channel, spindle = (f"Monitoring/{name}" for name in ("MachineTool", "Channel 1", "Main spindle"))
    for place in ("MachineryBuildingBlocks", tool):
        yield Part(f"{place}/MachineryItemState", state=machine_state)
        yield Part(f"{place}/MachineryOperationMode", state=mode)
    yield Part(f"{tool}/OperationMode", rule=lambda v: MANUAL if v["mode"] == "MANUAL" else AUTOMATIC)
    yield Part(f"{tool}/FeedOverride", signal="feed_override")
    yield Part(f"{tool}/IsWarmUp", value=False)
    yield Part(f"{tool}/Obligation/EndUserObligated", rule=lambda v: v["execution"] != "ACTIVE")
    yield Part(f"{tool}/Obligation/MachineBuilderObligated", value=False)
    yield Part(channel, fills=Place(URI, "ChannelMonitoringType", "<MonitoredElement>"))
    yield Part(f"{channel}/Name", value="Channel 1")
    yield Part(f"{channel}/ChannelState", rule=_channel_state)
    yield Part(
        f"{channel}/ChannelMode",
        rule=lambda v: CHANNEL_MANUAL if v["mode"] == "MANUAL" else CHANNEL_AUTOMATIC,
    )
    yield Part(f"{channel}/FeedOverride", signal="feed_override")
    for modifier in ("DryRun", "OptionalStop", "SingleStep"):
        yield Part(f"{channel}/ChannelModifiers/{modifier}", value=False)
    yield Part(spindle, fills=Place(URI, "SpindleMonitoringType", "<MonitoredElement>"))
    yield Part(f"{spindle}/Name", value="Main spindle")
    yield Part(f"{spindle}/IsRotating", rule=lambda v: number(v["spindle_speed"]) > 1.0)
    yield Part(f"{spindle}/IsUsedAsAxis", value=False)
    yield Part(f"{spindle}/Override", signal="spindle_override")


def _channel_state(values: Values) -> int:
    if executing(values):
        return ACTIVE
    return INTERRUPTED if values["execution"] == "INTERRUPTED" else RESET


def _stack_light() -> Iterator[Part]:
    """From top to bottom, as OPC 10000-200 counts: 0 is the lowest."""
    light = "Monitoring/Stacklight"
    yield Part(f"{light}/StacklightMode", value=0)  # Segmented
    lamps = (
        ("Green", GREEN, executing),
        ("Yellow", YELLOW, lambda v: not executing(v) and not v["alarm_number"]),
        ("Red", RED, lambda v: bool(v["alarm_number"])),
    )
    for level, (name, colour, on) in enumerate(lamps):
        yield Part(f"{light}/{name}", fills=Place(IA, "StackElementLightType", "<OrderedObject>"))
        yield Part(f"{light}/{name}/NumberInList", value=level)
        yield Part(f"{light}/{name}/SignalOn", rule=on)
        yield Part(f"{light}/{name}/SignalColor", value=colour)
        yield Part(f"{light}/{name}/SignalMode", value=0)  # Continuous


def _production(model: Model) -> Iterator[Part]:
    active, job = "Production/ActiveProgram", "Production/ProductionPlan/Job 1"
    for place in (active, f"{job}/ProductionPrograms/Program 1"):
        yield Part(f"{place}/Name", signal="program")
        yield Part(f"{place}/NumberInList", value=0)
    yield Part(f"{active}/State", state=program_state)
    yield Part("Production/Statistics/PartsProducedInLifetime", signal="part_counter")
    yield Part(job, fills=Place(URI, "ProductionJobType", "<OrderedObject>"))
    yield Part(
        f"{job}/ProductionPrograms/Program 1", fills=Place(URI, "ProductionProgramType", "<OrderedObject>")
    )
    if any(signal.name == "order" for signal in model.signals):
        yield Part(f"{job}/Identifier", signal="order")
        yield Part(f"{job}/OrderIdentifier", signal="order")
        yield Part(f"{active}/JobIdentifier", signal="order")
    else:
        yield Part(f"{job}/Identifier", rule=_ordered)
        yield Part(f"{active}/JobIdentifier", rule=_ordered)
    yield Part(f"{job}/NumberInList", value=0)
    yield Part(f"{job}/RunsPlanned", signal="job_quantity")
    yield Part(f"{job}/RunsPlanned/IsValid", rule=lambda v: v["job_quantity"] != 0)  # 0: until told otherwise
    yield Part(f"{job}/RunsCompleted", signal="part_counter")
    yield Part(f"{job}/PartsCompleted", signal="part_counter")
    yield Part(f"{job}/PartsGood", signal="good_parts")
    yield Part(f"{job}/State", state=program_state)


def _ordered(values: Values) -> str:
    return str(values["job_order"]) or f"JOB-{values['program']}"


def _tools() -> Iterator[Part]:
    """Those of its programmes; the control knows the life only of the one in the spindle."""
    yield Part("Equipment/Tools")
    for own in sorted({operation.tool for program in PROGRAMS for operation in program.operations}):
        tool = f"Equipment/Tools/Tool {own}"
        yield Part(tool, fills=Place(URI, "ToolType", "<Tool>"))
        yield Part(f"{tool}/Name", value=f"T{own}")
        yield Part(f"{tool}/ControlIdentifier1", value=own)
        yield Part(f"{tool}/ControlIdentifierInterpretation", value=BY_NUMBER)
        yield Part(f"{tool}/Locked", rule=_broken(own))
        yield Part(f"{tool}/Locked/ReasonForLocking", rule=_reason(own))


def _broken(tool: int) -> Rule:
    return lambda v: out_of_order(v) and v["tool_number"] == tool


def _reason(tool: int) -> Rule:
    return lambda v: TOOL_BREAK if out_of_order(v) and v["tool_number"] == tool else NOT_LOCKED
