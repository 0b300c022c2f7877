"""The collector's configuration for a recording, as YAML text; see simulators/config_writer.py for why not by a library."""

from collections.abc import Iterator, Mapping
from json import dumps

from simulators.model import Type
from simulators.replay.tape import Signal, Tape

KINDS = {Type.BOOLEAN: "flag", Type.INT64: "integer", Type.DOUBLE: "number", Type.STRING: "text"}


def configuration(
    tape: Tape, face: str, url: str, topics: Mapping[Signal, str], *, lines: bool, mqtt: str
) -> str:
    """The whole file; `lines`: the recording is spoken as it is. mqtt: the version that the broker speaks."""
    head = [
        "# Written by the simulators, for the recording they play. Restarting them may change the port.",
        "version: 1",
        "location: {enterprise: demo, site: lab, area: hall-1}",
        "sources:",
        f"  broker: {{type: mqtt, url: {_text(url)}, version: {_text(mqtt)}, client_id: shopfloor-replay}}"
        if face == "mqtt"
        else f"  replay: {{type: opcua, url: {_text(url)}, security: none}}",
        "machines:",
    ]
    return "\n".join([*head, *_machines(tape, face, topics, lines)]) + "\n"


def _machines(tape: Tape, face: str, topics: Mapping[Signal, str], lines: bool) -> Iterator[str]:
    for machine in tape.machines:
        yield f"  - id: {machine}"
        yield "    type: recording"
        yield "    read:"
        if lines:
            yield '      - {source: broker, topic: "shdr/{machine}", payload: shdr, adopt: true}'
        elif face == "mqtt":
            yield "      - source: broker"
            yield '        topic: "replay/{machine}/{signal}"'
            yield "        payload: {type: json, time: ts, time_unit: us}"
            yield from _signals(tape, machine, topics)
        else:
            yield "      - source: replay"
            yield from _signals(tape, machine, None)


def _signals(tape: Tape, machine: str, topics: Mapping[Signal, str] | None) -> Iterator[str]:
    yield "        signals:"
    for (owner, name), kind in tape.signals.items():
        if owner != machine:
            continue
        if topics is None:
            node = _text(f"nsu=urn:shopfloor:replay;s={machine}/{name}")
            yield f"          - {{name: {_text(name)}, node: {node}, every: 10ms, queue: 1000}}"
        else:
            item = topics[owner, name].rpartition("/")[2]
            yield f"          - {{name: {_text(name)}, item: {_text(item)}, value: value, kind: {KINDS[kind]}}}"


def _text(text: str) -> str:
    return dumps(text, ensure_ascii=False)
