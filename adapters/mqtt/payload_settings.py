"""How the payload of a message is read: one model per payload type, chosen by `payload: {type: …}` or by the name alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adapters.mqtt.paths import parse_path
from adapters.settings import Strict

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "rfc3339"]


class JsonPayload(Strict):
    """A JSON document; each signal names the place of its value (`value: U.L1`)."""

    type: Literal["json"] = "json"
    time: str = Field("", description="Path of the time in the document; left out: the time of receipt")
    time_unit: TimeUnit = Field(
        "auto",
        description="Left out: texts are RFC 3339; numbers below 1e11 are s, below 1e14 ms, below 1e17 us, else ns",
    )

    @field_validator("time")
    @classmethod
    def _is_path(cls, time: str) -> str:
        parse_path(time)
        return time


class NumberPayload(Strict):
    """One decimal number as text, such as 21.5 or -3e-2."""

    type: Literal["number"] = "number"


class TextPayload(Strict):
    """One UTF-8 text."""

    type: Literal["text"] = "text"


class FlagPayload(Strict):
    """One truth value: true/false, on/off, yes/no, 1/0, in any case."""

    type: Literal["flag"] = "flag"


class ShdrPayload(Strict):
    """MTConnect SHDR lines: time|item|value|item|value…; conditions with six fields are recognised by themselves.

    SHDR has no types: an item is text unless `numbers` (patterns such as `*load`) or the signal's own `kind` says otherwise.
    """

    type: Literal["shdr"] = "shdr"
    numbers: Sequence[str] = Field((), description="Patterns (* and ?) of the items that are numbers")
    conditions: Sequence[str] = Field((), description="Conditions that stand among other items of a line")
    messages: Sequence[str] = Field((), description="Messages: item|native code|text")
    time_series: Sequence[str] = Field((), description="Time series: item|count|rate|values")


AnyPayload = Annotated[
    JsonPayload | NumberPayload | TextPayload | FlagPayload | ShdrPayload, Field(discriminator="type")
]

PayloadName = Literal["json", "number", "text", "flag", "shdr"]


def payload_by_name(payload: Any) -> Any:
    return {"type": payload} if isinstance(payload, str) else payload
