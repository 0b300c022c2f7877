"""The collector's configuration for a run, as YAML text: what a user would write by hand, every signal once.

Written as text, not through a YAML library: the island needs none, and the file is meant to be read. Every free text
goes through JSON, whose strings are YAML strings.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from json import dumps
from pathlib import Path
from types import MappingProxyType
from typing import Final

from simulators.faces.opcua_security import Security
from simulators.model import INTEGERS, Model, Publication, Signal, Type, publications
from simulators.units import config_text

CLIENT_ID = "shopfloor-demo"
LOCATION = "location: {enterprise: demo, site: lab, area: hall-1}"
BROKER_BESIDE = "sim-broker"


def configuration(
    models: Sequence[Model],
    endpoints: Mapping[str, str],
    *,
    mqtt: str = "auto",
    faces: Mapping[str, str] | None = None,
    beside: bool = False,
    logins: Mapping[str, str] | None = None,
) -> str:
    """The whole file; `endpoints` maps machine ids, and "mqtt", to URLs. mqtt: the version that the broker speaks.

    faces: of machines that have another than their kind's. Who only writes a file is no source of a collector.
    beside: to be read together with another configuration: without a location, with another name for the broker, and every
    machine says in a tag that it is simulated. logins: how to get into the OPC UA servers, as `login` says it.
    """
    worn = {model.machine: (faces or {}).get(model.machine, model.interface) for model in models}
    text = "\n".join(_lines(models, endpoints, mqtt, worn, logins or {})) + "\n"
    return _aside(text) if beside else text


def login(security: Security, fingerprint: str, secrets: Path = Path()) -> str:
    """The keys of a source that get it into a machine. secrets: folder of the passwords, a file for each user."""
    parts = [f"security: {security.mode()}"]
    if security.mode() != "none":
        parts.append(f"server_certificate_sha256: {_text(fingerprint)}")
    if (account := security.account()) is not None:
        parts.append(f"username: {_text(account.name)}")
        parts.append(f"password: {_text(f'${{file:{secrets / account.name}}}')}")
    return ", ".join(parts)


def _aside(text: str) -> str:
    text = text.replace(LOCATION + "\n", "").replace("\n  broker: ", f"\n  {BROKER_BESIDE}: ")
    text = text.replace("\n      - source: broker\n", f"\n      - source: {BROKER_BESIDE}\n")
    text = text.replace(f"client_id: {CLIENT_ID}", f"client_id: {CLIENT_ID}-beside")
    return re.sub(r"\n    read:\n", '\n    tags: {simulated: "yes"}\n    read:\n', text)


def _lines(
    models: Sequence[Model],
    endpoints: Mapping[str, str],
    mqtt: str,
    faces: Mapping[str, str],
    logins: Mapping[str, str],
) -> Iterator[str]:
    yield "# Written by the simulators, for the machines they run. Restarting them may change the ports."
    yield "version: 1"
    yield LOCATION
    yield "sources:"
    edge = "sparkplug" in faces.values()
    for name, url in endpoints.items():
        if name == "mqtt":
            more = ", rebirth: true" if edge else ""
            yield f"  broker: {{type: mqtt, url: {_text(url)}, version: {_text(mqtt)}, client_id: {CLIENT_ID}{more}}}"
        elif faces[name] == "opcua":
            yield f"  {name}: {{type: opcua, url: {_text(url)}, {logins.get(name) or login(Security(('none',)), '')}}}"
    yield "machines:"
    for model in models:
        if faces[model.machine] not in READ:
            continue
        yield f"  - id: {model.machine}"
        yield f"    label: {_text(model.title)}"
        yield f"    type: {model.kind}"
        yield "    read:"
        yield from READ[faces[model.machine]](model)


def _opcua(model: Model) -> Iterator[str]:
    yield f"      - source: {model.machine}"
    if model.alarms:
        yield "        events:"
        yield "          - {name: alarm}"
    yield "        signals:"
    for signal in model.signals:
        node = f"nsu=urn:shopfloor:sim:{model.kind};s={signal.address or signal.name}"
        parts = [
            f"name: {signal.name}",
            f"node: {_text(node)}",
            *_unit(signal),
            f"every: {model.period_ms}ms",
        ]
        yield f"          - {{{', '.join(parts)}}}"


def _mqtt(model: Model) -> Iterator[str]:
    signals = {signal.name: signal for signal in model.signals}
    for publication in publications(model):
        time = ", time: ts, time_unit: ms" if publication.form == "json" else ""
        yield "      - source: broker"
        yield f"        topic: shop/{model.machine}/{publication.topic}"
        yield f"        payload: {{type: {publication.form}{time}}}"
        yield "        signals:"
        for name, path in publication.fields.items():
            yield f"          - {{{', '.join(_field(signals[name], path, publication))}}}"


def _field(signal: Signal, path: str, publication: Publication) -> Iterator[str]:
    yield f"name: {signal.name}"
    if publication.form == "json":
        yield f"value: {path}"
    if kind := _kind(signal, publication):
        yield f"kind: {kind}"
    yield from _unit(signal)


def _sparkplug(model: Model) -> Iterator[str]:
    yield "      - source: broker"
    yield f"        sparkplug: shopfloor/sim/{model.machine}"
    yield "        signals:"
    for signal in model.signals:
        yield f"          - {{{', '.join([f'name: {signal.name}', *_unit(signal)])}}}"


READ: Final = MappingProxyType({"opcua": _opcua, "mqtt": _mqtt, "sparkplug": _sparkplug})


def _kind(signal: Signal, publication: Publication) -> str:
    """Only where the payload does not say it: JSON numbers are `number`, bare text is `text`."""
    if signal.length:
        return "waveform"
    if signal.type in INTEGERS:
        return "integer"
    if signal.type is Type.BOOLEAN:
        return "flag"
    return "text" if signal.type is Type.STRING and publication.form == "json" else ""


def _unit(signal: Signal) -> Iterator[str]:
    if signal.unit:
        yield f"unit: {_text(config_text(signal.unit))}"


def _text(text: str) -> str:
    return dumps(text, ensure_ascii=False)
