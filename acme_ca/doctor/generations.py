"""The issuers of leafs: whether each generation that is published opens here, and whether the next one is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509

from acme_ca.clock import rfc3339
from acme_ca.db import Database
from acme_ca.doctor.findings import Finding, Host, code_of
from acme_ca.issuers.lines import Line, lines_of
from acme_ca.issuers.opening import Places, key_of, load_generation
from acme_ca.keys import KeyAway, KeyRefused, KeyUnavailableError
from acme_ca.models.generation import Generation, generations
from acme_ca.pki.generations import Stage
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import SecretUnavailableError

UNOPENED = (KeyUnavailableError, KeyAway, KeyRefused, SecretUnavailableError, OSError, ValueError)
FITTING = "a key that fits the certificate"


def look(host: Host, environment: str, found: list[Issuer]) -> Iterator[Finding]:
    """Open the issuers of an environment, which are added to `found`, the newest of each line first."""
    for place, line in _lines(host, environment):
        if not isinstance(line, Line):
            yield Finding("KEY001", place, str(line), FITTING)
            continue
        yield from _opened(host, line, place, found)
        yield from _due(host, line)


def published(host: Host, environment: str) -> Iterator[tuple[str, x509.Certificate, Path | None]]:
    """Yield the issuers of leafs that are published, with their certificates and the files of their keys."""
    for _, line in _lines(host, environment):
        if isinstance(line, Line):
            for one in _living(host, line):
                yield one.id, line.paths[one.id][0], key_of(line.settings, one.number).file


def _lines(host: Host, environment: str) -> Iterator[tuple[str, Line | Exception]]:
    """Yield the lines of an environment with their places in the configuration, or why one cannot be read."""
    rows = _rows(host)
    for number, settings in enumerate(host.config.environment[environment].issuer):
        place = f"environment.{environment}.issuer[{number}]"
        try:
            yield place, lines_of(host.config, environment, rows, [settings])[0]
        except (OSError, ValueError) as error:
            yield place, error


def _living(host: Host, line: Line) -> list[Generation]:
    """Return those that are published, the newest first."""
    stages = line.stages(host.now)
    return [one for one in reversed(line.generations) if stages[one.id] not in {Stage.PREPARING, Stage.RETIRED}]


def _opened(host: Host, line: Line, place: str, found: list[Issuer]) -> Iterator[Finding]:
    places = Places.of(host.config, line.environment)
    for one in _living(host, line):
        try:
            found.append(load_generation(host.config, line.settings, one, places))
        except UNOPENED as error:
            own_place = place if one.number == 1 else f"{place}: {one.id}"
            yield Finding(code_of(host.config, error), own_place, str(error), FITTING)


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
