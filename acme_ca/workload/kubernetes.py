"""Pods, by the tokens of their service accounts. Kubernetes: TokenRequest, bound tokens; KEP-1205, KEP-4193."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import StrictBool, model_validator

from acme_ca.https import FetchFailedError
from acme_ca.jose.encoding import shown
from acme_ca.workload.base import BindingMode, Expected, Proof, Workload, refusal
from acme_ca.workload.kubernetes_api import Identity, KubernetesApi
from acme_ca.workload.tokens import Text, TokenProvider, Verified, cleaned, is_text

API_AUDIENCES = (
    "https://kubernetes.default.svc",
    "https://kubernetes.default.svc.cluster.local",
    "https://kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes",
    "api",
    "k3s",
    "rke2",
    "sts.amazonaws.com",  # not the API server's: whoever has such a token takes the pod's role in AWS
)
"""Audiences of tokens that are worth more than an identity: API servers have their issuer's name or one of these."""

LIVENESS_CLAIMS = ("kubernetes.serviceaccount_uid", "kubernetes.pod")
"""Claims that a record of a workload has to keep, so that `is_alive` can tell a pod from another of its name."""

_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"  # RFC 1123, as Kubernetes reads it
_SUBJECT = re.compile(rf"system:serviceaccount:([a-z0-9](?:[-a-z0-9]{{0,61}}[a-z0-9])?):(?=.{{1,253}}\Z)({_NAME})")
_POD = re.compile(rf"(?=.{{1,253}}\Z){_NAME}")

log = logging.getLogger(__name__)


class Kubernetes(TokenProvider):
    """A Kubernetes cluster. Its subject is system:serviceaccount:NAMESPACE:NAME, its instance the pod's UID."""

    liveness_claims: ClassVar[frozenset[str]] = frozenset(LIVENESS_CLAIMS)

    type: Literal["kubernetes"] = "kubernetes"
    binding: BindingMode = "affinity"
    """`affinity` for projected volumes, whose audience stands in the pod; `required` for pods that use TokenRequest."""
    require_pod_bound: StrictBool = True
    """Whether tokens that live on after their pod are refused."""
    api_audiences: tuple[Text, ...] = ()
    """Audiences of the API server itself (its --api-audiences), besides the usual ones: such tokens are refused."""
    token_review: KubernetesApi | None = None
    """How the API server is asked. Without it, a token of a deleted pod is good until it ends."""

    @model_validator(mode="after")
    def _own_audience(self) -> Kubernetes:
        if self.binding == "tofu":
            raise ValueError("binding = 'tofu' would take tokens that are made for others; use affinity")
        if powerful := self._powerful(self.audiences):
            raise ValueError(
                f"tokens for {powerful} can be used with the API server or in a cloud; make an own audience"
            )
        return self

    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the pod, or the service account, whose token this is."""
        verified = self.check(proof, expected, now)
        audiences = _strings(verified.claims["aud"])
        if powerful := self._powerful(audiences):
            detail = (
                f"the token is for {powerful}, so that it can do more; mount one whose audience is for this CA alone"
            )
            raise refusal("audience_mismatch", detail)
        claims = _flat(cleaned(verified.claims, {"kubernetes.io": "kubernetes"}))
        found = claims["kubernetes"]
        if self.require_pod_bound and "pod_uid" not in found:
            detail = "the token is bound to no pod; mount a projected volume, or name the pod in the TokenRequest"
            raise refusal("evidence_malformed", detail)
        identity = Identity(claims["sub"], found["serviceaccount_uid"], found.get("pod_uid"))
        return Workload(
            provider=self.name,
            issuer=self.issuer,
            subject=identity.username,
            claims=claims,
            mode=verified.mode,
            expires_at=verified.expires_at,
            instance=identity.pod_uid or identity.uid,
            token_id=verified.token_id,
            checks=(*verified.checks, self._review(verified, audiences, identity)),
        )

    @property
    def tells_liveness(self) -> bool:
        """Whether the API server is asked."""
        return self.token_review is not None and self.token_review.liveness != "off"

    def is_alive(self, workload: Workload) -> bool:
        """Ask the API server, where `liveness` says so, whether the service account or the pod is still the same."""
        api = self.token_review
        if api is None or not self.tells_liveness:
            return True
        subject = _SUBJECT.fullmatch(workload.subject)
        known = workload.claims.get("kubernetes")
        known = known if isinstance(known, Mapping) else {}
        if subject is None:
            return False
        try:
            if not api.has("serviceaccounts", subject[1], subject[2], known.get("serviceaccount_uid")):
                return False
            if api.liveness == "serviceaccount" or known.get("serviceaccount_uid") == workload.instance:
                return True
            pod = known.get("pod")  # without the pod's name nobody can be asked
            return _is_name(pod) and api.has("pods", subject[1], str(pod), workload.instance)
        except FetchFailedError as error:
            raise refusal("provider_unavailable", str(error)) from error

    def _powerful(self, audiences: tuple[str, ...]) -> str | None:
        refused = {self.issuer, *API_AUDIENCES, *self.api_audiences}
        return next(
            (audience for audience in audiences if audience.rstrip("/") in refused or audience in refused), None
        )

    def _review(self, verified: Verified, audiences: tuple[str, ...], identity: Identity) -> str:
        api = self.token_review
        if api is None or api.mode == "off":
            return "token review: not configured"
        try:
            api.review(verified.token, audiences, identity)
        except FetchFailedError as error:
            if api.mode == "enforce":
                raise refusal("provider_unavailable", str(error)) from error
            log.warning("%s; the token counts without a review", error)
            return f"token review: skipped, {error}"
        return f"token review: the token is known to {api.api}"


def _flat(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims with what Kubernetes says in the form that rules use; raises what `refusal` returns.

    A table of plain values takes the place of the nested one: namespace, serviceaccount, serviceaccount_uid and, where
    there is one, pod, pod_uid, node, node_uid.
    """
    nested = claims.get("kubernetes")
    if not isinstance(nested, dict):
        raise refusal("evidence_malformed", "the token has no kubernetes.io claim; expected one of a TokenRequest")
    if "warnafter" in nested:
        detail = "the token is one of those extended to a year for old clients; mount a projected volume of its own"
        raise refusal("token_too_old", detail)
    flat = {"namespace": nested.get("namespace")}
    for kind in ("serviceaccount", "pod", "node"):
        if kind in nested:
            flat |= _reference(kind, nested[kind])
    subject = _SUBJECT.fullmatch(claims["sub"]) if isinstance(claims.get("sub"), str) else None
    if subject is None or subject.groups() != (flat["namespace"], flat.get("serviceaccount")):
        seen = f"the token's sub is {shown(claims.get('sub'))}, its kubernetes.io {shown(nested)}"
        expected = "expected system:serviceaccount:NAMESPACE:NAME and the same names"
        raise refusal("evidence_malformed", f"{seen}; {expected}")
    return {**claims, "kubernetes": flat}


def _reference(kind: str, value: object) -> dict[str, Any]:
    """Return the name and UID of an object; a node's UID is not told by every cluster."""
    name, uid = (value.get("name"), value.get("uid")) if isinstance(value, dict) else (None, None)
    if not _is_name(name) or not (is_text(uid) or (kind == "node" and uid is None)):
        seen = shown(value) + (f" with name {shown(name)} and uid {shown(uid)}" if isinstance(value, dict) else "")
        raise refusal("evidence_malformed", f"the token's {kind} is {seen}; expected an object's name and its uid")
    return {kind: name} if uid is None else {kind: name, f"{kind}_uid": uid}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _POD.fullmatch(value) is not None


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else (str(value),)
