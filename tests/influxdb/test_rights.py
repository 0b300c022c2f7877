"""Credentials that may do more than they need: found where the server tells, never in the way where it does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.influxdb.settings import InfluxDbSink
from pipelines.registry import Registry
from tests.contracts.sink import write_once
from tests.influxdb.fake import Answer
from tests.influxdb.peers import Server, influxd, query
from tests.influxdb.rigs import FakeV2Rig, bench, some_numbers

Json = Mapping[str, Any]


def permission(action: str, sort: str, **more: str) -> Json:
    return {"action": action, "resource": {"type": sort, "orgID": "0a", **more}}


TOKEN = "secret-token"
OWN = [permission(action, "buckets", id="0b", name="machines") for action in ("read", "write")]
ALL = [
    permission(a, sort)
    for sort in ("authorizations", "buckets", "dashboards", "orgs")
    for a in ("read", "write")
]


def knows(rig: FakeV2Rig, *tokens: tuple[str, list[Json]]) -> None:
    """In the form of InfluxDB 2.7."""
    known = [{"id": "1", "token": token, "status": "active", "permissions": may} for token, may in tokens]
    rig.server.rights = Answer(200, json.dumps({"links": {"self": "/"}, "authorizations": known}).encode())


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


async def warnings(rig: FakeV2Rig) -> list[str]:
    """Of `check --online`; the same must be in the facts of a session, which `status` shows."""
    sink = rig.sink()
    found = [finding for finding in await sink.probe() if finding.level == "warning"]
    assert all(finding.hint for finding in found)
    await write_once(sink, some_numbers(rig.registry, 1))
    facts: dict[str, str] = sink.facts  # type: ignore[attr-defined]
    assert (
        [facts["rights"]] == [f"{one.message}. {one.hint}" for one in found]
        if found
        else "rights" not in facts
    )
    return [finding.message for finding in found]


async def test_an_all_access_token_is_warned_of(rig: FakeV2Rig) -> None:
    """S12: what it may do beyond the bucket is named, deleting buckets among it; and nothing of the token itself."""
    knows(rig, ("other", OWN), (TOKEN, ALL))
    (said,) = await warnings(rig)
    assert "write all buckets (and delete them)" in said
    assert "write authorizations" in said
    assert TOKEN not in said


async def test_another_bucket_is_more_than_it_needs(rig: FakeV2Rig) -> None:
    """S12: and is named."""
    knows(rig, (TOKEN, [*OWN, permission("write", "buckets", id="0c", name="secret")]))
    assert await warnings(rig) == ["the token may also write the bucket secret"]


async def test_a_token_for_its_bucket_alone_is_right(rig: FakeV2Rig) -> None:
    """S12: the warning says something only because it is not always there."""
    knows(rig, (TOKEN, OWN))
    assert await warnings(rig) == []


async def test_a_server_that_hides_tokens(rig: FakeV2Rig) -> None:
    """S12: InfluxDB Cloud answers `redacted`: that this token may look at others is what can be said."""
    knows(rig, ("redacted", ALL), ("redacted", OWN))
    assert await warnings(rig) == ["the token may look at other tokens, which is more than it needs"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401), Answer(403), Answer(404, b"404 page not found"), Answer(500), Answer(200, b"<html>"), Answer(200, b"[]"),
        Answer(200, b'{"authorizations": []}'), Answer(200, b'{"authorizations": [7]}'), Answer(200, b'{"authorizations": null}'),
        Answer(200, b'{"authorizations": [{"token": "secret-token", "permissions": [{}]}]}'), Answer(drops=True),
        Answer(302, headers={"Location": "http://elsewhere.example/"}),
    ],
    ids=lambda answer: f"{answer.status}{answer.body[:12].decode()}",
)  # fmt: skip
async def test_where_the_server_does_not_tell_nothing_is_said_and_nothing_stops(
    rig: FakeV2Rig, answer: Answer
) -> None:
    """S12: advice is never in the way of a write."""
    rig.server.rights = answer
    assert await warnings(rig) == []
    assert len(rig.server.points) >= 1


def _made(server: Server, *statements: str) -> None:
    for text in statements:
        query(server.url, "shop", text)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Server]:
    """InfluxDB 1.6.7 that asks for passwords: `boss` is an administrator, `line` may write and read one database."""
    server = influxd(tmp_path)
    await server.start()
    _made(
        server,
        "CREATE DATABASE shop",
        "CREATE USER boss WITH PASSWORD 'b' WITH ALL PRIVILEGES",
        "CREATE USER line WITH PASSWORD 'l'",
        "GRANT ALL ON shop TO line",
    )
    await server.stop()
    config = tmp_path / "influxdb.conf"
    config.write_text(config.read_text().replace("[http]", "[http]\n  auth-enabled = true"))
    await server.start()
    yield server
    await server.stop()


async def _said(server: Server, user: str) -> list[str]:
    settings = InfluxDbSink(
        type="influxdb", url=server.url, api="v1", database="shop", username=user, password=user[0]
    )
    findings = await settings.build(bench(Registry())).probe()
    assert [finding for finding in findings if finding.level == "error"] == []
    return [finding.message for finding in findings if finding.level == "warning"]


async def test_an_administrator_of_a_real_influxdb_is_warned_of(guarded: Server) -> None:
    """S12: InfluxDB 1.6.7 with authentication: the administrator is named, a user of one database is right."""
    (said,) = await _said(guarded, "boss")
    assert said.startswith("the user boss is an administrator")
    assert await _said(guarded, "line") == []


async def test_a_real_influxdb_that_asks_nobody(tmp_path: Path) -> None:
    """S12: a password that nobody looks at protects nothing."""
    server = influxd(tmp_path)
    await server.start()
    try:
        _made(server, "CREATE DATABASE shop")
        (said,) = await _said(server, "line")
    finally:
        await server.stop()
    assert said.startswith("the server asks nobody for a password")
