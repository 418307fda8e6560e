"""The assembled CA: configuration, database, environments with their issuers and policy. Services receive it first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from cryptography import x509

from acme_ca import baton, environment_keys
from acme_ca import config as configuration
from acme_ca.db import Database
from acme_ca.identifiers import Identifier
from acme_ca.issuers import InForce as IssuersOf
from acme_ca.issuers import IssuersInForce, Places, load_issuer
from acme_ca.keys import PrivateKey
from acme_ca.models.account import Account
from acme_ca.models.binding import Binding, live_binding
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.profile import BUILTIN, Profile
from acme_ca.policies_in_force import PoliciesInForce, Shadow
from acme_ca.policy.engine import Applicant, Policy
from acme_ca.policy.petitions import Entitlement, Petition, Terms, entitle
from acme_ca.policy.scope import stored
from acme_ca.policy.workloads import Grant, WorkloadPolicy
from acme_ca.problems import ServiceUnavailable
from acme_ca.processes import Processes
from acme_ca.root_files import load_anchor, root_crls
from acme_ca.spent_nonces import SpentNonces, spent_nonces
from acme_ca.workload import Expected, Proof, Provider, Workload, refusal
from acme_ca.workload.identify import asking, identify

Result = TypeVar("Result")


@dataclass(frozen=True)
class Environment:
    """One environment: its own directory, issuers, accounts and rules. `url` is the base of its ACME resources."""

    name: str
    url: str
    settings: configuration.Environment
    policy: Policy
    profiles: Mapping[str, Profile]
    issuers: tuple[Issuer, ...]
    """Those that may sign leafs, in order of preference."""
    nonce_key: bytes = field(repr=False)
    providers: tuple[Provider, ...] = ()
    workloads: WorkloadPolicy | None = None
    """The policy for workloads; None where nobody vouches for any."""
    policy_number: int | None = None
    """The version of the policy that was applied; None while it is the configuration's."""
    shadow: Shadow | None = None
    """A policy that is evaluated beside the one in force."""
    generations: tuple[Issuer, ...] = ()
    """Every generation of those that is not retired: verifiers need it, or soon will."""
    sub_cas: tuple[Issuer, ...] = ()
    """What signs the CAs of meshes, and no leafs: the first. The others did before, and publish their lists."""
    anchors: tuple[x509.Certificate, ...] = ()
    """Roots that are published beside those of the issuers."""
    distrusted: Mapping[bytes, bool] = field(default_factory=dict)
    """Keys of issuers (SHA-256) that sign nothing any more, and of each whether bundles still have it."""

    @property
    def audience(self) -> str:
        """What credentials of workloads are made out to."""
        return f"{self.url}/workload"

    def identify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the workload that a proof is of. Asks the network: hold no transaction."""
        with baton.aside():
            return identify(self.providers, proof, expected, now)

    def kept_claims(self, workload: Workload) -> dict[str, Any]:
        """Return the claims to be remembered of a workload: those that rules and the provider will look at again."""
        provider = self._provider(workload.provider)
        needed = self.policy.claims if self.shadow is None else self.policy.claims | self.shadow.policy.claims
        if provider is not None:
            needed |= provider.liveness_claims
        return {} if self.workloads is None else self.workloads.subset(workload, needed)

    def grant(self, binding: Binding) -> Grant:
        """Return what policy grants, as it is now, to a workload that was proved before; raises no_policy."""
        if self.workloads is None:
            raise refusal("no_policy", f"nobody vouches for workloads in environment {self.name} any more")
        return self.workloads.grant(binding.workload(), kept=True)

    def require_alive(self, binding: Binding) -> None:
        """Raise subject_gone when the provider no longer knows the workload. Asks the network: hold no transaction."""
        provider = self._provider(binding.provider)
        if provider is None:
            raise refusal("subject_gone", f"provider {binding.provider} is gone, and with it {binding.subject}")
        with baton.aside(), asking(provider):
            alive = provider.is_alive(binding.workload())
        if not alive:
            raise refusal("subject_gone", f"{binding.subject} is not there any more, says {binding.provider}")

    def _provider(self, name: str) -> Provider | None:
        return next((provider for provider in self.providers if provider.name == name), None)

    @cached_property
    def terms(self) -> Terms:
        """What it offers whatever its rules say."""
        return terms_of(self.settings, self.profiles, self.workloads)

    @property
    def looks_at_workloads(self) -> bool:
        """Whether a policy, be it in force or in the shadow, looks at the workload that an account is bound to."""
        shadow = self.shadow is not None and self.shadow.policy.is_about_workloads
        return self.policy.is_about_workloads or shadow

    def entitle(self, petition: Petition) -> Entitlement:
        """Return what an order may have. A policy in the shadow sees the same, and has no say."""
        if self.shadow is not None:
            self.shadow.watch(self.policy, self.terms, petition)
        return entitle(self.policy, self.terms, petition)

    def applicant(
        self,
        account: Account,
        binding: Binding | None = None,
        grant: Grant | None = None,
        *,
        profile: str | None = None,
        key_type: str = "",
    ) -> Applicant:
        """Return what policy sees of an account, of its workload, and of the profile that it asks for."""
        return Applicant(
            account_id=account.id,
            eab_label=account.eab_label,
            workload_rule=None if grant is None else grant.rule,
            claims={} if binding is None or grant is None else binding.claims,
            profile=self.settings.default_profile if profile is None else profile,
            key_type=key_type,
            scope=stored(account.scope),
        )

    @property
    def all_issuers(self) -> tuple[Issuer, ...]:
        """Whoever is published here, be it for leafs or CAs."""
        return (*self.generations, *self.sub_cas)

    def trusts(self, issuer: Issuer) -> bool:
        """Whether an issuer may sign: operators have not distrusted it."""
        return issuer.key_sha256 not in self.distrusted

    @property
    def published(self) -> tuple[Issuer, ...]:
        """The issuers of leafs that the SPIFFE bundle has."""
        return tuple(issuer for issuer in self.generations if self.distrusted.get(issuer.key_sha256, True))

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The roots that are published: those of the issuers, and those that are announced or not given up yet."""
        return tuple(dict.fromkeys((*(issuer.root for issuer in self.all_issuers), *self.anchors)))

    @property
    def reuses(self) -> bool:
        """Whether a valid authorization is good for further orders of its account."""
        return self.settings.authorization_lifetime > 0

    def issuer(self, now: datetime, lifetime: timedelta, profile: Profile) -> Issuer:
        """Return the first issuer that may sign for `lifetime` as a profile asks; raises ServiceUnavailable.

        When none of those whose turn it is can, the newest that is published takes their place before its time.
        """
        for issuer in (*self.issuers, *reversed(self.generations)):
            can = issuer.is_open and issuer.signs_as(profile) and issuer.can_sign(now, lifetime)
            if can and self.trusts(issuer):
                return issuer
        raise ServiceUnavailable(
            f"no issuer of environment {self.name} is trusted and lives long enough to sign for {lifetime} with "
            f"{' or '.join(profile.signed_by) or 'anything'}; "
            "the operators must renew one",
            retry_after=300,
        )

    def account_url(self, account_id: str) -> str:
        """Return the URL that names an account: `kid` in its requests, `accounturi` in CAA."""
        return f"{self.url}/account/{account_id}"


@dataclass(frozen=True, slots=True)
class Bound:
    """The workload that an account is bound to, and what policy grants it now."""

    binding: Binding
    grant: Grant

    def covered(self, names: Iterable[Identifier]) -> tuple[Identifier, ...]:
        """Return those of the names that the workload may have."""
        return tuple(name for name in names if self.grant.covers(name))


class Authority:
    """The CA of one process. Made after a fork; keys are opened at once, connections on first use."""

    def __init__(self, config: configuration.Config) -> None:
        self.config = config
        self.database = Database(config.database.url, config.database.reveal_password())
        self.database.require_current()
        config.state.mkdir(parents=True, exist_ok=True)
        self.spent_nonces: SpentNonces = spent_nonces(self.database, config.state)
        self.processes = Processes(config.state / "processes")
        nonce_keys = environment_keys.nonce_keys(self.database, tuple(config.environment))
        environment_keys.keep_longest(self.database, config)
        self.policies = PoliciesInForce(self.database, config)
        self.issuers = IssuersInForce(self.database, config)
        self._environments: Mapping[str, Environment] = {
            name: _environment(config, name, nonce_keys[name], self.policies, self.issuers[name])
            for name in config.environment
        }
        self.root_crls = root_crls(config)
        self._renewing = threading.Lock()
        self.bundles_kept = False  # whether the bundles with the issuers of now are among the numbered versions
        self.versions_kept = False  # whether what is in force here is among the numbered versions
        self._workers = ThreadPoolExecutor(config.worker.validations, thread_name_prefix="validate")

    @property
    def environments(self) -> Mapping[str, Environment]:
        """The environments, with the policies and issuers that are in force now: looked at again once a second."""
        self._look(now=False)
        return self._environments

    def see_policies(self) -> None:
        """Look at once for policies that were applied and issuers that were distrusted, and not within a second."""
        self._look(now=True)

    def see_issuers(self) -> None:
        """Look at once for issuers that were staged, or whose time has come."""
        self._look(now=True)

    def _look(self, *, now: bool) -> None:
        has_other_issuers = self.issuers.look(now=now)
        if self.policies.look(now=now) or has_other_issuers:
            with self._renewing:  # who comes last has the newest of both
                self._environments = {
                    name: _in_force(environment, self.policies, self.issuers[name])
                    for name, environment in self._environments.items()
                }
                self.bundles_kept = self.bundles_kept and not has_other_issuers

    @cached_property
    def audit_key(self) -> PrivateKey | None:
        """The key that signs checkpoints of the audit trail; only a worker needs it. Raises KeyUnavailableError."""
        return None if self.config.audit.key is None else self.config.audit.key.open()

    def background(self, work: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Run validation work on the bounded pool of this process."""
        return self._workers.submit(work, *arguments)

    def bound(self, environment: Environment, account_id: str, now: datetime) -> Bound | None:
        """Return the workload that an account is bound to; raises no_policy, and subject_gone.

        Opens a transaction of its own, and may ask the workload's provider.
        """
        if not environment.providers:
            return None
        with self.database.read() as connection:
            binding = live_binding(connection, account_id, now)
        if binding is None:
            return None
        grant = environment.grant(binding)
        if grant.liveness:
            environment.require_alive(binding)
        return Bound(binding, grant)

    def close(self) -> None:
        """Finish the work at hand and let everything go."""
        self._workers.shutdown(cancel_futures=True)
        self.policies.noter.close()
        self.processes.close()
        self.database.close()


def _in_force(environment: Environment, policies: PoliciesInForce, issuers: IssuersOf) -> Environment:
    found = policies[environment.name]
    return replace(
        environment,
        policy=found.policy,
        policy_number=found.number,
        shadow=found.shadow,
        distrusted=policies.distrusted,
        issuers=issuers.signing,
        generations=issuers.published,
    )


def _environment(
    config: configuration.Config, name: str, nonce_key: bytes, policies: PoliciesInForce, issuers: IssuersOf
) -> Environment:
    settings, places = config.environment[name], Places.of(config, name)
    profiles, found = {**BUILTIN, **config.profile}, policies[name]
    return Environment(
        name=name,
        url=f"{config.external_url}/acme/{name}",
        settings=settings,
        policy=found.policy,
        profiles={profile: profiles[profile] for profile in settings.profiles},
        issuers=issuers.signing,
        generations=issuers.published,
        sub_cas=tuple(
            load_issuer(config, issuer, places.issuer(issuer.name), crl_url=places.crl(issuer.name))
            for issuer in settings.all_issuers[len(settings.issuer) :]
        ),
        anchors=tuple(load_anchor(path) for path in settings.anchors),
        nonce_key=nonce_key,
        providers=settings.provider,
        workloads=workload_policy(name, settings) if settings.provider else None,
        policy_number=found.number,
        shadow=found.shadow,
        distrusted=policies.distrusted,
    )


def terms_of(
    settings: configuration.Environment, profiles: Mapping[str, Profile], workloads: WorkloadPolicy | None
) -> Terms:
    """Return what an environment offers whatever its rules say; `profiles` are all that are configured."""
    return Terms(
        default_profile=settings.default_profile,
        lifetimes={name: profiles[name].lifetime for name in settings.profiles},
        carrying=frozenset(name for name in settings.profiles if profiles[name].may_carry_uri),
        provable=None if workloads is None else workloads.provable,
    )


def workload_policy(name: str, settings: configuration.Environment) -> WorkloadPolicy:
    """Return the policy for workloads of an environment."""
    return WorkloadPolicy(
        name,
        trust_domain=settings.trust_domain,
        zones=settings.zones,
        rules=settings.workload,
        providers=[provider.name for provider in settings.provider],
        profiles=settings.profiles,
    )
