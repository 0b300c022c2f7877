"""Paths, patterns, ranges and name rules as words: what they mean, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.opcua.nodeid import canonical, parse_node_id
from adapters.opcua.paths import escaped, expanded, named, parse_path, treated_names
from adapters.opcua.settings import OpcUaRead, OpcUaSignal


def steps(text: str) -> list[tuple[str | None, str | None, int | None]]:
    return [(step.name, step.uri, step.index) for step in parse_path(text).steps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Machines/CNC1/Load", [("Machines", None, None), ("CNC1", None, None), ("Load", None, None)]),
        ("/Machines/2:Load", [("Machines", None, None), ("Load", None, 2)]),
        ("nsu=http://vendor.com/UA/;Load/x", [("Load", "http://vendor.com/UA/", None), ("x", None, None)]),
        ("nsu=http://vendor.com/UA/:Load/x", [("Load", "http://vendor.com/UA/", None), ("x", None, None)]),
        (
            "a/nsu=urn:vendor:cnc:Load/x",
            [("a", None, None), ("Load", "urn:vendor:cnc", None), ("x", None, None)],
        ),
        (
            "a&/b/c&*/2&:d/e&&f",
            [("a/b", None, None), ("c*", None, None), ("2:d", None, None), ("e&f", None, None)],
        ),
        ("Ax*s/*", [(None, None, None), (None, None, None)]),
    ],
)
def test_a_path_is_names_with_their_namespaces(text: str, expected: list[Any]) -> None:
    assert steps(text) == expected


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_any_names_can_be_written(names: list[str]) -> None:
    text = "/".join(escaped(name) for name in names)
    if text != text.strip() or any(name.startswith("nsu=") for name in names):
        return
    assert [step.name for step in parse_path(text).steps] == names


@pytest.mark.parametrize("text", ["", "/", "a//b", "a/", "**/x/**", "a/***", "2:**"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"path|missing|enough|stands"):
        parse_path(text)


def test_a_star_stands_for_any_part_of_a_name() -> None:
    (step,) = parse_path("Axis*of*").steps
    assert step.captured("Axis1of3") == ("1", "3")
    assert step.captured("axis1of3") is None
    assert step.captured("1Axis1of3") is None


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            "ns=2;s=a[u1,{1..3}]",
            [("ns=2;s=a[u1,1]", ("1",)), ("ns=2;s=a[u1,2]", ("2",)), ("ns=2;s=a[u1,3]", ("3",))],
        ),
        ("i={08..11}", [("i=08", ("08",)), ("i=09", ("09",)), ("i=10", ("10",)), ("i=11", ("11",))]),
        (
            "s={1..2}{5..6}",
            [("s=15", ("1", "5")), ("s=16", ("1", "6")), ("s=25", ("2", "5")), ("s=26", ("2", "6"))],
        ),
        ("s={n}", [("s={n}", ())]),
    ],
)
def test_ranges_of_ids(node: str, expected: list[Any]) -> None:
    assert expanded(node) == expected


def test_ranges_become_signals_of_their_own() -> None:
    signal = {"name": "speed_{1}", "node": "ns=2;s=/Channel/Spindle/actSpeed[u1,{1..5}]", "unit": "RPM"}
    read = OpcUaRead.model_validate({"source": "plc", "signals": [signal]})
    assert [s.name for s in read.signals] == [f"speed_{n}" for n in range(1, 6)]
    assert read.signals[4].node == "ns=2;s=/Channel/Spindle/actSpeed[u1,5]"
    assert all(s.unit == "RPM" for s in read.signals)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ({"name": "a"}, "node: .* or a path:"),
        ({"name": "a", "node": "i=1", "path": "b"}, "not both"),
        ({"name": "a", "node": "i=1", "root": "b"}, "root is where a path: begins"),
        ({"name": "a", "path": "b/*"}, r"write \{1\} into it"),
        ({"name": "a_{2}", "path": "b/*"}, "1 wildcards"),
        ({"name": "a_{1}", "path": "b"}, "no wildcards"),
        ({"name": "a", "node": "ns=2;s=x{1..5}"}, r"write \{1\} into it"),
        ({"name": "a{1}", "node": "ns=2;s=x{5..1}"}, "range is empty"),
        ({"name": "a{1}{2}", "node": "ns=2;s=x{1..50}{1..50}"}, "more than 1000"),
        ({"name": "a{1}", "node": "i={4294967295..4294967296}"}, "not a NodeId"),
        ({"name": "a_{1}", "path": "b/*", "root": "c/*"}, "belongs into path"),
        ({"name": "a_{1}", "path": "b/*", "stale_after": "5s"}, "stale_after needs a signal of its own"),
    ],
)
def test_what_is_refused(signal: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        OpcUaSignal.model_validate(signal)


def test_ranges_whose_names_clash_are_refused() -> None:
    signals = [{"name": "a{1}", "node": "ns=2;s=x{1..5}"}, {"name": "a3", "node": "ns=2;s=y"}]
    with pytest.raises(ValidationError, match="two signals are named a3"):
        OpcUaRead.model_validate({"source": "plc", "signals": signals})


def test_the_names_that_a_rule_makes_are_treated_like_the_rule() -> None:
    import re

    rule = treated_names("axis_{1}_pos")
    assert re.fullmatch(rule, named("axis_{1}_pos", ["X"]))
    assert re.fullmatch(rule, "axis_X_pos[2,10]")
    assert not re.fullmatch(rule, "axis__pos")
    assert not re.fullmatch(rule, "axis_X_position")


@pytest.mark.parametrize("text", ["i=85", "nsu=urn:x;s=a;b", "nsu=http://x.y/%3Bz;i=7", "nsu=urn:x;b=AQI="])
def test_a_node_id_in_the_form_that_survives_a_restart(text: str) -> None:
    address = parse_node_id(text)
    spaces = ["http://opcfoundation.org/UA/", address.uri or "urn:x"]
    form = {"i": 2, "s": 3, "g": 4, "b": 5}[address.form]
    assert canonical(form, address.identifier, 0 if address.uri is None else 1, spaces) == text
