"""What holds for every test: laws that a peer cannot break are declared and not skipped; a skip in CI is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Mapping
from functools import wraps

import pytest
from hypothesis import HealthCheck, Phase, settings
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

# How long an example takes says more about the machine's load than about the code.
_PATIENT = (HealthCheck.too_slow,)
settings.register_profile("shared machine", deadline=None, suppress_health_check=_PATIENT)
settings.load_profile("shared machine")
# Seeded bugs (tests/seeded): that a test fails is enough, the smallest example of it is not looked for; and a bug that is
# caught once is caught every time.
settings.register_profile(
    "seeded",
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    database=None,
    suppress_health_check=_PATIENT,
)


def pytest_configure() -> None:
    """Started in the background, a shell has us ignore Ctrl-C, and so would every program that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Where HTTP leaves through a proxy, the servers of this computer are asked directly all the same.
    here = filter(None, [os.environ.get("no_proxy", os.environ.get("NO_PROXY")), "127.0.0.1", "localhost"])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(here)
    _tidy_paho()


def _tidy_paho() -> None:
    """A client that has stopped keeps the pair of sockets that woke its thread. When the garbage collector finds both at
    once, it may warn of the sockets before the client closes them: an error in whatever test runs then.
    """
    stopped = Client.loop_stop

    @wraps(stopped)
    def loop_stop(client: Client) -> MQTTErrorCode:
        said = stopped(client)
        if client._thread is None:
            client._reset_sockets(sockpair_only=True)
        return said

    Client.loop_stop = loop_stop  # type: ignore[method-assign, assignment]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long bytes are named by their length: they may hold a time or a random number, and workers must agree on every name."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a suite's CANNOT names: by the test's name, or with its parameter as `name[parameter]`."""
    out = [item for item in items if {item.name, getattr(item, "originalname", "")} & set(_cannot(item))]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def _cannot(item: pytest.Item) -> Mapping[str, str]:
    return getattr(getattr(item, "cls", None), "CANNOT", {})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every server is installed, a skipped test is a promise without proof."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be: {report.longrepr}"
    return report
