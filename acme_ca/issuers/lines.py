"""What is known of the generations of issuers without their keys: from the configuration, and from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from acme_ca import config as configuration
from acme_ca.db import Database
from acme_ca.issuers.opening import chain_of, configured_path, first_of, longest_leaf, span_of
from acme_ca.models.generation import Generation, GenerationStatus, generations
from acme_ca.pki.generations import Rules, Span, Stage, stages


@dataclass(frozen=True, slots=True)
class Line:
    """The issuers that follow each other in one place of the configuration, in their order."""

    environment: str
    settings: configuration.Issuer
    rules: Rules
    generations: tuple[Generation, ...]
    paths: Mapping[str, tuple[x509.Certificate, ...]]
    """Of each generation that has a certificate: that, what is above it, and the root."""

    @property
    def spans(self) -> list[Span]:
        """The times of those that have a certificate."""
        return [span_of(one, list(self.paths[one.id])) for one in self.generations if one.id in self.paths]

    @property
    def newest(self) -> Span:
        """The times of the newest one that has a certificate."""
        return max(self.spans, key=lambda span: span.number)

    @property
    def prepared(self) -> Generation | None:
        """The one that has no certificate yet."""
        return next((one for one in self.generations if one.status == GenerationStatus.PREPARING), None)

    def stages(self, now: datetime) -> dict[str, Stage]:
        """Return what each generation is at a moment."""
        found = stages(self.spans, self.rules.longest, now)
        return {one.id: found.get(one.id, Stage.PREPARING) for one in self.generations}


def read(database: Database, config: configuration.Config, environment: str) -> list[Line]:
    """Return the lines of an environment that have begun, as the database has them now; raises as `lines_of`."""
    with database.read() as connection:
        rows = generations(connection)
    begun = [issuer for issuer in config.environment[environment].issuer if issuer.certificate.exists()]
    return lines_of(config, environment, rows, begun)


def lines_of(
    config: configuration.Config,
    environment: str,
    rows: Sequence[Generation],
    issuers: Sequence[configuration.Issuer] | None = None,
) -> list[Line]:
    """Return the lines of an environment, or of some issuers of it; raises ValueError and OSError for what is unread.

    `rows` are all that the database has, in their order.
    """
    settings = config.environment[environment]
    rules = settings.rotation.rules(longest_leaf(config, environment))
    return [_line(environment, issuer, rules, rows) for issuer in (settings.issuer if issuers is None else issuers)]


def require_apart(config: configuration.Config, rows: Sequence[Generation]) -> None:
    """Raise ValueError when an issuer of the configuration has the name of a generation."""
    names = {issuer.name for _, issuer in config.issuers}
    for row in rows:
        if row.number > 1 and row.id in names:
            raise ValueError(
                f"{row.id!r} is the name of generation {row.number} of issuer {row.line!r}: give the issuer of the "
                "configuration another name"
            )


def orphans(config: configuration.Config, rows: Sequence[Generation]) -> list[Generation]:
    """Return the later generations of issuers that were taken out of the configuration: nothing is served for them."""
    known = {(name, issuer.name) for name, settings in config.environment.items() for issuer in settings.issuer}
    return [
        row
        for row in rows
        if row.number > 1
        and row.status == GenerationStatus.PUBLISHED
        and row.environment in config.environment
        and (row.environment, row.line) not in known
    ]


def _line(environment: str, settings: configuration.Issuer, rules: Rules, rows: Sequence[Generation]) -> Line:
    own = [row for row in rows if (row.environment, row.line) == (environment, settings.name)]
    path = configured_path(settings)
    if not own or own[0].number != 1:
        own.insert(0, first_of(environment, settings, path[0]))
    paths = {own[0].id: tuple(path)}
    paths |= {row.id: tuple(chain_of(row)) for row in own[1:] if row.certificate is not None}
    return Line(environment, settings, rules, tuple(own), paths)
