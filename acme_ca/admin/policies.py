"""The policy of an environment over HTTP: read, applied, brought back, explained, tried in the shadow."""

from __future__ import annotations

from acme_ca import identifiers
from acme_ca.admin.calls import Answered, Asked, Call, Page, Paged, reading
from acme_ca.admin.policy_messages import (
    AnswerView,
    AppliedView,
    Back,
    ChangeView,
    EndedView,
    ExplanationView,
    FindingView,
    NewPolicy,
    PolicyView,
    ReportView,
    SeenView,
    ShadowView,
    StepView,
    TrialView,
    Trying,
    VersionView,
    Why,
)
from acme_ca.authority import Environment
from acme_ca.models.admin import Permission
from acme_ca.models.shadow_finding import ShadowFinding
from acme_ca.models.version import Version
from acme_ca.policies_in_force import document_of, policy_of
from acme_ca.policy.document import Change, Document, changes
from acme_ca.problems import NotFound
from acme_ca.services import explanations, policies, replays, shadows
from acme_ca.services.policies import Applied, Standing
from acme_ca.services.replays import Replay

PATH = "/environments/{environment}/policy"
POLICY_LIMIT = 4 * 1024 * 1024  # bytes: ten thousand rules


def _show(asked: Asked) -> Answered:
    standing = policies.in_force(asked.ca.database, asked.environment.name, asked.environment.settings)
    return Answered(_standing(standing), etag=standing.etag)


def _apply(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    document = Document(rules=body.rules)
    if asked.dry_run:
        return _try(asked, environment, document)
    done = policies.apply(
        asked.ca.database,
        environment.name,
        environment.settings,
        document,
        by=asked.operator.by,
        comment=body.comment,
        issuers=environment.issuers,
        require=lambda standing: asked.require_match(standing.etag),
    )
    return _applied(asked, done)


def _rollback(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    if asked.dry_run:
        old = policies.version(asked.ca.database, environment.name, body.number)
        return _try(asked, environment, policies.readable(old))
    done = policies.rollback(
        asked.ca.database,
        environment.name,
        environment.settings,
        body.number,
        by=asked.operator.by,
        comment=body.comment,
        issuers=environment.issuers,
        require=lambda standing: asked.require_match(standing.etag),
    )
    return _applied(asked, done)


def _try(asked: Asked, environment: Environment, document: Document) -> Answered:
    """Judge what was ordered lately by the document, and change nothing."""
    policies.check(document, environment.settings, environment.issuers)
    present = policies.in_force(asked.ca.database, environment.name, environment.settings)
    found = replays.replay(
        asked.ca.database,
        environment.name,
        (
            policy_of(environment.name, environment.settings, present.document),
            policy_of(environment.name, environment.settings, document),
        ),
        asked.query.hours,
        terms=environment.terms,
    )
    view = AppliedView(
        changed=present.document != document,
        number=None,
        version=document.version,
        changes=tuple(map(_change, changes(present.document, document))),
        trial=_trial(found),
    )
    return Answered(view, etag=present.etag)


def _applied(asked: Asked, done: Applied) -> Answered:
    asked.ca.see_policies()
    view = AppliedView(
        changed=done.changed, number=done.number, version=done.version, changes=tuple(map(_change, done.changes))
    )
    return Answered(view, etag=f"{done.number}-{done.version}")


def _versions(asked: Asked) -> Page[VersionView]:
    after = None if asked.query.after is None else _number(asked.query.after)
    found, following = policies.history(asked.ca.database, asked.environment.name, after, asked.query.limit)
    return Page[VersionView](items=tuple(map(_line, found)), next=None if following is None else str(following))


def _version(asked: Asked) -> PolicyView:
    number = _number(asked.path["number"])
    found = policies.version(asked.ca.database, asked.environment.name, number)
    return _standing(
        Standing(
            environment=found.environment,
            number=found.number,
            document=policies.readable(found),
            created_at=found.created_at,
            created_by=found.created_by,
            comment=found.comment,
        )
    )


def _explain(asked: Asked) -> ExplanationView:
    body = asked.body
    question = explanations.Question(
        names=tuple((identifiers.type_of(name), name) for name in body.names),
        account=body.account,
        label=body.label,
        workload=body.workload,
        claims=body.claims,
        profile=body.profile,
        key_type=body.key_type or "",
    )
    found = explanations.explain(asked.ca, asked.environment, question)
    return ExplanationView(
        version=found.version,
        allowed=found.allowed,
        label=found.applicant.eab_label,
        workload=found.applicant.workload_rule,
        profile=found.applicant.profile,
        answers=tuple(_answer(answer) for answer in found.answers),
        whole=found.whole,
    )


def _start_shadow(asked: Asked) -> ShadowView:
    document, environment = Document(rules=asked.body.rules), asked.environment
    number, is_new = policies.start_shadow(
        asked.ca.database,
        environment.name,
        environment.settings,
        document,
        by=asked.operator.by,
        comment=asked.body.comment,
    )
    asked.ca.see_policies()
    return ShadowView(number=number, version=document.version, changed=is_new)


def _end_shadow(asked: Asked) -> EndedView:
    number = policies.end_shadow(asked.ca.database, asked.environment.name, by=asked.operator.by)
    asked.ca.see_policies()
    return EndedView(number=number)


def _report(asked: Asked) -> ReportView:
    found = shadows.report(asked.ca.database, asked.environment.name, asked.query.after, asked.query.limit)
    return ReportView(
        number=found.version.number,
        version=policies.readable(found.version).version,
        running=found.running,
        created_at=found.version.created_at,
        created_by=found.version.created_by,
        totals=found.totals,
        items=tuple(map(_seen, found.findings)),
        next=found.next,
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - what a column of integers holds
        raise NotFound("there is no such version: versions have numbers")
    return int(text)


def _standing(standing: Standing) -> PolicyView:
    return PolicyView(
        environment=standing.environment,
        number=standing.number,
        version=standing.document.version,
        rules=standing.document.rules,
        created_at=standing.created_at,
        created_by=standing.created_by,
        comment=standing.comment if standing.unreadable is None else standing.unreadable,
    )


def _line(found: Version) -> VersionView:
    try:
        document = document_of(found.document)
    except ValueError:
        document = None
    return VersionView(
        number=found.number,
        version="unreadable" if document is None else document.version,
        rules=len(found.document.get("rules", ())),
        created_at=found.created_at,
        created_by=found.created_by,
        comment=found.comment,
    )


def _change(change: Change) -> ChangeView:
    return ChangeView(rule=change.rule, kind=change.kind, settings=dict(change.settings), text=str(change))


def _trial(found: Replay) -> TrialView:
    return TrialView(
        since=found.since,
        certificates=found.certificates,
        unfinished=found.unfinished,
        refused=found.refused,
        partial=found.partial,
        denied=found.denied,
        allowed=found.allowed,
        shortened=found.shortened,
        findings=tuple(
            FindingView(
                outcome=one.outcome,
                name=one.name,
                rule=one.rule,
                reason=one.reason,
                orders=one.orders,
                accounts=len(one.accounts),
            )
            for one in found.findings
        ),
        more=found.more,
    )


def _answer(answer: explanations.Answer) -> AnswerView:
    return AnswerView(
        name=answer.name,
        allowed=answer.allowed,
        rule=answer.rule,
        reason=answer.reason,
        challenges=answer.challenges,
        steps=tuple(StepView(rule=step.rule, said=step.said, reason=step.reason) for step in answer.steps),
        next_step=answer.next_step,
    )


def _seen(found: ShadowFinding) -> SeenView:
    return SeenView(
        outcome=found.outcome,
        name=found.name,
        rule=found.rule,
        reason=found.reason,
        account_id=found.account_id,
        count=found.count,
        first_at=found.first_at,
        last_at=found.last_at,
    )


CALLS = (
    reading(
        path=PATH,
        summary="Show the policy in force",
        work=_show,
        answer=PolicyView,
    ),
    Call(
        method="PUT",
        path=PATH,
        permission=Permission.POLICY,
        summary="Put a policy in force; a dry run judges the last hours' orders by it",
        work=_apply,
        query=Trying,
        body=NewPolicy,
        body_limit=POLICY_LIMIT,
        answer=AppliedView,
        edits=True,
        dry_run="own",
    ),
    reading(
        path=f"{PATH}/versions",
        summary="List the versions of the policy, the newest first",
        work=_versions,
        query=Paged,
        answer=Page[VersionView],
    ),
    reading(
        path=f"{PATH}/versions/{{number}}",
        summary="Show a version of the policy",
        work=_version,
        answer=PolicyView,
    ),
    Call(
        method="POST",
        path=f"{PATH}/rollback",
        permission=Permission.POLICY,
        summary="Put an old version's rules in force again, as a new version",
        work=_rollback,
        query=Trying,
        body=Back,
        answer=AppliedView,
        acts=True,
        edits=True,
        dry_run="own",
    ),
    Call(
        method="POST",
        path=f"{PATH}/explain",
        permission=Permission.READ,
        summary="Tell why an account would get names or not, rule by rule",
        work=_explain,
        body=Why,
        answer=ExplanationView,
    ),
    reading(
        path=f"{PATH}/shadow",
        summary="Show what the policy in the shadow would have decided otherwise",
        work=_report,
        query=Paged,
        answer=ReportView,
    ),
    Call(
        method="PUT",
        path=f"{PATH}/shadow",
        permission=Permission.POLICY,
        summary="Evaluate a policy beside the one in force, without any effect on answers",
        work=_start_shadow,
        body=NewPolicy,
        body_limit=POLICY_LIMIT,
        answer=ShadowView,
    ),
    Call(
        method="DELETE",
        path=f"{PATH}/shadow",
        permission=Permission.POLICY,
        summary="End the policy in the shadow",
        work=_end_shadow,
        answer=EndedView,
    ),
)
