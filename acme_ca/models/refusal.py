"""How often an account was refused in an hour: the first refusals are audited one by one, the rest as a number."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index

from acme_ca.models.base import Record, table_of


@dataclass(kw_only=True)
class RefusalCount(Record):
    """Refusals of one account in one hour, which began at `hour`. `key` is `ENVIRONMENT|ACCOUNT|HOUR`.

    Of a workload without an account `account_id` is `workload:PROVIDER:SUBJECT`.
    """

    key: str
    environment: str
    account_id: str
    hour: datetime
    count: int


REFUSAL_COUNTS = table_of(RefusalCount, "refusal_counts")
Index("ix_refusal_counts_hour", REFUSAL_COUNTS.c.hour)
