"""The audit trail, read in this process: what `acme-ca audit` does without the admin API. docs/audit.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from acme_ca.cli.options import counted, refuse
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.keys import KeyAway, KeyUnavailableError
from acme_ca.models.audit_chain import AUDIT_SEALS, Checkpoint, chain_end
from acme_ca.services import audit_checkpoints, audit_events, audit_verify
from acme_ca.sinks import SealedEvent

BATCH = 1000  # events read at once


def end(database: Database) -> int:
    """Return the place of the newest sealed event; 0 when there is none."""
    with database.read() as connection:
        return chain_end(connection).seq


def sealed(database: Database, after: int) -> Iterator[SealedEvent]:
    """Yield the sealed events after a place, in the order of the chain."""
    while True:
        with database.read() as connection:
            found = audit_events.sealed_events(connection, AUDIT_SEALS.c.seq > after, BATCH)
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1].seq


def newest_checkpoint(database: Database) -> dict[str, Any]:
    """Return the newest checkpoint as it is exported, or end with exit code 1."""
    found = audit_checkpoints.checkpoints(database, limit=1)
    if not found:
        refuse("there is no checkpoint yet; the worker signs them if [audit] has a key")
    return audit_checkpoints.document(found[0])


def verify(
    config: Config,
    database: Database,
    key_files: Sequence[Path],
    kept: Sequence[Path],
    progress: Callable[[int, int], None],
) -> audit_verify.Verdict:
    """Read the whole trail; ends with exit code 1 when a key, a checkpoint or the end of the chain cannot be had."""
    keys = [_public_key(path) for path in key_files] or _configured_keys(config)
    checkpoints = [_checkpoint(path) for path in kept]
    try:
        return audit_verify.verify(database, keys, checkpoints, progress, _rhythm(config))
    except LookupError as error:
        refuse(f"the row that says where the chain ends was deleted: {error}")


def document(verdict: audit_verify.Verdict) -> dict[str, Any]:
    """Render a verdict for `--json`."""
    return {
        "good": verdict.is_good,
        "events": verdict.events,
        "checkpoints": verdict.checkpoints,
        "unsealed": verdict.unsealed,
        "seq": verdict.seq,
        "hash": verdict.hash.hex(),
        "untold": dict(verdict.untold),
        "findings": [
            {"seq": finding.seq, "kind": finding.kind, "detail": finding.detail} for finding in verdict.findings
        ],
    }


def lines(verdict: audit_verify.Verdict) -> Iterator[str]:
    """Yield a verdict for people."""
    for finding in verdict.findings:
        yield f"{finding.seq}: {finding.kind}: {finding.detail}"
    for kind, count in verdict.untold.items():
        yield f"and {count} more of the kind {kind}"
    yield f"{counted(verdict.events, 'event')} up to place {verdict.seq}, hash {verdict.hash.hex()}"
    yield f"{counted(verdict.checkpoints, 'checkpoint')}; {counted(verdict.unsealed, 'event')} not sealed yet"
    count = len(verdict.findings) + verdict.untold.total()
    yield "Nothing is wrong." if verdict.is_good else f"{counted(count, 'finding')}."


def _public_key(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        refuse(f"{path} is not a public key in PEM: {error}")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        refuse(f"{path} is not the public key of an EC key")
    return key


def _configured_keys(config: Config) -> list[ec.EllipticCurvePublicKey]:
    """Return the public keys of [audit]; the private one is opened only if the public one's file is gone."""
    keys = [_public_key(path) for path in config.audit.former_keys]
    backend = config.audit.key
    if backend is None:
        return keys
    if config.audit_public_key.exists():
        return [*keys, _public_key(config.audit_public_key)]
    try:
        key = backend.open().public_key()
    except (KeyUnavailableError, KeyAway) as error:
        refuse(str(error))
    return [*keys, *([key] if isinstance(key, ec.EllipticCurvePublicKey) else [])]


def _rhythm(config: Config) -> audit_verify.Rhythm | None:
    """Return how often checkpoints are signed; None where nobody signs any."""
    settings = config.audit
    if settings.key is None:
        return None
    return audit_verify.Rhythm(settings.checkpoint_events, settings.checkpoint_interval)


def _checkpoint(path: Path) -> Checkpoint:
    try:
        return audit_checkpoints.from_document(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        refuse(f"{path}: {error}; expected what `acme-ca audit checkpoint` printed")
