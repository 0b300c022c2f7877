"""What a repeated action keeps, counted: objects of ours and of the libraries below, and what lies in their containers.

Counted and not weighed: a leak of a few hundred bytes per connection takes hours to show in the memory of a process, and
shows here after twenty repetitions as twenty more of something. Peers of a test keep records of their own (lists of what was
said to them); therefore only instances of the types of WATCHED count, and containers that such an instance refers to.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

WATCHED: Final = (
    *("adapters", "collector", "pipelines", "config"),
    *("asyncio", "_asyncio", "concurrent", "threading", "socket", "_socket", "ssl", "_ssl", "sqlite3"),
    *("asyncua", "paho", "urllib3", "pyarrow", "msgspec", "starlette", "uvicorn"),
)
_CONTAINERS: Final = (dict, list, set, deque, OrderedDict)


async def kept(act: Callable[[], Awaitable[None]], times: int = 20, before: int = 10) -> dict[str, int]:
    """By name what is there `times` more often than after `before` repetitions, or nearly so; empty if nothing is.

    before: as many as it takes until what is bounded is full.
    """
    for _ in range(before):
        await act()
    first = _census()
    for _ in range(times):
        await act()
    return {name: more for name, more in (_census() - first).items() if more >= times * 0.8}


def _census() -> Counter[str]:
    gc.collect()
    found: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        if str(kind.__module__).partition(".")[0] not in WATCHED or _is_over(thing):
            continue
        name = f"{kind.__module__}.{kind.__qualname__}"
        found[name] += 1
        for place, container in _held(thing):
            found[f"{name}: {place}"] += len(container)
    return found


def _is_over(thing: Any) -> bool:
    """A timer that was cancelled stays with the loop until its time has come, or until there are a hundred of them."""
    return isinstance(thing, asyncio.BaseEventLoop) or (
        isinstance(thing, asyncio.Handle) and thing.cancelled()
    )


def _held(thing: Any) -> Iterator[tuple[str, Any]]:
    """The containers of an instance, by the names of its attributes."""
    attributes = getattr(thing, "__dict__", None) or {}
    slots = [name for kind in type(thing).__mro__ for name in _slots(kind)]
    for name in (*attributes, *slots):
        value = attributes.get(name) if name in attributes else getattr(thing, name, None)
        if isinstance(value, _CONTAINERS):
            yield name, value


def _slots(kind: type) -> tuple[str, ...]:
    named = kind.__dict__.get("__slots__", ())
    return (named,) if isinstance(named, str) else tuple(named)
