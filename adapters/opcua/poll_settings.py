"""How often a signal is looked at, by whom, and when it is read again: what a subscription and polling have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from adapters.settings import Duration, Reading, SignalSettings

_FASTEST, _SLOWEST = 0.01, 1.0  # s

Mode = Literal["subscribe", "poll"]


class LookedAt(SignalSettings):
    """A signal with an interval."""

    every: Duration = Field(0.25, description="How often the server looks at the value (sampling interval)")
    mode: Mode | None = Field(
        None,
        description="poll: read it every `every`, where the server monitors badly; left out: as the source",
    )
    heartbeat: Duration | None = Field(
        None,
        description="Read again after so long without a change, so that an old value is seen to be true",
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> LookedAt:
        if self.mode == "poll" and self.every < _FASTEST:
            raise ValueError(f"mode: poll reads every `every`: {_FASTEST * 1000:g} ms at least")
        if self.heartbeat is not None and self.heartbeat < _SLOWEST:
            raise ValueError(f"a heartbeat is for values that stand for long: {_SLOWEST:g} s at least")
        if self.heartbeat is not None and getattr(self, "array", "") == "elements":
            raise ValueError("a heartbeat is for single values, not for array: elements")
        return self

    @property
    def polled(self) -> bool:
        return self.mode == "poll"


def in_mode(reading: Reading, mode: Mode) -> Reading:
    """Its signals as the source says, where they do not say themselves."""
    if mode == "subscribe":
        return reading
    signals: Sequence[Any] = getattr(reading.read, "signals", ())
    told = [signal.model_copy(update={"mode": signal.mode or mode}) for signal in signals]
    return reading.model_copy(update={"read": reading.read.model_copy(update={"signals": told})})
