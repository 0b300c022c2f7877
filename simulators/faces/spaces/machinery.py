"""The building blocks of OPC 40001-1 (Machinery 1.03) that machines of every trade share."""

from collections.abc import Iterator
from typing import Final

from simulators.faces.spaces.layout import Part
from simulators.faces.spaces.table import UA, Key
from simulators.model import Model

MAKER: Final = "Shopfloor Simulators"
MACHINES: Final = ("Machines", Key(f"{UA}Machinery/", 1001))
DEVICES: Final = ("DeviceSet", Key(f"{UA}DI/", 5001))


def title(model: Model) -> str:
    """The machine's BrowseName, as that of the vendor's folder."""
    return model.machine[:1].upper() + model.machine[1:]


def identification(model: Model, device_class: str) -> Iterator[Part]:
    """Who made it, and which one it is; two machines of one run differ by their id, two runs do not."""
    values = {
        "Manufacturer": MAKER,
        "SerialNumber": f"SIM-{model.machine}",
        "ProductInstanceUri": f"urn:shopfloor:sim:{model.kind}:{model.machine}",
        "Model": model.title,
        "DeviceClass": device_class,
        "ComponentName": model.machine,
        "SoftwareRevision": "1",
        "YearOfConstruction": 2025,
    }
    return (Part(f"Identification/{name}", value=value) for name, value in values.items())
