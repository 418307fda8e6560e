"""What tests of challenges do again and again: order, answer well or badly, submit, let time pass."""

from __future__ import annotations

from typing import Any

from acme_ca.services import validation
from tests.support import rows
from tests.support.acme_client import AcmeClient
from tests.support.ca import RunningCa
from tests.support.web import WELL_KNOWN, WebServer, reply

NAME = "a.test.localhost"


def ordered(client: AcmeClient, name: str = NAME) -> tuple[str, str]:
    """A new order's URL and its authorization's."""
    url, order = client.order([name])
    return url, order["authorizations"][0]


def answer_well(client: AcmeClient, website: WebServer, authorization: str) -> None:
    token = client.get(authorization)["challenges"][0]["token"]
    website.token(token, client.key_authorization(token))


def answer(client: AcmeClient, website: WebServer, authorization: str, status: int, body: bytes = b"") -> None:
    website.raw(WELL_KNOWN + client.get(authorization)["challenges"][0]["token"], reply(status, body))


def submit(ca: RunningCa, client: AcmeClient, authorization: str, kind: str = "http-01") -> dict[str, Any]:
    """Submit a challenge; the challenge once it was looked at, which may be after the answer on a busy machine."""
    client.ok(f"{authorization}/{kind}", {})
    rows.settle(ca.authority.database)
    return client.get(f"{authorization}/{kind}")


def retry(ca: RunningCa) -> int:
    """What the worker does once the backoff is over."""
    rows.hasten(ca.authority.database)
    return validation.resume_due(ca.authority)
