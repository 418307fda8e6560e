"""Numbered versions of what is in force: policies, kept for whoever asks later why, roots and SPIFFE bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.version import Version, digest_of, newest, next_version
from acme_ca.pki import bundle
from acme_ca.policies_in_force import POLICY
from acme_ca.services import anchors, audit
from acme_ca.services.anchors import ROOTS

BUNDLE, WORKLOAD_POLICY = "bundle", "workload-policy"


def keep(ca: Authority) -> int:
    """Add what came into force with this process's configuration, or with issuers; return how many versions are new.

    Once for each configuration: a process that has yet to be restarted must not bring an older one back.
    """
    environments = ca.environments.values()
    if ca.versions_kept and ca.bundles_kept:
        return 0
    is_first = not ca.versions_kept
    kinds = (POLICY, WORKLOAD_POLICY, ROOTS, BUNDLE) if is_first else (ROOTS, BUNDLE)
    ca.versions_kept = ca.bundles_kept = True
    try:
        new = sum(
            _keep(ca, environment.name, kind, document)[1]
            for environment in environments
            for kind, document in _in_force(environment)
            if kind in kinds
        )
    except BaseException:
        ca.versions_kept = ca.bundles_kept = False
        raise
    for environment in environments if is_first else ():
        anchors.tell(ca.database, environment)
    return new


def spiffe_bundle(ca: Authority, environment: Environment) -> dict[str, Any]:
    """Return the environment's newest bundle, whichever process brought it.

    Its sequence number grows with every change and never goes back.
    """
    document, number = _newest(ca, environment, BUNDLE, _bundle(environment))
    return {**document, "spiffe_sequence": number}


def roots(ca: Authority, environment: Environment) -> tuple[str, int]:
    """Return the environment's newest roots in PEM, whichever process brought them, and their number, as a bundle's."""
    document, number = _newest(ca, environment, ROOTS, bundle.roots(environment.roots))
    return "".join(document["roots"]), number


def renew_bundle(connection: Connection, environment: Environment) -> None:
    """Publish the bundle of an environment as it is from the caller's transaction on, if it has one that differs."""
    if environment.settings.trust_domain is None:
        return
    document, found = _bundle(environment), newest(connection, environment.name, BUNDLE)
    if found is None or found.digest != digest_of(document):
        _add(connection, next_version(found, environment.name, BUNDLE, document, clock.now()))


def _newest(
    ca: Authority, environment: Environment, kind: str, document: Mapping[str, Any]
) -> tuple[Mapping[str, Any], int]:
    with ca.database.read() as connection:
        found = newest(connection, environment.name, kind)
    if found is not None:
        return found.document, found.number
    return document, _keep(ca, environment.name, kind, document)[0]


def _in_force(environment: Environment) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if environment.policy_number is None:  # what was applied has a version already
        yield POLICY, environment.policy.document()
    if environment.workloads is not None:
        yield WORKLOAD_POLICY, environment.workloads.document()
    yield ROOTS, bundle.roots(environment.roots)
    if environment.settings.trust_domain is not None:
        yield BUNDLE, _bundle(environment)


def _bundle(environment: Environment) -> Mapping[str, Any]:
    """Return the bundle of those who signed what still lives, sign now, or will."""
    return bundle.authorities(issuer.certificate for issuer in environment.published)


def _keep(ca: Authority, environment: str, kind: str, document: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the number of the version with this document, and whether it is new; what was applied stays the newest."""
    with ca.database.read() as connection:
        found = newest(connection, environment, kind)
    if found is not None and (found.digest == digest_of(document) or found.created_by is not None):
        return found.number, False
    new = next_version(found, environment, kind, document, clock.now())
    try:
        with ca.database.write(durable=True) as connection:
            _add(connection, new)
    except AlreadyThereError:  # another process was first: look again
        return _keep(ca, environment, kind, document)
    return new.number, True


def _add(connection: Connection, new: Version) -> None:
    base.insert(connection, new)
    audit.record(connection, new.environment, f"{new.kind}.changed", new.key, digest=new.digest)
