"""How an exchanged key is printed: for a shell, for a program, for cert-manager. docs/workload-identity-00.md §8."""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Mapping

from acme_ca.agent.errors import AgentError, printable
from acme_ca.agent.messages import Exchanged

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # Kubernetes: a DNS subdomain, RFC 1123


def shell(found: Exchanged, directory: str) -> str:
    """Return assignments that a POSIX shell may `eval`, whatever the server said."""
    values = {
        "ACME_DIRECTORY": directory,
        "ACME_EAB_KID": found.kid,
        "ACME_EAB_HMAC_KEY": found.hmac_key,
        "ACME_EAB_HMAC_ALG": found.hmac_alg,
        "ACME_EAB_EXPIRES": None if found.expires is None else found.expires.isoformat(),
        "ACME_WORKLOAD_SPIFFE_ID": found.identity.spiffe_id,
        "ACME_WORKLOAD_DNS": " ".join(found.identity.dns),
    }
    return "".join(f"{name}={shlex.quote(printable(value))}\n" for name, value in values.items() if value)


def as_json(found: Exchanged, directory: str) -> str:
    """Return one JSON object with the members of the exchange."""
    document = found.model_dump(mode="json", exclude_none=True) | {"directory": directory}
    return json.dumps(document, indent=2) + "\n"


def kubernetes_secret(found: Exchanged, name: str, namespace: str | None) -> str:
    """Return the manifest of a Secret for cert-manager's externalAccountBinding: keyID from kid, key `secret`.

    cert-manager wants the MAC key there as the text that ACME servers give: base64url without padding.
    """
    if found.kid is None or found.hmac_key is None:
        raise AgentError("the exchange gave no key to put into a Secret")
    metadata = {"name": require_name(name)} | ({} if namespace is None else {"namespace": require_name(namespace)})
    data = {"kid": found.kid, "secret": found.hmac_key}
    return "".join(
        (
            "apiVersion: v1\nkind: Secret\nmetadata:\n",
            _yaml(metadata),
            "type: Opaque\ndata:\n",
            _yaml({key: b64encode(value.encode()).decode() for key, value in data.items()}),
        )
    )


def require_name(name: str) -> str:
    """Return a name that Kubernetes takes; raises AgentError."""
    if not _NAME.fullmatch(name):
        raise AgentError(f"{name!a} is no name for Kubernetes: expected lower-case letters, digits, - and .")
    return name


def _yaml(members: Mapping[str, str]) -> str:
    return "".join(f"  {name}: {json.dumps(value)}\n" for name, value in members.items())  # JSON is YAML
