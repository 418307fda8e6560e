"""The issuers of this process: who signs leafs now, and whose certificates and lists are published.

Who that is follows from times that are the same for all processes: what each generation's certificate says, and the
database of when it was staged. A process looks at one small table once a second at most, before a request, never in its
transaction. A key that cannot be opened keeps nothing from being served: the generation before signs as long as it can.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import structlog

from acme_ca import baton, clock, metrics
from acme_ca import config as configuration
from acme_ca.db import Database
from acme_ca.issuers.lines import Line, lines_of, orphans, require_apart
from acme_ca.issuers.opening import Places, closed_generation, load_generation
from acme_ca.keys import KeyAway, KeyRefused, KeyUnavailableError
from acme_ca.models.generation import Generation, generations
from acme_ca.pki.generations import Stage
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import ServiceUnavailable

PACE = 1.0  # seconds between two looks
RETRY = 30.0  # seconds between attempts to open a key
UNOPENED = (KeyUnavailableError, KeyAway, KeyRefused, OSError, ValueError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InForce:
    """Who signs leafs in an environment, in order of preference, and who is published: staged, active and retiring."""

    signing: tuple[Issuer, ...]
    published: tuple[Issuer, ...]


class IssuersInForce:
    """The issuers of leafs of all environments."""

    def __init__(self, database: Database, config: configuration.Config) -> None:
        self._database = database
        self._config = config
        self._lock = threading.Lock()
        self._opened: dict[str, Issuer] = {}
        self._closed: dict[str, tuple[float, Exception]] = {}
        """When to try again to open those that could not be, and why not."""
        self._rows: list[Generation] = []
        self._lines: dict[str, list[Line]] = {}
        self._found: dict[str, InForce] = {}
        self._read()
        self._open_all()
        self._require_signing()
        self._found = self._now()
        self._look_again = monotonic() + PACE

    def __getitem__(self, environment: str) -> InForce:
        """Return the issuers of an environment."""
        return self._found[environment]

    def look(self, *, now: bool = False) -> bool:
        """Look again if it is time, or `now`; return whether anything changed. Without the database nothing new does.

        Whoever comes while another thread looks goes on with what there was: to open a key may take some time.
        """
        if not now and monotonic() < self._look_again:
            return False
        if not self._lock.acquire(blocking=False):
            if not now:
                return False
            with baton.aside():
                self._lock.acquire()
        try:
            return (now or monotonic() >= self._look_again) and self._look()
        finally:
            self._lock.release()

    def _look(self) -> bool:
        self._look_again = monotonic() + PACE
        try:
            self._read()
        except ServiceUnavailable:
            log.debug("issuer.database_away")
        except (OSError, ValueError) as error:
            log.error("issuer.unreadable", reason=str(error))  # noqa: TRY400 - what it is says the reason
        self._open_all()
        found = self._now()
        if found == self._found:
            return False
        for environment, its in found.items():
            if its != self._found[environment]:
                log.info(
                    "issuer.in_force",
                    environment=environment,
                    signing=[issuer.id for issuer in its.signing],
                    published=[issuer.id for issuer in its.published],
                )
        self._found = found
        return True

    def _read(self) -> None:
        with self._database.read() as connection:
            rows = generations(connection)
        if rows == self._rows and self._lines:
            return
        require_apart(self._config, rows)
        for orphan in orphans(self._config, rows):
            log.warning("issuer.orphaned", environment=orphan.environment, issuer=orphan.id, line=orphan.line)
        self._lines = {name: lines_of(self._config, name, rows) for name in self._config.environment}
        self._rows = rows

    def _open_all(self) -> None:
        """Open what is published and not open, or has to be tried again."""
        for line, generation, _ in self._published():
            is_open = generation.id in self._opened and generation.id not in self._closed
            if is_open or monotonic() < self._closed.get(generation.id, (0.0, None))[0]:
                continue
            self._open(line, generation)
            metrics.ISSUER_CLOSED.labels(line.environment, generation.id).set(generation.id in self._closed)

    def _open(self, line: Line, generation: Generation) -> None:
        places = Places.of(self._config, line.environment)
        try:
            with baton.aside():
                self._opened[generation.id] = load_generation(self._config, line.settings, generation, places)
            self._closed.pop(generation.id, None)
        except UNOPENED as error:
            log.error("issuer.closed", issuer=generation.id, reason=str(error))  # noqa: TRY400 - as above
            self._closed[generation.id] = monotonic() + RETRY, error
            if generation.id not in self._opened:
                with suppress(*UNOPENED):
                    closed = closed_generation(line.settings, generation, places, str(error))
                    self._opened[generation.id] = closed

    def _require_signing(self) -> None:
        """Raise what keeps a line from signing, for which nobody else can: a start without it fails."""
        signing: dict[str, list[str]] = {}
        for line, generation, stage in self._published():
            if stage is not Stage.STAGED:
                signing.setdefault(line.settings.name, []).append(generation.id)
        for own in signing.values():
            if self._closed.keys() >= set(own):
                raise self._closed[own[-1]][1]

    def _published(self) -> Iterator[tuple[Line, Generation, Stage]]:
        now = clock.now()
        for lines in self._lines.values():
            for line in lines:
                found = line.stages(now)
                for generation in line.generations:
                    if found[generation.id] not in {Stage.PREPARING, Stage.RETIRED}:
                        yield line, generation, found[generation.id]

    def _now(self) -> dict[str, InForce]:
        """Find out who does what now, of those that could be opened."""
        published: dict[str, list[Issuer]] = {name: [] for name in self._lines}
        signing: dict[str, dict[str, Issuer]] = {name: {} for name in self._lines}
        for line, generation, stage in self._published():
            issuer = self._opened.get(generation.id)
            if issuer is not None:
                published[line.environment].append(issuer)
                own = signing[line.environment]
                if issuer.is_open and (stage is not Stage.STAGED or line.settings.name not in own):
                    own[line.settings.name] = issuer  # the newest comes last
        return {name: InForce(tuple(signing[name].values()), tuple(published[name])) for name in self._lines}
