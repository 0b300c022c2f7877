"""A robot as OPC 40010-1 (Robotics 1.01): motion device with axes and power trains, controller with its task, safety state."""

from collections.abc import Iterator
from typing import Final

from simulators.faces.spaces.layout import HAS_COMPONENT, Layout, Link, Part, Place
from simulators.faces.spaces.machinery import DEVICES, MAKER, title
from simulators.faces.spaces.table import UA
from simulators.machines.robot import JOINTS
from simulators.model import Model

URI: Final = f"{UA}Robotics/"
ARM: Final = "MotionDevices/Arm"
CONTROLLER: Final = "Controllers/Controller"
TASK: Final = f"{CONTROLLER}/TaskControls/Task"
SAFETY: Final = "SafetyStates/Safety"
ARTICULATED, ROTARY, CYCLE = 1, 1, 0  # MotionDeviceCategory, AxisMotionProfile, ExecutionMode


def layout(model: Model) -> Layout:
    """The motion device system below `DeviceSet`."""
    parts = (*_arm(model), *_controller(model), *_safety())
    links = (
        Link(CONTROLLER, (URI, "Controls"), ARM),
        Link(CONTROLLER, (URI, "HasSafetyStates"), SAFETY),
        Link(TASK, (URI, "Controls"), ARM),
        *(Link(_train(n), (URI, "Moves"), _axis(n)) for n in _joints()),
        *(Link(_axis(n), (URI, "Requires"), _train(n)) for n in _joints()),
    )
    where = (("di", "robotics"), *DEVICES, URI, "MotionDeviceSystemType", title(model), parts)
    return Layout(*where, by=HAS_COMPONENT, links=links)


def _joints() -> range:
    return range(1, JOINTS + 1)


def _axis(joint: int) -> str:
    return f"{ARM}/Axes/Axis_{joint}"


def _train(joint: int) -> str:
    return f"{ARM}/PowerTrains/PowerTrain_{joint}"


def _nameplate(path: str, model: Model, what: str) -> Iterator[Part]:
    yield Part(f"{path}/Manufacturer", value=MAKER)
    yield Part(f"{path}/Model", value=what)
    yield Part(f"{path}/ProductCode", value=f"SIM-{what.upper().replace(' ', '-')}")
    yield Part(f"{path}/SerialNumber", value=f"SIM-{model.machine}-{path.rpartition('/')[2]}")


def _arm(model: Model) -> Iterator[Part]:
    yield Part(ARM, fills=Place(URI, "MotionDeviceType", "<MotionDeviceIdentifier>"))
    yield from _nameplate(ARM, model, "Cobot arm")
    yield Part(f"{ARM}/MotionDeviceCategory", value=ARTICULATED)
    yield Part(f"{ARM}/ParameterSet/SpeedOverride", signal="speed_override")
    yield Part(f"{ARM}/ParameterSet/OnPath", signal="program_running")
    yield Part(f"{ARM}/ParameterSet/InControl", rule=lambda v: not v["protective_stop"])
    for joint in _joints():
        axis, train = _axis(joint), _train(joint)
        yield Part(axis, fills=Place(URI, "AxisType", "<AxisIdentifier>"))
        yield Part(f"{axis}/MotionProfile", value=ROTARY)
        yield Part(f"{axis}/ParameterSet/ActualPosition", signal=f"joint_{joint}_position")
        yield Part(f"{axis}/ParameterSet/ActualSpeed", signal=f"joint_{joint}_speed")
        yield Part(train, fills=Place(URI, "PowerTrainType", "<PowerTrainIdentifier>"))
        yield Part(f"{train}/Motor", fills=Place(URI, "MotorType", "<MotorIdentifier>"))
        yield from _nameplate(f"{train}/Motor", model, f"Motor {joint}")
        yield Part(f"{train}/Motor/ParameterSet/MotorTemperature", signal=f"motor_{joint}_temperature")


def _controller(model: Model) -> Iterator[Part]:
    yield Part(CONTROLLER, fills=Place(URI, "ControllerType", "<ControllerIdentifier>"))
    yield from _nameplate(CONTROLLER, model, "Controller")
    yield Part(f"{CONTROLLER}/CurrentUser/Level", value="operator")
    software = f"{CONTROLLER}/Software/Firmware"
    yield Part(software, fills=Place(f"{UA}DI/", "SoftwareType", "<SoftwareIdentifier>"))
    yield Part(f"{software}/Manufacturer", value=MAKER)
    yield Part(f"{software}/Model", value="Firmware")
    yield Part(f"{software}/SoftwareRevision", value="1")
    yield Part(TASK, fills=Place(URI, "TaskControlType", "<TaskControlIdentifier>"))
    yield Part(f"{TASK}/ComponentName", value="Task")
    yield Part(f"{TASK}/ParameterSet/TaskProgramName", signal="program")
    yield Part(f"{TASK}/ParameterSet/TaskProgramLoaded", rule=lambda v: bool(v["program"]))
    yield Part(f"{TASK}/ParameterSet/ExecutionMode", value=CYCLE)


def _safety() -> Iterator[Part]:
    yield Part(SAFETY, fills=Place(URI, "SafetyStateType", "<SafetyStateIdentifier>"))
    yield Part(f"{SAFETY}/ParameterSet/OperationalMode", signal="operational_mode")
    yield Part(f"{SAFETY}/ParameterSet/EmergencyStop", signal="emergency_stop")
    yield Part(f"{SAFETY}/ParameterSet/ProtectiveStop", signal="protective_stop")
