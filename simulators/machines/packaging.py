"""A flow-wrapping cell that speaks PackML (OPC 30050, TR88.00.02): its states, why it stands, and its three counters.

Held is its own fault, Suspended is somebody else's: no products come, or nobody takes the packs away. A pack is consumed,
then processed or rejected: what is between them is in the machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from simulators.live import Alarm, Job, Setting, job
from simulators.machines.phased import Phased, Step
from simulators.model import Signal, Type, Value
from simulators.physics import towards

# State numbers of TR88.00.02; OPC TMC numbers them otherwise.
STATES = MappingProxyType(
    {
        "Clearing": 1, "Stopped": 2, "Starting": 3, "Idle": 4, "Suspended": 5, "Execute": 6, "Stopping": 7, "Aborting": 8,
        "Aborted": 9, "Holding": 10, "Held": 11, "Unholding": 12, "Suspending": 13, "Unsuspending": 14, "Resetting": 15,
        "Completing": 16, "Complete": 17,
    }
)  # fmt: skip
SPEED = 120.0  # packs per minute
INSIDE = 4  # packs between the infeed and the scale
SEAL_C = 145.0
LOT = 900
FILM_PACKS = 1500

SIGNALS = (
    Signal("state_current", Type.INT32, "StateCurrent of PackML", address="Status.StateCurrent"),
    Signal("state_text", Type.STRING, "StateCurrent in words", address="Status.StateText"),
    Signal("unit_mode", Type.INT32, "UnitModeCurrent: 1 produce", address="Status.UnitModeCurrent"),
    Signal("mach_speed", Type.FLOAT, "Commanded packs per minute", "C62", 0, 200, 1, "Status.MachSpeed"),
    Signal("cur_mach_speed", Type.FLOAT, "Actual packs per minute", "C62", 0, 200, 1, "Status.CurMachSpeed"),
    Signal("equipment_blocked", Type.BOOLEAN, "Packs are not taken away", address="Status.EquipmentInterlock.Blocked"),
    Signal("equipment_starved", Type.BOOLEAN, "No products come", address="Status.EquipmentInterlock.Starved"),
    Signal("stop_reason", Type.INT32, "Why it stands: 0 nothing, 11 film, 27 jam, 31 sealing jaw cold", address="Admin.StopReason"),
    Signal("prod_consumed", Type.UINT32, "ProdConsumedCount", "H87", address="Admin.ProdConsumedCount"),
    Signal("prod_processed", Type.UINT32, "ProdProcessedCount: good and defective", "H87", address="Admin.ProdProcessedCount"),
    Signal("prod_defective", Type.UINT32, "ProdDefectiveCount", "H87", address="Admin.ProdDefectiveCount"),
    Signal("seal_temperature", Type.FLOAT, "Sealing jaw", "CEL", 0, 250, 1, "Seal.Temperature"),
    Signal("film_remaining", Type.FLOAT, "Film on the reel", "P1", 0, 100, 1, "Film.Remaining"),
    Signal("pack_weight", Type.FLOAT, "Weight of the last pack", "GRM", 0, 1000, 1, "Scale.Weight"),
    Signal("air_pressure", Type.FLOAT, "Compressed air at the machine", "BAR", 0, 12, 2, "Supply.Air"),
    Signal("job_order", Type.STRING, "Job order, set by who plans", address="Job.Order"),
    Signal("job_quantity", Type.UINT32, "Packs of the job; 0: any number", "H87", address="Job.Quantity"),
)  # fmt: skip
CONDITIONS = (
    Alarm("EmergencyStop", "Emergency stop pressed", 1000, "Status"),
    Alarm("Jam", "A pack is stuck", 700, "Status", "27"),
    Alarm("SealingJawCold", "The sealing jaw is too cold", 600, "Seal", "31"),
    Alarm("FilmEmpty", "The film is used up", 500, "Film", "11"),
)


@dataclass
class Packaging(Phased):
    """Steps of 200 ms. States: those of PackML."""

    kind = "packaging"
    title = "Packaging cell with PackML (simulated)"
    interface = "opcua"
    period_ms = 200
    signals = SIGNALS
    attended_states = frozenset({"Held"})
    process_faults = MappingProxyType(
        {
            "jam": "a pack is stuck: Held until the fault ends",
            "starvation": "no products come: Suspended until the fault ends",
            "blocked": "nobody takes the packs: Suspended until the fault ends",
            "heater_failure": "the sealing jaw grows cold: rejects, then Held",
            "scrap_burst": "half of the packs are rejected",
            "abort": "somebody pressed the emergency stop: Aborted until the fault ends",
        }
    )

    alarms = CONDITIONS
    settings = (*job(), Setting("mach_speed", 10, 200))
    remembered = ("seal_temperature", "pack_weight", "prod_processed")

    speed: float = field(default=0.0, init=False)
    commanded: float = field(default=SPEED, init=False)
    job: Job = field(default_factory=Job, init=False)
    seal_c: float = field(default=SEAL_C, init=False)
    film: int = field(default=FILM_PACKS * 3 // 5, init=False)
    consumed: int = field(default=0, init=False)
    processed: int = field(default=0, init=False)
    defective: int = field(default=0, init=False)
    weight_g: float = field(default=250.0, init=False)
    lot_left: int = field(default=LOT // 2, init=False)
    _due: float = field(default=0.0, init=False)  # packs of which a part has been made
    _empty: float = field(default=300.0, init=False)  # seconds until the infeed runs dry by itself
    _gap: float = field(default=0.0, init=False)  # seconds that it stays dry

    def life(self) -> Iterator[Step]:
        while True:
            yield Step("Resetting", 2.0)
            yield Step("Idle", 1.0)
            yield from self.idle("Idle")
            yield Step("Starting", 3.0)
            done = False
            while not done:
                yield Step("Execute", 0.0)
                if self.failing("abort"):
                    yield from self._abort()
                    break
                if self.reason:
                    yield from self._hold()
                elif self.starved or self.is_blocked:
                    yield from self._suspend()
                done = self.lot_left <= 0 or not self.may_work
            else:
                yield Step("Completing", 4.0)
                yield Step("Complete", 5.0)
                self.lot_left = self.job.quantity or LOT

    def _abort(self) -> Iterator[Step]:
        yield Step("Aborting", 1.0)
        while self.failing("abort"):
            yield Step("Aborted", 1.0)
        yield Step("Clearing", 2.0)
        yield Step("Stopped", 3.0)

    def _hold(self) -> Iterator[Step]:
        yield Step("Holding", 1.6)
        while self.around.operators < 1 or self.failing("jam") or self._is_cold():
            yield Step("Held", 1.0)
        yield Step("Held", self.chance("held").triangular(8, 60, 20))
        self.film = FILM_PACKS if self.film <= 0 else self.film
        yield Step("Unholding", 1.6)

    def _suspend(self) -> Iterator[Step]:
        yield Step("Suspending", 1.0)
        while self.starved or self.is_blocked:
            yield Step("Suspended", 1.0)
        yield Step("Unsuspending", 1.0)

    @property
    def starved(self) -> bool:
        return self._gap > 0 or bool(self.failing("starvation"))

    @property
    def is_blocked(self) -> bool:
        return bool(self.failing("blocked"))

    @property
    def reason(self) -> int:
        """Why it cannot go on by itself; 0: it can."""
        if self.failing("jam"):
            return 27
        if self._is_cold():
            return 31
        return 11 if self.film <= 0 else 0

    def _is_cold(self) -> bool:
        return self.seal_c < 125.0

    @property
    def may_work(self) -> bool:
        return super().may_work and self.job.open(self.processed)

    def alarming(self) -> frozenset[str]:
        on = {
            "EmergencyStop": self.failing("abort"),
            "Jam": self.failing("jam"),
            "SealingJawCold": self._is_cold(),
        }
        return frozenset(name for name, is_on in {**on, "FilmEmpty": self.film <= 0}.items() if is_on)

    def adjust(self, signal: str, value: Any) -> None:
        self.job.adjust(signal, value, self.processed)
        if signal == "mach_speed":
            self.commanded = value
        elif signal == "job_quantity" and value:
            self.lot_left = value

    @property
    def power_kw(self) -> float:
        return 0.4 + 0.02 * self.speed + (1.2 if self.seal_c < SEAL_C else 0.4)

    @property
    def air(self) -> float:
        return 0.25 if self.state == "Execute" else 0.03

    @property
    def parts_made(self) -> int:
        return self.processed

    def advance(self, dt: float) -> None:
        self._infeed(dt)
        cold = 22.0 if self.failing("heater_failure") else SEAL_C
        self.seal_c = towards(self.seal_c, cold, dt, 180.0) + self.chance("seal_temperature").gauss(0, 0.05)
        self.speed = towards(self.speed, self.commanded if self.state == "Execute" else 0.0, dt, 0.8)
        if self.state == "Execute":
            self._pack(dt)
            if not self._must_leave():
                return
        elif self.state in ("Completing", "Stopping"):
            self._empty_out()
        self.proceed(dt)

    def _must_leave(self) -> bool:
        wish = self.failing("abort") or self.reason or self.starved or self.is_blocked
        return bool(wish) or self.lot_left <= 0 or not self.may_work

    def _infeed(self, dt: float) -> None:
        dice = self.chance("infeed")
        self._gap = max(0.0, self._gap - dt)
        self._empty -= dt
        if self._empty <= 0:
            self._empty = dice.expovariate(1 / 400.0)
            self._gap = 5.0 + dice.expovariate(1 / 20.0)

    def _pack(self, dt: float) -> None:
        self._due += self.speed / 60.0 * dt
        while self._due >= 1.0 and self.film > 0:
            self._due -= 1.0
            self.consumed += 1
            self.film -= 1
            self.lot_left -= 1
            if self.consumed - self.processed > INSIDE:
                self._finish()

    def _finish(self) -> None:
        dice = self.chance("pack_weight")
        self.weight_g = dice.gauss(250.0, 1.6)
        badly = abs(self.weight_g - 250.0) > 4.5 or self.seal_c < 135.0
        burst = self.failing("scrap_burst") > 0 and self.chance("scrap").random() < 0.5
        self.processed += 1
        self.defective += badly or burst

    def _empty_out(self) -> None:
        while self.processed < self.consumed:
            self._finish()

    def read(self) -> dict[str, Value]:
        return {
            "state_current": STATES[self.state],
            "state_text": self.state,
            "unit_mode": 1,
            "mach_speed": self.commanded,
            "cur_mach_speed": self.speed if self.speed > 0.5 else 0.0,
            "equipment_blocked": self.is_blocked,
            "equipment_starved": self.starved,
            "stop_reason": self.reason,
            "prod_consumed": self.consumed,
            "prod_processed": self.processed,
            "prod_defective": self.defective,
            "seal_temperature": self.seal_c,
            "film_remaining": 100.0 * self.film / FILM_PACKS,
            "pack_weight": self.weight_g,
            "air_pressure": self.around.air
            - 0.3
            - 0.002 * self.speed
            + self.chance("air_pressure").gauss(0, 0.01),
            "job_order": self.job.order,
            "job_quantity": self.job.quantity,
        }
