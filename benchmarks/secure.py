"""`secure`: what SignAndEncrypt costs on the way in, with the library's keys, over recorded chunks.

Per notification: one chunk is checked, decrypted and put together, and one PublishRequest is signed, encrypted and packed, as the
session does it; without a socket, since the load has no security. Beside it the same without security: the difference
is the price. Basic256Sha256's AES-256-CBC and HMAC-SHA256 with fixed keys; certificates play no part once a channel is open.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto import security_policies
from asyncua.ua.ua_binary import header_from_binary

from adapters.opcua.chunks import Chunks
from adapters.opcua.requests import publish_request
from benchmarks.row import Row, Wish
from simulators.load.mix import types_of
from simulators.load.publish import PUBLISH_RESPONSE, response_head
from simulators.load.series import Series
from simulators.load.sheet import Fields
from simulators.load.subscription import Items, Subscription, Terms, Wanted

NOTIFICATIONS = 2000
_KEY, _SEED = bytes(range(32)), bytes(range(32, 64))


def secure(wish: Wish) -> Iterator[Row]:
    """With security, then without."""
    body = _response(wish)
    yield _row("secure", _policy(secured=True), body, wish, baseline=False)
    yield _row("secure without", _policy(secured=False), body, wish, baseline=True)


def _response(wish: Wish) -> bytes:
    """A PublishResponse as the load sends it."""
    count = wish.per_notification
    items = Items(types_of(count, "mixed" if wish.types == "mixed" else "double"), "repeating", wish.seed)
    items.add([Wanted(n, n, 1, oldest=True) for n in range(count)])
    subscription = Subscription(1, Terms(1.0, 10.0, count), items, Fields())
    subscription.start(Series(count, wish.hz))
    items.tick(0)
    start, message = subscription.message()
    return b"".join([response_head(PUBLISH_RESPONSE, 1), start, *message, b"\xff" * 8])


def _policy(*, secured: bool) -> Any:
    crypto: Any = security_policies  # the library has no types here
    policy = crypto.SecurityPolicyNone()
    if secured:
        made = crypto.Cryptography(ua.MessageSecurityMode.SignAndEncrypt)
        made.Signer, made.Verifier = crypto.SignerHMac256(_KEY), crypto.VerifierHMac256(_KEY)
        made.Encryptor = crypto.EncryptorAesCbc(_SEED, _KEY[:16])
        made.Decryptor = crypto.DecryptorAesCbc(_SEED, _KEY[:16])
        made.key_expiration = time.monotonic() + 3600
        policy.symmetric_cryptography = made
    return policy


def _row(name: str, policy: Any, body: bytes, wish: Wish, *, baseline: bool) -> Row:
    server, client = SecureConnection(policy, TransportLimits()), SecureConnection(policy, TransportLimits())
    recorded = [server.message_to_binary(body, request_id=n + 1) for n in range(NOTIFICATIONS)]
    begin, cpu = time.monotonic(), time.process_time()
    right = _taken(client, recorded, body)
    used, lasted = time.process_time() - cpu, time.monotonic() - begin
    values = NOTIFICATIONS * wish.per_notification
    return Row(
        name=name,
        values_per_s=round(values / lasted, 1),
        cpu_us_per_value=round(used / values * 1e6, 3),
        rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        lost=values - right * wish.per_notification,
        baseline=baseline,
        emitted=values,
    )


def _taken(client: SecureConnection, recorded: Sequence[bytes], body: bytes) -> int:
    """How many came out as they had gone in; each of them is answered by a request."""
    right, chunks = 0, Chunks(client)
    for number, chunk in enumerate(recorded, 1):
        taken = chunks.take(chunk, 0)
        right += (_by_the_library(client, chunk) if taken is None else taken.body) == body
        chunks.put(publish_request(b"\x00\x05", 1, [number])(number), number)
    return right


def _by_the_library(client: SecureConnection, chunk: bytes) -> bytes:
    """The first one: the channel knows no number yet."""
    buffer = Buffer(chunk)
    return bytes(client.receive_from_header_and_body(header_from_binary(buffer), buffer).body())
