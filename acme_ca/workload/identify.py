"""From a proof to the one provider that it names, and to the workload. docs/workload-identity-00.md §5."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from acme_ca.problems import ServiceUnavailable
from acme_ca.workload.base import Expected, Proof, Provider, Workload, refusal

log = logging.getLogger(__name__)


def formats_of(providers: Sequence[Provider]) -> tuple[str, ...]:
    """Return the formats that the providers take, in a fixed order."""
    return tuple(dict.fromkeys(form for provider in providers for form in provider.formats))


@contextmanager
def asking(provider: Provider) -> Iterator[None]:
    """Tell clients that a provider is away, and the log why: the reason names hosts and files of the operators."""
    try:
        yield
    except ServiceUnavailable as problem:
        log.warning("provider %s: %s", provider.name, problem.detail)
        detail = f"provider {provider.name!r} cannot be asked now; the operators find the reason in the log. Try again"
        raise refusal("provider_unavailable", detail) from problem


def identify(providers: Sequence[Provider], proof: Proof, expected: Expected, now: datetime) -> Workload:
    """Return the workload; raises what `refusal` returns. Nothing is verified before the provider is known."""
    known = formats_of(providers)
    if proof.format not in known:
        raise refusal("format_unsupported", f"format {proof.format[:40]!a} is not taken here; expected {_list(known)}")
    candidates = [provider for provider in providers if proof.format in provider.formats]
    if proof.provider is not None:
        candidates = [provider for provider in candidates if provider.name == proof.provider]
        if not candidates:
            reason = f"there is no provider {proof.provider[:40]!a} here that takes {proof.format}"
            raise refusal("issuer_untrusted", f"{reason}; without the member provider the proof tells whose it is")
    for provider in candidates:
        if provider.claims_proof(proof):
            with asking(provider):
                return provider.verify(proof, expected, now)
    raise refusal(
        "issuer_untrusted",
        f"nobody who is trusted here vouches for this {proof.format} proof; the issuer (iss) or trust domain that it "
        "names has to be that of a configured provider, to the letter",
    )


def _list(values: Sequence[str]) -> str:
    return " or ".join(values) or "none"
