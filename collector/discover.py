"""`collector discover`: from what was typed to a source that can be looked at, and from what was found to a configuration.

A source that the file to be written knows already (the same address) is looked at as it is configured there, under its
name: user, password, security and trust are then what a running collector uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adapters.discovery import Progress, Reference, Report, Wishes, machine_id

if TYPE_CHECKING:
    from adapters.opcua.security import Gate
    from config.settings import Settings

TYPES = {"opc.tcp": "opcua", **dict.fromkeys(("mqtt", "mqtts", "ws", "wss"), "mqtt")}
"""The adapter by the scheme of the address."""


_PORTS = {"opc.tcp": 4840, "mqtt": 1883, "mqtts": 8883}


class Unusable(Exception):
    """What was typed cannot be looked at; the message says why."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed. password: how it is to be had (`${env:…}`, `${file:…}`) and what it is."""

    url: str
    name: str = ""
    security: str = ""
    username: str = ""
    password: tuple[Reference, str] | None = None
    state: str = ""
    file: Path | None = None
    ca: str = ""
    rebirth: bool = False


@dataclass(slots=True)
class Target:
    """Who is looked at. keys: the source as it would be written. env: with which the file is read again."""

    name: str
    settings: Any
    keys: dict[str, Any]
    state: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    known: bool = False


def target_of(typed: Typed) -> Target:
    """Who is meant. Raises Unusable, and config.writing_text.Unwritable for a file that is not in order."""
    from config.writing import present

    env = dict(os.environ)
    before = present(typed.file, env) if typed.file else None
    keys = _keys(typed)
    settings = _settings(typed, keys)
    state = Path(typed.state) if typed.state else _state(typed, before)
    for name, source in (before.sources if before else {}).items():
        if source.type == settings.type and source.url == settings.url:
            return Target(name, source, keys, state, env, known=True)
    name = typed.name or _name(typed.url, settings)
    if before and name in before.sources:
        raise Unusable(f"{typed.file} has a source {name} with another address: give this one another --name")
    if typed.password is not None and typed.password[0].startswith("${env:"):
        env[typed.password[0].removeprefix("${env:").removesuffix("}")] = typed.password[1]
    return Target(name, settings, keys, state, env)


def _state(typed: Typed, before: Settings | None) -> Path:
    if before is not None:
        return before.state
    return (typed.file.resolve().parent if typed.file else Path()) / "state"


def _keys(typed: Typed) -> dict[str, Any]:
    """The source as it would be written."""
    kind = TYPES.get(typed.url.partition("://")[0].lower())
    if kind is None:
        raise Unusable(
            f"{typed.url} is no address that can be looked at: OPC UA servers can be, as opc.tcp://host:4840, and MQTT brokers, "
            "as mqtts://host or mqtt://host"
        )
    keys: dict[str, Any] = {"type": kind, "url": typed.url}
    if kind == "opcua" and (typed.ca or typed.rebirth):
        raise Unusable("--ca and --rebirth are for MQTT brokers")
    if kind == "mqtt" and typed.security:
        raise Unusable(
            "--security is for OPC UA servers: mqtts:// is encrypted and verified, mqtt:// is plain text"
        )
    if typed.ca:
        keys["ca"] = typed.ca
    if typed.rebirth:
        keys["rebirth"] = True
    if typed.security:
        keys["security"] = typed.security
    if typed.username:
        keys["username"] = typed.username
    if typed.password is not None:
        keys["password"] = typed.password[0]
    return keys


def _settings(typed: Typed, keys: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    from adapters.catalogue import source_types

    given = dict(keys)
    if typed.password is not None:
        given["password"] = typed.password[1]
    try:
        return source_types()[keys["type"]].model_validate(given)
    except ValidationError as error:
        said = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise Unusable(said) from None


def _name(url: str, settings: Any) -> str:
    """After its address, so that two machines are never taken for one: what is trusted is stored by this name."""
    parts = urlsplit(settings.url)
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f"-{parts.port}"
    return machine_id(f"{settings.type}-{(parts.hostname or url)[:40]}{port}")


def gate_of(target: Target) -> Gate:
    """What decides whom we talk to, for an OPC UA source."""
    from adapters.clock import SystemClock
    from adapters.opcua.security import Gate

    return Gate(target.name, target.settings, str(target.state), SystemClock().wall_now)


async def look(target: Target, wishes: Wishes, progress: Progress) -> Report:
    """Look around. Raises NotConnected and Misconfigured."""
    if target.settings.type == "mqtt":
        from adapters.mqtt.discover import discover as look_at_broker

        return await look_at_broker(target.settings, target.name, target.keys, wishes, progress)
    from adapters.opcua.discover import discover

    return await discover(gate_of(target), target.name, target.keys, wishes, progress)
