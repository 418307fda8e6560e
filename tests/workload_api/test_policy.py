"""What the environment's own rules say of workloads: their denials bind these too, and rules may be for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from acme_ca import clock
from acme_ca.models import base
from acme_ca.models.binding import Binding
from acme_ca.policy.document import Document
from acme_ca.policy.rules import Rule
from acme_ca.services import policies
from tests.support import issuers
from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.issuers import TokenIssuer
from tests.support.web import WebServer
from tests.workload_api.conftest import AUDIENCE, CHALLENGE, NAME, SPIFFE_ID

URI = {"type": "uri", "value": SPIFFE_ID}
DNS = {"type": "dns", "value": NAME}


def apply(ca: RunningCa, *rules: Rule) -> None:
    settings = ca.authority.environments["test"].settings
    policies.apply(ca.authority.database, "test", settings, Document(rules=rules), by="admin:alice")
    ca.authority.see_policies()


def prove(client: AcmeClient, cluster: TokenIssuer) -> dict[str, Any]:
    """Return an order whose names the workload proved."""
    body = {"identifiers": [URI, DNS], "profile": "workload-1h"}
    made = body_of(client.ok(client.url("newOrder"), body, status=201))
    offered = client.get(made["authorizations"][0])["challenges"]
    (challenge,) = [each for each in offered if each["type"] == CHALLENGE]
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    assert body_of(client.ok(challenge["url"], {"format": "jwt", "evidence": token}))["status"] == "valid"
    return made


@pytest.mark.parametrize(
    "rule",
    [
        Rule(name="no", deny=True, dns=(NAME,)),
        Rule(name="no", deny_dns=(NAME,)),
        Rule(name="no", deny=True, workloads=("services",)),
        Rule(name="no", deny=True, dns=(NAME,), condition="claims.kubernetes.namespace == 'pay'"),
        Rule(name="no", deny=True, dns=(NAME,), condition="claims.kubernetes.nothing == 'pay'"),
    ],
)
def test_no_grant_gives_what_a_rule_denies(ca: RunningCa, client: AcmeClient, cluster: TokenIssuer, rule: Rule) -> None:
    made = prove(client, cluster)
    apply(ca, rule, Rule(name="all", dns=(".test.localhost",)))
    answer = client.finalize(made, make_csr([NAME]))
    assert answer.status_code == 403
    assert "rule no of environment test" in answer.text


def test_a_name_that_is_denied_to_everybody_is_not_even_ordered(ca: RunningCa, client: AcmeClient) -> None:
    apply(ca, Rule(name="no", deny=True, dns=(NAME,)))
    _, detail, status = client.refused(client.url("newOrder"), {"identifiers": [DNS]})
    assert (detail, status) == (f"rule no of environment test denies dns:{NAME}", 403)


def test_an_exception_before_a_denial_is_one_for_workloads_too(
    ca: RunningCa, client: AcmeClient, cluster: TokenIssuer
) -> None:
    made = prove(client, cluster)
    allow, deny = Rule(name="but", workloads=("services",), dns=(NAME,)), Rule(name="no", deny=True, dns=(NAME,))
    apply(ca, allow, deny)
    assert body_of(client.finalize(made, make_csr([NAME])))["status"] == "valid"


def test_finalize_knows_the_workload_of_an_order_that_was_proved_otherwise(
    ca: RunningCa, client: AcmeClient, cluster: TokenIssuer, website: WebServer
) -> None:
    """A live binding of the account is enough for rules that are for its workload."""
    prove(client, cluster)
    apply(ca, Rule(name="pay", workloads=("services",), dns=("more.test.localhost",)))
    with ca.authority.database.write() as connection:
        (found,) = base.find(connection, Binding, base.select(Binding))
        found.renewable, found.expires_at = True, clock.now() + timedelta(hours=1)
        base.update(connection, found)
    assert issue(client, website, ["more.test.localhost"], profile="server-1h")
