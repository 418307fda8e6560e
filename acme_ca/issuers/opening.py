"""Issuers, opened: those of the configuration, and the generations that follow them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from acme_ca import config as configuration
from acme_ca import public_keys
from acme_ca.issuer_keys import open_key
from acme_ca.keys import AnyKey, PrivateKey
from acme_ca.keys.closed import closed
from acme_ca.models.generation import Generation, GenerationStatus
from acme_ca.pki.generations import Span
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.profile import BUILTIN


@dataclass(frozen=True, slots=True)
class Places:
    """Where what an issuer publishes is found: the URLs that its certificates name."""

    status_url: str
    crl_shards: int = 1
    has_ocsp: bool = False

    @classmethod
    def of(cls, config: configuration.Config, environment: str) -> Places:
        """Return those of the issuers of leafs of an environment."""
        settings = config.environment[environment]
        return cls(config.listener.status.url, settings.crl_shards, settings.ocsp)

    def issuer(self, id: str) -> str:  # noqa: A002 - as it is called everywhere
        """Return where the certificate of an issuer is."""
        return f"{self.status_url}/issuers/{id}.crt"

    def crl(self, id: str) -> str:  # noqa: A002 - as above
        """Return where its full revocation list is."""
        return f"{self.status_url}/crl/{id}.crl"

    def ocsp(self, id: str) -> str | None:  # noqa: A002 - as above
        """Return where its OCSP responder is, if it has one."""
        return f"{self.status_url}/ocsp/{id}" if self.has_ocsp else None


def load_issuer(
    config: configuration.Config,
    settings: configuration.Issuer,
    issuer_url: str,
    *,
    crl_url: str | None = None,
    crl_shards: int = 1,
    ocsp_url: str | None = None,
) -> Issuer:
    """Open an issuer's certificates and key; raises ValueError or OSError saying what does not fit."""
    certificate = certificates_of(settings.certificate)[0]
    return Issuer(
        id=settings.name,
        certificate=certificate,
        chain=tuple(certificate for path in settings.chain for certificate in certificates_of(path)),
        root=certificates_of(settings.root)[0],
        key=open_key(config, settings.key, settings.name, certificate),
        issuer_url=issuer_url,
        crl_url=crl_url,
        crl_shards=crl_shards,
        ocsp_url=ocsp_url,
        signature=settings.signature,
        alternates=tuple(
            tuple(certificate for path in alternate for certificate in certificates_of(path))
            for alternate in settings.alternates
        ),
    )


def load_generation(
    config: configuration.Config, settings: configuration.Issuer, generation: Generation, places: Places
) -> Issuer:
    """Open a published generation of the line of `settings`; raises as `load_issuer`."""
    if generation.number == 1:
        return load_issuer(
            config,
            settings,
            places.issuer(settings.name),
            crl_url=places.crl(settings.name),
            crl_shards=places.crl_shards,
            ocsp_url=places.ocsp(settings.name),
        )
    path = chain_of(generation)
    key = open_key(config, key_of(settings, generation.number), generation.id, path[0])
    return _later(settings, generation, places, key, path)


def closed_generation(settings: configuration.Issuer, generation: Generation, places: Places, reason: str) -> Issuer:
    """Return a published generation of which the key cannot be opened here; raises ValueError and OSError."""
    path = configured_path(settings) if generation.number == 1 else chain_of(generation)
    public_key = path[0].public_key()
    public_keys.check(public_key)
    where = str(key_of(settings, generation.number))
    key = closed(where, public_key, reason)  # type: ignore[arg-type]  # it was checked
    return replace(_later(settings, generation, places, key, path), is_open=False)


def _later(
    settings: configuration.Issuer,
    generation: Generation,
    places: Places,
    key: PrivateKey,
    path: list[x509.Certificate],
) -> Issuer:
    certificate, *chain, root = path
    return Issuer(
        id=generation.id,
        certificate=certificate,
        chain=tuple(chain),
        root=root,
        key=key,
        issuer_url=places.issuer(generation.id),
        crl_url=places.crl(generation.id),
        crl_shards=places.crl_shards,
        ocsp_url=places.ocsp(generation.id),
        signature=settings.signature,
    )


def key_of(settings: configuration.Issuer, number: int) -> AnyKey:
    """Return where the key of a generation is: beside that of the configuration, on each host."""
    return settings.key if number == 1 else settings.key.beside(number)


def chain_of(generation: Generation) -> list[x509.Certificate]:
    """Return the certificate of a later generation, what is above it, and the root; raises ValueError."""
    if generation.certificate is None or generation.root is None:
        raise ValueError(f"issuer {generation.id} has no certificate yet")
    pem = f"{generation.certificate}{generation.chain or ''}{generation.root}"
    return x509.load_pem_x509_certificates(pem.encode())


def first_of(environment: str, settings: configuration.Issuer, certificate: x509.Certificate) -> Generation:
    """Return the generation that the configuration names, which is published since it began."""
    since = certificate.not_valid_before_utc
    return Generation(
        id=settings.name,
        environment=environment,
        line=settings.name,
        number=1,
        status=GenerationStatus.PUBLISHED.value,
        created_at=since,
        staged_at=since,
        activates_at=since,
    )


def span_of(generation: Generation, path: list[x509.Certificate]) -> Span:
    """Return the times of a published generation; its path goes up to the root."""
    since = generation.staged_at or generation.created_at
    return Span(
        id=generation.id,
        number=generation.number,
        staged_at=since,
        activates_at=generation.activates_at or since,
        ends_at=min(certificate.not_valid_after_utc for certificate in path),
        retired_at=generation.retired_at,
    )


def configured_path(settings: configuration.Issuer) -> list[x509.Certificate]:
    """Return the certificate of a configured issuer, what is above it, and the root; raises ValueError and OSError."""
    files = (settings.certificate, *settings.chain)
    return [*(one for path in files for one in certificates_of(path)), certificates_of(settings.root)[0]]


def longest_leaf(config: configuration.Config, environment: str) -> timedelta:
    """Return the longest lifetime that an environment offers."""
    profiles = {**BUILTIN, **config.profile}
    return timedelta(seconds=max(profiles[name].lifetime for name in config.environment[environment].profiles))


def certificates_of(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; raises ValueError and OSError."""
    return x509.load_pem_x509_certificates(path.read_bytes())
