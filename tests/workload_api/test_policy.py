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
from acme_ca.services import policies, shadows
from tests.acme.conftest import MakeCa
from tests.support import issuers
from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.issuers import TokenIssuer
from tests.support.web import WebServer
from tests.workload_api.conftest import AUDIENCE, CHALLENGE, NAME, SPIFFE_ID

URI = {"type": "uri", "value": SPIFFE_ID}
DNS = {"type": "dns", "value": NAME}


def apply(ca: RunningCa, *rules: Rule) -> None:
    settings = ca.authority.environments["test"].settings
    policies.apply(ca.authority.database, "test", settings, Document(rules=rules), by="admin:alice")
    ca.authority.see_policies()


def prove(
    client: AcmeClient, cluster: TokenIssuer, *identifiers: dict[str, str], profile: str | None = "workload-1h"
) -> dict[str, Any]:
    """Return an order whose names the workload proved, as far as it may have them."""
    body = {"identifiers": list(identifiers or (URI, DNS))} | ({} if profile is None else {"profile": profile})
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


@pytest.mark.parametrize("uris", [[], [SPIFFE_ID]])
def test_a_denied_id_gets_into_no_certificate_by_the_csr_or_the_rule_that_adds_it(
    ca: RunningCa, client: AcmeClient, cluster: TokenIssuer, uris: list[str]
) -> None:
    made = prove(client, cluster, DNS)
    no_id = "identifier.type == 'uri' && identifier.value.startsWith('spiffe://test.localhost/ns/pay/')"
    apply(ca, Rule(name="no", deny=True, condition=no_id), Rule(name="all", dns=(".test.localhost",)))
    answer = client.finalize(made, make_csr([NAME], uris=uris))
    assert (answer.status_code, body_of(answer)["detail"]) == (
        403,
        f"rule no of environment test denies uri:{SPIFFE_ID}",
    )


def test_what_counts_as_a_proof_is_said_by_the_rule_for_the_profile_that_is_issued(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer, website: WebServer
) -> None:
    """The default profile is not the one that the workload gets; another rule decides for it."""
    ca = make_ca(**settings)
    client = ca.client().register()
    other = {"type": "dns", "value": "more.test.localhost"}
    any_way = Rule(name="any", dns=("more.test.localhost",), condition="profile == 'server-1h'")
    apply(ca, any_way, Rule(name="same", dns=("more.test.localhost",)))
    made = prove(client, cluster, DNS, other, profile=None)
    authorize(client, website, made)
    strict = Rule(name="strict", dns=("more.test.localhost",), challenges=("dns-01",))
    apply(ca, any_way, strict)
    answer = client.finalize(made, make_csr([NAME, "more.test.localhost"]))
    assert (answer.status_code, body_of(answer)["detail"]) == (
        403,
        "dns:more.test.localhost was proved by http-01, which is no longer allowed for it; order the certificate anew",
    )


def test_a_shadow_sees_the_workload_though_the_policy_in_force_asks_for_none(
    ca: RunningCa, client: AcmeClient, cluster: TokenIssuer, website: WebServer
) -> None:
    rule = Rule(
        name="pay",
        workloads=("services",),
        dns=(".test.localhost",),
        condition="claims.kubernetes.pod_uid.startsWith('5e0bd49b')",
    )
    environment = ca.authority.environments["test"]
    document = Document(rules=(rule,))
    policies.start_shadow(ca.authority.database, "test", environment.settings, document, by="admin:alice")
    ca.authority.see_policies()
    prove(client, cluster)
    with ca.authority.database.write() as connection:
        (found,) = base.find(connection, Binding, base.select(Binding))
        found.renewable, found.expires_at = True, clock.now() + timedelta(hours=1)
        base.update(connection, found)
    issue(client, website, ["more.test.localhost"], profile="server-1h")
    ca.authority.policies.noter.write()
    report = shadows.report(ca.authority.database, "test", None, 10)
    assert {one.name for one in report.findings} == {f"dns:{NAME}"}  # before its proof, of which nobody knew yet
