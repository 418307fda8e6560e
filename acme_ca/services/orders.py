"""Orders: made, read, listed, swept. RFC 8555 §7.4, §7.1.2.1."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, Table, delete, select

from acme_ca import clock, identifiers, metrics
from acme_ca.authority import Authority, Bound, Environment
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import Account, Signer, acting_account, owned
from acme_ca.models.authorization import AUTHORIZATIONS, Authorization, new_token, reusable
from acme_ca.models.base import new_id
from acme_ca.models.binding import Binding
from acme_ca.models.order import ORDERS, Order, OrderStatus, OrderView, authorizations_of
from acme_ca.pki import ari
from acme_ca.pki.validity import validity
from acme_ca.policy.engine import Decision
from acme_ca.policy.petitions import Petition
from acme_ca.problems import Malformed, Problem, RejectedIdentifier, ServiceUnavailable
from acme_ca.services import audit, audit_lag, pauses, rate_limits, refusals
from acme_ca.services.replacing import replacing, watch_renewals
from acme_ca.workload import WORKLOAD_CHALLENGE

PAGE = 100  # orders in one answer of the orders list
KEPT = timedelta(days=1)  # how long an ended order or authorization can still be read
NAMES_SHOWN, NAME_SHOWN = 100, 300  # names of a refused order in the audit trail, and characters of each
SWEEP_BATCH = 500  # rows deleted in one transaction


@dataclass(frozen=True, slots=True)
class Wish:
    """What newOrder asks for: pairs of identifier type and value, and what is optional. §7.4, RFC 9773 §5.

    `address` is the client's IP address, which rate limits look at.
    """

    identifiers: tuple[tuple[str, str], ...]
    profile: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: str | None = None
    address: str | None = None


def create(ca: Authority, environment: Environment, signer: Signer, wish: Wish) -> OrderView:
    """Make an order; it is born ready when the account holds valid authorizations for all its names.

    What policy refuses is told in the audit trail.
    """
    audit_lag.require_kept_up(ca)
    asked = [f"{kind}:{value}"[:NAME_SHOWN] for kind, value in wish.identifiers[:NAMES_SHOWN]]
    with refusals.told(
        ca, environment.name, signer.account_id, "order.refused", signer.account_id, names=asked, profile=wish.profile
    ):
        return _create(ca, environment, signer, wish)


def _create(ca: Authority, environment: Environment, signer: Signer, wish: Wish) -> OrderView:
    names = identifiers.parse_many(wish.identifiers, environment.settings.max_names)
    replaces = ari.parse(wish.replaces) if wish.replaces is not None else None
    now = clock.now()
    watch_renewals(ca, environment, signer.account_id, names, replaces, now)
    bound, refused = _bound(ca, environment, signer, now)
    with ca.database.write() as connection:
        account = acting_account(connection, environment.name, signer)
        if account.paused:
            pauses.require_none(connection, account, names, now)
        decision, profile = _decided(environment, account, names, bound, refused, wish, now)
        order_id = new_id()
        binding, covered = (bound.binding, bound.covered(names)) if bound else (None, ())
        authorizations = _Authorizations(environment, account.id, order_id, binding, covered, now).get(
            connection, decision
        )
        worth = replacing(connection, environment, account.id, names, replaces, now, lock=True)
        order = Order(
            id=order_id,
            environment=environment.name,
            account_id=account.id,
            identifiers=[name.wire() for name in names],
            authorization_ids=[authorization.id for authorization in authorizations],
            profile=profile,
            requested_profile=wish.profile,
            not_before=wish.not_before,
            not_after=wish.not_after,
            replaces=None if replaces is None or not worth.is_honoured else str(replaces),
            created_at=now,
            expires_at=_expiry(environment, authorizations, now),
        )
        base.insert(connection, order)
        if worth.is_exempt:
            rate_limits.count_names(connection, environment, account.id, worth.new, now)
        else:
            rate_limits.count_order(connection, environment, account.id, map(str, names), wish.address, now)
        _tell(connection, environment, order, authorizations)  # last: what is refused takes no number of the trail
    view = order.view(now, authorizations)
    metrics.ORDERS_CREATED.labels(environment.name, view.status).inc()
    return view


def _decided(
    environment: Environment,
    account: Account,
    names: Sequence[Identifier],
    bound: Bound | None,
    refused: Problem | None,
    wish: Wish,
    now: datetime,
) -> tuple[Decision, str]:
    """Return what the order may have, and its profile; raises when it, or the validity asked for, is not to be had."""
    binding, grant, covered = (bound.binding, bound.grant, bound.covered(names)) if bound else (None, None, ())
    petition = Petition(
        applicant=environment.applicant(account, binding, grant, profile=wish.profile),
        names=tuple(names),
        covered=frozenset(covered),
        grant=grant,
        requested=wish.profile,
        may_prove=refused is None,
    )
    try:
        entitlement = environment.entitle(petition)
    except RejectedIdentifier:
        if refused is not None:  # it takes the workload that the account no longer has
            raise refused from None
        raise
    decision, profile = entitlement.decision, entitlement.profile
    validity(environment.profiles[profile], now, decision.max_lifetime, wish.not_before, wish.not_after)
    return decision, profile


def _expiry(environment: Environment, authorizations: Sequence[Authorization], now: datetime) -> datetime:
    """Return when an order ends: with the first of its authorizations, if not before."""
    latest = now + timedelta(seconds=environment.settings.order_lifetime)
    return min(latest, *(authorization.expires_at for authorization in authorizations))


def _tell(
    connection: Connection, environment: Environment, order: Order, authorizations: Sequence[Authorization]
) -> None:
    for authorization in authorizations:
        if authorization.group_id == order.id and authorization.binding_id is not None:
            audit.authorized(connection, authorization)
    audit.record(
        connection,
        environment.name,
        "order.created",
        order.id,
        account_id=order.account_id,
        names=[str(name) for name in order.names],
        profile=order.profile,
        replaces=order.replaces,
        policy=environment.policy.version,
    )


def get(ca: Authority, environment: Environment, signer: Signer, order_id: str) -> OrderView:
    """Return one of the signer's orders as it stands."""
    with ca.database.read() as connection:
        acting_account(connection, environment.name, signer)
        order = owned(connection, Order, environment.name, signer.account_id, order_id)
        return order.view(clock.now(), authorizations_of(connection, order))


def page(ca: Authority, environment: Environment, signer: Signer, after: str | None) -> tuple[list[str], str | None]:
    """Return the ids of a page of the account's orders, newest first, and where the next page begins. §7.1.2.1.

    `after` is where another page ended; raises Malformed for anything else.
    """
    if after is not None and not base.ID.fullmatch(after):
        raise Malformed("the cursor is not one of this list's; take the URL of the next page from the Link header")
    with ca.database.read() as connection:
        acting_account(connection, environment.name, signer)
        query = select(ORDERS.c.id).where(
            ORDERS.c.account_id == signer.account_id,
            ORDERS.c.status != OrderStatus.INVALID.value,
            ORDERS.c.expires_at > clock.now(),
        )
        if after is not None:
            query = query.where(ORDERS.c.id < after)
        found = list(connection.scalars(query.order_by(ORDERS.c.id.desc()).limit(PAGE + 1)))
    more = len(found) > PAGE
    return found[:PAGE], found[PAGE - 1] if more else None


def sweep(ca: Authority) -> int:
    """Delete orders and authorizations that ended a day ago, in small steps; return how many rows went.

    An order that is being processed is never deleted, nor is a certificate.
    """
    horizon = clock.now() - KEPT
    ended_orders = select(ORDERS.c.id).where(
        ORDERS.c.expires_at < horizon, ORDERS.c.status != OrderStatus.PROCESSING.value
    )
    ended_authorizations = select(AUTHORIZATIONS.c.id).where(
        AUTHORIZATIONS.c.expires_at < horizon, AUTHORIZATIONS.c.due_at.is_(None)
    )
    gone = 0
    for table, ended in ((ORDERS, ended_orders), (AUTHORIZATIONS, ended_authorizations)):
        while batch := _delete_batch(ca, table, ended):
            gone += batch
    return gone


def _delete_batch(ca: Authority, table: Table, ended: Select[str]) -> int:
    with ca.database.write() as connection:
        batch = list(connection.scalars(ended.limit(SWEEP_BATCH)))
        if batch:
            connection.execute(delete(table).where(table.c.id.in_(batch)))
    return len(batch)


def _bound(
    ca: Authority, environment: Environment, signer: Signer, now: datetime
) -> tuple[Bound | None, Problem | None]:
    """Return the workload that the account is bound to, or why it is not any more."""
    try:
        return ca.bound(environment, signer.account_id, now), None
    except ServiceUnavailable:
        raise
    except Problem as refused:
        return None, refused


@dataclass(frozen=True, slots=True)
class _Authorizations:
    """The authorizations of one order: valid ones that the account holds, others that its workload has, new ones."""

    environment: Environment
    account_id: str
    order_id: str
    binding: Binding | None
    covered: Collection[Identifier]
    now: datetime
    token: str = field(default_factory=new_token)  # one for all that one proof may decide

    def get(self, connection: Connection, decision: Decision) -> Sequence[Authorization]:
        """Return one authorization for each name."""
        held = reusable(connection, self.account_id, decision.challenges, self.now) if self.environment.reuses else {}
        authorizations = []
        for name, challenges in decision.challenges.items():
            authorization = held.get(name)
            if authorization is None:
                authorization = self._new(name, challenges)
                base.insert(connection, authorization)
            authorizations.append(authorization)
        return authorizations

    def _new(self, name: Identifier, challenges: Sequence[str]) -> Authorization:
        provable = WORKLOAD_CHALLENGE in challenges
        made = Authorization(
            environment=self.environment.name,
            account_id=self.account_id,
            identifier_type=name.type,
            identifier=name.value,
            token=self.token if provable else new_token(),
            challenges=list(challenges),
            created_at=self.now,
            expires_at=self.now + timedelta(seconds=self.environment.settings.pending_lifetime),
            group_id=self.order_id if provable else None,
        )
        if self.binding is not None and name in self.covered:
            made.prove_by(self.binding, self.now)
        return made
