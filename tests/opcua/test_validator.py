"""The validator alone: every check of OPC 10000-4, 6.1.3 with a certificate that fails it and no other, and what must pass."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from adapters.opcua import validator_chain
from adapters.opcua.validator import Expected, Rules, Untrusted, validate
from adapters.opcua.validator_chain import Stock
from tests.opcua.certificates import (
    NOW,
    URI,
    YEAR,
    Identity,
    Wish,
    authority,
    key,
    make,
    revocations,
    revoked,
    usage,
    wrong,
)

ROOT = authority()
EXPECTED = Expected("plc", "127.0.0.1", URI)


def trusting(*trusted: Identity, **keys: Any) -> Stock:
    return Stock(trusted=tuple(one.certificate for one in trusted), **keys)


def pinning(*pinned: Identity) -> Stock:
    return Stock(pinned=frozenset(one.fingerprint for one in pinned))


def judge(
    shown: Identity, stock: Stock, expected: Expected = EXPECTED, now: dt.datetime = NOW, **rules: bool
) -> str:
    """`good`, or the name of the status."""
    try:
        validate(shown.shown, stock, expected, now, Rules(**rules))
    except Untrusted as error:
        return error.status if error.remedy and str(error) else "no words"
    return "good"


def test_what_an_authority_signed_is_good() -> None:
    assert judge(make(Wish(issuer=ROOT)), trusting(ROOT)) == "good"
    with_list = trusting(ROOT, revocations=(revocations(ROOT, revoked(ROOT).certificate),))
    assert judge(make(Wish(issuer=ROOT)), with_list) == "good"


@pytest.mark.parametrize("name", list(wrong(ROOT)))
def test_wrong_certificates_are_refused_by_the_right_name(name: str) -> None:
    identity, status = wrong(ROOT)[name]
    stock = trusting(ROOT, revocations=(revocations(ROOT, revoked(ROOT).certificate),))
    assert judge(identity, stock) == status


def test_words_for_a_machinist() -> None:
    first, last = (dt.datetime(year, 3, 1, tzinfo=dt.UTC) for year in (2023, 2025))
    old = make(Wish(issuer=ROOT, first=first, last=last))
    with pytest.raises(Untrusted, match="the machine's certificate expired on 2025-03-01") as caught:
        validate(old.shown, trusting(ROOT), EXPECTED, NOW, Rules())
    assert "clock" in caught.value.remedy
    with pytest.raises(Untrusted, match="not trusted yet") as caught:
        validate(make(Wish()).shown, Stock(), EXPECTED, NOW, Rules())
    assert "collector trust plc" in caught.value.remedy


# ---------------------------------------------------------------------------------------------------- trust


def test_a_pinned_certificate_needs_no_authority_and_no_host_name() -> None:
    bare = make(Wish(hosts=()))
    assert judge(bare, pinning(bare)) == "good"
    assert judge(make(Wish(hosts=(), issuer=ROOT)), pinning(make(Wish(hosts=(), issuer=ROOT)))) != "good", (
        "two certificates with one text are two certificates"
    )


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        (Wish(last=NOW - dt.timedelta(days=1)), "BadCertificateTimeInvalid"),
        (Wish(first=NOW + dt.timedelta(days=1)), "BadCertificateTimeInvalid"),
        (Wish(uri="urn:other"), "BadCertificateUriInvalid"),
        (Wish(uri=None), "BadCertificateUriInvalid"),
        (Wish(key=3, bits=1024), "BadCertificatePolicyCheckFailed"),
        (Wish(sha1=True), "BadCertificatePolicyCheckFailed"),
        (Wish(usage=usage(key_cert_sign=True)), "BadCertificateUseNotAllowed"),
    ],
)
def test_a_pin_excuses_nothing_else(wish: Wish, status: str) -> None:
    made = make(wish)
    assert judge(made, pinning(made)) == status


def test_another_certificate_than_the_pinned_one_is_a_change() -> None:
    before, after = make(Wish()), make(Wish(key=2))
    with pytest.raises(Untrusted, match="certificate changed") as caught:
        validate(after.shown, pinning(before), EXPECTED, NOW, Rules())
    assert "collector trust plc" in caught.value.remedy
    assert "another computer" in str(caught.value)


def test_a_machine_in_the_trust_list_must_have_the_host_name() -> None:
    bare = make(Wish(hosts=()))
    assert judge(bare, trusting(bare)) == "BadCertificateHostNameInvalid"
    assert judge(make(Wish()), trusting(bare)) == "BadCertificateUntrusted"
    named = make(Wish())
    assert judge(named, trusting(named)) == "good"


def test_nothing_trusted_trusts_nobody() -> None:
    assert judge(make(Wish()), Stock()) == "BadCertificateUntrusted"
    assert judge(make(Wish(issuer=ROOT)), Stock()) == "BadCertificateUntrusted", (
        "the root sent along is a stranger"
    )
    known = Stock(issuers=(ROOT.certificate,))
    assert judge(make(Wish(issuer=ROOT)), known) == "BadCertificateUntrusted", "known is not trusted"


# ---------------------------------------------------------------------------------------------------- chains


def test_authorities_in_between_come_from_the_server_or_the_folder() -> None:
    middle = authority("Middle CA", 102, issuer=ROOT)
    leaf = make(Wish(issuer=middle))
    assert judge(leaf, trusting(ROOT)) == "good"
    alone = Identity(leaf.certificate, leaf.key)
    assert judge(alone, trusting(ROOT)) == "BadCertificateChainIncomplete"
    assert judge(alone, trusting(ROOT, issuers=(middle.certificate,))) == "good"
    assert judge(alone, trusting(middle)) == "good", "a trusted authority ends the way"


def test_two_authorities_of_one_name_are_told_apart_by_their_keys() -> None:
    twin = authority("Factory CA", 101)
    for order in ((ROOT, twin), (twin, ROOT)):
        assert judge(make(Wish(issuer=ROOT)), trusting(*order)) == "good"


def test_a_circle_of_authorities_ends() -> None:
    first, second = authority("A", 103), authority("B", 104)
    a_by_b, b_by_a = authority("A", 103, issuer=second), authority("B", 104, issuer=first)
    leaf = make(Wish(issuer=a_by_b))
    circle = Identity(leaf.certificate, leaf.key, (a_by_b.certificate, b_by_a.certificate))
    assert judge(circle, trusting(ROOT)) != "good"


def test_authorities_that_sign_each_other_a_thousandfold_cost_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty names of one key, each signed by each: 10^8 ways up. The signatures that are verified stay few."""
    first, second = authority("A", 111), authority("B", 111)
    many = [authority("A", 111, issuer=second).certificate for _ in range(20)]
    many += [authority("B", 111, issuer=first).certificate for _ in range(20)]
    leaf = make(Wish(issuer=authority("A", 111, issuer=second)))
    shown = [leaf.certificate, *many]
    done: list[int] = []
    verify = validator_chain.signed_by

    def counted(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        done.append(1)
        return verify(certificate, issuer)

    monkeypatch.setattr(validator_chain, "signed_by", counted)
    assert judge(Identity(leaf.certificate, leaf.key, tuple(shown[1:])), trusting(ROOT)) != "good"
    assert len(done) < 500


@pytest.mark.parametrize(
    "wishes",
    [
        {"ca": False},
        {"ca": None},
        {"usage": usage(digital_signature=True)},
    ],
)
def test_who_is_no_authority_vouches_for_nobody(wishes: dict[str, Any]) -> None:
    """Any machine's certificate could otherwise make others: the oldest hole of all."""
    false = authority("Press 3", 105, issuer=ROOT, **wishes)
    assert judge(make(Wish(issuer=false)), trusting(ROOT)) == "BadCertificateIssuerUseNotAllowed"


def test_path_length_counts_authorities_below() -> None:
    short = authority("Short CA", 106, path_length=0)
    assert judge(make(Wish(issuer=short)), trusting(short)) == "good"
    below = authority("Below CA", 107, issuer=short)
    assert judge(make(Wish(issuer=below)), trusting(short)) == "BadCertificateIssuerUseNotAllowed"


def test_authorities_have_dates_and_strength_too() -> None:
    old = authority("Old CA", 108, issuer=ROOT, last=NOW - dt.timedelta(days=1), first=NOW - YEAR)
    assert judge(make(Wish(issuer=old)), trusting(ROOT)) == "BadCertificateIssuerTimeInvalid"
    weak = authority("Weak CA", 109, bits=1024)
    assert judge(make(Wish(issuer=weak)), trusting(weak)) == "BadCertificatePolicyCheckFailed"
    sha1_root = authority("Old root", 110, sha1=True)
    assert judge(make(Wish(issuer=sha1_root)), trusting(sha1_root)) == "good", (
        "its signature below itself proves nothing"
    )


# ---------------------------------------------------------------------------------------------------- revocation


def test_only_the_authoritys_own_list_counts() -> None:
    victim = make(Wish(issuer=ROOT))
    forged = revocations(ROOT, victim.certificate, signer=key(7))
    assert judge(victim, trusting(ROOT, revocations=(forged,))) == "BadCertificateRevocationUnknown"
    genuine = revocations(ROOT)
    assert judge(victim, trusting(ROOT, revocations=(forged, genuine))) == "good"


def test_a_forged_empty_list_does_not_hide_a_revocation() -> None:
    victim = revoked(ROOT)
    real, forged = revocations(ROOT, victim.certificate), revocations(ROOT, signer=key(7))
    assert judge(victim, trusting(ROOT, revocations=(forged, real))) == "BadCertificateRevoked"


def test_an_outdated_list_proves_revocations_only() -> None:
    first, last = NOW - YEAR, NOW - dt.timedelta(days=1)
    stale = revocations(ROOT, revoked(ROOT).certificate, first=first, last=last)
    stock = trusting(ROOT, revocations=(stale,))
    assert judge(revoked(ROOT), stock) == "BadCertificateRevoked"
    assert judge(make(Wish(issuer=ROOT)), stock) == "BadCertificateRevocationUnknown"


def test_lists_may_be_demanded_of_every_authority() -> None:
    leaf = make(Wish(issuer=ROOT))
    assert judge(leaf, trusting(ROOT), revocation=True) == "BadCertificateRevocationUnknown"
    middle = authority("Middle CA", 102, issuer=ROOT)
    below = make(Wish(issuer=middle))
    stock = trusting(ROOT, revocations=(revocations(middle),))
    assert judge(below, stock) == "BadCertificateIssuerRevocationUnknown"
    both = (revocations(middle), revocations(ROOT, middle.certificate))
    assert judge(below, trusting(ROOT, revocations=both)) == "BadCertificateIssuerRevoked"
    assert judge(make(Wish()), pinning(make(Wish())), revocation=True) != "good"


# ---------------------------------------------------------------------------------------------------- names and usage


@pytest.mark.parametrize(
    ("names", "host", "good"),
    [
        (["PLC-1"], "plc-1", True),
        (["plc-1."], "plc-1", True),
        (["*.hall.example"], "plc-1.hall.example", True),
        (["*.hall.example"], "a.plc-1.hall.example", False),
        (["*.hall.example"], "hall.example", False),
        (["*"], "plc-1", False),
        (["*.example"], "plc.example", False),
        (["plc-1.hall.example"], "plc-1", False),
        (["10.0.0.14"], "10.0.0.14", True),
        (["10.0.0.14"], "10.0.0.1", False),
        ([], "plc-1", False),
    ],
)
def test_host_names(names: list[str], host: str, *, good: bool) -> None:
    status = judge(make(Wish(issuer=ROOT, hosts=names)), trusting(ROOT), Expected("plc", host, URI))
    assert (status == "good") is good
    assert status in ("good", "BadCertificateHostNameInvalid")


def test_an_address_written_as_a_name_is_taken() -> None:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URI), x509.DNSName("10.0.0.14")])
    made = make(Wish(issuer=ROOT, uri=None, hosts=(), extra=((names, False),)))
    assert judge(made, trusting(ROOT), Expected("plc", "10.0.0.14", URI)) == "good"


def test_an_endpoint_without_application_uri_is_nobody() -> None:
    assert (
        judge(make(Wish(issuer=ROOT)), trusting(ROOT), Expected("plc", "127.0.0.1", ""))
        == "BadCertificateUriInvalid"
    )
    empty = make(Wish(issuer=ROOT, uri=""))
    assert judge(empty, trusting(ROOT), Expected("plc", "127.0.0.1", "")) == "BadCertificateUriInvalid"


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        (Wish(usage=None), "good"),
        (Wish(extended=None), "good"),
        (Wish(extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "good"),
        (Wish(usage=usage(digital_signature=True, data_encipherment=True)), "good"),
        (Wish(ca=True), "good"),
        (Wish(usage=usage(key_encipherment=True)), "BadCertificateUseNotAllowed"),
        (Wish(usage=usage(digital_signature=True)), "BadCertificateUseNotAllowed"),
        (Wish(extended=[ExtendedKeyUsageOID.CODE_SIGNING]), "BadCertificateUseNotAllowed"),
    ],
)
def test_usage_as_much_as_the_channel_needs(wish: Wish, status: str) -> None:
    made = make(wish)
    assert judge(made, pinning(made)) == status


def test_what_is_critical_and_unknown_is_refused() -> None:
    strange = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    made = make(Wish(extra=((strange, True),)))
    assert judge(made, pinning(made)) == "BadCertificateInvalid"
    harmless = make(Wish(extra=((strange, False),)))
    assert judge(harmless, pinning(harmless)) == "good"


def test_policies_of_long_ago_have_certificates_of_long_ago() -> None:
    for wish in (Wish(sha1=True), Wish(key=3, bits=1024)):
        made = make(wish)
        assert judge(made, pinning(made), weak=True) == "good"
