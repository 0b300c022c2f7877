"""Every mistake is said with its line and what to do, beside all others; nothing a user writes is a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.load import Loaded, load
from config.problems import Findings, render
from config.tree import plain
from config.yaml_source import parse
from tests.config.samples import GOOD, SAMPLES, Bad

ENV = {"TOKEN": "t0p-secret-token"}


def loaded(folder: Path, text: str) -> Loaded:
    file = folder / "collector.yaml"
    file.write_text(text, encoding="utf-8")
    return load([file], env=ENV)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    result = loaded(tmp_path, GOOD)
    assert result.settings is not None
    assert [p.message for p in result.errors] == []


@pytest.mark.parametrize("bad", SAMPLES, ids=lambda bad: bad.name)
def test_bad_sample(tmp_path: Path, bad: Bad) -> None:
    """C1: each mistake is said in its line, with what to do; nothing of it is applied."""
    assert GOOD.count(bad.old) >= 1, "the sample changes nothing"
    result = loaded(tmp_path, GOOD.replace(bad.old, bad.new, 1))
    assert result.settings is None
    said = [(p.line, p.message, p.hint) for p in result.errors]
    fitting = [p for p in result.errors if bad.says in p.message and p.line == bad.line]
    assert fitting, said
    assert any(bad.hint in p.hint for p in fitting), said
    assert all(p.column >= 1 for p in result.problems)
    assert f"collector.yaml:{bad.line}:" in render(result.problems)


def test_all_at_once_and_sorted(tmp_path: Path) -> None:
    text = GOOD.replace("version: 1", "version: 3").replace("security: none", "security: nome")
    text = (
        text.replace("nsu=urn:cnc;s=Load", "Load")
        .replace("value: P", "valeu: P")
        .replace("org: lab", "orgg: lab")
    )
    result = loaded(tmp_path, text.replace("id: meter-1", "id: cnc-1"))
    assert [p.line for p in result.errors] == [1, 3, 9, 10, 16, 18]
    assert render(result.problems).splitlines()[-1] == "6 errors"


def test_the_column_is_that_of_the_key(tmp_path: Path) -> None:
    result = loaded(tmp_path, GOOD.replace("nsu=urn:cnc;s=Load", "Load"))
    (problem,) = result.errors
    assert GOOD.splitlines()[problem.line - 1][problem.column - 1 :].startswith("node:")
    assert problem.path == "machines[cnc-1].read[0].signals[load].node"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    (problem,) = loaded(tmp_path, text).problems
    assert "is empty" in problem.message


@pytest.mark.parametrize("text", ["just words", "- a\n- b", "5"])
def test_not_a_configuration(tmp_path: Path, text: str) -> None:
    (problem,) = loaded(tmp_path, text).problems
    assert "consists of keys" in problem.message


def test_missing_file_and_folder_without_files(tmp_path: Path) -> None:
    empty = tmp_path / "conf.d"
    empty.mkdir()
    result = load([tmp_path / "nowhere.yaml", empty], env={})
    assert sorted(p.message for p in result.problems) == [
        "cannot be read: no such file or directory",
        "the folder has no *.yaml file",
    ]
    assert load([], env={}).problems


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"version: 1\nlocation: {site: caf\xe9}\n")
    (problem,) = load([file], env={}).problems
    assert (problem.line, "not UTF-8" in problem.message) == (2, True)


def test_deep_and_growing_files_are_bounded(tmp_path: Path) -> None:
    laughs = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    laughs += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    chain = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000)]
    for text in ("[" * 20_000, "- " * 20_000, "a: " + "{a: " * 5000, "\n".join(laughs), "\n".join(chain)):
        assert loaded(tmp_path, text).errors


def test_an_alias_that_contains_itself(tmp_path: Path) -> None:
    assert "refers to nothing" in loaded(tmp_path, "a: &a [*a]").errors[0].message


def test_yaml_1_2_words(tmp_path: Path) -> None:
    """`no`, `on`, `off`, `yes` and 010 are what they look like (YAML 1.2.2, 10.3.2)."""
    text = GOOD.replace("id: cnc-1", "id: no\n    label: on").replace(
        "sinks:", "history: off\npage: off\nsinks:"
    )
    result = loaded(tmp_path, text.replace("value: P", "value: P\n            scale: 010"))
    assert result.settings is not None, result.problems
    machine = result.settings.machines[0]
    assert (machine.id, machine.label) == ("no", "on")
    assert (result.settings.history, result.settings.page) == (None, None)
    assert result.settings.treatments().of("meter-1", "power").scale == 10.0


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    raw=st.binary(max_size=200)
    | st.text(alphabet=":-{}[]&*!|>'\"%@`#,? \n\tab1.~<=$\\é\x85\u2028", max_size=80).map(str.encode)
)
def test_no_bytes_raise(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(raw)
    result = load([file], env={})
    assert result.settings is None
    assert result.errors
    render(result.problems)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damage_to_a_good_file_raises(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 12)))
    junk = data.draw(st.text(alphabet=":-{}[]&*!|>'\"%#,? \n\tab15.~$\\", max_size=8) | st.text(max_size=4))
    file = tmp_path / "any.yaml"
    file.write_bytes((GOOD[:start] + junk + GOOD[end:]).encode("utf-8", "surrogatepass"))
    result = load([file], env=ENV)
    assert (result.settings is None) == bool(result.errors)
    assert all(p.line >= 1 for p in result.problems)
    assert ENV["TOKEN"] not in render(result.problems)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
        lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=4), child, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=100, deadline=None)
def test_what_json_says_is_read_as_json_says(value: object) -> None:
    """JSON is a subset of YAML 1.2: the standard library's encoder is the oracle."""
    findings = Findings()
    node = parse(json.dumps({"x": value}), "f", findings)
    assert node is not None, findings.sorted()
    assert plain(node) == {"x": value}


JUNK: tuple[object, ...] = (
    None,
    True,
    5,
    -1.5,
    "",
    "x",
    [],
    [None],
    ["x"],
    {},
    {"x": None},
    {"type": 5},
    "${env:",
    "{n}",
)


def replaced(node: object, junk: object) -> Iterator[object]:
    """The document with one node after the other replaced (and, for groups, one key renamed)."""
    yield junk
    if isinstance(node, dict):
        for key, child in node.items():
            yield {**{k: v for k, v in node.items() if k != key}, f"{key}'": child}
            yield from ({**node, key: other} for other in replaced(child, junk))
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from ([*node[:index], other, *node[index + 1 :]] for other in replaced(child, junk))


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_any_node_may_be_anything(tmp_path: Path, junk: object) -> None:
    """Every node of a good file replaced by something else: said or accepted, never a traceback."""
    text = GOOD.replace("id: cnc-1", "for_each: {n: 1..2}\n    id: c{n}").replace(
        "sinks:", "history: {keep: 9d}\nlocation: {site: a}\nsinks:"
    )
    node = parse(text, "f", Findings())
    assert node is not None
    file = tmp_path / "c.yaml"
    documents = list(replaced(plain(node), junk))
    assert len(documents) > 60
    for document in documents:
        file.write_text(json.dumps(document), encoding="utf-8")
        result = load([file], env=ENV)
        assert (result.settings is None) == bool(result.errors), document
        render(result.problems)
