"""What is remembered of notifications has a bound, and beyond it the oldest goes, not everything."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.opcua import layouts as module
from adapters.opcua.blocks import VALUE
from adapters.opcua.layouts import Layouts, Places, Where
from adapters.opcua.patient import Patient

ITEM = 14  # handle, mask, type, Double


def message(count: int, first: int) -> bytes:
    """As many Doubles, of handles from `first`, and something behind them."""
    items = (
        handle.to_bytes(4, "little") + bytes([VALUE, 11]) + bytes(8) for handle in range(first, first + count)
    )
    return b"".join(items) + bytes(4)


def remember(layouts: Layouts, count: int, first: int) -> None:
    buffer = message(count, first)
    layouts.remember(buffer, Places(np.arange(count, dtype=np.int64) * ITEM, count * ITEM), [])


def known(layouts: Layouts, count: int, first: int) -> bool:
    """By its own name: of the same number of items the last layout is tried, too, and fits them all."""
    buffer = message(count, first)
    assert (layouts.recall(Where(buffer, 0, count * ITEM), count, Patient(buffer)) is not None) >= (
        (count, buffer[:4]) in layouts._known
    )
    return (count, buffer[:4]) in layouts._known


def held(layouts: Layouts) -> int:
    """Items of everything that is still referred to."""
    kept = {id(one): len(one.starts) for one in (*layouts._known.values(), *layouts._last.values())}
    return sum(kept.values())


def test_beyond_the_bound_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ITEMS", 1000)
    layouts = Layouts()
    for first in range(50):
        remember(layouts, 100 + first % 3, first)
        assert held(layouts) <= 1000
        assert known(layouts, 100 + first % 3, first)
    assert held(layouts) > 800, "one that came too many has not made everything forgotten"
    assert known(layouts, 100 + 48 % 3, 48)
    assert not known(layouts, 100, 0)


def test_the_same_again_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ITEMS", 1000)
    layouts = Layouts()
    remember(layouts, 200, 7)
    for _ in range(50):
        remember(layouts, 100, 1)
    assert held(layouts) == 300
    assert known(layouts, 200, 7)


def test_one_that_is_larger_than_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ITEMS", 1000)
    layouts = Layouts()
    remember(layouts, 1001, 0)
    assert held(layouts) == 0
