"""Hypothesis strategies for batches, shared by the tests of the pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipelines.batch import Batch, Kind, batch_of

T = 1_700_000_000_000_000_000
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.one_of(
    st.floats(),  # NaN, infinities, -0.0 and subnormals included
    st.integers(-(2**60), 2**60).map(float),
    st.integers(-5000, 5000).map(lambda n: n / 10),
    st.integers(-(10**7), 10**7).map(lambda n: n / 1000),
    st.floats(width=32),
)
TEXTS = st.one_of(st.text(), st.sampled_from(["", "ACTIVE", "µm", "\ud800 lone", "\udfff", "a\x00b"]))
WAVES = st.lists(FLOATS, max_size=5).map(lambda wave: np.array(wave, np.float64))
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.NUMBER: FLOATS,
    Kind.INTEGER: INT64,
    Kind.UNSIGNED: st.integers(0, 2**64 - 1),
    Kind.FLAG: st.booleans(),
    Kind.TEXT: TEXTS,
    Kind.WAVEFORM: WAVES,
}


def lists_of(cell: st.SearchStrategy[Any], n: int) -> st.SearchStrategy[list[Any]]:
    """Any, constant and evenly spaced columns."""
    return st.lists(cell, min_size=n, max_size=n) | cell.map(lambda one: [one] * n)


def times(n: int) -> st.SearchStrategy[list[int]]:
    spaced = st.tuples(st.sampled_from([1, 100, 1000, 10**6, 10**9, 7]), st.integers(0, 10**6)).map(
        lambda step: [T + step[0] * (step[1] + row) for row in range(n)]
    )
    steps = st.sampled_from([1, 100, 10**3, 10**6, 10**9]).flatmap(
        lambda step: st.lists(st.integers(0, 300).map(lambda k: T + k * step), min_size=n, max_size=n)
    )
    return spaced | steps | lists_of(INT64, n)


@st.composite
def batches(draw: st.DrawFn, kinds: tuple[Kind, ...] = tuple(Kind)) -> Batch:
    kind = draw(st.sampled_from(kinds))
    n = draw(st.integers(1, 30))
    return batch_of(
        kind,
        draw(lists_of(st.integers(0, 2**31 - 1), n) | st.just(list(range(n)))),
        draw(times(n)),
        draw(lists_of(VALUES[kind], n)),
        received=draw(INT64 | st.just(T) | st.sampled_from([5 * 10**9, 10**18])),
        quality=draw(lists_of(st.integers(0, 2**32 - 1), n)),
        flags=draw(lists_of(st.integers(0, 255), n)),
        server_at=draw(st.none() | times(n)),
        registry_version=draw(st.integers(0, 2**31)),
    )
