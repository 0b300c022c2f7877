"""asyncua's own server, in a thread with a loop of its own: a real secure channel, real users, a real address space."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server

from adapters.opcua.certificate import own_certificate

URI = "urn:test:real"
Result = TypeVar("Result")


class Users:
    """One user; everybody who tried, with the password that arrived."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, Any]] = []

    def get_user(
        self, iserver: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        self.seen.append((username, password))
        known = username == "reader" and password in ("right", b"right")
        return User(role=UserRole.User, name=username) if known else None


class RealServer:
    """Basic256Sha256 SignAndEncrypt with users. `fingerprint` is that of its certificate."""

    def __init__(self, folder: Path) -> None:
        self.users = Users()
        self.own = own_certificate(str(folder), None, None)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="real-server", daemon=True)
        self._server: Server | None = None
        self._nodes: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def start(self, port: int) -> None:
        self.port = port
        self._thread.start()
        self._run(self._start())

    def stop(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def write(self, name: str, number: float, at: dt.datetime) -> None:
        self._run(self._write(name, number, at))

    def _run(self, job: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(300)

    async def _start(self) -> None:
        server = self._server = Server(user_manager=self.users)  # type: ignore[arg-type]
        await server.init()
        await server.set_application_uri(self.own.application_uri)
        server.set_endpoint(self.url)
        await server.load_certificate(self.own.certificate)
        await server.load_private_key(self.own.key)
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        server.set_identity_tokens([ua.UserNameIdentityToken])
        index = await server.register_namespace(URI)
        for name in ("load", "speed"):
            node_id: Any = ua.NodeId
            node = await server.nodes.objects.add_variable(node_id(name, index), name, 0.5)
            self._nodes[name] = node
        await server.start()

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # of connections that ended a moment ago
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _write(self, name: str, number: float, at: dt.datetime) -> None:
        make: Any = ua.DataValue
        value = make(ua.Variant(number, ua.VariantType.Double), SourceTimestamp=at, ServerTimestamp=at)
        await self._nodes[name].write_value(value)
