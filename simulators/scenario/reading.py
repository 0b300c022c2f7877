"""A scenario file to a plan. Every mistake is said with its place; nothing is guessed.

The file is YAML 1.2 by ruamel.yaml, checked by msgspec: an unknown key is a mistake, not a comment.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simulators import arguments
from simulators.errors import SimulatorError
from simulators.faces.opcua_security import Security, SecurityEntry
from simulators.faults.wish import Wish
from simulators.hall import HallPlan, Order, Shift
from simulators.live import Turn
from simulators.machines import kind
from simulators.options import drawn
from simulators.workshop import Plan

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class MachineEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    kind: str
    face: str = ""


class ShiftEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    begin: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    operators: Annotated[int, msgspec.Meta(ge=0)] = 1
    days: list[Day] = msgspec.field(default_factory=lambda: list(DAYS))


class OrderEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    machine: str
    parts: Annotated[int, msgspec.Meta(ge=1)]
    program: str = ""


class FaultEntry(msgspec.Struct, forbid_unknown_fields=True):
    at: str
    machine: str
    fault: str
    signal: str = ""
    amount: float | None = None
    lasting: str | None = msgspec.field(default=None, name="for")


class SettingEntry(msgspec.Struct, forbid_unknown_fields=True):
    at: str
    machine: str
    signal: str
    value: str | bool | int | float


class File(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file. Durations as 30s, 5m, 1h; times of day as 06:00."""

    version: Literal[1]
    machines: list[MachineEntry]
    seed: int | None = None
    start: Any = None  # a text, or what YAML makes of a time
    speed: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 1.0
    duration: str | None = None
    zone: str = "UTC"
    shifts: list[ShiftEntry] = []
    orders: list[OrderEntry] = []
    faults: list[FaultEntry] = []
    settings: list[SettingEntry] = []
    security: SecurityEntry | None = None


def read(path: Path) -> Plan:
    """The plan of a scenario file; raises SimulatorError with the place of what is wrong."""
    try:
        file = msgspec.convert(plain(path), File)
        security = Security() if file.security is None else file.security.made(path.parent.absolute())
        return replace(_plan(file), security=security)
    except msgspec.ValidationError as error:
        raise SimulatorError(f"{path}: {error}.") from None
    except (arguments.Refused, ValueError) as error:
        raise SimulatorError(f"{path}: {error}") from None


def plain(path: Path) -> Any:
    """What stands in a YAML file; raises SimulatorError with the place."""
    yaml = YAML(typ="safe", pure=True)
    try:
        return yaml.load(path.read_text("utf-8"))
    except (OSError, YAMLError) as error:
        raise SimulatorError(f"{path}: {error}") from None


def _plan(file: File) -> Plan:
    if not file.machines:
        raise ValueError("a scenario needs machines")
    twice = [name for name, times in Counter(entry.id for entry in file.machines).items() if times > 1]
    if twice:
        raise ValueError(f"two machines are called '{twice[0]}'")
    machines = tuple((entry.kind, arguments.machine_id(entry.id)) for entry in file.machines)
    for name, _ in machines:
        kind(name)
    return Plan(
        machines=machines,
        seed=drawn() if file.seed is None else file.seed,
        truth=Path("truth.jsonl"),
        config=Path("collector.yaml"),
        speed=file.speed,
        duration_s=None if file.duration is None else arguments.seconds(file.duration),
        start_ns=None if file.start is None else arguments.moment(str(file.start)),
        faces={entry.id: entry.face for entry in file.machines if entry.face},
        faults=tuple(_fault(entry) for entry in file.faults),
        settings=tuple(Turn(_at(e.at), e.machine, e.signal, e.value) for e in file.settings),
        faulty=any(entry.fault in ("refuse", "cut", "half_open", "latency") for entry in file.faults),
        hall=_hall(file),
    )


def _fault(entry: FaultEntry) -> tuple[float, Wish]:
    lasting = None if entry.lasting is None else arguments.seconds(entry.lasting)
    return _at(entry.at), Wish(entry.machine, entry.fault, entry.signal, entry.amount, lasting)


def _at(text: str) -> float:
    return 0.0 if text in ("0", "0s") else arguments.seconds(text)


def _hall(file: File) -> HallPlan:
    try:
        ZoneInfo(file.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"zone '{file.zone}' is unknown: write one such as Europe/Brussels") from None
    known = {entry.id for entry in file.machines}
    for order in file.orders:
        if order.machine not in known:
            raise ValueError(f"order '{order.id}': there is no machine '{order.machine}'")
    shifts = tuple(
        Shift(e.name, _second(e.begin), _second(e.end), e.operators, frozenset(map(DAYS.index, e.days)))
        for e in file.shifts
    )
    return HallPlan(file.zone, shifts, tuple(Order(o.id, o.machine, o.parts, o.program) for o in file.orders))


def _second(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        raise ValueError(f"'{text}' is no time of day: write 06:00") from None
    return moment.hour * 3600 + moment.minute * 60
