"""Templates against a scalar model of MQTT's matching rules, and what the settings refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from pydantic import ValidationError

from adapters.mqtt.settings import MqttRead, MqttSource
from adapters.mqtt.topics import parse_template

SEGMENT = st.sampled_from(["", "a", "b", "shop", "$SYS", "ä"])
TOPIC = st.lists(SEGMENT, min_size=1, max_size=5).map("/".join).filter(bool)
LEVEL = SEGMENT | st.sampled_from(["+", "{machine}", "{x}"])


@st.composite
def templates(draw: st.DrawFn) -> str:
    levels = draw(st.lists(LEVEL, min_size=1, max_size=5))
    named = [level for level in levels if level.startswith("{")]
    levels = levels if len(set(named)) == len(named) else ["a"]
    text = "/".join([*levels, *draw(st.sampled_from([[], ["#"]]))])
    return text or "a"


@given(templates(), TOPIC)
def test_matching_is_that_of_the_protocol(text: str, topic: str) -> None:
    template = parse_template(text)
    captured = template.match(topic)
    # The named segments must also be the topic's own at their place: paho's matcher knows no names.
    assert (captured is not None) == topic_matches_sub(template.filter, topic)
    if captured is not None:
        places = {level[1:-1]: n for n, level in enumerate(template.levels) if level.startswith("{")}
        assert captured == {name: topic.split("/")[place] for name, place in places.items()}


@given(templates(), TOPIC)
def test_a_bound_machine_matches_its_own_segment_only(text: str, topic: str) -> None:
    free, bound = parse_template(text), parse_template(text).bound(machine="a")
    captured = free.match(topic)
    mine = captured is not None and captured.get("machine", "a") == "a"
    if not topic.startswith(
        "$"
    ):  # a literal may match where a wildcard may not, and no machine begins with $
        assert (bound.match(topic) is not None) == mine


@pytest.mark.parametrize(
    ("topic", "word"),
    [
        ("a/#/b", "last segment"),
        ("a/b#", "whole segments"),
        ("a+/b", "whole segments"),
        ("mill-{n}/x", "whole segment"),
        ("{x}/{x}", "once"),
        ("{1x}", "letters"),
        ("a/\x00", "control character"),
        ("$share//a", "shared subscription"),
        ("$share/g", "shared subscription"),
    ],
)
def test_what_no_broker_takes_is_refused_with_a_reason(topic: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_template(topic)
    with pytest.raises(ValidationError, match=word):
        MqttRead(source="b", topic=topic, adopt=True)


def test_shared_subscriptions_keep_their_group() -> None:
    template = parse_template("$share/g/shop/{machine}/#")
    assert template.filter == "$share/g/shop/+/#"
    assert template.match("shop/m/x/y") == {"machine": "m"}


@pytest.mark.parametrize(
    ("read", "word"),
    [
        ({"topic": "a", "qos": 2, "adopt": True}, "QoS 2 is not used"),
        ({"topic": "a"}, "list its signals"),
        ({"topic": "a", "payload": "number", "signals": [{"name": "x"}, {"name": "y"}]}, "one value"),
        ({"topic": "a", "payload": "number", "adopt": True}, "adopt needs names"),
        ({"topic": "a", "payload": "text", "signals": [{"name": "x", "value": "p"}]}, "no value paths"),
        ({"topic": "a", "signals": [{"name": "x", "value": "a..b"}]}, "not a value path"),
        ({"topic": "a", "signals": [{"name": "x", "item": "y"}]}, "item is for payloads that name"),
        ({"topic": "a/{signal}", "payload": "shdr", "adopt": True}, "names its signals itself"),
        ({"topic": "a", "payload": {"type": "json", "time_unit": "h"}, "adopt": True}, "rfc3339"),
    ],
)
def test_read_entries_that_make_no_sense(read: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        MqttRead.model_validate({"source": "b", **read})


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"url": "http://x"}, "begins with mqtts"),
        ({"url": "mqtt://u:p@x"}, "keys of their own"),
        ({"url": "mqtts://"}, "names no host"),
        ({"url": "mqtts://x/topic"}, "ends after host and port"),
        ({"url": "mqtt://10.0.0.5", "username": "u", "password": "p"}, "plain text"),
        ({"url": "mqtts://x", "password": "p"}, "needs its username"),
        ({"url": "mqtts://x", "certificate": "c.pem"}, "belong together"),
        ({"url": "mqtt://x", "ca": "c.pem"}, "nothing is encrypted"),
        ({"url": "mqtts://x", "receive_maximum": 5}, "64"),
        ({"url": "mqtts://x", "keep_alive": "20"}, "duration"),
        ({"url": "mqtts://x", "verify": False}, "Extra inputs"),
    ],
)
def test_sources_that_are_unsafe_or_wrong(source: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        MqttSource.model_validate(source)


def test_what_is_weak_is_said_in_the_review() -> None:
    source = MqttSource.model_validate({"url": "mqtt://10.0.0.5", "session_expiry": "0s"})
    said = " ".join(source.review(()))
    assert "plain text" in said
    assert "second collector" in said
    assert "keeps nothing" in said
    assert MqttSource(url="mqtts://x", client_id="c1").review(()) == ()
    local = MqttSource.model_validate({"url": "mqtt://127.0.0.1", "username": "u", "password": "p"})
    assert "only to this computer" in " ".join(local.review(()))
    assert "p'" not in repr(local)


def test_a_file_that_is_not_there_is_said_in_the_review(tmp_path: Path) -> None:
    keys = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "certificate", "private_key")}
    source = MqttSource.model_validate({"url": "mqtts://x", "client_id": "c1", **keys})
    assert [said.partition(":")[0] for said in source.review(())] == [*keys]
    for file in keys.values():
        Path(file).touch()
    assert source.review(()) == ()


def test_checking_a_configuration_needs_no_paho() -> None:
    import subprocess
    import sys

    code = "import sys, adapters.mqtt.settings; sys.exit('paho' in sys.modules or 'msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
