"""The library's transport, with bounds, with a way to send bytes that are encoded already, and with patience for strays.

This, chunks.py and channel.py are the three places that touch asyncua's private names; tests/opcua/test_channel.py fails clearly when a
name that is used here is gone.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from typing import Any, Final, cast

from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import uatcp_to_binary

from adapters.opcua.chunks import Chunks
from adapters.opcua.requests import Encode

LARGEST_CHUNK: Final = 65_535
LARGEST_MESSAGE: Final = 16 * 2**20

log = logging.getLogger(__name__)


class GuardedProtocol(UASocketProtocol):
    """The library's transport with a bound on what it buffers, and an event for when the socket is gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger.setLevel(logging.ERROR)  # a service fault is told by whoever asked, in better words
        self.gone = asyncio.Event()
        self._chunks = Chunks(self._connection)
        self._unsent: list[tuple[Encode, int, int]] = []

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.receive_buffer
        if waiting is not None and len(waiting) >= 8 and self.transport is not None:
            announced = int.from_bytes(waiting[4:8], "little")
            if announced > LARGEST_CHUNK:
                self._fail_all_pending(ConnectionError(f"the server announced a chunk of {announced} bytes"))
                self.transport.abort()

    def _process_received_data(self, data: bytes) -> None:
        """Messages in one chunk, as long as they are beyond doubt; from the first that is not, the library has the rest."""
        at = 0
        while (taken := self._chunks.take(data, at)) is not None:
            at = taken.end
            self._call_callback(taken.request_id, Buffer(taken.body))
        if at < len(data):
            super()._process_received_data(data[at:] if at else data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()

    async def send_hello(
        self, url: str, max_messagesize: int = LARGEST_MESSAGE, max_chunkcount: int = 0
    ) -> ua.Acknowledge:
        """What we really take: the library's Hello offers 2 GB for a chunk, and a server may believe that."""
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        hello: Any = ua.Hello()
        hello.EndpointUrl = url
        hello.ReceiveBufferSize = hello.SendBufferSize = LARGEST_CHUNK
        hello.MaxMessageSize, hello.MaxChunkCount = max_messagesize, max_chunkcount
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[0] = answer
        encode: Any = uatcp_to_binary
        self.transport.write(encode(ua.MessageType.Hello, hello))
        async with asyncio.timeout(self.timeout):
            return cast("ua.Acknowledge", await answer)

    def send_encoded(self, encode: Encode) -> asyncio.Future[Any]:
        """The library's `_send_request` for a request whose bytes are there already; chunks and security stay its own.

        It goes out with all others of this turn of the loop, in one write: many small answers in one read are many requests.
        """
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        self._request_handle += 1
        self._request_id += 1
        if not self._unsent:
            loop.call_soon(self._write_unsent)
        self._unsent.append((encode, self._request_handle, self._request_id))
        answer: asyncio.Future[Any] = loop.create_future()
        self._callbackmap[self._request_id] = answer
        return answer

    def _write_unsent(self) -> None:
        """Chunks are numbered now and not before: what the library sends by itself may have gone out in between."""
        unsent, self._unsent = self._unsent, []
        if self.transport is None or self.transport.is_closing():
            return  # whoever waits for an answer is told by the end of the connection
        self.revolve_security_token()
        put = self._chunks.put
        self.transport.write(b"".join([put(encode(handle), number) for encode, handle, number in unsent]))

    async def open_secure_channel(self, params: Any) -> Any:
        """Tokens count from now by our clock: the library takes the server's word for when a token was made.

        A machine whose clock is an hour behind would break the connection at every renewal, as soon as something comes
        that it had sealed with the old token.
        """
        opened = await super().open_secure_channel(params)
        opened.SecurityToken.CreatedAt = dt.datetime.now(dt.UTC)
        return opened

    async def send_request(self, *args: Any, **kwargs: Any) -> Buffer:
        """Cancelled is cancelled: the library raises a subclass when an answer and a cancellation meet, which neither
        `asyncio.timeout` nor a task group takes for one (decision 0007, row 17).
        """
        try:
            return await super().send_request(*args, **kwargs)
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    async def ask(self, request: Any) -> bytes:
        """The library's `send_request` without its judgement of the answer, and without a log line for a service fault."""
        async with asyncio.timeout(self.timeout):
            return bytes(await self._send_request(request, self.timeout))

    def set_limits(self, send: int) -> None:
        """What the library takes from the server's Acknowledge is mixed up (receive for send, 0 for no limit)."""
        limits = self._connection._limits  # noqa: SLF001
        limits.max_recv_buffer = LARGEST_CHUNK
        limits.max_send_buffer = min(LARGEST_CHUNK, send) if send else LARGEST_CHUNK
        limits.max_message_size = LARGEST_MESSAGE
        limits.max_chunk_count = LARGEST_MESSAGE // 1024

    def _call_callback(self, request_id: int, body: Any) -> None:
        """An answer nobody waits for is dropped: a server may still answer on the new channel what an old one asked.

        The library closes the connection instead, which a resumed session would not survive.
        """
        if request_id in self._callbackmap:
            super()._call_callback(request_id, body)
        else:
            log.debug("an answer to request %d, which nobody sent on this channel", request_id)
