"""A read entry in, the decoder of its first topic out; and what a decoder may never do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from adapters.mqtt.payloads.chosen import Reader
from adapters.mqtt.payloads.shape import MOST, REASONS, Decode, Decoded, Series
from adapters.mqtt.settings import MqttRead

BRIEFLY = 0.3
"""Seconds. Three times the tenth that the event loop may be held: who shares core and caches is charged for others."""


def cpu(run: Callable[[], object]) -> float:
    """Seconds of CPU of the quickest of five tries; the first that is brief ends them: a busy machine has bad moments."""
    took = []
    for _ in range(5):
        began = time.thread_time()
        run()
        took.append(time.thread_time() - began)
        if took[-1] < BRIEFLY:
            break
    return min(took)


def decoder(payload: Any, *signals: Any, adopt: bool | None = None) -> Decode:
    """signals: names, or signals as in the configuration; none: everything is adopted."""
    listed = [{"name": signal} if isinstance(signal, str) else signal for signal in signals]
    wanted = not signals if adopt is None else adopt
    read = MqttRead.model_validate(
        {"source": "b", "topic": "t", "payload": payload, "signals": listed, "adopt": wanted}
    )
    return Reader(read).decoder(read.signals)


def rows(decoded: Decoded) -> list[tuple[Any, Any, int | None]]:
    """(key, value, time) of every row; nothing may be refused."""
    assert not decoded.refused, decoded.refused
    assert decoded.seen == len(decoded.rows)
    return [(name(row.key), row.value, row.at) for row in decoded.rows]


def name(key: int | str | Series) -> int | str:
    return key.key if isinstance(key, Series) else key


def why(decoded: Decoded) -> str:
    """The reasons of a message of which nothing could be read."""
    check(decoded)
    assert not decoded.rows
    assert decoded.refused
    return " / ".join(refused.reason for refused in decoded.refused)


def check(decoded: Decoded) -> Decoded:
    """Conservation, and bounds that no payload may break."""
    assert decoded.seen == len(decoded.rows) + sum(refused.values for refused in decoded.refused)
    assert decoded.seen <= MOST
    assert len(decoded.refused) <= REASONS + 1
    assert all(len(refused.reason) < 500 for refused in decoded.refused)
    return decoded
