"""What a Kubernetes API server is asked about a workload, with credentials of this CA's own.

Kubernetes API: authentication.k8s.io/v1 TokenReview (the role system:auth-delegator allows it), and `get` on pods and
service accounts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.jose.encoding import shown
from acme_ca.paths import ExistingFile
from acme_ca.secret import Secret
from acme_ca.workload.base import refusal
from acme_ca.workload.jwks import HttpsUrl, bearer

_POD_UID = "authentication.kubernetes.io/pod-uid"
_DONE = (200, 201)
_GONE = 404
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


def _server(url: str) -> str:
    if urlsplit(url).query:
        raise ValueError(f"expected the API server's URL, without a query, not {url!r}")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token is of. `pod_uid` is None for a token that is bound to no pod."""

    username: str
    uid: str
    pod_uid: str | None


class KubernetesApi(BaseModel):
    """How the cluster's API server is asked whether a workload is still there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mode: Literal["off", "best-effort", "enforce"] = "enforce"
    """Whether every token is reviewed. `best-effort` goes on without when the API server does not answer."""
    liveness: Literal["off", "serviceaccount", "pod"] = "off"
    """What has to be there still when an earlier proof is used again."""
    api: Annotated[HttpsUrl, AfterValidator(_server)]
    """The URL of the API server, e.g. https://10.0.0.1:6443."""
    ca_file: ExistingFile | None = None
    """PEM file of the roots that the API server's certificate is verified by; without one the system's."""
    token: Secret
    """The bearer token of a service account of this CA; a workload's token is never used for it."""
    timeout: float = Field(strict=True, default=5, gt=0, le=30)
    """What one request gets, in seconds."""

    def review(self, token: str, audiences: Sequence[str], identity: Identity) -> None:
        """Let the API server judge a token; raises subject_gone or audience_mismatch, and FetchFailedError."""
        status = self._review(token, audiences)
        if status.get("authenticated") is not True:
            detail = f"the cluster does not know the token any more: {shown(status.get('error'))}"
            raise refusal("subject_gone", f"{detail}; its pod or service account is gone")
        granted = status.get("audiences")
        if not isinstance(granted, list) or not set(audiences).intersection(one for one in granted if type(one) is str):
            detail = (
                f"the cluster accepts the token for the audiences {shown(granted)}; expected {' or '.join(audiences)}"
            )
            raise refusal("audience_mismatch", detail)
        _check_user(_object(status, "user"), identity)

    def has(self, kind: Literal["serviceaccounts", "pods"], namespace: str, name: str, uid: object) -> bool:
        """Tell whether an object is there, and the same one if its `uid` is known; raises FetchFailedError."""
        endpoint = self._at(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        answer = https.request(endpoint, headers={"Accept": _METADATA_ONLY, **bearer(self.token)})
        if answer.status == _GONE:
            return False
        found = _object(_content(endpoint, answer), "metadata").get("uid")
        return isinstance(found, str) and uid in (None, found)

    def _review(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        spec = {"token": token, "audiences": list(audiences)}
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}).encode()
        endpoint = self._at("/apis/authentication.k8s.io/v1/tokenreviews")
        headers = {"Content-Type": "application/json", **bearer(self.token)}
        content = _content(endpoint, https.request(endpoint, "POST", body, headers))
        if not isinstance(status := content.get("status"), dict):
            raise FetchFailedError(f"{endpoint.url} answered without the status of a TokenReview")
        return status

    def _at(self, path: str) -> Endpoint:
        return Endpoint(self.api + path, self.ca_file, self.timeout)


def _check_user(user: Mapping[str, Any], identity: Identity) -> None:
    pods = _object(user, "extra").get(_POD_UID)
    seen = (user.get("username"), user.get("uid"), pods)
    expected = (identity.username, identity.uid, None if identity.pod_uid is None else [identity.pod_uid])
    if seen[:2] != expected[:2] or (identity.pod_uid is not None and pods != expected[2]):
        detail = f"the cluster says the token is of {shown(seen)}; expected {shown(expected)} (user, uid, pod)"
        raise refusal("subject_gone", detail)


def _content(endpoint: Endpoint, answer: https.Response) -> Mapping[str, Any]:
    if answer.status not in _DONE:
        hint = "; check its token and role" if answer.status in {401, 403} else ""
        raise FetchFailedError(f"{endpoint.url} answered with status {answer.status}{hint}")
    try:
        content = https.parse_json(answer.body)
    except ValueError as error:
        raise FetchFailedError(f"{endpoint.url} answered with what is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise FetchFailedError(f"{endpoint.url} answered with what is no object")
    return content


def _object(owner: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return value if isinstance(value := owner.get(name), dict) else {}
