"""An injection moulding machine as OPC 40077 (Euromap 77, IMM2MES 1.01) on OPC 40083 (Euromap 83, GeneralTypes 1.03)."""

from collections.abc import Iterator
from typing import Final

from asyncua import ua

from simulators.faces.spaces.layout import HAS_COMPONENT, Layout, Part, Place, Values, number
from simulators.faces.spaces.machinery import DEVICES, MAKER, title
from simulators.faces.spaces.table import UA
from simulators.machines.moulding import CAVITIES, ZONES
from simulators.model import Model

URI: Final = f"{UA}PlasticsRubber/IMM2MES/"
GENERAL: Final = f"{UA}PlasticsRubber/GeneralTypes/"
TABLES: Final = ("di", "plasticsrubber_generaltypes", "plasticsrubber_imm2mes")
PRODUCTION = 4  # ProductionStatus
IN_PRODUCTION, INTERRUPTED = 6, 7  # JobStatus
AUTOMATIC, HEATING, INSTALLED, MEASURING = (
    2,
    1,
    3,
    5,
)  # ControlMode, TemperatureZoneClassification, MouldStatus
STANDSTILL: Final = {"": "", "Barrel too cold": "301", "No material": "412"}


def layout(model: Model) -> Layout:
    """The interface below `DeviceSet`, named as the specification wants it (OPC 40077, 8)."""
    parts = (*_about(model), *_status(), *_jobs(), *_injection(), *_mould())
    name = f"IMM_MES_Interface_{MAKER.replace(' ', '')}_SIM-{title(model)}"
    return Layout(TABLES, *DEVICES, URI, "IMM_MES_InterfaceType", name, parts, by=HAS_COMPONENT)


def producing(values: Values) -> bool:
    """Cycles are running."""
    return values["production_status"] == PRODUCTION


def _about(model: Model) -> Iterator[Part]:
    information, configuration = "MachineInformation", "MachineConfiguration"
    values = {
        "ControllerName": "SIM-77",
        "DeviceClass": "Injection Moulding Machine",
        "Manufacturer": MAKER,
        "Model": model.title,
        "SerialNumber": f"SIM-{model.machine}",
        "ComponentName": model.machine,
        "ProductInstanceUri": f"urn:shopfloor:sim:{model.kind}:{model.machine}",
        "SupportedLogbookEvents": [],
    }
    yield from (Part(f"{information}/{name}", value=value) for name, value in values.items())
    yield Part(f"{configuration}/LocationName", value="hall-1")
    yield Part(f"{configuration}/TimeZoneOffset", value=ua.TimeZoneDataType(ua.Int16(0), False))
    yield Part(f"{configuration}/UserMachineName", value=model.machine)


def _status() -> Iterator[Part]:
    status, mes = "MachineStatus", "MachineMESStatus"
    yield Part(f"{status}/IsPresent", value=True)
    yield Part(f"{status}/MachineMode", signal="machine_mode")
    yield Part(f"{status}/Users/NodeVersion", value="1")
    for name, value in (("Id", ""), ("Message", ""), ("Severity", 0)):
        yield Part(f"{mes}/MESMessage/{name}", value=value)
    control = f"{mes}/ProductionControl"
    yield Part(f"{control}/AutomaticRunEnabled", value=True)
    yield Part(f"{control}/ProductionReleasedByMES", value=True)
    yield Part(f"{control}/ProductionStatus", signal="production_status")
    yield Part(f"{mes}/StandstillMessage/Classification", value=0)
    yield Part(f"{mes}/StandstillMessage/Id", rule=_reason)
    yield Part(f"{mes}/StandstillMessage/Message", signal="alarm_text")
    yield Part(f"{mes}/StandstillMessage/Severity", rule=lambda v: 500 if v["alarm_text"] else 0)
    yield Part(f"{mes}/StandstillReasonId", rule=_reason)
    yield Part("MachineMESConfiguration/StandstillReasons", value=[])
    yield Part("MachineMESConfiguration/StandstillReasonsLockedByMES", value=False)
    yield Part("PowerUnits/NodeVersion", value="1")


def _reason(values: Values) -> str:
    return STANDSTILL.get(str(values["alarm_text"]), "")


def _jobs() -> Iterator[Part]:
    job, now = "Jobs/ActiveJob", "Jobs/ActiveJobValues"
    words = {
        "JobName": "LID-4711", "JobDescription": "Lids, four at a time", "CustomerName": "Demo", "MouldId": "M-104",
        "ProductionDatasetName": "LID-4711", "ProductionDatasetDescription": "Lid, natural", "ContinueAtJobEnd": True,
        "Material": ["PP natural"], "ProductName": ["Lid"], "ProductDescription": ["Lid, 95 mm"],
        "NominalParts": 1_000_000, "NumCavities": CAVITIES,
    }  # fmt: skip
    yield from (Part(f"{job}/{name}", value=value) for name, value in words.items())
    yield Part(f"{now}/CurrentLotName", value="LOT-1")
    yield Part(f"{now}/JobStatus", rule=lambda v: IN_PRODUCTION if producing(v) else INTERRUPTED)
    yield Part(f"{now}/JobTestSamplesCounter", value=0)
    counters = {
        "JobCycleCounter": "cycle_counter", "MachineCycleCounter": "cycle_counter", "JobPartsCounter": "parts_counter",
        "JobGoodPartsCounter": "good_parts", "JobBadPartsCounter": "bad_parts",
    }  # fmt: skip
    yield from (Part(f"{now}/{name}", signal=signal) for name, signal in counters.items())
    yield Part(f"{now}/LastCycleTime", rule=lambda v: round(1000.0 * number(v["cycle_time"]), 6))  # ms


def _injection() -> Iterator[Part]:
    unit = "InjectionUnits/InjectionUnit_1"
    yield Part("InjectionUnits/NodeVersion", value="1")
    yield Part(unit, fills=Place(URI, "InjectionUnitType", "InjectionUnit_<Nr>"))
    yield Part(f"{unit}/Index", value=1)
    yield Part(f"{unit}/IsPresent", value=True)
    yield Part(f"{unit}/InProduction", rule=producing)
    yield Part(f"{unit}/BarrelId", value="B-1")
    yield Part(f"{unit}/MaxScrewStroke", value=120.0, unit="MMT", span=(0, 120))
    yield Part(f"{unit}/TemperatureZones/NodeVersion", value="1")
    for place in range(1, len(ZONES) + 1):
        zone = f"{unit}/TemperatureZones/TemperatureZone_{place}"
        yield Part(zone, fills=Place(GENERAL, "BarrelTemperatureZoneType", "<TemperatureZone_Nr>"))
        yield Part(f"{zone}/Position", value=place)
        yield from _zone(zone, place, f"Barrel {place}", f"zone_{place}_set", f"zone_{place}")


def _mould() -> Iterator[Part]:
    mould = "Moulds/Mould_1"
    yield Part("Moulds/NodeVersion", value="1")
    yield Part(mould, fills=Place(GENERAL, "MouldType", "Mould_<Nr>"))
    values = {
        "Index": 1,
        "IsPresent": True,
        "Id": "M-104",
        "Description": "Four lids",
        "MouldStatus": INSTALLED,
    }
    yield from (Part(f"{mould}/{name}", value=value) for name, value in values.items())
    yield Part(f"{mould}/TemperatureZones/NodeVersion", value="1")
    zone = f"{mould}/TemperatureZones/TemperatureZone_1"
    yield Part(zone, fills=Place(GENERAL, "MouldTemperatureZoneType", "<TemperatureZone_Nr>"))
    yield from _zone(zone, 1, "Mould", 50.0, "mould_temperature")


def _zone(zone: str, index: int, name: str, nominal: float | str, signal: str) -> Iterator[Part]:
    yield Part(f"{zone}/Index", value=index)
    yield Part(f"{zone}/IsPresent", value=True)
    yield Part(f"{zone}/Name", value=name)
    yield Part(f"{zone}/ControlMode", value=AUTOMATIC)
    yield Part(f"{zone}/Classification", value=HEATING if name != "Mould" else MEASURING)
    yield Part(f"{zone}/ActualTemperature", signal=signal)
    yield Part(f"{zone}/ActualTemperature/EngineeringUnits")
    if isinstance(nominal, str):
        yield Part(f"{zone}/NominalTemperature", signal=nominal)
    else:
        yield Part(f"{zone}/NominalTemperature", value=nominal, unit="CEL", span=(0, 400))
    yield Part(f"{zone}/NominalTemperature/EngineeringUnits")
