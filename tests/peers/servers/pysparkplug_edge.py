"""pysparkplug as an edge node, in its own environment. Lines: first the births, then data; see tests/peers/edges.py."""

import base64
import datetime as dt
import json
import sys
from typing import Any

import pysparkplug as sp  # type: ignore[import-not-found]  # lives in .peers only

NAMES = {kind.name.replace("_", "").lower(): kind for kind in sp.DataType}


def say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def metric(row: list[Any]) -> Any:
    name, kind, value, *alias = row
    datatype = NAMES[kind.lower()]
    if value is not None and kind in ("Bytes", "File"):
        value = base64.b64decode(value)
    elif value is not None and kind == "DateTime":
        value = moment(value)
    elif value is not None and kind == "DateTimeArray":
        value = tuple(moment(each) for each in value)
    elif kind in ("Int64", "UInt64", "UInt32") and value is not None:
        value = int(value)
    elif isinstance(value, list):
        value = tuple(value)
    stamp = sp.get_current_timestamp()
    return sp.Metric(
        stamp, name, datatype, alias=alias[0] if alias else None, value=value, is_null=value is None
    )


def moment(ms: int | str) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=int(ms))


def main() -> None:
    say({"event": "ready"})
    first = json.loads(sys.stdin.readline())
    rebirth = metric(["Node Control/Rebirth", "Boolean", False])
    births = first["birth"]
    edge = sp.EdgeNode("plant", first["node"], [rebirth, *map(metric, births["node"])])
    edge.register(sp.Device("press", [metric(row) for row in births["device"]]))
    edge.connect("127.0.0.1", port=first["port"], blocking=False)
    say({"event": "born"})
    for line in sys.stdin:
        wish = json.loads(line)
        if "node" in wish:
            edge.update([metric(row) for row in wish["node"]])
        if "device" in wish:
            edge.update_device("press", [metric(row) for row in wish["device"]])
        if "death" in wish:
            edge.deregister("press")
        say({"done": 1})
    edge.disconnect()


main()
