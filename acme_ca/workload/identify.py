"""From a proof to the one provider that it names, and to the workload. docs/workload-identity-00.md §5."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from acme_ca.workload.base import Expected, Proof, Provider, Workload, refusal


def formats_of(providers: Sequence[Provider]) -> tuple[str, ...]:
    """Return the formats that the providers take, in a fixed order."""
    return tuple(dict.fromkeys(form for provider in providers for form in provider.formats))


def identify(providers: Sequence[Provider], proof: Proof, expected: Expected, now: datetime) -> Workload:
    """Return the workload; raises what `refusal` returns. Nothing is verified before the provider is known."""
    known = formats_of(providers)
    if proof.format not in known:
        raise refusal("format_unsupported", f"format {proof.format[:40]!a} is not taken here; expected {_list(known)}")
    candidates = [provider for provider in providers if proof.format in provider.formats]
    if proof.provider is not None:
        candidates = [provider for provider in candidates if provider.name == proof.provider]
    for provider in candidates:
        if provider.claims_proof(proof):
            return provider.verify(proof, expected, now)
    raise refusal(
        "issuer_untrusted",
        f"nobody who is trusted here vouches for this {proof.format} proof; the issuer (iss) or trust domain that it "
        "names has to be that of a configured provider, to the letter",
    )


def _list(values: Sequence[str]) -> str:
    return " or ".join(values) or "none"
