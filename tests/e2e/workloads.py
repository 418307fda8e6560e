"""A Kubernetes cluster that a CA of its own believes: pods exchange their tokens; its log tells what was posted.

Both environments of the CA believe the cluster; each has a trust domain that is called as its zone.
"""

from __future__ import annotations

import json
import secrets
import ssl
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e import ca as plain
from tests.e2e.ca import BOUND, OPEN, Ca
from tests.e2e.scenario import PATIENCE, Eab
from tests.support import issuers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.issuers import TokenIssuer

NAMESPACE = "pay"
PROFILE = "workload-1h"

SETTINGS = """
[[environment.{environment}.provider]]
type = "kubernetes"
name = "cluster"
issuer = "{issuer.url}"
jwks = {{ source = "discovery", ca_file = "{issuer.api.ca_file}", timeout = 20 }}

[[environment.{environment}.workload]]
name = "services"
provider = "cluster"
match = {{ "kubernetes.namespace" = "{namespace}" }}
spiffe = {{ id = "spiffe://{zone}/ns/${{kubernetes.namespace}}/sa/${{kubernetes.serviceaccount}}", add = "always" }}
dns = ["${{kubernetes.serviceaccount}}.${{kubernetes.namespace}}.{zone}"]
profiles = ["{profile}"]
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A service account in one environment, and what its pods are to be called there."""

    cluster: Cluster
    account: str
    environment: str

    @property
    def zone(self) -> str:
        """The zone of the environment, and its trust domain."""
        return f"{self.environment}.{plain.DOMAIN}"

    @property
    def spiffe_id(self) -> str:
        """The identity."""
        return f"spiffe://{self.zone}/ns/{NAMESPACE}/sa/{self.account}"

    @property
    def name(self) -> str:
        """The DNS name."""
        return f"{self.account}.{NAMESPACE}.{self.zone}"

    @property
    def resource(self) -> str:
        """Where proofs are exchanged; the audience of tokens."""
        return f"{self.cluster.ca.url}/acme/{self.environment}/workload"

    def token(self) -> str:
        """A token of a new pod of the service account."""
        pod = secrets.token_hex(4)
        about = {
            "namespace": NAMESPACE,
            "serviceaccount": {"name": self.account, "uid": f"uid-of-{self.account}"},
            "pod": {"name": f"{self.account}-{pod}", "uid": pod},
        }
        claims = {"sub": f"system:serviceaccount:{NAMESPACE}:{self.account}", "jti": secrets.token_hex(16)}
        return self.cluster.issuer.token(issuers.kubernetes(self.resource, **claims, **{"kubernetes.io": about}))

    def exchange(self, **members: object) -> dict[str, Any]:
        """Exchange a pod's token as curl would."""
        body = {"format": "jwt", "evidence": self.token(), **members}
        answer = self.cluster.fetch(f"{self.resource}/eab", json.dumps(body).encode())
        found: dict[str, Any] = json.loads(answer)
        assert found["identity"]["spiffe_id"] == self.spiffe_id
        assert found["identity"]["dns"] == [self.name]
        return found

    def new_eab(self) -> Eab:
        """Get an external account key for a pod."""
        found = self.exchange()
        return Eab(found["kid"], found["hmac_key"])

    def bind(self, thumbprint: str) -> None:
        """Bind an account key that is there, or will be, to a pod: for clients that know no external account keys."""
        assert "kid" not in self.exchange(account_jkt=thumbprint, eab=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster, and the CA."""

    ca: Ca
    issuer: TokenIssuer

    def service(self, account: str, *, bound: bool = False) -> Service:
        """Name a service account, in the environment that is open to all or that wants external account binding."""
        return Service(self, account, BOUND if bound else OPEN)

    def fetch(self, url: str, body: bytes | None = None) -> bytes:
        """Ask the CA, which the root vouches for; raises AssertionError with what it said when it refused."""
        context = ssl.create_default_context(cafile=str(self.ca.root))
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(asked, timeout=PATIENCE) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error
        return content

    @property
    def log_size(self) -> int:
        """How many octets the CA has logged."""
        return self._log.stat().st_size

    def posted(self, since: int) -> list[str]:
        """The paths that were posted to since the log had this size, without `/acme/ENVIRONMENT/`, in order."""
        lines = (json.loads(line) for line in self._log.read_bytes()[since:].splitlines() if line.startswith(b"{"))
        requests = [line for line in lines if line.get("event") == "request" and line["method"] == "POST"]
        return [line["path"].split("/", 3)[3] for line in requests]

    @property
    def _log(self) -> Path:
        return self.ca.folder / "serve.log"


@contextmanager
def serving(folder: Path) -> Iterator[Cluster]:
    """Run a cluster's issuer of tokens, and a CA that believes it, until the block ends."""
    with issuers.serve(folder / "cluster") as issuer:

        def amend(text: str) -> str:
            return believing(text, issuer)

        (folder / "ca").mkdir()
        with plain.serving(folder / "ca", amend) as ca:
            yield Cluster(ca, issuer)


def believing(text: str, issuer: TokenIssuer) -> str:
    """Let both environments of a configuration believe the issuer."""
    for environment in (OPEN, BOUND):
        zone = f"{environment}.{plain.DOMAIN}"
        head = f"[environment.{environment}]\n"
        assert head in text, f"acme-ca init no longer writes {head}"
        text = text.replace(head, f'{head}trust_domain = "{zone}"\n')
        text += SETTINGS.format(environment=environment, issuer=issuer, namespace=NAMESPACE, zone=zone, profile=PROFILE)
    return text
