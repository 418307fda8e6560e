"""SPIFFE: workloads of another trust domain, by JWT-SVID or by a proof with the key of an X.509-SVID.

SPIFFE standards: SPIFFE-ID, JWT-SVID, X509-SVID, SPIFFE Trust Domain and Bundle, SPIFFE Federation.
docs/workload-identity-00.md. Each provider has one trust domain and that domain's bundle; bundles are never merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import AfterValidator, Field, model_validator

from acme_ca.clock import rfc3339
from acme_ca.identifiers import SpiffeId, parse_spiffe_id
from acme_ca.jose.encoding import shown
from acme_ca.problems import Malformed
from acme_ca.workload import chain, jwt, pop
from acme_ca.workload.base import Expected, Format, Proof, Provider, Workload, refusal
from acme_ca.workload.chain import Anchors
from acme_ca.workload.jwt import Unverified
from acme_ca.workload.pop import SignedProof
from acme_ca.workload.spiffe_bundle import AnyBundle, Bundle, bundle_of
from acme_ca.workload.tokens import is_text

ALGORITHMS = jwt.ALGORITHMS[:9]  # JWT-SVID §2.1: RS, PS and ES; EdDSA is not among them

_HEADER = frozenset({"alg", "kid", "typ"})  # JWT-SVID §2
_PAIR = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def _trust_domain(name: str) -> str:
    """Return the name of a trust domain, with or without its scheme; raises ValueError."""
    try:
        found = parse_spiffe_id(name if name.startswith("spiffe://") else f"spiffe://{name}")
    except Malformed as problem:
        raise ValueError(problem.detail) from problem
    if found.path:
        raise ValueError(f"{name!r} has a path; expected the trust domain alone")
    return found.trust_domain


class Spiffe(Provider):
    """Believe what the CAs of one SPIFFE trust domain say, such as a SPIRE server."""

    type: Literal["spiffe"] = "spiffe"
    trust_domain: Annotated[str, AfterValidator(_trust_domain)]
    """The trust domain, e.g. corp.example: the SPIFFE IDs of its workloads are believed, and no others."""
    bundle: AnyBundle
    """Where the trust domain publishes its keys."""
    binding: Literal["required", "affinity"] = "required"
    """How JWT-SVIDs are bound; an X.509-SVID always signs the key authorization."""
    audiences: tuple[str, ...] = ()
    """With binding = "affinity", the audiences that JWT-SVIDs may have; none means the environment's."""
    max_token_ttl: Annotated[int, Field(ge=60, le=86400)] = 3600
    """The longest JWT-SVID that is believed, in seconds from its iat, or from now if it has none, to its exp."""
    formats: ClassVar[tuple[Format, ...]] = ("jwt", "x5c")

    @model_validator(mode="after")
    def _audiences_count(self) -> Spiffe:
        if self.audiences and self.binding != "affinity":
            raise ValueError("audiences say nothing with binding = 'required'; leave them out")
        return self

    def claims_proof(self, proof: Proof) -> bool:
        """Tell whether the unverified SPIFFE ID is of the trust domain."""
        if proof.format == "jwt":
            names = _texts(jwt.peek(proof.evidence).claims.get("sub"))
        else:
            names = chain.names(pop.parse(proof.evidence).leaf).uri
            if proof.provider not in {None, self.name}:
                return False
        return any(name.startswith(f"spiffe://{self.trust_domain}/") for name in names)

    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the workload of the SVID."""
        if proof.format not in self.formats:
            raise refusal("format_unsupported", f"the provider {self.name} does not take {shown(proof.format)}")
        if proof.format == "jwt":
            return self._verify_token(jwt.peek(proof.evidence), expected, now)
        return self._verify_certificate(pop.parse(proof.evidence), expected, now)

    # --- JWT-SVID ---

    def _verify_token(self, token: Unverified, expected: Expected, now: datetime) -> Workload:
        _check_header(token)
        spiffe_id = self._own(_only_text(token.claims.get("sub")))
        bundle = bundle_of(self.bundle, self.trust_domain, lambda found: found.has_key(token.kid))
        jwt.verify(token, bundle.jwt_keys, ALGORITHMS)
        expires_at = jwt.check_times(_with_iat(token.claims, now), now, max_ttl=self.max_token_ttl, max_age=None)
        mode = jwt.check_audience(token.claims, self.binding, expected, self.audiences, allow_extra=False)
        return Workload(
            provider=self.name,
            issuer=self._issuer,
            subject=str(spiffe_id),
            claims=_claims(spiffe_id),
            mode=mode,
            expires_at=expires_at,
            token_id=token.claims["jti"] if is_text(token.claims.get("jti")) else None,
            checks=(
                self._bundle_check(bundle),
                f"signed with {token.alg} by the key {shown(token.kid)}",
                f"valid until {rfc3339(expires_at)}",
                f"the audience is as expected (binding {mode})",
            ),
        )

    # --- X.509-SVID ---

    def _verify_certificate(self, signed: SignedProof, expected: Expected, now: datetime) -> Workload:
        spiffe_id = self._own(_check_svid(signed.leaf))
        bundle = bundle_of(self.bundle, self.trust_domain, lambda found: found.leads_from(signed.chain))
        path = chain.verify(signed.chain, Anchors(self.name, bundle.x509_authorities), now)
        pop.verify(signed, expected)
        serial = chain.serial(signed.leaf)
        return Workload(
            provider=self.name,
            issuer=self._issuer,
            subject=str(spiffe_id),
            claims=_claims(spiffe_id),
            mode="required",
            expires_at=signed.leaf.not_valid_after_utc,
            instance=serial,
            checks=(
                self._bundle_check(bundle),
                f"the certificate {serial} leads to an authority of the bundle by {len(path) - 1} signatures",
                f"the certificate is valid until {rfc3339(signed.leaf.not_valid_after_utc)}",
                f"its key has signed the key authorization for {expected.url} ({signed.alg})",
            ),
        )

    @property
    def _issuer(self) -> str:
        return f"spiffe://{self.trust_domain}"

    def _bundle_check(self, bundle: Bundle) -> str:
        sequence = "without sequence" if bundle.sequence is None else f"sequence {bundle.sequence}"
        return f"bundle of {self.trust_domain}, {sequence}"

    def _own(self, name: str) -> SpiffeId:
        """Return a SPIFFE ID of a workload of the trust domain."""
        try:
            found = parse_spiffe_id(name)
        except Malformed as problem:
            raise refusal("evidence_malformed", f"the SVID: {problem.detail}") from problem
        if found.trust_domain != self.trust_domain:
            raise refusal(
                "issuer_untrusted",
                f"the SVID is of the trust domain {found.trust_domain}; {self.name} is for {self.trust_domain}",
            )
        if not found.path:
            raise refusal("evidence_malformed", "the SVID names its trust domain alone; expected the ID of a workload")
        return found


def _claims(spiffe_id: SpiffeId) -> dict[str, Any]:
    return {
        "spiffe_id": str(spiffe_id),
        "trust_domain": spiffe_id.trust_domain,
        "path": spiffe_id.path,
        "segments": list(spiffe_id.segments),
    }


def _texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ()


def _only_text(value: object) -> str:
    if not isinstance(value, str):
        raise refusal("evidence_malformed", f"the token's sub is {shown(value)}; expected a SPIFFE ID")
    return value


def _check_header(token: Unverified) -> None:
    """Refuse what JWT-SVID §2 does not have in a header; `jwt.peek` has looked at alg and kid."""
    if extra := sorted(token.header.keys() - _HEADER):
        raise refusal(
            "evidence_malformed", f"the token's header has {shown(extra[0])}; a JWT-SVID has alg, kid and typ"
        )
    if "typ" in token.header and token.header["typ"] not in ("JWT", "JOSE"):
        raise refusal(
            "evidence_malformed",
            f"the token's typ is {shown(token.header['typ'])}; expected JWT or JOSE (JWT-SVID §2.3)",
        )


def _with_iat(claims: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """Return claims with iat, which JWT-SVIDs may lack: then the time that is left counts as their whole life."""
    expires = claims.get("exp")
    if "iat" in claims or type(expires) is not int:
        return claims
    return {**claims, "iat": min(int(now.timestamp()), expires - 1)}


def _check_svid(leaf: x509.Certificate) -> str:
    """Return the URI of a leaf in the form of X509-SVID §4 and Appendix A; that it is no CA is for `chain.verify`."""
    uris = chain.names(leaf).uri
    if len(uris) != 1:
        raise refusal("evidence_malformed", f"the leaf certificate has {len(uris)} URIs; an X.509-SVID has exactly one")
    usage = next((found for found in leaf.extensions if isinstance(found.value, x509.KeyUsage)), None)
    if usage is None or not usage.critical:
        raise refusal("evidence_malformed", "the leaf certificate has no critical keyUsage; an X.509-SVID has one")
    purposes = chain.extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and any(purpose not in purposes for purpose in _PAIR):
        raise refusal(
            "evidence_malformed",
            "the leaf certificate's extendedKeyUsage lacks one of serverAuth and clientAuth; an X.509-SVID has both",
        )
    return uris[0]
