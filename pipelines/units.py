"""Units: UNECE Recommendation 20 codes, what people write instead, and what is probably a slip of the pen.

The key is the common code (CEL) or OPC UA's unitId, which is its ASCII bytes as a big-endian number (OPC 10000-8,
5.6.3.3). A symbol is no key: the official table prints "r/min" for RPM and M46, "V" for three codes, "kvar" for K5, KVR
and, wrongly, for MAR (megavar), and "pc" is the parsec. Where a symbol is ambiguous, the code preferred by
practice is named below. A unit is free text in the end ("pallets" is a fine unit): only what lies close to a known unit
without being one is called wrong.

units.csv is the OPC Foundation's UNECE_to_OPCUA.csv, cut to code, symbol and name. It is read at the first question.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Unit:
    """code: UNECE common code. symbol: as displayed. name: in English."""

    code: str
    symbol: str
    name: str

    @property
    def unit_id(self) -> int:
        """EUInformation.unitId in the namespace http://www.opcfoundation.org/UA/units/un/cefact."""
        return int.from_bytes(self.code.encode("ascii"), "big")


# Symbols that several codes share: the one that is meant in a workshop.
_PREFERRED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "r/min": "RPM",
        "kvar": "KVR",
        "V": "VLT",
        "MW": "MAW",
        "rad": "C81",
        "pH": "Q30",
        "°": "DD",
    }
)
# Corrections to the official table's symbols.
_SYMBOLS: Final[Mapping[str, str]] = MappingProxyType({"P1": "%", "MAR": "Mvar"})
# What people write for a unit, exactly as written. "pc" stays the parsec: who counts pieces writes piece or pcs.
_WRITTEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pct": "P1",
        "rpm": "RPM",
        "1/min": "RPM",
        "min-1": "RPM",
        "min⁻¹": "RPM",
        "kWh": "KWH",
        "Wh": "WHR",
        "MWh": "MWH",
        "kVA": "KVA",
        "Nm": "NU",
        "N.m": "NU",
        "um": "4H",
        "μm": "4H",
        "L/min": "L2",
        "m3": "MTQ",
        "m3/h": "MQH",
        "m3/min": "G53",
        "cm3": "CMQ",
        "m/s2": "MSK",
        "Cel": "CEL",
        "ºC": "CEL",  # the ordinal sign of Spanish keyboards
        "℃": "CEL",
        "pcs": "H87",
        "pieces": "H87",
        "var": "D44",
        "ohm": "OHM",
        "sec": "SEC",
    }
)
# Slips that are farther from what was meant than a machine would guess.
_SLIPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "c": "CEL",
        "degc": "CEL",
        "deg c": "CEL",
        "deg_c": "CEL",
        "celcius": "CEL",
        "celsius": "CEL",
        "centigrade": "CEL",
        "degf": "FAH",
        "fahrenheit": "FAH",
        "kelvin": "KEL",
        "percent": "P1",
        "percentage": "P1",
        "rmp": "RPM",
        "u/min": "RPM",
        "kwh": "KWH",
        "kw": "KWT",
        "mpa": "MPA",
        "hz": "HTZ",
        "nm": "NU",
    }
)


@cache
def _units() -> tuple[Mapping[str, Unit], Mapping[str, Unit]]:
    """By code and by symbol (the written forms included)."""
    with files("pipelines").joinpath("units.csv").open(encoding="utf-8") as table:
        rows = [Unit(code, _SYMBOLS.get(code, symbol), name) for code, symbol, name in csv.reader(table)]
    by_code = {unit.code: unit for unit in rows}
    by_symbol: dict[str, Unit] = {}
    for unit in rows:
        by_symbol.setdefault(unit.symbol, unit)
        by_symbol.setdefault(unit.symbol.replace("·", "."), unit)
    for text, code in (*_PREFERRED.items(), *_WRITTEN.items()):
        by_symbol[text] = by_code[code]
    return by_code, by_symbol


def by_code(code: str) -> Unit | None:
    """The unit of a UNECE common code, exactly as written: CEL, RPM, P1."""
    return _units()[0].get(code)


def by_unit_id(unit_id: int) -> Unit | None:
    """The unit of an OPC UA unitId; None for -1 and every other number that is no code."""
    if not 0 < unit_id < 1 << 24:
        return None
    code = unit_id.to_bytes((unit_id.bit_length() + 7) // 8, "big")
    return by_code(code.decode("ascii")) if code.isascii() else None


def unit_of(text: str) -> Unit | None:
    """The unit meant by a code or a symbol. Upper and lower case differ (mm and Mm, S and s). A symbol wins over a code
    of the same spelling: "A" in a configuration is the ampere.
    """
    codes, symbols = _units()
    written = text.strip()
    return symbols.get(written) or codes.get(written)


def suggestions(text: str) -> list[str]:
    """Known spellings close to this text, the closest first, at most three."""
    folded = text.strip().lower()
    found = [_slip(folded)] if folded in _SLIPS else []
    by_folded = _folded()
    close = get_close_matches(folded, by_folded, n=3, cutoff=0.75)
    found += [spelling for match in close for spelling in by_folded[match]]
    return list(dict.fromkeys(found))[:3]


def known_unit_problem(text: str) -> str | None:
    """What is wrong with a unit in a configuration, and what to write; None if it is known or plain text of its own."""
    folded = text.strip().lower()
    known = unit_of(text)
    if known is not None or not folded:
        return _code_for_symbol(known, folded) if known is not None and known.symbol != text.strip() else None
    if folded in _SLIPS:
        return _did_you_mean(text, [_slip(folded)])
    by_folded = _common()
    if folded in by_folded:
        return _did_you_mean(text, by_folded[folded])
    near = get_close_matches(folded, [name for name in by_folded if len(name) > 4], n=1, cutoff=0.85)
    return _did_you_mean(text, by_folded[near[0]]) if near else None


def _code_for_symbol(unit: Unit, folded: str) -> str | None:
    """KW is a code (of kilogram per millimetre), and surely kW was meant."""
    meant = _common().get(folded, [])
    if not meant or folded != unit.code.lower() or any(unit_of(symbol) == unit for symbol in meant):
        return None
    return f"{unit.code!r} is the UNECE code of {unit.name}; did you mean {meant[0]!r}?"


def _did_you_mean(text: str, spellings: list[str]) -> str:
    return f"{text!r} is not a known unit; did you mean {' or '.join(map(repr, dict.fromkeys(spellings)))}?"


def _slip(folded: str) -> str:
    return _units()[0][_SLIPS[folded]].symbol


@cache
def _folded() -> Mapping[str, list[str]]:
    """Lower-case spelling -> what to write, for every symbol, code of three letters, and written form."""
    codes, symbols = _units()
    table: dict[str, list[str]] = {}
    for spelling in (*symbols, *(code for code in codes if len(code) == 3 and code.isalpha())):
        table.setdefault(spelling.lower(), []).append(spelling)
    return table


_COMMON: Final = [
    "CEL",
    "FAH",
    "KEL",
    "MMT",
    "4H",
    "MTR",
    "CMT",
    "MTS",
    "C16",
    "H81",
    "2X",
    "MSK",
    "RPM",
    "HTZ",
    "SEC",
    "C26",
    "MIN",
    "HUR",
    "BAR",
    "KPA",
    "MPA",
    "A97",
    "NEW",
    "NU",
    "P1",
    "KWT",
    "WTT",
    "KWH",
    "AMP",
    "VLT",
    "KVA",
    "KVR",
    "L2",
    "MQH",
    "G53",
    "CMQ",
    "MTQ",
    "LTR",
    "KGM",
    "GRM",
    "TNE",
    "H87",
    "2N",
    "DD",
]


@cache
def _common() -> Mapping[str, list[str]]:
    """Lower-case spelling -> symbol, for the units of a workshop: only these are worth calling a text a slip."""
    table: dict[str, list[str]] = {}
    for code in _COMMON:
        unit = _units()[0][code]
        for spelling in {
            unit.symbol,
            unit.code,
            unit.name,
            unit.name.replace("metre", "meter"),
            unit.symbol.replace("·", ""),
        }:
            table.setdefault(spelling.lower(), []).append(unit.symbol)
    for spelling in _WRITTEN:
        table.setdefault(spelling.lower(), []).append(spelling)
    return table
