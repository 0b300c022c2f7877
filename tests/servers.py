"""Real servers for tests: found on the machine or skipped aloud; in CI (CI=true) a missing one is a failure."""

from __future__ import annotations

import os
import shutil

import pytest

BINARIES = {
    "mosquitto": ("mosquitto", "/usr/sbin/mosquitto"),
    "influxd": ("influxd", "/usr/bin/influxd"),
    "victoria-metrics": ("victoria-metrics", "/usr/bin/victoria-metrics"),
    "chromium": ("chromium", "/usr/bin/chromium"),
    "strace": ("strace", "/usr/bin/strace"),
}


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
