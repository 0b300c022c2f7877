"""Wrong configurations: each with the line of its mistake and a part of what is to be said about it."""

from __future__ import annotations

from typing import NamedTuple

GOOD = """\
version: 1
sources:
  plc: {type: opcua, url: "opc.tcp://127.0.0.1:4840", security: none}
  broker: {type: mqtt, url: "mqtt://127.0.0.1:1883", client_id: lab}
machines:
  - id: cnc-1
    source: plc
    signals:
      - {name: load, node: "nsu=urn:cnc;s=Load", unit: "%"}
  - id: meter-1
    read:
      - source: broker
        topic: energy/meter-1
        signals:
          - name: power
            value: P
sinks:
  - {type: influxdb, url: "http://localhost:8086", org: lab, bucket: b, token: "${env:TOKEN}"}
"""


class Bad(NamedTuple):
    """`old` in GOOD becomes `new` (without `old`: appended); then a problem stands in `line` and contains `says`."""

    name: str
    old: str
    new: str
    line: int
    says: str
    hint: str = ""


SAMPLES = [
    Bad("unknown key at the top", "sinks:", "sinkz:", 17, "unknown key 'sinkz'", "did you mean sinks?"),
    Bad("unknown key in a source", "security: none", "securty: none", 3, "unknown key 'securty'", "security"),
    Bad(
        "unknown key in a machine", "id: cnc-1", "id: cnc-1\n    lable: x", 7, "unknown key 'lable'", "label"
    ),
    Bad(
        "unknown key in a read",
        "topic: energy",
        "qoss: 1\n        topic: energy",
        13,
        "unknown key 'qoss'",
        "qos",
    ),
    Bad(
        "unknown key in a signal",
        "            value: P",
        "            valu: P",
        16,
        "unknown key 'valu'",
        "value",
    ),
    Bad(
        "unknown key in the short form", "source: plc", "source: plc\n    topic: x", 8, "unknown key 'topic'"
    ),
    Bad("bad NodeId", "nsu=urn:cnc;s=Load", "Load", 9, "'Load' is not a NodeId", "nsu=urn:vendor"),
    Bad(
        "duplicate signal",
        '"%"}',
        '"%"}\n      - {name: load, node: "i=5"}',
        10,
        "two signals of one machine are named load",
    ),
    Bad(
        "two event entries of one name",
        '"%"}',
        '"%"}\n    events: [{severity: 500}, {from: Machines/Door, name: door}, {from: "i=85"}]',
        10,
        "two event entries of one machine are named alarm",
        "name: of its own",
    ),
    Bad("a dot in the name of events", '"%"}', '"%"}\n    events: [{name: a.b}]', 10, "no dots"),
    Bad(
        "increments named like another signal",
        '"%"}',
        '"%"}\n      - {name: parts, node: "i=5", increments: load}',
        10,
        "two signals of one machine are named load",
        "another name",
    ),
    Bad(
        "increments named like the events of others",
        '"%"}',
        '"%"}\n      - {name: parts, node: "i=5", counter: {name: made, rework: made_event}}',
        10,
        "two signals of one machine are named made_event",
    ),
    Bad("a counter said twice", '"%"}', '"%", increments: a, counter: {name: b}}', 9, "keep one of them"),
    Bad("a counter of texts", '"%"}', '"%", kind: text, increments: a}', 9, "a counter counts in numbers"),
    Bad("a counter of 24 bits", '"%"}', '"%", counter: {name: a, width: 24}}', 9, "must be 16, 32 or 64"),
    Bad("a source named like a derivation", "broker: {", "derived.x: {", 4, "names that begin with derived."),
    Bad(
        "a sink named like a derivation",
        "{type: influxdb,",
        "{name: derived.x, type: influxdb,",
        18,
        "derived.x belongs to",
    ),
    Bad(
        "duplicate machine",
        "id: meter-1",
        "id: cnc-1",
        10,
        "two machines have the id cnc-1: first in",
        "another id",
    ),
    Bad("unknown source", "source: plc", "source: plcc", 7, "there is no source 'plcc'", "did you mean plc?"),
    Bad("unknown source in read", "- source: broker", "- source: brokr", 12, "no source 'brokr'", "broker"),
    Bad(
        "unknown source type", "type: opcua", "type: opcau", 3, "unknown type 'opcau'", "did you mean opcua?"
    ),
    Bad("source without type", "type: opcua, ", "", 3, "plc: type is missing"),
    Bad("source without url", 'url: "opc.tcp://127.0.0.1:4840", ', "", 3, "url is missing"),
    Bad(
        "wrong url", "opc.tcp://127.0.0.1:4840", "http://127.0.0.1", 3, "not the address of an OPC UA server"
    ),
    Bad(
        "missing environment variable",
        "${env:TOKEN}",
        "${env:TOKN}",
        18,
        "variable TOKN is not set",
        "export",
    ),
    Bad(
        "missing secret file", "${env:TOKEN}", "${file:nowhere}", 18, "the secret file nowhere cannot be read"
    ),
    Bad("unknown reference", "${env:TOKEN}", "${TOKEN}", 18, "${TOKEN} cannot be expanded", "${env:NAME}"),
    Bad("open reference", "${env:TOKEN}", "${env:TOKEN", 18, "cannot be expanded"),
    Bad("wrong version", "version: 1", "version: 2", 1, "version: must be 1"),
    Bad("version missing", "version: 1\n", "", 1, "version is missing", "version: 1"),
    Bad(
        "duplicate key",
        "    source: plc\n",
        "    source: plc\n    id: b\n",
        8,
        "id is given twice: first in line 6",
    ),
    Bad("duplicate source", "  broker: {", "  plc: {", 4, "plc is given twice: first in line 3"),
    Bad("tab", "    source: plc", "\tsource: plc", 7, "a tab cannot indent"),
    Bad("percent without quotes", 'unit: "%"', "unit: %", 9, "cannot begin a value", "quotes"),
    Bad("open bracket", 'token: "${env:TOKEN}"}', "token: x", 19, "bracket"),
    Bad("open quote", '"http://localhost:8086"', '"http://localhost:8086', 19, "quote"),
    Bad("two colons", "value: P", "value: P: Q", 16, "a second ': '", "quotes"),
    Bad("tag", "value: P", "value: !path P", 16, "the YAML tag !path has no meaning"),
    Bad("unknown alias", "value: P", "value: *P", 16, "*P refers to nothing"),
    Bad("merge key", "id: cnc-1", "<<: {label: x}\n    id: cnc-1", 6, "merge keys"),
    Bad("second document", "sinks:", "---\nsinks:", 17, "a second document"),
    Bad("not a number", "value: P", "value: P\n            scale: .nan", 17, "not a number"),
    Bad("infinite", "value: P", "value: P\n            scale: 1e999", 17, "not a number"),
    Bad("bad duration", 'unit: "%"', "every: 250", 9, "every: a duration is a number with its unit"),
    Bad("bad deadband", "value: P", "value: P\n            deadband: 2 percent", 15, "deadband is a number"),
    Bad("percent without range", "value: P", "value: P\n            deadband: 2%", 15, "needs the range"),
    Bad("bad scale", "value: P", "value: P\n            scale: much", 17, "scale: must be a valid number"),
    Bad("number as text", "name: power", "name: 5", 15, "name: must be text", "put it in quotes"),
    Bad(
        "bad kind",
        "value: P",
        "value: P\n            kind: nummer",
        17,
        "kind: must be",
        "did you mean number?",
    ),
    Bad("signal without name", "- name: power\n            value: P", "- value: P", 15, "name is missing"),
    Bad("line break in a name", "name: power", 'name: "a\\nb"', 15, "control characters"),
    Bad("bad machine id", "id: cnc-1", "id: cnc 1", 6, "id: only letters, digits"),
    Bad("machine without id", "- id: cnc-1\n    source", "- source", 6, "id is missing"),
    Bad(
        "machine without signals", "value: P", "value: P\n  - id: idle", 17, "the machine idle reads nothing"
    ),
    Bad(
        "empty signals",
        "    signals:\n      - {name: load",
        "    signals: []\n    tags:\n      {name: load",
        6,
        "nothing to read",
    ),
    Bad("source and read", "id: meter-1", "id: meter-1\n    source: plc", 11, "cannot stand side by side"),
    Bad(
        "profile",
        "id: cnc-1",
        "id: cnc-1\n    profile: cnc",
        7,
        "profile: is not available yet",
        "list the signals",
    ),
    Bad("no machines", GOOD[GOOD.index("machines:") : GOOD.index("sinks:")], "", 1, "there are no machines"),
    Bad(
        "machines not a list",
        GOOD[GOOD.index("  - id: cnc-1") : GOOD.index("sinks:")],
        "  a: 1\n",
        5,
        "must be a list",
    ),
    Bad(
        "empty machines", GOOD[GOOD.index("  - id: cnc-1") : GOOD.index("sinks:")], "", 5, "machines is empty"
    ),
    Bad(
        "two sinks of one name",
        "sinks:",
        "sinks:\n  - {type: influxdb, url: 'http://h', bucket: b}",
        19,
        "two sinks are named influxdb",
        "name:",
    ),
    Bad(
        "sink named history",
        "type: influxdb",
        "name: history, type: influxdb",
        18,
        "belongs to the built-in history",
    ),
    Bad(
        "sink of unknown type",
        "type: influxdb",
        "type: influx",
        18,
        "unknown type 'influx'",
        "did you mean influxdb?",
    ),
    Bad(
        "history misspelt",
        "sinks:",
        "history: {kep: 9d}\nsinks:",
        17,
        "unknown key 'kep'",
        "did you mean keep?",
    ),
    Bad(
        "history false",
        "sinks:",
        "history: false\nsinks:",
        17,
        "history: must be a group of keys",
        "write off",
    ),
    Bad("history empty", "sinks:", "history:\nsinks:", 17, "history is empty"),
    Bad(
        "buffer of nothing",
        "sinks:",
        "buffer: {max: 500kB}\nsinks:",
        17,
        "max: the buffer needs at least 1MB",
    ),
    Bad("buffer size", "sinks:", "buffer: {max: 2}\nsinks:", 17, "max: a size is a number with its unit"),
    Bad("page for everybody", "sinks:", "page: {host: 0.0.0.0}\nsinks:", 17, "no login and no encryption"),
    Bad("page port", "sinks:", "page: {port: 70000}\nsinks:", 17, "port: must be less than"),
    Bad("location", "sinks:", "location: {sit: x}\nsinks:", 17, "unknown key 'sit'", "did you mean site?"),
    Bad("control in location", "sinks:", 'location: {site: "a\\tb"}\nsinks:', 17, "control characters"),
    Bad("bad source name", "  broker: {", '  "my broker": {', 4, "only letters, digits"),
    Bad(
        "for_each of nothing",
        "id: cnc-1",
        "for_each: 3\n    id: cnc-1",
        6,
        "for_each needs variables",
        "1..12",
    ),
    Bad("for_each without range", "id: cnc-1", "for_each: {n: x}\n    id: cnc-1", 6, "n needs a range"),
    Bad("for_each backwards", "id: cnc-1", "for_each: {n: 3..1}\n    id: cnc-1", 6, "n needs a range"),
    Bad(
        "for_each too many",
        "id: cnc-1",
        "for_each: {n: 1..9999999}\n    id: cnc-1",
        6,
        "more than 1000 machines",
    ),
    Bad(
        "for_each same ids",
        "id: cnc-1",
        "for_each: {n: 1..2}\n    id: cnc-1",
        7,
        "two machines have the id",
        "{n}",
    ),
    Bad(
        "signals_file missing",
        "topic: energy",
        "signals_file: x.csv\n        topic: energy",
        13,
        "there is no file x.csv",
        "folder",
    ),
    Bad("complex key", "sinks:", "? [a]\n: 1\nsinks:", 17, "a key must be one word"),
    Bad("bad qos", "topic: energy", "qos: 2\n        topic: energy", 13, "QoS 2 is not used"),
    Bad(
        "signal named by its read's validator",
        "topic: energy/meter-1",
        "topic: energy\n        payload: text",
        16,
        "signal 'power': a text payload has no value paths",
    ),
    Bad("signals without source", "    source: plc\n", "", 6, "source is missing", "add source:"),
    Bad("signals and read", "id: meter-1", "id: meter-1\n    signals: []", 11, "signals: and read:"),
    Bad(
        "read without source",
        "- source: broker\n        topic",
        "- topic",
        12,
        "source is missing",
        "add source:",
    ),
    Bad("source that is no name", "- source: broker", "- source: [broker]", 12, "source must be text"),
    Bad(
        "read of words",
        "- source: broker",
        "- plc\n      - source: broker",
        12,
        "a read entry is a group of keys",
        "write {source",
    ),
    Bad(
        "read of nothing",
        "- source: broker",
        "-\n      - source: broker",
        12,
        "a read entry is a group of keys",
    ),
    Bad("machine of words", "- id: cnc-1", "- cnc-2\n  - id: cnc-1", 6, "must be a group of keys"),
    Bad("source of words", "  broker: {", "  gate: opcua\n  broker: {", 4, "gate: must be a group of keys"),
    Bad("sinks a group", "sinks:\n  - {", "sinks:\n  {", 17, "sinks: must be a list"),
    Bad(
        "signals of words",
        "      - {name: load",
        "      - load\n      - {name: load",
        9,
        "must be a group of keys",
    ),
    Bad("slip in a unit", 'unit: "%"', "unit: rmp", 9, "unit: 'rmp' is not a known unit", "did you mean"),
    Bad(
        "slip in a unit of another reads",
        "value: P",
        "value: P\n            unit: celcius",
        17,
        "'celcius' is not a known unit",
    ),
    Bad(
        "code that is surely a symbol",
        'unit: "%"',
        "unit: KW",
        9,
        "unit: 'KW' is the UNECE code",
        "did you mean 'kW'",
    ),
]
