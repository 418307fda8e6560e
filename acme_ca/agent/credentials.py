"""Where a workload's proof comes from: its platform. Read afresh at each use, so that rotation needs no restart.

docs/workload-identity-00.md §3. A proof is bound to its purpose where the platform lets the workload choose the
audience or sign; a token from a file has whatever audience the platform wrote.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.agent import jws, shell
from acme_ca.agent.errors import AgentError, CredentialError, RefusedError, UnreachableError, printable
from acme_ca.agent.transport import Answer, Transport

POP_TYPE = "acme-workload-pop+jws"
COMMAND_SECONDS = 60
PLATFORM_SECONDS = 10.0
MAX_TOKEN = 16 * 1024  # octets, as the server takes
GCP_HOST = "metadata.google.internal"
AUDIENCE_VARIABLE = "ACME_WORKLOAD_AUDIENCE"
STATIC_AUDIENCE_VARIABLE = "ACME_WORKLOAD_STATIC_AUDIENCE"
NONCE_VARIABLE = "ACME_WORKLOAD_KEY_AUTHORIZATION"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a proof is for: the environment's audience, the URL that it will be sent to, and what binds it."""

    audience: str
    url: str
    key_authorization: str

    @property
    def bound_audience(self) -> str:
        """The audience of a bound token: `audience/` and SHA-256 of the key authorization, base64url unpadded."""
        digest = sha256(self.key_authorization.encode()).digest()
        return f"{self.audience}/{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


class Credential(ABC):
    """A source of proofs. `format` names how they are written; `bound` tells that they are made for one purpose."""

    format: str = "jwt"
    bound: bool = True

    @abstractmethod
    def evidence(self, purpose: Purpose) -> object:
        """Return a fresh proof as JSON; raises CredentialError."""


@dataclass(frozen=True)
class TokenFile(Credential):
    """A token that the platform keeps in a file, such as a projected service account token. Its audience is fixed."""

    path: Path
    bound = False

    def evidence(self, purpose: Purpose) -> str:
        """Read the file."""
        del purpose
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_TOKEN + 1)
        except OSError as error:
            raise CredentialError(f"the token file {self.path} cannot be read: {error.strerror}") from error
        return _token(content, f"the token file {self.path}")


@dataclass(frozen=True)
class TokenCommand(Credential):
    """A token that a shell command prints; the audience is in its environment."""

    command: str
    seconds: float = COMMAND_SECONDS

    def evidence(self, purpose: Purpose) -> str:
        """Run the command."""
        variables = {
            AUDIENCE_VARIABLE: purpose.bound_audience,
            STATIC_AUDIENCE_VARIABLE: purpose.audience,
            NONCE_VARIABLE: purpose.key_authorization,
        }
        try:
            ended = shell.run(self.command, variables, self.seconds, "the token command", capture=True)
        except AgentError as error:
            raise CredentialError(str(error)) from error
        if ended.code != 0:
            raise CredentialError(f"the token command ended with {ended.code}; its standard error says why")
        return _token(ended.output, "the output of the token command")


@dataclass(frozen=True)
class GcpMetadata(Credential):
    """An identity token of the metadata server of Google Cloud. `host` is a name or address, with a port or without."""

    host: str = GCP_HOST

    def evidence(self, purpose: Purpose) -> str:
        """Ask the metadata server, which speaks plain HTTP inside of the machine."""
        query = urlencode({"audience": purpose.bound_audience, "format": "full"})
        url = f"http://{self.host}/computeMetadata/v1/instance/service-accounts/default/identity?{query}"
        flavor = {"Metadata-Flavor": "Google"}
        answer = _ask(Transport(timeout=PLATFORM_SECONDS), url, flavor, "the metadata server", plain=True)
        return _token(answer.body, "the answer of the metadata server")


@dataclass(frozen=True)
class GitHubActions(Credential):
    """An ID token of a job of GitHub Actions; the job needs `permissions: id-token: write`. URLs are https.

    `ca_file` is for a GitHub Enterprise Server whose certificate the system does not believe.
    """

    ca_file: Path | None = None

    def evidence(self, purpose: Purpose) -> str:
        """Ask the runner's service, as its two environment variables say."""
        url, token = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"), os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if not url or not token:
            raise CredentialError(
                "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set: "
                "give the job `permissions: id-token: write`"
            )
        query = urlencode({"audience": purpose.bound_audience})
        transport = Transport(self.ca_file, timeout=PLATFORM_SECONDS)
        joint = "&" if "?" in url else "?"
        answer = _ask(transport, f"{url}{joint}{query}", {"Authorization": f"bearer {token}"}, "GitHub's token service")
        value = answer.members().get("value")
        if not isinstance(value, str):
            raise CredentialError("the answer of GitHub's token service has no string value")
        return _token(value.encode(errors="replace"), "the answer of GitHub's token service")


@dataclass(frozen=True)
class CertifiedKey(Credential):
    """A key that some CA certified before, such as an X.509-SVID: it signs the key authorization."""

    certificate: Path
    key: Path
    format = "x5c"

    def evidence(self, purpose: Purpose) -> dict[str, str]:
        """Sign with the key in the file."""
        try:
            chain = x509.load_pem_x509_certificates(self.certificate.read_bytes())
            key = jws.from_pem(self.key.read_bytes(), self.key)
        except OSError as error:
            raise CredentialError(f"{error.filename} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CredentialError(f"{self.certificate} has no certificates in PEM: {error}") from error
        if chain[0].public_key() != key.public_key():
            raise CredentialError(f"{self.key} is not the key of the first certificate in {self.certificate}")
        x5c = [b64encode(certificate.public_bytes(Encoding.DER)).decode() for certificate in chain]
        header = {"typ": POP_TYPE, "url": purpose.url, "x5c": x5c}
        return {"sig": jws.compact(key, header, purpose.key_authorization.encode())}


def _ask(transport: Transport, url: str, headers: dict[str, str], what: str, *, plain: bool = False) -> Answer:
    try:
        return transport.request("GET", url, headers=headers, plain=plain).require(what)
    except (UnreachableError, RefusedError) as error:
        raise CredentialError(f"{what} gave no token: {error}") from error


def _token(content: bytes, where: str) -> str:
    """Return a compact JWS: printable ASCII without white space."""
    text = content.strip().decode("ascii", "replace")
    if not text:
        raise CredentialError(f"{where} is empty; expected a token")
    if len(text) > MAX_TOKEN:
        raise CredentialError(f"{where} is longer than {MAX_TOKEN} octets; expected a token")
    if text.count(".") != 2 or not all(character.isalnum() or character in "-_." for character in text):  # noqa: PLR2004 - the dots of a compact JWS, RFC 7515 §7.1
        seen = printable(text[:8])  # never more: it may be a secret of another kind
        raise CredentialError(f"{where} begins with {seen!r}; expected a token of three parts divided by dots")
    return text
