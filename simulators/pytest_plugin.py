"""The pytest plugin: fixtures named `sim_…`, each a machine that is there when the test begins and gone when it ends.

Nothing is imported before a fixture is used: pytest loads plugins in every run. Ports are free ones and files lie in tmp_path,
so tests run side by side under xdist.
"""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simulators.faces.broker import Address
    from simulators.faces.opcua_space import Nursery
    from simulators.testing.collector import SimCollector
    from simulators.testing.handles import SimMachine, SimWorkshop

MakeWorkshop = Callable[..., "SimWorkshop"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--sim-seed."""
    group = parser.getgroup("simulated machines")
    group.addoption("--sim-seed", type=int, default=42, help="seed of the simulated machines (default 42)")


@pytest.fixture(scope="session")
def _sim_nursery() -> "Nursery":
    from simulators.faces.opcua_space import Nursery

    return Nursery()


@pytest.fixture
def sim_workshop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _sim_nursery: "Nursery"
) -> Generator[MakeWorkshop]:
    """Makes workshops: `sim_workshop("cnc", "moulding=imm", faces={"imm": "mqtt"})` or `sim_workshop(scenario=file)`.

    faulty=False leaves out the proxies before the endpoints, and with them faults of the communication. security has the
    keys of `security:` in a scenario, such as `{"offers": "encrypt", "users": [{"name": "anna", "password": "…"}]}`.
    """
    from simulators.testing.making import make_workshop

    opened: list[SimWorkshop] = []

    def make(
        *machines: str,
        faces: Mapping[str, str] | None = None,
        scenario: Path | None = None,
        faulty: bool = True,
        security: Mapping[str, Any] | None = None,
    ) -> "SimWorkshop":
        folder = tmp_path_factory.mktemp("sim")
        seed = request.config.getoption("--sim-seed")
        opened.append(
            make_workshop(
                machines,
                faces or {},
                scenario,
                folder,
                seed,
                faulty=faulty,
                nursery=_sim_nursery,
                security=security,
            )
        )
        return opened[-1]

    yield make
    for workshop in reversed(opened):
        workshop.close()


def _machine(kind: str) -> Any:
    """A fixture for one machine of a kind, on the interface that it has in life."""

    def fixture(sim_workshop: MakeWorkshop) -> "SimMachine":
        return next(iter(sim_workshop(kind)))

    fixture.__doc__ = f"A simulated machine of the kind '{kind}': url, advance, wait_for, inject, truth."
    return pytest.fixture(name=f"sim_{kind}")(fixture)


sim_climate = _machine("climate")
sim_cnc = _machine("cnc")
sim_cnc5 = _machine("cnc5")
sim_compressor = _machine("compressor")
sim_energy = _machine("energy")
sim_legacy = _machine("legacy")
sim_moulding = _machine("moulding")
sim_packaging = _machine("packaging")
sim_robot = _machine("robot")


@pytest.fixture
def sim_broker() -> "Generator[Address]":
    """An MQTT 3.1.1 broker of the test's own: `.url`, `.host`, `.port`."""
    from simulators.testing.making import running_broker

    with running_broker() as address:
        yield address


@pytest.fixture
def sim_collector() -> "Generator[Callable[[Path], SimCollector]]":
    """Starts `collector run` on a configuration, in its own environment: see SHOPFLOOR_COLLECTOR."""
    from simulators.testing.collector import SimCollector

    started: list[SimCollector] = []

    def start(config: Path) -> "SimCollector":
        collector = SimCollector(config)
        started.append(collector)
        collector.start()
        return collector

    yield start
    for collector in started:
        collector.stop()
