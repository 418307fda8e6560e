"""Distrust of an issuer, after its key was compromised: it signs nothing any more, and what it signed is replaced.

A row says so; every process looks for it once a second (`policies_in_force.py`). What was being signed until then is
settled before the worker counts the certificates and begins their replacement. The issuer's lists and OCSP responses
are published as before: relying parties need them until the last of its certificates ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.certificate import CERTIFICATES, serial_text
from acme_ca.models.distrusted_issuer import DISTRUSTED_ISSUERS, DistrustedIssuer, distrusted_issuers
from acme_ca.models.replacement import Replacement, ReplacementStatus
from acme_ca.models.selection import Selection, standing_at
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import Conflict, NotFound, ServiceUnavailable
from acme_ca.services import audit, replacements, versions

SETTLING = timedelta(seconds=5)  # after which every process knows, and what was claimed before is in the ledger


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator wants done about an issuer.

    Its certificates are to be replaced within `spread` seconds. `unpublish` takes it out of the SPIFFE bundle at once,
    and `force` goes on although nobody would be left to sign.
    """

    reason: str
    spread: int
    explanation_url: str | None = None
    unpublish: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the end of an issuer is: `live` certificates of it are valid, of which `remaining` have no successor.

    `replacement` is None until the worker began it. `published` is None where there is no SPIFFE bundle.
    """

    issuer: DistrustedIssuer
    replacement: Replacement | None
    live: int
    replaced: int
    remaining: int
    ends_at: datetime | None
    published: bool | None
    others: tuple[str, ...]


def plan(ca: Authority, environment: Environment, issuer_id: str, wish: Wish, *, by: str) -> Standing:
    """Return what distrust would be about, after every check. Raises NotFound, Conflict and Malformed."""
    issuer = _configured(environment, issuer_id)
    replacements.check_spread(wish.spread)
    if not environment.trusts(issuer):
        raise Conflict(f"issuer {issuer_id} is distrusted already; `acme-ca issuer distrusted` shows how far it is")
    after = _without(environment, issuer, published=not wish.unpublish)
    if not wish.force:
        _require_others(after, issuer)
    if wish.unpublish:
        _require_bundle(after)
    row = DistrustedIssuer(
        key_sha256=issuer.key_sha256,
        environment=environment.name,
        issuer_id=issuer.id,
        serial=serial_text(issuer.certificate.serial_number),
        reason=wish.reason,
        spread=wish.spread,
        explanation_url=wish.explanation_url,
        ordered_by=by,
        created_at=clock.now(),
    )
    if wish.unpublish:
        row.unpublished_at = row.created_at
    with ca.database.read() as connection:
        return _standing(connection, after, row)


def distrust(ca: Authority, environment: Environment, issuer_id: str, wish: Wish, *, by: str) -> Standing:
    """Let an issuer sign nothing from now on, and its certificates be replaced. Raises what `plan` does."""
    found = plan(ca, environment, issuer_id, wish, by=by)
    row, issuer = found.issuer, _configured(environment, issuer_id)
    try:
        with ca.database.write(durable=True) as connection:
            base.insert(connection, row)
            _audit(connection, row, "issuer.distrusted", by, reason=row.reason, spread=row.spread)
            if wish.unpublish:
                versions.renew_bundle(connection, _without(environment, issuer, published=False))
    except AlreadyThereError as error:
        raise Conflict(f"issuer {issuer_id} is distrusted already, by somebody at the same moment") from error
    ca.see_policies()
    return found


def trust(ca: Authority, environment: Environment, issuer_id: str, *, by: str) -> DistrustedIssuer:
    """Take distrust back: it signs again, and what is left of the replacement ends. Raises NotFound."""
    with ca.database.write(durable=True) as connection:
        row = _row(connection, environment, issuer_id, lock=True)
        going_on = _replacement(connection, row, lock=True)
        if going_on is not None and going_on.status == ReplacementStatus.RUNNING:
            replacements.end(connection, going_on, by=by)
        connection.execute(DISTRUSTED_ISSUERS.delete().where(DISTRUSTED_ISSUERS.c.key_sha256 == row.key_sha256))
        left = {key: published for key, published in environment.distrusted.items() if key != row.key_sha256}
        versions.renew_bundle(connection, replace(environment, distrusted=left))
        _audit(connection, row, "issuer.trusted", by)
    ca.see_policies()
    return row


def unpublish(ca: Authority, environment: Environment, issuer_id: str, *, force: bool, by: str) -> Standing:
    """Take a distrusted issuer out of the SPIFFE bundle: nothing that it signed is valid for workloads any more.

    Raises NotFound, and Conflict while certificates remain that have no successor, unless by `force`.
    """
    with ca.database.write(durable=True) as connection:
        row = _row(connection, environment, issuer_id, lock=True)
        after = replace(environment, distrusted={**environment.distrusted, row.key_sha256: False})
        _require_bundle(after)
        found = _standing(connection, after, row)
        if found.remaining and not force:
            raise Conflict(
                f"{found.remaining} valid certificates of issuer {issuer_id} have no successor yet, and would fail at "
                "once wherever the bundle is used; wait until none remains, or force it"
            )
        if row.unpublished_at is None:
            row.unpublished_at = clock.now()
            base.update(connection, row)
            versions.renew_bundle(connection, after)
            _audit(connection, row, "issuer.unpublished", by, remaining=found.remaining)
    ca.see_policies()
    return replace(found, published=False)


def show(ca: Authority, environment: Environment, issuer_id: str) -> Standing:
    """Return how far the end of a distrusted issuer is; raises NotFound."""
    with ca.database.read() as connection:
        return _standing(connection, environment, _row(connection, environment, issuer_id))


def listing(ca: Authority, environment: Environment) -> list[Standing]:
    """Return how far the ends of all distrusted issuers of an environment are."""
    with ca.database.read() as connection:
        rows = [row for row in distrusted_issuers(connection) if row.environment == environment.name]
        return [_standing(connection, environment, row) for row in rows]


def begin_replacements(ca: Authority) -> int:
    """Begin to replace the certificates of issuers that were distrusted a moment ago; return how many issuers."""
    now, begun = clock.now(), 0
    with ca.database.read() as connection:
        new = [row for row in distrusted_issuers(connection) if row.replacement_id is None]
    for row in new:
        if row.environment in ca.environments and row.created_at + SETTLING <= now:
            begun += _begin_replacement(ca, row, now)
    return begun


def _begin_replacement(ca: Authority, row: DistrustedIssuer, now: datetime) -> bool:
    ca.database.settle()  # what was claimed until then is there to be counted
    selection = _selection(row)
    made = replacements.counted(
        ca, selection, row.spread, by=row.ordered_by, explanation_url=row.explanation_url, as_of=now
    )
    with ca.database.write(durable=True) as connection:
        held = base.get(connection, DistrustedIssuer, row.key_sha256, lock=True)
        if held is None or held.replacement_id is not None:  # trusted again, or begun by another worker
            return False
        replacements.begin(connection, made)
        held.replacement_id = made.id
        base.update(connection, held)
    return True


def _standing(connection: Connection, environment: Environment, row: DistrustedIssuer) -> Standing:
    now, replacement = clock.now(), _replacement(connection, row)
    living, standing = _selection(row).living(connection, now), standing_at(now)
    waiting = living.count(standing, CERTIFICATES.c.replaced_by.is_(None), with_claimed=True)
    has_bundle = environment.settings.trust_domain is not None
    return Standing(
        issuer=row,
        replacement=replacement,
        live=connection.scalar(living.count(standing, with_claimed=True)) or 0,
        replaced=0 if replacement is None else replacements.progress(connection, replacement, now)[0],
        remaining=connection.scalar(waiting) or 0,
        ends_at=connection.scalar(living.end(standing)),
        published=row.unpublished_at is None if has_bundle else None,
        others=_others(environment, now),
    )


def _others(environment: Environment, now: datetime) -> tuple[str, ...]:
    """Return who signs leafs instead: those whose turn it is, else the one that would come before its time."""
    if found := tuple(issuer.id for issuer in environment.issuers if environment.trusts(issuer)):
        return found
    profile = environment.profiles[environment.settings.default_profile]
    try:
        return (environment.issuer(now, timedelta(seconds=profile.lifetime), profile).id,)
    except ServiceUnavailable:
        return ()


def _replacement(connection: Connection, row: DistrustedIssuer, *, lock: bool = False) -> Replacement | None:
    return None if row.replacement_id is None else base.get(connection, Replacement, row.replacement_id, lock=lock)


def _selection(row: DistrustedIssuer) -> Selection:
    return Selection(environment=row.environment, issuer_id=row.issuer_id)


def _row(connection: Connection, environment: Environment, issuer_id: str, *, lock: bool = False) -> DistrustedIssuer:
    columns = DISTRUSTED_ISSUERS.c
    wanted = base.select(
        DistrustedIssuer, columns.environment == environment.name, columns.issuer_id == issuer_id
    ).order_by(columns.created_at.desc())
    found = base.find(connection, DistrustedIssuer, wanted.with_for_update() if lock else wanted)
    if not found:
        raise NotFound(f"environment {environment.name} distrusts no issuer {issuer_id[:64]!a}")
    return found[0]


def _configured(environment: Environment, issuer_id: str) -> Issuer:
    found = next((issuer for issuer in environment.all_issuers if issuer.id == issuer_id), None)
    if found is None:
        there = ", ".join(issuer.id for issuer in environment.all_issuers)
        raise NotFound(f"environment {environment.name} has no issuer {issuer_id[:64]!a}; there are {there}")
    return found


def _without(environment: Environment, issuer: Issuer, *, published: bool) -> Environment:
    distrusted: Mapping[bytes, bool] = {**environment.distrusted, issuer.key_sha256: published}
    return replace(environment, distrusted=distrusted)


def _require_others(after: Environment, issuer: Issuer) -> None:
    """Raise Conflict when nobody would be left who signs what the issuer did."""
    if issuer in after.sub_cas:
        if issuer is not after.sub_cas[0]:
            return
        consequence = "no sub-CA would be signed until `sub_ca` names another issuer"
    else:
        try:
            for profile in after.profiles.values():
                after.issuer(clock.now(), timedelta(seconds=profile.lifetime), profile)
        except ServiceUnavailable:
            consequence = "orders would be answered 503 until another issuer is configured, or lives long enough"
        else:
            return
    raise Conflict(f"no other issuer of environment {after.name} can sign: {consequence}; force it, if that is better")


def _require_bundle(after: Environment) -> None:
    if after.settings.trust_domain is None:
        raise Conflict(f"environment {after.name} has no trust domain, and so no SPIFFE bundle")
    if not after.published:
        raise Conflict(f"the SPIFFE bundle of environment {after.name} would be empty; configure another issuer first")


def _audit(connection: Connection, row: DistrustedIssuer, event: str, by: str, **details: Any) -> None:  # noqa: ANN401 - whatever JSON carries
    audit.record(
        connection,
        row.environment,
        event,
        row.issuer_id,
        by=by,
        issuer_key=row.key_sha256.hex(),
        serial=row.serial,
        **details,
    )
