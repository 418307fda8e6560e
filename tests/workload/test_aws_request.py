"""Requests that are not forwarded to AWS: whatever is not exactly the one that is to be signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.workload import aws_request
from acme_ca.workload.aws_sigv4 import AwsSigV4
from acme_ca.workload.base import Proof
from tests.support.pop import now
from tests.support.sts import BINDING, BODY, Session
from tests.workload.proofs import BOUND, JSON, OF_NOBODY, refused

SESSION = Session()
PROVIDER = AwsSigV4(name="aws", accounts=("123456789012",))


def changed(**members: object) -> dict[str, Any]:
    return SESSION.presign(BOUND) | members


def with_field(name: str, value: object) -> dict[str, Any]:
    """A good request in which a header has another value, after it was signed."""
    evidence = SESSION.presign(BOUND)
    return evidence | {"headers": evidence["headers"] | {name: value}}


def without(name: str) -> dict[str, Any]:
    evidence = SESSION.presign(BOUND)
    return evidence | {"headers": {key: value for key, value in evidence["headers"].items() if key != name}}


def authorization(old: str, new: str) -> dict[str, Any]:
    evidence = SESSION.presign(BOUND)
    text = evidence["headers"]["Authorization"]
    assert old in text
    return with_field("Authorization", text.replace(old, new)) | {"url": evidence["url"]}


NOT_FORWARDED: dict[str, tuple[Callable[[], object], str]] = {
    "no object": (lambda: "POST", "expected an object"),
    "nothing": (lambda: None, "expected an object"),
    "method GET": (lambda: changed(method="GET"), "expected POST"),
    "method no string": (lambda: changed(method=["POST"]), "expected POST"),
    "another action": (lambda: changed(body="Action=AssumeRole&Version=2011-06-15"), "the body is"),
    "body and more": (lambda: changed(body=BODY + "&Action=GetSessionToken"), "the body is"),
    "no body": (lambda: changed(body=None), "the body is"),
    "plain http": (lambda: changed(url="http://sts.eu-west-1.amazonaws.com/"), "the url is"),
    "another host": (lambda: changed(url="https://sts.evil.example/"), "the url is"),
    "host that ends alike": (lambda: changed(url="https://sts.amazonaws.com.evil.example/"), "the url is"),
    "user in the url": (lambda: changed(url="https://sts.amazonaws.com@evil.example/"), "the url is"),
    "port": (lambda: changed(url="https://sts.eu-west-1.amazonaws.com:8443/"), "the url is"),
    "path": (lambda: changed(url="https://sts.eu-west-1.amazonaws.com/x"), "the url is"),
    "query": (lambda: changed(url="https://sts.eu-west-1.amazonaws.com/?Action=x"), "the url is"),
    "line break in the url": (lambda: changed(url="https://sts.eu-west-1.amazonaws.com/\n"), "the url is"),
    "a bucket called sts": (lambda: changed(url="https://sts.s3.amazonaws.com/"), "the url is"),
    "a site called sts": (lambda: changed(url="https://sts.s3-website-us-east-1.amazonaws.com/"), "the url is"),
    "url no string": (lambda: changed(url=1), "the url is"),
    "China outside of China": (lambda: changed(url="https://sts.eu-west-1.amazonaws.com.cn/"), "there is no STS"),
    "the world inside China": (lambda: changed(url="https://sts.cn-north-1.amazonaws.com/"), "there is no STS"),
    "headers no object": (lambda: changed(headers=[]), "headers is no object"),
    "header that is not allowed": (lambda: with_field("X-Amz-Target", "x"), "is not allowed"),
    "header that asks for JSON": (lambda: with_field("Accept", "application/json"), "is not allowed"),
    "header without a name": (lambda: with_field("", "x"), "is not allowed"),
    "header not ASCII": (lambda: with_field("Ho\u017ft", "x"), "is not allowed"),
    "header twice": (lambda: with_field("x-amz-date", "20260131T120000Z"), "is there twice"),
    "line break": (lambda: with_field("X-Amz-Security-Token", "a\r\nX-Evil: 1"), "printable"),
    "control character": (lambda: with_field("X-Amz-Security-Token", "a\x00"), "printable"),
    "value not ASCII": (lambda: with_field("X-Amz-Security-Token", "é"), "printable"),
    "value empty": (lambda: with_field("X-Amz-Security-Token", ""), "printable"),
    "value no string": (lambda: with_field("X-Amz-Security-Token", ["a"]), "printable"),
    "value endless": (lambda: with_field("X-Amz-Security-Token", "a" * 16385), "printable"),
    "another Host": (lambda: with_field("Host", "evil.example"), "the header host is"),
    "another length": (lambda: with_field("Content-Length", "0"), "the header content-length is"),
    "payload not signed": (lambda: with_field("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"), "x-amz-content-sha256 is"),
    "another type": (lambda: with_field("Content-Type", "application/x-amz-json-1.1"), "content-type is"),
    "no binding": (lambda: without(BINDING), "x-acme-workload-binding is missing"),
    "no date": (lambda: without("X-Amz-Date"), "x-amz-date is missing"),
    "no signature": (lambda: without("Authorization"), "authorization is missing"),
    "binding not signed": (lambda: authorization("x-acme-workload-binding;", ""), "has no x-acme-workload-binding"),
    "host not signed": (lambda: authorization("host;", ""), "has no host"),
    "date not signed": (lambda: authorization("x-amz-date;", ""), "has no x-amz-date"),
    "signed but not there": (lambda: authorization("host;", "host;x-other;"), "is none of the headers"),
    "another service": (lambda: authorization("/sts/", "/s3/"), "authorization is not as expected"),
    "another scheme": (lambda: authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "is not as expected"),
    "signature and more": (lambda: authorization("Signature=", "X=1, Signature="), "is not as expected"),
    "another region": (lambda: authorization("eu-west-1", "us-east-1"), "in us-east-1"),
    "another day": (lambda: with_field("X-Amz-Date", "20260131T120000Z"), "the signature is for"),
    "date no date": (lambda: with_field("X-Amz-Date", "20261301T120000Z"), "x-amz-date is"),
    "date in words": (lambda: with_field("X-Amz-Date", "2026-01-31T12:00:00Z"), "x-amz-date is"),
    "date in other digits": (lambda: with_field("X-Amz-Date", "2026131T1200000Z"), "x-amz-date is"),
}


@pytest.mark.parametrize("name", NOT_FORWARDED)
def test_another_request_is_refused(name: str) -> None:
    make, says = NOT_FORWARDED[name]

    code, detail = refused(lambda: aws_request.parse(make()))

    assert code == "evidence_malformed"
    assert says in detail


def test_too_many_octets_are_refused() -> None:
    headers = SESSION.presign(BOUND)["headers"]
    long = {"X-Amz-Security-Token": "a" * 16384, BINDING: "b" * 16384}

    code, detail = refused(lambda: aws_request.parse(changed(headers=headers | long)))

    assert code == "evidence_malformed"
    assert "more than 32768" in detail


@given(JSON)
def test_whatever_the_evidence_nothing_but_a_problem_is_raised(evidence: object) -> None:
    assert refused(lambda: aws_request.parse(evidence))[0] == "evidence_malformed"


@given(st.sampled_from(["method", "url", "body", "headers"]), JSON)
def test_whatever_a_member_is_nothing_but_a_problem_is_raised(name: str, value: object) -> None:
    evidence = changed(**{name: value})

    assert refused(lambda: aws_request.parse(evidence))[0] == "evidence_malformed"


@given(st.sampled_from(sorted(SESSION.presign(BOUND)["headers"])), JSON)
def test_whatever_a_header_is_nothing_but_a_problem_is_raised(name: str, value: object) -> None:
    refused(lambda: PROVIDER.verify(Proof("aws-sigv4", with_field(name, value)), OF_NOBODY, now()))
