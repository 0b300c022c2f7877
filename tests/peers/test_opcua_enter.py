"""Clients that are not ours sign in at a simulated machine, with every policy that they know; a wrong password they do not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulators.faces.opcua_security import Account, Security
from simulators.workshop import open_workshop
from tests.opcua.certificates import Wish, make
from tests.peers.found import HERE, node, python
from tests.peers.test_opcua_machines import environment
from tests.simulators.test_opcua_face import plan

STRONG = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
CLIENTS = {
    "python-opcua": (python, "python_opcua_enter.py", STRONG[:1]),
    "node-opcua": (node, "node_opcua_enter.js", STRONG),
}
SECURITY = Security(offers=("sign", "encrypt"), accounts=(Account("anna", "right"),), anonymous=False)


async def said(command: list[str], *words: str) -> list[dict[str, object]]:
    """A row for each pair of mode and policy."""
    process = await asyncio.create_subprocess_exec(
        *command, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    told, errors = await process.communicate()
    rows = [json.loads(line) for line in told.decode().splitlines() if line.startswith("{")]
    assert rows, errors.decode()[-2000:]
    return rows


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=pytest.mark.xdist_group(f"peers-enter-{name}")) for name in CLIENTS]
)
async def test_foreign_clients_sign_in(client: str, tmp_path: Path) -> None:
    find, script, policies = CLIENTS[client]
    command = [*find(script)[:-1], str(HERE / "clients" / script)]
    own = make(Wish(name="guest", uri="urn:freeopcua:client", hosts=(), key=30, extended=None))
    own.write(tmp_path, "c")
    key = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "c.pem").write_bytes(key)
    ways = [word for policy in policies for mode in ("SignAndEncrypt", "Sign") for word in (mode, policy)]
    async with open_workshop(plan(tmp_path, security=SECURITY)) as workshop:
        url = workshop.endpoints["cnc-1"]
        good = await said(command, str(tmp_path), url, "anna", "right", *ways)
        bad = await said(command, str(tmp_path), url, "anna", "wrong", *ways[:2])
    assert good == [{"state": 0}] * (len(ways) // 2), "Running"
    assert ["error" in row for row in bad] == [True]
