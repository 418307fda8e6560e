"""IAM roles of AWS: the client signs a GetCallerIdentity request and does not send it; this server does.

The request is of one form only, and its signature covers the key authorization in X-Acme-Workload-Binding, so that
nobody else can use it and it can do nothing else. AWS Security Token Service API Reference, GetCallerIdentity; AWS
Signature Version 4. docs/workload-identity-00.md
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal
from xml.parsers import expat

from pydantic import Field, StringConstraints

from acme_ca import https
from acme_ca.clock import rfc3339
from acme_ca.jose.encoding import shown
from acme_ca.paths import ExistingFile
from acme_ca.problems import Problem
from acme_ca.workload import aws_request
from acme_ca.workload.aws_request import BINDING, BODY, Request
from acme_ca.workload.base import LEEWAY, Expected, Format, Proof, Provider, Workload, refusal
from acme_ca.workload.jwks import HttpsUrl

LIFETIME = 900  # seconds that AWS takes a signature for

# IAM User Guide, IAM identifiers and quotas.
_ROLE_SESSION = re.compile(
    r"arn:(aws[a-z-]*):sts::([0-9]{12}):assumed-role/([A-Za-z0-9_+=,.@-]{1,64})/([A-Za-z0-9_+=,.@-]{2,64})"
)
_USER = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):user/[!-~]{1,512}")
_THROTTLED = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_OK, _TOO_MANY, _CLIENT_ERRORS = 200, 429, range(400, 500)
_MAX_ANSWER = 16 * 1024  # octets; the real one has some hundred
_MAX_DEPTH = 8
_RESULT = "GetCallerIdentityResponse/GetCallerIdentityResult"

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[a-z]+){1,3}-[0-9]{1,2}$")]


class AwsSigV4(Provider):
    """Ask AWS who has signed a request. Unlike all others it needs a way out to AWS for each proof."""

    type: Literal["aws-sigv4"] = "aws-sigv4"
    binding: Literal["required"] = "required"
    """A proof always has the key authorization in its signature."""
    accounts: Annotated[tuple[Account, ...], Field(min_length=1)]
    """The AWS accounts, of twelve digits, whose workloads are believed."""
    regions: tuple[Region, ...] = ()
    """The regions whose STS is asked; none means any. sts.amazonaws.com counts as us-east-1."""
    endpoint: Annotated[HttpsUrl, StringConstraints(pattern=r"^https://[^/?]+/?$")] | None = None
    """An https URL that requests go to instead, such as a VPC endpoint's. They still name the host that was signed."""
    ca_file: ExistingFile | None = None
    """PEM file of the roots that the answering server's certificate is verified by; without one the system's."""
    timeout: Annotated[float, Field(gt=0, le=30)] = 5.0
    """Seconds until AWS counts as away."""
    max_age: Annotated[int, Field(ge=30, le=LIFETIME)] = 300
    """The oldest signature that is forwarded, in seconds."""
    formats: ClassVar[tuple[Format, ...]] = ("aws-sigv4",)

    def claims_proof(self, proof: Proof) -> bool:
        """Tell whether the request is for a region of this provider; the account is known to AWS alone."""
        request = aws_request.parse(proof.evidence)
        return proof.provider in {None, self.name} and self._asks(request.region)

    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the role that AWS knows as the signer."""
        if proof.format not in self.formats:
            raise refusal("format_unsupported", f"the provider {self.name} does not take {shown(proof.format)}")
        request = aws_request.parse(proof.evidence)
        if not self._asks(request.region):
            raise refusal(
                "issuer_untrusted",
                f"the request is for the region {request.region}; {self.name} takes {', '.join(self.regions)}",
            )
        _check_age(request.date, now, self.max_age)
        _check_binding(request, expected)
        caller = self._ask(request)
        if caller.account not in self.accounts:
            raise refusal("issuer_untrusted", f"the AWS account {caller.account} is none of {self.name}")
        return self._workload(caller, request)

    def _asks(self, region: str) -> bool:
        return not self.regions or region in self.regions

    def _ask(self, request: Request) -> _Caller:
        endpoint = https.Endpoint(self.endpoint or request.url, self.ca_file, self.timeout)
        try:
            answer = https.request(endpoint, "POST", BODY.encode(), {**request.headers, "Accept": "text/xml"})
        except https.FetchFailedError as error:
            raise refusal("provider_unavailable", f"AWS STS cannot be asked about the proof: {error}") from error
        if answer.status != _OK:
            raise _refused(answer.status, _elements(answer.body).get("ErrorResponse/Error/Code", ""))
        return _caller(_elements(answer.body))

    def _workload(self, caller: _Caller, request: Request) -> Workload:
        claims = {
            "account": caller.account,
            "arn": caller.arn,
            "user_id": caller.user_id,
            "role": caller.role,
            "session": caller.session,
        }
        return Workload(
            provider=self.name,
            issuer="sts.amazonaws.com",
            subject=caller.subject,
            claims={"aws": {name: value for name, value in claims.items() if value is not None}},
            mode="required",
            expires_at=request.date + timedelta(seconds=LIFETIME),
            instance=caller.session,
            checks=(
                f"X-Amz-Date {rfc3339(request.date)} is fresh",
                f"the signed header {BINDING} is for the key authorization",
                f"{request.host} knows the signer as {caller.arn}",
                f"the account {caller.account} is one of {self.name}",
            ),
        )


def _check_age(date: datetime, now: datetime, max_age: int) -> None:
    age = (now - date).total_seconds()
    times = f"the request was signed at {rfc3339(date)}; the time of this server is {rfc3339(now)}"
    if age < -LEEWAY:
        raise refusal("token_not_yet_valid", times)
    if age > LIFETIME:
        raise refusal("token_expired", f"{times}, and signatures end after {LIFETIME} s")
    if age > max_age:
        raise refusal("token_too_old", f"{times}; at most {max_age} s are accepted")


def _check_binding(request: Request, expected: Expected) -> None:
    audience = expected.bound_audience
    if audience is None:
        raise refusal("binding_mismatch", "an aws-sigv4 proof is for a key authorization, and the request is for none")
    if not hmac.compare_digest(request.binding.encode(), audience.encode()):
        raise refusal("binding_mismatch", f"{BINDING} is {shown(request.binding)}; expected {audience}")


# --- The answer ---


@dataclass(frozen=True, slots=True)
class _Caller:
    """Whom AWS knows as the signer. An IAM user has neither role nor session."""

    account: str
    arn: str
    user_id: str
    subject: str
    role: str | None = None
    session: str | None = None


def _caller(elements: Mapping[str, str]) -> _Caller:
    arn, account, user_id = (elements.get(f"{_RESULT}/{name}", "") for name in ("Arn", "Account", "UserId"))
    if not arn or not account or not user_id:
        raise _strange("no Arn, Account and UserId")
    match = _ROLE_SESSION.fullmatch(arn) or _USER.fullmatch(arn)
    if match is None:
        raise refusal("issuer_untrusted", f"the signer is {shown(arn)}; expected a session of a role, or an IAM user")
    if match[2] != account:
        raise _strange("an Arn of another Account")
    if match.re is _USER:
        return _Caller(account, arn, user_id, arn)
    # A session's ARN has the role's name alone: its path, if it has one, is nowhere in the answer.
    role, session = match[3], match[4]
    return _Caller(account, arn, user_id, f"arn:{match[1]}:iam::{account}:role/{role}", role, session)


def _refused(status: int, code: str) -> Problem:
    """Tell a refusal of the signature from trouble at AWS. AWS STS API Reference, Common Errors."""
    said = f"AWS STS answered with status {status}" + (f" ({shown(code)[1:-1]})" if code else "")
    if code in _THROTTLED or status == _TOO_MANY or status not in _CLIENT_ERRORS:
        return refusal("provider_unavailable", f"{said} instead of saying who has signed")
    if code in _EXPIRED:
        return refusal("token_expired", f"{said}: the signature or the session has ended; sign with new credentials")
    return refusal("signature_invalid", f"{said}: it does not accept the signature")


def _strange(seen: str) -> Problem:
    return refusal("provider_unavailable", f"AWS STS answered with {seen}; expected a GetCallerIdentityResponse")


def _elements(body: bytes) -> dict[str, str]:
    """Return the text of each element by its path; {} for what is no XML. Refuses what is larger than any answer.

    Document types are refused, and entities with them, which could make a small answer large.
    """
    if len(body) > _MAX_ANSWER:
        raise _strange(f"{len(body)} octets")
    document = _Document()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = document.refuse
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text
    try:
        parser.Parse(body, True)  # noqa: FBT003 - the last piece; expat takes no names
    except (expat.ExpatError, ValueError):
        return {}
    return document.texts


class _Document:
    """Collects the text of elements, of which none may be there twice."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._path: list[str] = []

    def start(self, name: str, _attributes: object) -> None:
        self._path.append(name)
        path = "/".join(self._path)
        if path in self.texts or len(self._path) > _MAX_DEPTH:
            raise ValueError(f"{path} is there twice, or deep")
        self.texts[path] = ""

    def end(self, _name: str) -> None:
        self._path.pop()

    def text(self, text: str) -> None:
        self.texts["/".join(self._path)] += text

    def refuse(self, *_declaration: object) -> None:
        raise ValueError("there is a document type")
