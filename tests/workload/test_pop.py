"""Proofs of possession: the compact JWS over the key authorization, and the chain in its header."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ed448, mldsa, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.problems import Problem
from acme_ca.workload import pop
from acme_ca.workload.base import Expected
from tests.support.jws import ACCOUNT_KINDS, Kind, b64, flattened, raw_signature, shared_key
from tests.support.pop import Authority, Holder, der64, now
from tests.workload.proofs import EXPECTED, JSON, KEY_AUTHORIZATION, OF_ANOTHER_ACCOUNT, OF_NOBODY, URL, refused

ROOT = Authority.root("bootstrap root")
HOLDER = ROOT.below("issuing", 1).leaf(x509.DNSName("host.corp.example"))
GOOD = HOLDER.sign(URL, KEY_AUTHORIZATION)


def check(evidence: object, expected: Expected = EXPECTED) -> pop.SignedProof:
    signed = pop.parse(evidence)
    pop.verify(signed, expected)
    return signed


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_proof_by_each_kind_of_key_is_accepted(kind: Kind) -> None:
    holder = ROOT.leaf(key=shared_key(kind))

    signed = check(holder.sign(URL, KEY_AUTHORIZATION))

    assert signed.chain == holder.chain
    assert signed.leaf == holder.certificate


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_may_sign_by_each_of_its_algorithms(alg: str) -> None:
    assert check(ROOT.leaf(key=shared_key("rsa-2048")).sign(URL, KEY_AUTHORIZATION, alg=alg)).alg == alg


def test_more_members_beside_sig_are_ignored() -> None:
    assert check(GOOD | {"later": [1]}).url == URL


def header(**changes: Any) -> object:  # noqa: ANN401 - members of any kind
    return HOLDER.sign(URL, KEY_AUTHORIZATION, **changes)


def with_header(octets: bytes) -> object:
    signed = flattened(HOLDER.key, octets, KEY_AUTHORIZATION.encode())
    return {"sig": f"{signed['protected']}.{signed['payload']}.{signed['signature']}"}


def spoilt_base64() -> str:
    return der64(HOLDER.certificate)[:-4] + "!!!!"


UNREADABLE: dict[str, tuple[object, str]] = {
    "no object": ("eyJ.eyJ.eyJ", "the string sig"),
    "nothing": (None, "the string sig"),
    "no sig": ({"signature": GOOD["sig"]}, "the string sig"),
    "sig no string": ({"sig": [GOOD["sig"]]}, "the string sig"),
    "too long": ({"sig": GOOD["sig"] + "A" * 32768}, "at most 32768"),
    "two parts": ({"sig": GOOD["sig"].rpartition(".")[0]}, "2 parts"),
    "four parts": ({"sig": GOOD["sig"] + ".AAAA"}, "4 parts"),
    "padding": ({"sig": GOOD["sig"] + "="}, "base64url"),
    "not ASCII": ({"sig": "é.é.é"}, "base64url"),
    "lone surrogate": ({"sig": "\ud800.AA.AA"}, "base64url"),
    "header no JSON": (with_header(b"{"), "not JSON"),
    "header no object": (with_header(b"[]"), "not a JSON object"),
    "header twice": (with_header(b'{"alg":"ES256","alg":"none"}'), "twice"),
    "header deep": (with_header(b"[" * 20_000), "more than 256"),
    "no alg": (header(alg=None), "without alg"),
    "no url": (header(url=None), "without url"),
    "no typ": (header(typ=None), "without typ"),
    "no chain": (header(x5c=None), "without x5c"),
    "another typ": (header(typ="JWT"), "expected acme-workload-pop"),
    "typ of a kind": (header(typ=[1]), "expected acme-workload-pop"),
    "critical extension": (header(crit=["b64"], b64=False), "with 'b64'"),
    "key in header": (header(jwk={"kty": "oct", "k": "AA"}), "with 'jwk'"),
    "URL of keys": (header(jku="https://evil.example/"), "with 'jku'"),
    "URL of a chain": (header(x5u="https://evil.example/"), "with 'x5u'"),
    "kid": (header(kid="1"), "with 'kid'"),
    "alg no string": (header(alg=["ES256"]), "alg of .* is not a string"),
    "url no string": (header(url=1), "url of .* is not a string"),
    "endless url": (header(url="https://x/" + "y" * 2048), "url of .* is not a string"),
    "empty chain": (header(x5c=[]), "1 to 8"),
    "long chain": (header(x5c=[der64(HOLDER.certificate)] * 9), "1 to 8"),
    "chain no array": (header(x5c=der64(HOLDER.certificate)), "1 to 8"),
    "chain of numbers": (header(x5c=[1]), r"x5c\[0\] is not a string"),
    "certificate not ASCII": (header(x5c=["é"]), r"x5c\[0\] is not a string"),
    "certificate no base64": (header(x5c=[spoilt_base64()]), r"x5c\[0\] is no DER"),
    "certificate base64url": (header(x5c=[b64(b"\xff\xff\xff")]), r"x5c\[0\] is no DER"),
    "certificate empty": (header(x5c=[""]), r"x5c\[0\] is no DER"),
    "certificate no DER": (header(x5c=[der64(HOLDER.certificate), "MAA="]), r"x5c\[1\] is no DER"),
    "certificate and more": (
        header(x5c=[base64.b64encode(base64.b64decode(der64(HOLDER.certificate)) + b"\0").decode()]),
        r"x5c\[0\] is no DER",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_proof_is_refused_before_anything_is_verified(name: str) -> None:
    evidence, says = UNREADABLE[name]

    code, detail = refused(lambda: pop.parse(evidence))

    assert code == "evidence_malformed"
    assert re.search(says, detail)


def forged(holder: Holder) -> object:
    """A proof with another's chain, signed by one's own key."""
    return Holder(shared_key("ec-p256", 99), holder.chain).sign(URL, KEY_AUTHORIZATION)


def altered(part: int) -> object:
    """A good proof of which one part is another's."""
    parts, others = GOOD["sig"].split("."), HOLDER.sign(URL + "8", "another")["sig"].split(".")
    return {"sig": ".".join((*parts[:part], others[part], *parts[part + 1 :]))}


def weak() -> object:
    return ROOT.leaf(key=rsa.generate_private_key(65537, 1024)).sign(URL, KEY_AUTHORIZATION)


def other_curve() -> object:
    """ES256 by a P-384 key, which has once been taken."""
    return ROOT.leaf(key=shared_key("ec-p384")).sign(URL, KEY_AUTHORIZATION, alg="ES256")


def der_signature() -> object:
    """The signature in DER, as libraries make it, instead of r and s."""
    head = GOOD["sig"].rpartition(".")[0]
    return {"sig": f"{head}.{b64(bytes([0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01]))}"}


def zeros() -> object:
    """r and s of zero: with them a broken verifier accepts everything (CVE-2022-21449)."""
    return {"sig": f"{GOOD['sig'].rpartition('.')[0]}.{b64(bytes(64))}"}


def hmac_by_certificate() -> object:
    return HOLDER.sign(URL, KEY_AUTHORIZATION, alg="HS256")


WRONGLY_SIGNED: dict[str, Callable[[], object]] = {
    "another key": lambda: forged(HOLDER),
    "header of another": lambda: altered(0),
    "payload of another": lambda: altered(1),
    "signature of another": lambda: altered(2),
    "alg none": lambda: HOLDER.sign(URL, KEY_AUTHORIZATION, alg="none"),
    "alg HS256": hmac_by_certificate,
    "alg of another curve": other_curve,
    "alg of RSA": lambda: HOLDER.sign(URL, KEY_AUTHORIZATION, alg="RS256"),
    "weak RSA": weak,
    "DER signature": der_signature,
    "zeros": zeros,
    "no signature": lambda: {"sig": GOOD["sig"].rpartition(".")[0] + "."},
}


@pytest.mark.parametrize("name", WRONGLY_SIGNED)
def test_a_signature_that_is_not_by_the_leafs_key_is_refused(name: str) -> None:
    code, detail = refused(lambda: check(WRONGLY_SIGNED[name]()))

    assert code == "signature_invalid"
    assert "leaf certificate" in detail


UNACCEPTED: dict[str, Callable[[], Any]] = {
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(2048),
    "ml-dsa": mldsa.MLDSA65PrivateKey.generate,  # which certificates may have, and proofs are not read of
}


@pytest.mark.parametrize("key", UNACCEPTED)
def test_a_key_of_a_kind_that_is_not_accepted_is_refused(key: str) -> None:
    public = UNACCEPTED[key]().public_key()
    builder = x509.CertificateBuilder(
        issuer_name=ROOT.certificate.subject,
        subject_name=HOLDER.certificate.subject,
        public_key=public,
        serial_number=7,
        not_valid_before=now(),
        not_valid_after=now(),
    )
    leaf = builder.sign(ROOT._signer, SHA256())

    assert refused(lambda: check(header(x5c=[der64(leaf)])))[0] == "signature_invalid"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # production has no warnings for errors
def test_a_serial_number_that_is_negative_is_refused() -> None:
    octets = base64.b64decode(der64(ROOT.leaf(serial=0x4242).certificate))
    negative = octets.replace(b"\x02\x02\x42\x42", b"\x02\x02\xff\x42", 1)

    code, detail = refused(lambda: pop.parse(header(x5c=[base64.b64encode(negative).decode()])))

    assert code == "evidence_malformed"
    assert "not positive" in detail


def test_a_proof_for_another_url_is_refused_with_the_expected_one() -> None:
    code, detail = refused(lambda: check(HOLDER.sign("https://evil.example/chall/7", KEY_AUTHORIZATION)))

    assert code == "binding_mismatch"
    assert "evil.example" in detail
    assert URL in detail


def test_a_stolen_proof_is_of_no_use_to_another_account() -> None:
    code, detail = refused(lambda: check(GOOD, OF_ANOTHER_ACCOUNT))

    assert code == "binding_mismatch"
    assert "another-account" in detail


def test_a_proof_is_refused_where_nothing_is_to_be_signed() -> None:
    assert refused(lambda: check(HOLDER.sign(URL, ""), OF_NOBODY))[0] == "binding_mismatch"


@given(JSON)
def test_whatever_the_evidence_nothing_but_a_problem_is_raised(evidence: object) -> None:
    assert refused(lambda: pop.parse(evidence))[0] == "evidence_malformed"


@given(st.dictionaries(st.sampled_from(["alg", "typ", "url", "x5c", "crit", "jwk"]), JSON), st.binary())
def test_whatever_the_header_nothing_but_a_problem_is_raised(members: dict[str, object], payload: bytes) -> None:
    protected = json.dumps({"typ": pop.TYPE} | members).encode()
    sig = f"{b64(protected)}.{b64(payload)}.{b64(raw_signature(HOLDER.key, payload))}"

    assert refused(lambda: check({"sig": sig}))[0] in {"evidence_malformed", "signature_invalid"}


@given(st.data())
def test_a_certificate_with_any_octets_changed_is_refused(data: st.DataObject) -> None:
    octets = bytearray(base64.b64decode(der64(HOLDER.certificate)))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    x5c = [base64.b64encode(bytes(octets)).decode()]

    with pytest.raises(Problem):
        check({"sig": Holder(shared_key("ec-p256", 98), HOLDER.chain).sign(URL, KEY_AUTHORIZATION, x5c=x5c)["sig"]})
