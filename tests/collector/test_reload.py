"""A configuration that changes while the collector runs: all of it or nothing, and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collector import facts, reload
from collector.configured import changes, hash_of
from collector.journal.reader import JournalReader
from config.load import load
from tests.collector.floor import PATIENCE, Floor, influx, machine, number, opcua, plc, row, state
from tests.config.samples import GOOD, SAMPLES
from tests.fakes import eventually
from tests.influxdb.fake import Fake, fake, refusal
from tests.mqtt.peers import Mosquitto, Publisher
from tests.opcua.scripted import Refuse, ScriptedServer, codes

T0 = 1_790_000_000_000_000_000


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that stands still for a while makes no peer absent; where one is, it says so at once."""
    for limit in (
        "collector.reload.PROBE_PATIENCE",
        "collector.reload.COMING_UP",
        "collector.reload.FAREWELL",
        "adapters.mqtt.dial.PATIENCE",
    ):
        monkeypatch.setattr(limit, PATIENCE)


@pytest.fixture
async def left() -> AsyncIterator[ScriptedServer]:
    server = plc()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def right() -> AsyncIterator[ScriptedServer]:
    server = plc()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def database() -> AsyncIterator[Fake]:
    async with fake() as server:
        yield server


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    made = Mosquitto(tmp_path / "broker")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def floor(tmp_path: Path, left: ScriptedServer, right: ScriptedServer) -> Floor:
    """Two machines on two servers."""
    made = Floor(tmp_path)
    made.config["sources"] = {"left": opcua(left), "right": opcua(right)}
    made.config["machines"] = [machine("press", "left", "a"), machine("mill", "right", "a", "b")]
    made.write()
    return made


def sessions(server: ScriptedServer) -> int:
    """How often somebody began a session there and a subscription in it, probes left out."""
    return server.record.count("CreateSubscription")


async def test_nothing_changed(floor: Floor) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        outcome = await floor.reload()
        assert outcome["outcome"] == "unchanged"
        assert outcome["untouched"] == ["left", "right"]
        assert outcome["config"] == before["config"]


async def test_a_new_signal_restarts_its_source_and_no_other(
    floor: Floor, left: ScriptedServer, right: ScriptedServer
) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        began = sessions(right)
        floor.config["machines"][0] = machine("press", "left", "a", "b")
        outcome = await floor.reload()
        assert (outcome["outcome"], outcome["restarted"], outcome["untouched"]) == (
            "applied",
            ["left"],
            ["right"],
        )
        left.emit("b", number(5.0, T0))
        after = await floor.until(
            "the new signal arrives",
            lambda books: row(books, "left")["decoded"] >= row(before, "left")["decoded"] + 2,
        )
        assert state(after, "left") == "connected"
        assert sessions(right) == began
        assert row(after, "right")["since"] == row(before, "right")["since"]
        assert len(right.connections) == 1
        assert after["config"]["hash"] != before["config"]["hash"]
        assert after["unaccounted"] == 0


async def test_a_changed_treatment_of_one_signal_restarts_only_its_source(
    floor: Floor, right: ScriptedServer
) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        began = sessions(right)
        floor.config["machines"][0] = machine("press", "left", "a", deadband=2.5)
        assert (await floor.reload())["restarted"] == ["left"]
        assert row(await floor.status(), "right")["since"] == row(before, "right")["since"]
        assert sessions(right) == began


async def test_another_label_is_what_people_read_from_then_on(floor: Floor, left: ScriptedServer) -> None:
    """The configuration's word wins, and when it goes the machine's own is back; in the books nothing has changed."""
    left.variables["a"].display_name = "Druk"

    async def label() -> str:
        rows = (await floor.ask("status", signals=True))["signals"]
        return next(
            (str(row["label"]) for row in rows if (row["machine"], row["signal"]) == ("press", "a")), ""
        )

    async with floor.at_work():
        await floor.connected("left", "right")
        for given, wanted in (({}, "Druk"), ({"label": "Perskracht"}, "Perskracht"), ({}, "Druk")):
            floor.config["machines"][0] = machine("press", "left", "a", **given)
            await floor.reload()
            async with asyncio.timeout(PATIENCE):
                while await label() != wanted:
                    await asyncio.sleep(0.02)
        assert (await floor.status())["unaccounted"] == 0
        assert "signals" not in await floor.status(), "only who asks for them gets them"


async def test_a_removed_machine_is_gone_and_said_to_be(
    floor: Floor, left: ScriptedServer, right: ScriptedServer
) -> None:
    async with floor.at_work():
        await floor.connected("left", "right")
        del floor.config["machines"][0]
        outcome = await floor.reload()
        assert outcome["stopped"] == ["left"]
        await eventually(lambda: left.connections == [])
        assert "CloseSession" in left.record.requests[-3:]
        assert state(await floor.status(), "left") in ("None", "absent")  # its books stay, its state is gone
        assert len(right.connections) == 1


async def test_a_wrong_address_is_rolled_back_and_the_old_session_was_never_closed(
    floor: Floor, left: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        began = sessions(left)
        floor.config["sources"]["left"]["url"] = "opc.tcp://127.0.0.1:9"
        outcome = await floor.reload()
        assert (outcome["outcome"], outcome["by_peer"]) == ("rejected", True)
        assert "left" in outcome["problems"][0]["where"]
        after = await floor.status()
        assert after["config"]["hash"] == before["config"]["hash"]
        assert after["config"]["rejected"] == outcome["problems"]
        assert row(after, "left")["since"] == row(before, "left")["since"]
        assert sessions(left) == began
        await floor.reload()
        assert caplog.text.count("the old one goes on") == 1  # told once, and rejected twice


async def test_what_passes_the_probe_and_does_not_come_up_is_undone(
    floor: Floor, left: ScriptedServer
) -> None:
    """The server answers the probe and refuses the subscription: the old source is at work again afterwards."""
    async with floor.at_work():
        before = await floor.connected("left", "right")
        floor.config["machines"][0] = machine("press", "left", "a", "b")
        full = Refuse("CreateSubscription", code=codes.TOO_MANY_SUBSCRIPTIONS)
        left.scripts.append(full)
        outcome = await floor.reload()
        left.scripts.remove(full)
        assert (outcome["outcome"], outcome["by_peer"]) == ("rejected", True), outcome
        assert outcome["problems"][0]["where"] == "left"
        after = await floor.connected("left", "right")
        assert after["config"]["hash"] == before["config"]["hash"]
        assert {item.node for item in left.subscriptions[-1].items.values()} == {"a"}
        decoded = row(after, "left")["decoded"]
        left.emit("a", number(7.0, T0))
        await floor.until("the old one reads again", lambda books: row(books, "left")["decoded"] > decoded)


async def test_without_a_probe_an_absent_machine_is_applied(floor: Floor) -> None:
    async with floor.at_work():
        await floor.connected("left", "right")
        floor.config["sources"]["third"] = {
            "type": "opcua",
            "url": "opc.tcp://127.0.0.1:9",
            "security": "none",
        }
        floor.config["machines"].append(machine("saw", "third", "a"))
        assert (await floor.reload(probe=False))["started"] == ["third"]
        await floor.until("it is tried", lambda books: state(books, "third") == "waiting")


async def test_a_new_sink_gets_what_comes_and_a_removed_one_is_let_go(
    floor: Floor, left: ScriptedServer, database: Fake
) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        floor.config["sinks"] = [influx(database.url)]
        outcome = await floor.reload()
        assert (outcome["outcome"], outcome["started"]) == ("applied", ["influxdb"]), outcome
        left.emit("a", number(41.5, T0))
        found = await floor.until("the new sink stores it", lambda books: any(
            fields.get("a") == 41.5 for fields in database.points.values()
        ))  # fmt: skip
        assert row(found, "left")["since"] == row(before, "left")["since"]
        database.rule = lambda *_: refusal(503, "down")
        left.emit("a", number(42.5, T0 + 100))
        await floor.until("it is behind", lambda books: row(books, "influxdb")["pending"] > 0)
        floor.config["sinks"] = []
        outcome = await floor.reload()
        assert outcome["stopped"] == ["influxdb"]
        assert any("not stored yet" in problem["message"] for problem in outcome["problems"])
        after = await floor.status()
        assert {sink["name"] for sink in after["sinks"]} == {"history"}
        assert after["unaccounted"] == 0
    with JournalReader(floor.state / "buffer.sqlite") as reader:
        (gap,) = [one.gap for one in reader.gaps() if one.gap.reason == "sink_released"]
    assert gap.count
    assert "influxdb" in gap.detail


async def test_parts_that_need_a_restart_are_named_and_not_applied(floor: Floor) -> None:
    async with floor.at_work():
        before = await floor.connected("left", "right")
        floor.config |= {"buffer": {"max": "1GB"}, "history": "off"}
        floor.config["machines"][0] = machine("press", "left", "a", "c")
        outcome = await floor.reload()
        assert (outcome["outcome"], outcome["needs_restart"]) == ("applied", ["history", "buffer"])
        assert outcome["restarted"] == ["left"]
        after = await floor.connected("left", "right")
        assert after["config"]["needs_restart"] == ["history", "buffer"]
        assert row(after, "history")["since"] == row(before, "history")["since"]


async def test_the_old_mapping_stays_with_the_backlog(
    floor: Floor, left: ScriptedServer, database: Fake
) -> None:
    """C2: what waited for the database when unit and tags changed is stored as it was read, not as it would be read now."""
    database.rule = lambda *_: refusal(503, "down")
    floor.config["sinks"] = [influx(database.url)]
    floor.config["machines"][0] = machine("press", "left", "a") | {"tags": {"hall": "one"}}
    floor.write()
    async with floor.at_work():
        decoded = row(await floor.connected("left"), "left")["decoded"]
        left.emit("a", number(1.5, T0))
        await floor.until("it waits", lambda books: row(books, "left")["journaled"] > max(decoded, 1))
        floor.config["machines"][0] = machine("press", "left", "a", scale=10.0) | {"tags": {"hall": "two"}}
        assert (await floor.reload())["restarted"] == ["left"]
        left.emit("a", number(2.5, T0 + 1_000_000_000))
        await asyncio.sleep(0)
        database.rule = lambda *_: None
        await floor.until("all of it is stored", lambda books: row(books, "influxdb")["pending"] == 0 and any(
            fields.get("a") == 25.0 for fields in database.points.values()
        ))  # fmt: skip
    stored = {
        (dict(tags).get("hall"), at): fields["a"]
        for (_, tags, at), fields in database.points.items()
        if "a" in fields
    }
    assert stored["one", T0] == 1.5
    assert stored["two", T0 + 1_000_000_000] == 25.0


async def test_bad_configurations_leave_the_good_one_at_work(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: every wrong configuration of the collection, offered to a running collector: clear words, nothing applied."""
    monkeypatch.setenv("TOKEN", "t")
    assert len(SAMPLES) >= 50
    async with floor.at_work():
        before = await floor.connected("left", "right")
        for sample in SAMPLES:
            floor.write(GOOD.replace(sample.old, sample.new, 1))
            outcome = await floor.ask("reload")
            said = [problem["message"] for problem in outcome["problems"]]
            assert outcome["outcome"] == "rejected", sample.name
            assert any(sample.says in message for message in said), (sample.name, said)
            assert all(problem["where"].startswith(str(floor.file)) for problem in outcome["problems"])
            assert outcome["config"]["hash"] == before["config"]["hash"]
        after = await floor.status()
        assert after["config"]["rejected"] == outcome["problems"]
        for name in ("left", "right", "history"):
            assert row(after, name)["since"] == row(before, name)["since"]


async def test_a_good_file_ends_the_rejection(floor: Floor) -> None:
    async with floor.at_work():
        await floor.connected("left", "right")
        good = floor.file.read_text()
        floor.write("version: 1\nsources: {")
        assert (await floor.ask("reload"))["outcome"] == "rejected"
        floor.write(good)
        assert (await floor.ask("reload"))["outcome"] == "unchanged"
        assert (await floor.status())["config"]["rejected"] == []


async def test_a_changed_password_restarts_its_source_and_shows_nowhere(
    floor: Floor, broker: Mosquitto, left: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "collector")
    mqtt = {
        "type": "mqtt",
        "url": f"mqtt://127.0.0.1:{broker.port}",
        "username": "u",
        "password": "first-secret",
    }
    floor.config["sources"]["hall"] = mqtt
    reads = [{"source": "hall", "topic": "hall/power", "payload": "number", "signals": [{"name": "power"}]}]
    floor.config["machines"].append({"id": "meter", "read": reads})
    floor.write()
    async with floor.at_work():
        await floor.connected("left", "right", "hall")
        began = sessions(left)
        mqtt["password"] = "second-secret"
        outcome = await floor.reload()
        assert (outcome["restarted"], outcome["untouched"]) == (["hall"], ["left", "right"]), outcome
        assert sessions(left) == began
        told = str(outcome) + str(await floor.status()) + caplog.text
        assert "first-secret" not in told
        assert "second-secret" not in told


async def test_a_topic_that_left_is_unsubscribed_and_a_source_that_left_is_forgotten_by_the_broker(
    floor: Floor, broker: Mosquitto, tmp_path: Path
) -> None:
    def reads(*topics: str) -> dict[str, object]:
        entries = [
            {"source": "hall", "topic": f"hall/{t}", "payload": "number", "signals": [{"name": t}]}
            for t in topics
        ]
        return {"id": "meter", "read": entries}

    floor.config["sources"]["hall"] = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}"}
    floor.config["machines"].append(reads("power", "heat"))
    floor.write()
    log = tmp_path / "broker" / "broker.log"
    publisher = Publisher(broker.port)
    try:
        async with floor.at_work():
            await floor.connected("hall")
            floor.config["machines"][-1] = reads("power")
            assert (await floor.reload())["restarted"] == ["hall"]
            decoded = row(await floor.status(), "hall")["decoded"]
            await publisher.send(("hall/heat", "1"), ("hall/power", "2"))
            found = await floor.until("power arrives", lambda books: row(books, "hall")["decoded"] > decoded)
            assert row(found, "hall")["decoded"] == decoded + 1
            await eventually(lambda: "Received UNSUBSCRIBE from shopfloor-hall" in log.read_text())
            floor.config["machines"].pop()
            del floor.config["sources"]["hall"]
            assert (await floor.reload())["stopped"] == ["hall"]
        assert not (await kept_by(broker, "shopfloor-hall"))
    finally:
        publisher.close()


async def kept_by(broker: Mosquitto, client_id: str) -> bool:
    """Whether the broker has a session under this name, asked in its own words: a CONNECT that wants to continue it."""
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)

    def connected(_client: Any, _user: Any, flags: Any, _code: Any, _properties: Any) -> None:
        loop.call_soon_threadsafe(answered.set_result, bool(flags.session_present))

    client.on_connect = connected
    client.connect("127.0.0.1", broker.port, clean_start=False)
    client.loop_start()
    try:
        return await asyncio.wait_for(answered, PATIENCE)
    finally:
        client.disconnect()
        client.loop_stop()


async def test_watching_applies_what_was_saved_and_not_what_is_half_saved(
    floor: Floor, left: ScriptedServer
) -> None:
    async with floor.at_work(watch=True):
        before = await floor.connected("left", "right")
        floor.config["machines"][0] = machine("press", "left", "a", "c")
        floor.write()
        changed = await floor.until(
            "it is applied", lambda b: b["config"]["hash"] != before["config"]["hash"]
        )
        floor.write("version: 1\nsources: [")
        await floor.until("it is rejected", lambda books: books["config"]["rejected"])
        broken = await floor.connected("left")
        assert broken["config"]["hash"] == changed["config"]["hash"]
        assert broken["config"]["rejected"]


async def test_the_clock_of_an_untouched_machine_is_told_of_as_before(
    floor: Floor, right: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload made new ears for every source, and those of the untouched ones heard nothing ever again."""
    monkeypatch.setattr(facts, "CONDITION_EVERY", 0.05)
    monkeypatch.setattr(facts, "LOOK_EVERY", 0.05)
    async with floor.at_work():
        await floor.connected("left", "right")
        floor.config["machines"][0] = machine("press", "left", "a", "b")
        assert (await floor.reload())["untouched"] == ["right"]
        late = time.time_ns() // 10**9 * 10**9 - 1000 * 10**9
        async with asyncio.timeout(PATIENCE):
            while not any(999.0 < seconds < 1100.0 for seconds in own_values(floor, "skew.right")):
                late += 1000
                right.emit(
                    "a", number(7.0, late)
                )  # again and again: the first ones may share a median with others
                await asyncio.sleep(0.1)


def own_values(floor: Floor, signal: str) -> list[float]:
    """What the collector has said of itself."""
    with JournalReader(floor.state / "buffer.sqlite") as reader:
        batches = [entry.batch for entry in reader.entries()]
        ids = {n for n, point in enumerate(reader.registry.since(0)) if point.name == signal}
    return [
        float(value)
        for batch in batches
        for point, value in zip(batch.points.tolist(), batch.values.tolist(), strict=True)
        if point in ids
    ]


async def test_told_to_stop_in_the_middle_of_a_reload(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes the connection and says nothing: its probe takes 15 s (here an hour), and nobody waits for that."""
    monkeypatch.setattr(reload, "PROBE_PATIENCE", 3_600.0)
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    deaf = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"opc.tcp://127.0.0.1:{deaf.sockets[0].getsockname()[1]}"
    floor.config["sources"]["deaf"] = {"type": "opcua", "url": url, "security": "none"}
    floor.config["machines"].append(machine("saw", "deaf", "a"))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks, deaf, floor.at_work() as stop:
        await floor.connected("left", "right")
        reloading = tasks.create_task(floor.reload())
        await asked.wait()
        stop.set()
    (problem,) = reloading.result()["problems"]
    assert "being stopped" in problem["message"]


def test_the_comparison_knows_what_changed(tmp_path: Path) -> None:
    def settings(text: str) -> object:
        (tmp_path / "c.yaml").write_text(text)
        found = load([tmp_path / "c.yaml"], env={"TOKEN": "t"})
        assert found.settings is not None, found.problems
        return found.settings

    old, new = (
        settings(GOOD),
        settings(GOOD.replace('unit: "%"', 'unit: "%", deadband: 1').replace("bucket: b", "bucket: c")),
    )
    found = changes(old, new)  # type: ignore[arg-type]
    assert (found.sources.changed, found.sources.same) == (("plc",), ("broker",))
    assert (found.sinks.changed, found.needs_restart) == (("influxdb",), ())
    assert hash_of(old) != hash_of(new)  # type: ignore[arg-type]
    secret = settings(GOOD.replace("${env:TOKEN}", "another"))
    assert changes(old, secret).sinks.changed == ("influxdb",)  # type: ignore[arg-type]
    assert hash_of(secret) == hash_of(old)  # type: ignore[arg-type]
