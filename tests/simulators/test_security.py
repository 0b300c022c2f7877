"""Who gets into a simulated OPC UA server: endpoints, users, certificates; what is offered, refused, kept, and written down."""

import functools
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies as crypto
from asyncua.ua.uaerrors import UaError
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from ruamel.yaml import YAML

from simulators.cli import main
from simulators.errors import SimulatorError
from simulators.faces import opcua_identity
from simulators.faces.opcua_entrance import MOST_REJECTED, Doorkeeper, TrustList
from simulators.faces.opcua_identity import Keys, Registrar, hosts_of
from simulators.faces.opcua_security import Account, Security, offers, security_of
from simulators.faces.opcua_space import Nursery
from simulators.faults.wish import Wish as Fault
from simulators.scenario.reading import read
from simulators.testing.making import make_workshop
from simulators.workshop import Plan, Workshop, open_workshop
from tests.opcua.certificates import NOW, Identity, Wish, authority, make
from tests.simulators.runs import START, rows

ALL: dict[str, Any] = {
    "Basic256Sha256": crypto.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": crypto.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": crypto.SecurityPolicyAes256Sha256RsaPss,
}
MODES = {"Sign": ua.MessageSecurityMode.Sign, "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt}
CLIENT_URI = "urn:test:client"
ANNA, BEN = Account("anna", "right"), Account("ben", "strong", operator=True)


def plan(folder: Path, security: Security, **more: Any) -> Plan:
    return Plan(
        machines=(("legacy", "l"),), seed=1, truth=folder / "truth", config=folder / "run" / "collector.yaml",
        start_ns=START, faces={"l": "opcua"}, security=security, **more,
    )  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path, nursery: Nursery) -> Any:
    return lambda security, **more: open_workshop(plan(tmp_path, security, **more), nursery)


@functools.cache
def known() -> Identity:
    """The same client every time."""
    return stranger()


def stranger(number: int = 20, **more: Any) -> Identity:
    return make(Wish(name="a client", uri=CLIENT_URI, hosts=(), key=number, extended=None, **more))


async def enter(
    workshop: Workshop, folder: Path, policy: str = "", mode: str = "SignAndEncrypt", *, user: str = "",
    password: str = "", shown: Identity | None = None,
) -> Any:  # fmt: skip
    """Read one value as a client does."""
    client = Client(workshop.endpoints["l"], timeout=90)
    client.application_uri = CLIENT_URI
    if user:
        client.set_user(user)
        client.set_password(password)
    if policy:
        certificate, key = (shown or known()).write(folder / "client", "c")
        await client.set_security(ALL[policy], str(certificate), str(key), mode=MODES[mode])
    async with client:
        index = await client.get_namespace_index("urn:shopfloor:sim:legacy")
        return await client.get_node(f"ns={index};s=pulses").read_value()


def config_of(folder: Path) -> dict[str, Any]:
    source: dict[str, Any] = YAML(typ="safe").load(folder / "run" / "collector.yaml")["sources"]["l"]
    return source


async def test_left_out_everything_is_offered_and_the_configuration_asks_for_nothing(
    opened: Any, tmp_path: Path
) -> None:
    async with opened(Security()) as workshop:
        async with Client(workshop.endpoints["l"], timeout=90) as client:
            found = await client.get_endpoints()
        seen = {(str(e.SecurityMode.name), str(e.SecurityPolicyUri).rpartition("#")[2]) for e in found}
        assert seen == {("None_", "None"), *((mode, policy) for mode in MODES for policy in ALL)}
        assert {e.EndpointUrl for e in found} == {workshop.endpoints["l"]}
        tokens = {token.TokenType for e in found for token in e.UserIdentityTokens}
        assert tokens == {ua.UserTokenType.Anonymous}
    source = config_of(tmp_path)
    assert source == {"type": "opcua", "url": workshop.endpoints["l"], "security": "none"}


async def test_every_policy_and_mode_with_a_user(opened: Any, tmp_path: Path) -> None:
    async with opened(Security(accounts=(ANNA,))) as workshop:
        for policy, mode in product(ALL, MODES):
            assert await enter(workshop, tmp_path, policy, mode, user="anna", password="right") == 0
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await enter(workshop, tmp_path, policy, mode, user="anna", password="wrong")


async def test_without_a_name_only_where_that_is_allowed(opened: Any, tmp_path: Path) -> None:
    async with opened(Security(accounts=(ANNA,))) as workshop:
        assert await enter(workshop, tmp_path) == 0
    async with opened(Security(accounts=(ANNA,), anonymous=False)) as workshop:
        for policy in ("", "Basic256Sha256"):
            with pytest.raises(ua.uaerrors.BadIdentityTokenRejected):
                await enter(workshop, tmp_path, policy)
        assert await enter(workshop, tmp_path, user="anna", password="right") == 0, "encrypted by itself"


def test_who_is_an_operator() -> None:
    nobody, keeper = Doorkeeper(()), Doorkeeper((ANNA, BEN))
    person = nobody.get_user(None)
    assert person is not None
    assert person.operator, "a machine without users"
    rights = {
        name: (person.name, person.operator)
        for name, word in ((None, None), ("anna", "right"), ("ben", b"strong"))
        if (person := keeper.get_user(None, name, word)) is not None
    }
    assert rights == {None: ("", False), "anna": ("anna", False), "ben": ("ben", True)}
    for name, word in (("anna", None), ("anna", "strong"), ("eve", "right"), ("", "")):
        assert keeper.get_user(None, name, word) is None


async def plain_session(url: str) -> None:
    """As a client that does not look what is offered."""
    client = Client(url, timeout=90)
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        assert [e.SecurityMode for e in await client.get_endpoints()].count(ua.MessageSecurityMode.None_) == 0
        asked = ua.CreateSessionParameters(EndpointUrl=url, SessionName="x", RequestedSessionTimeout=10_000)
        await client.uaclient.create_session(asked)
        shown = ua.ActivateSessionParameters(
            UserIdentityToken=ua.AnonymousIdentityToken(PolicyId="anonymous")
        )
        await client.uaclient.activate_session(shown)
        await client.get_node("i=2258").read_value()
    finally:
        client.disconnect_socket()


async def test_no_side_door_without_security(opened: Any, tmp_path: Path) -> None:
    """The library's server alone lets a session begin that no endpoint offers (decisions/0007)."""
    async with opened(Security(offers=("encrypt",))) as workshop:
        with pytest.raises(ua.uaerrors.BadSecurityPolicyRejected):
            await plain_session(workshop.endpoints["l"])
        assert await enter(workshop, tmp_path, "Aes256_Sha256_RsaPss") == 0


async def test_nobody_guesses_the_name_of_a_session(opened: Any) -> None:
    """The library's server counts them from 1000 on (decisions/0007)."""
    async with opened(Security()) as workshop, Client(workshop.endpoints["l"], timeout=90) as client:
        assert client.uaclient.session.authentication_token.NodeIdType is ua.NodeIdType.Guid


async def test_strangers_are_refused_laid_aside_and_let_in_once_moved(opened: Any, tmp_path: Path) -> None:
    folder = tmp_path / "clients"
    async with opened(Security(trust=folder)) as workshop:
        for policy in ALL:
            with pytest.raises(ua.uaerrors.BadSecurityChecksFailed):
                await enter(workshop, tmp_path, policy)
        (refused,) = (folder / "rejected").iterdir()
        assert refused.read_bytes() == known().der
        assert refused.name.startswith("a_client-")
        with pytest.raises(ua.uaerrors.BadSecurityPolicyRejected):
            await plain_session(workshop.endpoints["l"])
        refused.rename(folder / refused.name)
        assert await enter(workshop, tmp_path, "Basic256Sha256") == 0
        with pytest.raises(UaError):
            await enter(workshop, tmp_path, "Basic256Sha256", shown=stranger(21))
    assert config_of(tmp_path)["security"] == "sign_and_encrypt"


def test_whom_a_trust_list_believes(tmp_path: Path) -> None:
    trust, root = TrustList(tmp_path), authority()
    trust.prepare()
    (tmp_path / "root.der").write_bytes(root.der)
    (tmp_path / "rubbish.der").write_bytes(b"rubbish")
    late: dict[str, Any] = {"first": NOW - timedelta(days=3), "last": NOW - timedelta(days=1)}
    answers = {
        "own": trust.refusal(stranger(issuer=root).der),
        "forged": trust.refusal(stranger(issuer=authority(key=101)).der),
        "expired": trust.refusal(stranger(issuer=root, **late).der),
        "none": trust.refusal(None),
        "bytes": trust.refusal(b"\x30\x03abc"),
    }
    assert answers == {
        "own": 0,
        "forged": 0x80130000,
        "expired": 0x80140000,
        "none": 0x80130000,
        "bytes": 0x80120000,
    }
    leaf = stranger(22)
    (tmp_path / "leaf.pem").write_bytes(leaf.certificate.public_bytes(Encoding.PEM))
    assert trust.refusal(leaf.der) == 0
    assert trust.refusal(stranger(24, issuer=leaf).der), "no authority"


def test_strangers_do_not_fill_the_disk(tmp_path: Path) -> None:
    trust = TrustList(tmp_path)
    trust.prepare()
    for _ in range(MOST_REJECTED + 5):
        trust.refusal(stranger().der)
    assert len(list(trust.rejected.iterdir())) <= MOST_REJECTED


def test_a_certificate_says_what_the_standard_wants() -> None:
    """OPC 10000-6, 6.2.2."""
    made = Registrar(Keys(), None, hosts_of("0.0.0.0", "press-7.lan")).identity("cnc-1").certificate
    said = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert said.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:shopfloor:sim:cnc-1"]
    assert {"localhost", "press-7.lan"} <= set(said.get_values_for_type(x509.DNSName))
    assert [str(ip) for ip in said.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    said_of_use = (
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
    )
    assert said_of_use == (True, True, True, True)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    made.verify_directly_issued_by(made)


def test_a_kept_certificate_is_the_same_next_time_unless_it_no_longer_fits(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    first = Registrar(Keys(), pki, ("localhost",)).identity("cnc-1")
    again = Registrar(Keys(), pki, ("localhost",)).identity("cnc-1")
    assert again.fingerprint == first.fingerprint
    key = pki / "own" / "private" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    other = Registrar(Keys(), pki, ("localhost", "press-7")).identity("cnc-1")
    assert other.fingerprint != first.fingerprint
    assert other.key.private_numbers() == first.key.private_numbers()
    key.unlink()
    assert Registrar(Keys(), pki, ("localhost",)).identity("cnc-1").fingerprint != other.fingerprint
    key.write_text("rubbish")
    with pytest.raises(SimulatorError, match="cannot be read"):
        Registrar(Keys(), pki, ()).identity("cnc-1")


@pytest.mark.parametrize("slow", ["key", "certificate"])
def test_two_runs_that_find_a_folder_empty_at_once_have_one_key_and_one_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """The other run makes both while this one is busy making its own."""
    others = []
    name = {"key": "generate_private_key", "certificate": "certificate"}[slow]
    make = getattr(opcua_identity, name)

    def late(*given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        others.append(Registrar(Keys(), tmp_path, ("localhost",)).identity("cnc-1"))
        return make(*given, **more)

    monkeypatch.setattr(opcua_identity, name, late)
    mine = Registrar(Keys(), tmp_path, ("localhost",)).identity("cnc-1")
    again = Registrar(Keys(), tmp_path, ("localhost",)).identity("cnc-1")
    assert [each.fingerprint for each in (mine, again)] == [others[0].fingerprint] * 2
    assert mine.key.private_numbers() == others[0].key.private_numbers()
    assert [len(list((tmp_path / "own" / each).iterdir())) for each in ("private", "certs")] == [1, 1]


async def test_the_configuration_gets_in_without_an_edit(opened: Any, tmp_path: Path) -> None:
    security = Security(accounts=(BEN, ANNA), anonymous=False, pki=tmp_path / "pki")
    async with opened(security):
        source = config_of(tmp_path)
    shown = Registrar(Keys(), tmp_path / "pki", hosts_of("127.0.0.1", "")).identity("l")
    assert source["security"] == "sign_and_encrypt"
    assert source["server_certificate_sha256"] == shown.fingerprint
    assert source["username"] == "anna", "who only reads"
    file = Path(source["password"].removeprefix("${file:").removesuffix("}"))
    assert file.read_text() == "right"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "right" not in (tmp_path / "run" / "collector.yaml").read_text()


@pytest.mark.parametrize(
    ("security", "mode"),
    [
        (Security(), "none"), (Security(offers=("none",)), "none"), (Security(offers=("sign",)), "sign"),
        (Security(offers=("none", "sign", "encrypt")), "sign_and_encrypt"), (Security(accounts=(ANNA,)), "sign_and_encrypt"),
        (Security(trust=Path()), "sign_and_encrypt"),
    ],
)  # fmt: skip
def test_what_the_configuration_asks_for(security: Security, mode: str) -> None:
    assert security.checked().mode() == mode


@pytest.mark.parametrize(
    ("security", "words"),
    [
        (Security(offers=("sign",), accounts=(ANNA,)), "need encrypted"),
        (Security(anonymous=False), "nobody could sign in"),
        (Security(accounts=(ANNA, ANNA)), "two users"),
        (Security(offers=("none",), trust=Path()), "nobody shows a certificate"),
    ],
)
def test_contradictions_are_refused_in_words(security: Security, words: str) -> None:
    with pytest.raises(SimulatorError, match=words):
        security.checked()


def test_tests_have_the_same_words(tmp_path: Path, nursery: Nursery) -> None:
    workshop = make_workshop(
        ("legacy=l",),
        {"l": "opcua"},
        None,
        tmp_path,
        1,
        faulty=False,
        nursery=nursery,
        security={"offers": "sign"},
    )
    workshop.close()
    source = YAML(typ="safe").load(workshop.config)["sources"]["l"]
    assert source["security"] == "sign"


def test_who_lets_other_computers_in_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [
        "run",
        "legacy",
        "--face",
        "opcua",
        "--dir",
        str(tmp_path),
        "--duration",
        "100ms",
        "--speed",
        "100",
    ]
    assert main([*common, "--host", "0.0.0.0"]) == 0
    assert "anybody on the network" in capsys.readouterr().err
    made = plan(tmp_path, Security(), host="0.0.0.0")
    assert made.exposed()
    assert not replace(made, host="127.0.0.1").exposed()
    assert not replace(made, security=Security(offers=("encrypt",))).exposed()
    assert not replace(made, faces={"l": "mqtt"}).exposed()


def test_one_set_of_words_for_scenarios_tests_and_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("right\n")
    given = {
        "offers": ["encrypt", "sign"], "anonymous": False, "pki": "pki", "trust": "clients",
        "users": [{"name": "anna", "password_file": "word"}, {"name": "ben", "password": "strong", "role": "operator"}],
    }  # fmt: skip
    expected = Security(("sign", "encrypt"), (ANNA, BEN), False, tmp_path / "pki", tmp_path / "clients")
    assert security_of(given, tmp_path) == expected
    file = tmp_path / "hall.yaml"
    with file.open("w") as out:
        YAML().dump({"version": 1, "machines": [{"id": "l", "kind": "legacy"}], "security": given}, out)
    assert read(file).security == expected
    assert offers("all") == ("none", "sign", "encrypt")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"offers": "strong"}, "is no security"),
        ({"users": [{"name": "anna"}]}, "password or a password_file"),
        ({"users": [{"name": "anna", "password": "a", "role": "king"}]}, "reader or operator"),
        ({"users": [{"name": "a/b", "password": "a"}]}, "no name of a user"),
        ({"users": [{"name": "anna", "password_file": "nowhere"}]}, "cannot be read"),
        ({"guests": True}, "unknown field"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=words):
        security_of(given, tmp_path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--security", "strong"], "is no security"),
        (["--user", "anna:"], "needs a password"),
        (["--operator", "anna"], "name:password"),
        (["--no-anonymous"], "nobody could sign in"),
        (["--users", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_the_command_line_refuses_in_words(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["run", "legacy", *more])
    except SystemExit as left:
        code = left.code  # type: ignore[assignment]
    assert code in (1, 2)
    assert words in capsys.readouterr().err


# -- the fault


async def shown(workshop: Workshop) -> x509.Certificate:
    """The certificate that all endpoints show."""
    async with Client(workshop.endpoints["l"], timeout=90) as client:
        found = await client.get_endpoints()
    (der,) = {e.ServerCertificate for e in found}
    return x509.load_der_x509_certificate(der)


def print_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


async def test_a_certificate_changes_and_comes_back(opened: Any, tmp_path: Path) -> None:
    """With another key, once, until the fault ends; and the truth says when."""
    async with opened(Security()) as workshop:
        engine, own, change = workshop.engine, await shown(workshop), Fault("l", "certificate_change")
        assert await engine.start(change)
        other = await shown(workshop)
        assert print_of(other) != print_of(own)
        assert other.public_key() != own.public_key()
        assert not await engine.start(change), "it is on already"
        assert print_of(await shown(workshop)) == print_of(other)
        assert await enter(workshop, tmp_path, "Basic256Sha256") == 0, "to who trusts it, it is a good one"
        assert await engine.stop(change)
        assert print_of(await shown(workshop)) == print_of(own)
        await engine.start(change)
        assert await engine.reset() == 1
        assert print_of(await shown(workshop)) == print_of(own)
    noted = [(row["event"], row["fault"], row["family"]) for row in rows(tmp_path / "truth", "fault")]
    assert noted == [(event, "certificate_change", "communication") for event in ("start", "stop")] * 2


async def test_the_other_ways_in_which_a_certificate_is_another(opened: Any) -> None:
    async with opened(Security()) as workshop:
        engine, own = workshop.engine, await shown(workshop)
        seen = {}
        for fault in ("certificate_renewed", "certificate_expired", "certificate_host"):
            await engine.start(Fault("l", fault))
            seen[fault] = await shown(workshop)
            assert seen[fault].public_key() == own.public_key()
            await engine.stop(Fault("l", fault))
        assert len({print_of(one) for one in (own, *seen.values())}) == 4
    now, later = datetime.now(UTC), {name: one.not_valid_after_utc for name, one in seen.items()}
    assert [name for name, last in later.items() if last < now] == ["certificate_expired"]
    names = seen["certificate_host"].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["another-machine.invalid"]


async def test_faults_of_the_server_do_not_undo_each_other(opened: Any) -> None:
    """A server that is away stays away; one that comes back has the index and the certificate that it is to have."""
    async with opened(Security()) as workshop:
        engine, own = workshop.engine, await shown(workshop)
        await engine.start(Fault("l", "restart", seconds=100.0))
        for fault in ("reindex", "certificate_change", "nodes_removed"):
            await engine.start(Fault("l", fault))
        with pytest.raises(OSError):
            await shown(workshop)
        await engine.stop(Fault("l", "restart"))
        other = await shown(workshop)
        assert print_of(other) != print_of(own)
        async with Client(workshop.endpoints["l"], timeout=90) as client:
            index = await client.get_namespace_index("urn:shopfloor:sim:legacy")
            assert index == 3
            red = client.get_node(f"ns={index};s=light_red")
            with pytest.raises(ua.uaerrors.BadNodeIdUnknown):
                await red.read_value()
        await engine.stop(Fault("l", "reindex"))
        assert print_of(await shown(workshop)) == print_of(other)
        assert await engine.reset() == 2
        assert print_of(await shown(workshop)) == print_of(own)


async def test_without_a_certificate_none_can_change(opened: Any) -> None:
    async with opened(Security(offers=("none",))) as workshop:
        with pytest.raises(SimulatorError, match="cannot play 'certificate_change'"):
            await workshop.engine.start(Fault("l", "certificate_change"))
