"""Topic templates: MQTT topic filters (MQTT 5, 4.7) in which whole segments may be named.

  shop/{machine}/energy      {machine} stands for the id of the machine that the entry belongs to
  shop/cnc-1/{signal}        {signal} names the signal
  shop/{hall}/+/load         any other name becomes a tag of the signal, with the segment as its value
  shop/#                     + matches one segment, # (last only) all that follow

A name stands for one whole segment; half segments (`mill-{n}`) cannot be asked of a broker and are refused.
Matching splits into levels and never uses regular expressions: topics come from strangers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
LONGEST = 65_535  # bytes of a UTF-8 string (MQTT 5, 1.5.4)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. levels: literals, '+', '#' or '{name}'. share: the group of `$share/<group>/…`, else empty."""

    text: str
    levels: tuple[str, ...]
    share: str = ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(match[1] for level in self.levels if (match := _NAME.fullmatch(level)))

    def bound(self, **names: str) -> Template:
        """The template with some names replaced by the literal segments they stand for."""
        known = {f"{{{name}}}": segment for name, segment in names.items()}
        return Template(self.text, tuple(known.get(level, level) for level in self.levels), self.share)

    @property
    def filter(self) -> str:
        """What is asked of the broker: names become '+'."""
        asked = "/".join("+" if _NAME.fullmatch(level) else level for level in self.levels)
        return f"$share/{self.share}/{asked}" if self.share else asked

    def match(self, topic: str) -> dict[str, str] | None:
        """The named segments of a topic, or None when it does not match (MQTT 5, 4.7.2: wildcards skip `$` topics)."""
        segments = topic.split("/")
        first = self.levels[0]
        if topic.startswith("$") and (first in ("+", "#") or _NAME.fullmatch(first)):
            return None
        return _match(self.levels, segments)


def _match(levels: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    deep = levels[-1] == "#"
    fixed = levels[:-1] if deep else levels
    if len(segments) < len(fixed) or (len(segments) > len(fixed) and not deep):
        return None
    named: dict[str, str] = {}
    for level, segment in zip(fixed, segments, strict=False):
        if level in ("+", segment):
            continue
        name = _NAME.fullmatch(level)
        if name is None:
            return None
        named[name[1]] = segment
    return named


def parse_template(text: str) -> Template:
    """A template from what the user wrote. Raises ValueError: what is wrong and how it is written."""
    share, rest = _shared(text)
    levels = tuple(rest.split("/"))
    for number, level in enumerate(levels):
        _check_level(text, level, last=number == len(levels) - 1)
    names = [match[1] for level in levels if (match := _NAME.fullmatch(level))]
    if len(set(names)) != len(names):
        raise ValueError(f"topic '{text}': every name may stand in it once")
    if _NAME.match(levels[0]) is None and not rest:
        raise ValueError("a topic has at least one character, such as shop/cnc-1/energy")
    if len(text.encode()) > LONGEST:
        raise ValueError(f"topic '{text[:40]}…' is longer than the {LONGEST} bytes that MQTT allows")
    return Template(text, levels, share)


def _shared(text: str) -> tuple[str, str]:
    if not text.startswith("$share/"):
        return "", text
    _, share, *rest = text.split("/", 2)
    if not share or not rest or not rest[0] or set(share) & set("+#{}"):
        raise ValueError(f"topic '{text}': a shared subscription is written $share/<group>/<topic>")
    return share, rest[0]


def _check_level(text: str, level: str, *, last: bool) -> None:
    if any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F or 0xD800 <= ord(char) <= 0xDFFF for char in level):
        raise ValueError(f"topic {text!r} contains a control character")
    if level == "#" and not last:
        raise ValueError(f"topic '{text}': # may only be the last segment (shop/#); use + for one segment")
    if level in ("+", "#") or _NAME.fullmatch(level):
        return
    if "#" in level or "+" in level:
        raise ValueError(f"topic '{text}': + and # stand for whole segments, '{level}' mixes them with text")
    if "{" in level or "}" in level:
        raise ValueError(
            f"topic '{text}': a name stands for a whole segment, such as shop/{{machine}}/energy; "
            f"'{level}' is not one (names have letters, digits and _)"
        )
