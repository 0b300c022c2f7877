"""What a configuration says about Sparkplug. Imports neither protobuf nor paho: settings are read by every command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from adapters.settings import Duration, Reading, ReadSettings, SourceSettings


class HostSettings(SourceSettings):
    """The part of an MQTT source that is about Sparkplug."""

    reorder: Duration = Field(
        2.0, ge=0, le=60, description="Sparkplug: how long a message waits for one before it that has not come yet"
    )  # fmt: skip
    rebirth: bool = Field(
        default=False,
        description="Sparkplug: ask a node for its births when they are needed (publishes NCMD, at most once per node in 30 s)",
    )
    primary_host: str = Field(
        "",
        max_length=200,
        pattern=r"^[^+#/\x00-\x1f]*$",
        description="Sparkplug: be the host of this id for which edges wait (publishes STATE, retained; the session is clean)",
    )
    aliases: Literal["strict", "trusting"] = Field(
        "strict",
        description="Sparkplug: strict sets values by alias aside while a missed birth may have given it another meaning; trusting "
        "reads them by the last birth that is known, for edges whose aliases never change",
    )
    sparkplug_namespace: str = Field(
        "spBv1.0",
        min_length=1,
        pattern=r"^[^+#\x00-\x1f]+$",
        description="First levels of Sparkplug topics; a bridge may put its own before",
    )

    def said_of_nodes(self, readings: Sequence[Reading]) -> Iterable[str]:
        """For `check`."""
        if self.rebirth:
            yield "rebirth: true publishes rebirth requests (NCMD) to the Sparkplug nodes that are read"
        if self.primary_host:
            yield from self._said_of_state(readings)
        if (
            not self.rebirth
            and self.aliases == "strict"
            and any(reading.read.sparkplug for reading in readings)
        ):
            yield (
                "rebirth is not allowed: after every new connection and every lost message Sparkplug values by alias are set aside "
                "until the edge's next birth; rebirth: true asks for it"
            )

    def _said_of_state(self, readings: Sequence[Reading]) -> Iterable[str]:
        yield (
            f"primary_host: {self.primary_host} publishes STATE (retained): edges that wait for this host stop while the collector is away"
        )
        if any(reading.read.topic for reading in readings):
            yield (
                "primary_host has a clean session, as Sparkplug asks: what comes on other topics while the collector is away is lost; "
                "read them by a source of their own"
            )


class NodeRead(ReadSettings):
    """The part of a read entry that names a node or device."""

    sparkplug: str = Field(
        "",
        description="In place of topic: group/node for the metrics of a Sparkplug B edge node itself, group/node/device for "
        "those of a device, group/node/+ for those of every device, which becomes a tag",
        examples=["plant/cell", "plant/cell/press"],
    )

    @field_validator("sparkplug")
    @classmethod
    def _is_place(cls, place: str) -> str:
        return check_place(place)

    @property
    def place(self) -> tuple[str, str, str]:
        """Of Sparkplug: group, node, device; device empty: the node itself."""
        group, node, *device = self.sparkplug.split("/")
        return group, node, device[0] if device else ""


def check_place(place: str) -> str:
    """As it was written. Raises ValueError: how it is written."""
    group, _, rest = place.partition("/")
    node, slash, device = rest.partition("/")
    well = all((group, node)) and bool(slash) == bool(device) and "/" not in device
    if place and (not well or set(group + node) & set("+#") or (device != "+" and set(device) & set("+#"))):
        raise ValueError(
            f"'{place}' is not group/node, group/node/device or group/node/+ (such as plant/cell/press)"
        )
    return place


def check_metrics(read: Any) -> None:
    """A Sparkplug entry and its signals. Raises ValueError."""
    if not read.signals and not read.signals_file and not read.adopt:
        raise ValueError(
            f"sparkplug '{read.sparkplug}': list its signals, or write adopt: true to take every metric"
        )
    if "payload" in read.model_fields_set:
        raise ValueError("sparkplug has its own payload: remove payload")
    for signal in read.signals:
        if signal.value or signal.item:
            raise ValueError(
                f"signal '{signal.name}': the metric's name stands in metric, not in value or item"
            )
