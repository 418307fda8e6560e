"""Accounts: made, found, updated, re-keyed, ended. RFC 8555 §7.3."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from acme_ca import clock, jose, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.jose import Jwk
from acme_ca.models import base
from acme_ca.models.account import Account, AccountStatus, Signer, account_of_key, acting_account
from acme_ca.models.binding import Binding, waiting_bindings
from acme_ca.models.certificate import is_blocked
from acme_ca.models.external_key import ExternalKey
from acme_ca.models.owner import adopt_waiting, change_owner, lock_subject, pass_on
from acme_ca.problems import (
    AccountDoesNotExist,
    BadPublicKey,
    Conflict,
    Contended,
    ExternalAccountRequired,
    InvalidContact,
    Unauthorized,
    UnsupportedContact,
    UserActionRequired,
)
from acme_ca.public_keys import spki_sha256
from acme_ca.services import audit, rate_limits

MAX_CONTACTS = 10
MAX_CONTACT = 320  # characters: 64 of the local part, @, 255 of the domain


@dataclass(frozen=True, slots=True)
class Registration:
    """What newAccount asks for. §7.3. `url` is the URL of the request, which an external binding signs too.

    `address` is the client's IP address, which rate limits look at.
    """

    jwk: Jwk
    url: str
    contact: tuple[str, ...] = ()
    terms_of_service_agreed: bool = False
    external_account_binding: Mapping[str, Any] | None = None
    address: str | None = None


def find(ca: Authority, environment: Environment, jwk: Jwk) -> Account:
    """Return the account that has this key; raises AccountDoesNotExist. §7.3.1 (onlyReturnExisting)."""
    with ca.database.read() as connection:
        account = account_of_key(connection, environment.name, jwk.thumbprint)
    if account is None:
        raise AccountDoesNotExist(f"no account of environment {environment.name} has this key")
    account.require_valid()
    return account


def register(ca: Authority, environment: Environment, registration: Registration) -> tuple[Account, bool]:
    """Return the account of this key and whether it was made now. §7.3.

    A known key gets its account back, whatever else the request says: clients that restart send a spent binding.
    """
    contact = _checked_contact(registration.contact)
    try:
        with ca.database.write(durable=True) as connection:
            known = _known(connection, environment, registration)
            if known is None:
                account = _created(connection, environment, registration, contact)
            elif environment.providers:
                _refresh_binding(connection, environment, registration, known)
    except AlreadyThereError as error:  # another request was first: with this key, or for the same workload
        raise Contended from error
    if known is not None:
        known.require_valid()
        return known, False
    metrics.ACCOUNTS_CREATED.labels(environment.name).inc()
    return account, True


def get(ca: Authority, environment: Environment, signer: Signer) -> Account:
    """Return the signer's own account. §7.3.2 (POST-as-GET)."""
    with ca.database.read() as connection:
        return acting_account(connection, environment.name, signer)


def key_of(ca: Authority, environment: Environment, account_id: str) -> Jwk:
    """Return the public key of an account, whatever its status; raises AccountDoesNotExist. §6.2."""
    with ca.database.read() as connection:
        account = base.get(connection, Account, account_id)
    if account is None or account.environment != environment.name:
        raise AccountDoesNotExist(f"account {account_id} does not exist in environment {environment.name}")
    return jose.jwk_from_json(account.jwk)


def update(
    ca: Authority, environment: Environment, signer: Signer, *, contact: tuple[str, ...] | None, deactivate: bool
) -> Account:
    """Replace the contacts, or deactivate the account. §7.3.2, §7.3.6."""
    checked = None if contact is None else _checked_contact(contact)
    with ca.database.write(durable=True) as connection:
        account = acting_account(connection, environment.name, signer, lock=True)
        if deactivate:
            account.deactivate(clock.now())
            audit.record(connection, environment.name, "account.deactivated", account.id, account_id=account.id)
        elif checked is not None:
            account.contact = list(checked)
            audit.record(connection, environment.name, "account.updated", account.id, account_id=account.id)
        base.update(connection, account)
    return account


def change_key(
    ca: Authority, environment: Environment, signer: Signer, *, account_url: str, old: Jwk, new: Jwk
) -> Account:
    """Give the account a new key. §7.3.5.

    `account_url` and `old` are what the inner JWS names. Raises Conflict, with the other account's URL as Location,
    when the new key is taken.
    """
    if account_url != environment.account_url(signer.account_id):
        raise Unauthorized(f"keyChange names the account {account_url}, but another one signed it")
    if old.thumbprint != signer.thumbprint:
        raise Unauthorized("oldKey is not the key that signed the request")
    try:
        with ca.database.write(durable=True) as connection:
            account = acting_account(connection, environment.name, signer, lock=True)
            taken = account_of_key(connection, environment.name, new.thumbprint)
            _refuse_blocked(connection, new)
            if taken is None:
                account.jwk, account.thumbprint = dict(new.json), new.thumbprint
                account.key_sha256 = spki_sha256(new.key)
                base.update(connection, account)
                if environment.providers:
                    change_owner(connection, environment.name, old.thumbprint, new.thumbprint, clock.now())
                audit.record(
                    connection,
                    environment.name,
                    "account.key_changed",
                    account.id,
                    account_id=account.id,
                    old_thumbprint=old.thumbprint,
                    new_thumbprint=new.thumbprint,
                )
    except AlreadyThereError as error:  # another request took the key, or what it owns, at the same moment
        raise Contended from error
    if taken is not None:
        raise Conflict(
            "the new key belongs to an account already", headers={"Location": environment.account_url(taken.id)}
        )
    return account


def _known(connection: Connection, environment: Environment, registration: Registration) -> Account | None:
    """Return the account that has the key, also when it is made by a request that spends the same binding now."""
    known = account_of_key(connection, environment.name, registration.jwk.thumbprint)
    if known is None and registration.external_account_binding is not None:
        kid = jose.eab_kid(registration.external_account_binding)
        if base.get(connection, ExternalKey, kid, lock=True) is not None:  # nobody else spends it from here on
            known = account_of_key(connection, environment.name, registration.jwk.thumbprint)
    return known


def _refuse_blocked(connection: Connection, jwk: Jwk) -> None:
    if is_blocked(connection, jwk.key):
        raise BadPublicKey("the key was reported compromised; make a new one")


def _created(
    connection: Connection, environment: Environment, registration: Registration, contact: tuple[str, ...]
) -> Account:
    now = clock.now()
    if environment.settings.terms_of_service is not None and not registration.terms_of_service_agreed:
        raise UserActionRequired(
            f"the terms of service at {environment.settings.terms_of_service} must be agreed to "
            "(termsOfServiceAgreed: true)",
            headers={"Link": f'<{environment.settings.terms_of_service}>;rel="terms-of-service"'},
        )
    _refuse_blocked(connection, registration.jwk)
    key = _external_key(connection, environment, registration, now)
    account = Account(
        environment=environment.name,
        thumbprint=registration.jwk.thumbprint,
        jwk=dict(registration.jwk.json),
        status=AccountStatus.VALID.value,
        contact=list(contact),
        terms_agreed_at=now if registration.terms_of_service_agreed else None,
        eab_kid=key.kid if key else None,
        eab_label=key.label if key else None,
        external_account_binding=dict(registration.external_account_binding or {}) if key else None,
        created_at=now,
        key_sha256=spki_sha256(registration.jwk.key),
        scope=key.scope if key else None,
    )
    base.insert(connection, account)
    rate_limits.count_account(connection, environment, registration.address, now)
    if environment.providers:
        adopted = adopt_waiting(connection, environment.name, account.thumbprint, account.id, now)
        for binding in adopted:
            audit.bound(connection, binding)
        if key is not None and key.binding_id is not None:
            _bind(connection, key, account, now)
    audit.record(
        connection,
        environment.name,
        "account.created",
        account.id,
        account_id=account.id,
        thumbprint=account.thumbprint,
        eab_kid=account.eab_kid,
    )
    return account


def _refresh_binding(
    connection: Connection, environment: Environment, registration: Registration, account: Account
) -> None:
    """Let a known account spend a new key of a workload: its binding is refreshed. Any other key is not looked at."""
    now = clock.now()
    if registration.external_account_binding is None or account.status != AccountStatus.VALID:
        return
    named = base.get(connection, ExternalKey, jose.eab_kid(registration.external_account_binding), lock=True)
    if named is None or named.binding_id is None or named.environment != environment.name or not named.is_usable(now):
        return
    key = _external_key(connection, environment, registration, now)
    if key is not None:
        _bind(connection, key, account, now)


def _bind(connection: Connection, key: ExternalKey, account: Account, now: datetime) -> None:
    """Give the account the workload whose proof was exchanged for the key; raises what forbids it."""
    binding = base.get_one(connection, Binding, key.binding_id or "", lock=True)
    binding.require_live(now)
    if binding.account_jkt not in (None, account.thumbprint):
        raise Unauthorized("the external account key was made for another account key (account_jkt)")
    lock_subject(connection, account.environment, account.thumbprint, binding.workload(), now)
    pass_on(connection, account.environment, f"kid:{key.kid}", account.thumbprint)
    binding.attach(account.id)
    base.update(connection, binding)
    audit.bound(connection, binding)


def _is_proved(connection: Connection, environment: Environment, registration: Registration, now: datetime) -> bool:
    """Whether a workload proved itself for this very account key before: that stands for an external binding."""
    thumbprint = registration.jwk.thumbprint
    return bool(environment.providers) and bool(waiting_bindings(connection, environment.name, thumbprint, now))


def _external_key(
    connection: Connection, environment: Environment, registration: Registration, now: datetime
) -> ExternalKey | None:
    """Verify and spend the external account binding, if there is one. §7.3.4."""
    binding = registration.external_account_binding
    if binding is None:
        if environment.settings.external_account_required and not _is_proved(
            connection, environment, registration, now
        ):
            raise ExternalAccountRequired(
                f"environment {environment.name} makes accounts only for an external account key (EAB); "
                "ask the operators for one"
            )
        return None
    key = base.get(connection, ExternalKey, jose.eab_kid(binding), lock=True)
    if key is None or key.environment != environment.name:
        raise Unauthorized("the external account key is not known in this environment")
    key.require_usable(now)
    jose.verify_eab(binding, registration.jwk, registration.url, lambda _kid: key.mac_key)
    key.use(now)
    base.update(connection, key)
    return key


def _checked_contact(contact: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse contacts that are not mailto URLs of one address without header fields. §7.3."""
    if len(contact) > MAX_CONTACTS:
        raise InvalidContact(f"{len(contact)} contacts; at most {MAX_CONTACTS} are kept")
    for url in contact:
        scheme, colon, address = url.partition(":")
        if not colon or scheme.lower() != "mailto":
            raise UnsupportedContact(f"contact {url[:MAX_CONTACT]!r}: only mailto URLs are supported")
        local, at, domain = address.rpartition("@")
        plain = address.isascii() and address.isprintable() and not set(address) & set(' ?,;<>"')
        if not (at and local and domain and plain and "@" not in local and len(address) <= MAX_CONTACT):
            raise InvalidContact(f"contact {url[:MAX_CONTACT]!r} is not mailto: with one plain address")
    return contact
