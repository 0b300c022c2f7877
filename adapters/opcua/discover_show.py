"""A look at a server as a tree for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.discovery import Branch, Proposal, every_text
from adapters.opcua.discover_browse import Node
from adapters.opcua.discover_found import Found
from adapters.opcua.discover_propose import label_of, unit_text
from adapters.opcua.discover_read import About
from adapters.opcua.grids import Unsupported


def tree_of(found: Found, proposal: Proposal) -> list[Branch]:
    """One branch per node below Objects; properties are told with what they belong to."""
    if found.root is None:
        return []
    known = {id(about.node): about for about in found.abouts}
    return [_branch(node, found, known, _taken(proposal)) for node in found.root.children]


def _taken(proposal: Proposal) -> frozenset[str]:
    return frozenset(s["node"] for m in proposal.machines for read in m.reads for s in read.signals)


def _branch(node: Node, found: Found, known: Mapping[int, About], taken: frozenset[str]) -> Branch:
    about = known.get(id(node))
    children = [_branch(child, found, known, taken) for child in node.children if not child.is_property]
    if about is not None:
        kind = "signal" if node.id in taken else "left"
        return Branch(node.name, _words(about, found), kind, children)
    kind = found.types.get(node.type, "") if node.type.startswith("nsu=") else ""
    return Branch(node.name, kind, "machine" if kind else "folder", children)


def _words(about: About, found: Found) -> str:
    unit = unit_text(about.unit) or about.unit_words
    span = f"{about.range[0]:g} to {about.range[1]:g}" if about.range else ""
    words = [
        f"{about.shown} {unit}".strip(),
        found.kind_words(about),
        span,
        rate_words(about),
        label_of(about.node),
    ]
    return " · ".join(word for word in (*words, about.why) if word)


def rate_words(about: About) -> str:
    """How often it changes."""
    if about.rate is None:
        return ""
    if not about.changes:
        return f"no change in {about.seconds:.0f} s"
    return f"{'≥ ' if about.at_least else ''}{about.rate:.1f}/s"


def json_of(found: Found, proposal: Proposal) -> dict[str, Any]:
    """Everything."""
    taken, specs = _taken(proposal), found.specifications()
    return {
        "url": found.url,
        "server": {key: _plain(value) for key, value in found.server.items()},
        "security": {
            "used": found.used,
            "offered": [
                {"mode": o.mode, "policy": o.policy, "sign_in": list(o.tokens), "sha256": o.fingerprint}
                for o in found.offers
            ],
        },
        "limits": dict(found.limits),
        "namespaces": [
            {"uri": uri, "specification": specs.get(uri, ("", 0))[0], "nodes": specs.get(uri, ("", 0))[1]}
            for uri in found.namespaces
        ],
        "variables": [_variable(about, found, taken) for about in found.abouts],
        "properties": [{"path": list(node.path), "node": node.id} for node in found.properties],
        "unread": [{"path": list(node.path), "why": why} for node, why in found.unread],
        "cut": found.cut,
        "events": list(found.notifiers),
    }


def _variable(about: About, found: Found, taken: frozenset[str]) -> dict[str, Any]:
    return {
        "path": list(about.node.path),
        "node": about.node.id,
        "label": about.node.label,
        "description": about.description,
        "type": found.kind_words(about),
        "rank": about.rank,
        "readable": about.readable,
        "value": _plain(about.value),
        "fields": about.fields,
        "status": about.quality,
        "unit": unit_text(about.unit),
        "unit_text": about.unit_words,
        "range": about.range,
        "minimum_sampling": about.least,
        "changes_per_second": about.rate,
        "at_least": about.at_least,
        "every": every_text(about.every),
        "proposed": about.node.id in taken,
        "why_not": about.why,
    }


def _plain(value: Any) -> Any:
    """As JSON has it; a number that JSON has not becomes text."""
    if isinstance(value, np.ndarray):
        return [_plain(float(cell)) for cell in value[:1000]]
    if isinstance(value, Unsupported):
        return None
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return value if isinstance(value, bool | int | str) or value is None else str(value)
