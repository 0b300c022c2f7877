"""Real databases for tests: started in a folder of their own on ports of 127.0.0.1, ended when the test is over."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import urllib3

from tests.contracts.rig import eventually
from tests.servers import binary, free_port

__all__ = ["Server", "free_port", "influxd", "query", "victoria_metrics"]

_INFLUXD = """
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "error"
"""


@dataclass(slots=True)
class Server:
    """A database process; `start` again after `stop` continues with the same files on the same port."""

    command: Sequence[str]
    url: str
    health: str
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        await eventually(self._answers, f"{self.command[0]} answers (see {self.log})", 120.0)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        try:
            with urllib3.PoolManager(retries=False) as pool:
                return pool.request("GET", self.url + self.health, timeout=20).status in (200, 204)
        except urllib3.exceptions.HTTPError:
            return False

    async def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 90)
        self._process = None


def influxd(folder: Path) -> Server:
    """InfluxDB 1.x."""
    program, port = binary("influxd"), free_port()
    config = folder / "influxdb.conf"
    config.write_text(_INFLUXD.format(folder=folder, port=port))
    command = [program, "run", "-config", str(config)]
    return Server(command, f"http://127.0.0.1:{port}", "/ping", folder / "influxd.log")


def victoria_metrics(folder: Path) -> Server:
    """VictoriaMetrics speaks API v2. It keeps milliseconds and floats: a target for counts, not for exactness."""
    program, port = binary("victoria-metrics"), free_port()
    command = [
        program,
        "-retentionPeriod=100y",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={folder / 'vm'}",
        "-search.latencyOffset=0s",
    ]
    return Server(command, f"http://127.0.0.1:{port}", "/health", folder / "vm.log")


def query(url: str, database: str, text: str) -> list[Mapping[str, Any]]:
    """The series of a query to InfluxDB 1.x: name, tags, columns, values; times in ns, numbers as the server wrote them.

    Numbers are Decimal, so that no digit and no sign of zero is lost before the type of the field is known.
    """
    fields = {"db": database, "q": text, "epoch": "ns"}
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request("POST", f"{url}/query", fields=fields, encode_multipart=False, timeout=90)
    result = json.loads(answer.data, parse_int=Decimal, parse_float=Decimal)["results"][0]
    assert "error" not in result, result["error"]
    return list(result.get("series", ()))
