"""Sub-CAs: signed if the ledger claims them, under a rule of the configuration and within it. RFC 5280 §4.2."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from acme_ca import config as configuration
from acme_ca.db import Database
from acme_ca.models.certificate import SUB_CA
from acme_ca.pki import sub_ca_lint
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.sub_ca import SubCaRequest
from acme_ca.services.sub_cas import BACKDATE
from acme_ca.signer import claims
from acme_ca.signer.refusal import Refused, require


@dataclass(frozen=True)
class SubCas:
    """What signs the CAs of meshes."""

    environment: str
    rules: tuple[configuration.SubCaRule, ...]
    issuer: Issuer
    database: Database

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused, or LintError, unless it is what the rule of its claim says."""
        line = claims.claim(self.database, self.environment, self.issuer, found, now)
        require(line.account_id == SUB_CA, f"serial {line.serial} was claimed for no sub-CA")
        rule = self._rule((line.workload_rule or "").rpartition("@")[0])
        key = claims.public_key(found, rule.key_types)
        claims.require_same_key(line, key)
        lifetime = timedelta(seconds=rule.lifetime)
        require(
            line.not_after - line.not_before <= lifetime + BACKDATE and now < line.not_after <= now + lifetime,
            f"it lives from {line.not_before} to {line.not_after}, rule {rule.name} allows {lifetime} from now",
        )
        request = SubCaRequest(
            common_name=rule.subject,
            dns_names=rule.dns_names,
            uris=rule.uris,
            permitted_dns=rule.dns,
            permitted_ips=rule.ip,
            path_length=rule.path_length,
            extended_key_usages=rule.extended_key_usages,
            public_key=key,
            serial=int(line.serial, 16),
            not_before=line.not_before,
            not_after=line.not_after,
        )
        sub_ca_lint.check(found, request, self.issuer)

    def _rule(self, name: str) -> configuration.SubCaRule:
        for rule in self.rules:
            if rule.name == name:
                return rule
        known = ", ".join(rule.name for rule in self.rules) or "none"
        raise Refused(f"environment {self.environment} has no rule {name!a} for sub-CAs; there are: {known}")
