"""Signed requests: from an HTTP body to who asks what, checked. RFC 8555 §6."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from flask import Response, g, request
from pydantic import ValidationError

from acme_ca import complaints, jose
from acme_ca.acme.messages import WireModel
from acme_ca.authority import Authority, Environment
from acme_ca.jose import Envelope, Header, Jwk
from acme_ca.models.account import Signer
from acme_ca.problems import Contended, Malformed, NotFound, Problem, Unauthorized, UnsupportedMediaType
from acme_ca.services import accounts, nonces
from acme_ca.web import body

CONTENT_TYPE = "application/jose+json"
CACHED_KEYS = 10_000  # accounts whose parsed key a process keeps
REPEATS = 2  # of a transaction that met another one: what a service does may be done again
Message = TypeVar("Message", bound=WireModel)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request whose signature, URL and nonce were checked: by an account (`signer`) or by a bare key (`jwk`)."""

    ca: Authority
    environment: Environment
    url: str
    payload: bytes
    jwk: Jwk
    signer: Signer | None

    def account(self) -> Signer:
        """Return the account that signed."""
        if self.signer is None:
            raise Malformed("this request must be signed by an account: kid in the protected header, not jwk (§6.2)")
        return self.signer

    def message(self, kind: type[Message]) -> Message:
        """Decode the payload; raises Malformed naming each member that is wrong."""
        try:
            return kind.model_validate(jose.load_json(self.payload, "the payload"))
        except ValidationError as error:
            wrong = "; ".join(complaints.lines(error))
            raise Malformed(f"the payload is not as expected: {wrong}") from error

    def require_empty(self) -> None:
        """Refuse a payload: this resource is only read. §6.3 (POST-as-GET)."""
        if self.payload:
            raise Malformed("this resource is only read: send POST-as-GET, an empty payload (§6.3)")


Handler = Callable[..., Response]


class AccountKeys:
    """The keys of the accounts that asked lately, parsed."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._jwks: dict[tuple[str, str], Jwk] = {}  # by environment and account

    def verify(self, environment: Environment, envelope: Envelope, account_id: str) -> Jwk:
        """Return the key that verifies; one that changed since it was kept is read again."""
        known = self._jwks.get((environment.name, account_id))
        if known is not None:
            try:
                jose.verify(envelope, known.key)
            except Problem:
                if self._load(environment, account_id) == known:
                    raise
            else:
                return known
        jwk = self._load(environment, account_id)
        jose.verify(envelope, jwk.key)
        return jwk

    def _load(self, environment: Environment, account_id: str) -> Jwk:
        jwk = accounts.key_of(self._ca, environment, account_id)
        if len(self._jwks) >= CACHED_KEYS:
            self._jwks.clear()
        self._jwks[environment.name, account_id] = jwk
        return jwk


class SignedFace:
    """Makes view functions of handlers; `by_account` and `by_key` say which signatures a resource takes."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._keys = AccountKeys(ca)

    def by_account(self, handler: Handler) -> Handler:
        """Take requests signed by an account (`kid`)."""
        return self._view(handler, kid=True, jwk=False)

    def by_key(self, handler: Handler) -> Handler:
        """Take requests signed by a key that need not have an account (`jwk`)."""
        return self._view(handler, kid=False, jwk=True)

    def by_either(self, handler: Handler) -> Handler:
        """Take both."""
        return self._view(handler, kid=True, jwk=True)

    def unsigned(self, handler: Handler) -> Handler:
        """Take unsigned GET and HEAD requests."""

        def view(environment: str, **path: str) -> Response:
            return handler(self._ca, self._environment(environment), **path)

        return view

    def _view(self, handler: Handler, *, kid: bool, jwk: bool) -> Handler:
        def view(environment: str, **path: str) -> Response:
            asked = self._verified(self._environment(environment), kid=kid, jwk=jwk)
            for _ in range(REPEATS):
                with suppress(Contended):
                    return handler(asked, **path)
            return handler(asked, **path)

        return view

    def _environment(self, name: str) -> Environment:
        environment = self._ca.environments.get(name)
        if environment is None:
            raise NotFound(f"there is no environment {name[:64]!r}; there are {', '.join(self._ca.environments)}")
        g.environment = name
        return environment

    def finish(self, response: Response) -> Response:
        """Give an answer, whatever became of the request, the link to the directory (§7.1) and a nonce (§6.5)."""
        environment = self._ca.environments.get((request.view_args or {}).get("environment", ""))
        if environment is None:
            return response
        if request.endpoint != "directory":
            response.headers.add("Link", f'<{environment.url}/directory>;rel="index"')
        if request.method == "POST":
            response.headers["Replay-Nonce"] = nonces.issue(environment)
            response.headers["Cache-Control"] = "no-store"
        return response

    def _verified(self, environment: Environment, *, kid: bool, jwk: bool) -> SignedRequest:
        """Check form, URL, signature and nonce, in this order: a nonce is spent by nobody but its owner."""
        if request.mimetype != CONTENT_TYPE:
            raise UnsupportedMediaType(f"the body must be {CONTENT_TYPE}, not {request.mimetype or 'untyped'} (§6.2)")
        envelope = jose.parse(body())
        url = self._url()
        _check_header(envelope.header, url, kid=kid, jwk=jwk)
        signer = None
        if envelope.header.kid is not None:
            account_id = _account_id(environment, envelope.header.kid)
            key = self._keys.verify(environment, envelope, account_id)
            signer = Signer(account_id, key.thumbprint)
        else:
            key = jose.jwk_from_json(envelope.header.jwk)
            jose.verify(envelope, key.key)
        nonces.consume(self._ca, environment, envelope.header.nonce)
        return SignedRequest(self._ca, environment, url, envelope.payload, key, signer)

    def _url(self) -> str:
        """Return the URL of this request as clients know it; Host is never believed."""
        query = request.query_string.decode("latin-1")
        return f"{self._ca.config.external_url}{request.path}{'?' + query if query else ''}"


def _check_header(header: Header, url: str, *, kid: bool, jwk: bool) -> None:
    if header.url != url:
        raise Unauthorized(f"the protected header is for the URL {header.url[:500]!r}, this is {url!r} (§6.4)")
    if header.kid is not None and not kid:
        raise Malformed("this request must be signed by its own key: jwk in the protected header, not kid (§6.2)")
    if header.jwk is not None and not jwk:
        raise Malformed("this request must be signed by an account: kid in the protected header, not jwk (§6.2)")


def _account_id(environment: Environment, kid: str) -> str:
    prefix = environment.account_url("")
    if not kid.startswith(prefix):
        raise Unauthorized(f"kid {kid[:500]!r} is not an account of this environment; they begin with {prefix}")
    return kid[len(prefix) :]
