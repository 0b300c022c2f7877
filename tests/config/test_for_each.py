"""One entry, many machines."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from config.for_each import MOST, expanded
from config.load import load
from config.problems import Findings
from config.tree import plain
from config.yaml_source import parse
from tests.config.samples import GOOD

_word = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)


def machines(text: str) -> tuple[list[object], Findings]:
    findings = Findings()
    node = parse(text, "f", findings)
    assert node is not None
    return [plain(machine) for machine, _ in expanded(node, findings)], findings


@settings(deadline=None)
@given(
    lists=st.dictionaries(
        st.sampled_from(["a", "b", "c_1"]), st.lists(_word, min_size=1, max_size=4), min_size=1
    )
)
def test_the_product_of_all_variables(lists: dict[str, list[str]]) -> None:
    """The oracle is str.format over itertools.product; keys and foreign braces stay as they are."""
    template = "x" + "".join(f"-{{{name}}}" for name in lists)
    quoted = ", ".join(f"{name}: [{', '.join(repr(w) for w in words)}]" for name, words in lists.items())
    found, findings = machines(
        f"{{for_each: {{{quoted}}}, id: '{template}', '{{a}}': '{{1}}{{signal}}', n: [5, '{template}']}}"
    )
    combinations = [dict(zip(lists, words, strict=True)) for words in itertools.product(*lists.values())]
    expected = [
        {"id": template.format(**c), "{a}": "{1}{signal}", "n": [5, template.format(**c)]}
        for c in combinations
    ]
    assert found == expected
    assert not findings.failed


@given(first=st.integers(0, 10**6), count=st.integers(1, MOST))
def test_ranges_include_both_ends(first: int, count: int) -> None:
    found, _ = machines(f"{{for_each: {{n: {first}..{first + count - 1}}}, id: '{{n}}'}}")
    assert found == [{"id": str(n)} for n in range(first, first + count)]


def test_leading_zeros_are_kept() -> None:
    found, _ = machines("{for_each: {n: 08..11}, id: 'm{n}'}")
    assert found == [{"id": f"m{n}"} for n in ("08", "09", "10", "11")]


def test_bounded() -> None:
    found, findings = machines("{for_each: {a: 1..1000, b: 1..2}, id: '{a}{b}'}")
    assert found == []
    assert findings.failed


def test_variables_before_references_and_never_after(tmp_path: Path) -> None:
    """`${env:P{n}}` names a variable per machine; what it holds is text and never read as a variable."""
    text = GOOD.replace("id: cnc-1", 'for_each: {n: 1..2}\n    id: "c{n}"\n    label: "${env:P{n}}"')
    file = tmp_path / "c.yaml"
    file.write_text(text)
    result = load([file], env={"TOKEN": "x", "P1": "{n}", "P2": "${env:TOKEN}"})
    assert result.settings is not None, result.problems
    assert [m.label for m in result.settings.machines[:2]] == ["{n}", "${env:TOKEN}"]
