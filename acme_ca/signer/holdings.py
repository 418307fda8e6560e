"""The keys that the signer holds, each with what it may sign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from acme_ca import issuer_keys
from acme_ca.config import Config, Environment
from acme_ca.db import Database
from acme_ca.issuers import IssuersInForce, Places, load_issuer
from acme_ca.keys import PrivateKey
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.tbs import Tbs
from acme_ca.services import listener, responders
from acme_ca.signer.leafs import Leafs
from acme_ca.signer.lists import Lists
from acme_ca.signer.own import ListenerCertificates, OperatorCertificates, Responders
from acme_ca.signer.refusal import Refused
from acme_ca.signer.sub_cas import SubCas


class Duty(Protocol):
    """A kind of certificate that an issuer signs."""

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused, or LintError, unless it is to be signed."""
        ...


@dataclass(frozen=True)
class Holding:
    """A key. `certificates` is what it signs of them, `responders` those for OCSP; None: none at all."""

    key: PrivateKey = field(repr=False)
    certificates: Duty | None
    responders: Duty | None = None
    lists: Lists | None = None

    def check(self, found: Tbs, now: datetime) -> None:
        """Raise Refused, or LintError, unless it is to be signed."""
        if isinstance(found, x509.CertificateRevocationList):
            if self.lists is None:
                raise Refused("this issuer publishes no revocation lists")
            self.lists.check(found, now)
            return
        duty = self.certificates
        if self.responders is not None and ExtendedKeyUsageOID.OCSP_SIGNING in _uses(found):
            duty = self.responders
        if duty is None:
            raise Refused("this issuer signs no certificates any more, only revocation lists")
        duty.check(found, now)


class Holdings:
    """All keys of issuers, opened where they are kept. Issuers that follow others are found without a restart."""

    def __init__(self, config: Config, database: Database) -> None:
        """Open them; raises as `issuers.load_issuer` does, and ServiceUnavailable without the database."""
        self._config = issuer_keys.holding(config)
        self._database = database
        self._generations = IssuersInForce(database, self._config)
        self._lasting = dict(_lasting(self._config, database))
        self._found = self._now()

    @property
    def issuers(self) -> list[str]:
        """Whose keys they are."""
        return list(self._found)

    def get(self, issuer: str) -> Holding | None:
        """Return the key of an issuer, if there is one; of one that is not known, the database is asked at once."""
        if self._generations.look(now=issuer not in self._found):
            self._found = self._now()
        return self._found.get(issuer)

    def _now(self) -> Mapping[str, Holding]:
        found = dict(self._lasting)
        for name, settings in self._config.environment.items():
            for issuer in self._generations[name].published:
                leafs = Leafs(name, settings, self._config.profile, issuer, self._database)
                own = Responders(issuer, responders.life(settings))
                found[issuer.id] = Holding(issuer.key, leafs, own, _lists(settings, issuer))
        return found


def _lasting(config: Config, database: Database) -> Iterator[tuple[str, Holding]]:
    """Open what is the same until the configuration changes: all but the issuers of leafs."""
    for name, settings in config.environment.items():
        places = Places.of(config, name)
        for number, issuer in enumerate(settings.all_issuers[len(settings.issuer) :]):
            opened = load_issuer(config, issuer, places.issuer(issuer.name), crl_url=places.crl(issuer.name))
            duty = _sub_cas(config, name, opened, database, number)
            yield opened.id, Holding(opened.key, duty, None, _lists(settings, opened))
    service = listener.service_issuer(config)
    yield service.id, Holding(service.key, ListenerCertificates(config.external_url, service))
    if config.listener.admin is not None:
        admin = config.listener.admin
        certificate = x509.load_pem_x509_certificate(admin.issuer.certificate.read_bytes())
        key = issuer_keys.open_key(config, admin.issuer.key, issuer_keys.OPERATORS, certificate)
        lifetime = timedelta(seconds=admin.certificate_lifetime)
        yield issuer_keys.OPERATORS, Holding(key, OperatorCertificates(certificate, lifetime))


def _lists(settings: Environment, issuer: Issuer) -> Lists:
    return Lists(issuer, timedelta(seconds=settings.crl_lifetime))


def _sub_cas(config: Config, name: str, issuer: Issuer, database: Database, number: int) -> SubCas | None:
    """Return what an issuer of sub-CAs signs: the first does, the others did."""
    settings = config.environment[name].sub_ca
    return None if settings is None or number else SubCas(name, settings.rule, issuer, database)


def _uses(found: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return [
        use
        for extension in found.extensions
        if isinstance(extension.value, x509.ExtendedKeyUsage)
        for use in extension.value
    ]
