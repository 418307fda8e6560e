"""What only the admin API refuses. RFC 9457; RFC 9110 §15."""

from __future__ import annotations

from typing import ClassVar

from acme_ca.problems import Problem

URN = "urn:acme-ca:admin:error:"


class AdminProblem(Problem):
    """A refusal of the admin API."""

    namespace: ClassVar[str] = URN


class Invalid(AdminProblem):
    """A path, a query or a body is not what the call takes; `errors` names each place."""

    type = "invalid"
    status = 400


class Unsuitable(AdminProblem):
    """What is asked has the form that it has to have, and cannot be all the same; `errors` names each place."""

    type = "unsuitable"
    status = 400


class Unauthenticated(AdminProblem):
    """Nobody who is known asks. RFC 9110 §15.5.2."""

    type = "unauthenticated"
    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="acme-ca admin"'})


class Forbidden(AdminProblem):
    """The operator's role, or environments, do not allow the call."""

    type = "forbidden"
    status = 403


class PreconditionFailed(AdminProblem):
    """What is to be changed is no longer what If-Match says. RFC 9110 §13.1.1."""

    type = "preconditionFailed"
    status = 412


class PreconditionRequired(AdminProblem):
    """A change has to say by If-Match what it is a change of. RFC 6585 §3."""

    type = "preconditionRequired"
    status = 428
