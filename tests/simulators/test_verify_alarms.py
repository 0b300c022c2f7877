"""`verify` compares alarms as it compares values: an event is expected once, a refresh may say again what was so, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulators.cli import main
from tests.simulators.runs import START

T = START
STATE = {"source": "Tool", "condition": "Tool.Broken", "severity": 900, "message": "Tool broken"}
ON: dict[str, Any] = {**STATE, "active": True, "acked": False, "retain": True}
SEEN: dict[str, Any] = {**STATE, "active": True, "acked": True, "retain": True}
OVER: dict[str, Any] = {**STATE, "active": False, "acked": True, "retain": False}
HEAD = {
    "kind": "start",
    "t": T,
    "seed": 1,
    "speed": 1,
    "machines": [{"machine": "m", "type": "cnc", "source": "m"}],
}
NAME = "alarm.Tool.Tool_Broken"


def alarm(t: int, state: dict[str, Any], event: str) -> dict[str, Any]:
    return {"kind": "alarm", "event": "active", "machine": "m", "t": t, **state, "event_id": event}


def refresh(t: int, *states: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "refresh", "machine": "m", "t": t, "conditions": list(states)}


def stored(t: int, state: dict[str, Any], *words: str) -> list[dict[str, Any]]:
    return [{"time": t, "machine": "m", "signal": f"{NAME}.{word}", "value": state[word]} for word in words]


ALL = ("active", "acked", "severity", "message")


def event(t: int, state: dict[str, Any], number: str) -> list[dict[str, Any]]:
    return stored(t, {**state, "event_id": number}, *ALL, "event_id")


TRUTH = [
    HEAD,
    alarm(T, ON, "a1"),
    alarm(T + 5, SEEN, "a2"),
    refresh(T + 7, SEEN),
    alarm(T + 9, OVER, "a3"),
    refresh(T + 9, OVER),
    refresh(T + 20, OVER),
]
EVENTS = [*event(T, ON, "a1"), *event(T + 5, SEEN, "a2"), *event(T + 9, OVER, "a3")]


def verdict(folder: Path, data: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    truth, against = folder / "truth.jsonl", folder / "data.jsonl"
    truth.write_text("".join(json.dumps(row) + "\n" for row in TRUTH))
    against.write_text("".join(json.dumps(row) + "\n" for row in data))
    main(["verify", str(truth), "--against", str(against), "--json"])
    numbers: dict[str, int] = json.loads(capsys.readouterr().out)
    assert numbers["expected"] == 15
    return {name: numbers[name] for name in ("missing", "spurious", "altered", "late") if numbers[name]}


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (EVENTS, {}),
        (EVENTS + stored(T + 7, SEEN, *ALL), {}),
        (EVENTS + stored(T + 20, OVER, "active", "acked"), {}),
        (EVENTS[1:], {"missing": 1}),
        (EVENTS[5:10], {"missing": 10}),
        (EVENTS + stored(T + 7, ON, "acked"), {"spurious": 1}),  # at a refresh, but not what was so
        (EVENTS + stored(T + 20, ON, "active"), {"spurious": 1}),
        (EVENTS + stored(T + 8, SEEN, "message"), {"spurious": 1}),  # at no refresh
        (
            [*stored(T, SEEN, "acked"), *[row for row in EVENTS if row != stored(T, ON, "acked")[0]]],
            {"altered": 1},
        ),
    ],
)
def test_alarms_are_compared_like_values(
    data: list[dict[str, Any]], wrong: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(tmp_path, data, capsys) == wrong
