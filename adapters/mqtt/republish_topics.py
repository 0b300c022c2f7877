"""Names of machines, signals and places as segments of a topic, and whether two sets of topics have one in common.

Names come from strangers and may hold what a segment cannot (/, +, #, control characters): those characters are written as in a URL
(%2F), so that no two signals can meet under one topic, and a name can be read back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from adapters.mqtt.topics import Template
from pipelines.batch import Point

META = "_meta"
_NAME = re.compile(r"\{(\w+)\}")
_UNFIT = re.compile("[%/+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def segment(name: str) -> str:
    """A name as one segment."""
    return _UNFIT.sub(lambda match: quote(match[0].encode("utf-8", "surrogatepass"), safe=""), name)


def topic_of(template: Template, point: Point) -> str:
    """Where a point goes; levels for which it has no name are left out."""
    names = {**point.tags, "machine": point.machine, "signal": point.name}
    found = [_level(level, names) for level in template.levels]
    topic = "/".join(level for level in found if level)
    return f"%24{topic[1:]}" if topic.startswith("$") else topic


def _level(level: str, names: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(level)
    return segment(names.get(match[1], "")) if match else level


def levels_of(level: str, known: Mapping[str, str | None]) -> Sequence[str]:
    """What may stand in place of a level of the template: what is known of it, else anything or nothing."""
    match = _NAME.fullmatch(level)
    if match is None:
        return (level,)
    if match[1] not in known:
        return ("+", "")
    name = known[match[1]]
    return ("+",) if name is None else (segment(name),)


def meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a topic can match both filters (MQTT 5, 4.7)."""
    if one[:1] == ("#",) or other[:1] == ("#",):
        return True
    if not one or not other:
        return one == other
    if one[0] != other[0] and "+" not in (one[0], other[0]):
        return False
    return meet(one[1:], other[1:])
