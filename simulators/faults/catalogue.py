"""All faults by name: what each does, and to what. Names are said once here; command line, HTTP and scenarios read them."""

from collections.abc import Mapping
from typing import Final, Literal

from simulators.errors import SimulatorError
from simulators.model import Model, Signal, Type

Family = Literal["process", "sensor", "communication"]

SENSOR: Final[Mapping[str, str]] = {
    "stuck": "repeats its last value",
    "drift": "goes away by `amount` per minute (usual: 5 % of the range)",
    "spike": "jumps by `amount` now and then, the first time at once (usual: half the range)",
    "bias": "is wrong by `amount` (usual: 10 % of the range)",
    "noise": "trembles with a standard deviation of `amount` (usual: 2 % of the range)",
    "dropout": "says nothing",
    "nan": "says NaN (JSON: null)",
    "saturation": "stands at the end of its range, or cannot pass `amount`",
    "unit": "speaks another unit: inch for mm, °F for °C, psi for bar, W for kW, else a thousandth of the unit",
    "bad": "has the quality bad",
    "uncertain": "has the quality uncertain (MQTT: without value, as bad)",
}
COMMUNICATION: Final[Mapping[str, str]] = {
    "refuse": "new connections are refused",
    "cut": "all connections are ended at once",
    "half_open": "connections stay open and nothing arrives any more",
    "latency": "every byte comes `amount` seconds later (usual: 0.5)",
    "clock_jump": "its clock is wrong by `amount` seconds (usual: 3600)",
    "restart": "the server is away until the fault ends (MQTT: the machine; Sparkplug B: the edge with all its devices)",
    "reindex": "OPC UA: the server comes back with its namespace under another index",
    "nodes_removed": "OPC UA: a third of the variables is gone until the fault ends",
    "certificate_change": "OPC UA: the server comes back with another certificate and key",
    "certificate_renewed": "OPC UA: the server comes back with another certificate for its key",
    "certificate_expired": "OPC UA: the server comes back with a certificate that has run out",
    "certificate_host": "OPC UA: the server comes back with a certificate for another computer's name",
    "duplicate": "MQTT, Sparkplug B: every message is published twice",
    "reorder": "MQTT: every second message overtakes the one before it; Sparkplug B: a step is said in two, the second first",
    "missing_birth": "Sparkplug B: connects anew and sends data without a birth",
    "sequence_gap": "Sparkplug B: a sequence number is left out",
}


def family(model: Model, fault: str) -> Family:
    """What is struck by a fault; SimulatorError with the known names where there is none."""
    if fault in model.process_faults:
        return "process"
    if fault in SENSOR:
        return "sensor"
    if fault in COMMUNICATION:
        return "communication"
    known = ", ".join((*model.process_faults, *SENSOR, *COMMUNICATION))
    raise SimulatorError(f"{model.machine} ({model.kind}) has no fault '{fault}'. There are: {known}.")


def disturbable(model: Model, name: str, fault: str) -> Signal:
    """The signal that a sensor fault strikes; SimulatorError if there is none, or the fault makes no sense for it."""
    signal = next((each for each in model.signals if each.name == name), None)
    if signal is None:
        names = ", ".join(each.name for each in model.signals)
        raise SimulatorError(
            f"{model.machine} has no signal '{name}' for the fault '{fault}'. There are: {names}."
        )
    if fault == "nan" and (signal.type not in (Type.FLOAT, Type.DOUBLE) or signal.length):
        raise SimulatorError(f"{model.machine} {name} is {signal.type.value}: it cannot be NaN.")
    if fault not in ("stuck", "dropout", "bad", "uncertain", "nan") and not signal.is_number:
        raise SimulatorError(f"{model.machine} {name} is no number: {fault} does not fit it.")
    return signal
