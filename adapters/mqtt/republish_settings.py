"""What one may ask of the sink that publishes: a broker, where each signal goes, and what stays there for newcomers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from adapters.base import Bench, Sink
from adapters.mqtt.broker_settings import BrokerAccess
from adapters.mqtt.republish_topics import META, levels_of, meet
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.topics import Template, parse_template
from adapters.settings import Reading, SinkSettings, Size, SourceSettings

ISA95 = "{enterprise}/{site}/{area}/{line}/{machine}/{signal}"
OWN_MACHINE = (
    "collector"  # what the collector says of itself is published like any machine, without a location
)
MOST_PLACES = 64


class MqttSink(BrokerAccess, SinkSettings):
    """A broker to which the refined values are published, each under a topic that says where it comes from."""

    session_expiry: ClassVar[float] = 0.0
    receive_maximum: ClassVar[int] = 100

    type: Literal["mqtt"]
    topic: str = Field(
        ISA95,
        description="Where a value goes: {machine}, {signal} and the names of tags ({enterprise}, {site}, …) stand for one segment "
        "each; what a machine does not have is left out. Without {signal}: one message per machine with all its values",
    )
    time: Literal["rfc3339", "ns", "ms"] = Field("rfc3339", description="How t is written; ms loses digits")
    retain: bool = Field(default=False, description="The broker keeps the last value of every topic")
    metadata: bool = Field(
        default=True, description="Unit, kind and tags of every signal, retained, beneath its topic (/_meta)"
    )
    client_id: str = Field(
        "",
        max_length=200,
        description="Left out: another one at each connection, since nothing is kept there",
    )
    in_flight: int = Field(100, ge=1, le=1000, description="Most messages sent and not yet confirmed")
    max_packet: Size = Field(1_000_000, ge=1_000, le=268_435_455)

    @field_validator("topic")
    @classmethod
    def _is_topic(cls, topic: str) -> str:
        template = parse_template(topic)
        if template.share or set(template.levels) & {"+", "#"} or topic.startswith("$"):
            raise ValueError(
                f"topic '{topic}': values are published to one topic each: no +, # or $ (write {{names}})"
            )
        if "machine" not in template.names:
            raise ValueError(f"topic '{topic}' needs {{machine}}, or the values of all machines would mix")
        return topic

    @property
    def template(self) -> Template:
        return parse_template(self.topic)

    def build(self, bench: Bench) -> Sink:
        from adapters.mqtt.republish import MqttPublisher

        return MqttPublisher(self, bench)

    def review(self) -> Sequence[str]:
        return tuple(self.doubts)

    def clashes(self, sources: Mapping[str, tuple[SourceSettings, Sequence[Reading]]]) -> Sequence[str]:
        """A collector that reads what it publishes would publish it again, for ever."""
        readings = [reading for _, all_of_it in sources.values() for reading in all_of_it]
        machines = {reading.machine: reading.tags for reading in readings} | {OWN_MACHINE: {}}
        out: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for place in (place for machine, tags in machines.items() for place in self._places(machine, tags)):
            out[place[0]].append(place)
        return [
            f"{name} reads {found} at this broker, which is where this sink publishes: every value would go round for ever"
            for name, (source, wanted) in sources.items()
            if isinstance(source, MqttSource) and source.place == self.place
            for found in [_read_again(source, wanted, out)]
            if found
        ]

    def _places(self, machine: str, tags: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """Filters of all that is published for a machine. Tags that only topics know may be there or not."""
        known = {"machine": machine, "signal": None, **tags}
        levels = self.template.levels
        choices = [levels_of(level, known) for level in levels]
        for n, chosen in enumerate(product(*choices)):
            if n == MOST_PLACES:
                yield ("#",)
                return
            topic = tuple(level for level in chosen if level)
            yield topic
            if self.metadata:
                yield (*topic, META)
                yield (*topic, META, "+")


def _read_again(
    source: MqttSource, readings: Sequence[Reading], out: Mapping[str, Sequence[tuple[str, ...]]]
) -> str:
    """The first filter of this source that brings what is published; empty if none does. out: by their first level."""
    for reading in readings:
        for wanted in reading.read.filters(reading.machine, source.sparkplug_namespace):
            levels = tuple(wanted.split("/"))
            near = out if levels[0] in ("+", "#") else (levels[0], "+", "#")
            if any(meet(levels, place) for first in near for place in out.get(first, ())):
                return str(wanted)
    return ""
