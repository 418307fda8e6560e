"""What issuers sign with, held against their keys and against what profiles ask for. Certificates are read for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from acme_ca.config.mistakes import Location
from acme_ca.config.tables import Config, Environment, Issuer
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.signing import signature_of, signatures_of
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import check
from acme_ca.vocabulary import MLDSA_KEY_TYPES, SignatureName


def misfits(config: Config) -> Iterator[tuple[Location, str]]:
    """Yield signatures that a key does not make, profiles that nobody signs, and what the listener could not serve."""
    yield from _of_the_listener(config.service.issuer)
    places: list[tuple[Location, Issuer]] = [(("service", "issuer"), config.service.issuer)]
    for name, environment in config.environment.items():
        here = ("environment", name)
        places += [((*here, "issuer", number), issuer) for number, issuer in enumerate(environment.issuer)]
        if environment.sub_ca is not None:
            places.append(((*here, "sub_ca"), environment.sub_ca))
            former = enumerate(environment.sub_ca.former)
            places += [((*here, "sub_ca", "former", number), issuer) for number, issuer in former]
        yield from _of_profiles(config, name, environment)
    for place, issuer in places:
        possible = _possible(issuer)
        if issuer.signature is not None and possible and issuer.signature not in possible:
            expected = f"expected {' or '.join(possible)}"
            yield (*place, "signature"), f"the key of issuer {issuer.name!r} does not sign with it; {expected}"


def _of_the_listener(issuer: Issuer) -> Iterator[tuple[Location, str]]:
    """Yield certificates that TLS sends along and most clients could not read: servers of OpenSSL 3.0 refuse them."""
    for setting, paths in (("certificate", (issuer.certificate,)), ("chain", issuer.chain)):
        for certificate in filter(None, map(_certificate, paths)):
            if {signature_of(certificate), *_possible_of(certificate)} & set(MLDSA_KEY_TYPES):
                yield (
                    ("service", "issuer", setting),
                    (
                        "ML-DSA cannot be above the HTTPS listener: TLS in most clients does not read it; expected "
                        "an EC or RSA key below an EC or RSA root (environments may have a root of their own)"
                    ),
                )


def _of_profiles(config: Config, name: str, environment: Environment) -> Iterator[tuple[Location, str]]:
    profiles, made = {**BUILTIN, **config.profile}, [_signature(issuer) for issuer in environment.issuer]
    if None in made:  # it cannot be read, which is told elsewhere
        return
    for number, profile in enumerate(environment.profiles):
        wanted = profiles[profile].signed_by
        if wanted and not set(wanted) & set(made):
            they = ", ".join(f"{issuer.name} with {how}" for issuer, how in zip(environment.issuer, made, strict=True))
            yield (
                ("environment", name, "profiles", number),
                (
                    f"{profile!r} is to be signed with {' or '.join(wanted)} (signed_by), and no issuer here does; "
                    f"they sign: {they}"
                ),
            )


def _signature(issuer: Issuer) -> SignatureName | None:
    return issuer.signature or next(iter(_possible(issuer)), None)


def _possible(issuer: Issuer) -> tuple[SignatureName, ...]:
    certificate = _certificate(issuer.certificate)
    return () if certificate is None else _possible_of(certificate)


def _possible_of(certificate: x509.Certificate) -> tuple[SignatureName, ...]:
    try:
        key = certificate.public_key()
        check(key)
    except (BadPublicKey, ValueError):
        return ()
    return signatures_of(key)  # type: ignore[arg-type]  # check() refuses other kinds of key


def _certificate(path: Path) -> x509.Certificate | None:
    """Read a certificate; None for what is none, which is told when the issuer is opened."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
