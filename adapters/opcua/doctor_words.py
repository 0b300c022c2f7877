"""What the steps of the doctor say: from what was found to findings, without asking anybody anything."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cryptography import x509

from adapters.base import Finding
from adapters.opcua.credentials import Offer
from adapters.opcua.errors import status_name
from adapters.opcua.items import Item, Items
from adapters.opcua.security import secure_offers
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.trust_expiry import STEPS

_SKEW: Final = 1.0  # s by which two clocks may differ before it is told
_SHOWN: Final = 20
_DENIED: Final = ("BadUserAccessDenied", "BadNotReadable", "BadSecurityModeInsufficient")
_CLOCK: Final = "set both clocks by one time server (NTP); values keep the machine's time, so the difference stays in the data"
_RIGHT: Final = "grant this user the right to read it in the machine's user administration"
_WHERE: Final = "check the NodeId or path in the machine's own settings or with `collector discover`"


def endpoint_words(
    settings: OpcUaSource, offers: Sequence[Offer], unknown: Sequence[str]
) -> Iterator[Finding]:
    """Raises Misconfigured when the security that is asked for is not offered."""
    seen = ", ".join(dict.fromkeys(offer.words for offer in offers)) or "nothing"
    yield Finding("ok", "endpoints", f"the server offers {seen}")
    if settings.security != "none":
        best = secure_offers(settings, offers)[0]
        yield Finding(
            "ok",
            "endpoints",
            f"{best.words} is used; it lets sign in by {', '.join(best.tokens) or 'it does not say what'}",
        )
    if unknown:
        words = f"the server calls itself {', '.join(unknown)}, which is not known here"
        yield Finding(
            "ok", "endpoints", f"{words}; the collector stays with the address of the configuration"
        )


def certificate_words(
    step: str, what: str, certificate: x509.Certificate, now: dt.datetime, remedy: str
) -> Finding:
    until = certificate.not_valid_after_utc
    left = (until - now) / dt.timedelta(days=1)
    words = f"{what} is valid until {until:%Y-%m-%d}"
    if left > STEPS[-1]:
        return Finding("ok", step, words)
    return Finding("warning" if left > 0 else "error", step, f"{words}: {left:.0f} days", remedy)


def state_words(server: Mapping[str, Any], time: Any, now: dt.datetime, took: float) -> Iterator[Finding]:
    """took: s that the question for the time took."""
    product = (
        " ".join(str(word) for word in (server["product"], server["version"]) if word) or "an unnamed server"
    )
    if server["state"]:
        remedy = "look at the machine: its OPC UA server says so itself"
        yield Finding("warning", "server", f"{product} is not running (state {server['state']})", remedy)
    else:
        yield Finding("ok", "server", f"{product} is running; it answers in {took * 1000:.0f} ms")
    level = server.get("level")
    if isinstance(level, int) and level < 200:
        yield Finding(
            "warning",
            "server",
            f"its service level is {level} of 255",
            "it says that its data is not at its best",
        )
    yield _clock(time, now, took)


def _clock(time: Any, now: dt.datetime, took: float) -> Finding:
    if not isinstance(time, dt.datetime):
        return Finding("warning", "clock", "the server does not say what time it is", _CLOCK)
    theirs = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    behind = (now - theirs).total_seconds()
    if abs(behind) <= _SKEW + took:
        return Finding("ok", "clock", f"the clocks differ by {abs(behind):.1f} s at most")
    side = "behind" if behind > 0 else "ahead of"
    return Finding(
        "warning", "clock", f"the machine's clock is {abs(behind):,.1f} s {side} this computer's", _CLOCK
    )


def limit_words(limits: Mapping[str, Any], settings: OpcUaSource) -> Iterator[Finding]:
    known = {name: int(value) for name, value in limits.items() if isinstance(value, int) and value > 0}
    now = known.pop("sessions now", 0)
    said = ", ".join(f"{value} {name}" for name, value in known.items())
    yield Finding("ok", "limits", said or "the server names no limits")
    most = known.get("sessions", 0)
    if most and now >= most:
        words = f"{now} of {most} sessions are taken"
        yield Finding(
            "warning",
            "limits",
            words,
            "a restart may find no place: end what does not need one, or allow more",
        )
    queue, wanted = (
        known.get("values in a queue", 0),
        settings.hold / max(settings.publishing_interval, 0.001),
    )
    if queue and queue < wanted:
        words = f"a queue holds {queue} values at most"
        yield Finding(
            "warning",
            "limits",
            words,
            "what comes while the collector is held up longer is lost at the server, and told",
        )


def node_words(items: Items) -> Iterator[Finding]:
    """How many there are, one of each kind, and those that are not well."""
    there = [item for item in items.all if not item.failure]
    yield Finding(
        "ok" if there else "error", "nodes", f"{len(there)} of {len(items.wanted)} nodes can be read"
    )
    kinds = _one_of_each(items, there)
    if kinds:
        yield Finding("ok", "nodes", "one of each kind: " + ", ".join(kinds))
    failed = items.failed
    denied = [item for item in failed if status_name(item.status) in _DENIED]
    if denied:
        yield Finding(
            "error", "nodes", f"{len(denied)} nodes may not be read by this user: {_some(denied)}", _RIGHT
        )
    for item in [one for one in failed if one not in denied][:_SHOWN]:
        yield Finding("error", "nodes", f"{item.name}: {item.failure}", _WHERE)
    if len(failed) - len(denied) > _SHOWN:
        yield Finding("error", "nodes", f"and {len(failed) - len(denied) - _SHOWN} more")


def _one_of_each(items: Items, there: Sequence[Item]) -> list[str]:
    found: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for item in there:
        point = int(items.columns.points[item.handle])
        kind = (
            "in parts"
            if item.spread
            else items.registry[point].kind.name.lower()
            if point >= 0
            else "not known yet"
        )
        found.setdefault(kind, item.signal.name)
        counted[kind] += 1
    return [
        f"{kind} ({name}{f' and {counted[kind] - 1} more' if counted[kind] > 1 else ''})"
        for kind, name in found.items()
    ]


def _some(items: Sequence[Item]) -> str:
    return ", ".join(item.name for item in items[:5]) + (
        f" and {len(items) - 5} more" if len(items) > 5 else ""
    )
