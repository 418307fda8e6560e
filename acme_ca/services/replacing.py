"""Which certificate an order replaces, and what that exempts it from. RFC 9773 §5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from acme_ca.authority import Authority, Environment
from acme_ca.identifiers import Identifier
from acme_ca.models.certificate import by_serial
from acme_ca.models.order import live_order_replacing
from acme_ca.pki import ari
from acme_ca.problems import AlreadyReplaced
from acme_ca.services import pauses


@dataclass(frozen=True, slots=True)
class Replacing:
    """What `replaces` of an order is worth. `new` are the names that the certificate does not have.

    An order `is_exempt` from limits, but for its new names, when no other live order replaces the same certificate.
    """

    is_honoured: bool
    is_exempt: bool
    new: tuple[str, ...]


def replacing(
    connection: Connection,
    environment: Environment,
    account_id: str,
    names: Sequence[Identifier],
    replaces: ari.CertificateIdentifier | None,
    now: datetime,
    *,
    lock: bool,
) -> Replacing:
    """Return what `replaces` is worth for an order; raises AlreadyReplaced.

    An unknown certificate, another account's, or one without a name in common is ignored: an order for names that
    the account is entitled to is right without it, and clients give up the whole renewal when it is refused. With
    `lock`, no other order replaces the certificate before the transaction ends.
    """
    wanted = tuple(map(str, names))
    row = None if replaces is None else by_serial(connection, environment.name, replaces.serial, lock=lock)
    if row is None or replaces is None or row.authority_key_id != replaces.authority_key_id:
        return Replacing(is_honoured=False, is_exempt=False, new=wanted)
    new = tuple(name for name in wanted if name not in row.names)
    if row.account_id != account_id or len(new) == len(wanted):
        return Replacing(is_honoured=False, is_exempt=False, new=wanted)
    if row.replaced_by is not None:
        raise AlreadyReplaced(f"certificate {row.serial} was replaced by order {row.replaced_by} already")
    is_first = not live_order_replacing(connection, str(replaces), now)
    return Replacing(is_honoured=True, is_exempt=is_first, new=new)


def watch_renewals(
    ca: Authority,
    environment: Environment,
    account_id: str,
    names: Sequence[Identifier],
    replaces: ari.CertificateIdentifier | None,
    now: datetime,
) -> None:
    """Look for names that are renewed far too often, unless this is a renewal as the CA itself suggested it."""
    if not environment.settings.pause.renewals:
        return
    if replaces is not None:
        with ca.database.read() as connection:
            if replacing(connection, environment, account_id, names, replaces, now, lock=False).is_exempt:
                return
    pauses.watch_renewals(ca, environment, account_id, names)
