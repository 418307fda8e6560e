"""The whole configuration file as one frozen tree; `load` names the exact place of every mistake."""

from acme_ca.config.admin import AdminIssuer, AdminListener, OidcIssuer
from acme_ca.config.limits import Limit, Limits
from acme_ca.config.loading import json_schema, load, loads
from acme_ca.config.mistakes import ConfigError, Location, Mistake, locate
from acme_ca.config.signer import Signer
from acme_ca.config.sub_ca import SubCaRule
from acme_ca.config.tables import (
    AcmeListener,
    Config,
    Database,
    Environment,
    Issuer,
    Listeners,
    Log,
    Service,
    StatusListener,
    SubCa,
    Worker,
)

__all__ = [
    "AcmeListener",
    "AdminIssuer",
    "AdminListener",
    "Config",
    "ConfigError",
    "Database",
    "Environment",
    "Issuer",
    "Limit",
    "Limits",
    "Listeners",
    "Location",
    "Log",
    "Mistake",
    "OidcIssuer",
    "Service",
    "Signer",
    "StatusListener",
    "SubCa",
    "SubCaRule",
    "Worker",
    "json_schema",
    "load",
    "loads",
    "locate",
]
