"""One nursery for all workshops of a worker: building the standard address space takes a second, each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
