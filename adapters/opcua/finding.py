"""What a search found becomes items, at the beginning and again: who stays keeps its handle, who is new comes behind.

A trouble is an item too, one without a point: so it is counted, shown by name and tried again like every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from adapters.opcua.browse import Browser
from adapters.opcua.channel import Channel
from adapters.opcua.items import NOWHERE, Item, Items, Wish
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.paths import holes, named, unusable
from adapters.opcua.resolve import Found, Outcome, Search
from adapters.opcua.subscription import Desk


async def find(channel: Channel, desk: Desk, items: Items) -> None:
    """Look for everything that has to be looked for, and bring the items up to date. Needs the desk to know the namespaces."""
    if not items.wishes:
        return
    roots = [desk.node_id(wish.root) for wish in items.wishes]
    outcomes = await Search(Browser(channel, desk), items.wishes, roots).run()
    merge(items, made_of(items, outcomes))


def made_of(items: Items, outcomes: Sequence[Outcome]) -> list[Item]:
    """The items that these outcomes stand for. Names that several nodes would share belong to none of them."""
    fixed = {(i.machine, i.signal.name) for i in items.all if not i.gone and i.signal.node and not i.path}
    made = [
        item for wish, outcome in zip(items.wishes, outcomes, strict=True) for item in _items(wish, outcome)
    ]
    plain = {(i.machine, i.signal.name) for i in made if not i.homeless and i.signal.path is not None}
    found = [item for item in made if not item.homeless]
    shared = Counter((item.machine, item.signal.name) for item in found)
    for item in found:
        name = item.machine, item.signal.name
        many = item.signal.path is None
        if name in fixed or (many and name in plain):
            _bar(item, f"the name {item.signal.name} belongs to another signal: change the name rule")
        elif shared[name] > 1 and (many or name not in plain):
            _bar(
                item,
                f"{shared[name]} nodes would be named {item.signal.name}: change the name rule, or the pattern",
            )
    return made


def _items(wish: Wish, outcome: Outcome) -> Iterator[Item]:
    if not wish.many:
        yield _plain(wish, outcome)
        return
    for found in outcome.found:
        yield _found(wish, found)
    if outcome.failure:
        trouble = Item(0, wish.machine, wish.tags, wish.signal, NOWHERE)
        _bar(trouble, outcome.failure)
        yield trouble


def _plain(wish: Wish, outcome: Outcome) -> Item:
    item = Item(0, wish.machine, wish.tags, wish.signal, NOWHERE, barred=outcome.failure)
    if outcome.found:
        item.path, item.address = outcome.found[0].path, parse_node_id(outcome.found[0].node)
        item.resolved = outcome.found[0].node
    return item


def _found(wish: Wish, found: Found) -> Item:
    name = named(wish.signal.name, found.captured)
    label = named(wish.signal.label, found.captured) if holes(wish.signal.label) else wish.signal.label
    changed = {"name": name, "label": label, "node": found.node, "path": None, "root": None}
    signal = wish.signal.model_copy(update=changed)
    item = Item(0, wish.machine, wish.tags, signal, parse_node_id(found.node), path=found.path)
    item.resolved = found.node
    if wrong := unusable(name):
        _bar(item, wrong)
    return item


def _bar(item: Item, why: str) -> None:
    item.barred, item.homeless = why, True


def merge(items: Items, made: Sequence[Item]) -> None:
    """The items as they are now: what is live is left alone, what was found before and is not any more says so."""
    known = {item.key: item for item in items.all if item.sought and not item.gone}
    fresh: list[Item] = []
    for item in made:
        item.sought = True
        before = known.pop(item.key, None)
        if before is None:
            fresh.append(item)
        elif not before.live:
            before.address, before.barred, before.path = item.address, item.barred, item.path
            before.resolved = item.resolved
    for item in known.values():
        if item.homeless:
            item.gone = True
        elif not item.live:
            item.barred = "the node is not there any more"
    items.extend(fresh)
