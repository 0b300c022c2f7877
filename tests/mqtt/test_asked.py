"""What is asked of a broker in CONNECT and SUBSCRIBE, and what is said of its answers: read off the wire by the scripted broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.errors import NotConnected
from adapters.mqtt import probe
from tests.contracts.rig import eventually
from tests.mqtt.peers import NUMBERS, Shop
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.scripted.codec import CONNECT, DISCONNECT, SUBSCRIBE, disconnect, publish, suback
from tests.mqtt.taking import take

SHARED: dict[str, Any] = {**NUMBERS, "topic": "$share/line/shop/{machine}/{signal}"}


async def test_what_mqtt_5_is_asked_for() -> None:
    """A session that lasts, a window, a largest packet, our keep-alive (MQTT 5, 3.1.2)."""
    settings: dict[str, Any] = {
        "session_expiry": "2d",
        "receive_maximum": 123,
        "max_packet": "2MB",
        "keep_alive": "7s",
    }
    async with scripted() as broker:
        async with Shop(broker.port).source(NUMBERS, **settings).session(None) as session:
            await take(session, 0)
        (link,) = broker.links
        (asked,) = link.seen(CONNECT)
        assert (asked.level, asked.client_id, asked.clean, asked.keep_alive) == (5, "shopfloor-b", False, 7)
        assert asked.properties == {
            "session_expiry_interval": 172_800,
            "receive_maximum": 123,
            "maximum_packet_size": 2_000_000,
        }
        (subscribed, *_) = link.seen(SUBSCRIBE)
        assert subscribed.filters == (("shop/m1/+", 0b010001),)  # QoS 1; retained only for a new subscription
        await eventually(lambda: len(link.seen(DISCONNECT)) == 1, "it leaves in good order")


async def test_what_mqtt_3_1_1_is_asked_for() -> None:
    async with scripted() as broker:
        async with Shop(broker.port).source(NUMBERS, version="3.1.1", client_id="x").session(None):
            pass
        (link,) = broker.links
        (asked,) = link.seen(CONNECT)
        assert (asked.level, asked.client_id, asked.clean, asked.properties) == (4, "x", False, {})
        assert link.seen(SUBSCRIBE)[0].filters == (("shop/m1/+", 1),)


async def test_a_login_is_sent_and_never_shown() -> None:
    async with scripted() as broker:
        source = Shop(broker.port).source(NUMBERS, username="ann", password="geheim")
        async with source.session(None) as session:
            assert "geheim" not in str(session.facts)
        (asked,) = broker.links[0].seen(CONNECT)
        assert (asked.username, asked.password) == ("ann", b"geheim")


@pytest.mark.parametrize(("told", "said"), [({"session_expiry_interval": 60}, "only 60 s"), ({}, "")])
async def test_a_session_that_the_broker_keeps_more_briefly_is_told(told: dict[str, Any], said: str) -> None:
    """MQTT 5, 3.2.2.3.2: the server's own interval counts."""
    async with (
        scripted(Rules(props=told)) as broker,
        Shop(broker.port).source(NUMBERS).session(None) as session,
    ):
        assert said in session.facts.get("session_expiry", "")
        assert ("session_expiry" in session.facts) is bool(said)


async def test_a_shared_subscription_is_asked_for_in_its_group_and_looked_at_without() -> None:
    """MQTT 5, 4.8.2. A look that took part would take messages away from the collectors of the group."""
    async with scripted() as broker:
        source = Shop(broker.port).source(SHARED)
        async with source.session(None) as session:
            link = await broker.link()
            assert link.seen(SUBSCRIBE)[0].filters[0][0] == "$share/line/shop/m1/+"
            link.publish("shop/m1/a", b"1", mid=1)
            assert sum(delivery.decoded for delivery in await take(session, 1)) == 1
        findings = await source.probe()
        _, visit = broker.links
        assert visit.client_id == "shopfloor-b-check"
        assert [name for packet in visit.seen(SUBSCRIBE) for name, _ in packet.filters] == ["shop/m1/+"]
        (asked,) = visit.seen(CONNECT)
        assert (asked.clean, asked.properties.get("session_expiry_interval", 0)) == (True, 0)
        assert ("ok", "b: $share/line/shop/m1/+") in [(finding.level, finding.where) for finding in findings]


async def test_a_broker_without_shared_subscriptions_refuses_them_by_name() -> None:
    """MQTT 5, 3.9.3: 0x9E; the other topics go on."""
    refused = {"$share/line/shop/m1/+": 0x9E}
    async with scripted(Rules(granted=refused)) as broker:
        source = Shop(broker.port).source(SHARED, {**NUMBERS, "topic": "other/{signal}"})
        async with source.session(None) as session:
            assert session.facts["refused_topics"] == "$share/line/shop/m1/+"
            assert session.facts["subscriptions"] == "1"


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_broker_that_answers_for_fewer_topics_is_at_fault(version: str) -> None:
    """MQTT 5, 3.9.3: a reason code for each filter. Nobody knows then which of them are granted."""
    async with scripted(Rules(short=True)) as broker:
        source = Shop(broker.port).source(NUMBERS, {**NUMBERS, "topic": "x/{signal}"}, version=version)
        with pytest.raises(NotConnected, match="1 topics where 2"):
            async with source.session(None):
                pytest.fail("let in")
        *_, found = await source.probe()
        assert (found.level, "1 topics where 2" in found.message) == ("error", True)


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_connection_that_ends_while_it_is_listened_to_is_told(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """`check --online`: silence says nothing about a topic then; and a topic's problem stays, whatever else it brings.

    at_once: all of it comes in one piece with the answer to SUBSCRIBE, before anybody listens.
    """
    monkeypatch.setattr(probe, "LISTEN", 60.0)
    monkeypatch.setattr(probe, "_wants", lambda *_: False)  # to the end
    listening, templates = asyncio.Event(), probe._templates

    def listen(*args: Any) -> Any:
        listening.set()
        return templates(*args)

    monkeypatch.setattr(probe, "_templates", listen)
    async with scripted(Rules(mute=True)) as broker, asyncio.TaskGroup() as group:

        async def say() -> None:
            await eventually(lambda: bool(broker.links and broker.links[0].seen(SUBSCRIBE)), "a SUBSCRIBE")
            (link,) = broker.links
            granted = suback(link.level, link.seen(SUBSCRIBE)[0].mid, [1])
            if not at_once:
                link.send(granted)
                await listening.wait()
            texts = (b"1", b"oops", b"2", b"again")
            said = [publish(link.level, "shop/m1/a", text, qos=0) for text in texts]
            link.send(b"".join((granted if at_once else b"", *said, disconnect(0x8B))))

        group.create_task(say())
        found = await Shop(broker.port).source(NUMBERS).probe()
    *_, told, ended = found
    assert (ended.level, "Server shutting down" in ended.message) == ("error", True)
    assert not any("nothing received" in each.message for each in found)
    assert (told.level, told.where, "oops" in told.message) == ("warning", "b: shop/m1/a", True)


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_a_name_that_cannot_be_one_is_not_known(host: str) -> None:
    """Python says so with an error that is none of the system's."""
    source = Shop(1883).source(NUMBERS, url=f"mqtt://{host}")
    with pytest.raises(NotConnected, match="not known, and cannot be a name"):
        async with source.session(None):
            pytest.fail("let in")
    assert [(each.level, each.where) async for each in source.examine()] == [("error", "name")]
