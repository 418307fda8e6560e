"""What goes over the wire about policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer

from acme_ca.admin.calls import Model, Note, Query, Text, Time
from acme_ca.policy.rules import Rule, dump
from acme_ca.vocabulary import KeyType

HOURS_MAX = 8784.0  # a year
MAX_NAMES = 1000

Rules = Annotated[tuple[Rule, ...], PlainSerializer(dump, return_type=list[dict[str, Any]])]
"""Rules in their order; answers leave out what is at its default."""


class NewPolicy(Model):
    """A policy as a whole: it takes the place of the one in force."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=10_000)]
    """For each name the first rule that speaks about it decides, and no rule means no."""
    comment: Note | None = None
    """Why, for whoever reads the history; a commit of Git, for instance."""


class Back(Model):
    """An old version that is wanted back."""

    number: Annotated[int, Field(ge=1)]
    """The version's number."""
    comment: Note | None = None
    """Why."""


class Trying(Query):
    """How far a dry run looks back."""

    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)] = 24.0
    """Hours of orders that a dry run judges again."""


class PolicyView(Model):
    """A policy. `number` and what follows it are null for that of the configuration file."""

    environment: str
    number: int | None
    version: str
    """What the ledger has beside each certificate: 16 hexadecimal digits, equal for equal rules."""
    rules: Rules
    created_at: Time | None
    created_by: str | None
    comment: str | None


class VersionView(Model):
    """One line of the history. `created_by` is null for what a configuration file said."""

    number: int
    version: str
    rules: int
    created_at: Time
    created_by: str | None
    comment: str | None


class ChangeView(Model):
    """What is different in one rule; `settings` has [before, after] of each setting that changed."""

    rule: str
    kind: Literal["added", "removed", "changed", "moved"]
    settings: dict[str, tuple[Any, Any]]
    text: str


class FindingView(Model):
    """What would be different for a name (empty: for orders as a whole), and in how many orders."""

    outcome: Literal["deny", "allow", "shorten"]
    name: str
    rule: str | None
    reason: str
    orders: int
    accounts: int


class TrialView(Model):
    """What a dry run covered, and what would be different. `partial`: there was more than is looked at."""

    since: Time
    certificates: int
    """Certificates of the ledger that were judged again."""
    unfinished: int
    """Orders that came to nothing yet, which are known for a day after they end."""
    refused: int
    """Refused orders of which the audit knows the names."""
    partial: bool
    denied: int
    """Orders that would now be denied."""
    allowed: int
    """Orders that would now be allowed."""
    shortened: int
    """Certificates that would live shorter."""
    findings: tuple[FindingView, ...]
    more: int
    """Findings that are not shown."""


class AppliedView(Model):
    """What came of applying a policy, or would. `number` is null where nothing was changed by a dry run."""

    changed: bool
    number: int | None
    version: str
    changes: tuple[ChangeView, ...]
    trial: TrialView | None = None
    """What the last hours' orders would have met, in a dry run."""


class Why(Model):
    """Who wants what: an account, or somebody with a label or a workload's rule."""

    names: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES)]
    """Names: DNS names, IP addresses, SPIFFE IDs."""
    account: Text | None = None
    label: Text | None = None
    workload: Text | None = None
    """The rule for workloads that the account's workload has."""
    claims: dict[str, Any] = Field(default_factory=dict, max_length=100)
    """What conditions see of the workload's claims."""
    profile: Text | None = None
    key_type: KeyType | None = None


class StepView(Model):
    """What one rule says of the name."""

    rule: str
    said: str
    reason: str


class AnswerView(Model):
    """What becomes of one name, by which rule, why, and what to do next."""

    name: str
    allowed: bool
    rule: str | None
    reason: str
    challenges: tuple[str, ...]
    steps: tuple[StepView, ...]
    next_step: str


class ExplanationView(Model):
    """What becomes of the order. `whole` is why it is refused though each name is good."""

    version: str
    allowed: bool
    label: str | None
    workload: str | None
    profile: str
    answers: tuple[AnswerView, ...]
    whole: str | None


class ShadowView(Model):
    """The version in the shadow that is new, or runs already."""

    number: int
    version: str
    changed: bool


class EndedView(Model):
    """The shadow that ended."""

    number: int


class SeenView(Model):
    """What the shadow would have done otherwise to a name (empty: to orders as a whole), and how often."""

    outcome: str
    name: str
    rule: str | None
    reason: str
    account_id: str
    count: int
    first_at: Time
    last_at: Time


class ReportView(Model):
    """What the shadow found. `totals` counts orders by outcome."""

    number: int
    version: str
    running: bool
    created_at: Time
    created_by: str | None
    totals: dict[str, int]
    items: tuple[SeenView, ...]
    next: str | None
