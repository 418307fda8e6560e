"""Workloads of another trust domain: JWT-SVIDs, X.509-SVIDs, and the bundle that both are verified by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import spiffe
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from acme_ca.workload.base import Expected, Format, Proof, Workload
from acme_ca.workload.spiffe import Spiffe
from acme_ca.workload.spiffe_bundle import FileBundle
from tests.support import spiffe_domain
from tests.support.jws import Kind, shared_key
from tests.support.pop import Holder, now, usage
from tests.support.spiffe_domain import BundleEndpoint, SpiffeDomain
from tests.workload.proofs import (
    AUDIENCE,
    BOUND,
    EXPECTED,
    JSON,
    KEY_AUTHORIZATION,
    OF_ANOTHER_ACCOUNT,
    OF_ANOTHER_ENVIRONMENT,
    OF_NOBODY,
    URL,
    refused,
)

PATH = "/ns/pay/sa/api"
OTHERS = (OF_ANOTHER_ACCOUNT, OF_ANOTHER_ENVIRONMENT, OF_NOBODY)


@dataclass
class Site:
    """A trust domain, its bundle endpoint, and the provider that believes it."""

    domain: SpiffeDomain
    endpoint: BundleEndpoint
    provider: Spiffe

    def token(self, token: str, expected: Expected = EXPECTED) -> Workload:
        return self.provider.verify(Proof("jwt", token), expected, now())

    def certificate(self, holder: Holder, expected: Expected = EXPECTED) -> Workload:
        return self.provider.verify(Proof("x5c", holder.sign(URL, KEY_AUTHORIZATION)), expected, now())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    domain = SpiffeDomain("corp.example")
    with spiffe_domain.serve(domain, tmp_path) as endpoint:
        yield Site(domain, endpoint, provider_of(endpoint))


def provider_of(endpoint: BundleEndpoint, **settings: object) -> Spiffe:
    bundle = {"url": endpoint.url, "ca_file": endpoint.ca_file}
    return Spiffe.model_validate({"name": "corp", "trust_domain": "corp.example", "bundle": bundle} | settings)


# --- JWT-SVID ---


def test_the_workload_of_a_jwt_svid(site: Site) -> None:
    token = site.domain.jwt_svid(PATH, [BOUND], jti="once")

    found = site.token(token)

    assert found.provider == "corp"
    assert found.issuer == "spiffe://corp.example"
    assert found.subject == "spiffe://corp.example/ns/pay/sa/api"
    assert found.claims == {
        "spiffe_id": "spiffe://corp.example/ns/pay/sa/api",
        "trust_domain": "corp.example",
        "path": PATH,
        "segments": ["ns", "pay", "sa", "api"],
    }
    assert found.mode == "required"
    assert found.instance is None
    assert found.token_id == "once"
    assert any("sequence 3" in check for check in found.checks)


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
def test_jwt_svids_may_be_signed_by_each_of_these_keys(site: Site, kind: Kind) -> None:
    site.domain.add_key("new", kind)
    site.endpoint.publish(site.domain.bundle())

    assert site.token(site.domain.jwt_svid(PATH, BOUND, "new")).mode == "required"


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_may_sign_by_each_of_its_algorithms(site: Site, alg: str) -> None:
    site.domain.add_key("new", "rsa-2048")
    site.endpoint.publish(site.domain.bundle())

    assert site.token(site.domain.jwt_svid(PATH, BOUND, "new", header={"alg": alg}))


@pytest.mark.parametrize("header", [{"kid": None}, {"typ": None}, {"typ": "JOSE"}])
def test_kid_and_typ_are_optional(site: Site, header: dict[str, object]) -> None:
    site.domain.add_key("second")
    site.endpoint.publish(site.domain.bundle())

    assert site.token(site.domain.jwt_svid(PATH, BOUND, header=header))


def test_without_iat_the_time_that_is_left_counts(site: Site) -> None:
    present = int(now().timestamp())

    assert site.token(site.domain.jwt_svid(PATH, BOUND, iat=None))
    assert site.token(site.domain.jwt_svid(PATH, BOUND, iat=None, exp=present - 30))  # within the leeway
    too_long = site.domain.jwt_svid(PATH, BOUND, iat=None, exp=present + 3700)
    assert refused(lambda: site.token(too_long))[0] == "token_too_old"
    ended = site.domain.jwt_svid(PATH, BOUND, iat=None, exp=present - 90)
    assert refused(lambda: site.token(ended))[0] == "token_expired"


def hours(number: int) -> int:
    return int(now().timestamp()) + number * 3600


TOKENS: dict[str, tuple[Callable[[SpiffeDomain], str], str]] = {
    "not a token": (lambda _: "spiffe", "evidence_malformed"),
    "header member nonce": (lambda d: d.jwt_svid(PATH, BOUND, header={"nonce": "1"}), "evidence_malformed"),
    "header member cty": (lambda d: d.jwt_svid(PATH, BOUND, header={"cty": "JWT"}), "evidence_malformed"),
    "header member jwk": (lambda d: d.jwt_svid(PATH, BOUND, header={"jwk": {}}), "evidence_malformed"),
    "typ of an access token": (lambda d: d.jwt_svid(PATH, BOUND, header={"typ": "at+jwt"}), "evidence_malformed"),
    "typ in lower case": (lambda d: d.jwt_svid(PATH, BOUND, header={"typ": "jwt"}), "evidence_malformed"),
    "typ no string": (lambda d: d.jwt_svid(PATH, BOUND, header={"typ": ["JWT"]}), "evidence_malformed"),
    "alg none": (lambda d: d.jwt_svid(PATH, BOUND, header={"alg": "none"}), "signature_invalid"),
    "alg EdDSA": (lambda d: d.jwt_svid(PATH, BOUND, header={"alg": "EdDSA"}), "signature_invalid"),
    "alg of another key": (lambda d: d.jwt_svid(PATH, BOUND, header={"alg": "ES384"}), "signature_invalid"),
    "unknown key": (lambda d: d.jwt_svid(PATH, BOUND, header={"kid": "unknown"}), "signature_invalid"),
    "key of another domain": (
        lambda _: SpiffeDomain("corp.example", number=5).jwt_svid(PATH, BOUND),
        "signature_invalid",
    ),
    "another domain": (lambda d: replace(d, name="evil.example").jwt_svid(PATH, BOUND), "issuer_untrusted"),
    "domain below": (lambda d: replace(d, name="sub.corp.example").jwt_svid(PATH, BOUND), "issuer_untrusted"),
    "domain in upper case": (lambda d: replace(d, name="Corp.example").jwt_svid(PATH, BOUND), "evidence_malformed"),
    "no path": (lambda d: d.jwt_svid("", BOUND), "evidence_malformed"),
    "root path": (lambda d: d.jwt_svid("/", BOUND), "evidence_malformed"),
    "dots in the path": (lambda d: d.jwt_svid("/a/../b", BOUND), "evidence_malformed"),
    "query": (lambda d: d.jwt_svid("/a?b", BOUND), "evidence_malformed"),
    "endless path": (lambda d: d.jwt_svid("/" + "a" * 2048, BOUND), "evidence_malformed"),
    "no sub": (lambda d: d.jwt_svid(PATH, BOUND, sub=None), "evidence_malformed"),
    "sub no string": (lambda d: d.jwt_svid(PATH, BOUND, sub=[d.id(PATH)]), "evidence_malformed"),
    "no exp": (lambda d: d.jwt_svid(PATH, BOUND, exp=None), "evidence_malformed"),
    "exp no number": (lambda d: d.jwt_svid(PATH, BOUND, iat=None, exp="soon"), "evidence_malformed"),
    "expired": (lambda d: d.jwt_svid(PATH, BOUND, iat=hours(-2), exp=hours(-1)), "token_expired"),
    "not yet valid": (lambda d: d.jwt_svid(PATH, BOUND, nbf=hours(1), exp=hours(2)), "token_not_yet_valid"),
    "made for too long": (lambda d: d.jwt_svid(PATH, BOUND, exp=hours(2)), "token_too_old"),
    "no audience": (lambda d: d.jwt_svid(PATH, None), "evidence_malformed"),
    "audience unbound": (lambda d: d.jwt_svid(PATH, AUDIENCE), "audience_mismatch"),
    "audience of another": (lambda d: d.jwt_svid(PATH, "https://evil.example/"), "audience_mismatch"),
    "two audiences": (lambda d: d.jwt_svid(PATH, [BOUND, "https://evil.example/"]), "audience_mismatch"),
    "bound to another account": (lambda d: d.jwt_svid(PATH, f"{AUDIENCE}/{'A' * 43}"), "binding_mismatch"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_another_token_is_refused(site: Site, name: str) -> None:
    make, code = TOKENS[name]

    assert refused(lambda: site.token(make(site.domain)))[0] == code


def test_a_stolen_token_is_of_no_use(site: Site) -> None:
    token = site.domain.jwt_svid(PATH, BOUND)
    codes = {refused(partial(site.token, token, other))[0] for other in OTHERS}

    assert codes <= {"binding_mismatch", "audience_mismatch"}


def test_with_affinity_the_audience_may_be_fixed(site: Site) -> None:
    lax = provider_of(site.endpoint, binding="affinity", audiences=["acme"])

    fixed = lax.verify(Proof("jwt", site.domain.jwt_svid(PATH, "acme")), EXPECTED, now())
    bound = lax.verify(Proof("jwt", site.domain.jwt_svid(PATH, BOUND)), EXPECTED, now())

    assert (fixed.mode, bound.mode) == ("affinity", "required")
    other = Proof("jwt", site.domain.jwt_svid(PATH, AUDIENCE))
    assert refused(lambda: lax.verify(other, EXPECTED, now()))[0] == "audience_mismatch"


def test_a_key_of_x509_signs_no_tokens(site: Site) -> None:
    """The private key of a CA is used for the token, and its certificate is in the bundle."""
    site.domain.keys["ca"] = site.domain.authorities[0].key

    assert refused(lambda: site.token(site.domain.jwt_svid(PATH, BOUND, "ca")))[0] == "signature_invalid"


# --- X.509-SVID ---


def test_the_workload_of_an_x509_svid(site: Site) -> None:
    holder = site.domain.x509_svid(PATH, x509.DNSName("api.corp.example"), serial=0xCAFE)

    found = site.certificate(holder)

    assert found.subject == "spiffe://corp.example/ns/pay/sa/api"
    assert found.issuer == "spiffe://corp.example"
    assert found.claims == site.token(site.domain.jwt_svid(PATH, BOUND)).claims
    assert found.mode == "required"
    assert found.instance == "cafe"
    assert found.expires_at == holder.certificate.not_valid_after_utc


def test_an_x509_svid_by_an_intermediate(site: Site) -> None:
    below = replace(site.domain, authorities=[site.domain.authorities[0].below("downstream", 50)])

    assert site.certificate(below.x509_svid(PATH)).subject == site.domain.id(PATH)


def test_an_extended_key_usage_is_not_needed(site: Site) -> None:
    assert site.certificate(site.domain.x509_svid(PATH, purposes=()))


URI = x509.UniformResourceIdentifier("https://corp.example/")
CERTIFICATES: dict[str, tuple[Callable[[SpiffeDomain], Holder], str]] = {
    "authority of another": (lambda _: SpiffeDomain("corp.example", number=5).x509_svid(PATH), "issuer_untrusted"),
    "another domain": (lambda d: replace(d, name="evil.example").x509_svid(PATH), "issuer_untrusted"),
    "no path": (lambda d: d.x509_svid(""), "evidence_malformed"),
    "root path": (lambda d: d.x509_svid("/"), "evidence_malformed"),
    "dots in the path": (lambda d: d.x509_svid("/a/./b"), "evidence_malformed"),
    "percent-encoding": (lambda d: d.x509_svid("/a%20b"), "evidence_malformed"),
    "two URIs": (lambda d: d.x509_svid(PATH, URI), "evidence_malformed"),
    "no URI": (
        lambda d: d.authorities[0].leaf(x509.DNSName("api.corp.example")),
        "evidence_malformed",
    ),
    "another URI": (lambda d: d.authorities[0].leaf(URI), "evidence_malformed"),
    "a CA": (lambda d: d.x509_svid(PATH, ca=True), "evidence_malformed"),
    "the authority itself": (
        lambda d: Holder(d.authorities[0].key, (d.authorities[0].certificate,)),
        "evidence_malformed",
    ),
    "key usage not critical": (lambda d: d.x509_svid(PATH, critical_usage=False), "evidence_malformed"),
    "no digitalSignature": (
        lambda d: d.x509_svid(PATH, key_usage=usage(digital_signature=False)),
        "evidence_malformed",
    ),
    "keyCertSign": (
        lambda d: d.x509_svid(PATH, key_usage=usage(digital_signature=True, signs_certificates=True)),
        "evidence_malformed",
    ),
    "server alone": (
        lambda d: d.x509_svid(PATH, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        "evidence_malformed",
    ),
    "client alone": (
        lambda d: d.x509_svid(PATH, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
        "evidence_malformed",
    ),
    "expired": (lambda d: d.x509_svid(PATH, seconds=60), "token_expired"),
    "stolen certificate": (
        lambda d: Holder(shared_key("ec-p256", 77), d.x509_svid(PATH).chain),
        "signature_invalid",
    ),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_another_certificate_is_refused(site: Site, name: str) -> None:
    make, code = CERTIFICATES[name]

    assert refused(lambda: site.certificate(make(site.domain)))[0] == code


def test_a_stolen_proof_of_possession_is_of_no_use(site: Site) -> None:
    holder = site.domain.x509_svid(PATH)
    for other in OTHERS:
        assert refused(partial(site.certificate, holder, other))[0] == "binding_mismatch"


def test_affinity_does_not_make_a_proof_of_possession_weaker(site: Site) -> None:
    lax = Site(site.domain, site.endpoint, provider_of(site.endpoint, binding="affinity"))

    assert lax.certificate(site.domain.x509_svid(PATH)).mode == "required"
    assert refused(lambda: lax.certificate(site.domain.x509_svid(PATH), OF_NOBODY))[0] == "binding_mismatch"


# --- Which provider ---


def proofs(domain: SpiffeDomain) -> list[Proof]:
    holder = domain.x509_svid(PATH)
    return [Proof("jwt", domain.jwt_svid(PATH, BOUND)), Proof("x5c", holder.sign(URL, KEY_AUTHORIZATION))]


def test_svids_are_claimed_by_their_trust_domain(site: Site) -> None:
    others = ("evil.example", "corp.example.evil", "sub.corp.example")

    assert all(site.provider.claims_proof(proof) for proof in proofs(site.domain))
    for name in others:
        assert not any(site.provider.claims_proof(proof) for proof in proofs(SpiffeDomain(name)))


def test_tokens_of_others_and_certificates_for_another_provider_are_not_claimed(site: Site) -> None:
    other = site.domain.jwt_svid(PATH, BOUND, sub="system:serviceaccount:pay:api")
    certificate = proofs(site.domain)[1]

    assert not site.provider.claims_proof(Proof("jwt", other))
    assert site.provider.claims_proof(replace(certificate, provider="corp"))
    assert not site.provider.claims_proof(replace(certificate, provider="bootstrap"))


def test_another_format_is_refused(site: Site) -> None:
    assert refused(lambda: site.provider.verify(Proof("wit", {}), EXPECTED, now()))[0] == "format_unsupported"


@pytest.mark.parametrize(
    "settings",
    [
        {"bundle": {}},
        {"bundle": {"url": "http://spire.corp.example/"}},
        {"bundle": {"url": "https://spire.corp.example/", "profile": "https_spiffe"}},
        {"bundle": {"url": "https://spire.corp.example/", "file": "x"}},
        {"bundle": "https://spire.corp.example/"},
        {"trust_domain": "Corp.example"},
        {"trust_domain": "corp.example/path"},
        {"trust_domain": "spiffe://corp.example/path"},
        {"trust_domain": ""},
        {"binding": "tofu"},
        {"audiences": ["a"]},
        {"unknown": 1},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    good = {"name": "corp", "trust_domain": "corp.example", "bundle": {"file": "x"}}

    assert Spiffe.model_validate(good)
    with pytest.raises(ValidationError):
        Spiffe.model_validate(good | settings)


# --- Others' code, and anything at all ---


def test_the_svids_of_these_tests_are_svids_to_others() -> None:
    domain = SpiffeDomain("corp.example")
    of = spiffe.TrustDomain("corp.example")
    holder = domain.x509_svid(PATH)
    der = b"".join(certificate.public_bytes(Encoding.DER) for certificate in holder.chain)
    key = holder.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    keys = {"keys": [jwk for jwk in _listed(domain) if jwk["use"] == "jwt-svid"]}

    token = spiffe.JwtSvid.parse_and_validate(
        domain.jwt_svid(PATH, BOUND), spiffe.JwtBundle.parse(of, json.dumps(keys).encode()), {BOUND}
    )

    assert str(spiffe.X509Svid.parse_raw(der, key).spiffe_id) == domain.id(PATH)
    assert str(token.spiffe_id) == domain.id(PATH)


def _listed(domain: SpiffeDomain) -> list[dict[str, object]]:
    keys = domain.bundle()["keys"]
    assert isinstance(keys, list)
    return keys


@given(st.sampled_from(["jwt", "x5c"]), JSON)
def test_whatever_the_evidence_nothing_but_a_problem_is_raised(kind: Format, evidence: object) -> None:
    provider = Spiffe(name="corp", trust_domain="corp.example", bundle=FileBundle(file=Path("/nowhere/bundle.json")))

    assert refused(lambda: provider.claims_proof(Proof(kind, evidence)))[0] == "evidence_malformed"
    assert refused(lambda: provider.verify(Proof(kind, evidence), EXPECTED, now()))[0] == "evidence_malformed"


@given(JSON)
def test_whatever_the_subject_nothing_but_a_problem_is_raised(subject: object) -> None:
    provider = Spiffe(name="corp", trust_domain="corp.example", bundle=FileBundle(file=Path("/nowhere/bundle.json")))
    proof = Proof("jwt", SpiffeDomain("corp.example").jwt_svid(PATH, BOUND, sub=subject))

    refused(lambda: provider.verify(proof, EXPECTED, now()))
