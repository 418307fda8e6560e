"""What an order may have, all things together: the rules, its workload's grant, the profile and the SPIFFE ID.

Whoever wants to know asks here, newOrder, finalize and a dry run, so that all of them get the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from acme_ca.identifiers import Identifier
from acme_ca.policy.conditions import Applicant
from acme_ca.policy.engine import Decision, Policy, Provable
from acme_ca.policy.grants import Grant
from acme_ca.problems import InvalidProfile, OrderNotReady, RejectedIdentifier


@dataclass(frozen=True, slots=True)
class Terms:
    """What an environment offers whatever its rules say.

    `lifetimes` has the seconds of each profile, in the order of the configuration; `carrying` are the profiles that may
    carry a SPIFFE ID. `provable` tells which names a workload could prove, and is None where nobody vouches for any.
    """

    default_profile: str
    lifetimes: Mapping[str, int]
    carrying: frozenset[str]
    provable: Provable | None = None


@dataclass(frozen=True, slots=True)
class Petition:
    """What an order asks for.

    `covered` are the names that a workload has by its own rule; its `grant` is None where nobody knows it any more.
    `requested` is the profile that the order names, `uris` are the SPIFFE IDs in the CSR. `proofs` has the challenge
    type that proved each name, once all are; `may_prove` is whether a workload may yet prove names. `lifetime` is in
    seconds, if it is known.
    """

    applicant: Applicant
    names: tuple[Identifier, ...]
    covered: frozenset[Identifier] = frozenset()
    grant: Grant | None = None
    requested: str | None = None
    uris: tuple[str, ...] = ()
    proofs: Mapping[Identifier, str | None] | None = None
    may_prove: bool = True
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What an order may have: the decision on its names, its profile, and the SPIFFE ID that goes in, if one does."""

    decision: Decision
    profile: str
    uris: tuple[str, ...]


def entitle(policy: Policy, terms: Terms, petition: Petition) -> Entitlement:
    """Return what an order may have.

    Raises RejectedIdentifier, InvalidProfile, and OrderNotReady for a name whose proof does not count any more.
    """
    decision = decide(policy, terms, petition)
    wanted = _wanted(petition)
    profile = _profile(policy, terms, petition, decision, carries_uri=bool(wanted))
    if policy.has_conditions and profile != petition.applicant.profile:  # conditions saw another one
        petition = replace(petition, applicant=replace(petition.applicant, profile=profile))
        decision = decide(policy, terms, petition)
        policy.check_profile(decision, profile)
    _check_proofs(decision, petition.proofs or {})
    uris = wanted or _added(terms, petition, profile)
    beside = tuple(found for uri in uris if (found := Identifier("uri", uri)) not in petition.names)
    policy.require_undenied(petition.applicant, beside, petition.names)
    return Entitlement(decision, profile, uris)


def decide(policy: Policy, terms: Terms, petition: Petition) -> Decision:
    """Return what the names may have: the covered ones by the workload's grant, the others by the rules.

    An order of which no name is covered may have a workload's proof yet, for names that one could have. What a rule
    denies, no grant gives; nor does the account's external key, where it is not for it. Raises RejectedIdentifier.
    """
    decision, scope = _decide(policy, terms, petition), petition.applicant.scope
    return decision if scope is None or not scope.profiles else _narrowed(decision, scope.profiles)


def _narrowed(decision: Decision, profiles: Sequence[str]) -> Decision:
    """Return a decision with the profiles that an external account key is for; raises RejectedIdentifier for none."""
    left = decision.profiles.intersection(profiles)
    if not left:
        raise RejectedIdentifier(
            f"the external account key of this account is for profile {', '.join(profiles)} alone, and "
            f"{', '.join(decision.rules)} allows {', '.join(sorted(decision.profiles))} for these names"
        )
    return replace(decision, profiles=left)


def _decide(policy: Policy, terms: Terms, petition: Petition) -> Decision:
    applicant, names = petition.applicant, petition.names
    covered = tuple(name for name in names if name in petition.covered)
    if not covered:
        return policy.decide(applicant, names, terms.provable if petition.may_prove else None)
    others = tuple(name for name in names if name not in petition.covered)
    policy.require_undenied(applicant, covered, names)
    decision = policy.decide_for_workload(petition.grant, covered)
    return decision.together_with(policy.decide(applicant, others, order=names)) if others else decision


def _profile(policy: Policy, terms: Terms, petition: Petition, decision: Decision, *, carries_uri: bool) -> str:
    """Return the profile of an order: the requested one, or the default one, unless workload or key need another.

    Raises InvalidProfile when the decision does not allow it, or a SPIFFE ID is wanted that it cannot carry.
    """
    requested, grant = petition.requested, petition.grant if petition.covered else None
    name = terms.default_profile if requested is None else requested
    scope = petition.applicant.scope
    if requested is None and (grant is not None or carries_uri or scope is not None):
        preferred = (name, *((grant and grant.profiles) or ()), *((scope and scope.profiles) or ()), *terms.lifetimes)
        suitable = decision.profiles & terms.carrying if carries_uri else decision.profiles
        name = next((profile for profile in preferred if profile in suitable), name)
    policy.check_profile(decision, name)
    if carries_uri and name not in terms.carrying:
        known = ", ".join(profile for profile in terms.lifetimes if profile in terms.carrying)
        raise InvalidProfile(f"profile {name} carries no SPIFFE ID; these do: {known or 'none of this environment'}")
    return name


def _check_proofs(decision: Decision, proofs: Mapping[Identifier, str | None]) -> None:
    """Refuse a name that was proved by a challenge type which policy, configured anew, does not allow for it."""
    for name, challenge in proofs.items():
        if challenge not in decision.challenges[name]:
            raise OrderNotReady(
                f"{name} was proved by {challenge}, which is no longer allowed for it; order the certificate anew"
            )


def _wanted(petition: Petition) -> tuple[str, ...]:
    """Return the SPIFFE ID that the order names, or else the CSR, if policy grants just that one; at most one."""
    grant = petition.grant if petition.covered else None
    ordered = [name.value for name in petition.names if name.type == "uri"]
    granted = [uri for uri in petition.uris if grant is not None and grant.allows_uri(uri)]
    return tuple(ordered or granted[:1])


def _added(terms: Terms, petition: Petition, profile: str) -> tuple[str, ...]:
    """Return the SPIFFE ID that the workload's rule always adds, where the profile carries one."""
    grant = petition.grant
    if not petition.covered or grant is None or grant.add != "always" or grant.spiffe_id is None:
        return ()
    return (grant.spiffe_id,) if profile in terms.carrying else ()
