"""Opens what a run needs, in the order that makes the ready line true: truth, broker, sockets, configuration."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from simulators.agenda import Agenda
from simulators.building import nothing_is_rubbish
from simulators.clock import SECOND, Clock, wall_ns
from simulators.config_writer import BROKER_BESIDE, configuration, login
from simulators.core import Unit, drive
from simulators.faces.base import Face
from simulators.faces.broker import Address, OwnBroker
from simulators.faces.mqtt import Publisher
from simulators.faces.opcua_security import Security
from simulators.faces.opening import Opener, Place
from simulators.faults.engine import Engine
from simulators.faults.wish import Wish
from simulators.hall import Hall, HallPlan
from simulators.live import Refused, Turn, Written, admitted
from simulators.machines import kind
from simulators.model import Model
from simulators.truth import Truth, fresh, open_truth, unwritable, write_all

if TYPE_CHECKING:
    from simulators.faces.opcua_space import Nursery

AT_BROKER = ("mqtt", "sparkplug")
LOCAL = ("127.0.0.1", "localhost", "::1")
GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for. Durations are in simulated seconds, times in ns UTC.

    leash: ends with whoever holds the other end of stdin.
    faces: of machines that are to have another than their kind's. faults: with the second after the start at which they begin.
    faulty: put a proxy before each endpoint, for faults of the communication. control: port of the HTTP control API. beside: the configuration is to be read
    together with another. grace_s: how long readers may take to fetch the last values, real seconds.
    """

    machines: tuple[tuple[str, str], ...]  # (kind, id)
    seed: int
    truth: Path
    config: Path
    speed: float = 1.0
    host: str = "127.0.0.1"
    port: int = 0
    broker: Address | None = None
    duration_s: float | None = None
    max_changes: int | None = None
    start_ns: int | None = None
    hold: bool = False
    leash: bool = False
    faces: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[tuple[float, Wish], ...] = ()
    settings: tuple[Turn, ...] = ()
    faulty: bool = False
    advertise: str = ""
    control: int | None = None
    hall: HallPlan | None = None
    beside: bool = False
    security: Security = field(default_factory=Security)
    grace_s: float = GRACE_S

    def face(self, machine: str, name: str) -> str:
        """The face of a machine of this kind."""
        return self.faces.get(machine) or kind(name).interface

    def exposed(self) -> str:
        """What somebody should know who lets other computers in; empty: nothing."""
        served = any(self.face(machine, name) == "opcua" for name, machine in self.machines)
        if not served or self.host in LOCAL or "none" not in self.security.offered:
            return ""
        return f"{self.host}: anybody on the network can read and write over OPC UA: --security encrypt lets only encrypted connections in."


@dataclass(slots=True)
class Workshop:
    """All machines, listening, with their first values."""

    units: list[Unit]
    truth: Truth
    endpoints: dict[str, str]
    opened_ns: int
    broker: OwnBroker | None
    publisher: Publisher | None
    engine: Engine
    agenda: Agenda
    hall: Hall | None = None
    grace_s: float = GRACE_S

    async def drive(
        self, clock: Clock, stop: asyncio.Event, *, origin_ns: int, until_ns: int | None = None
    ) -> None:
        """Let the machines live; see `core.drive`."""
        prepare = None if self.hall is None else self.hall.prepare
        await drive(
            self.units, clock, self.truth, stop, origin_ns=origin_ns, until_ns=until_ns,
            agenda=self.agenda, prepare=prepare,
        )  # fmt: skip
        self.retire()

    def retire(self) -> None:
        """No machine makes another step."""
        for unit in self.units:
            unit.retire(self.truth)

    async def drain(self) -> None:
        """Let every reader have what was emitted, and close the books: last states, and the `stop` row."""
        self.retire()
        await self.engine.reset()
        for unit in self.units:
            await unit.face.drain(self.grace_s)
        if self.broker is not None:
            await self.broker.drain(self.grace_s)
        for unit in self.units:
            self.truth.state(unit.model.machine, unit.model.end(unit.last_ns))
        self.truth.rows([{"kind": "stop", "t": max(u.last_ns for u in self.units), **self.report()}])

    def report(self) -> Mapping[str, object]:
        """What happened to the values: handed over; never taken by the broker; dropped while it was away. And to the messages that
        the built-in broker took: not delivered.
        """
        said: dict[str, object] = {
            "emitted": {unit.model.machine: self.truth.emitted[unit.model.machine] for unit in self.units}
        }
        if self.publisher is not None:
            said |= {"unconfirmed": self.publisher.unconfirmed(), "dropped": dict(self.publisher.dropped)}
        if self.broker is not None:
            said["undelivered"] = self.broker.undelivered
        return said


@asynccontextmanager
async def open_workshop(plan: Plan, nursery: "Nursery | None" = None) -> AsyncIterator[Workshop]:
    """Everything listens and the configuration is written when this yields; all is closed when it ends.

    nursery: where OPC UA servers come from; who opens many workshops keeps one, for its first server takes a second.
    """
    at_ns = plan.start_ns if plan.start_ns is not None else wall_ns()
    models = [kind(name)(machine, plan.seed) for name, machine in plan.machines]
    async with AsyncExitStack() as stack:
        truth = stack.enter_context(open_truth(plan.truth))
        truth.rows([_start_row(plan, at_ns)])
        for model in models:
            model.begin(at_ns)
        place = Place(
            plan.host, plan.port, plan.advertise, plan.broker, plan.truth.parent, plan.faulty, plan.security
        )
        opener = Opener(stack, place, truth, at_ns, nursery)
        with nothing_is_rubbish():
            faces = await opener.faces([(model, plan.face(model.machine, model.kind)) for model in models])
        units = _units(plan, models, faces, at_ns)
        yield _ready(plan, units, opener)


def _units(plan: Plan, models: Sequence[Model], faces: Mapping[str, Face], at_ns: int) -> list[Unit]:
    """The devices of an edge share its connection: none of them steps while another one's fault makes it anew."""
    edge = asyncio.Lock()
    locks = {
        m.machine: edge if plan.face(m.machine, m.kind) == "sparkplug" else asyncio.Lock() for m in models
    }
    return [Unit(m, faces[m.machine], plan.max_changes, at_ns, locks[m.machine]) for m in models]


def _ready(plan: Plan, units: list[Unit], opener: Opener) -> Workshop:
    agenda, truth = Agenda(opener.at_ns), opener.truth
    engine = Engine({unit.model.machine: unit for unit in units}, truth, agenda, opener.doors)
    for second, wish in plan.faults:
        engine.check(wish)
        agenda.after(round(second * 1000) * (SECOND // 1000), partial(_begin, engine, wish))
    for turn in plan.settings:
        model = engine.unit(turn.machine).model
        admitted(model, turn.signal, turn.value)
        agenda.after(round(turn.at * 1000) * (SECOND // 1000), partial(_turn, model, turn, agenda, truth))
    models = [unit.model for unit in units]
    hall = None if plan.hall is None else Hall(plan.hall, models, truth)
    _write(plan.config, _configured(plan, models, opener))
    return Workshop(
        units, truth, opener.endpoints, opener.at_ns, opener.broker, opener.publisher, engine, agenda, hall,
        plan.grace_s,
    )  # fmt: skip


async def _begin(engine: Engine, wish: Wish) -> None:
    await engine.start(wish)


async def _turn(model: Model, turn: Turn, agenda: Agenda, truth: Truth) -> None:
    """A machine that is over, or that somebody floods, does not end the run of all others."""
    try:
        model.set(turn.signal, turn.value, "scenario")
    except Refused:
        truth.unheeded(model.machine, agenda.now_ns, [Written("scenario", turn.signal, turn.value)])


def _write(path: Path, text: str) -> None:
    with fresh(path) as file:
        write_all(file, text.encode())


def _start_row(plan: Plan, at_ns: int) -> Mapping[str, object]:
    broker = BROKER_BESIDE if plan.beside else "broker"
    sources = {
        machine: broker if plan.face(machine, name) in AT_BROKER else machine
        for name, machine in plan.machines
    }
    machines = [
        {"machine": machine, "type": name, "source": sources[machine]} for name, machine in plan.machines
    ]
    return {"kind": "start", "t": at_ns, "seed": plan.seed, "speed": plan.speed, "machines": machines}


def _configured(plan: Plan, models: Sequence[Model], opener: Opener) -> str:
    """The built-in broker speaks 3.1.1 only: said, so that nobody waits for its silence to MQTT 5."""
    faces = {model.machine: plan.face(model.machine, model.kind) for model in models}
    version = "auto" if opener.broker is None else "3.1.1"
    secrets = plan.config.parent / "secrets"
    _keep_password(plan.security, secrets)
    logins = {name: login(plan.security, print_, secrets) for name, print_ in opener.fingerprints.items()}
    return configuration(
        models, opener.endpoints, mqtt=version, faces=faces, beside=plan.beside, logins=logins
    )


def _keep_password(security: Security, folder: Path) -> None:
    """Where only the owner reads it: a configuration is shown around, and says where the password is."""
    if (account := security.account()) is None:
        return
    file = folder / account.name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)
        own = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(own, "w", encoding="utf-8") as out:
            out.write(account.password)
    except OSError as error:
        raise unwritable(file, error) from error
