"""What people are told about a connection, and one log line when it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from adapters.opcua.items import Items
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Subscription

log = logging.getLogger("adapters.opcua")
_SHOWN = 5


def facts_of(
    settings: OpcUaSource, server: Mapping[str, Any], subscription: Subscription, items: Items
) -> dict[str, str]:
    """For `status`; an empty text means that there is nothing to say."""
    product = " ".join(str(word) for word in (server["product"], server["version"]) if word)
    asked, given = settings.publishing_interval, subscription.interval
    return {
        "endpoint": settings.url,
        "server": product or "unnamed",
        "items": f"{items.live} of {len(items.wanted)} live",
        "failed": _some([f"{item.name}: {item.failure}" for item in items.failed]),
        "publishing_interval": f"{given:g} s"
        + (f" (asked for {asked:g} s)" if abs(given - asked) > 1e-6 else ""),
        "keep_alive": f"{subscription.keep_alive:g} s",
        "revised": _some(shortfalls(items)),
    }


def shortfalls(items: Items) -> list[str]:
    """Where the server gives less than was asked for: one text for all the items that it concerns."""
    alike: dict[str, list[str]] = {}
    for item in items.all:
        if item.revised:
            alike.setdefault(item.revised, []).append(item.signal.name)
    return [f"{words} ({len(names)} signals, such as {names[0]})" for words, names in alike.items()]


def report(name: str, items: Items, reported: Mapping[int, str]) -> dict[int, str]:
    """Log what failed or came back since the last report; what is reported now."""
    failed = {item.handle: item.failure for item in items.failed}
    new = [items.all[h] for h, failure in failed.items() if reported.get(h) != failure]
    back = [items.all[h].name for h in reported if h not in failed]
    if new:
        told = _some([f"{item.name}: {item.failure}" for item in new])
        log.warning("%s: %d of %d nodes cannot be read: %s", name, len(new), len(items.wanted), told)
    if back:
        log.info("%s: %d nodes can be read again: %s", name, len(back), _some(back))
    return failed


def _some(texts: list[str]) -> str:
    return "; ".join(texts[:_SHOWN]) + (f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
