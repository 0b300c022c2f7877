"""The session against real brokers: what the laws do not ask for every source."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.base import Delivery, SourceSession
from adapters.errors import Misconfigured, NotConnected
from pipelines.batch import Flag, Kind
from tests.contracts.rig import eventually
from tests.mqtt.peers import NUMBERS, Mosquitto, Publisher, Shop, amqtt, free_port, serving

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


@asynccontextmanager
async def mosquitto(folder: Path, *lines: str, **options: Any) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, lines, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path) as running:
        yield running


async def take(session: SourceSession, values: int, *, acking: bool = True) -> list[Delivery]:
    """Deliveries until so many values came."""
    taken: list[Delivery] = []
    async with asyncio.timeout(10):
        while sum(delivery.decoded for delivery in taken) < values:
            delivery = await anext(aiter(session))
            taken.append(delivery)
            if acking:
                await delivery.ack()
    return taken


def cells(deliveries: Sequence[Delivery]) -> list[tuple[int, int, Any]]:
    return [
        row
        for delivery in deliveries
        for batch in delivery.batches
        for row in zip(batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True)
    ]


def last_checkpoint(deliveries: Sequence[Delivery]) -> bytes:
    return next(delivery.checkpoint for delivery in reversed(deliveries) if delivery.checkpoint)


async def send(port: int, *messages: tuple[str, bytes | str], **options: Any) -> None:
    publisher = Publisher(port)
    await publisher.send(*messages, **options)
    publisher.close()


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
        after = await take(session, 2)
    assert {2.0, 3.0} <= {value for _, _, value in cells(after)}


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
async def test_reading_stops_at_the_bound_and_pings_go_on(broker: Mosquitto, version: str) -> None:
    source = Shop(broker.port).source(
        {**NUMBERS, "qos": 0}, version=version, receive_maximum=64, keep_alive="2s"
    )
    async with source.session(None) as session:
        assert not session.redelivers
        await anext(aiter(session))
        sender = Publisher(broker.port)
        flood = [("shop/m1/a", "1" + "0" * 500) for _ in range(2000)]
        await sender.send(*flood, qos=0)
        first = await take(session, 1, acking=False)
        await asyncio.sleep(7)  # more than one and a half keep-alives: without a ping the broker hangs up
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
        (first,) = await take(session, 1, acking=False)
        assert first.pressing is not None
        assert not first.pressing.is_set()
        sender = Publisher(broker.port)
        sending = [sender.client.publish("shop/m1/a", "1", 1) for _ in range(30)]
        await asyncio.wait_for(first.pressing.wait(), 5)
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
    async with (
        scripted([1], b"\xe0\x02\x8e\x00") as port,
        Shop(port).source(NUMBERS).session(None) as session,
    ):
        with pytest.raises(Misconfigured, match="taken over") as caught:
            await take(session, 1)
    assert "client_id" in caught.value.remedy


# --- access


async def _password(folder: Path) -> str:
    from tests.servers import binary

    tool = Path(binary("mosquitto")).parent.parent / "bin" / "mosquitto_passwd"
    file = folder / "passwords"
    process = await asyncio.create_subprocess_exec(str(tool), "-b", "-c", str(file), "ann", "secret")
    assert await process.wait() == 0
    return str(file)


@VERSIONS
async def test_a_wrong_password_is_misconfigured(tmp_path: Path, version: str) -> None:
    file = await _password(tmp_path)
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


def _certificates(folder: Path) -> tuple[Path, Path]:
    """An authority and a server certificate for 127.0.0.1 in one PEM with its key."""
    now = dt.datetime.now(dt.UTC)
    folder.mkdir(exist_ok=True)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca of {folder.name}")])
    begins, ends = now - dt.timedelta(days=1), now + dt.timedelta(days=1)

    def certificate(
        name: x509.Name, public: Any, extension: x509.ExtensionType, *, critical: bool
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(ca_name, name, public, x509.random_serial_number(), begins, ends)
        usage = x509.SubjectKeyIdentifier.from_public_key(public)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        builder = builder.add_extension(usage, critical=False).add_extension(issuer, critical=False)
        return builder.add_extension(extension, critical=critical).sign(ca_key, hashes.SHA256())

    ca = certificate(
        ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = certificate(x509.Name([]), key.public_key(), names, critical=True)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(server.public_bytes(pem) + secret)
    return folder / "ca.pem", folder / "server.pem"


async def test_tls_is_verified(tmp_path: Path) -> None:
    ca, server = _certificates(tmp_path / "right")
    other, _ = _certificates(tmp_path / "wrong")
    plain_port = free_port()
    tls = (f"certfile {server}", f"keyfile {server}", f"listener {plain_port} 127.0.0.1")
    async with mosquitto(tmp_path, *tls) as broker:
        shop = Shop(broker.port)
        url = f"mqtts://127.0.0.1:{broker.port}"
        async with shop.source(NUMBERS, url=url, ca=str(ca)).session(None) as session:
            assert session.facts["security"] == "TLSv1.3, certificate and host verified"
            await send(plain_port, *[("shop/m1/a", str(n) + " " * 900) for n in range(50)])
            assert len(cells(await take(session, 50))) == 50
        for settings, word in (
            ({"ca": str(other)}, "not accepted"),
            ({}, "not accepted"),
            ({"ca": str(ca), "url": f"mqtts://localhost:{broker.port}"}, "not accepted"),
            ({"ca": str(ca), "url": f"mqtts://127.0.0.1:{plain_port}"}, "TLS port|encrypted|ended"),
            ({"ca": str(tmp_path / "missing.pem")}, "cannot be read"),
        ):
            with pytest.raises((Misconfigured, NotConnected), match=word) as caught:
                async with shop.source(NUMBERS, **{"url": url, **settings}).session(None):
                    pytest.fail("let in")
            assert caught.value.remedy


async def test_topics_that_the_broker_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """mosquitto 2.0 refuses a filter in SUBACK only where a plug-in or a bridge says so: a scripted broker stands in."""
    async with scripted([0x87, 0x00]) as port:
        source = Shop(port).source(NUMBERS, {**NUMBERS, "topic": "b/{signal}"})
        with caplog.at_level(logging.WARNING):
            async with source.session(None) as session:
                assert session.facts["refused_topics"] == "shop/m1/+"
                assert "b/+" in session.facts["lower_qos"]
                assert not session.redelivers
        assert "shop/m1/+" in caplog.text
        findings = await source.probe()
        assert [(finding.level, finding.where) for finding in findings[:3]] == [
            ("ok", "b"),
            ("error", "b: shop/m1/+"),
            ("warning", "b: b/+"),
        ]
    async with scripted([0x87]) as port:
        with pytest.raises(Misconfigured, match="refuses every topic"):
            async with Shop(port).source(NUMBERS).session(None):
                pytest.fail("nothing to read")


@asynccontextmanager
async def scripted(codes: Sequence[int], then: bytes = b"") -> AsyncIterator[int]:
    """A broker for MQTT 5 that accepts everybody and answers SUBSCRIBE with these codes, `then` with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(1):
            body = await reader.readexactly((await reader.readexactly(1))[0])
            if head[0] == 0x10:
                writer.write(b"\x20\x03\x00\x00\x00")
            elif head[0] == 0x82:
                writer.write(bytes([0x90, 3 + len(codes)]) + body[:2] + b"\x00" + bytes(codes) + then)

    async with serving(serve) as port:
        yield port


async def test_topic_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    packet = b"\x30\x07\x00\x03a\xff/\x001"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")
        subscribe = await reader.read(1000)
        writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x01" + packet)
        await reader.read(1000)

    async with serving(serve) as port, Shop(port).source(NUMBERS, version="5").session(None) as session:
        taken = await take(session, 1)
    (refusal,) = [refusal for delivery in taken for refusal in delivery.refused]
    assert "not UTF-8" in refusal.reason
    assert refusal.where == "a\\xff/"


# --- versions and the probe


async def test_a_broker_of_311_only_is_used_with_311_and_says_so() -> None:
    """amqtt knows no MQTT 5: it reads a longer CONNECT than was sent, and never answers."""
    async with amqtt() as port:
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
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(1000)
        level = connect[connect.index(b"MQTT") + 4]
        writer.write(answer if level == 5 else b"\x20\x02\x01\x00")
        if level == 4:
            subscribe = await reader.read(1000)
            writer.write(b"\x90\x03" + subscribe[2:4] + b"\x01")
            await reader.read(1000)

    async with serving(serve) as port:
        async with Shop(port).source(NUMBERS).session(None) as session:
            assert session.facts["protocol"] == "MQTT 3.1.1"
            assert session.facts["session"] == "continued"
        if answer:
            with pytest.raises(Misconfigured, match="Unsupported protocol version"):
                async with Shop(port).source(NUMBERS, version="5").session(None):
                    pytest.fail("connected")


async def test_a_probe_says_what_it_found_and_leaves_nothing(broker: Mosquitto) -> None:
    await send(broker.port, ("shop/m1/a", "1"), ("shop/m1/bad", "1,5"), retain=True)
    shop = Shop(broker.port)
    findings = await shop.source(NUMBERS, {**NUMBERS, "topic": "silent/{signal}"}).probe()
    said = [(finding.level, finding.where, finding.message) for finding in findings]
    assert ("ok", "b: shop/m1/+", "subscribed with QoS 1") in said
    assert ("ok", "b: shop/m1/a", "1 values read (retained)") in said
    assert any(level == "warning" and "decimal comma" in message for level, _, message in said)
    assert any(
        level == "warning" and "nothing received yet on silent/{signal}" in message
        for level, _, message in said
    )
    assert shop.registry.version == 0
    (error,) = await Shop(free_port()).source(NUMBERS).probe()
    assert error.level == "error"
    assert error.hint
