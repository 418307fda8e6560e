"""Why an account gets a name or does not: what each rule says of it, which one decides, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acme_ca import clock, identifiers
from acme_ca.authority import Authority, Environment
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import Account
from acme_ca.models.binding import Binding, live_binding
from acme_ca.policy.engine import Applicant, Policy
from acme_ca.policy.grants import Grant
from acme_ca.policy.matchers import Said
from acme_ca.policy.petitions import Petition
from acme_ca.policy.scope import stored
from acme_ca.policy.verdicts import Opinion, judge
from acme_ca.problems import NotFound, Problem


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks for what. Of a known account, its label and workload are looked up where they are not given."""

    names: tuple[tuple[str, str], ...]
    account: str | None = None
    label: str | None = None
    workload: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule says of a name, and where it needs one, the reason."""

    rule: str
    said: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one name. `challenges` are those that could prove it; `next_step` is what to do."""

    name: str
    allowed: bool
    rule: str | None
    reason: str
    challenges: tuple[str, ...]
    steps: tuple[Step, ...]
    next_step: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of an order. `whole` is why it is refused though each name is good."""

    version: str
    applicant: Applicant
    answers: tuple[Answer, ...]
    whole: str | None

    @property
    def allowed(self) -> bool:
        """Whether a certificate would be issued, once control is proved."""
        return self.whole is None and all(answer.allowed for answer in self.answers)


def explain(ca: Authority, environment: Environment, question: Question) -> Explanation:
    """Return why; raises NotFound for an unknown account, and the problems of names that are none."""
    names = identifiers.parse_many(question.names, environment.settings.max_names)
    account, binding = _known(ca, environment, question)
    grant = _grant(environment, binding)
    applicant = Applicant(
        account_id=question.account or "",
        eab_label=question.label if question.label is not None or account is None else account.eab_label,
        workload_rule=question.workload or (None if grant is None else grant.rule),
        claims=question.claims or ({} if binding is None or grant is None else binding.claims),
        profile=question.profile or environment.settings.default_profile,
        key_type=question.key_type,
        scope=None if account is None else stored(account.scope),
    )
    covered = frozenset(name for name in names if grant is not None and grant.covers(name))
    petition = Petition(applicant, names, covered, grant, question.profile, may_prove=False)
    verdict = judge(environment.policy, environment.terms, petition)
    answers = tuple(
        _answer(environment.policy, applicant, name, names, verdict.names[name], is_covered=name in covered)
        for name in names
    )
    return Explanation(environment.policy.version, applicant, answers, verdict.whole)


def _known(ca: Authority, environment: Environment, question: Question) -> tuple[Account | None, Binding | None]:
    if question.account is None:
        return None, None
    with ca.database.read() as connection:
        account = base.get(connection, Account, question.account)
        if account is None or account.environment != environment.name:
            raise NotFound(f"environment {environment.name} has no account {question.account[:80]}")
        return account, live_binding(connection, account.id, clock.now())


def _grant(environment: Environment, binding: Binding | None) -> Grant | None:
    try:
        return None if binding is None else environment.grant(binding)
    except Problem:  # its rule is gone: the account has no workload any more
        return None


def _answer(
    policy: Policy,
    applicant: Applicant,
    name: Identifier,
    order: tuple[Identifier, ...],
    opinion: Opinion,
    *,
    is_covered: bool,
) -> Answer:
    ruling = policy.ruling(applicant, name, order)
    return Answer(
        name=str(name),
        allowed=opinion.allowed,
        rule=opinion.rule,
        reason=opinion.reason,
        challenges=ruling.challenges,
        steps=tuple(
            Step(rule.name, saying.said.value, saying.reason) for rule, saying in policy.sayings(applicant, name, order)
        ),
        next_step=_next_step(name, opinion, ruling.said, ruling.challenges, is_covered=is_covered),
    )


def _next_step(name: Identifier, opinion: Opinion, said: Said, challenges: tuple[str, ...], *, is_covered: bool) -> str:
    if opinion.allowed:
        return "order it" if is_covered else f"order it, and prove control by {' or '.join(challenges)}"
    if said in (Said.DENIES, Said.FAILED):
        change = f"change rule {opinion.rule}: no later rule can allow it"
        if opinion.rule is None:
            change = "use an account whose external account key is for it"
        return f"leave {name.value} out of the order, or {change}"
    if said is Said.NO_WILDCARDS:
        return f"order the names one by one, or let rule {opinion.rule} allow such wildcards"
    if said is Said.ALLOWS:
        return f"let rule {opinion.rule}, and the environment, offer a challenge type that can prove it"
    if name.type == "uri":
        return "prove the workload, and see that a rule for workloads grants it this SPIFFE ID"
    return f"add a rule that allows {name.value} to this account, or use an account that a rule is for"
