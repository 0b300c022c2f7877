"""What a test holds in its hand: switched off it says so, and what it reads of the truth is whole rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulators.errors import SimulatorError
from simulators.faces.opcua_space import Nursery
from simulators.testing.handles import SimWorkshop, truth_rows
from simulators.testing.making import make_workshop


def workshop(folder: Path, **faces: str) -> SimWorkshop:
    return make_workshop(["legacy=l"], faces, None, folder, 5, faulty=False, nursery=Nursery())


def test_what_was_switched_off_says_so(tmp_path: Path) -> None:
    made = workshop(tmp_path)
    machine = made["l"]
    made.advance(1)
    made.close()
    for ask in (lambda: made.advance(1), lambda: machine.inject("jam"), lambda: machine.state):
        with pytest.raises(SimulatorError, match="switched off"):
            ask()
    assert made.truth[-1]["kind"] == "stop"


def test_nothing_is_said_in_the_moment_of_the_end(tmp_path: Path) -> None:
    """Nobody let time pass, so the clock did not start; it must not do so while everything is being closed."""
    made = workshop(tmp_path, l="jsonl")
    made.close()
    assert [row["kind"] for row in made.truth] == ["start", "state", "stop"]


def test_who_waits_for_time_to_pass_is_told_what_ended_the_run(tmp_path: Path) -> None:
    made = workshop(tmp_path)
    made.advance(1)

    def broken(_at_ns: int, _dt: float) -> Any:
        raise SimulatorError("the physics gave up")

    unit = made._running.workshop.units[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(unit.model), "step", lambda _model, at_ns, dt: broken(at_ns, dt))
        with pytest.raises((SimulatorError, ExceptionGroup)):  # noqa: PT012 - whichever is told first
            made.advance(60)
            made.close()


def test_rows_are_parted_by_line_ends_alone_and_a_last_half_one_is_left_out(tmp_path: Path) -> None:
    file, texts = tmp_path / "t", ["a\u2028b", "a\u0085b", "a\x1cb", "ö"]
    lines = [f'{{"comment":"{text}"}}\n'.replace("\x1c", "\\u001c") for text in texts]
    file.write_bytes("".join(lines).encode() + b'{"comment":"\xc3')
    assert [row["comment"] for row in truth_rows(file)] == texts
