"""Being configurable means being tested: every member of the catalogue has a suite, by construction."""

from __future__ import annotations

from adapters.catalogue import sink_types, source_types
from tests.contracts.sink import SinkContract
from tests.contracts.source import SourceContract
from tests.influxdb import test_contract as influxdb
from tests.mqtt import test_contract as mqtt
from tests.mqtt import test_republish_contract as republish
from tests.opcua import test_contract as opcua

SOURCES: dict[str, list[type[SourceContract]]] = {
    "opcua": [opcua.TestOpcUaSource],
    "mqtt": [mqtt.TestMqtt5, mqtt.TestMqtt311],
}
SINKS: dict[str, list[type[SinkContract]]] = {
    "influxdb": [influxdb.TestInfluxDbV1, influxdb.TestInfluxDbV2],
    "mqtt": [republish.TestMosquitto, republish.TestScripted],
}


def test_every_source_that_can_be_configured_passes_the_laws_of_a_source() -> None:
    assert set(SOURCES) == set(source_types())


def test_every_sink_that_can_be_configured_passes_the_laws_of_a_sink() -> None:
    assert set(SINKS) == set(sink_types())
