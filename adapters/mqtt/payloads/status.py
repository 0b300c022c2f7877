"""What a field says about the quality of a value, and its unit.

Words of a message map to the three classes of OPC UA (Part 8, 6.3): good, uncertain, bad. A word that nobody listed is
uncertain, never good; so is a field that is missing, unless null is listed.
"""

from __future__ import annotations

from typing import Any

from adapters.mqtt.payload_settings import QualityMap
from adapters.mqtt.payloads.document import MISSING
from pipelines import quality as q

LONGEST_UNIT = 50  # characters


class Status:
    """The words and their classes. 192, 192.0 and "192" are one word: senders change between them."""

    def __init__(self, settings: QualityMap) -> None:
        self._classes = {
            **{_word(word): q.BAD for word in settings.bad},
            **{_word(word): q.UNCERTAIN for word in settings.uncertain},
            **{_word(word): q.GOOD for word in settings.good},
        }

    def of(self, value: Any) -> int:
        return self._classes.get(_word(value), q.UNCERTAIN)


def _word(value: Any) -> str:
    if value is None or value is MISSING:
        return "\0missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    if isinstance(value, int) and abs(value) >= 2**63:
        return "\0number"
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else "\0other"


def unit_of(value: Any) -> str:
    """A unit as text; what is none leaves the configured one."""
    return value.strip()[:LONGEST_UNIT] if isinstance(value, str) else ""
