"""Keys that stand twice, and documents that are monstrous: refused by name, and quickly. The oracle is the json module."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.payloads.document import adopting, listed, once
from adapters.mqtt.payloads.document import parse_json as parse
from adapters.mqtt.payloads.shape import MOST, Decoded
from adapters.mqtt.times import reader
from tests.mqtt.decoding import BRIEFLY, cpu


class Pairs(list[Any]):
    """An object as the pairs that are written, a key perhaps twice."""


KEYS = st.sampled_from(["a", "b", 'q":', "c:d", "é", "a "])
VALUES = st.recursive(
    st.sampled_from([1, 2.5, None, True, 'x":y', ":", '"'])
    | st.integers(10**300, 10**300 + 1).map(lambda _: 7),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs),
)


def written(value: Any, colon: str) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(json.dumps(k) + colon + written(v, colon) for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, colon) for item in value) + "]"
    return json.dumps(value)


def twice(value: Any) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(twice(inner) for _, inner in value)
    return isinstance(value, list) and any(twice(inner) for inner in value)


@given(VALUES, st.sampled_from([":", " : ", "\n:", ":\t"]))
def test_a_key_that_stands_twice_is_refused_and_no_other(value: Any, colon: str) -> None:
    """B3: wherever it stands, and however the colons are written."""
    payload = written(value, colon).encode()
    read = parse(payload)
    assert isinstance(read, Decoded) is twice(value)
    if twice(value):
        assert "stands twice" in read.refused[0].reason
        assert not once(payload, json.loads(payload))
    else:
        assert read == json.loads(payload)


@pytest.mark.parametrize("payload", [b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'[{"b":{"a":1,"a" :2}}]'])
def test_however_it_is_written(payload: bytes) -> None:
    assert "stands twice" in parse(payload).refused[0].reason


MONSTERS = {
    "keys": json.dumps({f"k{n}": n for n in range(60_000)}),
    "keys, spaced": json.dumps({f"k{n}": n for n in range(60_000)}, separators=(",", " : ")),
    "texts with colons": json.dumps({f"k{n}": 'x":' for n in range(50_000)}),
    "objects": json.dumps([{"a": n} for n in range(75_000)]),
    "list": json.dumps([[n] for n in range(120_000)]),
    "twice": "{" + ",".join('"a":1' for _ in range(150_000)) + "}",
    "deep": '{"a":' * 30 + json.dumps({f"k{n}": n for n in range(60_000)}) + "}" * 30,
}


@pytest.mark.parametrize("name", MONSTERS)
def test_a_megabyte_holds_the_loop_briefly(name: str) -> None:
    """B3: measured in CPU time, whichever way the document is read."""
    payload = MONSTERS[name].encode()
    assert 600_000 < len(payload) <= 1_100_000
    for decode in (adopting(None, reader("auto")), listed([("k1",), ("k2",)], ("t",), reader("auto"))):
        decoded = decode(payload)
        assert cpu(partial(decode, payload)) < BRIEFLY
        assert len(decoded.rows) <= MOST
        assert decoded.seen == len(decoded.rows) + sum(refused.values for refused in decoded.refused)


def test_a_message_has_its_most() -> None:
    decode = adopting(None, reader("auto"))
    assert len(decode(json.dumps({str(n): n for n in range(MOST)}).encode()).rows) == MOST
    assert (
        "more than 10000"
        in decode(json.dumps({str(n): n for n in range(MOST + 1)}).encode()).refused[0].reason
    )
