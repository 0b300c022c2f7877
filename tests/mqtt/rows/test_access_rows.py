"""What the broker does not grant, and whom we do not trust: M6 and M11."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Misconfigured, NotConnected
from adapters.mqtt.silence import PATIENCE, Silence, suspicion
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.mqtt.certificates import Authority, authority
from tests.mqtt.peers import NUMBERS, Shop
from tests.mqtt.rows.bed import line
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.taking import cells, mosquitto, send, take
from tests.servers import free_port


async def test_a_source_of_which_every_topic_is_refused_needs_attention(tmp_path: Path) -> None:
    """M6: shown at the first refusal, with the topic and what to do."""
    async with (
        scripted(Rules(granted={"shop/m1/+": 0x87})) as broker,
        line(tmp_path, broker.port, NUMBERS, up=False) as running,
    ):
        await eventually(lambda: running.state == "needs_attention", "the alarm")
        assert len(running.attempts) == 1
        assert "shop/m1/+ (0x87)" in running.error
        assert "access list" in running.health["b"].remedy


async def test_a_source_of_which_one_topic_is_refused_says_so(tmp_path: Path) -> None:
    """M6: the others are read; the refused one stands in `status` as soon as it is connected."""
    other = {**NUMBERS, "topic": "free/{signal}"}
    async with (
        scripted(Rules(granted={"shop/m1/+": 0x80})) as broker,
        line(tmp_path, broker.port, NUMBERS, other) as running,
    ):
        assert running.facts["refused_topics"] == "shop/m1/+"
        (await broker.link()).publish("free/a", b"7", mid=1)
        await running.has(1)


async def test_a_topic_that_the_access_list_keeps_silent_is_suspected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """M6: mosquitto grants it in SUBACK and then withholds every message; after a while that is said aloud, once."""
    (tmp_path / "acl").write_text("topic write #\ntopic read open/#\ntopic read $SYS/#\n")
    async with mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}") as broker:
        shut, opened = ({**NUMBERS, "topic": f"{name}/{{signal}}"} for name in ("shut", "open"))
        source = Shop(broker.port).source(shut, opened)
        with caplog.at_level(logging.WARNING):
            async with source.session(None) as session:
                assert session.facts["subscriptions"] == "2", "granted, both"
                await take(session, 0)
                await send(broker.port, ("shut/a", "1"), ("open/a", "2"))
                assert [value for _, _, value in cells(await take(session, 1))] == [2.0]
                source._memory.silence._patience = 0.0  # instead of a minute
                await eventually(lambda: "silent_topics" in session.facts, "the suspicion")
                said = session.facts["silent_topics"]
                assert "shut/+" in said
                assert "open/+" not in said
                assert "access list" in said
                await send(broker.port, ("open/a", "3"))
                await take(session, 1)
        assert caplog.text.count("silent so far") == 1
        found = await source.probe()
        assert any("access list" in finding.hint for finding in found if "shut" in finding.where)


def test_a_suspicion_ends_with_the_first_message_and_is_told_once() -> None:
    """M6: silence counts from the subscription, over reconnections."""
    clock = FakeClock()
    silence = Silence(clock)
    silence.granted(["a", "b"])
    clock.advance(PATIENCE - 1)
    assert silence.silent() == []
    silence.granted(["a", "b", "c"])  # a reconnection
    clock.advance(1)
    assert silence.silent() == silence.news() == ["a", "b"]
    assert silence.news() == []
    silence.heard("a")
    silence.granted(["a", "b"])
    assert silence.silent() == ["b"]
    silence.granted([])
    assert silence.silent() == []
    assert "and 7 more" in suspicion([str(n) for n in range(10)], "ann")


# --- M11: TLS


def _tls(server: Path, *more: str) -> tuple[str, ...]:
    return (f"certfile {server}", f"keyfile {server}", *more)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return authority(tmp_path / "ours")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(
    "wrong", ["expired", "not yet valid", "other host", "unknown authority", "system's authorities"]
)
async def test_a_broker_that_cannot_be_trusted_gets_nothing(
    tmp_path: Path, ours: Authority, wrong: str, version: str
) -> None:
    """M11: refused before CONNECT, so that no password goes there; every kind of wrong certificate."""
    options: dict[str, Any] = {
        "expired": {"begins": -2, "ends": -1},
        "not yet valid": {"begins": 1, "ends": 2},
    }
    options["other host"] = {"host": "127.0.0.2"}
    server = ours.issue("server", **options.get(wrong, {}))
    trusted = authority(tmp_path / "other").ca if wrong == "unknown authority" else ours.ca
    settings: dict[str, Any] = {} if wrong.startswith("system") else {"ca": str(trusted)}
    async with mosquitto(tmp_path, *_tls(server)) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        source = Shop(broker.port).source(
            NUMBERS, url=url, version=version, username="foreman", password="secret", **settings
        )
        with pytest.raises(Misconfigured, match="certificate is not accepted") as caught:
            async with source.session(None):
                pytest.fail("let in")
        assert "never switch the check off" in caught.value.remedy
        log = (tmp_path / "broker.log").read_text()
        assert "foreman" not in log
        assert "New client connected" not in log


@pytest.mark.parametrize("tls", ["tlsv1.2", "tlsv1.3"])
async def test_a_client_certificate_is_shown_where_it_is_wanted(
    tmp_path: Path, ours: Authority, tls: str
) -> None:
    """M11: without one, or with one of another authority, the broker refuses and the words say what may be missing."""
    server, client = ours.issue("server"), ours.issue("client")
    foreign = authority(tmp_path / "other").issue("foreign")
    lines = _tls(server, f"cafile {ours.ca}", "require_certificate true", f"tls_version {tls}")
    async with mosquitto(tmp_path, *lines) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        shop = Shop(broker.port)
        for wrong in ({}, {"certificate": str(foreign), "private_key": str(foreign)}):
            with pytest.raises((Misconfigured, NotConnected)) as caught:
                async with shop.source(NUMBERS, url=url, ca=str(ours.ca), **wrong).session(None):
                    pytest.fail("let in")
            assert "client certificate" in caught.value.remedy
        right = {"certificate": str(client), "private_key": str(client)}
        async with shop.source(NUMBERS, url=url, ca=str(ours.ca), **right).session(None) as session:
            assert "certificate and host verified" in session.facts["security"]


async def test_values_come_over_tls_and_a_wrong_port_is_named(tmp_path: Path, ours: Authority) -> None:
    """M11: the right certificate is let in; a port without encryption, a host name that is not in it, a missing file are not."""
    plain = free_port()
    server = ours.issue("server")
    async with mosquitto(tmp_path, *_tls(server), f"listener {plain} 127.0.0.1") as broker:
        shop = Shop(broker.port)
        url = f"mqtts://127.0.0.1:{broker.port}"
        async with shop.source(NUMBERS, url=url, ca=str(ours.ca)).session(None) as session:
            assert session.facts["security"] == "TLSv1.3, certificate and host verified"
            await send(plain, *[("shop/m1/a", str(n) + " " * 900) for n in range(50)])
            assert len(cells(await take(session, 50))) == 50
        for settings, word in (
            ({"url": f"mqtts://localhost:{broker.port}"}, "not accepted"),
            ({"url": f"mqtts://127.0.0.1:{plain}"}, "TLS port|encrypted|ended"),
            ({"ca": str(tmp_path / "missing.pem")}, "cannot be read"),
        ):
            with pytest.raises((Misconfigured, NotConnected), match=word) as caught:
                async with shop.source(NUMBERS, **{"url": url, "ca": str(ours.ca), **settings}).session(None):
                    pytest.fail("let in")
            assert caught.value.remedy


async def test_limits_of_a_broker_are_named_before_they_cost_values() -> None:
    """M8: `check --online` says what the broker told in CONNACK, and what 3.1.1 means."""
    props = {"maximum_qos": 0, "shared_subscription_available": 0, "session_expiry_interval": 0}
    async with scripted(Rules(props=props)) as broker:
        said = [finding.message for finding in await Shop(broker.port).source(NUMBERS).probe()]
        assert "the broker keeps no session" in said
        assert "the broker knows QoS 0 only" in said
        assert "the broker has no shared subscriptions ($share)" in said
        old = await Shop(broker.port).source(NUMBERS, version="3.1.1").probe()
        (limit,) = [finding for finding in old if "in flight" in finding.message]
        assert limit.level == "warning"
        assert "max_queued_messages" in limit.hint
