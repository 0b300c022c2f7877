"""What signals are called: bounded, never stale, and on the page only where it says more than the signal's own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters import labels as limits
from adapters.labels import LONGEST_LABEL, NO_RANGE, Label, Labels, words
from collector.page.called import Words
from config.load import load


def told(**said: Label) -> Labels:
    made = Labels()
    for signal, label in said.items():
        made.tell("m", signal, label)
    return made


def test_the_configuration_wins_word_by_word() -> None:
    made = told(load=Label("Spindellast", "Van het nominale vermogen", (0.0, 200.0)))
    assert made.of("m", "load") == Label("Spindellast", "Van het nominale vermogen", (0.0, 200.0))
    made.configure({("m", "load"): Label("Last", range=(0.0, None))})
    assert made.of("m", "load") == Label("Last", "Van het nominale vermogen", (0.0, None), chosen=True)
    made.configure({})
    assert made.of("m", "load").label == "Spindellast"
    assert made.of("another", "load") == Label()


def test_whoever_looks_knows_when_to_look_again() -> None:
    made = told(load=Label("Last"))
    before = made.version
    made.tell("m", "load", Label("Last"))
    made.configure({})
    assert made.version == before
    made.tell("m", "load", Label("Load"))
    assert made.version > before
    assert made.of("m", "load").label == "Load"


def test_fields_and_elements_are_called_after_the_whole() -> None:
    made = told(
        job=Label("Opdracht", "Wat loopt", (0.0, 9.0), parts=True),
        x=Label("Positie", parts=False),
        wave=Label("Druk", range=(0.0, 5.0), parts=True),
    )
    assert made.of("m", "job.at.x") == Label("Opdracht · at · x", "Wat loopt")
    assert made.of("m", "job[0].id") == Label("Opdracht [0] · id", "Wat loopt")
    assert made.of("m", "wave[2]") == Label("Druk [2]", range=(0.0, 5.0))
    assert made.of("m", "x.y") == Label(), "another signal, whose name begins the same"
    assert made.of("m", "jobs.at") == Label()


def test_what_is_said_is_cut_and_made_visible() -> None:
    assert words("  a\tb\x00\x1b[31m\u202e\n c ") == "a b [31m c"
    made = told(x=Label("L" * 1000, "d" * 100_000))
    label = made.of("m", "x")
    assert len(label.label) == LONGEST_LABEL
    assert label.label.endswith("…")
    assert len(label.description) == limits.LONGEST_DESCRIPTION


def test_who_says_too_much_is_not_listened_to_any_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CHARACTERS", 20)
    monkeypatch.setattr(limits, "MOST_SIGNALS", 3)
    made = told(a=Label("0123456789"), b=Label("0123456789"), c=Label("one more"), d=Label("x"), e=Label("y"))
    assert [made.of("m", name).label for name in "abcde"] == ["0123456789", "0123456789", "", "", ""]
    made.tell("m", "a", Label("012"))
    made.tell("m", "c", Label("seven!!"))
    made.tell("m", "d", Label("", range=(0.0, 1.0)))
    made.tell("m", "e", Label("", range=(0.0, 1.0)))
    assert [made.of("m", name).label for name in "abc"] == ["012", "0123456789", "seven!!"]
    assert (made.of("m", "d").range, made.of("m", "e").range) == (NO_RANGE, NO_RANGE)


def test_a_label_that_says_less_does_not_take_the_place_of_a_name() -> None:
    made = told(
        spindle_speed=Label("Speed", "Of the spindle"),
        spindle_load=Label("Spindle Load"),
        a1=Label("Actual position", "Axis 1"),
        a2=Label("Actual position"),
        p=Label("Druk"),
        t=Label("T", chosen=True),
    )
    names = ["spindle_speed", "spindle_load", "a1", "a2", "p", "t", "nothing"]
    shown = Words(made)
    slots = list(range(len(names)))
    found = shown.of([("m", name) for name in names], slots)
    assert {names[int(slot)]: (one["label"], one["description"]) for slot, one in found.items()} == {
        "spindle_speed": ("", "Of the spindle"),
        "spindle_load": ("Spindle Load", ""),
        "a1": ("", "Actual position: Axis 1"),
        "a2": ("", "Actual position"),
        "p": ("Druk", ""),
        "t": ("T", ""),
    }
    assert shown.of([("m", name) for name in names], slots) is found
    made.tell("m", "a2", Label("Other"))
    again = shown.of([("m", name) for name in names], slots)
    assert (again["2"]["label"], again["3"]["label"]) == ("Actual position", "Other")


def test_labels_of_a_configuration(tmp_path: Path) -> None:
    text = """
version: 1
sources: {plc: {type: opcua, url: "opc.tcp://127.0.0.1:4840", security: none}}
machines:
  - id: m
    read:
      - source: plc
        signals:
          - {name: a, node: "i=1", label: Olie, range: [0, 5]}
          - {name: b, node: "i=2"}
          - {name: "zone_{1}", node: "s=z{1..2}", label: "Zone {1}"}
"""
    file = tmp_path / "shop.yaml"
    file.write_text(text, encoding="utf-8")
    settings = load([file], env={}).settings
    assert settings is not None
    assert settings.labels() == {
        ("m", "a"): Label("Olie", range=(0.0, 5.0)),
        ("m", "zone_1"): Label("Zone 1"),
        ("m", "zone_2"): Label("Zone 2"),
    }
