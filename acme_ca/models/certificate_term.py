"""What certificates are looked up by beside their own columns: one row for each thing that a certificate is about.

A line of the ledger has several names, and each lies below several domains. Each of these is a *term*; the newest
certificates with a term lie together in the primary key, so that the first page costs the same however many there are:

    dns:www.example.com  ip:192.0.2.1  uri:spiffe://example.com/web    names, as the ledger writes them
    .www.example.com  .example.com  .com                               domains that a DNS name is at or below
    eab:KID  subject:SUBJECT  provider:NAME  rule:NAME                 the external account key, the workload
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from sqlalchemy import BindParameter, Column, Connection, String, Table, bindparam, insert

from acme_ca.models.base import METADATA
from acme_ca.models.prepared import Prepared

MAX_DEPTH = 10  # labels of the deepest domain that is kept; hostile names have 126
ROWS = 50  # in one statement

TERMS = Table(
    "certificate_terms",
    METADATA,
    Column("environment", String(), primary_key=True),
    Column("term", String(), primary_key=True),
    Column("certificate_id", String(), primary_key=True),
    sqlite_with_rowid=False,  # the key is the whole row
)


def domain_terms(name: str) -> Iterator[str]:
    """Yield a term for each domain that a DNS name is at or below; a wildcard is at the name after its `*.`."""
    labels = name.removeprefix("*.").split(".")
    for first in range(max(0, len(labels) - MAX_DEPTH), len(labels)):
        yield "." + ".".join(labels[first:])


def terms_of(
    names: Sequence[str], eab_kid: str | None, subject: str | None, provider: str | None, rule: str | None
) -> list[str]:
    """Return the terms of a certificate with these names, written as `type:value`; `rule` is without its version."""
    terms = dict.fromkeys(names)
    for name in names:
        kind, _, value = name.partition(":")
        if kind == "dns":
            terms.update(dict.fromkeys(domain_terms(value)))
    others = (("eab", eab_kid), ("subject", subject), ("provider", provider), ("rule", rule))
    return [*terms, *(f"{kind}:{value}" for kind, value in others if value is not None)]


def add_terms(connection: Connection, environment: str, certificate_id: str, terms: Sequence[str]) -> None:
    """Add the terms of one certificate."""
    for start in range(0, len(terms), ROWS):
        rows = terms[start : start + ROWS]
        values = {f"term{number}": term for number, term in enumerate(rows)}
        _insertion(len(rows)).change(
            connection, {"environment": environment, "certificate_id": certificate_id, **values}
        )


@cache
def _insertion(count: int) -> Prepared:
    shared: dict[str, BindParameter[str]] = {
        "environment": bindparam("environment"),
        "certificate_id": bindparam("certificate_id"),
    }
    return Prepared(insert(TERMS).values([{**shared, "term": bindparam(f"term{n}")} for n in range(count)]))
