"""Orders: made, read, listed, swept. RFC 8555 §7.4, §7.1.2.1."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from acme_ca import clock, identifiers, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.identifiers import Identifier
from acme_ca.models.account import Signer, acting_account
from acme_ca.models.authorization import Authorization, reusable
from acme_ca.models.base import new_id
from acme_ca.models.certificate import Certificate
from acme_ca.models.order import Order, OrderStatus, OrderView, authorizations_of, owned_order
from acme_ca.pki import ari
from acme_ca.pki.validity import validity
from acme_ca.policy.engine import Applicant, Decision
from acme_ca.problems import AlreadyReplaced

PAGE = 100  # orders in one answer of the orders list
KEPT = timedelta(days=1)  # how long an ended order or authorization can still be read
SWEEP_BATCH = 500  # rows deleted in one transaction


@dataclass(frozen=True, slots=True)
class Wish:
    """What newOrder asks for: pairs of identifier type and value, and what is optional. §7.4, RFC 9773 §5."""

    identifiers: tuple[tuple[str, str], ...]
    profile: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: str | None = None


def create(ca: Authority, environment: Environment, signer: Signer, wish: Wish) -> OrderView:
    """Make an order; it is born ready when the account holds valid authorizations for all its names."""
    names = identifiers.parse_many(wish.identifiers, environment.settings.max_names)
    replaces = ari.parse(wish.replaces) if wish.replaces is not None else None
    now = clock.now()
    with ca.database.write() as session:
        account = acting_account(session, environment.name, signer)
        decision = environment.policy.decide(Applicant(account.id, account.eab_label), names)
        profile = _profile(environment, decision, wish, now)
        authorizations = _authorizations(session, environment, account.id, decision, now)
        replaced = _replaced(session, environment, account.id, names, replaces)
        order = Order(
            id=new_id(),
            environment=environment.name,
            account_id=account.id,
            status=OrderStatus.PENDING.value,
            identifiers=[name.wire() for name in names],
            authorization_ids=[authorization.id for authorization in authorizations],
            profile=profile,
            not_before=wish.not_before,
            not_after=wish.not_after,
            replaces=wish.replaces if replaced else None,
            created_at=now,
            expires_at=min(
                now + timedelta(seconds=environment.settings.order_lifetime),
                *(authorization.expires_at for authorization in authorizations),
            ),
        )
        session.add(order)
    view = order.view(now, authorizations)
    metrics.ORDERS_CREATED.labels(environment.name, view.status).inc()
    return view


def get(ca: Authority, environment: Environment, signer: Signer, order_id: str) -> OrderView:
    """Return one of the signer's orders as it stands."""
    with ca.database.read() as session:
        acting_account(session, environment.name, signer)
        order = owned_order(session, environment.name, signer.account_id, order_id)
        return order.view(clock.now(), authorizations_of(session, order))


def page(ca: Authority, environment: Environment, signer: Signer, after: str | None) -> tuple[list[str], str | None]:
    """Return the ids of a page of the account's orders, newest first, and where the next page begins. §7.1.2.1."""
    with ca.database.read() as session:
        acting_account(session, environment.name, signer)
        query = select(Order.id).where(
            Order.account_id == signer.account_id,
            Order.status != OrderStatus.INVALID.value,
            Order.expires_at > clock.now(),
        )
        if after is not None:
            query = query.where(Order.id < after)
        found = list(session.scalars(query.order_by(Order.id.desc()).limit(PAGE + 1)))
    more = len(found) > PAGE
    return found[:PAGE], found[PAGE - 1] if more else None


def sweep(ca: Authority) -> int:
    """Delete orders and authorizations that ended a day ago, in small steps; return how many rows went.

    An order that is being processed is never deleted, nor is a certificate.
    """
    horizon = clock.now() - KEPT
    ended_orders = select(Order.id).where(Order.expires_at < horizon, Order.status != OrderStatus.PROCESSING.value)
    ended_authorizations = select(Authorization.id).where(
        Authorization.expires_at < horizon, Authorization.due_at.is_(None)
    )
    gone = 0
    for model, ended in ((Order, ended_orders), (Authorization, ended_authorizations)):
        while batch := _delete_batch(ca, model, ended):
            gone += batch
    return gone


def _delete_batch(ca: Authority, model: type[Order | Authorization], ended: Select[str]) -> int:
    with ca.database.write() as session:
        batch = list(session.scalars(ended.limit(SWEEP_BATCH)))
        if batch:
            session.execute(delete(model).where(model.id.in_(batch)))
    return len(batch)


def _profile(environment: Environment, decision: Decision, wish: Wish, now: datetime) -> str:
    """Return the profile's name; raises when it, or the validity asked for, is not to be had."""
    name = wish.profile if wish.profile is not None else environment.settings.default_profile
    environment.policy.check_profile(decision, name)
    validity(environment.profiles[name], now, decision.max_lifetime, wish.not_before, wish.not_after)
    return name


def _authorizations(
    session: Session, environment: Environment, account_id: str, decision: Decision, now: datetime
) -> Sequence[Authorization]:
    """Return one authorization for each name: a valid one that the account holds, or a new one."""
    held = reusable(session, account_id, decision.challenges, now) if environment.reuses else {}
    expires_at = now + timedelta(seconds=environment.settings.pending_lifetime)
    authorizations = []
    for name, challenges in decision.challenges.items():
        authorization = held.get(name)
        if authorization is None:
            authorization = Authorization.offer(
                environment.name, account_id, name, challenges, now=now, expires_at=expires_at
            )
            session.add(authorization)
        authorizations.append(authorization)
    return authorizations


def _replaced(
    session: Session,
    environment: Environment,
    account_id: str,
    names: Sequence[Identifier],
    replaces: ari.CertificateIdentifier | None,
) -> bool:
    """Whether `replaces` names a certificate that this order may replace; raises AlreadyReplaced. RFC 9773 §5.

    An unknown certificate, another account's, or one without a name in common is ignored: an order for names that
    the account is entitled to is right without it, and clients give up the whole renewal when it is refused.
    """
    if replaces is None:
        return False
    row = session.scalar(
        select(Certificate).where(
            Certificate.serial == f"{replaces.serial:032x}", Certificate.authority_key_id == replaces.authority_key_id
        )
    )
    if row is None or row.environment != environment.name or row.account_id != account_id:
        return False
    if not {str(name) for name in names} & set(row.names):
        return False
    if row.replaced_by is not None:
        raise AlreadyReplaced(f"certificate {row.serial} was replaced by order {row.replaced_by} already")
    return True
