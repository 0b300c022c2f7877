"""A collector as a process of its own: its packages have common names, so it is never imported where tests run."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from simulators.errors import SimulatorError
from simulators.testing.handles import truth_rows

VARIABLE: Final = "SHOPFLOOR_COLLECTOR"
PATIENCE: Final = 120.0  # s


def command() -> Sequence[str]:
    """The collector's command: from the environment variable, or the one on the path. SimulatorError if there is none."""
    given = os.environ.get(VARIABLE, "")
    if given:
        return shlex.split(given)
    found = shutil.which("collector")
    if found is None:
        raise SimulatorError(
            f"there is no collector: install shopfloor-collector in an environment of its own and set {VARIABLE} to its command."
        )
    return [found]


class SimCollector:
    """`collector run` on a configuration; its state lies beside that."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.folder = config.parent
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until its sources are connected."""
        with (self.folder / "collector.log").open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is the user's own
                [*command(), "run", "--json", str(self.config)],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder, env=_environment(),
            )  # fmt: skip
        self._until(self._connected, "its sources are connected")

    def wait_for(self, values: int, source: str) -> None:
        """Until it has decoded so many values of a source: the machine's own, or `broker`."""
        self._until(lambda: self._decoded(source) >= values, f"{values} values of {source}")

    def stop(self) -> Mapping[str, Any]:
        """An orderly stop; the books that it prints at the end. Empty when it was stopped before."""
        if self._process is None:
            return {}
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise SimulatorError(f"the collector ended with {process.returncode}: {self.log()[-1500:]}")
        books: Mapping[str, Any] = json.loads(output.rstrip("\n").rpartition("\n")[2])
        return books

    def stored(self) -> list[dict[str, Any]]:
        """What it has kept, as `collector export` says it."""
        target = self.folder / "stored.jsonl"
        done = self._ask("export", "-o", str(target), str(self.config))
        if done.returncode:
            raise SimulatorError(f"collector export: {done.stderr.strip()}")
        return list(truth_rows(target))

    def log(self) -> str:
        """Its words so far."""
        return (self.folder / "collector.log").read_text(encoding="utf-8")

    def _ask(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - the command is the user's own
            [*command(), *arguments], check=False, capture_output=True, text=True, cwd=self.folder, env=_environment(), timeout=PATIENCE
        )  # fmt: skip

    def _books(self) -> Mapping[str, Any]:
        said = self._ask("status", "--json", str(self.config)).stdout
        books: Mapping[str, Any] = json.loads(said) if said.startswith("{") else {}
        return books

    def _sources(self) -> list[Mapping[str, Any]]:
        return [row for row in self._books().get("sources", ()) if row["name"] != "collector"]

    def _connected(self) -> bool:
        rows = self._sources()
        return bool(rows) and all(row.get("state") == "connected" for row in rows)

    def _decoded(self, source: str) -> int:
        return sum(int(row["decoded"]) for row in self._sources() if row["name"] == source)

    def _until(self, true: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            if self._process is not None and self._process.poll() is not None:
                raise SimulatorError(f"the collector ended before {what}: {self.log()[-1500:]}")
            if time.monotonic() > end:
                raise SimulatorError(
                    f"not within {PATIENCE:.0f} s: {what}. The collector said: {self.log()[-1500:]}"
                )
            time.sleep(0.1)


def _environment() -> Mapping[str, str]:
    """Without the paths of the environment that the tests run in."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
