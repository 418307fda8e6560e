"""The next generation of an issuer: its key, beside the present one, and its certificate, if the root's key is here.

Otherwise there is a request for its certificate, which a ceremony elsewhere signs; `acme-ca issuer import` takes it.
Every step can be repeated: what a process that died left behind is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography import x509

from acme_ca import clock, public_keys
from acme_ca.ceremony.configured import intermediate
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.issuers import Import, Request, request
from acme_ca.ceremony.wanted import Wanted, common_name, wanted
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.issuers import key_of
from acme_ca.issuers.lines import Line
from acme_ca.keys import AnyKey
from acme_ca.models.generation import Generation
from acme_ca.pki import authority_check
from acme_ca.pki.authority_check import Asked
from acme_ca.pki.constraints import Subtrees
from acme_ca.pki.generations import SETTLING, Span
from acme_ca.services import generations, policies
from acme_ca.vocabulary import KeyType


@dataclass(frozen=True, slots=True)
class Plan:
    """What would come of a rotation now. `not_after` is None when a root elsewhere decides it."""

    line: Line
    wanted: Wanted
    generation: Generation
    kind: KeyType
    root: x509.Certificate
    root_key: AnyKey | None
    """The root's key, if it is here."""
    staged_at: datetime
    signs_from: datetime
    not_after: datetime | None
    refusals: tuple[str, ...] = ()

    @property
    def last_leaf_at(self) -> datetime:
        """When the last leaf of the present one ends at the latest."""
        return min(self.line.newest.ends_at, self.signs_from + self.line.rules.longest)

    @property
    def retires_at(self) -> datetime:
        """When nothing is left to serve for the present one."""
        return min(self.line.newest.ends_at, self.last_leaf_at + SETTLING)

    @property
    def span(self) -> Span | None:
        """The times of the next one, if its end is known."""
        if self.not_after is None:
            return None
        return Span(self.generation.id, self.generation.number, self.staged_at, self.signs_from, self.not_after)


@dataclass(slots=True)
class Rotated:
    """What was done: the generation is staged and signs from a moment, or waits for the certificate of its request."""

    plan: Plan
    signs_from: datetime | None = None
    request: Request | None = None
    made: list[object] = field(default_factory=list)


def find(found: list[Line], name: str | None) -> Line:
    """Return the line of that name, or the only one; raises CeremonyError."""
    names = ", ".join(line.settings.name for line in found)
    if name is None and len(found) > 1:
        raise CeremonyError(f"which issuer is to be followed by another one? There are {names}")
    for line in found:
        if name in {None, line.settings.name}:
            return line
    raise CeremonyError(f"there is no issuer {name!r}; there are {names}")


def plan(config: Config, database: Database, line: Line, root_key: AnyKey | None) -> Plan:
    """Return what would come of a rotation now, with what stands in its way; raises Malformed, ValueError, OSError.

    `root_key` is the root's, which may not be there. It signs only what hangs directly below the root.
    """
    taken = [one.id for other in _others(config, database) for one in other.generations]
    generation = generations.next_of(config, line, taken)
    if line.settings.chain or root_key is None or not root_key.exists():
        root_key = None
    now = clock.now()
    root = line.paths[line.generations[0].id][-1]
    lifetime = timedelta(seconds=config.environment[line.environment].rotation.lifetime)
    found = Plan(
        line=line,
        wanted=wanted_for(config, database, line, generation),
        generation=generation,
        kind=public_keys.check(line.paths[line.newest.id][0].public_key()),
        root=root,
        root_key=root_key,
        staged_at=now,
        signs_from=line.rules.activation(line.newest, now),
        not_after=None if root_key is None else min(now + lifetime, root.not_valid_after_utc),
    )
    return replace(found, refusals=tuple(_refusals(found)))


def rotate(config: Config, database: Database, plan: Plan, claimant: str, *, by: str) -> Rotated:
    """Do what was planned; raises CeremonyError, KeyUnavailableError, KeyAway, OSError, and Contended."""
    if plan.refusals:
        raise CeremonyError("\n".join(plan.refusals))
    generation = generations.begin(database, plan.line, plan.generation, claimant)
    done = Rotated(plan)
    try:
        backend = key_of(plan.line.settings, generation.number)
        done.request = request(plan.wanted, None if _is_there(plan, backend) else plan.kind)
        done.made += done.request.made
        if plan.root_key is None:
            generations.wait(database, generation, done.request.key, by=by)
            return done
        certificate = _signed(config, plan, done.request, plan.root_key)
    except BaseException:
        generations.wait(database, generation, None, by=by)
        raise
    done.signs_from = generations.stage(database, plan.line, generation.id, (certificate, plan.root), by=by)
    done.request = None
    return done


def wanted_for(config: Config, database: Database, line: Line, generation: Generation) -> Wanted:
    """Return what the certificate of a generation is asked for: what the configuration asks, under its own name.

    The networks of the policy that operators applied belong to it: the configuration may know less.
    """
    first = next(one for one in wanted(config) if one.place == line.environment and one.issuer == line.settings)
    settings = line.settings.model_copy(
        update={
            "name": generation.id,
            "key": key_of(line.settings, generation.number),
            "certificate": line.settings.certificate.with_name(f"{generation.id}.pem"),
        }
    )
    in_force = policies.in_force(database, line.environment, config.environment[line.environment])
    applied = (network for rule in in_force.document.rules if not rule.deny for network in rule.ip)
    own = common_name(config, generation.id)
    return replace(first, issuer=settings, common_name=own, ips=tuple(dict.fromkeys((*first.ips, *applied))))


def prepared(config: Config, database: Database) -> list[tuple[Line, Wanted]]:
    """Return what waits for its certificate; raises ValueError and OSError."""
    return [
        (line, wanted_for(config, database, line, line.prepared))
        for line in _others(config, database)
        if line.prepared is not None
    ]


def take(database: Database, line: Line, found: Import, *, by: str) -> datetime:
    """Publish a generation whose certificate was signed elsewhere; return when it signs. Raises as `stage`."""
    path = (found.certificate, *found.chain, line.paths[line.generations[0].id][-1])
    if min(one.not_valid_after_utc for one in path) <= line.newest.ends_at:
        raise CeremonyError(f"it ends before {line.newest.id}, which it is to follow: it would be of no use")
    return generations.stage(database, line, found.issuer.issuer.name, path, by=by)


def _others(config: Config, database: Database) -> list[Line]:
    return [line for name in config.environment for line in generations.lines(database, config, name)]


def _is_there(plan: Plan, backend: AnyKey) -> bool:
    """Whether the key is there already. One that nobody prepared is somebody else's."""
    if not backend.exists():
        return False
    if plan.line.prepared is None:
        raise CeremonyError(
            f"{backend} is there already, and no rotation made it: if it is for {plan.generation.id}, repeat the "
            "command, otherwise remove it first"
        )
    return True


def _signed(config: Config, plan: Plan, asked: Request, root_key: AnyKey) -> x509.Certificate:
    """Return the certificate by the root whose key is here, after the look that one from elsewhere gets."""
    key = root_key.open()
    if key.public_key() != plan.root.public_key():
        raise CeremonyError(f"{root_key} is of another root than {plan.line.settings.root}")
    lifetime = timedelta(seconds=config.environment[plan.line.environment].rotation.lifetime)
    certificate = intermediate(config, plan.wanted, (plan.root, key), asked.key, lifetime)
    names = Subtrees(plan.wanted.dns, plan.wanted.ips)
    needs = Asked(asked.key, names, plan.wanted.usages, plan.wanted.longest)
    found = authority_check.misfits((certificate, plan.root), needs, clock.now())
    if found:
        raise CeremonyError("the certificate would not do:\n" + "\n".join(f"  {one}" for one in found))
    return certificate


def _refusals(plan: Plan) -> Iterator[str]:
    """Yield why the next one would be of no use."""
    line, span = plan.line, plan.span
    if span is None:
        return
    by_root = plan.not_after == plan.root.not_valid_after_utc
    if line.rules.due_at(span) <= plan.signs_from:
        least = line.rules.longest + line.rules.before + 2 * line.rules.ahead
        why = (
            f"the root ends at {clock.rfc3339(plan.root.not_valid_after_utc)}: put another root above it first"
            if by_root
            else f"rotation.lifetime is too short for the rest of [environment.{line.environment}.rotation]"
        )
        yield f"{span.id} would have to be followed by another one before it signs: it needs {least} and more; {why}"
    elif span.ends_at <= line.newest.ends_at:
        ends = clock.rfc3339(line.newest.ends_at)
        yield f"{span.id} would not live longer than {line.newest.id}, which ends at {ends}"
