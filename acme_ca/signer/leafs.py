"""Leafs: signed if they say exactly what the ledger's claim does, under a profile of the environment. RFC 5280 §4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from acme_ca import config as configuration
from acme_ca.db import Database
from acme_ca.identifiers import Identifier
from acme_ca.models.certificate import SUB_CA
from acme_ca.pki import leaf, lint
from acme_ca.pki.constraints import is_below
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN, Profile
from acme_ca.signer import claims
from acme_ca.signer.refusal import Refused, require

URI = "uri:"


@dataclass(frozen=True)
class Leafs:
    """What an issuer of an environment signs for accounts."""

    environment: str
    settings: configuration.Environment
    own_profiles: dict[str, Profile]
    issuer: Issuer
    database: Database

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused, or LintError, unless it is the leaf of a claim."""
        line = claims.claim(self.database, self.environment, self.issuer, found, now)
        require(line.account_id != SUB_CA, f"serial {line.serial} was claimed for a sub-CA")
        profile = self._profile(line.profile)
        require(self.issuer.signs_as(profile), f"profile {line.profile} is signed by {', '.join(profile.signed_by)}")
        key = claims.public_key(found, profile.key_types)
        claims.require_same_key(line, key)
        request = LeafRequest(
            identifiers=tuple(_identifier(name) for name in line.names if not name.startswith(URI)),
            uris=tuple(name.removeprefix(URI) for name in line.names if name.startswith(URI)),
            public_key=key,
            profile=profile,
            serial=int(line.serial, 16),
            not_before=line.not_before,
            not_after=line.not_after,
        )
        self._check_zones(request)
        crl_url = self.issuer.crl_url_of(line.crl_shard) if self.issuer.crl_shards > 1 else self.issuer.crl_url
        check_content(found, request, self.issuer, now, crl_url=crl_url, ocsp_url=self.issuer.ocsp_url)

    def _profile(self, name: str) -> Profile:
        if name not in self.settings.profiles:
            raise Refused(f"profile {name} is not offered in environment {self.environment}")
        return self.own_profiles.get(name) or BUILTIN[name]

    def _check_zones(self, request: LeafRequest) -> None:
        for name in request.identifiers:
            inside = name.type != "dns" or any(is_below(name.base, zone) for zone in self.settings.zones)
            require(inside, f"{name} is in no zone of environment {self.environment}")


def check_content(
    found: x509.Certificate,
    request: LeafRequest,
    issuer: Issuer,
    now: datetime,
    *,
    crl_url: str | None,
    ocsp_url: str | None,
) -> None:
    """Raise Refused, or LintError, unless a leaf says exactly what was requested, and is valid from about now on."""
    lint.check(found, request, issuer.certificate, crl_url, ocsp_url)
    longest = timedelta(seconds=request.profile.lifetime + 3 * request.profile.backdate)
    require(now < request.not_after <= now + longest, f"it ends at {request.not_after}, expected {longest} from now")
    require(request.not_after <= issuer.ends_at, f"it would outlive the chain of its issuer, {issuer.ends_at}")
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    require(usage == leaf.key_usage(request), f"the key usage is {usage}")
    for extension in found.extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            places = [
                one.access_location.value
                for one in extension.value
                if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            ]
            require(places == [issuer.issuer_url], f"its issuer is said to be at {places}, not {issuer.issuer_url}")


def _identifier(text: str) -> Identifier:
    kind, _, value = text.partition(":")
    if kind == "dns":
        return Identifier("dns", value)
    require(kind == "ip", f"the ledger has the name {text!a}, expected dns, ip or uri")
    return Identifier("ip", value)
