"""Certificates over HTTP: search and detail; their revocation and replacement, however many they are."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from acme_ca.admin.calls import Answered, Asked, Call, Instant, Model, Page, Paged, Time, reading
from acme_ca.admin.selections import (
    CertificateView,
    Expectation,
    SelectorQuery,
    certificate_view,
    selection_of,
)
from acme_ca.config.fields import Link
from acme_ca.models.admin import Permission
from acme_ca.models.replacement import Replacement
from acme_ca.models.revocation import Revocation
from acme_ca.services import certificates, replacements, revocations, selecting
from acme_ca.vocabulary import MAX_SPREAD, Standing

BASE = "/environments/{environment}"


class Search(SelectorQuery, Paged):
    """Which certificates to list."""

    standing: Standing | None = None
    """How they stand now."""


class DetailView(Model):
    """All there is to know of a certificate."""

    certificate: CertificateView
    pem: str | None
    """The certificate, in PEM."""
    chain: str
    """The issuer and what leads to the root, in PEM, without the root."""
    order: dict[str, Any] | None
    """The order, until it is swept."""
    evidence: dict[str, Any] | None
    """How each name was proved and which rules decided, until 30 days after the certificate's end."""
    replaces: tuple[CertificateView, ...]
    """What it replaced, the nearest first."""
    replaced_by: tuple[CertificateView, ...]
    """What replaced it, the nearest first."""
    key_blocked: bool
    """Whether its key is blocked."""


class NewRevocation(Expectation):
    """Certificates that are to be revoked."""

    reason: int = 0
    """A code of RFC 5280 §5.3.1: 0, 1, 3, 4, 5 or 9; 1 (keyCompromise) blocks their keys everywhere."""


class NewReplacement(Expectation):
    """Certificates that are to be replaced by their clients, which ask for renewal information (RFC 9773)."""

    spread: Annotated[int, Field(ge=0, le=MAX_SPREAD)] = 3600
    """The seconds within which all of them have their turn."""
    explanation_url: Link | None = None
    """A page that says why; clients show its URL."""


class ActView(Model):
    """What becomes of an act on many certificates; of a dry run: what would, with nothing done."""

    id: str | None = None
    """None for a dry run."""
    environment: str
    selection: dict[str, Any]
    total: int
    """How many certificates are concerned: those that were valid at `as_of`."""
    as_of: Instant
    digest: str | None = None
    """Which ones they are, told by a dry run: to be given back with `as_of`."""
    status: str
    """running, finished or cancelled; dry-run."""
    ordered_by: str | None = None
    ended_at: Time | None = None


class RevocationView(ActView):
    """A revocation."""

    reason: int
    revoked: int = 0
    skipped: int = 0
    """Those that expired, or were revoked by somebody else, in the meantime."""


class ReplacementView(ActView):
    """A replacement."""

    spread: int
    explanation_url: str | None = None
    replaced: int = 0
    remaining: int = 0
    """Those that are valid and not replaced."""


def _search(asked: Asked) -> Page[CertificateView]:
    query = asked.query
    found = certificates.search(
        asked.ca, selection_of(asked, query), standing=query.standing, after=query.after, limit=query.limit
    )
    return Page[CertificateView](items=tuple(map(certificate_view, found.certificates)), next=found.after)


def _detail(asked: Asked) -> DetailView:
    found = certificates.detail(asked.ca, asked.environment.name, asked.path["serial"])
    line, order = found.certificate, found.order
    return DetailView(
        certificate=certificate_view(line),
        pem=None if line.der is None else _pem(line.der),
        chain="".join(map(_pem, found.chain)),
        order=None
        if order is None
        else {"id": order.id, "status": order.status, "identifiers": order.identifiers, "profile": order.profile},
        evidence=found.evidence,
        replaces=tuple(map(certificate_view, found.replaces)),
        replaced_by=tuple(map(certificate_view, found.replaced_by)),
        key_blocked=found.key_blocked,
    )


def _revoke(asked: Asked) -> Answered:
    body, selection = asked.body, selection_of(asked, asked.body.selection)
    revocations.check_reason(body.reason)
    if asked.dry_run:
        counted = selecting.preview(asked.ca, selection, as_of=body.as_of)
        return Answered(
            RevocationView(
                environment=selection.environment,
                selection=selection.document(),
                total=counted.total,
                as_of=counted.as_of,
                digest=counted.digest,
                status="dry-run",
                reason=body.reason,
            )
        )
    made = revocations.start(asked.ca, selection, body.reason, by=asked.operator.by, expected=body.expected)
    return Answered(_revocation(made), location=f"/environments/{made.environment}/revocations/{made.id}")


def _revocations(asked: Asked) -> Page[RevocationView]:
    found = revocations.page(asked.ca, asked.environment.name, after=asked.query.after, limit=asked.query.limit)
    return Page[RevocationView](items=tuple(map(_revocation, found.revocations)), next=found.after)


def _get_revocation(asked: Asked) -> RevocationView:
    return _revocation(revocations.get(asked.ca, asked.environment.name, asked.path["id"]))


def _replace(asked: Asked) -> Answered:
    body, selection = asked.body, selection_of(asked, asked.body.selection)
    if asked.dry_run:
        counted = selecting.preview(asked.ca, selection, as_of=body.as_of)
        return Answered(
            ReplacementView(
                environment=selection.environment,
                selection=selection.document(),
                total=counted.total,
                as_of=counted.as_of,
                digest=counted.digest,
                status="dry-run",
                spread=body.spread,
                explanation_url=body.explanation_url,
                remaining=counted.total,
            )
        )
    made = replacements.start(
        asked.ca,
        selection,
        body.spread,
        by=asked.operator.by,
        explanation_url=body.explanation_url,
        expected=body.expected,
    )
    return Answered(_replacement(made), location=f"/environments/{made.environment}/replacements/{made.id}")


def _replacements(asked: Asked) -> Page[ReplacementView]:
    found = replacements.page(asked.ca, asked.environment.name, after=asked.query.after, limit=asked.query.limit)
    return Page[ReplacementView](items=tuple(map(_replacement, found.replacements)), next=found.after)


def _get_replacement(asked: Asked) -> ReplacementView:
    return _replacement(replacements.get(asked.ca, asked.environment.name, asked.path["id"]))


def _cancel(asked: Asked) -> ReplacementView:
    return _replacement(replacements.cancel(asked.ca, asked.environment.name, asked.path["id"], by=asked.operator.by))


def _revocation(one: Revocation) -> RevocationView:
    return RevocationView(
        id=one.id,
        environment=one.environment,
        selection=one.selection,
        total=one.total,
        as_of=one.as_of,
        status=one.status,
        ordered_by=one.ordered_by,
        ended_at=one.finished_at,
        reason=one.reason,
        revoked=one.revoked,
        skipped=one.skipped,
    )


def _replacement(one: Replacement) -> ReplacementView:
    return ReplacementView(
        id=one.id,
        environment=one.environment,
        selection=one.selection,
        total=one.total,
        as_of=one.as_of,
        status=one.status,
        ordered_by=one.ordered_by,
        ended_at=one.ended_at,
        spread=one.spread,
        explanation_url=one.explanation_url,
        replaced=one.replaced,
        remaining=one.remaining,
    )


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


_acting = partial(Call, method="POST", permission=Permission.OPERATE, status=201, acts=True, dry_run="own")
CALLS = (
    reading(
        path=f"{BASE}/certificates",
        summary="Search certificates",
        work=_search,
        query=Search,
        answer=Page[CertificateView],
    ),
    reading(
        path=f"{BASE}/certificates/{{serial}}",
        summary="Show a certificate with its chain, evidence and lineage",
        work=_detail,
        answer=DetailView,
    ),
    reading(
        path=f"{BASE}/revocations",
        summary="List revocations by operators",
        work=_revocations,
        query=Paged,
        answer=Page[RevocationView],
    ),
    _acting(
        path=f"{BASE}/revocations",
        summary="Revoke the valid certificates of a selection",
        work=_revoke,
        body=NewRevocation,
        answer=RevocationView,
    ),
    reading(
        path=f"{BASE}/revocations/{{id}}",
        summary="Show how far a revocation is",
        work=_get_revocation,
        answer=RevocationView,
    ),
    reading(
        path=f"{BASE}/replacements",
        summary="List mass replacements",
        work=_replacements,
        query=Paged,
        answer=Page[ReplacementView],
    ),
    _acting(
        path=f"{BASE}/replacements",
        summary="Have the valid certificates of a selection replaced by their clients",
        work=_replace,
        body=NewReplacement,
        answer=ReplacementView,
    ),
    reading(
        path=f"{BASE}/replacements/{{id}}",
        summary="Show how far a replacement is",
        work=_get_replacement,
        answer=ReplacementView,
    ),
    Call(
        method="DELETE",
        path=f"{BASE}/replacements/{{id}}",
        permission=Permission.OPERATE,
        summary="End a replacement before it is done",
        work=_cancel,
        answer=ReplacementView,
        dry_run="undone",
    ),
)
