"""Variables that no browse finds, by ids that only the vendor's manual knows: controls have them, and collectors must read them.

They are not below any folder; reading, subscribing and their attributes work as with any other. The ids are in the style of a
well-known control: an area, a module, a name, and the number of an axis in brackets.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from asyncua import ua

from simulators.faces.opcua_nodes import node_id, variable
from simulators.faces.spaces.layout import Grown
from simulators.faces.spaces.sources import Source
from simulators.faces.spaces.table import UA, Key, Name
from simulators.model import Model, Signal

MILLING: Final = MappingProxyType(
    {
        "/Channel/Spindle/actSpeed[u1,1]": "spindle_speed",
        "/Channel/Spindle/driveLoad[u1,1]": "spindle_load",
        "/Channel/State/actFeedRateIpo[u1]": "feed_rate",
        "/Channel/ProgramInfo/workPName[u1]": "program",
        "/Channel/State/actParts[u1]": "part_counter",
        "/Nck/MachineAxis/actToolBasePos[u1,1]": "x_position",
    }
)
IDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({"cnc": MILLING, "cnc5": MILLING})


def hidden(model: Model, own: int) -> Iterator[tuple[ua.AddNodesItem, Grown, Source]]:
    """The nodes without a parent, and where their values come from. own: the index of the machine's namespace."""
    signals = {signal.name: signal for signal in model.signals}
    for text, name in IDS.get(model.kind, {}).items():
        yield _node(text, signals[name], model, own)


def _node(text: str, signal: Signal, model: Model, own: int) -> tuple[ua.AddNodesItem, Grown, Source]:
    kind = ua.VariantType[signal.type.value]
    word = text.rpartition("/")[2].partition("[")[0]
    value = ua.Variant(model.values[signal.name], kind)
    item = variable(node_id(text, own), ua.NodeId(), ua.QualifiedName(word, own), value, signal.description)
    item.TypeDefinition = node_id(63)
    data = Key(UA, int(kind.value))
    grown = Grown(text, Name("", word), "Variable", 0, None, (), None, data, builtin=data.id)
    return item, grown, Source(lambda values: values[signal.name], signal.name)
