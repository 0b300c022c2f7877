"""What the library's server makes of event filters, which is why the simulated machines have their own (decisions/0007)."""

from __future__ import annotations

import logging
from typing import Any

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
