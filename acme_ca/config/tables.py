"""The tables of the configuration file. Each field's docstring is its documentation: the JSON Schema carries it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from acme_ca.challenges import ChallengeType
from acme_ca.challenges.network import Network
from acme_ca.config import policies
from acme_ca.config.admin import AdminListener
from acme_ca.config.audit import Audit
from acme_ca.config.base import DAY, HOUR, Settings
from acme_ca.config.fields import (
    AnchorCrl,
    AnchorFile,
    Bind,
    DomainName,
    Folder,
    HttpOrigin,
    HttpsOrigin,
    Key,
    Link,
    Name,
    PemFile,
    RootCrl,
    TrustDomain,
    is_address,
)
from acme_ca.config.limits import Limits
from acme_ca.config.mistakes import Location, did_you_mean, refuse
from acme_ca.config.pause import Pause
from acme_ca.config.rotation import Rotation
from acme_ca.config.signer import Signer
from acme_ca.config.sub_ca import LONGEST, SubCaRule
from acme_ca.config.sub_ca import misfits as sub_ca_misfits
from acme_ca.paths import anchored
from acme_ca.pki.profile import Profile
from acme_ca.policy.engine import Rule, default_rules
from acme_ca.policy.workloads import WorkloadRule, misfits
from acme_ca.secret import Secret
from acme_ca.vocabulary import AuthoritySignature
from acme_ca.workload import AnyProvider

SERVICE = "service"  # what the CA itself is called where environments are named
MEMORY_DATABASES = ("sqlite://", "sqlite:///", "sqlite:///:memory:")


class AcmeListener(Settings):
    """The HTTPS listener with the directories of all environments."""

    bind: Bind = "127.0.0.1:8443"
    """Address and port to listen on."""
    workers: int = Field(default=2, ge=1, le=256)
    """Worker processes; one for each core is a good start."""
    threads: int = Field(default=8, ge=1, le=256)
    """Threads in each worker process: the requests that it answers at the same time."""


class StatusListener(Settings):
    """The plain-HTTP listener: issuer certificates, roots, health and metrics, which must not need TLS."""

    bind: Bind = "127.0.0.1:8080"
    """Address and port to listen on."""
    url: HttpOrigin
    """The URL under which clients reach this listener; certificates point to it (AIA, CRL), so that it should stay."""
    workers: int = Field(default=1, ge=1, le=256)
    """Worker processes."""
    threads: int = Field(default=4, ge=1, le=256)
    """Threads in each worker process."""


class Listeners(Settings):
    """What `acme-ca serve` listens on."""

    acme: AcmeListener = AcmeListener()
    """The HTTPS listener."""
    status: StatusListener
    """The plain-HTTP listener."""
    admin: AdminListener | None = None
    """The admin API; without it there is none."""

    @model_validator(mode="after")
    def _apart(self) -> Listeners:
        binds = {"acme": self.acme.bind, "status": self.status.bind}
        if self.admin is not None:
            binds["admin"] = self.admin.bind
        for (one, bind), (other, its) in combinations(binds.items(), 2):
            if bind == its and not bind.endswith(":0"):
                raise ValueError(f"{one} and {other} cannot both listen on {bind}")
        return self


class Database(Settings):
    """Where accounts, orders and the ledger of certificates are kept."""

    url: str = Field(default="sqlite:///acme-ca.db", validate_default=True)
    """`sqlite:///FILE` for a single host, or `postgresql+psycopg://USER@HOST/DATABASE`."""
    password: Secret | None = None
    """The database user's password."""

    @field_validator("url", mode="after")
    @classmethod
    def _usable(cls, value: str, info: ValidationInfo) -> str:
        scheme, slashes, rest = value.partition("://")
        if not slashes or scheme not in {"sqlite", "postgresql", "postgresql+psycopg"}:
            raise ValueError("expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
        if scheme == "sqlite":
            if value in MEMORY_DATABASES or not rest.startswith("/"):
                raise ValueError("expected sqlite:///FILE: the processes of the CA share one database file")
            return f"sqlite:///{anchored(Path(rest[1:]), info)}"
        if ":" in rest.partition("/")[0].rpartition("@")[0]:
            raise ValueError("the password stands in the URL; write it as password = 'file:/path' or 'env:NAME'")
        return value

    def reveal_password(self) -> str | None:
        """Return the password, if one is configured; raises SecretUnavailableError."""
        return None if self.password is None else self.password.reveal().decode()


class Log(Settings):
    """What the CA writes to its standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    format: Literal["json", "console"] = "json"
    """`json`: one object a line, for machines; `console`: coloured text, for people."""


class Worker(Settings):
    """Work that runs beside requests."""

    validations: int = Field(default=16, ge=1, le=256)
    """Validations that one process runs at the same time."""


class Issuer(Settings):
    """A certificate and key that sign leafs. Files hold PEM."""

    name: Name
    """The issuer's name in URLs and in the ledger; unique in the whole file, and never given to another key."""
    certificate: PemFile
    """The issuer's certificate."""
    chain: tuple[PemFile, ...] = ()
    """The certificates between it and the root, the nearest first; empty when the root signed it."""
    root: PemFile
    """The root certificate."""
    root_crl: RootCrl | None = None
    """The root's revocation list, PEM or DER: published at /crl/NAME-OF-THE-FILE on the status listener."""
    key: Key
    """Where the private key is kept."""
    signature: AuthoritySignature | None = None
    """What an RSA key signs certificates and revocation lists with, if not `rsa-sha256`. Other keys sign one way."""
    alternates: tuple[tuple[PemFile, ...], ...] = ()
    """Other chains that clients may ask for (RFC 8555 §7.4.2): the files that follow the leaf, without a root."""


class SubCa(Issuer):
    """A certificate and key that sign CAs of meshes, and nothing else; `acme-ca init` makes what is missing."""

    max_lifetime: int = Field(default=366 * DAY, ge=HOUR, le=LONGEST)
    """How long any sub-CA lives, in seconds at most."""
    rule: tuple[SubCaRule, ...] = ()
    """What is signed: each CSR under the rule that its call names, and without a rule nothing."""

    former: tuple[Issuer, ...] = ()
    """What signed sub-CAs before, and signs no more: revocation lists go on until the last of them has ended."""

    @property
    def path_length(self) -> int:
        """How many CAs its rules have below it."""
        return 1 + max((rule.path_length for rule in self.rule), default=0)


class Service(Settings):
    """The CA as a server of its own."""

    issuer: Issuer
    """Signs the HTTPS listener's certificate; its name constraints permit the host of `external_url` alone."""


def _own_zones(settings: Mapping[str, Any]) -> tuple[Rule, ...]:
    return default_rules(settings["zones"])


class Environment(Settings):
    """One environment: its directory is EXTERNAL_URL/acme/NAME/directory. Durations are in seconds."""

    zones: tuple[DomainName, ...] = Field(min_length=1)
    """The DNS zones whose names it issues for; the issuer's name constraints permit the same ones."""
    issuer: tuple[Issuer, ...] = Field(min_length=1)
    """Issuers, in order of preference: the first that lives long enough for the certificate signs."""
    anchors: tuple[AnchorFile, ...] = ()
    """Roots that are published beside those of the issuers: ahead of their first issuer, and after the last one."""
    anchor_crls: tuple[AnchorCrl, ...] = ()
    """Revocation lists of anchors, published as the `root_crl` of an issuer is, while no issuer names them."""
    publish_ahead: int = Field(default=7 * DAY, ge=0, le=365 * DAY)
    """How long a root should have been published before an issuer below it signs; the doctor tells when it was not."""
    rotation: Rotation = Rotation()
    """How each of them is followed by the next one."""
    profiles: tuple[str, ...] = Field(
        default=("server-1h", "client-1h", "workload-1h", "server-8h"),
        min_length=1,
        json_schema_extra={"uniqueItems": True},
    )
    """Certificate profiles that are offered: built-in ones and those of [profile.NAME]."""
    default_profile: str = "server-1h"
    """The profile of an order that names none."""
    challenges: tuple[ChallengeType, ...] = Field(
        default=("http-01", "dns-01", "tls-alpn-01"), min_length=1, json_schema_extra={"uniqueItems": True}
    )
    """Challenge types that are offered."""
    authorization_lifetime: int = Field(default=8 * HOUR, ge=0, le=30 * DAY)
    """How long a valid authorization is good for further orders of its account; 0: for its own order only."""
    order_lifetime: int = Field(default=HOUR, ge=60, le=7 * DAY)
    """How long an order waits to become a certificate."""
    pending_lifetime: int = Field(default=HOUR, ge=60, le=7 * DAY)
    """How long an authorization waits for the client to answer a challenge."""
    patience: int = Field(default=60, ge=0, le=HOUR)
    """How long a target that does not answer is asked again before the challenge becomes invalid."""
    nonce_lifetime: int = Field(default=HOUR, ge=60, le=DAY)
    """How long an unused nonce stays good."""
    external_account_required: bool = False
    """Whether newAccount needs an external account binding."""
    terms_of_service: Link | None = None
    """A link to terms that every account has to agree to; some clients stop and ask."""
    website: Link | None = None
    """A link to a page about this CA."""
    caa_identities: tuple[DomainName, ...] = ()
    """Names by which CAA records refer to this CA; when empty, the host of `external_url`."""
    max_names: int = Field(default=100, ge=1, le=1000)
    """Identifiers in one order, at most."""
    crl_lifetime: int = Field(default=DAY, ge=HOUR, le=30 * DAY)
    """How long a revocation list is good. A new one is made when half of it is over, and at each revocation."""
    crl_shards: int = Field(default=1, ge=1, le=256)
    """Parts that an issuer's list is published in, beside the whole; new certificates point to that of their part."""
    ocsp: bool = False
    """Whether revocable certificates name an OCSP responder, and their issuers have one."""
    ocsp_lifetime: int = Field(default=8 * HOUR, ge=HOUR, le=7 * DAY)
    """How long an OCSP response is good. Those that are kept are signed anew when half of it is over."""
    pause: Pause = Pause()
    """When an account has to wait with a name."""
    validation: Network = Network()
    """How validations reach DNS and the hosts they check."""
    limits: Limits = Limits()
    """How often clients may ask."""
    trust_domain: TrustDomain | None = None
    """The SPIFFE trust domain of its workloads; without one no SPIFFE IDs are issued."""
    provider: tuple[AnyProvider, ...] = ()
    """Who vouches for workloads."""
    workload: tuple[WorkloadRule, ...] = ()
    """What workloads get: of the rules for a provider the first that matches decides, and no rule means no."""
    sub_ca: SubCa | None = None
    """Who signs the CAs of meshes; without it nobody does."""
    policy: tuple[Rule, ...] = Field(default_factory=_own_zones)
    """Who gets what: for each name the first rule that matches decides, and no rule means no."""

    @property
    def all_issuers(self) -> tuple[Issuer, ...]:
        """Whoever signs here, be it leafs or CAs."""
        return self.issuer if self.sub_ca is None else (*self.issuer, self.sub_ca, *self.sub_ca.former)

    @field_validator("default_profile", mode="after")
    @classmethod
    def _offered(cls, value: str, info: ValidationInfo) -> str:
        offered = info.data.get("profiles", (value,))
        if value not in offered:
            raise ValueError(f"profile {value!r} is not offered here; {did_you_mean(value, offered)}")
        return value

    @field_validator("patience", mode="after")
    @classmethod
    def _within_the_order(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("order_lifetime", value + 1):
            raise ValueError(f"expected less than order_lifetime ({info.data['order_lifetime']} s), not {value} s")
        return value

    @field_validator("provider", mode="after")
    @classmethod
    def _of_one_name(cls, providers: tuple[AnyProvider, ...]) -> tuple[AnyProvider, ...]:
        names = [provider.name for provider in providers]
        twice = "there is another provider of this name; each needs one of its own"
        refuse(
            "provider",
            (((number, "name"), twice) for number, name in enumerate(names) if name in names[:number]),
        )
        return providers

    @field_validator("workload", mode="after")
    @classmethod
    def _of_the_environment(cls, rules: tuple[WorkloadRule, ...], info: ValidationInfo) -> tuple[WorkloadRule, ...]:
        if {"zones", "profiles", "trust_domain", "provider"} <= info.data.keys():  # else their own mistakes come first
            found = misfits(
                rules,
                trust_domain=info.data["trust_domain"],
                zones=info.data["zones"],
                providers=[provider.name for provider in info.data["provider"]],
                profiles=info.data["profiles"],
            )
            refuse("workload", (*found, *_beyond_providers(rules, info.data["provider"])))
        return rules

    @field_validator("sub_ca", mode="after")
    @classmethod
    def _within_the_zones(cls, value: SubCa | None, info: ValidationInfo) -> SubCa | None:
        if value is not None and "zones" in info.data:
            found = sub_ca_misfits(value.rule, info.data["zones"], value.max_lifetime)
            refuse("sub_ca", ((("rule", *place), text) for place, text in found))
        return value

    @field_validator("policy", mode="after")
    @classmethod
    def _within_the_environment(cls, rules: tuple[Rule, ...], info: ValidationInfo) -> tuple[Rule, ...]:
        refuse("policy", policies.misfits(rules, info.data))
        return rules


def _beyond_providers(
    rules: tuple[WorkloadRule, ...], providers: tuple[AnyProvider, ...]
) -> Iterator[tuple[Location, str]]:
    """Yield where a rule asks whether workloads exist of a provider that could not tell."""
    silent = {provider.name for provider in providers if not provider.tells_liveness}
    for number, rule in enumerate(rules):
        if rule.liveness and rule.provider in silent:
            reason = f"provider {rule.provider!r} cannot tell whether a workload still exists"
            yield (number, "liveness"), f"{reason}; only one of type kubernetes can, with token_review.liveness"


class Config(Settings):
    """The configuration of acme-ca. Relative paths start at the folder of the file."""

    external_url: HttpsOrigin
    """The URL under which clients reach the HTTPS listener. All ACME URLs are built from it, so that it should stay."""
    listener: Listeners
    """Addresses and processes of the listeners."""
    state: Folder = Path("state")
    """A folder for run-time files: spent nonces, the listener's certificate, metrics."""
    database: Database = Database()
    """Where accounts, orders and the ledger of certificates are kept."""
    log: Log = Log()
    """What is logged."""
    worker: Worker = Worker()
    """Work that runs beside requests."""
    audit: Audit = Audit()
    """How the audit trail is sealed, and where it is sent."""
    signer: Signer | None = None
    """The process that holds the issuers' keys; without it, each process that signs has them."""
    service: Service
    """The CA as a server of its own."""
    profile: dict[Name, Profile] = Field(default_factory=dict)
    """Own certificate profiles; one with the name of a built-in profile takes its place."""
    environment: dict[Name, Environment] = Field(min_length=1)
    """The environments."""

    @property
    def issuers(self) -> list[tuple[str, Issuer]]:
        """Every issuer, with the environment that it is of; that of the listener is of `service`."""
        of_environments = ((name, issuer) for name in self.environment for issuer in self.environment[name].all_issuers)
        return [(SERVICE, self.service.issuer), *of_environments]

    def root_crl_url(self, issuer: Issuer) -> str | None:
        """Where the revocation list of an issuer's root is published; None where none is."""
        return None if issuer.root_crl is None else f"{self.listener.status.url}/crl/{issuer.root_crl.name}"

    @property
    def audit_public_key(self) -> Path:
        """The public half of the key of [audit]: beside the root's certificate, named as the key is."""
        stem = "audit" if self.audit.key is None else self.audit.key.stem
        return self.service.issuer.root.with_name(f"{stem}.pub")

    @property
    def admin_socket(self) -> Path:
        """The Unix socket of the admin API, for this user and root on this host."""
        return self.state / "admin.sock"

    @property
    def signer_socket(self) -> Path:
        """The Unix socket of the signer."""
        own = None if self.signer is None else self.signer.socket
        return own or self.state / "signer.sock"

    @model_validator(mode="after")
    def _name_the_ca(self) -> Config:
        host = urlsplit(self.external_url).hostname or ""
        if not is_address(host):  # which no CAA record can hold
            for name, environment in self.environment.items():
                if not environment.caa_identities:
                    self.environment[name] = environment.model_copy(update={"caa_identities": (host,)})
        return self
