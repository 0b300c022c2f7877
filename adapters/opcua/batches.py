"""Many questions in as few calls as the server takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from asyncua.ua.uaerrors import BadTooManyOperations

Thing = TypeVar("Thing")
Result = TypeVar("Result")


async def in_batches(
    things: Sequence[Thing], size: int, call: Callable[[Sequence[Thing]], Awaitable[list[Result]]]
) -> list[Result]:
    """Results in order; a server that says BadTooManyOperations is asked for half as many from then on."""
    results: list[Result] = []
    while len(results) < len(things):
        batch = things[len(results) : len(results) + size]
        try:
            results += await call(batch)
        except BadTooManyOperations:
            if size == 1:
                raise
            size = max(1, min(size, len(batch)) // 2)
    return results
