"""The served page from outside: who may ask, what every answer carries, live updates, taken ports, a clean end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from adapters.clock import SystemClock
from adapters.errors import Misconfigured
from collector.health import State
from collector.page import feed as feeding
from collector.page.app import build_app
from collector.page.live import Tile
from collector.page.server import serve_page
from pipelines.batch import Kind
from tests.page.client import ask, listening, send
from tests.page.scene import Shop, books, source


@asynccontextmanager
async def served(shop: Shop, port: int = 0) -> AsyncIterator[str]:
    async with serve_page(build_app(shop.view, shop.health, shop.ledger), port=port) as url:
        yield url


@pytest.fixture
def shop() -> Shop:
    made = Shop((Tile("m", "Machine"),), clock=SystemClock())
    made.health.put(source("plc", State.CONNECTED, "m"))
    made.say("m", "speed", 8012.0, unit="r/min")
    return made


async def test_page_and_all_that_it_names_are_served(shop: Shop) -> None:
    async with served(shop) as url:
        page = await ask(url)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for path, media in (
            ("app.js", "text/javascript"),
            ("style.css", "text/css"),
            ("icons/ok.svg", "image/svg"),
        ):
            found = await ask(url, f"/static/{path}")
            assert (found.status, found.headers["content-type"].startswith(media)) == (200, True)
            again = await ask(url, f"/static/{path}", If_None_Match=found.headers["etag"])
            assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/etc/passwd", "//", "/api"]
)
async def test_nothing_else_is_served(shop: Shop, path: str) -> None:
    async with served(shop) as url:
        assert (await ask(url, path)).status == 404


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LocalHost:{}", "[::1]:{}"])
async def test_our_own_names_are_welcome(shop: Shop, host: str) -> None:
    async with served(shop) as url:
        assert (await ask(url, Host=host.format(urlsplit(url).port))).status == 200


FOREIGN = [
    "evil.example", "evil.example:{}", "127.0.0.1", "localhost", "127.0.0.1:1", "localhost:80", "127.0.0.1:{}.evil",
    "127.0.0.1.evil:{}", "localhost.evil.example:{}", "evil.localhost:{}", "localhost.:{}", "127.1:{}", "0.0.0.0:{}",
    "127.0.0.2:{}", "[::]:{}", "::1:{}", "2130706433:{}", "0x7f.0.0.1:{}", "user@localhost:{}", "localhost:{}/",
    "localhost:{} ,evil", "127.0.0.1:0{}", "127.0.0.1:+{}", "",
]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/", "/api/overview", "/api/events", "/healthz", "/static/app.js", "/nothing"]
)
async def test_any_other_name_is_misdirected(shop: Shop, path: str) -> None:
    async with served(shop) as url:
        for host in FOREIGN:
            answer = await ask(url, path, Host=host.format(urlsplit(url).port))
            assert (answer.status, answer.body) == (421, b""), host


async def test_no_name_or_two_names_are_refused(shop: Shop) -> None:
    async with served(shop) as url:
        ours = f"Host: {urlsplit(url).netloc}"
        assert (await send(url, "GET / HTTP/1.0")).status == 421
        assert (await send(url, "GET / HTTP/1.1", ours, "Host: evil.example")).status in (400, 421)
        assert (await send(url, "GET http://evil.example/ HTTP/1.1", "Host: evil.example")).status == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_only_reading_is_possible(shop: Shop, method: str) -> None:
    app = build_app(shop.view, shop.health, shop.ledger)
    paths = [str(getattr(route, "path", "")) for route in app.routes]
    assert len(paths) > 10
    async with serve_page(app, port=0) as url:
        for path in [*paths, "/nothing"]:
            answer = await ask(url, path, method=method, Content_Length="0")
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), path


async def test_head_is_get_without_a_body(shop: Shop) -> None:
    async with served(shop) as url:
        for path in ("/", "/api/overview", "/api/events", "/healthz"):
            answer = await ask(url, path, method="HEAD")
            assert (answer.status, answer.body) == (200, b""), path


async def test_every_answer_carries_the_security_headers(shop: Shop) -> None:
    async with served(shop) as url:
        answers = [await ask(url, path) for path in ("/", "/api/overview", "/healthz", "/readyz", "/nothing")]
        answers += [
            await ask(url, Host="evil"),
            await ask(url, method="POST"),
            await ask(url, "/api/events", method="HEAD"),
        ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "server"]


async def test_other_origins_do_not_get_the_data(shop: Shop) -> None:
    async with served(shop) as url:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            assert (await ask(url, "/api/overview", Sec_Fetch_Site=site)).status == status
        assert (await ask(url, "/", Sec_Fetch_Site="cross-site")).status == 200  # a link may lead here


async def test_overview_is_json(shop: Shop) -> None:
    async with served(shop) as url:
        answer = await ask(url, "/api/overview")
    told = json.loads(answer.body)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
        "application/json",
        "no-store",
    )
    assert told["machines"][0]["signals"][0] | {"at": 0, "age_s": 0} == {
        "id": 0, "name": "speed", "kind": "number", "unit": "r/min", "value": 8012.0, "quality": "good",
        "quality_code": 0, "quality_name": "Good", "at": 0, "age_s": 0, "stale": False, "flags": [], "last_good": None,
        "label": "", "description": "", "range": None,
    }  # fmt: skip
    assert told["unaccounted"] == 0


async def test_readiness_follows_the_board(shop: Shop) -> None:
    async with served(shop) as url:
        assert (await ask(url, "/healthz")).body == b"ok\n"
        for state, status in (
            (State.CONNECTED, 200), (State.WAITING, 200), (State.STARTING, 503), (State.NEEDS_ATTENTION, 503),
        ):  # fmt: skip
            shop.health.change("plc", state, 1)
            answer = await ask(url, "/readyz")
            assert (answer.status, json.loads(answer.body)["ready"]) == (status, status == 200)
        assert json.loads(answer.body)["waiting_for"] == [{"name": "plc", "state": "needs_attention"}]


async def test_a_new_value_arrives_by_itself(shop: Shop) -> None:
    async with served(shop) as url, listening(url) as stream:
        event, snapshot = await stream.event()
        assert (event, snapshot["machines"][0]["signals"][0]["value"]) == ("snapshot", 8012.0)
        shop.say("m", "speed", 7000.0)
        event, change = await stream.news()
        assert (event, change["machines"][0]["signals"][0]["value"]) == ("change", 7000.0)
        shop.health.change("plc", State.WAITING, 5, error="gone")
        _, change = await stream.news()
        assert change["machines"][0]["connection"]["error"] == "gone"
        assert change["machines"][0]["signals"][0]["stale"]
        shop.accounts = books(lost=2)
        _, change = await stream.news()
        assert change["unaccounted"] == 2


async def test_a_reader_that_left_is_forgotten(shop: Shop) -> None:
    app = build_app(shop.view, shop.health, shop.ledger)
    async with serve_page(app, port=0) as url:
        async with listening(url) as stream:
            await stream.event()
            assert len(app.state.feed._readers) == 1
        async with asyncio.timeout(90):
            while app.state.feed._readers:
                await asyncio.sleep(0.01)


async def test_a_reader_that_stops_reading_is_cut_off(shop: Shop) -> None:
    for number in range(400):
        shop.say("m", f"text{number}", "x" * 500, kind=Kind.TEXT)
    app = build_app(shop.view, shop.health, shop.ledger)
    async with serve_page(app, port=0) as url, listening(url) as stream:
        await stream.event()
        stream.reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(90):
            while app.state.feed._readers:
                for number in range(400):
                    shop.say("m", f"text{number}", "y" * 500, kind=Kind.TEXT)
                app.state.feed._tell(books())
                await asyncio.sleep(0)
            while any(task.get_name() == "page-reader" for task in asyncio.all_tasks()):
                await asyncio.sleep(0.01)  # blocked in sending until the connection is cut
        assert (await ask(url, "/healthz")).status == 200


async def test_readers_are_limited(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "READERS", 2)
    async with served(shop) as url, listening(url) as first, listening(url) as second:
        await first.event()
        await second.event()
        assert (await ask(url, "/api/events")).status == 503


async def test_a_taken_port_is_passed_by(shop: Shop) -> None:
    async with served(shop) as first:
        taken = urlsplit(first).port
        assert taken is not None
        async with served(shop, taken) as second:
            port = urlsplit(second).port
            assert port is not None
            assert taken < port < taken + 20
            assert (await ask(second)).status == 200


async def test_no_free_port_is_said(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        app = build_app(shop.view, shop.health, shop.ledger)
        with pytest.raises(Misconfigured, match=f"no free port from {taken} to {taken}"):
            async with serve_page(app, port=taken, tries=1):
                pass


async def test_only_loopback_is_bound(shop: Shop) -> None:
    async with served(shop) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", urlsplit(url).port)


async def test_it_ends_by_itself_with_open_pages(shop: Shop) -> None:
    async with asyncio.timeout(90), AsyncExitStack() as pages:
        async with served(shop) as url:  # whose readers have not left, and will not by themselves
            streams = [await pages.enter_async_context(listening(url)) for _ in range(3)]
            for stream in streams:
                await stream.event()
        for stream in streams:
            assert await stream.ended_well()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", urlsplit(url).port)


async def nobody_but(before: set[asyncio.Task[object]]) -> None:
    """Whose request was cut on a computer that stood still needs a turn of the loop to end."""
    async with asyncio.timeout(90):
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0.01)


async def test_it_ends_when_its_owner_is_cancelled_or_fails(shop: Shop) -> None:
    serving = asyncio.Event()

    async def owner() -> None:
        async with served(shop) as url, listening(url) as stream:
            await stream.event()
            serving.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(owner())
        await serving.wait()
        task.cancel()
    await nobody_but(before)
    with pytest.raises(ExceptionGroup) as caught:
        async with served(shop):
            raise ZeroDivisionError
    assert caught.group_contains(ZeroDivisionError)
    await nobody_but(before)


async def test_a_failing_ledger_ends_the_page(shop: Shop) -> None:
    async def ledger() -> object:
        raise OSError("the disk is gone")

    app = build_app(shop.view, shop.health, ledger)  # type: ignore[arg-type]
    app.state.feed._readers.add(feeding.Reader(lambda: None))
    with pytest.raises(ExceptionGroup) as caught:
        async with serve_page(app, port=0), asyncio.timeout(90):
            await asyncio.Event().wait()
    assert caught.group_contains(OSError, match="the disk is gone")


async def test_signals_and_logging_are_left_alone(shop: Shop) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    loggers = list(logging.getLogger().handlers)
    async with served(shop):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        assert list(logging.getLogger().handlers) == loggers


async def test_the_other_loopback_works_or_is_named_as_the_trouble(shop: Shop) -> None:
    app = build_app(shop.view, shop.health, shop.ledger)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:  # a container without IPv6
        with pytest.raises(Misconfigured, match="cannot listen on ::1"):
            async with serve_page(app, "::1", 0):
                pass
        return
    async with serve_page(app, "::1", 0) as url:
        assert url.startswith("http://[::1]:")
        assert (await ask(url)).status == 200
