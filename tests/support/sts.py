"""AWS Security Token Service on loopback: it knows some credentials and answers GetCallerIdentity to their signers.

The signature is derived again by botocore from what arrives. Answers and errors have the form of the real ones. Age is
not looked at: the provider forwards nothing that is too old.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore has no annotations
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # the same

from tests.support.pop import tls_server

BODY = "Action=GetCallerIdentity&Version=2011-06-15"
BINDING = "X-Acme-Workload-Binding"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
_STAMP = "%Y%m%dT%H%M%SZ"

_ANSWER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>{arn}</Arn>
    <UserId>{user_id}</UserId>
    <Account>{account}</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
"""
_ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>Sender</Type>
    <Code>{code}</Code>
    <Message>{message}</Message>
  </Error>
  <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
</ErrorResponse>
"""


@dataclass(frozen=True)
class Session:
    """Credentials, and whom AWS takes their user for."""

    account: str = "123456789012"
    arn: str = "arn:aws:sts::123456789012:assumed-role/pay-api/i-0123456789abcdef0"
    user_id: str = "AROAEXAMPLEEXAMPLE123:i-0123456789abcdef0"
    access_key: str = "ASIAEXAMPLEEXAMPLE00"
    secret: str = field(default="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", repr=False)
    token: str | None = field(default="IQoJb3JpZ2luX2VjEXAMPLE//", repr=False)

    def presign(
        self,
        binding: str,
        host: str = "sts.eu-west-1.amazonaws.com",
        region: str = "eu-west-1",
        moment: datetime | None = None,
        **changes: Any,  # noqa: ANN401 - header fields, None for one that is left out
    ) -> dict[str, Any]:
        """The evidence of a request that this session has signed."""
        fields = {"Content-Type": FORM, BINDING: binding} | changes
        request = AWSRequest(
            method="POST",
            url=f"https://{host}/",
            data=BODY.encode(),
            headers={name: value for name, value in fields.items() if value is not None},
        )
        auth = SigV4Auth(Credentials(self.access_key, self.secret, self.token), "sts", region)
        if moment is None:
            auth.add_auth(request)
        else:
            _sign_as_of(auth, request, moment)
        return {"method": "POST", "url": f"https://{host}/", "body": BODY, "headers": dict(request.headers.items())}


@dataclass(frozen=True)
class Received:
    """A request that arrived. The names of fields are in lower case."""

    path: str
    fields: Mapping[str, str]
    body: bytes


@dataclass
class Sts:
    """The service: whom it knows, what it answers instead (status and body), and what it was asked."""

    sessions: dict[str, Session] = field(default_factory=dict)
    instead: tuple[int, str] | None = None
    silent: bool = False
    requests: list[Received] = field(default_factory=list)
    url: str = ""
    ca_file: Path = Path()
    ended: threading.Event = field(default_factory=threading.Event)

    def know(self, session: Session) -> Session:
        self.sessions[session.access_key] = session
        return session

    def answer(self, received: Received) -> tuple[int, str]:
        """The status and body for a request."""
        if received.path != "/" or received.body != BODY.encode():
            return error(400, "InvalidAction", "Could not find operation")
        try:
            scheme, credential, signed, signature = received.fields["authorization"].replace(",", "").split(" ")
            access_key, _, region, service, _ = credential.removeprefix("Credential=").split("/")
        except (KeyError, ValueError):
            return error(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        session = self.sessions.get(access_key)
        if session is None or session.token != received.fields.get("x-amz-security-token"):
            return error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        names = signed.removeprefix("SignedHeaders=").split(";")
        right = _signature(session, received, region, names)
        if (scheme, service, signature) != ("AWS4-HMAC-SHA256", "sts", f"Signature={right}"):
            return error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        return identity(session.arn, session.user_id, session.account)


def identity(arn: str, user_id: str, account: str) -> tuple[int, str]:
    """The answer that names a signer."""
    return 200, _ANSWER.format(arn=arn, user_id=user_id, account=account)


def error(status: int, code: str, message: str = "said AWS") -> tuple[int, str]:
    """A refusal."""
    return status, _ERROR.format(code=code, message=message)


@contextmanager
def serve(folder: Path) -> Iterator[Sts]:
    """Run the service on a free port."""
    sts = Sts()
    context, sts.ca_file = tls_server(folder)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.sts = sts
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sts.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield sts
    finally:
        sts.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    sts: Sts
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        sts = self.server.sts
        fields = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.path, fields, self.rfile.read(int(fields.get("content-length", "0"))))
        sts.requests.append(received)
        if sts.silent:
            sts.ended.wait()
            return
        status, text = sts.instead or sts.answer(received)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""


def _sign_as_of(auth: Any, request: Any, moment: datetime) -> None:  # noqa: ANN401 - botocore has no annotations
    """Do what `add_auth` does, which knows the present alone."""
    request.context["timestamp"] = moment.strftime(_STAMP)
    auth._modify_request_before_signing(request)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))


def _signature(session: Session, received: Received, region: str, names: list[str]) -> str:
    """The signature that this session would have made over what arrived."""
    request = AWSRequest(
        method="POST",
        url=f"https://{received.fields['host']}/",
        data=received.body,
        headers={name: received.fields[name] for name in names if name in received.fields},
    )
    request.context["timestamp"] = received.fields.get("x-amz-date", "")
    auth = SigV4Auth(Credentials(session.access_key, session.secret, session.token), "sts", region)
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
