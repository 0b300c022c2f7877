"""From settings to a connection that the broker accepted: dial, CONNECT, and 3.1.1 where 5 is not understood."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from paho.mqtt.enums import MQTTProtocolVersion

from adapters.errors import Misconfigured, NotConnected
from adapters.mqtt import errors
from adapters.mqtt.broker_settings import Broker
from adapters.mqtt.channel import Identity, Wire
from adapters.mqtt.connection import FAREWELL, Connack, Connection
from adapters.mqtt.dial import dial

VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


async def connect(
    settings: Broker,
    client_id: str,
    now: Callable[[], int],
    *,
    visiting: bool = False,
    will: tuple[str, bytes] | None = None,
) -> Connection:
    """A connection that the broker accepted. With version auto, 3.1.1 is tried when 5 is refused.

    visiting: the broker keeps nothing of this connection when it ends. will: topic and payload, QoS 1, retained.
    """
    dialled = _Dial(settings, client_id, now, visiting, will)
    if settings.version != "auto":
        return await _connect(dialled, settings.version)
    try:
        return await _connect(dialled, "5")
    except (_TooNew, _NoAnswer):
        return await _connect(dialled, "3.1.1")


class _Dial(NamedTuple):
    settings: Broker
    client_id: str
    now: Callable[[], int]
    visiting: bool
    will: tuple[str, bytes] | None


def _identity(dialled: _Dial, version: str) -> Identity:
    largest = dialled.settings.max_packet
    return Identity(dialled.client_id, VERSIONS[version], largest, dialled.visiting, dialled.now)


class _TooNew(Misconfigured):
    """The broker refuses MQTT 5, with its reason code or with that of 3.1.1."""


class _NoAnswer(NotConnected):
    """No answer to a CONNECT of MQTT 5: the broker is in trouble, or does not understand it."""


async def _connect(dialled: _Dial, version: str) -> Connection:
    settings = dialled.settings
    prepared = await dial(settings)
    wire = Wire(prepared, _identity(dialled, version))
    if settings.username:
        password = settings.password.get_secret_value() if settings.password else None
        wire.username_pw_set(settings.username, password)
    if dialled.will is not None:
        wire.will_set(*dialled.will, qos=1, retain=True)
    connection = Connection(settings, wire, version, visiting=dialled.visiting)
    with ExitStack() as undo:
        undo.callback(connection.close)
        answer = await _opened(connection)
        if answer.code < FAREWELL:
            undo.pop_all()
            return connection
    error = errors.by_reason(settings.url, answer.code, answer.name)
    raise _TooNew(str(error), error.remedy) if version == "5" and answer.code == 0x84 else error


async def _opened(connection: Connection) -> Connack:
    """Old brokers hang up on what they do not understand, or say nothing: without any answer, 5 counts as refused."""
    try:
        return await connection.open()
    except NotConnected as error:
        if connection.version == "5":
            raise _NoAnswer(str(error), error.remedy) from error
        raise
