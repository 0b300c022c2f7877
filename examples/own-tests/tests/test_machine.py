"""The program under test beside a milling machine that works, breaks a tool, and loses its server."""

import asyncio
from pathlib import Path

import pytest

import collector
import config


def read(url: str) -> dict[str, object]:
    return asyncio.run(collector.read_machine(url))


def test_these_are_our_own_modules() -> None:
    here = Path(__file__).parent.parent
    assert Path(collector.__file__).parent == here
    assert Path(config.__file__).parent == here


def test_it_reads_what_the_machine_says(sim_cnc) -> None:
    sim_cnc.wait_for(state="cutting")
    sim_cnc.advance(5)
    values = read(sim_cnc.url)
    assert values["state"] == "ACTIVE"
    assert values["power"] == sim_cnc.values["spindle_power"]
    assert values["parts"] == 0


def test_time_passes_only_when_told(sim_cnc) -> None:
    before = read(sim_cnc.url)
    assert read(sim_cnc.url) == before
    sim_cnc.wait_for(until=lambda values: values["part_counter"] == 1)
    assert read(sim_cnc.url)["parts"] == 1


def test_a_broken_tool_is_an_alarm(sim_cnc) -> None:
    sim_cnc.wait_for(state="cutting")
    assert sim_cnc.inject("tool_break")
    assert not sim_cnc.inject("tool_break"), "it is broken already"
    sim_cnc.wait_for(state="alarm", within=600)
    sim_cnc.advance(1)
    assert read(sim_cnc.url)["alarm"] == "Tool broken"
    assert sim_cnc.alarms == {"ToolBroken"}
    faults = [(row["event"], row["fault"]) for row in sim_cnc.truth if row["kind"] == "fault"]
    assert faults == [("start", "tool_break")]


def test_an_order_is_written_and_made(sim_cnc) -> None:
    sim_cnc.set("job_order", "A-77")
    sim_cnc.set("job_quantity", 1)
    with pytest.raises(ValueError, match="must be between"):
        sim_cnc.set("feed_override", 400)
    sim_cnc.wait_for(state="idle", within=3600)
    assert sim_cnc.values["part_counter"] == 1
    written = [(row["by"], row["signal"], row["value"]) for row in sim_cnc.truth if row["kind"] == "written"]
    assert written == [("test", "job_order", "A-77"), ("test", "job_quantity", 1)]


def test_a_bad_sensor_has_no_value_and_the_truth_knows_it(sim_cnc) -> None:
    sim_cnc.inject("bad", signal="spindle_power")
    sim_cnc.advance(1)
    assert read(sim_cnc.url)["power"] is None
    assert any(row.get("quality") == "bad" and "true" in row for row in sim_cnc.truth)


def test_a_server_that_is_away(sim_cnc) -> None:
    sim_cnc.inject("refuse")
    with pytest.raises(OSError):
        read(sim_cnc.url)
    sim_cnc.reset()
    assert read(sim_cnc.url)["parts"] == 0


def test_any_machine_on_any_face(sim_workshop) -> None:
    workshop = sim_workshop("cnc", "robot=bot", "legacy", faces={"bot": "jsonl"})
    workshop.advance(20)
    assert workshop["bot"].url.startswith("file://")
    assert workshop["legacy-1"].url.startswith("mqtt://")
    with pytest.raises(AssertionError, match="did not come within 5 s"):
        workshop["bot"].wait_for(state="on_holiday", within=5)


def test_a_broker_of_the_tests_own(sim_broker) -> None:
    import paho.mqtt.client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    assert client.connect(sim_broker.host, sim_broker.port) == mqtt.MQTT_ERR_SUCCESS
    client.disconnect()
