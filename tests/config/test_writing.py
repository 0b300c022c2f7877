"""Extending a configuration that people wrote: what is new is in it, and what was there is there byte for byte."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.discovery import Proposal, ProposedMachine, ProposedRead, Reference
from collector.discover_show import summary
from config import writing, writing_judge
from config.load import load
from config.problems import Findings
from config.settings import Settings, signals_of
from config.tree import plain
from config.writing import Written, extend
from config.writing_text import Unwritable, block, flow
from config.yaml_source import parse

URL = "opc.tcp://127.0.0.1:4840"
SOURCE = {"type": "opcua", "url": URL, "security": "none"}
SERVER = ("http://opcfoundation.org/UA/", "urn:server", "urn:cnc")
ENV = {"TOKEN": "t0ken"}
SINKS = (
    "sinks:\n  - {type: influxdb, url: 'http://localhost:8086', org: o, bucket: b, token: '${env:TOKEN}'}\n"
)

BLOCK = f"""\
# the workshop
version: 1   # of the form
sources:
  # the mill in hall 2
  plc: {{type: opcua, url: "{URL}", security: none}}   # old firmware

# what is read
machines:
  - id: cnc   # never rename
    source: plc
    signals:
      # what Jan asked for
      - {{name: my load, node: "nsu=urn:cnc;s=Load", unit: "%"}}   # scaled

      - name: temperature
        node: nsu=urn:cnc;s=Temp
        # not faster: the PLC is weak
        every: 5s

# where it goes
{SINKS}# the end
"""
READS = f"""\
version: 1
sources:
  plc:
    type: opcua
    url: {URL}
    security: none
  meter: {{type: opcua, url: "opc.tcp://127.0.0.1:4841", security: none}}
machines:
- id: cnc
  label: 'Big
    one'
  read:
  - source: meter
    signals:
    - {{name: power, node: ns=2;s=Load}}
  - source: plc
    # spindle
    signals: [{{name: load, node: "nsu=urn:cnc;s=Load"}},
              {{name: temp, node: "nsu=urn:cnc;s=Temp"}} ]
  # more to come
"""
FLOW = f"""\
{{version: 1, # flow
 sources: {{plc: {{type: opcua, url: "{URL}", security: none}}}},
 machines: [{{id: cnc, source: plc, signals: [
   {{name: load, node: "nsu=urn:cnc;s=Load"}},
   {{name: temp, node: "nsu=urn:cnc;s=Temp"}},
 ]}}]}}
"""


def signal(name: str, node: str = "") -> dict[str, Any]:
    return {"name": name.lower(), "node": node or f"nsu=urn:cnc;s={name}", "every": "1s"}


def machine(name: str, *signals: dict[str, Any], label: str = "") -> ProposedMachine:
    return ProposedMachine(name, label, (ProposedRead({}, signals),))


def proposal(*machines: ProposedMachine, name: str = "plc", source: Any = SOURCE) -> Proposal:
    return Proposal(name, source, machines, (), SERVER)


ALL = proposal(machine("cnc", *(signal(name) for name in ("Load", "Temp", "Speed", "Parts"))))


def loaded(file: Path) -> Settings:
    found = load([file], env=ENV)
    assert found.settings is not None, found.problems
    return found.settings


def nodes(file: Path) -> dict[str, list[str]]:
    return {
        m.id: [str(getattr(s, "node", "")) for read in m.read for s in signals_of(read)]
        for m in loaded(file).machines
    }


def names(file: Path) -> list[str]:
    return [c.signal.name for c in loaded(file).signals()]


def grown(file: Path, before: str | bytes, wanted: Proposal = ALL) -> Written:
    """Extended twice: the first time by insertions only, the second time not at all."""
    raw = before if isinstance(before, bytes) else before.encode()
    file.write_bytes(raw)
    written = extend(file, wanted, ENV)
    after = file.read_bytes()
    assert without_insertions(raw, after), after.decode()
    again = extend(file, wanted, ENV)
    assert not again.changed
    assert file.read_bytes() == after
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
    return written


def without_insertions(before: bytes, after: bytes) -> bool:
    """Whether the old bytes are what is left of the new ones without what was put between them."""
    rest = iter(after)
    return all(byte in rest for byte in before)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [BLOCK, READS, FLOW, BLOCK.removesuffix("\n"), "\ufeff" + BLOCK])
def test_new_signals_go_to_the_machine_that_reads_the_others(tmp_path: Path, text: str, end: str) -> None:
    file = tmp_path / "c.yaml"
    written = grown(file, text.replace("\n", end))
    assert (written.machines, written.new, written.new_source) == ({"cnc": 2}, [], False)
    assert nodes(file)["cnc"][-2:] == ["nsu=urn:cnc;s=Speed", "nsu=urn:cnc;s=Parts"]
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(end.encode())


def test_in_block_style_whole_lines_are_added_at_the_end_of_the_list(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    grown(file, BLOCK)
    added = [line for line in file.read_text().splitlines() if line not in BLOCK.splitlines()]
    assert added == [
        '      - {name: speed, node: "nsu=urn:cnc;s=Speed", every: 1s}',
        '      - {name: parts, node: "nsu=urn:cnc;s=Parts", every: 1s}',
    ]
    left = [line for line in file.read_text().splitlines(keepends=True) if line.rstrip("\n") not in added]
    assert "".join(left) == BLOCK


def test_a_name_that_the_machine_has_given_away_gets_a_number(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    grown(file, BLOCK, proposal(machine("cnc", signal("Temperature"), signal("Speed"))))
    assert names(file) == ["my load", "temperature", "temperature_2", "speed"]


def test_two_machines_that_somebody_made_one(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    wanted = proposal(
        machine("a", signal("Load"), signal("Speed", "nsu=urn:cnc;i=1")),
        machine("b", signal("Temp"), signal("Speed", "nsu=urn:cnc;i=2")),
    )
    assert grown(file, BLOCK, wanted).machines == {"cnc": 2}
    assert names(file)[-2:] == ["speed", "speed_2"]


@pytest.mark.parametrize("text", [BLOCK, READS, FLOW])
def test_a_new_machine_and_a_new_source(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    robot = proposal(
        machine("cnc", signal("Load")),
        machine("robot", signal("Load")),
        name="robot",
        source={"type": "opcua", "url": "opc.tcp://127.0.0.1:4999", "security": "none"},
    )
    written = grown(file, text, robot)
    assert (written.new_source, written.new) == (True, ["cnc-2", "robot"])
    assert list(nodes(file)) == ["cnc", "cnc-2", "robot"]
    assert set(loaded(file).sources) >= {"plc", "robot"}


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\n" + SINKS,
        "# mine\nversion: 1\nsources:   # none yet\nmachines:\n# where to\n" + SINKS,
        "version: 1\nsources: {}\nmachines: []\n" + SINKS,
        "version: 1\nmachines:\n" + SINKS.rstrip(),
        "{version: 1, sinks: []}",
    ],
)
def test_a_file_without_machines(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    assert grown(file, text).machines == {"cnc": 4}
    assert len(names(file)) == 4
    assert len(loaded(file).sinks) == text.count("influxdb")


def test_a_new_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    assert extend(file, ALL, ENV).created
    assert names(file) == ["load", "temp", "speed", "parts"]
    assert not extend(file, ALL, ENV).changed


def test_for_each_machines_are_left_and_what_is_new_gets_a_machine_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    text = BLOCK.replace("- id: cnc ", "- for_each: {n: 1..2}\n    id: cnc-{n} ").replace(
        "s=Load", "s=Load{n}"
    )
    wanted = proposal(machine("cnc", signal("Load1"), signal("Load2"), signal("Temp"), signal("Speed")))
    written = grown(file, text, wanted)
    assert (written.machines, written.new) == ({"cnc": 1}, ["cnc"])
    assert nodes(file)["cnc"] == ["nsu=urn:cnc;s=Speed"]


_SHORT = """\
  - id: cnc
    source: plc
    signals_file: list.csv   # from Jan
"""
_LONG = """\
  - id: cnc
    read:
      - source: plc
        signals_file: list.csv   # from Jan
"""


@pytest.mark.parametrize("entry", [_SHORT, _LONG])
@pytest.mark.parametrize("inline", ["", "signals: [{name: temp, node: 'nsu=urn:cnc;s=Temp'}]\n"])
def test_a_signals_file_is_known_and_stays_as_it_is(tmp_path: Path, entry: str, inline: str) -> None:
    file, table = tmp_path / "c.yaml", tmp_path / "list.csv"
    table.write_text("name,node\nload,nsu=urn:cnc;s=Load\n")
    column = len(entry.splitlines()[-1]) - len(entry.splitlines()[-1].lstrip())
    more = f"{' ' * column}{inline}" if inline else ""
    text = BLOCK[: BLOCK.index("  - id: cnc")] + entry + more
    assert grown(file, text + "# the end\n").machines == {"cnc": 2 if inline else 3}
    expected = [f"nsu=urn:cnc;s={name}" for name in ("Load", "Parts", "Speed", "Temp")]
    assert sorted(nodes(file)["cnc"]) == expected
    assert table.read_text() == "name,node\nload,nsu=urn:cnc;s=Load\n"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("ns=2;s=Load", "nsu=urn:cnc;s=Load"),
        ("nsu=urn%3Acnc;s=Load", "nsu=urn:cnc;s=Load"),
        ("ns=2;g=09087E75-8E5E-499B-954F-F2A9603DB28A", "nsu=urn:cnc;g=09087e75-8e5e-499b-954f-f2a9603db28a"),
        ("nsu=http://opcfoundation.org/UA/;i=2258", "i=2258"),
        ("ns=0;i=2258", "i=2258"),
    ],
)
def test_a_node_is_the_same_however_it_is_written(tmp_path: Path, written: str, found: str) -> None:
    file = tmp_path / "c.yaml"
    text = BLOCK.replace("nsu=urn:cnc;s=Load", written)
    assert not grown(file, text, proposal(machine("cnc", signal("other", found)))).changed


@pytest.mark.parametrize("written", ["ns=1;s=Load", "ns=9;s=Load", "nsu=urn:other;s=Load", "ns=2;s=load"])
def test_another_node_is_another_one(tmp_path: Path, written: str) -> None:
    file = tmp_path / "c.yaml"
    text = BLOCK.replace("nsu=urn:cnc;s=Load", written)
    assert grown(file, text, proposal(machine("cnc", signal("Load")))).machines


def test_ranges_are_the_nodes_that_they_stand_for(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    text = BLOCK.replace("name: my load", 'name: "axis {1}"').replace(
        "nsu=urn:cnc;s=Load", "ns=2;s=Axis{1..3}"
    )
    wanted = proposal(machine("cnc", *(signal(f"Axis{n}") for n in range(1, 5))))
    assert grown(file, text, wanted).machines == {"cnc": 1}
    assert names(file) == ["axis 1", "axis 2", "axis 3", "temperature", "axis4"]


def test_paths_are_not_compared_and_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    text = BLOCK.replace('node: "nsu=urn:cnc;s=Load"', "path: Machine/Load")
    file.write_text(text)
    written = extend(file, ALL, ENV)
    assert written.paths == 1
    assert summary(written)[-1].startswith("  Not compared: 1 entries with path:")


def refused(file: Path, before: bytes, wanted: Proposal = ALL) -> str:
    file.write_bytes(before)
    with pytest.raises(Unwritable) as caught:
        extend(file, wanted, ENV)
    assert file.read_bytes() == before
    assert [path for path in file.parent.iterdir() if path.name.startswith(".")] == []
    assert not any(part.startswith(".") and "c.yaml" in part for part in str(caught.value).split("/"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "the file is empty"),
        (b"# only words\n", "c.yaml"),
        (b"version: 1\nmachines: [\n", "c.yaml:"),
        (b"\xff\xfeversion: 1", "c.yaml"),
        (BLOCK.replace("security:", "securty:").encode(), "unknown key 'securty'"),
        (BLOCK.replace("TOKEN", "NOT_SET").encode(), "NOT_SET"),
        (b"version: 1\nsinkz: []\n", "c.yaml:2"),
        (b"version: 1\nmachines: null\n", "null stands where a list or group belongs: remove it"),
        (
            BLOCK.replace(BLOCK[BLOCK.index("    signals") : BLOCK.index("# where")], '    signals: [{name: a, node: "nsu=urn:cnc;s=Load"}, # one\n      ]\n').encode(),
            "move the comment above it",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_in_order_is_refused_and_untouched(tmp_path: Path, text: bytes, says: str) -> None:
    assert says in refused(tmp_path / "c.yaml", text)


def test_a_list_that_two_machines_share_is_not_extended(tmp_path: Path) -> None:
    """One would not know for which of them."""
    text = BLOCK.replace("    signals:\n", "    signals: &both\n").replace(
        "# where it goes\n", "  - {id: cnc-2, source: plc, signals: *both}\n"
    )
    assert "&both" in refused(tmp_path / "c.yaml", text.encode())


def test_a_write_protected_file_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BLOCK)
    file.chmod(0o444)
    with pytest.raises(Unwritable, match="write-protected"):
        extend(file, ALL, ENV)
    assert file.read_text() == BLOCK


def test_what_somebody_saves_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of the file and its replacement."""
    file, judge = tmp_path / "collector.yaml", writing_judge.judge

    def saved(*arguments: Any) -> None:
        judge(*arguments)
        file.write_text(mine, encoding="utf-8")

    monkeypatch.setattr(writing, "judge", saved)
    for before, mine in ((BLOCK, f"{BLOCK}# mine\n"), (None, BLOCK)):
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_text(before, encoding="utf-8")
        with pytest.raises(Unwritable, match="in this very moment"):
            extend(file, ALL, ENV)
        assert file.read_text(encoding="utf-8") == mine
        assert list(tmp_path.iterdir()) == [file]


def test_two_who_extend_it_at_the_same_moment_are_both_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, judge = tmp_path / "collector.yaml", writing_judge.judge
    file.write_text(BLOCK, encoding="utf-8")
    press = proposal(machine("press", signal("force")), name="press", source=SOURCE | {"url": URL + "1"})
    others: list[threading.Thread] = []

    def also(*arguments: Any) -> None:
        if not others:
            others.append(threading.Thread(target=extend, args=(file, press, ENV)))
            others[0].start()
            others[0].join(0.2)  # time for a mistake; one that waits for us is what it should be
        judge(*arguments)

    monkeypatch.setattr(writing, "judge", also)
    extend(file, ALL, ENV)
    others[0].join()
    assert {"plc", "press"} == set(loaded(file).sources)
    assert {"cnc", "press"} <= {machine.id for machine in loaded(file).machines}


def test_a_source_of_that_name_with_another_address_is_another_one(tmp_path: Path) -> None:
    """Somebody wrote it while the machine was looked at."""
    file = tmp_path / "collector.yaml"
    file.write_text(BLOCK, encoding="utf-8")
    with pytest.raises(Unwritable, match="a source plc with another address"):
        extend(file, ALL, ENV, "opc.tcp://10.0.0.9:4840")
    assert file.read_text(encoding="utf-8") == BLOCK
    assert extend(file, ALL, ENV, URL).changed


def test_no_folder_to_write_into(tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match="cannot be written: No such file"):
        extend(tmp_path / "missing" / "c.yaml", ALL, ENV)


def test_rights_stay(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BLOCK)
    file.chmod(0o640)
    extend(file, ALL, ENV)
    assert file.stat().st_mode & 0o777 == 0o640


HOSTILE = (
    "${env:X}", "$${env:X}", "$${", "$", "${file:/etc/passwd}", '"', "'", "a: b # c", "# c", "- x", "{a: 1}", "[", "&a", "*a", "!!x",
    "%", "@", "`", "|", ">", "\\", "\\n", "x, y", "😀", "日本", "null", "~", "1e3", "0x10", "yes", "{1}", "{machine}", "a" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("style", [BLOCK, FLOW])
def test_what_a_hostile_server_calls_its_nodes_is_written_as_text(tmp_path: Path, style: str) -> None:
    file = tmp_path / "c.yaml"
    ids = [f"nsu=urn:cnc;s={text}" for text in HOSTILE]
    signals = [signal(f"n{n}", node) for n, node in enumerate(ids)]
    wanted = proposal(
        machine("cnc", signal("Load"), *signals), machine("new", signal("x"), label='"${env:X}: #')
    )
    file.write_text(style)
    written = extend(file, wanted, ENV)
    assert written.machines == {"cnc": len(HOSTILE), "new": 1}
    assert nodes(file)["cnc"][-len(HOSTILE) :] == ids
    assert loaded(file).machines[-1].label == '"${env:X}: #'
    after = file.read_bytes()
    assert not extend(file, wanted, ENV).changed
    assert file.read_bytes() == after


def read_back(text: str) -> Any:
    findings = Findings()
    node = parse(text, "f", findings)
    assert node is not None, findings.sorted()
    return plain(node)


_TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["\u2028", "\x85", "a\nb\n", "👩\u200d🔧", "\x00"]
)
_DATA = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.recursive(
        _TEXT | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    ),
    min_size=1,
)


@given(data=_DATA)
@example(data={"a": "$${{"})
def test_any_text_comes_back(data: Any) -> None:
    """Apart from ${, which is looked up later and is written $${ (see above)."""
    lines: Sequence[str] = block(data)
    for text in ("\n".join(lines), flow(data)):
        assert read_back(text) == escaped(data)
        assert re.search(r"(?<!\$)\$\{", text) is None


def escaped(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: escaped(cell) for key, cell in data.items()}
    if isinstance(data, list):
        return [escaped(cell) for cell in data]
    return data.replace("${", "$${") if isinstance(data, str) else data


def test_only_what_is_meant_as_a_reference_is_one() -> None:
    assert (
        flow({"password": Reference("${env:P}"), "x": "${env:P}"}) == '{password: "${env:P}", x: "$${env:P}"}'
    )
