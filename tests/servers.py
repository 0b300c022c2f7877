"""Real servers for tests: found on the machine or skipped aloud; in CI (CI=true) a missing one is a failure."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle

import pytest

BINARIES = {
    "mosquitto": ("mosquitto", "/usr/sbin/mosquitto"),
    "influxd": ("influxd", "/usr/bin/influxd"),
    "victoria-metrics": ("victoria-metrics", "/usr/bin/victoria-metrics"),
    "chromium": ("chromium", "/usr/bin/chromium"),
    "strace": ("strace", "/usr/bin/strace"),
}


PORTS = range(20_000, 32_000)
"""Below those that a system hands out by itself (Linux: from 32768): who asks for any port, or connects, gets none of these."""


def free_port() -> int:
    """For a program that must be told its port, or that ends and begins again on it: nobody takes it in between."""
    while True:
        port = next(_shuffled())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@cache
def _shuffled() -> Iterator[int]:
    """This worker's share of them, each once before any comes again: two that are asked for at the same time differ.

    Not from the common generator, which Hypothesis seeds: with it, two workers would choose the same ones.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = list(PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))])
    random.SystemRandom().shuffle(share)
    return cycle(share)


def binary(name: str) -> str:
    """The path of a server's program, or skip (locally) or fail (in CI) with the package to install."""
    for candidate in BINARIES[name]:
        found = shutil.which(candidate)
        if found:
            return found
    message = f"{name} is not installed here (Debian: apt install {name.replace('influxd', 'influxdb')})"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
