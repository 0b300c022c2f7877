"""Which machine follows which companion specification; a new one is a module and a line here."""

from importlib import import_module
from types import MappingProxyType
from typing import Final

from simulators.faces.spaces.layout import Layout
from simulators.model import Model

KINDS: Final = MappingProxyType(
    {
        "cnc": "simulators.faces.spaces.machine_tool",
        "cnc5": "simulators.faces.spaces.machine_tool",
        "moulding": "simulators.faces.spaces.plastics",
        "packaging": "simulators.faces.spaces.packml",
        "robot": "simulators.faces.spaces.robotics",
    }
)


def layout(model: Model) -> Layout | None:
    """How the machine looks by its specification; None for one that has none."""
    if model.kind not in KINDS:
        return None
    made: Layout = import_module(KINDS[model.kind]).layout(model)
    return made
