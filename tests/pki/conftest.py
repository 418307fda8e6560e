"""Small certificate authorities, made anew for each test session: their keys and certificates never change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acme_ca.pki.ca import make_intermediate, make_root
from acme_ca.pki.signing import SigningKey

NOW = datetime(2030, 5, 17, 12, 30, 15, tzinfo=UTC)
ZONES = ("corp.example", "localhost")
NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@dataclass(frozen=True)
class Authority:
    """A root and one intermediate under it, with their keys."""

    root: x509.Certificate
    root_key: SigningKey
    certificate: x509.Certificate
    key: SigningKey


def authority(
    key: SigningKey | None = None,
    root_key: SigningKey | None = None,
    *,
    days: int = 365,
    permitted_dns: tuple[str, ...] = ZONES,
    permit_ips: bool = True,
) -> Authority:
    key = key or ec.generate_private_key(ec.SECP256R1())
    root_key = root_key or ec.generate_private_key(ec.SECP384R1())
    root = make_root(
        root_key,
        common_name="Test Root",
        organization="Acme",
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=3650),
    )
    certificate = make_intermediate(
        root,
        root_key,
        key.public_key(),
        common_name="Test Issuing CA 1",
        permitted_dns=permitted_dns,
        permitted_ips=NETWORKS if permit_ips else (),
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=days),
        issuer_url="http://ca.example/root.crt",
    )
    return Authority(root, root_key, certificate, key)


@pytest.fixture(scope="session")
def ca() -> Authority:
    return authority()


@pytest.fixture(scope="session")
def ca_without_ips() -> Authority:
    return authority(permit_ips=False)
