"""The rows U1–U24 at OPC UA servers that are not ours, as far as each of them can show them; `CANNOT` says where not, and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asyncua.client.client import Client
from asyncua.ua import status_codes

from adapters.errors import Misconfigured
from adapters.opcua.publishing import IN_FLIGHT
from pipelines import quality
from pipelines.batch import Flag
from pipelines.registry import Registry
from simulators.proxy.server import open_proxy
from tests.contracts.rig import eventually, leap
from tests.opcua.certificates import Wish, make
from tests.opcua.rows.bed import LONG, Hurried, let
from tests.opcua.scripted import Identity, ScriptedServer
from tests.opcua.settling import settled
from tests.peers.opcua import SIGNALS, START_MS, Server
from tests.peers.rows import PeerBed, Wire
from tests.peers.test_opcua import fingerprint
from tests.servers import free_port

MORE, LIMIT = 40, 20
OPTIONS = {"more": MORE, "limit": LIMIT, "lifetime": 600_000}
MANY = [f"v{number}" for number in range(MORE)]

SENDS_NONE = (
    "the line cannot take one message out of a stream of TCP, and this server leaves none out: scripted only"
)
NEVER_THERE = "would take 4,294,967,295 notifications: scripted only"
HARMLESS = "this server means no harm: scripted only"
GRANTS_ALL = "grants every interval, queue and keep-alive as it was asked for"
NO_OVERFLOW = "drops from a full queue without setting the overflow bit: such a loss nobody can see"
AS_SCRIPTED = "its secure channel is asyncua's, as the scripted server's is, or its ancestor: shown there and at node-opcua"


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(request.cls.KIND, tmp_path_factory.mktemp("peer"), **OPTIONS)
    yield server
    server.peer.stop()


@pytest.fixture
async def bed(server: Server, tmp_path: Path) -> AsyncIterator[PeerBed]:
    wire = Wire()
    async with open_proxy(("127.0.0.1", server.port), port=free_port(), tee=wire) as proxy:
        yield PeerBed(server, proxy, wire, tmp_path)
    await asyncio.to_thread(server.do, "end", silently=True)  # what it keeps for a collector that comes back


class PeerRows:
    """A test for each row that a server of any make may show.

    RESUMES: the server gives back what was not acknowledged. SECURE: it listens with security too. FILLS_TIMES: a value
    without a time gets that of the value before from the server itself.
    """

    KIND: ClassVar[str]
    RESUMES: ClassVar[bool] = False
    SECURE: ClassVar[bool] = False
    FILLS_TIMES: ClassVar[bool] = False
    CANNOT: ClassVar[Mapping[str, str]] = {}

    async def test_u1_a_reset_in_the_middle_of_a_message(self, bed: PeerBed) -> None:
        """U1, U11: half of a notification is out, then RST; asking again has an end, also where nothing says no."""
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            passed = 0
            for _ in range(3):
                connections, delivered = bed.proxy.connections, bed.proxy.down.counts.delivered
                bed.proxy.down.set(stall=True)
                comes = asyncio.gather(bed.heard(150))
                await bed.emit(*SIGNALS, count=5)
                await comes
                bed.proxy.down.set(stall=False, reset_at=delivered - passed + 50)
                await bed.lost_and_found(connections)
                passed = bed.proxy.down.counts.delivered
                await bed.emit(*SIGNALS)
                await line.runs()
            await line.conserved()
            assert line.reasons == (set() if self.RESUMES else {"connection_lost"})
        assert bed.wire.count("CreateSubscription") == (1 if self.RESUMES else 4)
        assert bed.wire.count("Republish") <= 4 * bed.proxy.connections

    async def test_u1_an_encrypted_session_is_revived(self, bed: PeerBed) -> None:
        """U1: signed, encrypted, with a user: ActivateSession on another channel, with a signature over the server's last nonce."""
        pin = {"server_certificate_sha256": fingerprint(bed.server)}
        bed.settings |= {"security": "sign_and_encrypt", "username": "reader", "password": "right", **pin}
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            for _ in range(3):
                connections = bed.proxy.connections
                bed.proxy.reset()
                await bed.emit(*SIGNALS, count=3)
                await eventually(lambda n=connections: bed.proxy.connections > n, "it comes back")  # type: ignore[misc]
                await line.runs()
                assert line.facts["session"] == "session continued"
            await line.conserved()
        assert line.gaps == []

    async def test_u2_a_dead_line(self, bed: PeerBed) -> None:
        """U2: bytes vanish and nobody says so: noticed within two and a half keep-alives, and not before two."""
        clock = bed.stand_still()
        bed.settings["keep_alive"] = "60s"
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            assert line.facts["keep_alive"] == "60 s"
            await let(clock, 119.0, 7.0)  # in which the server has no time to say that it is there
            await bed.emit(*SIGNALS)
            await line.runs()
            subscriptions = bed.wire.count("CreateSubscription")
            assert (bed.proxy.connections, subscriptions) == (1, 1), "nobody may be impatient"
            bed.proxy.both(blackhole=True)
            asked = bed.proxy.up.counts.swallowed
            await let(clock, 119.0, 7.0)
            assert line.state == "connected"
            await let(clock, 2.0, 1.0)
            await eventually(
                lambda: bed.proxy.up.counts.swallowed > asked, "whether anybody is there is asked"
            )
            leap(bed.REQUEST_TIMEOUT)
            await let(clock, 24.0, 1.0)
            await eventually(lambda: line.state != "connected", "the loss is noticed")
            bed.proxy.clear()
            bed.proxy.reset()
            await bed.emit(*SIGNALS, count=3)
            await line.runs()
            await line.conserved()

    async def test_u3_a_restart_with_another_numbering(self, bed: PeerBed) -> None:
        """U3, U15: process, sessions, subscriptions gone, the namespace's number taken by another one: all tags are back."""
        bed.read(*SIGNALS, *MANY)
        async with bed.line() as line:
            await line.runs()
            await bed.emit(*SIGNALS)
            await line.runs()
            await asyncio.to_thread(bed.server.peer.stop)
            await eventually(lambda: line.state != "connected", "the loss is noticed")
            await asyncio.to_thread(lambda: bed.server.begin(shift=1, **OPTIONS))
            assert bed.server.peer.ready["namespace"] > 2
            bed.restarted()
            await bed.emit(*SIGNALS, *MANY)
            await line.runs()
            await line.conserved()
            assert line.reasons == {"connection_lost"}
            assert not [row for row in line.rows if row.value == -1.0], (
                "nothing of the namespace that has the number now"
            )
            assert line.facts["items"] == f"{3 + MORE} of {3 + MORE} live"

    @pytest.mark.parametrize("place", [400, 1200, 2500, 4000, *(range(100, 4000, 100) if LONG else ())])
    async def test_u4_a_second_loss_while_everything_is_made_again(self, bed: PeerBed, place: int) -> None:
        """U4: reset behind so many bytes of the answers while all is made again: all items are back, each time."""
        bed.read(*SIGNALS, *MANY)
        async with bed.line() as line:
            await line.runs()
            connections = bed.proxy.connections
            bed.proxy.down.set(reset_at=place)
            bed.proxy.reset()
            await eventually(lambda: bed.proxy.connections > connections + 1, "and again")
            bed.proxy.clear()
            bed.proxy.reset()
            await bed.emit(*SIGNALS, *MANY)
            await line.runs()
            await eventually(lambda: line.facts.get("items") == f"{3 + MORE} of {3 + MORE} live", "all live")
            await bed.emit(*SIGNALS, *MANY)
            await line.runs()
            await line.conserved()

    async def test_u5_a_node_that_is_unknown_for_a_while(self, bed: PeerBed) -> None:
        """U5: asked for again and again, the others unaffected; its values come when it does."""
        bed.clock = Hurried(8)
        late = f"late{bed.server.count}"
        bed.read(*SIGNALS)
        bed.read(late, kind="number")
        async with bed.line() as line:
            await line.runs(*SIGNALS)
            await bed.emit(*SIGNALS)
            await line.runs(*SIGNALS)
            assert late in line.facts["failed"], "it is told by name"
            await asyncio.to_thread(bed.server.do, "add", name=late)
            await line.until(lambda: line.values(late) == [0.0], "it is found")
            await bed.emit(late, *SIGNALS)
            await line.runs()
            await line.conserved()
        assert bed.proxy.connections == 1
        assert line.gaps == []

    async def test_u5_a_node_that_vanishes_and_returns(self, bed: PeerBed) -> None:
        """U5: told as unknown, the others unaffected; whether its item died or not, its values come again when it does."""
        bed.clock = Hurried(8)
        name = f"going{bed.server.count}"
        await asyncio.to_thread(bed.server.do, "add", name=name)
        bed.read(*SIGNALS)
        bed.read(name, heartbeat="1s")
        async with bed.line() as line:
            await line.runs()
            await bed.emit(name, *SIGNALS)
            await line.runs()
            await asyncio.to_thread(bed.server.do, "remove", name=name)
            await line.until(lambda: any(row.quality == 0x80340000 for row in line.rows), "told as unknown")
            await bed.emit(*SIGNALS)
            await line.runs(*SIGNALS)
            await asyncio.to_thread(bed.server.do, "add", name=name)
            await bed.emit(name, name, *SIGNALS)
            await line.runs()
            await bed.emit(name)
            await line.runs()
            await line.conserved()
            assert line.reasons <= {"node_unknown", "subscription_lost"}, (
                "the latter where the server stumbles over the old item"
            )
        assert bed.proxy.connections == 1

    async def test_u6_the_server_ends_the_subscription(self, bed: PeerBed) -> None:
        """U6: with a StatusChangeNotification, BadTimeout: another one on the same connection, and what is missing is told."""
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            await asyncio.to_thread(bed.server.do, "end", silently=False)
            await bed.emit(*SIGNALS, count=2)  # some servers send the word with the next value only
            await eventually(lambda: bed.wire.count("CreateSubscription") == 2, "there is another one")
            await bed.emit(*SIGNALS, count=3)
            await line.runs()
            await line.conserved()
            assert line.reasons == {"subscription_lost"}
        assert bed.proxy.connections == 1

    async def test_u7_a_subscription_that_died_silently(self, bed: PeerBed) -> None:
        """U7: gone at the server, the session lives, nobody says a word: noticed within two and a half keep-alives."""
        clock = bed.stand_still()
        bed.settings["keep_alive"] = "60s"
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            assert line.facts["keep_alive"] == "60 s"
            await asyncio.to_thread(bed.server.do, "end", silently=True)
            await bed.emit(*SIGNALS, count=2)
            await settled()
            await let(clock, 119.0, 7.0)
            assert bed.wire.count("CreateSubscription") == 1
            await let(clock, 2.0, 1.0)
            await let(clock, 24.0, 1.0)
            await eventually(lambda: bed.wire.count("CreateSubscription") == 2, "there is another one")
            await bed.emit(*SIGNALS, count=3)
            await line.runs()
            await line.conserved()
            assert line.reasons == {"subscription_lost"}
        assert bed.proxy.connections == 1

    async def test_u9_keep_alives_as_this_server_numbers_them(self, bed: PeerBed) -> None:
        """U9: values, keep-alives, values: nothing counts as missing, nothing is asked for again."""
        bed.stand_still()  # a server that has no time for its keep-alives is another test
        bed.settings |= {"publishing_interval": "50ms", "keep_alive": "100ms"}
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            asked = bed.wire.count("Republish")
            for _ in range(3):
                seen = bed.wire.count("PublishResponse")
                await eventually(lambda n=seen: bed.wire.count("PublishResponse") >= n + 2, "keep-alives")  # type: ignore[misc]
                await bed.emit(*SIGNALS, count=2)
                await line.runs()
            await line.conserved()
        assert line.gaps == []
        assert bed.wire.count("Republish") == asked
        assert bed.proxy.connections == 1

    async def test_u12_a_queue_of_the_server_overflows(self, bed: PeerBed) -> None:
        """U12: what was dropped is told, what was kept is stored, marked as the server marked it."""
        bed.read("load", queue=2)
        bed.read("speed")
        async with bed.line() as line:
            await line.runs()
            await bed.emit("load", "speed", count=20)
            await line.runs()
            await line.conserved()
            assert line.reasons == {"server_queue_overflow"}
            assert len(line.values("speed")) == 21
            assert len(line.values("load")) < 21
            assert any(row.quality & 0x480 == 0x480 for row in line.rows if row.signal == "load")

    async def test_u13_every_status_code(self, bed: PeerBed) -> None:
        """U13: all that are known and some that are not, as this server writes them: nothing bad passes for good."""
        bed.read(*SIGNALS)
        codes = [*sorted(status_codes.code_to_name_doc), 0x00990000, 0x40FF0000, 0x8FFF0000]
        async with bed.line() as line:
            await line.runs()
            await bed.tell(
                *(("load", float(number), {"status": code}) for number, code in enumerate(codes, 1))
            )
            await bed.tell(("load", -7.0, {}))
            await line.runs()
            await line.stop()
            rows = [row for row in line.rows if row.signal == "load"][-len(codes) - 1 : -1]
        assert [row.quality for row in rows] == codes
        for number, (code, row) in enumerate(zip(codes, rows, strict=True), 1):
            assert quality.class_of(row.quality) == ("good", "uncertain", "bad", "bad")[code >> 30]
            assert row.flags & Flag.NO_VALUE or row.value == float(number)
            assert not row.flags & Flag.NO_VALUE or code >> 31, "only what is bad may lose its value"

    async def test_u13_a_null_is_a_row_without_value(self, bed: PeerBed) -> None:
        """U13: null with a bad status, as every library writes it, and the value after it."""
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            await bed.tell(("load", None, {}))
            await bed.tell(("load", 8.0, {}))
            await line.runs()
            await line.conserved()
            row = [row for row in line.rows if row.signal == "load"][-2]
        assert (row.quality, bool(row.flags & Flag.NO_VALUE)) == (0x808C0000, True)

    async def test_u14_the_first_time_that_can_be(self, bed: PeerBed) -> None:
        """U14: no source time, 1601, 9999, an hour between source and server: source, server, receipt; flagged."""
        bed.read("load")
        base, hour, never, last = START_MS + 10_000_000, 3_600_000, -11_644_473_600_000, 253_402_300_799_000
        base += 1000 * bed.server.count
        cases: list[tuple[dict[str, Any], int | None]] = [
            ({"source": base, "server": base + hour}, base),
            ({"source": base + 1, "server": base + 1 - hour}, base + 1),
            ({"source": never, "server": base + 3}, base + 3),
            ({"source": last, "server": base + 4}, base + 4),
        ]
        if not self.FILLS_TIMES:
            cases += [
                ({"source": None, "server": base + 2}, base + 2),
                ({"source": None, "server": None}, None),
            ]
        async with bed.line() as line:
            await line.runs()
            before = bed.clock.now()
            for number, (times, _) in enumerate(cases, 1):
                await bed.tell(("load", float(-number), times))
                await line.until(lambda n=number: line.values("load")[-1] == -n, "it is stored")  # type: ignore[misc]
            await bed.emit("load")
            await line.runs()
            await line.stop()
            rows = {row.value: row for row in line.rows}
        for number, (times, expected) in enumerate(cases, 1):
            row = rows[float(-number)]
            if expected is None:
                assert row.at >= before
                assert row.flags & Flag.TIME_SUBSTITUTED
            else:
                assert row.at == expected * 1_000_000, times
                assert bool(row.flags & Flag.TIME_SUBSTITUTED) == (times["source"] != expected)

    async def test_u16_a_type_that_changes(self, bed: PeerBed) -> None:
        """U16: Int16, then Double, then String: what fits is stored, the rest refused by name, the others run on."""
        name = f"any{bed.server.count}"
        await asyncio.to_thread(bed.server.do, "add", name=name, kind="Any")
        bed.read("load")
        bed.read(name)
        steps: list[tuple[str, Any]] = [("Int16", 2), ("Double", 4.5), ("String", "five"), ("Int16", 7)]
        async with bed.line() as line:
            await line.runs("load")
            for kind, value in steps:
                await bed.tell((name, value, {"type": kind}))
                await bed.tell((name, None, {}))
                await bed.emit("load")
                await line.runs("load")
            await line.until(lambda: line.values(name)[-1:] == [7], "and this one again")
            await line.stop()
            refused = await line.journal.quarantined()
            assert line.values(name) == [2, 4.5, 7]
            silent = [row for row in line.rows if row.signal == name and row.flags & Flag.NO_VALUE]
            assert len(refused) + len(silent) == 1 + len(steps) + 1, (
                "the text, and a null at first and behind each"
            )
            assert (await line.ledger()).unaccounted == 0
        assert bed.proxy.connections == 1

    async def test_u17_what_the_server_makes_of_wishes(self, bed: PeerBed) -> None:
        """U17: an interval that it does not give: used as revised, and told."""
        clock = bed.stand_still()
        bed.settings |= {"publishing_interval": "5ms", "keep_alive": "5s"}
        bed.read("load", every="1ms")
        async with bed.line() as line:
            await line.runs()
            assert line.facts["publishing_interval"] == "0.05 s (asked for 0.005 s)"
            assert "instead of 0.001 s" in line.facts["revised"]
            assert line.facts["keep_alive"].startswith("50 s")
            await let(clock, 99.0, 7.0)  # had the keep-alive of 5 s counted that was asked for: silence
            await bed.emit("load")
            await line.runs()
            await line.conserved()
        assert bed.wire.count("CreateSubscription") == 1
        assert bed.proxy.connections == 1

    async def test_u18_calls_are_as_small_as_the_server_says(self, bed: PeerBed) -> None:
        """U18: 43 items where 20 may be created with one call, and as few attributes read."""
        bed.read(*SIGNALS, *MANY)
        async with bed.line() as line:
            await line.runs()
            await bed.emit(*SIGNALS, *MANY)
            await line.runs()
            await line.conserved()
            assert line.facts["items"] == f"{3 + MORE} of {3 + MORE} live"
        assert bed.wire.count("CreateMonitoredItems") == -(-(3 + MORE) // LIMIT)

    async def test_values_that_are_read_and_values_that_are_read_again(self, bed: PeerBed) -> None:
        """`mode: poll` within the server's limits, and heartbeats of a polled and of a monitored signal."""
        bed.clock = Hurried(10)
        bed.read("load", *MANY, mode="poll", every="100ms")
        bed.read("speed", mode="poll", every="100ms", heartbeat="1s")
        bed.read("temperature", heartbeat="1s")
        async with bed.line() as line:
            await line.runs()
            for _ in range(3):
                await bed.emit("load", "temperature", *MANY)
                await line.runs()
            still = {"speed", "temperature"}

            def beats() -> list[tuple[str, Any]]:
                return [(row.signal, row.value) for row in line.rows if row.flags & Flag.HEARTBEAT]

            latest = {name: bed.latest(name) for name in still}
            await line.until(lambda: dict(beats()) == latest, "both are read again")
            await line.conserved()
            assert dict(beats()) == latest
            told = {(name, value) for (name, _), (value, _) in bed.emitted().items() if name in still}
            assert set(beats()) <= told, "of earlier values where the machine took more than a second"
            assert line.facts["polling"].startswith(f"{2 + MORE} signals")
        assert bed.wire.count("CreateMonitoredItems") == 1
        assert line.gaps == []

    async def test_u19_keys_are_renewed(self, bed: PeerBed, monkeypatch: pytest.MonkeyPatch) -> None:
        """U19: four times while values come: the same connection, nothing missing."""
        made = Client.__init__

        def hasty(client: Client, *args: Any, **more: Any) -> None:
            made(client, *args, **more)
            client.secure_channel_timeout = 60_000

        monkeypatch.setattr(Client, "__init__", hasty)
        clock = bed.stand_still()
        bed.settings["keep_alive"] = "60s"
        if self.SECURE:
            pin = {"server_certificate_sha256": fingerprint(bed.server)}
            bed.settings |= {"security": "sign_and_encrypt", **pin}
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            connections, begun = bed.proxy.connections, bed.wire.granted
            for number in range(1, 5):
                await let(clock, 45.1, 7.0)  # three quarters of a lifetime
                await eventually(lambda n=number: bed.wire.granted == begun + n, "it has new keys")  # type: ignore[misc]
                await settled()
                for _ in range(2 * (IN_FLIGHT + 1)):
                    # node-opcua answers with the keys of the request: none may wait there over two renewals, which
                    # are an hour in truth
                    await bed.emit(*SIGNALS)
                    await line.runs()
            await bed.emit(*SIGNALS, count=3)
            await line.runs()
            await line.conserved()
        assert line.gaps == []
        assert bed.proxy.connections == connections

    async def test_u20_the_certificate_is_another_one(self, bed: PeerBed) -> None:
        """U20: pinned, and renewed by nobody's authority: a clear state, no storm, no credential."""
        pin = {"server_certificate_sha256": fingerprint(bed.server)}
        bed.settings |= {"security": "sign_and_encrypt", "username": "reader", "password": "right", **pin}
        bed.read(*SIGNALS)
        other = make(Wish(key=2))
        renewed = ScriptedServer(
            identity=Identity(other.der, other.key)
        )  # what answers is its certificate only
        await renewed.start()
        try:
            async with bed.line() as line:
                await line.runs()
                connections, signed = bed.proxy.connections, bed.wire.count("CreateSession")
                bed.proxy.to = ("127.0.0.1", renewed.port)
                bed.proxy.reset()
                await eventually(lambda: line.state == "needs_attention", "it is a clear state")
                assert "certificate" in line.health["plc"].error
                assert bed.proxy.connections - connections <= 3
                assert bed.wire.count("CreateSession") == signed == 0, "nothing is asked in clear"
            assert set(renewed.record.requests) == {"GetEndpoints"}
        finally:
            await renewed.stop()

    async def test_u21_a_stranger_gets_no_credential(self, bed: PeerBed) -> None:
        """U21: another certificate than the one that is known: nobody signs in, not even a secure channel begins."""
        bed.settings |= {"security": "sign_and_encrypt", "username": "reader", "password": "right"}
        bed.settings["server_certificate_sha256"] = "0" * 64
        bed.read(*SIGNALS)
        with pytest.raises(Misconfigured, match="certificate"):
            async with bed.source(Registry()).session(None):
                pytest.fail("a stranger was trusted")
        assert b"SecurityPolicy#Basic256Sha256" not in bed.wire.up
        assert b"reader" not in bed.wire.up
        assert bed.wire.count("CreateSession") == 0

    async def test_u23_some_lines_flap(self, bed: PeerBed, tmp_path: Path) -> None:
        """U23: four connections to one server, one of them cut again and again: the others lose nothing."""
        async with AsyncExitStack() as stack:
            beds = [bed]
            for number in range(3):
                wire = Wire()
                to = ("127.0.0.1", bed.server.port)
                proxy = await stack.enter_async_context(open_proxy(to, port=free_port(), tee=wire))
                folder = tmp_path / f"line{number}"
                folder.mkdir()
                beds.append(PeerBed(bed.server, proxy, wire, folder))
            for each in beds:
                each.read(*SIGNALS)
            lines = [await stack.enter_async_context(each.line()) for each in beds]
            for line in lines:
                await line.runs()
            for _ in range(60 if LONG else 8):
                bed.proxy.reset()
                await _told_to_all(beds)
                await asyncio.sleep(0.05)
            await _told_to_all(beds)
            for line in lines:
                await line.runs()
                await line.conserved()
            assert [line.gaps for line in lines[1:]] == [[], [], []]
            assert [each.proxy.connections for each in beds[1:]] == [1, 1, 1]

    async def test_u24_the_collector_stands_still(self, bed: PeerBed) -> None:
        """U24: no journal for many keep-alives, far more values than may be unacknowledged: the subscription lives."""
        clock = bed.stand_still()
        bed.read(*SIGNALS)
        async with bed.line() as line:
            await line.runs()
            line.gate.clear()
            while bed.wire.waiting:
                said = bed.wire.count("PublishResponse")
                await bed.emit(*SIGNALS)
                await eventually(lambda n=said: bed.wire.count("PublishResponse") > n, "it is said")  # type: ignore[misc]
                await settled()
            for _ in range(600 if LONG else 20):
                await bed.emit(*SIGNALS)
                await let(clock, 30.0, 10.0)  # three keep-alives
            assert line.state == "connected"
            line.gate.set()
            await line.runs()
            await line.conserved()
        assert line.gaps == []
        assert bed.proxy.connections == 1
        assert bed.wire.count("CreateSubscription") == 1


async def _told_to_all(beds: list[PeerBed]) -> None:
    """One emission, which every bed of this server knows of."""
    first, *others = beds
    await first.emit(*SIGNALS)
    for other in others:
        other.share(first, SIGNALS)


PLAIN_CANNOT: Mapping[str, str] = {
    "test_u1_an_encrypted_session_is_revived": AS_SCRIPTED,
    "test_u12_a_queue_of_the_server_overflows": NO_OVERFLOW,
    "test_u17_what_the_server_makes_of_wishes": GRANTS_ALL,
    "test_u20_the_certificate_is_another_one": AS_SCRIPTED,
    "test_u21_a_stranger_gets_no_credential": AS_SCRIPTED,
    "U8": SENDS_NONE,
    "U10": NEVER_THERE,
    "U22": HARMLESS,
}
"""Of the two servers that are a library's own example of one: no security here, and they grant whatever is asked for."""


@pytest.mark.xdist_group("peers-rows-asyncua")
class TestAsyncua(PeerRows):
    KIND = "asyncua"
    CANNOT: ClassVar[Mapping[str, str]] = PLAIN_CANNOT


@pytest.mark.xdist_group("peers-rows-python-opcua")
class TestPythonOpcua(PeerRows):
    KIND = "python-opcua"
    CANNOT: ClassVar[Mapping[str, str]] = PLAIN_CANNOT


@pytest.mark.xdist_group("peers-rows-node-opcua")
class TestNodeOpcua(PeerRows):
    KIND = "node-opcua"
    RESUMES = True
    SECURE = True
    FILLS_TIMES = True
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_u7_a_subscription_that_died_silently": "answers what waits with BadNoSubscription, at once (U6)",
        "U8": SENDS_NONE,
        "U10": NEVER_THERE,
        "U22": HARMLESS,
    }
