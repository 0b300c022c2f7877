"""Where the peers are, and how one is started: skipped aloud where they are not installed; in CI that is a failure."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / ".peers"
PYTHON = PEERS / "venv" / "bin" / "python"
NODE = PEERS / "node" / "node_modules"
PATIENCE = 300.0  # s; node-opcua reads its address space from XML first


def python(script: str) -> list[str]:
    """The command of a script in the Python peers' environment."""
    _there(PYTHON)
    return [str(PYTHON), str(HERE / "servers" / script)]


def node(script: str) -> list[str]:
    """The command of a script with the npm peers."""
    _there(NODE)
    program = shutil.which("node")
    if program is None:
        _missing("node is not installed here (Debian: apt install nodejs npm)")
    return [str(program), str(HERE / "servers" / script)]


def _there(path: Path) -> None:
    if not path.exists():
        _missing("the peers that are not ours are not installed: make peers")


def _missing(message: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class Peer:
    """A process that speaks JSON lines. `ready`: the first of them."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        environment = {
            **os.environ,
            "NODE_PATH": str(NODE),
            "NODE_NO_WARNINGS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="peer", daemon=True)
        self._reader.start()
        self.ready = self.hear()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries print as well
                self._lines.put(line)
        self._lines.put("")

    def hear(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next line."""
        try:
            line = self._lines.get(timeout=patience)
        except queue.Empty:
            line = ""
        assert line, f"the peer says nothing: {self._log.read_text(errors='replace')[-2000:]}"
        said: dict[str, Any] = json.loads(line)
        return said

    def ask(self, wish: Any) -> dict[str, Any]:
        """A line, and what is answered."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def stop(self) -> None:
        """Closing stdin ends every peer; one that does not is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()
