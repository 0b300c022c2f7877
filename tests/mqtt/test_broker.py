"""The session against real brokers: what the laws do not ask for every source."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapters.errors import Misconfigured, NotConnected
from adapters.mqtt import connection, probe
from pipelines.batch import Flag, Kind
from tests.contracts.rig import eventually
from tests.mqtt.conftest import Later
from tests.mqtt.peers import NUMBERS, Mosquitto, Publisher, Shop, amqtt, parted, password_file
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.taking import cells, last_checkpoint, mosquitto, send, take, take_until, tick
from tests.servers import free_port

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@VERSIONS
async def test_a_redelivery_keeps_the_time_of_its_first_receipt(broker: Mosquitto, version: str) -> None:
    shop = Shop(broker.port)
    async with shop.source(NUMBERS, version=version).session(None) as session:
        await take(session, 0)
        await send(broker.port, ("shop/m1/a", "1"), ("shop/m1/b", "2"), ("shop/m1/a", "1"))
        first = await take(session, 3, acking=False)  # journaled, but the acknowledgement is never sent
    async with shop.source(NUMBERS, version=version).session(last_checkpoint(first)) as session:
        again = await take(session, 3)
    assert cells(again) == cells(first)
    async with shop.source(NUMBERS, version=version).session(None) as session:
        await send(broker.port, ("shop/m1/a", "1"))
        assert cells(await take(session, 1)) != cells(first)[:1], (
            "a new message of the same text is a new value"
        )


@VERSIONS
async def test_what_comes_while_the_collector_is_away_is_kept(broker: Mosquitto, version: str) -> None:
    shop = Shop(broker.port)
    async with shop.source(NUMBERS, version=version).session(None) as session:
        checkpoint = (await anext(aiter(session))).checkpoint
    await send(broker.port, *[("shop/m1/a", str(n)) for n in range(200)])
    async with shop.source(NUMBERS, version=version).session(checkpoint) as session:
        assert session.facts["session"] == "continued"
        taken = await take(session, 200)
    assert [value for _, _, value in cells(taken)] == [float(n) for n in range(200)]
    assert not [gap for delivery in taken for gap in delivery.gaps]


async def test_a_broker_that_restarts_loses_nothing_that_it_kept(broker: Mosquitto) -> None:
    shop = Shop(broker.port)
    async with shop.source(NUMBERS).session(None) as session:
        await take(session, 0)
        await send(broker.port, ("shop/m1/a", "1"))
        before = await take(session, 1)
        await send(broker.port, ("shop/m1/a", "2"))
        await broker.stop()
        with pytest.raises(NotConnected):
            before += await take(session, 2)  # what was received comes first, then the loss
    await broker.start()
    await send(broker.port, ("shop/m1/a", "3"))
    async with shop.source(NUMBERS).session(last_checkpoint(before)) as session:
        await take_until(session, lambda taken: {2.0, 3.0} <= {value for _, _, value in cells(taken)})


async def test_a_session_that_the_broker_forgot_is_a_gap(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, persistence=False) as broker:
        shop = Shop(broker.port)
        async with shop.source(NUMBERS).session(None) as session:
            first = await anext(aiter(session))
            assert first.gaps == ()
            await send(broker.port, ("shop/m1/a", "1"))
            taken = await take(session, 1)
        await broker.stop()
        await broker.start()
        async with shop.source(NUMBERS).session(last_checkpoint(taken)) as session:
            (gap,) = (await anext(aiter(session))).gaps
    assert gap.reason == "session_not_present"
    assert gap.begins == cells(taken)[0][1] < gap.ends


@VERSIONS
async def test_reading_stops_at_the_bound_and_pings_go_on(tmp_path: Path, later: Later, version: str) -> None:
    async with (
        mosquitto(tmp_path, "max_queued_messages 0") as broker,
        (
            source := Shop(broker.port).source(
                {**NUMBERS, "qos": 0}, version=version, receive_maximum=64, keep_alive="60s"
            )
        ).session(None) as session,
    ):
        assert not session.redelivers
        await anext(aiter(session))
        sender = Publisher(broker.port)
        flood = [("shop/m1/a", "1" + "0" * 500) for _ in range(2000)]
        await sender.send(*flood, qos=0)
        first = await take(session, 1, acking=False)
        log, said = broker.folder / "broker.log", "Received PINGREQ from shopfloor-b"
        before = log.read_text().count(said)
        for n in range(1, 4):
            later(60.0)
            tick(session)
            await eventually(
                lambda n=n: log.read_text().count(said) == before + n,  # type: ignore[misc]
                "a ping of a reader that stands, once in a keep-alive",
            )
        held = first + await take(session, 0)
        assert sum(delivery.decoded for delivery in held) < 1000, "the socket was read beyond the bound"
        for delivery in held:
            await delivery.ack()
        await sender.send(("shop/m1/last", "1"), qos=0)
        while not any(
            "last" in str(point)
            for point in [source._bench.registry[n].name for n in range(source._bench.registry.version)]
        ):
            await take(session, 1)
        sender.close()


async def test_pressing_is_set_at_half_the_window(broker: Mosquitto) -> None:
    source = Shop(broker.port).source(NUMBERS, version="3.1.1")
    async with source.session(None) as session:
        await anext(aiter(session))
        await send(broker.port, ("shop/m1/a", "1"))
        first = (await take(session, 1, acking=False))[-1]  # before it, maybe, what the broker says of itself
        assert first.pressing is not None
        assert not first.pressing.is_set()
        sender = Publisher(broker.port)
        sending = [sender.client.publish("shop/m1/a", "1", 1) for _ in range(30)]
        await asyncio.wait_for(first.pressing.wait(), 60)
        await first.ack()
        await take(session, 30)
        await eventually(lambda: not first.pressing.is_set(), "the pressure is gone")  # type: ignore[union-attr]
        await eventually(lambda: all(info.is_published() for info in sending), "the broker has them all")
        sender.close()


async def test_garbage_goes_to_quarantine_and_the_stream_goes_on(broker: Mosquitto) -> None:
    source = Shop(broker.port).source({"topic": "m/+", "payload": "number", "signals": [{"name": "x"}]})
    async with source.session(None) as session:
        await take(session, 0)
        await send(broker.port, ("m/ä", "1,5"), ("m/b", b"\xff\x00"), ("m/c", "3"))
        taken = await take(session, 3)
    refused = [refusal for delivery in taken for refusal in delivery.refused]
    assert [(refusal.where, refusal.raw) for refusal in refused] == [("m/ä", b"1,5"), ("m/b", b"\xff\x00")]
    assert [value for _, _, value in cells(taken)] == [3.0]


async def test_a_retained_message_says_so(broker: Mosquitto) -> None:
    await send(broker.port, ("shop/m1/a", "1"), retain=True)
    shop = Shop(broker.port)
    async with shop.source(NUMBERS).session(None) as session:
        taken = await take(session, 1)
        await send(broker.port, ("shop/m1/a", "2"))
        taken += await take(session, 1)
    flags = [flag for delivery in taken for batch in delivery.batches for flag in batch.flags.tolist()]
    assert flags == [Flag.RETAINED | Flag.TIME_SUBSTITUTED, Flag.TIME_SUBSTITUTED]
    await parted(broker.port)
    async with shop.source(NUMBERS).session(last_checkpoint(taken)) as session:
        await send(broker.port, ("shop/m1/a", "3"))
        assert [value for _, _, value in cells(await take(session, 1))] == [3.0], (
            "not told again at each connection"
        )


async def test_machines_tags_signals_and_kinds(broker: Mosquitto) -> None:
    shop = Shop(broker.port)
    entry = {
        "topic": "shop/{hall}/{machine}/{signal}",
        "payload": "json",
        "signals": [
            {"name": "count", "item": "cnt", "kind": "integer", "tags": {"k": "v"}},
            {"name": "on", "value": "is.on"},
        ],
    }
    source = shop.source(entry)
    async with source.session(None) as session:
        await take(session, 0)
        await send(
            broker.port,
            ("shop/h1/m1/cnt", str(2**53 + 1)),
            ("shop/h2/m1/on", '{"is": {"on": true}}'),
            ("shop/h1/other/cnt", "5"),
            ("shop/h1/m1/unlisted", "6"),
            ("shop/h2/m1/cnt", "7"),
        )
        taken = await take(session, 3)
    named = [(shop.registry[point], value) for point, _, value in cells(taken)]
    named.sort(
        key=lambda cell: (cell[0].name, cell[0].tags["hall"])
    )  # they may come as one delivery or as several
    assert [(p.machine, p.name, p.kind, dict(p.tags), value) for p, value in named] == [
        ("m1", "count", Kind.INTEGER, {"hall": "h1", "k": "v"}, 2**53 + 1),
        ("m1", "count", Kind.INTEGER, {"hall": "h2", "k": "v"}, 7),
        ("m1", "on", Kind.FLAG, {"hall": "h2"}, True),
    ]


async def test_adoption_has_a_limit_and_what_is_beyond_is_refused(broker: Mosquitto) -> None:
    """B7: over a real broker."""
    source = Shop(broker.port).source({"topic": "j", "adopt": True}, adopt_limit=2)
    async with source.session(None) as session:
        await take(session, 0)
        await send(
            broker.port, ("j", '{"a": 1, "b": {"c": "x"}, "d": 2, "e": 3}'), ("j", '{"a": null, "f": null}')
        )
        taken = await take(session, 6)
    refused = [refusal for delivery in taken for refusal in delivery.refused]
    assert [refusal.values for refusal in refused] == [2, 1]
    assert "adopt_limit" in refused[0].reason
    assert "kind" in refused[1].reason


async def test_filters_of_an_earlier_configuration_are_given_up(broker: Mosquitto) -> None:
    shop = Shop(broker.port)
    async with shop.source({**NUMBERS, "topic": "old/{signal}"}, NUMBERS).session(None) as session:
        checkpoint = (await anext(aiter(session))).checkpoint
    await send(broker.port, ("old/a", "1"))
    async with shop.source(NUMBERS).session(checkpoint) as session:
        kept = (await take(session, 1))[-1]
        assert "no read entry matches" in kept.refused[0].reason, "what the broker kept is not thrown away"
        await send(broker.port, ("old/a", "2"), ("shop/m1/a", "3"))
        assert [value for _, _, value in cells(await take(session, 1))] == [3.0]


async def test_a_second_collector_with_the_same_client_id_ends_the_first(broker: Mosquitto) -> None:
    """mosquitto 2.0.11 closes the first connection without the DISCONNECT that MQTT 5 (3.1.4) asks for."""
    shop = Shop(broker.port)
    async with shop.source(NUMBERS).session(None) as session:
        await take(session, 0)
        async with shop.source(NUMBERS).session(None):
            with pytest.raises(NotConnected):
                await take(session, 1)


async def test_a_take_over_is_named_where_the_broker_says_so() -> None:
    async with scripted() as broker, Shop(broker.port).source(NUMBERS).session(None) as session:
        (await broker.link()).disconnect(0x8E)
        with pytest.raises(Misconfigured, match="taken over") as caught:
            await take(session, 1)
    assert "client_id" in caught.value.remedy


# --- access


@VERSIONS
async def test_a_wrong_password_is_misconfigured(tmp_path: Path, version: str) -> None:
    file = await password_file(tmp_path)
    async with mosquitto(tmp_path, "allow_anonymous false", f"password_file {file}") as broker:
        shop = Shop(broker.port)
        wrong = shop.source(NUMBERS, version=version, username="ann", password="wrong")
        with pytest.raises(Misconfigured) as caught:
            async with wrong.session(None):
                pytest.fail("let in")
        assert "password" in caught.value.remedy
        assert "wrong" not in str(caught.value)
        async with shop.source(NUMBERS, version=version, username="ann", password="secret").session(None):
            pass


async def test_topics_that_the_broker_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """M6: mosquitto 2.0 refuses a filter in SUBACK only where a plug-in or a bridge says so: a scripted broker stands in."""
    async with scripted(Rules(granted={"shop/m1/+": 0x87, "b/+": 0})) as broker:
        source = Shop(broker.port).source(NUMBERS, {**NUMBERS, "topic": "b/{signal}"})
        with caplog.at_level(logging.WARNING):
            async with source.session(None) as session:
                assert session.facts["refused_topics"] == "shop/m1/+"
                assert "b/+" in session.facts["lower_qos"]
                assert not session.redelivers
        assert "shop/m1/+" in caplog.text
        findings = await source.probe()
        assert findings[0].level == "ok"
        assert [(finding.level, finding.where) for finding in findings if ": " in finding.where][:2] == [
            ("error", "b: shop/m1/+"),
            ("warning", "b: b/+"),
        ]
    async with scripted(Rules(granted={"shop/m1/+": 0x87})) as broker:
        with pytest.raises(Misconfigured, match="refuses every topic"):
            async with Shop(broker.port).source(NUMBERS).session(None):
                pytest.fail("nothing to read")


async def test_topic_bytes_that_are_not_utf8_are_refused() -> None:
    async with scripted() as broker, Shop(broker.port).source(NUMBERS).session(None) as session:
        (await broker.link()).publish(b"a\xff/", b"1", qos=0)
        taken = await take(session, 1)
    (refusal,) = [refusal for delivery in taken for refusal in delivery.refused]
    assert "not UTF-8" in refusal.reason
    assert refusal.where == "a\\xff/"


# --- versions and the probe


async def test_a_broker_of_311_only_is_used_with_311_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """amqtt knows no MQTT 5: it reads a longer CONNECT than was sent, and never answers."""
    monkeypatch.setattr(connection, "HESITATION", 0.2)
    with amqtt() as port:
        async with Shop(port).source(NUMBERS).session(None) as session:
            assert session.facts["protocol"] == "MQTT 3.1.1"
            assert "MQTT 5" in session.facts["protocol_note"]
            await anext(aiter(session))
            await send(port, ("shop/m1/a", "1"))
            assert [value for _, _, value in cells(await take(session, 1))] == [1.0]
        findings = await Shop(port).source(NUMBERS).probe()
        assert any(finding.level == "warning" and "MQTT 5" in finding.message for finding in findings)


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
async def test_a_refusal_of_mqtt_5_in_any_form_leads_to_311(answer: bytes) -> None:
    async with scripted(Rules(levels=[4], stranger=answer, present=True)) as broker:
        async with Shop(broker.port).source(NUMBERS).session(None) as session:
            assert session.facts["protocol"] == "MQTT 3.1.1"
            assert session.facts["session"] == "continued"
        if answer:
            with pytest.raises(Misconfigured, match="Unsupported protocol version"):
                async with Shop(broker.port).source(NUMBERS, version="5").session(None):
                    pytest.fail("connected")


async def test_a_probe_says_what_it_found_and_leaves_nothing(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LISTEN", 3.0)
    await send(broker.port, ("shop/m1/a", "1"), ("shop/m1/bad", "1,5"), retain=True)
    shop = Shop(broker.port)
    listed = {"topic": NUMBERS["topic"], "payload": "number", "signals": [{"name": "x"}, {"name": "y"}]}
    findings = await shop.source(NUMBERS, {**NUMBERS, "topic": "silent/{signal}"}, listed).probe()
    said = [(finding.level, finding.where, finding.message) for finding in findings]
    assert ("ok", "b: shop/m1/+", "subscribed with QoS 1") in said
    assert ("ok", "b: shop/m1/a", "1 values read (retained)") in said
    assert any(level == "warning" and "decimal comma" in message for level, _, message in said)
    silent = {
        where for level, where, message in said if "nothing received yet" in message and level == "warning"
    }
    assert silent == {"b: silent/+", "b: shop/m1/x and 1 more"}
    assert shop.registry.version == 0
    (error,) = await Shop(free_port()).source(NUMBERS).probe()
    assert error.level == "error"
    assert error.hint
