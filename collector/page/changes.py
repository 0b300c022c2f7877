"""What differs between two pictures: only that travels to the browser."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def changes(before: Json, after: Json) -> Json | None:
    """The parts of `after` that `before` lacks, `now` added; None when nothing but the time has changed.

    Law (tests/page): laid over `before`, machines by `key` and signals by `id`, it gives `after`. Machines and signals
    are never removed and new ones come last, as long as the configuration stays the same (feed.py).
    """
    changed = {key: value for key, value in after.items() if key != "now" and differs(before.get(key), value)}
    if not changed:
        return None
    if "machines" in changed:
        known = {machine["key"]: machine for machine in before["machines"]}
        parts = [_machine(known.get(machine["key"]), machine) for machine in after["machines"]]
        changed["machines"] = [part for part in parts if part is not None]
    return changed | {"now": after["now"]}


def differs(before: Any, after: Any) -> bool:
    """The same object is the same without a look inside."""
    return before is not after and before != after


def _machine(before: Json | None, after: Json) -> Json | None:
    if before is None or before == after:
        return None if before else after
    known = {signal["id"]: signal for signal in before["signals"]}
    signals = [signal for signal in after["signals"] if known.get(signal["id"]) != signal]
    return after | {"signals": signals}
