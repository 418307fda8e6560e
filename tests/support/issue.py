"""The whole way to a certificate over http-01, for tests that need one and are about something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.web import WebServer


def authorize(client: AcmeClient, website: WebServer, order: dict[str, Any]) -> None:
    """Prove control of every name of an order that is not proved yet."""
    for url in order["authorizations"]:
        if client.get(url)["status"] == "valid":
            continue
        challenge = client.challenge(url)
        website.token(challenge["token"], client.key_authorization(challenge["token"]))
        answer = body_of(client.ok(challenge["url"], {}))
        while answer["status"] == "processing":
            answer = client.get(challenge["url"])
        assert answer["status"] == "valid", answer


def issue(client: AcmeClient, website: WebServer, names: Sequence[str], **members: Any) -> dict[str, Any]:  # noqa: ANN401 - members of newOrder
    """Return the finished order: valid, with its certificate."""
    url, order = client.order(names, **members)
    authorize(client, website, order)
    finished = body_of(client.finalize(order, make_csr(names)))
    assert finished["status"] == "valid", finished
    return finished | {"url": url}
