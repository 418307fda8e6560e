"""The part of a Kubernetes API server that providers ask: TokenReview, and whether pods and service accounts are there.

It judges as the real one does: by what the token says and what is in the cluster, never by what the provider thinks.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import https_api
from tests.support.https_api import HttpsApi, Request

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
CREDENTIAL = "reviewer-credential"


@dataclass
class Cluster:
    """The objects of a cluster by their paths, with their UIDs. `status` replaces members of a TokenReview's status."""

    objects: dict[str, str] = field(default_factory=dict)
    status: dict[str, object] = field(default_factory=dict)
    user: dict[str, object] = field(default_factory=dict)
    credential: str = CREDENTIAL
    api: HttpsApi = field(init=False)
    credential_file: Path = Path()

    def run(self, claims: dict[str, Any]) -> None:
        """Have the service account and the pod of a token."""
        bound = claims["kubernetes.io"]
        for kind in ("serviceaccount", "pod"):
            if kind in bound:
                self.objects[path(f"{kind}s", bound["namespace"], bound[kind]["name"])] = bound[kind]["uid"]

    def settings(self, **settings: object) -> dict[str, object]:
        """The table `token_review` of a provider."""
        return {
            "api": self.api.url,
            "ca_file": str(self.api.ca_file),
            "token": f"file:{self.credential_file}",
            "timeout": 20,
        } | settings

    @property
    def reviewed(self) -> list[dict[str, Any]]:
        """The specs of the reviews that were asked for."""
        return [request.json()["spec"] for request in self.api.requests if request.path == REVIEWS]

    def _answer(self, request: Request) -> tuple[int, object]:
        if request.fields.get("authorization") != f"Bearer {self.credential}":
            return 401, {"kind": "Status", "code": 401, "reason": "Unauthorized"}
        if (request.method, request.path) == ("POST", REVIEWS):
            return 201, self._review(request.json())
        if request.method == "GET" and request.path in self.objects:
            return 200, {"kind": "PartialObjectMetadata", "metadata": {"uid": self.objects[request.path]}}
        return 404, {"kind": "Status", "code": 404, "reason": "NotFound"}

    def _review(self, review: dict[str, Any]) -> dict[str, Any]:
        assert (review["apiVersion"], review["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
        payload = review["spec"]["token"].split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        common = {"audiences": [one for one in review["spec"]["audiences"] if one in claims["aud"]]}
        return {"status": self._judge(claims, claims["kubernetes.io"]) | common | self.status}

    def _judge(self, claims: dict[str, Any], bound: dict[str, Any]) -> dict[str, Any]:
        extra = {}
        for kind in ("serviceaccount", "pod"):
            if kind not in bound:
                continue
            if self.objects.get(path(f"{kind}s", bound["namespace"], bound[kind]["name"])) != bound[kind]["uid"]:
                return {"authenticated": False, "error": f"[invalid bearer token, {kind} is gone]"}
            if kind == "pod":
                extra["authentication.kubernetes.io/pod-name"] = [bound[kind]["name"]]
                extra["authentication.kubernetes.io/pod-uid"] = [bound[kind]["uid"]]
        user = {"username": claims["sub"], "uid": bound["serviceaccount"]["uid"], "extra": extra} | self.user
        return {"authenticated": True, "user": user}


def path(kind: str, namespace: str, name: str) -> str:
    """The path of an object in the API."""
    return f"/api/v1/namespaces/{namespace}/{kind}/{name}"


@contextmanager
def serve(folder: Path) -> Iterator[Cluster]:
    """Run the API of an empty cluster."""
    cluster = Cluster()
    folder.mkdir(exist_ok=True)
    cluster.credential_file = folder / "reviewer.token"
    cluster.credential_file.write_text(f"{CREDENTIAL}\n")
    cluster.credential_file.chmod(0o400)
    with https_api.serve(folder, cluster._answer) as cluster.api:
        yield cluster
