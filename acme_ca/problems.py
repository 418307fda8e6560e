"""Problem documents: one exception for each error type, in the order of RFC 8555 §6.7. RFC 9457.

A problem is raised where its reason is known and rendered once, by the face. The detail is for the person at the
client: what was seen, what was expected, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

URN = "urn:ietf:params:acme:error:"


class Problem(Exception):
    """A refusal the client shall see. `type` is the name behind the URN, `status` the HTTP status code."""

    namespace: ClassVar[str] = URN
    type: ClassVar[str] = "serverInternal"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str,
        *,
        identifier: Mapping[str, str] | None = None,
        subproblems: tuple[Problem, ...] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.identifier = identifier
        self.subproblems = subproblems
        self.headers: Mapping[str, str] = headers or {}
        self.extra: Mapping[str, Any] = extra or {}

    def document(self) -> dict[str, Any]:
        """Render as the JSON object of RFC 9457, with the subproblems of RFC 8555 §6.7.1."""
        document: dict[str, Any] = {"type": self.namespace + self.type, "detail": self.detail, "status": self.status}
        if self.subproblems:
            document["subproblems"] = [problem.subdocument() for problem in self.subproblems]
        return document | dict(self.extra)

    def subdocument(self) -> dict[str, Any]:
        """Render as a subproblem, the only place where an `identifier` may stand. RFC 8555 §6.7.1."""
        document = {"type": self.namespace + self.type, "detail": self.detail}
        return document if self.identifier is None else document | {"identifier": dict(self.identifier)}


class AccountDoesNotExist(Problem):
    """The request names an account that is not there. §7.3.1, §6.2."""

    type = "accountDoesNotExist"
    status = 400


class AlreadyRevoked(Problem):
    """The certificate was revoked before. §7.6."""

    type = "alreadyRevoked"
    status = 400


class BadCsr(Problem):
    """The CSR cannot be accepted. §7.4."""

    type = "badCSR"
    status = 400


class BadNonce(Problem):
    """The nonce is unknown, spent or too old; the answer carries a new one. §6.5."""

    type = "badNonce"
    status = 400


class BadPublicKey(Problem):
    """The key is of a kind or strength that is not accepted. §6.2, §7.6."""

    type = "badPublicKey"
    status = 400


class BadRevocationReason(Problem):
    """The reason code may not be given by a client. §7.6."""

    type = "badRevocationReason"
    status = 400


class BadSignatureAlgorithm(Problem):
    """The JWS algorithm is not accepted; `algorithms` lists those that are. §6.2."""

    type = "badSignatureAlgorithm"
    status = 400


class Caa(Problem):
    """CAA records forbid issuance. RFC 8659."""

    type = "caa"
    status = 403


class Compound(Problem):
    """Several things are wrong; see the subproblems. §6.7.1."""

    type = "compound"
    status = 400


class ConnectionFailed(Problem):
    """The server could not connect to the validation target."""

    type = "connection"
    status = 400


class DnsFailed(Problem):
    """A DNS query during validation went wrong."""

    type = "dns"
    status = 400


class ExternalAccountRequired(Problem):
    """newAccount needs an external account binding. §7.3.4."""

    type = "externalAccountRequired"
    status = 403


class IncorrectResponse(Problem):
    """The answer to a challenge is not the expected one. §8."""

    type = "incorrectResponse"
    status = 403


class InvalidContact(Problem):
    """A contact URL is invalid. §7.3."""

    type = "invalidContact"
    status = 400


class Malformed(Problem):
    """The request message is malformed."""

    type = "malformed"
    status = 400


class NotFound(Malformed):
    """There is no such resource."""

    status = 404


class MethodNotAllowed(Malformed):
    """The resource does not answer this method. §6.3."""

    status = 405


class Conflict(Malformed):
    """keyChange to a key that another account has. §7.3.5."""

    status = 409


class PayloadTooLarge(Malformed):
    """The body is larger than the server reads."""

    status = 413


class UnsupportedMediaType(Malformed):
    """The body is not application/jose+json. §6.2."""

    status = 415


class OrderNotReady(Problem):
    """finalize came before every authorization was valid. §7.4."""

    type = "orderNotReady"
    status = 403


class RateLimited(Problem):
    """The client asks more often than it may; Retry-After says when. §6.6."""

    type = "rateLimited"
    status = 429


class RejectedIdentifier(Problem):
    """Policy does not allow certificates for the identifier. §7.4."""

    type = "rejectedIdentifier"
    status = 403


class ServerInternal(Problem):
    """The server met an error that it does not explain."""

    type = "serverInternal"
    status = 500


class ServiceUnavailable(ServerInternal):
    """Something the server needs is away; the client may repeat the request after Retry-After seconds."""

    status = 503

    def __init__(self, detail: str, *, retry_after: int = 5, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, extra=extra)


class Contended(ServiceUnavailable):
    """Somebody else changed the same thing at the same moment; the request is to be repeated."""

    def __init__(self) -> None:
        super().__init__(
            "another request changed the same resource at the same moment; repeat the request", retry_after=1
        )


class TlsFailed(Problem):
    """TLS with the validation target went wrong."""

    type = "tls"
    status = 400


class Unauthorized(Problem):
    """The client lacks the authorization for what it asks."""

    type = "unauthorized"
    status = 403


class AccountEnded(Unauthorized):
    """The account was deactivated or revoked. §7.3.6, which asks for this status code."""

    status = 401


class UnsupportedContact(Problem):
    """A contact URL has a scheme that is not supported. §7.3."""

    type = "unsupportedContact"
    status = 400


class UnsupportedIdentifier(Problem):
    """An identifier is of a type that is not supported. §7.4."""

    type = "unsupportedIdentifier"
    status = 400


class UserActionRequired(Problem):
    """The person behind the account has to act first. §7.3.3."""

    type = "userActionRequired"
    status = 403


class InvalidProfile(Problem):
    """The order asks for a profile that is not offered to it. draft-ietf-acme-profiles §6."""

    type = "invalidProfile"
    status = 400


class AlreadyReplaced(Problem):
    """Another order replaced the certificate before. RFC 9773 §7.4."""

    type = "alreadyReplaced"
    status = 409
