"""The presigned GetCallerIdentity request of a proof aws-sigv4: of one form, or it is not sent.

AWS Signature Version 4; AWS General Reference, STS endpoints. docs/workload-identity-00.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from acme_ca.jose.encoding import shown
from acme_ca.problems import Problem
from acme_ca.workload.base import MAX_EVIDENCE, refusal

BODY = "Action=GetCallerIdentity&Version=2011-06-15"
BINDING = "x-acme-workload-binding"

# The label is a region: names of other services stand there too (s3, say), and some of those are for everybody to have.
_URL = re.compile(r"https://(sts(?:\.([a-z]{2,3}(?:-[a-z]+){1,3}-[0-9]{1,2}))?\.amazonaws\.com(\.cn)?)/")
_GLOBAL_REGION = "us-east-1"  # of sts.amazonaws.com, AWS General Reference
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[A-Z0-9]{16,128}/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,32})/sts/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]{1,512}), ?Signature=[0-9a-f]{64}"
)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_MAX_VALUE = 16_384
_VISIBLE = re.compile(rf"[ -~]{{1,{_MAX_VALUE}}}")
_FORM = re.compile(r"application/x-www-form-urlencoded(?:; ?charset=utf-8)?", re.IGNORECASE)
_REQUIRED = ("authorization", "x-amz-date", BINDING)
_TO_BE_SIGNED = ("host", "x-amz-date", BINDING)
# What a signer may add, and whose value is then fixed by the rest of the request.
_FIXED = ("host", "content-length", "x-amz-content-sha256")
_ALLOWED = frozenset({*_REQUIRED, *_FIXED, "content-type", "x-amz-security-token"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request in the one form that is forwarded. `headers` are what is sent, all names in lower case but Host."""

    url: str
    host: str
    region: str
    date: datetime
    binding: str
    headers: Mapping[str, str] = field(repr=False)


def _malformed(detail: str) -> Problem:
    return refusal("evidence_malformed", f"the aws-sigv4 evidence is not forwarded: {detail}")


def parse(evidence: object) -> Request:
    """Return the request if it is exactly what is to be signed, whoever has signed it. Raises evidence_malformed."""
    if not isinstance(evidence, dict):
        raise _malformed("expected an object with method, url, body and headers")
    if evidence.get("method") != "POST":
        raise _malformed(f"the method is {shown(evidence.get('method'))}; expected POST")
    if evidence.get("body") != BODY:
        raise _malformed(f"the body is {shown(evidence.get('body'))}; expected {BODY}")
    url = evidence.get("url")
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        raise _malformed(f"the url is {shown(url)}; expected that of a region, as https://sts.eu-west-1.amazonaws.com/")
    host, region = match[1], match[2] or _GLOBAL_REGION
    if region.startswith("cn-") is not (match[3] is not None):
        raise _malformed(f"there is no STS at {host}; amazonaws.com.cn is for the regions cn-* and only for them")
    headers = _headers(evidence.get("headers"), host)
    date = _date(headers["x-amz-date"])
    _check_authorization(headers, region)
    return Request(match[0], host, region, date, headers[BINDING], _sent(headers, host))


def _headers(members: object, host: str) -> dict[str, str]:
    """Return the fields by their names in lower case, of which none is missing and none has a wrong value."""
    headers = _fields(members)
    if missing := [name for name in _REQUIRED if name not in headers]:
        raise _malformed(f"the header {missing[0]} is missing")
    for name, value in zip(_FIXED, (host, f"{len(BODY)}", sha256(BODY.encode()).hexdigest()), strict=True):
        if headers.get(name, value) != value:
            raise _malformed(f"the header {name} is {shown(headers[name])}; expected {value}")
    if not _FORM.fullmatch(headers.setdefault("content-type", "application/x-www-form-urlencoded")):
        raise _malformed(f"the header content-type is {shown(headers['content-type'])}; expected that of a form")
    return headers


def _fields(members: object) -> dict[str, str]:
    if not isinstance(members, dict):
        raise _malformed("headers is no object of strings")
    headers: dict[str, str] = {}
    for name, value in members.items():
        lower = f"{name}".lower()
        if lower not in _ALLOWED:
            raise _malformed(f"the header {shown(name)} is not allowed; expected only {', '.join(sorted(_ALLOWED))}")
        if lower in headers:
            raise _malformed(f"the header {lower} is there twice")
        if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
            raise _malformed(f"the header {lower} is no string of 1 to {_MAX_VALUE} printable ASCII characters")
        headers[lower] = value
    if sum(map(len, headers.values())) > MAX_EVIDENCE:
        raise _malformed(f"the headers have more than {MAX_EVIDENCE} characters")
    return headers


def _date(text: str) -> datetime:
    wrong = _malformed(f"the header x-amz-date is {shown(text)}; expected a time as 20260131T120000Z")
    if not _DATE.fullmatch(text):  # strptime takes shorter numbers, too
        raise wrong
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise wrong from error


def _check_authorization(headers: Mapping[str, str], region: str) -> None:
    match = _AUTHORIZATION.fullmatch(headers["authorization"])
    if match is None:
        raise _malformed(
            "the header authorization is not as expected: AWS4-HMAC-SHA256 Credential=…/sts/aws4_request, "
            "SignedHeaders=…, Signature=…"
        )
    if match["region"] != region or match["day"] != headers["x-amz-date"][:8]:
        raise _malformed(
            f"the signature is for {match['day']} in {match['region']}; expected the x-amz-date in {region}"
        )
    signed = match["signed"].split(";")
    if missing := [name for name in _TO_BE_SIGNED if name not in signed]:
        raise _malformed(f"SignedHeaders has no {missing[0]}; expected {', '.join(_TO_BE_SIGNED)} in it")
    if absent := [name for name in signed if name not in headers and name != "host"]:
        raise _malformed(f"SignedHeaders has {shown(absent[0])}, which is none of the headers")


def _sent(headers: Mapping[str, str], host: str) -> dict[str, str]:
    """Return the fields to send; the length of the body is told by who sends it."""
    return {name: value for name, value in headers.items() if name not in {"host", "content-length"}} | {"Host": host}
