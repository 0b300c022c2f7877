"""What can be configured: adding an adapter is one folder and one line here.

Only settings are imported, never a protocol library, so that `check` and `--help` stay instant. A plain union and not an
entry-point scan: types are checked, the JSON Schema is complete, and the contract suites can assert that every member is tested.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import Field

from adapters.influxdb.settings import InfluxDbSink
from adapters.mqtt.republish_settings import MqttSink
from adapters.mqtt.settings import MqttSource
from adapters.opcua.settings import OpcUaSource
from adapters.settings import ReadSettings, SinkSettings, SourceSettings

AnySource = Annotated[OpcUaSource | MqttSource, Field(discriminator="type")]
AnySink = Annotated[InfluxDbSink | MqttSink, Field(discriminator="type")]


def source_types() -> dict[str, type[SourceSettings]]:
    """Every source that can be configured, by its `type`."""
    return {_type_of(model): model for model in _members(AnySource)}


def sink_types() -> dict[str, type[SinkSettings]]:
    """Every sink that can be configured, by its `type`."""
    return {_type_of(model): model for model in _members(AnySink)}


def read_models() -> tuple[type[ReadSettings], ...]:
    """The models of a machine's read entries, in the order of the sources."""
    return tuple(dict.fromkeys(model.read_model for model in source_types().values()))


def _members(union: Any) -> tuple[Any, ...]:
    annotated = get_args(union)[0]
    return get_args(annotated) or (annotated,)


def _type_of(model: Any) -> str:
    return str(get_args(model.model_fields["type"].annotation)[0])
