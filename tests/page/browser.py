"""A headless browser, steered through two pipes: no driver, no debugging port, and real waiting for real conditions.

Printing the page with chromium's virtual time is no way here: an open event stream stops that clock for ever.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.servers import binary

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)  # fmt: skip
LARGEST = 64 * 1024 * 1024  # bytes of one message: a screenshot of a wall display


GONE = (
    "context was destroyed",
    "target navigated",
    "Cannot find default execution context",
    "Cannot find context",
)


class Gone(Exception):
    """The document went while it was asked something: another one is on its way."""


class Page:
    """One tab. `events` are the protocol's notifications so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(90):
            while True:
                answer = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                if answer.get("id") == self._number:
                    if any(words in str(answer.get("error")) for words in GONE):
                        raise Gone(answer["error"])
                    assert "error" not in answer, answer
                    return answer["result"]  # type: ignore[no-any-return]
                self.events.append(answer)

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def look(
        self, *, width: int = 1280, height: int = 800, dark: bool = False, lang: str = "en"
    ) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        agent = (await self.evaluate("navigator.userAgent")) or "test"
        await self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=lang)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str, seconds: float = 90) -> None:
        """Wait for a JavaScript condition (one that throws is not true yet); say what was shown when it never comes."""
        probe = f"(() => {{ try {{ return Boolean({condition}) }} catch {{ return false }} }})()"
        try:
            async with asyncio.timeout(seconds):
                while not await self._holds(probe):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = await self.evaluate("document.body?.innerText")
            raise AssertionError(f"never became true: {condition}\n{shown}") from None

    async def _holds(self, probe: str) -> bool:
        with suppress(Gone):
            return bool(await self.evaluate(probe))
        return False

    async def reload(self) -> None:
        """Returns when the document is another one."""
        await self.evaluate("window.before = true")
        await self.call("Page.reload")
        await self.until("!window.before")

    async def screenshot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the page's console and the browser's security policy had to say."""
        found = [event["params"] for event in self.events if event["method"] == "Log.entryAdded"]
        said = [entry["entry"]["text"] for entry in found]
        thrown = [event for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        return said + [json.dumps(event["params"]) for event in thrown]


STARTS = 3
"""A browser that dies while it starts, on a computer that has no memory left for it, says nothing about the page."""


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """A browser with one empty tab; it and all its processes are gone afterwards."""
    async with AsyncExitStack() as stack:
        yield await _attached(stack, profile)


async def _attached(stack: AsyncExitStack, profile: Path) -> Page:
    for number in range(1, STARTS + 1):
        page = await stack.enter_async_context(_started(profile / str(number)))
        try:
            await page.attach()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            if number == STARTS:
                raise
        else:
            break
    return page


@asynccontextmanager
async def _started(profile: Path) -> AsyncIterator[Page]:
    profile.parent.mkdir(exist_ok=True)
    theirs_in, ours_out = _pipe()
    ours_in, theirs_out = _pipe()
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser",
        binary("chromium"), *FLAGS, f"--user-data-dir={profile}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True, pass_fds=(theirs_in, theirs_out),
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LARGEST)
    into, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb")
    )
    out, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(ours_out, "wb"))
    try:
        yield Page(reader, out)
    finally:
        out.close()
        into.close()
        await _end(process)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends lie above the numbers that the browser wants its own at."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
