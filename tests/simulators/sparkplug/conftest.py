"""A broker that stands still for some seconds is no broker that is silent: whoever means that one sets the limit himself."""

from __future__ import annotations

import pytest

from simulators.sparkplug import link, run


@pytest.fixture(autouse=True)
def patient_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER", 60.0)
    monkeypatch.setattr(run, "FAREWELL", 60.0)
