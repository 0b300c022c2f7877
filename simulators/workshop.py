"""Opens what a run needs, in the order that makes the ready line true: truth, broker, sockets, configuration."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from simulators.clock import wall_ns
from simulators.config_writer import configuration
from simulators.core import Unit
from simulators.faces.base import Face
from simulators.faces.broker import Address, OwnBroker, own_broker
from simulators.faces.mqtt import MqttFace, Publisher, open_publisher
from simulators.machines import kind
from simulators.model import Model
from simulators.truth import Truth, open_truth

GRACE_S = 3.0  # how long readers may take to fetch the last values


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for. Durations are in simulated seconds, times in ns UTC."""

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


@dataclass(slots=True)
class Workshop:
    """All machines, listening, with their first values."""

    units: list[Unit]
    truth: Truth
    endpoints: dict[str, str]
    opened_ns: int
    broker: OwnBroker | None
    publisher: Publisher | None

    async def drain(self) -> None:
        """Let every reader have what was emitted, and close the books: last states, and the `stop` row."""
        for unit in self.units:
            await unit.face.drain(GRACE_S)
        if self.broker is not None:
            await self.broker.drain(GRACE_S)
        for unit in self.units:
            self.truth.state(unit.model.machine, unit.model.end(unit.last_ns))
        self.truth.rows([{"kind": "stop", "t": max(u.last_ns for u in self.units), **self.report()}])

    def report(self) -> Mapping[str, object]:
        """What happened to the values: handed over; never taken by the broker; dropped while it was away."""
        emitted = {unit.model.machine: self.truth.emitted[unit.model.machine] for unit in self.units}
        if self.publisher is None:
            return {"emitted": emitted}
        return {
            "emitted": emitted,
            "unconfirmed": self.publisher.unconfirmed(),
            "dropped": dict(self.publisher.dropped),
        }


@asynccontextmanager
async def open_workshop(plan: Plan) -> AsyncIterator[Workshop]:
    """Everything listens and the configuration is written when this yields; all is closed when it ends."""
    at_ns = plan.start_ns if plan.start_ns is not None else wall_ns()
    models = [kind(name)(machine, plan.seed) for name, machine in plan.machines]
    async with AsyncExitStack() as stack:
        truth = stack.enter_context(open_truth(plan.truth))
        truth.rows([_start_row(plan, at_ns)])
        opener = _Opener(stack, plan, Workshop([], truth, {}, at_ns, None, None))
        for model in models:
            model.begin(at_ns)
            opener.workshop.units.append(Unit(model, await opener.face(model), plan.max_changes))
        _write(plan.config, _configured(models, opener.workshop))
        yield opener.workshop


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _start_row(plan: Plan, at_ns: int) -> Mapping[str, object]:
    machines = [
        {"machine": machine, "type": name, "source": machine if kind(name).interface == "opcua" else "broker"}
        for name, machine in plan.machines
    ]
    return {"kind": "start", "t": at_ns, "seed": plan.seed, "speed": plan.speed, "machines": machines}


def _configured(models: Sequence[Model], workshop: Workshop) -> str:
    """The built-in broker speaks 3.1.1 only: said, so that nobody waits for its silence to MQTT 5."""
    return configuration(models, workshop.endpoints, mqtt="auto" if workshop.broker is None else "3.1.1")


@dataclass(slots=True)
class _Opener:
    """Opens face by face; the stack closes them in reverse: publishers before their broker."""

    stack: AsyncExitStack
    plan: Plan
    workshop: Workshop
    used: int = 0

    def port(self) -> int:
        """The next listening port: counted up from --port, or 0 for any free one."""
        self.used += 1
        return self.plan.port + self.used - 1 if self.plan.port else 0

    async def face(self, model: Model) -> Face:
        return await (self._opcua(model) if model.interface == "opcua" else self._mqtt(model))

    async def _opcua(self, model: Model) -> Face:
        from simulators.faces.opcua import open_opcua  # asyncua takes its time; energy alone needs none of it

        workshop = self.workshop
        opened = open_opcua(model, workshop.truth, workshop.opened_ns, self.plan.host, self.port())
        face, workshop.endpoints[model.machine] = await self.stack.enter_async_context(opened)
        return face

    async def _mqtt(self, model: Model) -> Face:
        if self.workshop.publisher is None:
            self.workshop.publisher = await self._connected()
        return MqttFace(self.workshop.publisher, model)

    async def _connected(self) -> Publisher:
        address = self.plan.broker
        if address is None:
            self.workshop.broker = await self.stack.enter_async_context(
                own_broker(self.plan.host, self.port())
            )
            address = self.workshop.broker.address
        self.workshop.endpoints["mqtt"] = address.url
        client_id = (
            f"shopfloor-sim-{uuid4().hex[:12]}"  # two simulators at one broker must not throw each other out
        )
        opened = open_publisher(address, self.workshop.truth, client_id)
        return await self.stack.enter_async_context(opened)
