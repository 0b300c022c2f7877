"""The kinds of machine, one file each; a new one is a file and a line here."""

from importlib import import_module
from types import MappingProxyType

from simulators.errors import SimulatorError
from simulators.model import Model

KINDS = MappingProxyType(
    {
        "climate": "simulators.machines.climate:Climate",
        "cnc": "simulators.machines.cnc:Cnc",
        "cnc5": "simulators.machines.cnc5:Cnc5",
        "compressor": "simulators.machines.compressor:Compressor",
        "energy": "simulators.machines.energy:EnergyMeter",
        "legacy": "simulators.machines.legacy:Legacy",
        "moulding": "simulators.machines.moulding:Moulding",
        "packaging": "simulators.machines.packaging:Packaging",
        "robot": "simulators.machines.robot:Robot",
    }
)


def kind(name: str) -> type[Model]:
    """The model class of a kind; a SimulatorError with the known names where there is none."""
    if name not in KINDS:
        raise SimulatorError(f"no machine kind '{name}'. There are: {', '.join(KINDS)}.")
    module, _, attribute = KINDS[name].partition(":")
    model: type[Model] = getattr(import_module(module), attribute)
    return model
