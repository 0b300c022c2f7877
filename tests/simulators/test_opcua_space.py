"""Servers of one nursery have the library's whole address space, and none sees what is done to another's."""

from __future__ import annotations

from typing import Any

import pytest
from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.opcua_space import Lent, Nursery

SERVER, NAMESPACES = ua.NodeId.from_string("i=2253"), ua.NodeId.from_string("i=2255")
VALUE = AttributeIds.Value


async def spaces(nursery: Nursery) -> tuple[Lent, Lent]:
    found = []
    for _ in range(2):
        space = AddressSpace()
        await nursery.furnish(space)
        assert isinstance(space._nodes, Lent)
        found.append(space._nodes)
    return found[0], found[1]


def mask(space: Lent) -> Any:
    """Of the server's events: what the library changes in place."""
    attribute: Any = space[SERVER].attributes[AttributeIds.EventNotifier]
    return attribute.value.Value


async def test_every_node_is_there_as_the_library_has_it(nursery: Nursery) -> None:
    space, _ = await spaces(nursery)
    library = nursery._pristine
    assert set(space) == set(space.keys()) == set(library)
    assert len(space) == len(library) > 6000
    for key, node in space.items():
        theirs = library[key]
        assert (node.nodeid, node.call, node.references) == (key, theirs.call, theirs.references)
        assert {name: each.value for name, each in node.attributes.items()} == {
            name: each.value for name, each in theirs.attributes.items()
        }
    assert not any(node is library[key] for key, node in space.items())


async def test_what_is_done_to_one_is_not_done_to_the_other(nursery: Nursery) -> None:
    one, other = await spaces(nursery)
    assert one[SERVER] is one[SERVER] is not other[SERVER]
    before = len(other[SERVER].references), other[NAMESPACES].attributes[VALUE].value
    one[SERVER].references.clear()
    one[NAMESPACES].attributes[VALUE].value = None
    mask(one).Value = 77
    assert (len(other[SERVER].references), other[NAMESPACES].attributes[VALUE].value) == before
    third, _ = await spaces(nursery)
    for space in (other, third):
        assert mask(space).Value != 77


async def test_nodes_come_and_go(nursery: Nursery) -> None:
    space, _ = await spaces(nursery)
    many, new = len(space), ua.NodeId.from_string("ns=2;s=new")
    assert new not in space
    assert space.get(new) is None
    with pytest.raises(KeyError):
        space[new]
    space[new] = space[SERVER]
    assert new in space
    assert len(space) == many + 1
    del space[new]
    del space[ua.NodeId.from_string("i=58")]  # nobody had asked for it
    assert ua.NodeId.from_string("i=58") not in space
    assert len(space) == many - 1 == len(list(space.values()))
    space.clear()
    assert len(space) == len(list(space)) == 0
