"""The issuers of leafs: whether each generation that is published opens here, and whether the next one is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from acme_ca.clock import rfc3339
from acme_ca.db import Database
from acme_ca.doctor.findings import Finding, Host
from acme_ca.issuers.lines import Line, lines_of
from acme_ca.issuers.opening import Places, load_generation
from acme_ca.keys import KeyAway, KeyUnavailableError
from acme_ca.models.generation import Generation, generations
from acme_ca.pki.generations import Stage
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import SecretUnavailableError

UNOPENED = (KeyUnavailableError, KeyAway, SecretUnavailableError, OSError, ValueError)
FITTING = "a key that fits the certificate"


def look(host: Host, environment: str, found: list[Issuer]) -> Iterator[Finding]:
    """Open the issuers of an environment, which are added to `found`, the newest of each line first."""
    rows = _rows(host)
    for number, settings in enumerate(host.config.environment[environment].issuer):
        place = f"environment.{environment}.issuer[{number}]"
        try:
            (line,) = lines_of(host.config, environment, rows, [settings])
        except (OSError, ValueError) as error:
            yield Finding("KEY001", place, str(error), FITTING)
            continue
        yield from _opened(host, line, place, found)
        yield from _due(host, line)


def _opened(host: Host, line: Line, place: str, found: list[Issuer]) -> Iterator[Finding]:
    stages, places = line.stages(host.now), Places.of(host.config, line.environment)
    for one in reversed(line.generations):
        if stages[one.id] not in {Stage.PREPARING, Stage.RETIRED}:
            try:
                found.append(load_generation(line.settings, one, places))
            except UNOPENED as error:
                yield Finding("KEY001", place if one.number == 1 else f"{place}: {one.id}", str(error), FITTING)


def _due(host: Host, line: Line) -> Iterator[Finding]:
    """Tell that the next one is due; the worker makes it by itself only where the root's key is."""
    newest, rules = line.newest, line.rules
    if rules.due_at(newest) <= host.now:
        seen = f"{newest.id} can sign until {rfc3339(newest.signs_until(rules.longest))}, and none follows it"
        expected = f"the next one, published by {rfc3339(rules.deadline(newest))}"
        yield Finding("ISS002", f"environment.{line.environment}.issuer", seen, expected)


def _rows(host: Host) -> Sequence[Generation]:
    """Return what the database knows; nothing when it cannot be asked, which other checks tell."""
    scheme, _, name = host.config.database.url.partition(":///")
    if scheme == "sqlite" and not Path(name).exists():
        return ()
    try:
        opened = Database(host.config.database.url, host.config.database.reveal_password(), only_look=True)
    except SecretUnavailableError:
        return ()
    try:
        opened.require_current()
        with opened.read() as connection:
            return generations(connection)
    except (ServiceUnavailable, RuntimeError):
        return ()
    finally:
        opened.close()
