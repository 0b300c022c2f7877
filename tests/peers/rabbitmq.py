"""The laws of a source at RabbitMQ's MQTT plug-in (Debian: apt install rabbitmq-server), MQTT 3.1.1 only.

Not among the tests of CI: it takes a quarter of a minute to start and needs Erlang. `python -m pytest tests/peers/rabbitmq.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from simulators.proxy.server import open_proxy
from tests.contracts.rig import eventually
from tests.contracts.source import SourceContract, SourceRig, key, taking
from tests.mqtt.peers import listens
from tests.peers.test_mqtt import BehindProxy
from tests.servers import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # /usr/sbin/rabbitmq-server changes the user
CONFIG = """
listeners.tcp = none
mqtt.listeners.tcp.default = 127.0.0.1:{port}
mqtt.allow_anonymous = true
mqtt.prefetch = 100
"""  # by default it has 10 messages in flight; two laws want more to come without any acknowledgement


def environment(folder: Path) -> dict[str, str]:
    names = {"MNESIA_BASE": "data", "LOG_BASE": "log", "CONFIG_FILE": "rabbitmq", "ENABLED_PLUGINS_FILE": "plugins", "PID_FILE": "pid"}  # fmt: skip
    return {
        **os.environ,
        "HOME": str(folder),  # of Erlang's cookie
        "RABBITMQ_NODENAME": f"test{free_port()}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(free_port()),
        **{f"RABBITMQ_{name}": str(folder / file) for name, file in names.items()},
    }


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not SERVER.exists():
        pytest.skip("rabbitmq-server is not installed here (Debian: apt install rabbitmq-server)")
    folder, port = tmp_path_factory.mktemp("rabbitmq"), free_port()
    (folder / "rabbitmq.conf").write_text(CONFIG.format(port=port))
    (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
    env = environment(folder)
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen([SERVER], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        started = any(listens(port, process) for _ in range(6))
        assert started, (folder / "out.log").read_text()[-2000:]
        yield port
    finally:
        process.terminate()
        process.wait(60)
        subprocess.run([shutil.which("epmd") or "epmd", "-kill"], env=env, check=True, capture_output=True)


BY_RECEIPT = ("speed", "load")  # what tests/mqtt/test_contract.py sends without a time


class TestRabbitMq(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: mqtt/test_broker.py",
    }

    @pytest.fixture
    async def rig(self, rabbitmq: int, tmp_path: Path) -> AsyncIterator[SourceRig]:
        async with open_proxy(("127.0.0.1", rabbitmq)) as proxy:
            rig = BehindProxy(rabbitmq, proxy, f"collector-{tmp_path.name}"[:60])
            yield rig
            await rig.stop()


async def test_what_comes_again_has_new_packet_ids(rabbitmq: int) -> None:
    """It says DUP and counts its packet ids anew (against MQTT 3.1.1, 4.4), so that only a time in the payload tells a repetition.

    Content alone would not do: of two equal messages the second may be one that was still under way when the link was lost.
    """
    async with open_proxy(("127.0.0.1", rabbitmq)) as proxy:
        rig = BehindProxy(rabbitmq, proxy, "collector-again")
        async with taking(rig, acking=False) as first:
            emitted = await rig.emit(12)
            await eventually(lambda: first.has(emitted), "values arrive")
        async with taking(rig, resume=first.deliveries[-1].checkpoint) as second:
            await eventually(lambda: second.has(emitted), "what was not acknowledged comes again")
        before, after = ({key(row): row.at for row in taker.rows} for taker in (first, second))
        assert before.keys() == after.keys()
        assert {wanted for wanted in before if before[wanted] == after[wanted]} == {
            wanted for wanted in before if wanted[0] not in BY_RECEIPT
        }
        await rig.stop()
