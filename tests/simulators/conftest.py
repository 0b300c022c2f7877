"""One nursery for all workshops of a worker: building the standard address space takes a second, each time.

And clients that do not give up: asyncua's own watchdog gives a server one second, whatever time-out its user has named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asyncua.client.client import Client

from simulators.faces import opcua_server, opcua_space
from simulators.faces.opcua_space import Nursery


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    return Nursery()


@pytest.fixture(scope="package", autouse=True)
def one_nursery(nursery: Nursery) -> Iterator[None]:
    """Also for workshops that are opened without naming any."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (opcua_space, opcua_server):
            patch.setattr(module, "Nursery", lambda: nursery)
        yield


@pytest.fixture(scope="package", autouse=True)
def patient_clients() -> Iterator[None]:
    """A machine that stands still for some seconds is no server that is gone, and no subscription that is stale."""
    made = Client.__init__

    def patient(self: Client, *args: Any, **wishes: Any) -> None:
        made(self, *args, **{"watchdog_intervall": 300.0, **wishes})
        self._stale_check_interval = 3600.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "__init__", patient)
        yield
