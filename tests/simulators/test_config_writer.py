"""The configuration for the collector, read back by a YAML library that did not write it."""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from simulators.config_writer import configuration
from simulators.machines import kind
from simulators.model import Model

ENDPOINTS = {
    "cnc-1": "opc.tcp://127.0.0.1:4840/",
    "my-id": "opc.tcp://127.0.0.1:4841/",
    "mqtt": "mqtt://127.0.0.1:1883",
}


def written() -> tuple[list[Model], dict[str, Any]]:
    names = (("cnc", "cnc-1"), ("cnc", "my-id"), ("energy", "energy-1"), ("compressor", "compressor-1"))
    models = [kind(name)(machine, 1) for name, machine in names]
    return models, YAML(typ="safe").load(StringIO(configuration(models, ENDPOINTS)))


def test_every_signal_is_named_once() -> None:
    models, config = written()
    for model, machine in zip(models, config["machines"], strict=True):
        assert machine["id"] == model.machine
        named = [signal["name"] for part in machine["read"] for signal in part["signals"]]
        assert sorted(named) == sorted(signal.name for signal in model.signals)


def test_sources() -> None:
    _, config = written()
    assert config["version"] == 1
    assert config["location"] == {"enterprise": "demo", "site": "lab", "area": "hall-1"}
    assert config["sources"] == {
        "cnc-1": {"type": "opcua", "url": "opc.tcp://127.0.0.1:4840/", "security": "none"},
        "my-id": {"type": "opcua", "url": "opc.tcp://127.0.0.1:4841/", "security": "none"},
        "broker": {
            "type": "mqtt",
            "url": "mqtt://127.0.0.1:1883",
            "version": "auto",
            "client_id": "shopfloor-demo",
        },
    }


def test_an_opcua_signal() -> None:
    _, config = written()
    read = config["machines"][1]["read"]
    assert [part["source"] for part in read] == ["my-id"]
    load = next(s for s in read[0]["signals"] if s["name"] == "spindle_load")
    node = "nsu=urn:shopfloor:sim:cnc;s=Spindle.Load"
    assert load == {"name": "spindle_load", "node": node, "unit": "%", "every": "100ms"}


def test_mqtt_payloads() -> None:
    _, config = written()
    read = {part["topic"]: part for machine in config["machines"][2:] for part in machine["read"]}
    json = {"type": "json", "time": "ts", "time_unit": "ms"}
    assert read["shop/energy-1/energy"]["payload"] == json
    fields = {s["name"]: s for s in read["shop/energy-1/energy"]["signals"]}
    assert fields["active_power"] == {"name": "active_power", "value": "P_total", "unit": "W"}
    assert fields["voltage_l1"] == {"name": "voltage_l1", "value": "U.L1", "unit": "V"}
    pressure = {"name": "pressure", "value": "value", "unit": "bar"}
    assert read["shop/compressor-1/pressure"] == {
        "source": "broker", "topic": "shop/compressor-1/pressure", "payload": json, "signals": [pressure],
    }  # fmt: skip
    assert read["shop/compressor-1/mode"]["payload"] == {"type": "text"}
    assert read["shop/compressor-1/mode"]["signals"] == [{"name": "mode"}]
    assert read["shop/compressor-1/dew_point"]["payload"] == {"type": "number"}
    assert read["shop/compressor-1/dew_point"]["signals"] == [{"name": "dew_point", "unit": "CEL"}]
    assert read["shop/compressor-1/loaded"]["signals"][0]["kind"] == "flag"
    assert read["shop/compressor-1/load_cycles"]["signals"][0]["kind"] == "integer"


def test_beside_another_configuration() -> None:
    models, _ = written()
    text = configuration(models, ENDPOINTS, beside=True)
    config = YAML(typ="safe").load(StringIO(text))
    assert "location" not in config
    assert set(config["sources"]) == {"cnc-1", "my-id", "sim-broker"}
    assert {machine["tags"]["simulated"] for machine in config["machines"]} == {"yes"}
    read = {part["source"] for machine in config["machines"] for part in machine["read"]}
    assert read == set(config["sources"])
