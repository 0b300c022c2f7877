"""What the simulators write for us is a configuration without a single error: two programs, one format."""

from __future__ import annotations

from pathlib import Path

from config.load import load
from config.problems import render
from simulators.config_writer import configuration
from tests.simulators.test_config_writer import ENDPOINTS, written


def test_every_simulated_machine_is_read(tmp_path: Path) -> None:
    models, _ = written()
    file = tmp_path / "collector.yaml"
    file.write_text(configuration(models, ENDPOINTS), encoding="utf-8")
    loaded = load([file], env={})
    assert loaded.settings is not None, render(loaded.problems)
    assert {m.id for m in loaded.settings.machines} == {model.machine for model in models}
    named = {(c.machine.id, c.signal.name) for c in loaded.settings.signals()}
    assert named == {(model.machine, signal.name) for model in models for signal in model.signals}
