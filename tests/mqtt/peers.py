"""Brokers to test against: a real mosquitto, with all that a test may ask of it, and a publisher that does not share our code path."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.mqtt.settings import MqttRead, MqttSource
from adapters.mqtt.source import MqttBroker
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.servers import binary, free_port


@dataclass(slots=True)
class Mosquitto:
    """A broker of its own in `folder`; stopped and started on the same port. `lines` go into its configuration."""

    folder: Path
    lines: Sequence[str] = ()
    persistence: bool = True
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        again = bool(self.port)  # its clients know the port: it is given no other
        for _ in range(20):
            self.port = self.port or free_port()
            self._configure()
            with (self.folder / "broker.log").open("ab") as log:
                command = [binary("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            if await answers(self.port, self.process):
                return
            await self.stop()
            if not self._clash():
                break
            self.port = self.port if again else 0
        raise AssertionError((self.folder / "broker.log").read_text())

    def _clash(self) -> bool:
        return "already in use" in (self.folder / "broker.log").read_text()

    def _configure(self) -> None:
        keep = ["persistence true", f"persistence_location {self.folder}/"] if self.persistence else []
        defaults = (
            [] if any(line.startswith("allow_anonymous") for line in self.lines) else ["allow_anonymous true"]
        )
        lines = [
            f"listener {self.port} 127.0.0.1",
            *defaults,
            *keep,
            "user root",
            "log_type all",
            *self.lines,
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    async def stop(self, *, kill: bool = False) -> None:
        """A clean stop keeps queued messages in its database; a kill does not."""
        if self.process is not None:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            await asyncio.to_thread(self.process.wait)
            self.process = None


async def password_file(folder: Path) -> str:
    """For mosquitto: the user ann with the password secret."""
    tool = Path(binary("mosquitto")).parent.parent / "bin" / "mosquitto_passwd"
    file = folder / "passwords"
    process = await asyncio.create_subprocess_exec(str(tool), "-b", "-c", str(file), "ann", "secret")
    assert await process.wait() == 0
    return str(file)


_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
config = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}
async def main():
    await Broker(config).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextmanager
def amqtt() -> Iterator[int]:
    """A broker that speaks 3.1.1 only; in a process of its own, because it leaves sockets open. Yields its port."""
    port = free_port()
    command = [sys.executable, "-c", _AMQTT, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert listens(port, process), "amqtt does not start"
        yield port
    finally:
        process.kill()
        process.wait()


STARTING = 60.0  # seconds that a broker has until it listens


def listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(round(STARTING / 0.02)):
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


CLOSE_WAIT, FIN_WAIT_1, FIN_WAIT_2 = "08", "04", "05"


async def parted(*ports: int) -> None:
    """Whoever listens at these ports has read to its end what was said by those who have closed their connection: the kernel
    keeps such a connection for it until then. (mosquitto reads one packet in a turn; a client that comes back between two is
    given again what it had acknowledged.) Both ends are looked at: the end may still be on its way to the other one.
    """
    table = Path("/proc/net/tcp")
    if table.exists():
        await eventually(lambda: not _unread(table, ports), "the peer has read what was said before the end")


def _unread(table: Path, ports: Sequence[int]) -> bool:
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return any(
        (_port(row[1]) in ports and row[3] == CLOSE_WAIT)
        or (_port(row[2]) in ports and row[3] in (FIN_WAIT_1, FIN_WAIT_2))
        for row in rows
    )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


async def answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether somebody listens there before the process ends."""
    for _ in range(round(STARTING / 0.02)):
        if process.poll() is not None:
            return False
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return True
    return False


class Publisher:
    """paho's own thread loop: independent of the receive path under test. Publishing returns when the broker has it."""

    def __init__(self, port: int, *, ca: Path | None = None, **login: str) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, clean_session=True)
        if ca is not None:
            self.client.tls_set(str(ca))
        self.client.max_inflight_messages_set(1000)
        self.client.connect_timeout = STARTING
        if login:
            self.client.username_pw_set(login["username"], login["password"])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    async def send(self, *messages: tuple[str, bytes | str], qos: int = 1, retain: bool = False) -> None:
        infos = [self.client.publish(topic, payload, qos, retain) for topic, payload in messages]
        await asyncio.to_thread(_published, infos)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def _published(infos: Sequence[paho.MQTTMessageInfo]) -> None:
    for info in infos:
        info.wait_for_publish(60)
        assert info.is_published()


@dataclass(slots=True)
class Shop:
    """One collector's view: what a restart keeps (registry, clock) and sources made from short configurations."""

    port: int
    registry: Registry = field(default_factory=Registry)
    clock: SystemClock = field(default_factory=SystemClock)

    def source(self, *reads: Mapping[str, Any], machine: str = "m1", **settings: Any) -> MqttBroker:
        wanted = {"url": f"mqtt://127.0.0.1:{self.port}", **settings}
        readings = [
            Reading(machine=machine, tags={}, read=MqttRead.model_validate({"source": "b", **read}))
            for read in reads
        ]
        built = MqttSource.model_validate(wanted).build("b", readings, Bench(self.registry, self.clock))
        assert isinstance(built, MqttBroker)
        return built


NUMBERS: Mapping[str, Any] = {"topic": "shop/{machine}/{signal}", "payload": "number", "adopt": True}
