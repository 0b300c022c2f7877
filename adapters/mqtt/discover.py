"""A look at a broker without any configuration: which topics there are, what they carry, how often, and what to collect.

Listens as a guest and publishes nothing: no session is left at the broker, and no Sparkplug node is asked for its births.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.discovery import Branch, Progress, Proposal, Report, Wishes
from adapters.mqtt.discover_documents import Field
from adapters.mqtt.discover_kinds import kind_of
from adapters.mqtt.discover_listen import Heard, Topic, filters, listen, plainly
from adapters.mqtt.discover_propose import Seen, place_machines, proposed
from adapters.mqtt.discover_sparkplug import EntitySeen, Nodes, sorted_out
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.sparkplug.values import NAMES

_SHOWN: Final = 40  # characters of a value
_HOUSEKEEPING: Final = ("bdSeq", "Node Control/", "Device Control/")


@dataclass(slots=True)
class Found:
    heard: Heard
    seen: Sequence[Seen]
    nodes: Nodes


async def discover(settings: MqttSource, name: str, source: Mapping[str, Any], wishes: Wishes, progress: Progress) -> Report:  # fmt: skip
    """What there is. source: the keys of the source as they would be written. Raises NotConnected and Misconfigured."""
    wishes = plainly(wishes)
    heard = await listen(settings, wishes, progress)
    found = look_into(heard)
    proposal = proposed(name, source, found.seen, list(found.nodes.nodes.values()), wishes)
    return Report(_facts(found), _warnings(found, settings, source, wishes), tree_of(found, proposal), proposal, json_of(found, settings, proposal))  # fmt: skip


def look_into(heard: Heard) -> Found:
    """What the messages say."""
    nodes, rest = sorted_out(heard.topics)
    seen = [
        Seen(topic, kind_of(topic.samples), tuple(topic.name.split("/"))) for topic in (*rest, *nodes.others)
    ]
    place_machines([each for each in seen if not each.kind.why])
    return Found(heard, seen, nodes)


def _facts(found: Found) -> dict[str, str]:
    heard, nodes = found.heard, found.nodes
    seconds = max(heard.seconds, 0.001)
    live = sum(topic.live for topic in heard.topics.values())
    facts = {
        **heard.words,
        "heard": f"{heard.messages} messages on {len(heard.topics)} topics in {heard.seconds:.0f} s ({live / seconds:.1f}/s)",
        "Sparkplug": f"{len(nodes.nodes)} nodes, {sum(bool(device) for node in nodes.nodes.values() for device in node.entities)} devices"
        if nodes.nodes
        else "",
        "Sparkplug hosts": ", ".join(f"{host} ({said})" for host, said in list(nodes.hosts.items())[:10]),
    }
    return {name: words for name, words in facts.items() if words}


def _warnings(found: Found, settings: MqttSource, source: Mapping[str, Any], wishes: Wishes) -> list[str]:
    said, heard = list(settings.doubts), found.heard
    if not heard.topics:
        asked = " and ".join(filters(wishes))
        said.append(
            f"Nothing was heard on {asked} in {heard.seconds:.0f} s: nobody publishes, or the access list keeps it from this user "
            "without saying so. Listen longer (--for 60s), or sign in as somebody who may read."
        )
    if heard.beyond:
        said.append(f"Not everything was looked at: {heard.beyond} messages of further topics (--max-nodes, --under).")  # fmt: skip
    if heard.unnamed:
        said.append(f"{heard.unnamed} messages on topics that are not UTF-8.")
    names_missing = found.nodes.silent or any(_aliases(each) for node in found.nodes.nodes.values() for each in node.entities.values())  # fmt: skip
    if names_missing and not source.get("rebirth") and "type" in source:
        said.append(
            "Sparkplug nodes here speak in aliases, which only their births explain: what comes by alias is set aside until a node is born "
            "again. With --rebirth the source may ask for births (it publishes NCMD)."
        )
    return said


def _aliases(entity: EntitySeen) -> bool:
    return any(known.alias is not None for known in entity.metrics.values())


def tree_of(found: Found, proposal: Proposal) -> list[Branch]:
    """By levels of the topics; Sparkplug apart."""
    left = {out.what: out.why for out in proposal.left_out}
    top = Branch("")
    for each in sorted(found.seen, key=lambda each: each.levels):
        at = top
        for level in each.levels:
            if not at.children or at.children[-1].name != level:
                at.children.append(Branch(level))
            at = at.children[-1]
        why = left.get(each.topic.name, "")
        at.kind = "left" if why else "signal" if len(each.kind.fields) == 1 and not each.kind.fields[0].path else "folder"  # fmt: skip
        at.words = " · ".join(filter(None, (_value_words(each), each.kind.name, each.kind.words, rate_words(each.topic, found.heard), why)))  # fmt: skip
        at.children += [_field_branch(field, bool(why)) for field in each.kind.fields if field.path]
    return [*top.children, *_nodes(found)]


def _value_words(seen: Seen) -> str:
    fields = seen.kind.fields
    return _shown(fields[0].shown) if len(fields) == 1 and not fields[0].path else ""


def _field_branch(field: Field, out: bool) -> Branch:
    role = {"time": "the time", "unit": "a unit", "quality": "perhaps a quality"}.get(field.role, "")
    words = " · ".join(filter(None, (f"{_shown(field.shown)} {field.unit}".strip(), field.kind, role, field.why)))  # fmt: skip
    kind = "left" if out or field.why else "fact" if field.role in ("time", "unit") else "signal"
    return Branch(".".join(map(str, field.path)), words, kind)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def rate_words(topic: Topic, heard: Heard) -> str:
    if not topic.live:
        return "retained only" if topic.retained else ""
    rate = f"{topic.live / max(heard.seconds, 0.001):.1f}/s"
    return f"{rate}, retained" if topic.retained else rate


def _nodes(found: Found) -> list[Branch]:
    made = []
    for node in found.nodes.nodes.values():
        branch = Branch(f"Sparkplug {'/'.join(node.key)}", kind="machine")
        for device, entity in node.entities.items():
            at = branch
            if device:
                at = Branch(device, kind="machine")
                branch.children.append(at)
            at.words = _entity_words(entity)
            at.children += [Branch(each.name, " ".join((NAMES.get(each.datatype, ""), each.unit)).strip(), "fact" if each.name.startswith(_HOUSEKEEPING) else "signal") for each in entity.metrics.values()]  # fmt: skip
        made.append(branch)
    return made


def _entity_words(entity: EntitySeen) -> str:
    born = "birth retained" if entity.retained else "birth heard" if entity.born else "no birth heard"
    names = "" if entity.metrics else ", its metrics are not known yet"
    return f"{born}{names} · {entity.messages} messages"


def json_of(found: Found, settings: MqttSource, proposal: Proposal) -> dict[str, Any]:
    """Everything."""
    heard, left = found.heard, {out.what: out.why for out in proposal.left_out}
    return {
        "url": settings.url,
        "broker": dict(heard.words),
        "seconds": round(heard.seconds, 3),
        "messages": heard.messages,
        "messages_beyond": heard.beyond,
        "topics": [_topic(each, heard, left) for each in found.seen],
        "sparkplug": {
            "hosts": dict(found.nodes.hosts),
            "nodes": [
                {
                    "group": node.key[0],
                    "node": node.key[1],
                    "device": device,
                    "born": entity.born,
                    "retained": entity.retained,
                    "messages": entity.messages,
                    "metrics": [{"name": each.name, "alias": each.alias, "type": NAMES.get(each.datatype, ""), "unit": each.unit} for each in entity.metrics.values()],
                }
                for node in found.nodes.nodes.values()
                for device, entity in node.entities.items()
            ],
        },
    }  # fmt: skip


def _topic(seen: Seen, heard: Heard, left: Mapping[str, str]) -> dict[str, Any]:
    topic = seen.topic
    return {
        "topic": topic.name,
        "messages": topic.live,
        "retained": topic.retained,
        "per_second": round(topic.live / max(heard.seconds, 0.001), 3),
        "largest": topic.size,
        "kind": seen.kind.name,
        "machine": seen.levels[seen.machine] if 0 <= seen.machine < len(seen.levels) else "",
        "fields": [
            {**each.address, "kind": each.kind, "role": each.role, "unit": each.unit, "shown": _shown(each.shown), "why_not": each.why}
            for each in seen.kind.fields
        ],
        "why_not": left.get(topic.name, ""),
    }  # fmt: skip
