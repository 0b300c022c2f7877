"""python-opcua (in .peers): DataChangeNotifications as hexadecimal lines on stdin, what it reads in them as JSON on stdout."""

import json
import struct
import sys
from datetime import datetime, timedelta
from typing import Any

from opcua import ua  # type: ignore[import-not-found]  # lives in .peers only
from opcua.common.utils import Buffer  # type: ignore[import-not-found]
from opcua.ua.ua_binary import struct_from_binary  # type: ignore[import-not-found]


def shown(value: Any) -> Any:
    """Exact as text: floats by their bits."""
    if isinstance(value, list):
        return [shown(cell) for cell in value]
    if isinstance(value, float):
        return "x" + struct.pack(">d", value).hex()
    if isinstance(value, ua.LocalizedText):
        return shown(value.Text)
    if isinstance(value, ua.StatusCode):
        return str(value.value)
    return None if value is None else str(value)


def microseconds(moment: Any) -> int | None:
    return None if moment is None else (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001


for line in sys.stdin:
    found = struct_from_binary(ua.DataChangeNotification, Buffer(bytes.fromhex(line)))
    rows = []
    for item in found.MonitoredItems:
        value = item.Value
        rows.append(
            {
                "handle": item.ClientHandle,
                "value": shown(value.Value.Value),
                "status": value.StatusCode.value if value.StatusCode else 0,
                "source": microseconds(value.SourceTimestamp),
                "server": microseconds(value.ServerTimestamp),
            }
        )
    sys.stdout.write(json.dumps(rows) + "\n")
