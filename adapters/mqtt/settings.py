"""What one may ask of MQTT: a broker, the topics of a machine, and how their payloads are read.

Encrypted and verified is the default (`mqtts://`); plain text is chosen by name (`mqtt://`). Imports no paho.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from adapters.base import Bench, Source
from adapters.mqtt.broker_settings import BrokerAccess
from adapters.mqtt.paths import parse_path
from adapters.mqtt.payload_settings import AnyPayload, JsonPayload, PayloadName, payload_by_name
from adapters.mqtt.sparkplug.places import HostSettings, NodeRead, check_metrics
from adapters.mqtt.topics import Template, parse_template
from adapters.settings import (
    Duration,
    Reading,
    SignalSettings,
    Size,
)


class MqttSignal(SignalSettings):
    """One signal and where its value stands in the message."""

    value: str = Field(
        "", description="JSON: path of the value (U.L1, phases[0].U); left out: the whole document"
    )
    metric: str = Field(
        "", max_length=1000, description="Sparkplug: name of the metric (Spindle/Load); left out: the name"
    )
    item: str = Field(
        "", description="SHDR data item, or the {signal} segment of the topic; left out: the name"
    )

    @field_validator("value")
    @classmethod
    def _is_path(cls, value: str) -> str:
        parse_path(value)
        return value

    @property
    def address(self) -> str:
        """What the wire calls this signal, where the wire names signals."""
        return self.metric or self.item or self.name


class MqttRead(NodeRead):
    """Topics of one machine that are read in one way."""

    topic: str = Field(
        "",
        description="Topic filter; {machine} stands for the machine's id, {signal} names the signal, "
        "other {names} become tags, + is one segment, # the rest",
    )
    payload: Annotated[
        AnyPayload, BeforeValidator(payload_by_name, json_schema_input_type=AnyPayload | PayloadName)
    ] = JsonPayload()
    qos: Literal[0, 1] = 1
    signals: Sequence[MqttSignal] = ()
    adopt: bool = Field(
        default=False, description="Take every item of the payload, or every {signal} segment, as a signal"
    )

    @field_validator("qos", mode="before")
    @classmethod
    def _never_two(cls, qos: Any) -> Any:
        if qos == 2 and not isinstance(qos, bool):
            raise ValueError(
                "QoS 2 is not used: its second handshake is kept in memory only and loses messages at a crash. "
                "Use qos: 1; repeated messages are recognised and dropped"
            )
        return qos

    @field_validator("topic")
    @classmethod
    def _is_filter(cls, topic: str) -> str:
        if topic:
            parse_template(topic)
        return topic

    @property
    def template(self) -> Template:
        return parse_template(self.topic)

    def filters(self, machine: str, namespace: str) -> Sequence[str]:
        """What brings the messages of this entry, without a $share group. namespace: of Sparkplug."""
        if self.sparkplug:
            group, node, _ = self.place
            return (f"{namespace}/{group}/+/{node}/#",)
        template = replace(self.template.bound(machine=machine), share="")
        if "signal" not in template.names or self.adopt:
            return (template.filter,)
        return tuple(template.bound(signal=signal.address).filter for signal in self.signals)

    @model_validator(mode="after")
    def _signals_fit(self) -> MqttRead:
        if bool(self.topic) == bool(self.sparkplug):
            raise ValueError("an entry reads either a topic or a sparkplug node: write one of the two keys")
        if self.sparkplug:
            check_metrics(self)
        else:
            _check_signals(self)
        return self


def _check_signals(read: MqttRead) -> None:
    if any(signal.metric for signal in read.signals):
        raise ValueError("metric is for sparkplug entries; with topic, write value or item")
    named = "signal" in read.template.names
    kind = read.payload.type
    if not read.signals and not read.signals_file and not read.adopt:
        raise ValueError(f"topic '{read.topic}': list its signals, or write adopt: true to take all of them")
    if read.adopt and read.template.levels[0].startswith("$"):
        raise ValueError(
            f"topic '{read.topic}' is the broker's own ($SYS and the like): list its signals, it is never adopted"
        )
    if read.payload.names and named:
        raise ValueError(f"a {kind} payload names its signals itself: write + in place of {{signal}}")
    if read.payload.is_bare and not named:
        if len(read.signals) > 1:
            raise ValueError(
                f"a {kind} payload carries one value: list one signal, or put {{signal}} in the topic"
            )
        if read.adopt and not read.signals and not read.signals_file:
            raise ValueError("adopt needs names: put {signal} in the topic, or list the signal")
    for signal in read.signals:
        _check_signal(signal, read.payload, named)


def _check_signal(signal: MqttSignal, payload: AnyPayload, named: bool) -> None:
    if signal.value and payload.names and payload.has_paths:
        raise ValueError(
            f"signal '{signal.name}': the payload's own name and value paths find it; write item, not value"
        )
    if signal.value and not payload.has_paths:
        raise ValueError(f"signal '{signal.name}': a {payload.type} payload has no value paths; remove value")
    if signal.item and not payload.names and not named:
        raise ValueError(
            f"signal '{signal.name}': item is for payloads that name their signals and for topics with {{signal}}"
        )
    if named and set(signal.address) & set("/+#"):
        raise ValueError(f"signal '{signal.name}': a topic segment cannot contain / + or #; set item")


class MqttSource(BrokerAccess, HostSettings):
    """A broker, and the session that is kept there while the collector is away."""

    read_model = MqttRead
    type: Literal["mqtt"] = "mqtt"
    client_id: str = Field(
        "", max_length=200, description="Fixed and unique at the broker; left out: shopfloor-<source name>"
    )
    session_expiry: Duration = Field(7 * 86_400.0, ge=0, le=136 * 365 * 86_400.0)
    receive_maximum: int = Field(
        5000, ge=64, le=65_535, description="Most messages in flight and not yet acknowledged (MQTT 5)"
    )
    max_packet: Size = Field(1_000_000, ge=1_000, le=268_435_455)
    broker_statistics: bool = Field(
        default=True,
        description="Watch the broker's count of dropped messages ($SYS, mosquitto and others) and report a rise",
    )
    adopt_limit: int = Field(1000, ge=1, le=100_000, description="Most signals that adopt may add")

    def build(self, name: str, readings: Sequence[Reading], bench: Bench) -> Source:
        from adapters.mqtt.source import MqttBroker

        return MqttBroker(name, self, readings, bench)

    def review(self, readings: Sequence[Reading]) -> Sequence[str]:
        return tuple(_reviewed(self, readings))


def _reviewed(source: MqttSource, readings: Sequence[Reading]) -> Sequence[str]:
    said = source.doubts
    if not source.client_id:
        said.append(
            "client_id is left out and becomes shopfloor-<source name>: a second collector at this broker needs another one"
        )
    if source.session_expiry == 0:
        said.append("session_expiry: 0s means that the broker keeps nothing while the collector is away")
    said.extend(
        f"{reading.machine}: topic '{reading.read.topic}' is read with QoS 0: losses are not noticed"
        for reading in readings
        if reading.read.qos == 0 and reading.read.topic
    )
    said.extend(source.said_of_nodes(readings))
    return said
