"""Reading databases back with nothing but HTTP and JSON: the oracle's eyes."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections import Counter
from typing import Any

from tests.line.oracle import Series, from_influx

PATIENCE = 90.0  # s


def influx(url: str, database: str, text: str, *, method: str = "GET") -> list[dict[str, Any]]:
    """Rows of an InfluxQL query: columns and tags as one dictionary each, times in ns."""
    query = urllib.parse.urlencode({"db": database, "q": text, "epoch": "ns"})
    request = urllib.request.Request(f"{url}/query?{query}", method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        result = json.load(answer)["results"][0]
    assert "error" not in result, result
    return [
        {
            "measurement": series["name"],
            **series.get("tags", {}),
            **dict(zip(series["columns"], row, strict=True)),
        }
        for series in result.get("series", ())
        for row in series["values"]
    ]


def influx_values(url: str, database: str) -> Series:
    """The machines' values: what the collector says of quality and of gaps is in measurements of its own."""
    rows = influx(url, database, "SELECT * FROM /.*/")
    return from_influx(
        row for row in rows if row["measurement"] not in ("quality", "collector_gap", "collector_canary")
    )


def victoria_counts(url: str) -> Counter[tuple[str, str]]:
    """How many samples VictoriaMetrics holds of each (machine, signal)."""
    query = urllib.parse.urlencode({"match[]": '{__name__!~"(machine|quality)_.+"}'})
    counts: Counter[tuple[str, str]] = Counter()
    with urllib.request.urlopen(f"{url}/api/v1/export?{query}", timeout=PATIENCE) as answer:
        for line in answer:
            row = json.loads(line)
            metric = row["metric"]
            name = metric["__name__"].removeprefix(f"{metric['type']}_")
            counts[metric["machine"], name] += len(row["values"])
    return counts
