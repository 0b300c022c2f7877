"""Units: the official table, its traps (reference table and OPC UA's formula as oracle), and slips of the pen."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import units

TABLE = Path(units.__file__).with_name("units.csv")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *[(symbol, "CEL") for symbol in ("CEL", "°C", " °C ", "ºC", "℃")],
        *[(symbol, "P1") for symbol in ("%", "pct", "P1")],
        *[(symbol, "RPM") for symbol in ("r/min", "rpm", "RPM", "1/min")],
        *[(symbol, "4H") for symbol in ("µm", "um", "μm", "4H")],
        *[(symbol, "MQH") for symbol in ("m³/h", "m3/h", "MQH")],
        ("kW", "KWT"),
        ("kWh", "KWH"),
        ("N·m", "NU"),
        ("N.m", "NU"),
        ("kvar", "KVR"),
        ("Mvar", "MAR"),
        ("MAR", "MAR"),
        ("M46", "M46"),
        ("V", "VLT"),
        ("pc", "C63"),  # the parsec, as in the table
        ("mm/s", "C16"),
        ("S", "SIE"),
        ("s", "SEC"),
        ("A", "AMP"),
    ],
)
def test_what_people_write_is_the_unit_that_is_meant(text: str, code: str) -> None:
    unit = units.unit_of(text)
    assert unit is not None
    assert unit.code == code
    assert units.known_unit_problem(text) is None


@pytest.mark.parametrize(
    ("code", "number"), [("CEL", 4408652), ("4H", 13384), ("P1", 20529), ("RPM", 5394509), ("DD", 17476)]
)
def test_unit_ids_are_those_of_the_standard(code: str, number: int) -> None:
    unit = units.by_unit_id(number)
    assert unit is not None
    assert (unit.code, unit.unit_id) == (code, number)


def test_every_code_is_found_by_code_and_by_id() -> None:
    with TABLE.open(encoding="utf-8", newline="") as table:
        codes = [row[0] for row in csv.reader(table)]
    assert len(codes) == len(set(codes)) == 1827
    for code in codes:
        unit = units.by_code(code)
        assert unit is not None
        assert units.by_unit_id(unit.unit_id) is unit


@given(st.integers())
def test_any_number_is_a_unit_or_none(number: int) -> None:
    unit = units.by_unit_id(number)
    assert unit is None or unit.unit_id == number


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("degC", "°C"),
        ("celcius", "°C"),
        ("Celsius", "°C"),
        ("rmp", "r/min"),
        ("Kw", "kW"),
        ("KW", "kW"),
        ("mpa", "MPa"),
        ("Bar", "bar"),
        ("milimetre", "mm"),
        ("kilowat", "kW"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(text: str, meant: str) -> None:
    problem = units.known_unit_problem(text)
    assert problem is not None
    assert f"did you mean {meant!r}?" in problem


@pytest.mark.parametrize(
    "text", ["", "pallets", "parts", "strokes", "boxes", "stuk", "bar(g)", "%RH", "V/Hz", "shots"]
)
def test_a_unit_of_ones_own_is_accepted(text: str) -> None:
    assert units.known_unit_problem(text) is None


@given(st.text(max_size=12))
def test_any_text_has_an_answer(text: str) -> None:
    problem = units.known_unit_problem(text)
    assert problem is None or "did you mean" in problem
    assert len(units.suggestions(text)) <= 3


def test_suggestions_come_closest_first() -> None:
    assert units.suggestions("degC")[0] == "°C"
    assert "kWh" in units.suggestions("kwh")
    assert units.suggestions("pallets") == []


def test_importing_reads_no_table() -> None:
    program = "import pipelines.units as u; print(u._units.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
