"""Status by status, against the scripted server; and what a real one says to the same."""

from __future__ import annotations

import asyncio
import email.utils
import inspect
import socket
import ssl
import time
from collections.abc import AsyncIterator
from http.client import BadStatusLine
from pathlib import Path
from typing import Any

import pytest
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NameResolutionError, ProtocolError

from adapters.errors import AdapterError, Misconfigured, NotConnected, Rejected, Throttled
from adapters.influxdb.answers import retry_after
from adapters.influxdb.border import BORDER, translate
from adapters.influxdb.settings import InfluxDbSink
from pipelines.batch import Kind, Point, batch_of
from tests.contracts.rig import Alive, eventually
from tests.contracts.sink import START, contents, difference, write_once
from tests.influxdb.fake import Answer, Fake, fake, refusal
from tests.influxdb.lines import Read
from tests.influxdb.peers import victoria_metrics
from tests.influxdb.rigs import FakeV2Rig, InfluxV1Rig, bench, some_numbers

HTML = {"Content-Type": "text/html"}


ANSWERS: list[tuple[Answer, type[AdapterError]]] = [
    (Answer(200, b"<html>Welcome to our guest network</html>", HTML), NotConnected),
    (Answer(201), NotConnected),
    (Answer(202), NotConnected),
    (Answer(301, headers={"Location": "http://elsewhere.example/"}), Misconfigured),
    (Answer(302, headers={"Location": "http://elsewhere.example/"}), Misconfigured),
    (Answer(307, headers={"Location": "http://elsewhere.example/"}), Misconfigured),
    (Answer(308, headers={"Location": "/elsewhere"}), Misconfigured),
    (Answer(400, b"<html>plain HTTP request was sent to HTTPS port</html>", HTML), Misconfigured),
    (refusal(401, "unauthorized access"), Misconfigured),
    (refusal(403, "insufficient permissions for write"), Misconfigured),
    (refusal(404, 'bucket "machines" not found'), Misconfigured),
    (Answer(404, b"404 page not found"), Misconfigured),
    (refusal(405, "method not allowed"), Misconfigured),
    (Answer(408), NotConnected),
    (Answer(429), Throttled),
    (refusal(500, "internal error"), NotConnected),
    (Answer(500, b"\xff\xfe", HTML), NotConnected),
    (Answer(502, b"<html>Bad gateway</html>", HTML), NotConnected),
    (Answer(503, headers={"Retry-After": "3"}), Throttled),
    (Answer(504), NotConnected),
    (Answer(drops=True), NotConnected),
]
"""What does not mean that anything is stored, and what it means."""


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


@pytest.mark.parametrize(
    ("answer", "error"),
    ANSWERS,
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
async def test_only_204_is_success(rig: FakeV2Rig, answer: Answer, error: type[AdapterError]) -> None:
    """I8: 200 with HTML, other 2xx, redirects, foreign 400s: an error each, one attempt, and the same again is stored."""
    batches = some_numbers(rig.registry, 20)
    rig.server.script.append(answer)
    with pytest.raises(error) as caught:
        await write_once(rig.sink(), batches)
    assert rig.server.url in str(caught.value) or isinstance(caught.value, Throttled)
    assert len(rig.server.writes) == 1, "an adapter does not retry"
    await write_once(rig.sink(), batches)
    assert difference(contents(rig.registry, batches), await rig.stored()) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(rig: FakeV2Rig, status: int) -> None:
    """I8, S12: a redirect to another host is not followed; the token is not sent there."""
    async with fake() as other:
        rig.server.script.append(Answer(status, headers={"Location": f"{other.url}/api/v2/write"}))
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{other.port}"):
            await write_once(rig.sink(), some_numbers(rig.registry, 3))
        assert other.requests == [], "the token stays here"


async def test_a_redirect_of_the_greeting_is_not_followed_either(
    rig: FakeV2Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake() as other:
        moved = Answer(302, headers={"Location": f"{other.url}/ping"})
        monkeypatch.setattr(rig.server, "_manage", lambda _request: moved)
        with pytest.raises(Misconfigured):
            await write_once(rig.sink(), some_numbers(rig.registry, 3))
        assert other.requests == []


NOW = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("2.5", 2.5),
        (" 7 ", 7.0),
        ("21600", 300.0),
        ("9" * 400, 5.0),
        ("-5", 5.0),
        ("", 5.0),
        ("soon", 5.0),
        ("nan", 5.0),
        ("inf", 5.0),
        ("1e3", 5.0),
        ("٧", 5.0),
        (email.utils.formatdate(NOW / 1e9 + 30, usegmt=True), 30.0),
        (email.utils.formatdate(NOW / 1e9 + 90_000, usegmt=True), 300.0),
        (email.utils.formatdate(NOW / 1e9 - 30, usegmt=True), 5.0),
        ("Fri, 99 Foo 2023 22:13:20 GMT", 5.0),
    ],
)
def test_retry_after_in_all_its_forms(text: str, wait: float) -> None:
    """I7: seconds, HTTP date, 6 h, negative, junk: at most 300 s, 5 s for what is no time."""
    assert retry_after(text, NOW) == wait


@pytest.mark.parametrize("status", [429, 503])
async def test_throttled_passes_the_wait_on(rig: FakeV2Rig, status: int) -> None:
    """I7: 429 and 503 with 6 h wait 300 s."""
    rig.server.script.append(Answer(status, headers={"retry-after": "21600"}))
    with pytest.raises(Throttled) as caught:
        await write_once(rig.sink(), some_numbers(rig.registry, 3))
    assert caught.value.wait == 300


def refuses(*bad: float) -> Any:
    def rule(lines: list[Read], _body: bytes) -> Answer | None:
        found = [x for x in lines if x.measurement == "machine" and set(x.fields.values()) & set(bad)]
        return refusal(400, f"unable to parse points: {found[0].at}") if found else None

    return rule


@pytest.mark.parametrize("bad", [[0], [999], [500], [0, 999], [10, 11, 12, 700], list(range(40))])
async def test_bisection_finds_every_bad_line_and_stores_the_rest(rig: FakeV2Rig, bad: list[int]) -> None:
    """I3: 1 to 40 bad lines of 1,000: exactly these are refused, all others stored, requests within 2 k log2 n."""
    batches = some_numbers(rig.registry, 1000)
    rig.server.rule = refuses(*(i / 7 for i in bad))
    with pytest.raises(Rejected) as caught:
        await write_once(rig.sink(), batches)
    assert [refusal.raw.split()[-1] for refusal in caught.value.refused] == [
        str(START + i).encode() for i in bad
    ]
    assert all(refusal.where == "mill-9/load" for refusal in caught.value.refused)
    assert len(await rig.stored()) == 1000 - len(bad)
    assert len(rig.server.writes) <= 4 + 2 * len(bad) * 10


async def test_bisection_goes_down_to_the_field(rig: FakeV2Rig) -> None:
    """I3: one bad field of a line: it alone is refused."""
    ids = [rig.registry.intern(Point("mill", f"s{i}", Kind.NUMBER)) for i in range(9)]
    rig.server.rule = refuses(4.0)
    with pytest.raises(Rejected) as caught:
        await write_once(
            rig.sink(), [batch_of(Kind.NUMBER, ids, START, [float(i) for i in range(9)], received=START)]
        )
    (only,) = caught.value.refused
    assert (only.where, only.values) == ("mill/s4", 1)
    assert only.raw == f"machine,machine=mill s4=4.0 {START}".encode()
    assert "unable to parse" in only.reason
    assert {place.signal for place in await rig.stored()} == {f"s{i}" for i in range(9)} - {"s4"}


async def test_413_halves_and_remembers(rig: FakeV2Rig) -> None:
    """I6: a limit of 10 KB: drained, and remembered by the next session."""

    def rule(_lines: list[Read], body: bytes) -> Answer | None:
        return Answer(413) if len(body) > 10_000 else None

    rig.server.rule = rule
    sink = rig.sink()
    batches = some_numbers(rig.registry, 2000)
    await write_once(sink, batches)
    assert difference(contents(rig.registry, batches), await rig.stored()) == []
    first = len(rig.server.writes)
    await write_once(sink, batches)
    second = rig.server.writes[first:]
    assert all(len(request.body) <= 10_000 for request in second), (
        "the size is remembered, also by the next session"
    )


async def test_a_value_that_is_too_large_alone_is_refused(rig: FakeV2Rig) -> None:
    """I6: a single value above the limit is refused, its neighbour stored."""
    rig.server.rule = lambda _lines, body: Answer(413) if len(body) > 10_000 else None
    text = rig.registry.intern(Point("mill", "log", Kind.TEXT))
    huge = batch_of(Kind.TEXT, [text, text], [START, START + 1], ["x" * 20_000, "short"], received=START)
    with pytest.raises(Rejected) as caught:
        await write_once(rig.sink(), [huge])
    assert [(refusal.where, refusal.values) for refusal in caught.value.refused] == [("mill/log", 1)]
    assert len(await rig.stored()) == 1


async def test_what_cannot_be_encoded_is_refused_and_the_rest_is_stored(rig: FakeV2Rig) -> None:
    """B1: NaN is refused with its value and time; the rest is stored."""
    point = rig.registry.intern(Point("mill", "load", Kind.NUMBER))
    rows = batch_of(
        Kind.NUMBER, [point] * 3, [START, START + 1, START + 2], [1.0, float("nan"), 3.0], received=START
    )
    with pytest.raises(Rejected) as caught:
        await write_once(rig.sink(), [rows])
    (only,) = caught.value.refused
    assert (only.where, only.raw) == ("mill/load", f"nan {START + 1}".encode())
    assert len(await rig.stored()) == 2


async def test_a_missing_bucket_is_made_only_when_allowed(rig: FakeV2Rig) -> None:
    batches = some_numbers(rig.registry, 3)
    rig.server.places.clear()
    with pytest.raises(Misconfigured, match="not found"):
        await write_once(rig.sink(), batches)
    sink = rig.settings(create=True).build(bench(rig.registry))
    assert [finding.level for finding in await sink.probe()] == ["ok", "warning"]
    assert rig.server.places == set(), "a probe makes nothing"
    await write_once(sink, batches)
    assert difference(contents(rig.registry, batches), await rig.stored()) == []


async def test_a_wrong_token_is_not_retried_and_not_shown(rig: FakeV2Rig) -> None:
    """I5, S12: one attempt, and no text has the token."""
    rig.server.token = "the right one"
    sink = rig.settings(token="a-wrong-secret").build(bench(rig.registry))
    with pytest.raises(Misconfigured) as caught:
        await write_once(sink, some_numbers(rig.registry, 3))
    assert "a-wrong-secret" not in repr(caught.value) + str(caught.value) + caught.value.remedy
    assert len(rig.server.requests) == 1
    (finding,) = await sink.probe()
    assert finding.level == "error"
    assert "a-wrong-secret" not in f"{finding}{sink!r}{rig.settings(token='a-wrong-secret')!r}"


async def test_credentials_and_precision_are_sent(rig: FakeV2Rig) -> None:
    await write_once(rig.sink(), some_numbers(rig.registry, 1))
    (write,) = rig.server.writes
    assert write.path == "/api/v2/write"
    assert write.query == {"org": "lab", "bucket": "machines", "precision": "ns"}
    assert write.headers["authorization"] == "Token secret-token"
    assert "gzip" not in write.headers.get("content-encoding", "identity")


async def test_v1_sends_user_and_password_in_a_header_and_never_in_the_address(rig: FakeV2Rig) -> None:
    settings = InfluxDbSink(
        type="influxdb", url=rig.server.url, api="v1", database="machines", username="u", password="pä ss"
    )
    await write_once(settings.build(bench(rig.registry)), some_numbers(rig.registry, 1))
    (write,) = rig.server.writes
    assert write.path == "/write"
    assert write.query == {"db": "machines", "precision": "ns"}
    assert write.headers["authorization"].startswith("Basic ")


async def test_leaving_does_not_wait_for_a_server_that_never_answers(rig: FakeV2Rig) -> None:
    alive = Alive()
    rig.server.script.append(Answer(hangs=True))
    sink = rig.settings(timeout="5min").build(bench(rig.registry))
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        task = group.create_task(write_once(sink, some_numbers(rig.registry, 3)))
        await eventually(lambda: bool(rig.server.writes), "the request is under way")
        task.cancel()
    await rig.server.stop()
    left = [thing for thing in alive.left() if not thing.startswith(("socket", "task"))]
    assert left == []


async def test_a_slow_server_ends_by_the_timeout(rig: FakeV2Rig) -> None:
    """I1: no answer within the time-out is a lost connection."""
    rig.server.script.append(Answer(hangs=True))
    sink = rig.settings(timeout="300ms").build(bench(rig.registry))
    with pytest.raises(NotConnected, match=r"no answer in time|did not finish its answer"):
        await write_once(sink, some_numbers(rig.registry, 3))


async def test_the_loop_is_not_blocked_while_a_server_thinks(rig: FakeV2Rig) -> None:
    rig.server.script.append(Answer(hangs=True))
    sink = rig.settings(timeout="5min").build(bench(rig.registry))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(write_once(sink, some_numbers(rig.registry, 3)))
        await eventually(lambda: bool(rig.server.writes), "the request is under way")
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()


async def test_plain_http_where_tls_was_asked_for(rig: FakeV2Rig) -> None:
    sink = rig.settings(url=rig.server.url.replace("http:", "https:")).build(bench(rig.registry))
    with pytest.raises(Misconfigured, match="TLS"):
        await write_once(sink, some_numbers(rig.registry, 3))


async def test_a_ca_file_that_is_not_there(rig: FakeV2Rig, tmp_path: Path) -> None:
    sink = rig.settings(url="https://127.0.0.1:1", ca=str(tmp_path / "none.pem")).build(bench(rig.registry))
    with pytest.raises(Misconfigured, match="cannot be read"):
        await write_once(sink, some_numbers(rig.registry, 3))


@pytest.mark.parametrize(
    "module",
    [urllib3.exceptions],
    ids=lambda module: module.__name__,
)
def test_every_error_of_the_libraries_is_mapped(module: Any) -> None:
    known = {
        found.__name__
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Exception)
        and not issubclass(found, Warning)
        and found.__module__.split(".")[0] in module.__name__
    }
    assert known
    assert known - BORDER.keys() == set()


def test_translation_names_the_address_and_a_remedy() -> None:
    error = translate(urllib3.exceptions.ProtocolError("cut"), "http://db:8086")
    assert isinstance(error, NotConnected)
    assert "http://db:8086" in str(error)
    assert error.remedy
    assert isinstance(translate(urllib3.exceptions.SSLError("self-signed"), "https://db"), Misconfigured)
    cut = urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    lost = translate(cut, "https://db")  # a server that was stopped in the middle of a write, and no stranger
    assert (type(lost), str(lost)) == (NotConnected, "InfluxDB at https://db: the connection was lost")


def test_what_happens_every_day_is_told_without_the_words_of_a_library() -> None:
    """By the errors that urllib3 and the standard library really raise."""
    pool = urllib3.PoolManager(retries=False, timeout=0.2)
    told: list[urllib3.exceptions.HTTPError] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        for listens in (False, True):
            if listens:
                server.listen()
            with pytest.raises(urllib3.exceptions.HTTPError) as caught:
                pool.request("GET", f"http://127.0.0.1:{server.getsockname()[1]}")
            told.append(caught.value)
    told.append(
        NameResolutionError("h", HTTPConnection("h"), socket.gaierror(-2, "Name or service not known"))
    )
    told += map(ProtocolError, (TimeoutError("timed out"), ConnectionResetError("gone"), BadStatusLine("x")))
    assert [str(translate(error, "u")) for error in told] == [
        f"InfluxDB at u: {words}"
        for words in (
            "connection refused", "no answer in time", "its name is not known",
            "no answer in time", "the connection was lost", "ProtocolError: x",
        )
    ]  # fmt: skip


@pytest.mark.server("influxd")
async def test_a_real_v1_server(tmp_path: Path) -> None:
    """Probe, database made when allowed, type conflicts and their words, quality in its own measurement."""
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        strict = rig.settings(create=False).build(bench(rig.registry))
        assert [finding.level for finding in await strict.probe()] == ["error"]
        with pytest.raises(Misconfigured, match="database not found"):
            await write_once(strict, some_numbers(rig.registry, 3))
        await write_once(rig.sink(), some_numbers(rig.registry, 3))
        assert [finding.level for finding in await strict.probe()] == ["ok", "ok"]
        assert "1.6" in (await strict.probe())[0].message
        poisoned = await rig.poison()
        with pytest.raises(Rejected) as caught:
            await write_once(rig.sink(), poisoned.batches)
        assert "type float" in caught.value.refused[0].reason
        assert "is string here" in caught.value.refused[0].reason
        (series,) = [
            s for s in rig.query("SELECT * FROM quality GROUP BY *") if s["tags"]["signal"] == "load"
        ]
        assert (series["columns"], [row[1:] for row in series["values"]]) == (
            ["time", "code", "name"],
            [[0, "Good"]],
        )
    finally:
        await rig.stop()


@pytest.mark.server("influxd")
async def test_v1_refuses_api_v2_with_a_hint(tmp_path: Path) -> None:
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        url = rig.settings().url
        sink = InfluxDbSink(type="influxdb", url=url, org="lab", bucket="machines").build(bench(rig.registry))
        with pytest.raises(Misconfigured) as caught:
            await write_once(sink, some_numbers(rig.registry, 3))
        assert "api: v1" in caught.value.remedy
    finally:
        await rig.stop()


@pytest.mark.server("influxd")
async def test_database_stopped_and_started_in_the_middle(tmp_path: Path) -> None:
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        batches = some_numbers(rig.registry, 500)
        sink = rig.sink()
        async with sink.session() as write:
            await write(batches)
            await rig.down()
            with pytest.raises(NotConnected):
                await write(batches)
            await rig.up()
            await write(batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []
    finally:
        await rig.stop()


@pytest.mark.server("victoria-metrics")
async def test_victoria_metrics_over_api_v2(tmp_path: Path) -> None:
    """Counts only: it keeps milliseconds and floats."""
    server = victoria_metrics(tmp_path)
    await server.start()
    try:
        registry = FakeV2Rig().registry
        sink = InfluxDbSink(type="influxdb", url=server.url, org="lab", bucket="machines").build(
            bench(registry)
        )
        point = registry.intern(Point("mill", "load", Kind.NUMBER))
        at = [START + i * 1_000_000 for i in range(300)]
        batch = batch_of(Kind.NUMBER, [point] * 300, at, [i + 0.5 for i in range(300)], received=START)
        await write_once(sink, [batch])
        assert [finding.level for finding in await sink.probe()] == ["ok", "ok"]
        exported = await asyncio.to_thread(_exported, server.url)
        assert '"machine_load"' in exported
        assert exported.count(".5") == 300
    finally:
        await server.stop()


def _exported(url: str) -> str:
    """Asked again while it shows less than it has taken: a flush may come before its last rows."""
    begun = time.monotonic()
    with urllib3.PoolManager(retries=False) as pool:
        while True:
            pool.request("GET", f"{url}/internal/force_flush", timeout=90)
            found = pool.request("GET", url + '/api/v1/export?match={__name__="machine_load"}', timeout=90)
            text = found.data.decode()
            if text.count(".5") >= 300 or time.monotonic() - begun > 60:
                return text
            time.sleep(0.1)


def test_the_fake_is_a_fake() -> None:
    """A test of the oracle: it stores by key, as InfluxDB does."""
    server = Fake()
    server._store([Read("m", {"a": "b"}, {"x": 1.0}, 1), Read("m", {"a": "b"}, {"y": 2.0}, 1)])
    server._store([Read("m", {"a": "b"}, {"x": 3.0}, 1)])
    assert server.points == {("m", (("a", "b"),), 1): {"x": 3.0, "y": 2.0}}
