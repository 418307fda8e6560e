"""IAM roles: which requests are forwarded to AWS, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from acme_ca.workload.aws_sigv4 import AwsSigV4
from acme_ca.workload.base import Expected, Proof, Workload
from tests.support import sts
from tests.support.pop import now
from tests.support.sts import BINDING, BODY, Session, Sts, error, identity
from tests.workload.proofs import (
    BOUND,
    EXPECTED,
    OF_ANOTHER_ACCOUNT,
    OF_ANOTHER_ENVIRONMENT,
    OF_NOBODY,
    refused,
)

ACCOUNT = "123456789012"
SESSION = Session()


@dataclass
class Site:
    """AWS, and the provider that asks it."""

    aws: Sts
    provider: AwsSigV4

    def verify(self, evidence: object, expected: Expected = EXPECTED) -> Workload:
        return self.provider.verify(Proof("aws-sigv4", evidence), expected, now())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with sts.serve(tmp_path) as aws:
        aws.know(SESSION)
        yield Site(aws, provider_of(aws))


def provider_of(aws: Sts, **settings: object) -> AwsSigV4:
    known = {"name": "aws", "accounts": [ACCOUNT], "endpoint": aws.url, "ca_file": aws.ca_file}
    return AwsSigV4.model_validate(known | settings)


def test_the_workload_of_a_role(site: Site) -> None:
    moment = now() - timedelta(seconds=10)

    found = site.verify(SESSION.presign(BOUND, moment=moment))

    assert found.provider == "aws"
    assert found.issuer == "sts.amazonaws.com"
    assert found.subject == "arn:aws:iam::123456789012:role/pay-api"
    assert found.instance == "i-0123456789abcdef0"
    assert found.claims == {
        "aws": {
            "account": ACCOUNT,
            "arn": "arn:aws:sts::123456789012:assumed-role/pay-api/i-0123456789abcdef0",
            "user_id": "AROAEXAMPLEEXAMPLE123:i-0123456789abcdef0",
            "role": "pay-api",
            "session": "i-0123456789abcdef0",
        }
    }
    assert found.mode == "required"
    assert found.expires_at == moment + timedelta(minutes=15)


def test_the_request_is_forwarded_as_it_was_signed(site: Site) -> None:
    site.verify(SESSION.presign(BOUND))

    (request,) = site.aws.requests
    assert request.path == "/"
    assert request.body == BODY.encode()
    assert request.fields["host"] == "sts.eu-west-1.amazonaws.com"
    assert request.fields["x-acme-workload-binding"] == BOUND
    assert "json" not in request.fields["accept"]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sts.amazonaws.com", "us-east-1"),
        ("sts.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sts.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sts.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
    ],
)
def test_every_region_has_its_host(site: Site, host: str, region: str) -> None:
    assert site.verify(SESSION.presign(BOUND, host=host, region=region)).mode == "required"


def test_a_user_with_long_lived_keys_is_its_own_subject(site: Site) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:user/robots/backup"
    user = site.aws.know(Session(arn=arn, user_id="AIDAEXAMPLE", access_key="AKIAEXAMPLEEXAMPLE01", token=None))

    found = site.verify(user.presign(BOUND))

    assert found.subject == arn
    assert found.instance is None
    assert found.claims == {"aws": {"account": ACCOUNT, "arn": arn, "user_id": "AIDAEXAMPLE"}}


def test_headers_that_a_signer_may_add(site: Site) -> None:
    digest = "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843"  # of the body, as SHA-256
    more: dict[str, Any] = {
        "Content-Length": str(len(BODY)),
        "X-Amz-Content-SHA256": digest,
        "Host": "sts.eu-west-1.amazonaws.com",
    }

    assert site.verify(SESSION.presign(BOUND, **more)).mode == "required"


# --- Good requests that are not for this CA, or not now ---


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(-301, "token_too_old"), (-901, "token_expired"), (120, "token_not_yet_valid")],
)
def test_a_signature_of_another_time_is_not_forwarded(site: Site, seconds: int, code: str) -> None:
    evidence = SESSION.presign(BOUND, moment=_at(seconds))

    assert refused(lambda: site.verify(evidence))[0] == code
    assert site.aws.requests == []


def test_a_clock_that_is_a_little_ahead_is_forgiven(site: Site) -> None:
    assert site.verify(SESSION.presign(BOUND, moment=_at(30)))


def _at(seconds: int) -> datetime:
    return now() + timedelta(seconds=seconds)


def test_a_stolen_request_is_of_no_use(site: Site) -> None:
    evidence = SESSION.presign(BOUND)
    others = (OF_ANOTHER_ACCOUNT, OF_ANOTHER_ENVIRONMENT, OF_NOBODY)

    assert [refused(partial(site.verify, evidence, other))[0] for other in others] == ["binding_mismatch"] * 3
    assert site.aws.requests == []


def test_a_stolen_request_with_another_binding_is_refused_by_aws(site: Site) -> None:
    stolen = SESSION.presign("https://other.example/acme/prod/workload/A")
    evidence = stolen | {"headers": stolen["headers"] | {BINDING: BOUND}}

    assert refused(lambda: site.verify(evidence)) == (
        "signature_invalid",
        "AWS STS answered with status 403 (SignatureDoesNotMatch): it does not accept the signature",
    )


def test_credentials_that_aws_does_not_know_are_refused(site: Site) -> None:
    unknown = Session(access_key="ASIAEXAMPLEEXAMPLE99")
    forged = Session(secret="another")

    assert refused(lambda: site.verify(unknown.presign(BOUND)))[0] == "signature_invalid"
    assert refused(lambda: site.verify(forged.presign(BOUND)))[0] == "signature_invalid"


def test_regions_can_be_limited(site: Site) -> None:
    strict = replace(site, provider=provider_of(site.aws, regions=["eu-central-1", "us-east-1"]))
    evidence = SESSION.presign(BOUND)

    code, detail = refused(lambda: strict.verify(evidence))

    assert code == "issuer_untrusted"
    assert "eu-central-1, us-east-1" in detail
    assert strict.verify(SESSION.presign(BOUND, host="sts.amazonaws.com", region="us-east-1"))


def test_accounts_are_limited(site: Site) -> None:
    other = site.aws.know(
        Session("210987654321", "arn:aws:sts::210987654321:assumed-role/pay-api/x1", access_key="ASIAEXAMPLEEXAMPLE02")
    )

    code, detail = refused(lambda: site.verify(other.presign(BOUND)))

    assert code == "issuer_untrusted"
    assert "210987654321" in detail


# --- Answers ---

ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/pay-api/x1"
_, GOOD = identity(ROLE, "AROAEXAMPLE:x1", ACCOUNT)
ENTITY = '<!DOCTYPE a [<!ENTITY account "123456789012">]>' + GOOD.replace(ACCOUNT, "&account;")
ANSWERS: dict[str, tuple[tuple[int, str], str]] = {
    "throttled": (error(400, "Throttling"), "provider_unavailable"),
    "throttled otherwise": (error(400, "ThrottlingException"), "provider_unavailable"),
    "too many requests": ((429, ""), "provider_unavailable"),
    "limit exceeded": (error(503, "RequestLimitExceeded"), "provider_unavailable"),
    "internal failure": (error(500, "InternalFailure"), "provider_unavailable"),
    "bad gateway": ((502, "<html>a proxy says</html>"), "provider_unavailable"),
    "redirect": ((307, ""), "provider_unavailable"),
    "created": ((201, GOOD), "provider_unavailable"),
    "session has ended": (error(403, "ExpiredToken", "The security token is expired"), "token_expired"),
    "request has ended": (error(400, "RequestExpired"), "token_expired"),
    "denied": (error(403, "AccessDenied"), "signature_invalid"),
    "incomplete signature": (error(400, "IncompleteSignature"), "signature_invalid"),
    "refused without a word": ((403, ""), "signature_invalid"),
    "refused in other words": ((403, "<html>no</html>"), "signature_invalid"),
    "no XML": ((200, "no XML"), "provider_unavailable"),
    "JSON": ((200, '{"GetCallerIdentityResponse": {}}'), "provider_unavailable"),
    "another element": ((200, "<a><Arn>x</Arn></a>"), "provider_unavailable"),
    "cut off": ((200, GOOD[:-20]), "provider_unavailable"),
    "document type": ((200, ENTITY), "provider_unavailable"),
    "two accounts": ((200, GOOD.replace("<Account>", "<Account>1</Account><Account>")), "provider_unavailable"),
    "two results": (
        (200, GOOD.replace("</GetCallerIdentityResult>", "</GetCallerIdentityResult>" * 2)),
        "provider_unavailable",
    ),
    "deep": ((200, "<a>" * 3000 + "</a>" * 3000), "provider_unavailable"),
    "huge": ((200, GOOD + " " * 20_000), "provider_unavailable"),
    "no account": ((200, GOOD.replace(f"<Account>{ACCOUNT}</Account>", "")), "provider_unavailable"),
    "no user": ((200, GOOD.replace("AROAEXAMPLE:x1", "")), "provider_unavailable"),
    "ARN of another account": (identity(ROLE, "AROAEXAMPLE:x1", "210987654321"), "provider_unavailable"),
    "the root user": (identity(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, ACCOUNT), "issuer_untrusted"),
    "federated user": (identity(f"arn:aws:sts::{ACCOUNT}:federated-user/x", "1:x", ACCOUNT), "issuer_untrusted"),
    "role with a path": (identity(f"arn:aws:sts::{ACCOUNT}:assumed-role/a/b/c", "A:c", ACCOUNT), "issuer_untrusted"),
    "no ARN": (identity("everybody", "A:c", ACCOUNT), "issuer_untrusted"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_another_answer_means(site: Site, name: str) -> None:
    site.aws.instead, code = ANSWERS[name]

    assert refused(lambda: site.verify(SESSION.presign(BOUND)))[0] == code


def test_the_answers_that_were_changed_are_good_otherwise(site: Site) -> None:
    site.aws.instead = (200, GOOD)

    assert site.verify(SESSION.presign(BOUND)).instance == "x1"


def test_when_aws_is_silent_the_client_may_come_again(site: Site) -> None:
    site.aws.silent = True
    hasty = replace(site, provider=provider_of(site.aws, timeout=0.2))

    assert refused(lambda: hasty.verify(SESSION.presign(BOUND)))[0] == "provider_unavailable"


def test_a_server_with_another_certificate_learns_nothing(site: Site) -> None:
    trusting_others = replace(site, provider=provider_of(site.aws, ca_file=None))

    assert refused(lambda: trusting_others.verify(SESSION.presign(BOUND)))[0] == "provider_unavailable"
    assert site.aws.requests == []


# --- Which provider ---


def test_requests_are_claimed_by_their_region_and_by_name(site: Site) -> None:
    proof = Proof("aws-sigv4", SESSION.presign(BOUND))

    assert site.provider.claims_proof(proof)
    assert site.provider.claims_proof(replace(proof, provider="aws"))
    assert not site.provider.claims_proof(replace(proof, provider="other"))
    assert not provider_of(site.aws, regions=["us-east-1"]).claims_proof(proof)


def test_another_format_is_refused(site: Site) -> None:
    assert refused(lambda: site.provider.verify(Proof("jwt", "a.b.c"), EXPECTED, now()))[0] == "format_unsupported"


@pytest.mark.parametrize(
    "settings",
    [
        {"accounts": []},
        {"accounts": ["1234"]},
        {"accounts": [123456789012]},
        {"accounts": ["123456789012\n"]},
        {"regions": ["s3"]},
        {"endpoint": "http://127.0.0.1/"},
        {"endpoint": "https://127.0.0.1/path"},
        {"endpoint": "https://user@127.0.0.1/"},
        {"binding": "affinity"},
        {"max_age": 901},
        {"unknown": 1},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    assert AwsSigV4(name="aws", accounts=(ACCOUNT,))
    with pytest.raises(ValidationError):
        AwsSigV4.model_validate({"name": "aws", "accounts": [ACCOUNT]} | settings)
