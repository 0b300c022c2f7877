"""What the library's server makes of event filters, which is why the simulated machines have their own (decisions/0007)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.event_objects import OffNormalAlarm
from asyncua.server.address_space import AddressSpace
from asyncua.server.monitored_item_service import WhereClauseEvaluator

from simulators.faces.opcua_filter import Event, passes, selected
from tests.simulators.test_opcua_events import clause, element, literal, node

TYPES = frozenset(node(number) for number in (10637, 10523, 2915, 2881, 2782, 2041))
OURS = Event({((0, "Severity"),): ua.Variant(700, ua.VariantType.UInt16)}, TYPES)
CONDITION = element("OfType", literal(node(2782), ua.VariantType.NodeId))


def theirs(where: list[Any]) -> bool:
    made = ua.ContentFilter()
    made.Elements = where
    quiet = logging.getLogger("tests.silent")
    quiet.setLevel(logging.CRITICAL)
    return WhereClauseEvaluator(quiet, AddressSpace(), made).eval(OffNormalAlarm())  # type: ignore[no-untyped-call]


def ours(where: list[Any]) -> bool:
    made = ua.ContentFilter()
    made.Elements = where
    return passes(OURS, made)


def test_upstream_still_errs_about_subtypes() -> None:
    assert not theirs([CONDITION])
    assert ours([CONDITION])


def test_upstream_still_ends_a_filter_at_a_field_that_is_not_there() -> None:
    make: Any = ua.ElementOperand
    missing = element("Equals", clause("base", "NoSuchField"), literal(1, ua.VariantType.Int32))
    either = [element("Or", make(Index=1), make(Index=2)), missing, element("Not", make(Index=3)), element("IsNull", literal(1, ua.VariantType.Int32))]  # fmt: skip
    assert not theirs(either)
    assert ours(either)


def test_upstream_still_looks_fields_up_by_bare_names() -> None:
    foreign = clause("base", "Severity")
    foreign.BrowsePath = [ua.QualifiedName("Severity", 7)]
    other = clause("base", "Severity")
    other.TypeDefinitionId = node(2132)  # a type that the event does not have
    event: Any = OffNormalAlarm()  # type: ignore[no-untyped-call]
    assert [each.Value for each in event.to_event_fields([foreign, other])] == [event.Severity] * 2
    assert [each.Value for each in selected(OURS, [clause("base", "Severity"), foreign, other])] == [
        700,
        None,
        None,
    ]


def operand(index: int) -> Any:
    make: Any = ua.ElementOperand
    return make(Index=index)


NONSENSE: list[list[Any]] = [
    [element("And", operand(0), operand(0))],
    [element("Like", clause("base", "Severity"), literal("[z-a]", ua.VariantType.String))],
    [element("Like", literal("x", ua.VariantType.String), literal("[z-a]", ua.VariantType.String))],
    [element("Equals")],
    [element("Or", operand(7), operand(-1))],
    [element("OfType", literal([1, 2], ua.VariantType.Int32))],
    [
        element(
            "Between",
            clause("base", "Severity"),
            literal("a", ua.VariantType.String),
            literal(None, ua.VariantType.Null),
        )
    ],
    [element("Cast", literal(1, ua.VariantType.Int32))],
    [element("Not", ua.FilterOperand())],
]


def test_nonsense_passes_nothing_and_costs_nothing() -> None:
    for where in NONSENSE:
        assert not ours(where)
    strange = element("Equals")
    strange.FilterOperator, strange.FilterOperands = 99, None  # type: ignore[assignment]
    assert not ours([strange])
    doubling = [element("And", operand(n + 1), operand(n + 1)) for n in range(90)]
    assert ours(
        [*doubling, element("Equals", literal(1, ua.VariantType.Int32), literal(1, ua.VariantType.Int32))]
    )
    assert not ours([element("Not", operand(n + 1)) for n in range(5000)])


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("Tool%", True), ("%broken", True), ("Tool_broken", True), ("[ST]ool%", True), ("[^T]%", False), ("\\%ool%", False), ("tool%", False), ("Tool", False), ("Tool.broken", False)],
)  # fmt: skip
def test_like(pattern: str, fits: bool) -> None:
    words = [literal(text, ua.VariantType.String) for text in ("Tool broken", pattern)]
    assert ours([element("Like", *words)]) == fits
