"""From browse paths and patterns to nodes: all of a source's together, level by level, every node looked at once.

Not one path after the other: a hundred paths through the same folders cost as many requests as one. What a server says is
bounded: cycles end because `**` enters a node once, and there are limits of findings and of nodes looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from asyncua import ua

from adapters.opcua.browse import Browser, Child
from adapters.opcua.items import Wish
from adapters.opcua.nodeid import canonical
from adapters.opcua.paths import Step

MOST_LOOKED_AT: Final = 20_000
_DEEPEST: Final = 50
_SERVER: Final = "i=2253"  # its diagnostics are no machine's values; a path without wildcards reaches them
_SHOWN: Final = 8


class Found(NamedTuple):
    """node: as a configuration writes it. path: browse names from the root. captured: what the wildcards stand for."""

    node: str
    path: str
    captured: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """found: in the order of node ids. failure: in words, empty if there is none; it may stand beside findings."""

    found: list[Found] = field(default_factory=list)
    failure: str = ""


class Trail(NamedTuple):
    """Where a search stands: at `node`, before step `step`, with the names passed, and those that ** has swallowed."""

    wish: int
    step: int
    node: ua.NodeId
    text: str
    names: tuple[str, ...] = ()
    captured: tuple[str, ...] = ()
    deep: tuple[str, ...] = ()


class Search:
    """One round for all wishes of a source. Raises what the channel raises when the connection is lost."""

    def __init__(self, browser: Browser, wishes: Sequence[Wish], roots: Sequence[ua.NodeId | None]) -> None:
        self._browser, self._wishes, self._roots = browser, wishes, roots
        self._children: dict[str, list[Child]] = {}
        self._entered: set[tuple[int, int, str]] = set()
        self._nodes: list[dict[str, Found]] = [{} for _ in wishes]
        self._stops: dict[int, tuple[int, str]] = {}
        self._failures: dict[int, str] = {}

    async def run(self) -> list[Outcome]:
        trails = list(await self._begin())
        for _ in range(_DEEPEST):
            trails = [trail for trail in trails if trail.wish not in self._failures]
            await self._look({trail.text: trail.node for trail in trails})
            trails = [on for trail in trails for on in self._step(trail)]
            if not trails:
                break
        return [self._outcome(number) for number in range(len(self._wishes))]

    async def _begin(self) -> Iterable[Trail]:
        """What one service call answers is done; the trails of the others."""
        direct = [n for n, w in enumerate(self._wishes) if w.translatable and self._roots[n] is not None]
        asked = [(root, self._wishes[n].steps) for n in direct if (root := self._roots[n]) is not None]
        targets = (await self._browser.translate(asked) if asked else None) or [[] for _ in asked]
        for number, nodes in zip(direct, targets, strict=True):
            for node in nodes:
                text = self._text(node)
                path = "/".join(step.written for step in self._wishes[number].steps)
                self._nodes[number][text] = Found(text, path, ())
        return list(self._trails())

    def _trails(self) -> Iterator[Trail]:
        for number, (wish, root) in enumerate(zip(self._wishes, self._roots, strict=True)):
            if root is None:
                self._failures[number] = f"the server has no namespace {wish.root.uri}, where the path begins"
            elif not self._nodes[number] and (strange := self._strange(wish)):
                self._failures[number] = f"the server has no namespace {strange}"
            elif not self._nodes[number]:
                yield from self._forked(Trail(number, 0, root, self._text(root)))

    def _strange(self, wish: Wish) -> str:
        return next((s.uri or "" for s in wish.steps if self._browser.index(s) == -1), "")

    def _text(self, node: ua.NodeId) -> str:
        spaces = self._browser.namespaces
        return canonical(node.NodeIdType.value, node.Identifier, node.NamespaceIndex, spaces)

    async def _look(self, nodes: Mapping[str, ua.NodeId]) -> None:
        fresh = {text: node for text, node in nodes.items() if text not in self._children}
        room = MOST_LOOKED_AT - len(self._children)
        if len(fresh) > room:
            fresh = dict(list(fresh.items())[: max(room, 0)])
        found = await self._browser.children(list(fresh.values())) if fresh else []
        self._children.update(zip(fresh, found, strict=True))

    def _step(self, trail: Trail) -> Iterator[Trail]:
        wish = self._wishes[trail.wish]
        step = wish.steps[trail.step]
        children = self._children.get(trail.text)
        if children is None:
            self._failures[trail.wish] = f"given up after {MOST_LOOKED_AT} nodes: begin further below (root)"
            return
        if trail.step >= self._stops.get(trail.wish, (-1, ""))[0]:
            self._stops[trail.wish] = trail.step, _missing(trail, step, children)
        for child in children:
            on = self._swallowed(trail, child) if step.deep else self._matched(trail, step, child)
            if on is not None and len(self._nodes[trail.wish]) <= wish.signal.max_found:
                yield from self._arrived(on, child, len(wish.steps))

    def _swallowed(self, trail: Trail, child: Child) -> Trail | None:
        """** goes on below this child; into every node once."""
        place = trail.wish, trail.step, child.text
        if child.is_property or child.text == _SERVER or place in self._entered:
            return None
        self._entered.add(place)
        deep, names = (*trail.deep, child.name), (*trail.names, child.name)
        return trail._replace(node=child.node, text=child.text, deep=deep, names=names)

    def _matched(self, trail: Trail, step: Step, child: Child) -> Trail | None:
        captured = step.captured(child.name)
        index = self._browser.index(step)
        if captured is None or (index is not None and index != child.namespace):
            return None
        if step.name is None and (child.is_property or child.text == _SERVER):
            return None
        names = (*trail.names, child.name)
        return Trail(trail.wish, trail.step + 1, child.node, child.text, names, (*trail.captured, *captured))

    def _arrived(self, trail: Trail, child: Child, steps: int) -> Iterator[Trail]:
        at_end = trail.step == steps or (trail.deep and trail.step == steps - 1)
        if at_end and child.variable:
            captured = (*trail.captured, "/".join(trail.deep)) if trail.deep else trail.captured
            found = Found(trail.text, "/".join(trail.names), captured)
            self._nodes[trail.wish].setdefault(trail.text, found)
        if trail.step < steps:
            yield from self._forked(trail)
        elif not child.variable and not self._wishes[trail.wish].many:
            self._stops[trail.wish] = steps, f"{'/'.join(trail.names)} is an object and has no value itself"

    def _forked(self, trail: Trail) -> Iterator[Trail]:
        """** may also end here."""
        yield trail
        steps = self._wishes[trail.wish].steps
        if steps[trail.step].deep and trail.step + 1 < len(steps):
            captured = (*trail.captured, "/".join(trail.deep))
            yield trail._replace(step=trail.step + 1, captured=captured, deep=())

    def _outcome(self, number: int) -> Outcome:
        wish, found = self._wishes[number], sorted(self._nodes[number].values())
        failure = self._failures.get(number, "")
        if len(found) > wish.signal.max_found:
            found = found[: wish.signal.max_found]
            failure = f"more than {len(found)} variables match: narrow the path, or raise max_found"
        elif not found and not failure:
            failure = self._stops.get(number, (0, "nothing is there"))[1]
        elif len(found) > 1 and not wish.many:
            failure = f"{len(found)} nodes have this path ({_some([f.node for f in found])}): write the namespace of its names"
            found = []
        return Outcome(found, failure)


def _missing(trail: Trail, step: Step, children: Sequence[Child]) -> str:
    place = "/".join(trail.names) or trail.text
    there = _some(sorted({child.name for child in children if not child.is_property}))
    what = "no variable" if step.deep else f"no {step.written!r}"
    return f"{place} has {what}" + (f" (it has {there})" if there else " (it has nothing below it)")


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_SHOWN])
    return shown + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
