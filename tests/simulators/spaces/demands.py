"""What the official nodesets demand of an instance, and what of it is not there: an oracle that knows nothing of our tables."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulators.spaces.official import HAS_SUBTYPE, UA, Key, Official, Raw
from tests.simulators.spaces.seen import Seen

MANDATORY, MANY_AT_LEAST_ONE, MANY = 78, 11510, 11508
VARIABLES = {Key(UA, number) for number in (2365, 2368, 15318, 17497, 17570, 2755, 2760)}
"""Subtypes of BaseDataVariableType (i=63) in the base specification: items, analogue items, state variables."""

ABSTRACT = {Key(UA, number) for number in (24, 26, 27, 28)}


def chain(official: Official, key: Key | None) -> Iterator[Raw]:
    """A type and those above it, outside the base specification."""
    while key is not None and (raw := official.nodes.get(key)) is not None:
        yield raw
        key = raw.parent if raw.by == HAS_SUBTYPE else None


def is_a(official: Official, kind: Key | None, wanted: Key | None) -> bool:
    """The same type or a subtype, as far as the nodesets tell."""
    if wanted is None or kind == wanted:
        return True
    if wanted == Key(UA, 63) and kind in VARIABLES:
        return True
    above = [raw.parent for raw in chain(official, kind) if raw.by == HAS_SUBTYPE]
    return wanted in above or wanted in ABSTRACT


def wrong(official: Official, seen: Seen) -> Iterator[str]:
    """Every breach at and below a node whose type is from a nodeset, in words."""
    for raw in chain(official, seen.type):
        yield from _declared(official, seen, raw)
        for interface in raw.interfaces:
            for each in chain(official, interface):
                yield from _declared(official, seen, each)
    for child in seen.children.values():
        yield from wrong(official, child)


def _declared(official: Official, seen: Seen, above: Raw) -> Iterator[str]:
    for key in above.children:
        raw = official.nodes[key]
        if raw.rule in (MANDATORY, 80):
            child = seen.children.get(raw.name)
            if child is not None:
                yield from _unlike(official, child, raw)
                yield from _declared(official, child, raw)
            elif raw.rule == MANDATORY:
                yield f"{seen.path}: no {raw.name[1]} ({raw.name[0]})"
        elif raw.rule == MANY_AT_LEAST_ONE and not _filled(official, seen, raw):
            yield f"{seen.path}: nothing stands for {raw.name[1]}"


def _filled(official: Official, seen: Seen, raw: Raw) -> bool:
    return any(
        is_a(official, child.type, raw.type) and child.by == raw.by for child in seen.children.values()
    )


def _unlike(official: Official, child: Seen, raw: Raw) -> Iterator[str]:
    if child.kind != raw.kind:
        yield f"{child.path} is a {child.kind}, not a {raw.kind}"
    if raw.kind != "Method" and not is_a(official, child.type, raw.type):
        yield f"{child.path} is of type {child.type}, not {raw.type}"
    if child.by != raw.by:
        yield f"{child.path} hangs by i={child.by}, not i={raw.by}"
    if raw.kind == "Variable" and not is_a(official, child.data, raw.data_type):
        yield f"{child.path} has data type {child.data}, not {raw.data_type}"
    if raw.kind == "Variable" and raw.rank != child.rank:
        yield f"{child.path} has rank {child.rank}, not {raw.rank}"
