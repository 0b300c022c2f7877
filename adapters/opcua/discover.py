"""A look at an OPC UA server without any configuration: what it is, what it offers, what lies in it, and what to collect.

Reads and nothing else: no node is written, no method called, no subscription left. Asks through the same gate as a session,
so that whom nobody trusts is asked nothing but his certificate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncua import ua

from adapters.discovery import Progress, Proposal, Report, Wishes
from adapters.opcua.channel import Channel
from adapters.opcua.credentials import POLICIES, STRONG, Offer
from adapters.opcua.decode import Found as Of
from adapters.opcua.discover_browse import Bounds, Walk
from adapters.opcua.discover_found import Found
from adapters.opcua.discover_propose import proposed, twins
from adapters.opcua.discover_read import Reader, measure, unfolded
from adapters.opcua.discover_show import json_of, tree_of
from adapters.opcua.errors import crossing
from adapters.opcua.grids import Bodies, Body
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.security import Gate, introducing
from adapters.opcua.subscription import Desk

_BATCH: Final = 100  # nodes per Browse, at most: each may answer with a thousand references
_NODES_PER_BROWSE, _CONTINUATIONS, _MANUFACTURER = 11710, 2735, 2263  # NodeIds.csv
_SERVER, _SHOWN = 2253, 5  # NodeIds.csv: Server; notifiers that are named
_MEASURES: Final = ("EngineeringUnits", "EURange")
_STATES: Final = (
    "running", "failed", "no configuration", "suspended", "shutting down", "testing", "communication fault", "unknown",
)  # fmt: skip
"""ServerState, OPC 10000-5, 12.6."""


async def discover(
    gate: Gate, name: str, source: Mapping[str, Any], wishes: Wishes, progress: Progress
) -> Report:
    """What there is. source: the keys of the source as they would be written. Raises NotConnected and Misconfigured."""
    settings = gate.settings
    with crossing(settings.url):
        progress("connecting", 0, 0)
        offers = await gate.offers()
        shown = await gate.credentials()
        channel = Channel(settings.url, settings.request_timeout)
        with introducing(shown):
            await channel.open(shown, settings.session_timeout)
        try:
            found = Found(settings.url, offers, shown.words)
            await _look(channel, Desk(channel, settings), found, wishes, progress)
        finally:
            await channel.close()
    return _report(found, proposed(name, source, found, wishes), list(twins(name, found, wishes)))


async def _look(channel: Channel, desk: Desk, found: Found, wishes: Wishes, progress: Progress) -> None:
    server = await desk.learn()
    browse, points, maker = await desk.read(_NODES_PER_BROWSE, _CONTINUATIONS, _MANUFACTURER)
    found.server = {**server, "manufacturer": maker}
    found.namespaces = desk.namespaces
    found.limits = {
        "nodes per read": desk.limits.read,
        "nodes per browse": int(browse or 0),
        "monitored items per call": desk.limits.create,
        "continuation points": int(points or 0),
    }
    size = min(limit for limit in (_BATCH, int(browse or 0), int(points or 0)) if limit)
    walk = Walk(channel, desk.namespaces, size, Bounds(wishes.nodes, wishes.depth, wishes.seconds))
    found.root = await walk.run(progress)
    found.unread, found.cut = walk.unread, walk.cut
    reader = Reader(channel, desk.limits.read)
    await _read(reader, desk, found, progress)
    await _notifiers(reader, found)
    takes = [about for about in found.abouts if not about.why and wishes.wants(about.node.path)]
    await reader.watch(takes, wishes.watch, progress)


async def _notifiers(reader: Reader, found: Found) -> None:
    """The Server object, which tells of everything, and other objects that do."""
    objects = [node for node in (found.root.below() if found.root else ()) if not node.variable]
    make: Any = ua.NodeId
    told = await reader.notifiers([make(_SERVER), *(node.raw for node in objects)])
    places = ["Server", *("/".join(node.path) for node in objects)]
    found.notifiers = [place for place, tells in zip(places, told, strict=True) if tells]


async def _read(reader: Reader, desk: Desk, found: Found, progress: Progress) -> None:
    nodes = list(found.root.below()) if found.root else []
    found.properties = [node for node in nodes if node.is_property]
    found.abouts = await reader.describe([n for n in nodes if n.variable and not n.is_property], progress)
    structures = [about for about in found.abouts if isinstance(about.value, Body | Bodies)]
    if structures:
        said = [(about.data_type, Of(None, about.value, about.quality)) for about in structures]
        await desk.types.learn([], said)
        for about in structures:
            unfolded(about, desk.types.catalogue)
    measures = {
        (about.node.id, child.name): child
        for about in found.abouts
        for child in about.node.children
        if child.is_property and child.name in _MEASURES
    }
    values = dict(zip(measures, await reader.structures(list(measures.values())), strict=True))
    for about in found.abouts:
        measure(about, {name: values.get((about.node.id, name)) for name in _MEASURES})
    types = dict.fromkeys([*(node.type for node in nodes), *(about.data_type for about in found.abouts)])
    raws = {text: raw for text in types if (raw := _raw(text, desk)) is not None}
    found.types = dict(zip(raws, await reader.browse_names(list(raws.values())), strict=True))


def _raw(text: str, desk: Desk) -> Any:
    try:
        return desk.node_id(parse_node_id(text))
    except ValueError:
        return None


def _report(found: Found, proposal: Proposal, alike: Sequence[str]) -> Report:
    warnings = [*_warnings(found), *alike]
    return Report(_facts(found), warnings, tree_of(found, proposal), proposal, json_of(found, proposal))


def recommended(offers: Sequence[Offer]) -> Offer | None:
    """The strongest endpoint that signs and encrypts; None when there is none that is worth it."""
    good = [offer for offer in offers if offer.mode == "SignAndEncrypt" and offer.policy in STRONG]
    return min(good, key=lambda offer: list(POLICIES).index(offer.policy), default=None)


def _facts(found: Found) -> dict[str, str]:
    server, best = found.server, recommended(found.offers)
    state = server.get("state")
    product = " ".join(str(word) for word in (server.get("product"), server.get("version")) if word)
    offered = ", ".join(dict.fromkeys(offer.words for offer in found.offers))
    ways = ", ".join(dict.fromkeys(way for offer in found.offers for way in offer.tokens))
    known = found.specifications().values()
    facts = {
        "server": product or "says no name",
        "made by": str(server.get("manufacturer") or ""),
        "state": _STATES[state] if isinstance(state, int) and 0 <= state < len(_STATES) else "",
        "security offered": offered,
        "recommended": best.words if best else "nothing that protects is offered",
        "used now": found.used,
        "sign in by": ways,
        "limits": ", ".join(f"{name} {most}" for name, most in found.limits.items() if most),
        "companion specifications": ", ".join(
            f"{name} ({count} nodes)" if count else f"{name} (loaded, not used)" for name, count in known
        ),
        "events": ", ".join(found.notifiers[:_SHOWN]) + (" …" if len(found.notifiers) > _SHOWN else ""),
        "seen": f"{len(found.abouts)} variables, {len(found.properties)} properties",
    }
    return {name: words for name, words in facts.items() if words}


def _warnings(found: Found) -> list[str]:
    said = []
    if found.used.startswith("none"):
        said.append(
            "Nothing protects this connection: anybody on the network can read and change what is said."
        )
    if found.server.get("state"):
        said.append("The server says that it is not running normally.")
    if found.cut:
        said.append(f"Not everything was looked at: it ended {found.cut} (--max-nodes, --max-seconds).")
    said += [f"{'/'.join(node.path) or 'Objects'}: {why}." for node, why in found.unread[:5]]
    if len(found.unread) > 5:
        said.append(f"… and {len(found.unread) - 5} more places that could not be read (--json lists them).")
    return said
