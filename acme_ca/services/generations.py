"""Generations of issuers: begun, staged, in force, retired. Each step is one transaction, with its audit event.

Between two steps nothing is lost when a process dies: a claim that ran out is taken over, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.config import Config
from acme_ca.db import AlreadyThereError, Database
from acme_ca.issuers.lines import Line, read
from acme_ca.keys import numbered
from acme_ca.models import base
from acme_ca.models import generation as models
from acme_ca.models.certificate import CERTIFICATES, CertificateStatus
from acme_ca.models.generation import Generation
from acme_ca.pki.generations import SETTLING, Stage, active_since, last_leaf_at
from acme_ca.problems import Conflict, Contended, Malformed, NotFound
from acme_ca.public_keys import PublicKey, spki_sha256
from acme_ca.services import audit

LEASE = timedelta(minutes=5)  # how long it may take to make a key and to sign with the root's

log = structlog.get_logger(__name__)


def lines(database: Database, config: Config, environment: str) -> list[Line]:
    """Return the lines of an environment as the database has them now; raises ValueError and OSError."""
    return read(database, config, environment)


def next_of(config: Config, line: Line, taken: Sequence[str] = ()) -> Generation:
    """Return the generation that is to follow: the one that is prepared already, or a new one that is in no table yet.

    Raises Malformed when one is staged, which has to sign first.
    """
    if line.prepared is not None:
        return line.prepared.copy()
    now = clock.now()
    staged = [id_ for id_, stage in line.stages(now).items() if stage is Stage.STAGED]
    if staged:
        since = active_since(line.spans, line.rules.longest, now)[staged[0]]
        raise Malformed(f"{staged[0]} is staged already, and signs from {clock.rfc3339(since)}: it has to sign first")
    names = {issuer.name for _, issuer in config.issuers}.union(taken)
    number = line.generations[-1].number + 1
    while (name := numbered(line.settings.name, number)) in names:
        number += 1
    return Generation(
        id=name, environment=line.environment, line=line.settings.name, number=number, created_at=clock.now()
    )


def begin(database: Database, line: Line, generation: Generation, claimant: str) -> Generation:
    """Claim the preparation of a generation; raises Conflict and Contended when somebody else is at it."""
    now = clock.now()
    until = now + LEASE
    try:
        with database.write(durable=True) as connection:
            if line.prepared is None:
                _keep_first(connection, line)
                generation.claimed_by, generation.due_at = claimant, until
                base.insert(connection, generation)
                return generation
            if generation.due_at is not None and generation.due_at > now:
                raise Conflict(
                    f"{generation.claimed_by} prepares {generation.id}; if it died, repeat this after "
                    f"{clock.rfc3339(generation.due_at)}"
                )
            if not models.claim_again(connection, generation, claimant, until):
                raise Contended
    except AlreadyThereError as error:
        raise Contended from error
    with database.read() as connection:
        return base.get_one(connection, Generation, generation.id)


def wait(database: Database, generation: Generation, key: PublicKey | None, *, by: str) -> None:
    """End the claim: the generation waits for its certificate, or for somebody who tries again."""
    with database.write(durable=True) as connection:
        if not models.release(connection, generation):
            return  # it was taken over
        if key is not None:
            audit.record(
                connection,
                generation.environment,
                "issuer.requested",
                generation.id,
                by=by,
                line=generation.line,
                key_sha256=spki_sha256(key).hex(),
            )


def stage(database: Database, line: Line, id_: str, path: Sequence[x509.Certificate], *, by: str) -> datetime:
    """Publish a generation: its certificate, what is above it, and the root. Return when it signs.

    Raises Contended when somebody else did, and NotFound.
    """
    now = clock.now()
    certificate, *above, root = path
    activates_at = line.rules.activation(line.newest, now)
    with database.write(durable=True) as connection:
        generation = base.get(connection, Generation, id_, lock=True)
        if generation is None:
            raise NotFound(f"nobody prepares an issuer {id_}")
        if generation.certificate is not None:
            raise Contended
        chain = "".join(map(_pem, above))
        generation.publish(_pem(certificate), chain, _pem(root), now, activates_at)
        base.update(connection, generation)
        audit.record(
            connection,
            generation.environment,
            "issuer.staged",
            generation.id,
            by=by,
            line=generation.line,
            serial=f"{certificate.serial_number:x}",
            key_sha256=spki_sha256(certificate.public_key()).hex(),  # type: ignore[arg-type]  # it was checked
            root=root.subject.rfc4514_string(),
            not_after=clock.rfc3339(certificate.not_valid_after_utc),
            signs_from=clock.rfc3339(activates_at),
        )
    return activates_at


def keep_up(ca: Authority) -> int:
    """Tell the audit trail who signs now, and retire those of whom no leaf lives; return how much there was to do."""
    now = clock.now()
    done = 0
    for name, environment in ca.environments.items():
        for line in lines(ca.database, ca.config, name):
            stages = line.stages(now)
            if not is_distrusted(environment, line, stages):  # else the one before may have to sign, and stays
                done += sum(_keep_up(ca, line, one, stages[one.id], now) for one in reversed(line.generations))
    return done


def _keep_up(ca: Authority, line: Line, generation: Generation, found: Stage, now: datetime) -> bool:
    if generation.retired_at is not None:
        return False
    if found is Stage.ACTIVE and generation.number > 1 and generation.told != found:
        since = active_since(line.spans, line.rules.longest, now)[generation.id]
        return _activated(ca.database, line, generation, since)
    if found is Stage.RETIRED or (found is Stage.RETIRING and _has_settled(line, generation, now)):
        return not _has_leafs(ca.database, generation, now) and _retired(ca.database, generation, now)
    return False


def is_distrusted(environment: Environment, line: Line, stages: Mapping[str, Stage] | None = None) -> bool:
    """Whether the one that would sign may not; without `stages`, the newest one of the line."""
    stages = {line.newest.id: Stage.ACTIVE} if stages is None else stages
    active = [line.paths[id_][0].public_key() for id_, found in stages.items() if found is Stage.ACTIVE]
    return any(spki_sha256(key) in environment.distrusted for key in active)  # type: ignore[arg-type]  # EC or RSA


def _activated(database: Database, line: Line, generation: Generation, since: datetime) -> bool:
    before = [one.id for one in line.generations if one.number < generation.number and one.retired_at is None]
    with database.write(durable=True) as connection:
        if not models.tell(connection, generation, Stage.ACTIVE, since):
            return False  # another worker did
        audit.record(
            connection,
            generation.environment,
            "issuer.activated",
            generation.id,
            line=generation.line,
            since=clock.rfc3339(since),
            instead_of=before,
        )
    return True


def _retired(database: Database, generation: Generation, now: datetime) -> bool:
    try:
        with database.write(durable=True) as connection:
            row = base.get(connection, Generation, generation.id, lock=True)
            if row is None or row.retired_at is not None:
                return False
            row.retire(now)
            base.update(connection, row)
            audit.record(connection, row.environment, "issuer.retired", row.id, line=row.line)
    except Contended:
        return False
    return True


def _has_settled(line: Line, generation: Generation, now: datetime) -> bool:
    last = last_leaf_at(line.spans, line.rules.longest, now, generation.id)
    return last is not None and last + SETTLING <= now


def _has_leafs(database: Database, generation: Generation, now: datetime) -> bool:
    """Whether a certificate of it lives, whatever was offered when it was issued."""
    columns = CERTIFICATES.c
    living = select(columns.id).where(
        columns.issuer_id == generation.id,
        columns.not_after > now,
        columns.status != CertificateStatus.ABANDONED.value,
    )
    with database.read() as connection:
        return connection.execute(living.limit(1)).first() is not None


def _keep_first(connection: Connection, line: Line) -> None:
    """Remember the generation of the configuration, to know later that it is retired."""
    first = line.generations[0]
    if base.get(connection, Generation, first.id) is None:
        base.insert(connection, first.copy())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
