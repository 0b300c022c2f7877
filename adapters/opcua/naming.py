"""What the server calls the signals: DisplayName and Description (OPC 10000-3, 5.2), and EURange where nobody asked for it yet.

Asked beside the values and not before them: a machine whose every request takes its time shall not be read later for the
sake of words. What a server refuses costs the words, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.labels import NO_RANGE, Label, Labels, words
from adapters.opcua.errors import name_of
from adapters.opcua.items import Item, Items
from adapters.opcua.nodeid import sound
from adapters.opcua.subscription import Desk

log = logging.getLogger("adapters.opcua")
Answer = TypeVar("Answer")
_ATTRIBUTES: Final = (AttributeIds.DisplayName, AttributeIds.Description)


class Called(NamedTuple):
    """In the server's words, bounded; empty where it says none."""

    name: str = ""
    description: str = ""


class Naming:
    """One session's. `look` wakes it when there may be signals that were not asked about."""

    def __init__(self, desk: Desk, items: Items, labels: Labels) -> None:
        self._desk, self._items, self._labels = desk, items, labels
        self._asked: set[tuple[int, str]] = set()
        self._due = asyncio.Event()

    def look(self) -> None:
        self._due.set()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self._ask()

    async def _ask(self) -> None:
        fresh = [item for item in self._items.wanted if item.live and _key(item) not in self._asked]
        self._asked |= {_key(item) for item in fresh}
        said = await _patiently(called(self._desk, fresh)) or {}
        unasked = [item for item in fresh if item.unit is None and item.signal.range == NO_RANGE]
        await _patiently(self._desk.traits.ranges(unasked))
        for item in fresh:
            label = label_of(item, said.get(item.handle, Called()), parts=self._in_parts(item))
            self._labels.tell(item.machine, item.signal.name, label)

    def _in_parts(self, item: Item) -> bool:
        """Whether there are points below its name, or may be: of what has no point yet nobody knows what it will be."""
        return item.spread or bool(item.texts) or int(self._items.columns.points[item.handle]) < 0


async def _patiently(asking: Awaitable[Answer]) -> Answer | None:
    try:
        return await asking
    except (UaStatusCodeError, TimeoutError) as error:
        log.info("no names and ranges from this server: %s", name_of(error))
        return None


def _key(item: Item) -> tuple[int, str]:
    """The same handle may lead to another node after a search."""
    return item.handle, item.resolved


def label_of(item: Item, said: Called, *, parts: bool = False) -> Label:
    """The signal's own words first; a display name that says nothing but its name is none."""
    signal = item.signal
    name = "" if said.name == signal.name else said.name
    description = "" if said.description in (signal.name, said.name) else said.description
    limits = item.range if signal.range == NO_RANGE else signal.range
    return Label(signal.label or name, description, limits, parts, chosen=bool(signal.label))


async def called(desk: Desk, items: Sequence[Item]) -> dict[int, Called]:
    """By handle, of those that have a node at this server. Raises what the server answers instead."""
    known = [(item, node) for item in items if (node := desk.node_id(item.address)) is not None]
    values = await desk.traits.read([(node, attribute) for _, node in known for attribute in _ATTRIBUTES])
    return {item.handle: Called(*map(_text, values[2 * n : 2 * n + 2])) for n, (item, _) in enumerate(known)}


def _text(value: Any) -> str:
    text = sound(getattr(value, "Text", "") or "")
    return words(text)
