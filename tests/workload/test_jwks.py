"""Where keys come from: discovery, a URL, a file or the configuration, and which of what is found are used."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import TypeAdapter, ValidationError

from acme_ca.https import FetchFailedError
from acme_ca.workload.documents import PAUSE, Documents
from acme_ca.workload.jwks import AnyJwks, Discovery, Keys, keys_for, parse_keys
from tests.support import https_api
from tests.support.https_api import Fault
from tests.support.issuers import CONFIGURATION, JWKS, TokenIssuer
from tests.support.jws import integer, public_jwk, shared_key
from tests.workload.proofs import refused

SOURCES: TypeAdapter[AnyJwks] = TypeAdapter(AnyJwks)
EC = shared_key("ec-p256")


@dataclass
class Cache:
    """A cache of keys of its own, whose clock moves by hand."""

    time: float = 1_000_000.0
    documents: Documents[Keys] = field(init=False)

    def __post_init__(self) -> None:
        self.documents = Documents(lambda: self.time)

    def kids(self, source: AnyJwks, issuer: str, kid: str | None = None) -> list[str | None]:
        return [key.kid for key in keys_for(source, issuer, kid, self.documents)]


@pytest.fixture
def cache() -> Cache:
    return Cache()


def source(**settings: object) -> AnyJwks:
    return SOURCES.validate_json(json.dumps(settings))


def discovery(issuer: TokenIssuer, **settings: object) -> AnyJwks:
    return source(**issuer.discovery(**settings))


def by_url(issuer: TokenIssuer, **settings: object) -> AnyJwks:
    known = {"source": "url", "url": issuer.url + JWKS, "ca_file": str(issuer.api.ca_file), "timeout": 20}
    return source(**(known | settings))


# --- Discovery ---


def test_keys_are_discovered(issuer: TokenIssuer, cache: Cache) -> None:
    assert cache.kids(discovery(issuer), issuer.url) == ["key-0"]
    assert issuer.api.paths == [CONFIGURATION, JWKS]

    assert cache.kids(discovery(issuer), issuer.url, "key-0") == ["key-0"]
    assert len(issuer.api.requests) == 2


def test_a_new_key_is_found_when_a_token_names_it(issuer: TokenIssuer, cache: Cache) -> None:
    keys = discovery(issuer)
    cache.kids(keys, issuer.url)

    issuer.rotate()

    assert cache.kids(keys, issuer.url, "key-0") == ["key-0"]
    assert cache.kids(keys, issuer.url, "key-1") == ["key-0", "key-1"]


def test_a_key_that_is_withdrawn_is_gone_with_the_next_refresh(issuer: TokenIssuer, cache: Cache) -> None:
    keys = discovery(issuer, refresh=60)
    cache.kids(keys, issuer.url)

    issuer.rotate(keep=False)
    cache.time += 59
    assert cache.kids(keys, issuer.url) == ["key-0"]
    cache.time += 1
    assert cache.kids(keys, issuer.url) == ["key-51"]


def test_names_that_are_made_up_do_not_make_many_requests(issuer: TokenIssuer, cache: Cache) -> None:
    keys = discovery(issuer)
    for number in range(20):
        assert cache.kids(keys, issuer.url, f"made up {number}") == ["key-0"]

    assert len(issuer.api.requests) == 4


def test_keys_are_used_on_in_an_outage_and_then_no_more(issuer: TokenIssuer, cache: Cache) -> None:
    keys = discovery(issuer, refresh=60, max_stale=3600)
    cache.kids(keys, issuer.url)

    issuer.api.fault = "500"
    cache.time += 3600
    assert cache.kids(keys, issuer.url, "key-0") == ["key-0"]
    assert refused(partial(cache.kids, keys, issuer.url, "key-1"))[0] == "provider_unavailable"
    cache.time += 1
    code, detail = refused(partial(cache.kids, keys, issuer.url))
    assert code == "provider_unavailable"
    assert detail == f"{issuer.url}{CONFIGURATION} answered with status 500; expected 200"

    issuer.api.fault = None
    cache.time += PAUSE
    assert cache.kids(keys, issuer.url) == ["key-0"]


@pytest.mark.parametrize("fault", ["500", "redirect", "garbage", "array", "deep", "huge", "empty", "cut"])
def test_an_issuer_that_answers_badly_is_away(issuer: TokenIssuer, cache: Cache, fault: Fault) -> None:
    for keys in (discovery(issuer), by_url(issuer)):
        issuer.api.fault = fault
        assert refused(partial(cache.kids, keys, issuer.url))[0] == "provider_unavailable"


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_an_issuer_that_is_slow_is_away(issuer: TokenIssuer, cache: Cache, fault: Fault) -> None:
    issuer.api.fault = fault

    code, detail = refused(partial(cache.kids, discovery(issuer, timeout=0.3), issuer.url))

    assert code == "provider_unavailable"
    assert detail.endswith("it took too long")


CONFIGURATIONS: dict[str, dict[str, object]] = {
    "of another issuer": {"issuer": "https://127.0.0.1:1"},
    "of nobody": {"issuer": None},
    "with a slash more": {"issuer": "https://127.0.0.1/"},
    "without keys": {"jwks_uri": None},
    "with keys in the clear": {"jwks_uri": "http://127.0.0.1/keys"},
    "with keys in a file": {"jwks_uri": "file:///etc/keys"},
    "with a user in the URL": {"jwks_uri": "https://127.0.0.1@elsewhere.example/keys"},
    "with a port that is none": {"jwks_uri": "https://127.0.0.1:x/keys"},
    "with keys elsewhere": {"jwks_uri": "https://elsewhere.example/keys"},
    "with a host that is none": {"jwks_uri": "https://[/keys"},
    "with a number for a URL": {"jwks_uri": 1},
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configurations_that_are_not_believed(issuer: TokenIssuer, cache: Cache, case: str) -> None:
    issuer.configuration = CONFIGURATIONS[case]

    assert refused(partial(cache.kids, discovery(issuer), issuer.url))[0] == "provider_unavailable"
    assert issuer.api.paths == [CONFIGURATION]


def test_keys_may_be_at_hosts_that_are_listed(issuer: TokenIssuer, cache: Cache, tmp_path: Path) -> None:
    jwks = {"keys": [public_jwk(EC) | {"kid": "elsewhere"}]}
    with https_api.serve(tmp_path, lambda _: (200, jwks)) as other:
        issuer.configuration = {"jwks_uri": f"https://127.0.0.2:{other.port}/keys"}
        code, detail = refused(partial(cache.kids, discovery(issuer), issuer.url))
        assert (code, "127.0.0.2, which is not" in detail) == ("provider_unavailable", True)

        _, detail = refused(partial(cache.kids, discovery(issuer, jwks_hosts=["127.0.0.2"]), issuer.url))
        assert "certificate" in detail or "refused" in detail  # it is asked


def test_an_issuer_with_a_slash_at_its_end(issuer: TokenIssuer, cache: Cache) -> None:
    """OpenID Connect Discovery 1.0 §4: the slash is taken away before the path is put there."""
    issuer.configuration = {"issuer": issuer.url + "/"}

    assert cache.kids(discovery(issuer), issuer.url + "/") == ["key-0"]


# --- URL, file, configuration ---


def test_keys_at_a_url(issuer: TokenIssuer, cache: Cache, tmp_path: Path) -> None:
    credential = tmp_path / "credential"
    credential.write_text("secret\n")

    assert cache.kids(by_url(issuer, token=f"file:{credential}"), "kubernetes/serviceaccount") == ["key-0"]
    assert issuer.api.paths == [JWKS]
    assert issuer.api.requests[0].fields["authorization"] == "Bearer secret"


@pytest.mark.parametrize("content", [None, b"\xff", b""])
def test_a_credential_that_cannot_be_used(
    issuer: TokenIssuer, cache: Cache, tmp_path: Path, content: bytes | None
) -> None:
    credential = tmp_path / "credential"
    if content is not None:
        credential.write_bytes(content)

    code, detail = refused(partial(cache.kids, by_url(issuer, token=f"file:{credential}"), issuer.url))

    assert code == "provider_unavailable"
    assert str(credential) in detail
    assert issuer.api.requests == []


def write(file: Path, document: object) -> None:
    replacement = file.with_suffix(".new")
    replacement.write_text(json.dumps(document))
    replacement.replace(file)


def test_keys_in_a_file_are_read_again_when_it_changes(issuer: TokenIssuer, cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, issuer.jwks())
    keys = SOURCES.validate_json('{"source":"file","file":"keys.json"}', context={"folder": tmp_path})
    assert cache.kids(keys, "any") == ["key-0"]

    issuer.rotate()
    write(file, issuer.jwks())

    assert cache.kids(keys, "any", "key-1") == ["key-0", "key-1"]


@pytest.mark.parametrize("broken", ["", "[]", '{"keys":1}', "[" * 100_000, "{}" * 1_000_000])
def test_a_file_that_is_broken_leaves_the_last_keys(
    issuer: TokenIssuer, cache: Cache, tmp_path: Path, broken: str
) -> None:
    file = tmp_path / "keys.json"
    write(file, issuer.jwks())
    keys = source(source="file", file=str(file), max_stale=3600)
    cache.kids(keys, "any")

    file.write_text(broken)
    os.utime(file, (1, 1))
    assert cache.kids(keys, "any") == ["key-0"]
    cache.time += 3601
    assert refused(partial(cache.kids, keys, "any"))[0] == "provider_unavailable"


def test_a_file_that_is_not_there(cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = source(source="file", file=str(file))

    code, detail = refused(partial(cache.kids, keys, "any"))
    assert (code, detail) == ("provider_unavailable", f"the keys in {file} cannot be read: No such file or directory")

    file.mkdir()
    cache.time += PAUSE
    assert refused(partial(cache.kids, keys, "any"))[0] == "provider_unavailable"


def test_keys_in_the_configuration(cache: Cache) -> None:
    keys = source(source="inline", keys=[public_jwk(EC) | {"kid": "mine"}, public_jwk(shared_key("rsa-2048"))])

    assert cache.kids(keys, "any", "unknown") == ["mine", None]


MISTAKES: dict[str, dict[str, object]] = {
    "a source nobody knows": {"source": "guess"},
    "no source": {},
    "a misspelled setting": {"source": "discovery", "refesh": 1},
    "text for a number": {"source": "discovery", "refresh": "300"},
    "no refresh": {"source": "discovery", "refresh": 0},
    "no URL": {"source": "url"},
    "a URL in the clear": {"source": "url", "url": "http://127.0.0.1/keys"},
    "a URL with a user": {"source": "url", "url": "https://a:b@127.0.0.1/keys"},
    "a URL with a fragment": {"source": "url", "url": "https://127.0.0.1/keys#1"},
    "a URL with a space": {"source": "url", "url": "https://127.0.0.1/the keys"},
    "a URL with a port that is none": {"source": "url", "url": "https://127.0.0.1:99999/"},
    "a secret as it is": {"source": "url", "url": "https://127.0.0.1/", "token": "abc"},
    "no keys": {"source": "inline", "keys": []},
    "a private key": {"source": "inline", "keys": [public_jwk(EC) | {"d": "AAAA"}]},
    "a secret key": {"source": "inline", "keys": [{"kty": "oct", "k": "AAAA"}]},
    "a key of another curve": {"source": "inline", "keys": [public_jwk(EC) | {"crv": "secp256k1"}]},
    "a key with a number for its name": {"source": "inline", "keys": [public_jwk(EC) | {"kid": 1}]},
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_the_configuration_stop_the_start(case: str) -> None:
    with pytest.raises(ValidationError):
        source(**MISTAKES[case])


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = source(source="discovery")

    assert isinstance(found, Discovery)
    assert (found.refresh, found.max_stale, found.timeout, found.ca_file) == (300, 86400, 5, None)


# --- Which keys are used ---


def kids(*jwks: object, use: str | None = None) -> list[str | None]:
    return [key.kid for key in parse_keys({"keys": list(jwks)}, use)]


GOOD = public_jwk(EC)
UNUSED: dict[str, object] = {
    "no object": 1,
    "null": None,
    "a list": [],
    "nothing": {},
    "no kty": {"n": "AQAB", "e": "AQAB"},
    "a number for kty": {"kty": 1},
    "an unknown kty": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
    "a secret": {"kty": "oct", "k": "AAAA"},
    "for encryption": GOOD | {"use": "enc"},
    "of an unknown use": GOOD | {"use": "tls"},
    "of SPIFFE": GOOD | {"use": "jwt-svid"},
    "a list for use": GOOD | {"use": ["sig"]},
    "for signing alone": GOOD | {"key_ops": ["sign"]},
    "text for key_ops": GOOD | {"key_ops": "verify"},
    "a number for kid": GOOD | {"kid": 1},
    "a number for alg": GOOD | {"alg": 1},
    "a private key": GOOD | {"d": "AAAA"},
    "another curve": GOOD | {"crv": "secp256k1"},
    "off the curve": GOOD | {"y": GOOD["x"]},
    "no y": {name: value for name, value in GOOD.items() if name != "y"},
    "no base64": GOOD | {"x": "!!!"},
    "Ed448": {"kty": "OKP", "crv": "Ed448", "x": "A" * 76},
    "X25519": {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    "a point of small order": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
}


@pytest.mark.parametrize("case", UNUSED)
def test_keys_that_cannot_be_used_are_skipped(case: str) -> None:
    assert kids(UNUSED[case], GOOD | {"kid": "good"}) == ["good"]


def test_weak_rsa_keys_are_skipped() -> None:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    weak = {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}
    cheap = public_jwk(shared_key("rsa-2048")) | {"e": "Aw"}

    assert kids(weak, cheap, GOOD) == [None]


def test_members_that_mean_nothing_here_do_not_matter() -> None:
    more = {"x5c": ["not looked at"], "x5t": "a", "key_ops": ["verify"], "use": "sig", "ext": True, "issuer": "x"}

    assert kids(GOOD | more | {"kid": "good"}) == ["good"]


def test_every_kind_of_key_has_its_algorithms() -> None:
    pairs = [(ec.SECP256R1(), ("ES256",)), (ec.SECP384R1(), ("ES384",)), (ec.SECP521R1(), ("ES512",))]
    for curve, algorithms in pairs:
        (key,) = parse_keys({"keys": [public_jwk(ec.generate_private_key(curve))]})
        assert key.algorithms == algorithms


def test_keys_of_another_use_are_found_by_it() -> None:
    svid = GOOD | {"use": "jwt-svid", "kid": "svid"}

    assert kids(svid, GOOD | {"kid": "none"}, GOOD | {"use": "sig"}, use="jwt-svid") == ["svid"]


@pytest.mark.parametrize("document", [None, [], 1, "keys", {}, {"keys": None}, {"keys": {}}, {"KEYS": []}])
def test_what_is_no_jwks(document: object) -> None:
    with pytest.raises(FetchFailedError, match="no JWKS"):
        parse_keys(document)


def test_an_issuer_may_withdraw_all_keys(issuer: TokenIssuer, cache: Cache) -> None:
    keys = discovery(issuer)
    cache.kids(keys, issuer.url)
    issuer.keys = {}

    cache.time += 300
    assert cache.kids(keys, issuer.url) == []
