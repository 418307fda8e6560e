"""Whose a token, an instance and an account key are: what thieves, races and lost answers cannot change."""

from __future__ import annotations

import base64
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from acme_ca import clock
from acme_ca.jose import jwk_from_json
from acme_ca.models import base
from acme_ca.models.account import Signer as Acting
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.models.owner import Owner, Thing
from acme_ca.services import accounts, bindings, refusals, workloads
from acme_ca.services.bindings import Wanted
from tests.acme.conftest import MakeCa
from tests.support import issuers
from tests.support.acme_client import AcmeClient, body_of
from tests.support.ca import RunningCa
from tests.support.issuers import TokenIssuer
from tests.support.jws import Signer, b64, public_jwk
from tests.workload_api.conftest import AUDIENCE, CHALLENGE, CI_ID, NAME, SPIFFE_ID, rules
from tests.workload_api.test_challenge import URI, jwt, offered, order
from tests.workload_api.test_exchange import binding_for, exchange, post, refused, register, web_pod

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CI = {"type": "uri", "value": CI_ID}


def events(ca: RunningCa, event: str) -> list[dict[str, Any]]:
    with ca.authority.database.read() as connection:
        found = connection.execute(select(AUDIT_EVENTS.c.details).where(AUDIT_EVENTS.c.event == event))
        return [dict(row.details) for row in found]


def name_key_of(ca: RunningCa, client: AcmeClient, platform: TokenIssuer) -> None:
    """Have somebody else's job exchange a proof that names the client's account key, which is public."""
    thumbprint = client.signer.thumbprint
    asked = body_of(post(ca, "nonce", {"account_jkt": thumbprint}))
    token = platform.token(issuers.github_actions(asked["audience"]))
    exchange(ca, token, nonce=asked["nonce"], account_jkt=thumbprint, eab=False)


def with_affinity(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with a platform whose tokens have a fixed audience and no instance."""
    first, second = settings["provider"]
    return settings | {"provider": (first, {**second, "binding": "affinity", "audiences": [AUDIENCE]})}


def test_nobody_can_bind_an_account_by_naming_its_key(
    ca: RunningCa, platform: TokenIssuer, cluster: TokenIssuer
) -> None:
    client = ca.client().register()
    name_key_of(ca, client, platform)
    assert client.order(["job.test.localhost"])[1]["status"] == "pending"
    _, made = order(client, URI)
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    assert body_of(client.ok(offered(client, made["authorizations"][0])["url"], jwt(token)))["status"] == "valid"


def test_an_account_takes_what_was_proved_for_its_key_by_asking(ca: RunningCa, platform: TokenIssuer) -> None:
    client = ca.client().register()
    name_key_of(ca, client, platform)
    _, made = client.order(["job.test.localhost"])
    taken = client.ok(f"{made['authorizations'][0]}/{CHALLENGE}", {})
    assert body_of(taken)["status"] == "valid"
    assert client.order(["job.test.localhost"])[1]["status"] == "ready"
    assert len(events(ca, "workload.bound")) == 1


def test_a_key_that_several_workloads_named_is_nobodys(
    ca: RunningCa, platform: TokenIssuer, cluster: TokenIssuer
) -> None:
    client = ca.client()
    name_key_of(ca, client, platform)
    thumbprint = client.signer.thumbprint
    exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)), account_jkt=thumbprint, eab=False)
    client.register()
    assert client.order([NAME])[1]["status"] == "pending"
    assert client.order(["job.test.localhost"])[1]["status"] == "pending"


def test_a_binding_that_policy_ended_does_not_hinder_ordinary_orders(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    ca = make_ca(**settings)
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    client.app = make_ca(**settings | {"workload": settings["workload"][1:]}).app
    assert client.order([NAME])[1]["status"] == "pending"
    body = {"identifiers": [URI]}
    assert body_of(client.post(client.url("newOrder"), body))["workloadError"] == "no_policy"


def test_a_token_belongs_to_its_first_account_as_long_as_it_is_believed(
    make_ca: MakeCa, settings: dict[str, Any], platform: TokenIssuer
) -> None:
    """A token is taken for a minute after its end, for clocks that differ."""
    ca = make_ca(**with_affinity(settings))
    now = int(time.time())
    token = platform.token(issuers.github_actions(AUDIENCE, iat=now - 200, nbf=now - 200, exp=now - 2))
    codes = []
    for client in (ca.client().register(), ca.client().register()):
        _, made = order(client, CI)
        workloads.sweep(ca.authority)
        answer = body_of(client.post(offered(client, made["authorizations"][0])["url"], jwt(token)))
        codes.append(answer.get("workloadError"))
    assert codes == [None, "evidence_replayed"]


def test_a_token_with_another_signature_is_the_same_token(
    make_ca: MakeCa, settings: dict[str, Any], platform: TokenIssuer
) -> None:
    """Of an ECDSA signature (r, s), (r, -s) is one too."""
    ca = make_ca(**with_affinity(settings))
    token = platform.token(issuers.github_actions(AUDIENCE, jti=None))
    signed, _, signature = token.rpartition(".")
    octets = base64.urlsafe_b64decode(signature + "==")
    other = P256_ORDER - int.from_bytes(octets[32:], "big")
    changed = f"{signed}.{b64(octets[:32] + other.to_bytes(32, 'big'))}"
    codes = []
    for client, shown in ((ca.client().register(), token), (ca.client().register(), changed)):
        _, made = order(client, CI)
        answer = body_of(client.post(offered(client, made["authorizations"][0])["url"], jwt(shown)))
        codes.append(answer.get("workloadError"))
    assert codes == [None, "evidence_replayed"]


def end_keys(ca: RunningCa) -> None:
    """Let the ten minutes of every external account key be over."""
    with ca.authority.database.write() as connection:
        for table, column in (("external_keys", "expires_at"), ("workload_owners", "reserved_until")):
            past = "'2020-01-01 00:00:00.000000'"
            connection.execute(text(f"UPDATE {table} SET {column} = {past} WHERE {column} IS NOT NULL"))


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_lost_answer_locks_an_instance_for_ten_minutes_only(
    ca: RunningCa, cluster: TokenIssuer, *, sweeps: bool
) -> None:
    exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))  # whose answer is lost
    again = cluster.token(issuers.kubernetes(AUDIENCE, jti="again"))
    assert refused(ca, again) == "evidence_replayed"
    end_keys(ca)
    if sweeps:
        workloads.sweep(ca.authority)
    client = register(ca, exchange(ca, again))
    assert client.order([NAME])[1]["status"] == "ready"
    assert refused(ca, cluster.token(issuers.kubernetes(AUDIENCE, jti="stolen"))) == "evidence_replayed"


def test_revoking_frees_what_an_unused_key_held(ca: RunningCa, cluster: TokenIssuer) -> None:
    pair = exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))
    bindings.revoke(ca.authority, "test", Wanted(binding=pair["binding"]), "lost", by="uid:0")
    exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE, jti="again")))


def test_an_operator_releases_the_instance_of_a_lost_account_key(ca: RunningCa, cluster: TokenIssuer) -> None:
    register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    again = cluster.token(issuers.kubernetes(AUDIENCE, jti="again"))
    assert refused(ca, again) == "evidence_replayed"
    wanted = Wanted(subject="system:serviceaccount:pay:api")
    assert bindings.release(ca.authority, "test", wanted, by="uid:0") == 1
    assert register(ca, exchange(ca, again)).order([NAME])[1]["status"] == "ready"
    assert len(events(ca, "workload.released")) == 1


def test_the_newest_proof_counts(make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer) -> None:
    ca = make_ca(**settings)
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    changed = rules(binding_ttl=3600, match={"kubernetes.node": "ip-10-0-1-7"})
    later = make_ca(**settings | {"workload": changed})
    client.app = later.app
    body = {"identifiers": [URI]}
    assert "prove it again" in body_of(client.post(client.url("newOrder"), body))["detail"]
    token = cluster.token(issuers.kubernetes(AUDIENCE, jti="again"))
    exchange(later, token, account_jkt=client.signer.thumbprint, eab=False)
    assert order(client, URI)[1]["status"] == "ready"


def test_a_proof_beside_another_challenge_at_work_is_not_used_up(
    ca: RunningCa, client: AcmeClient, cluster: TokenIssuer
) -> None:
    _, made = client.order([NAME])
    (authorization,) = made["authorizations"]
    with ca.authority.database.write() as connection:
        statement = text("UPDATE authorizations SET status = 'processing', challenge = 'http-01' WHERE id = :id")
        connection.execute(statement, {"id": authorization.rpartition("/")[2]})
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    answer = client.ok(f"{authorization}/{CHALLENGE}", jwt(token))
    assert body_of(answer)["status"] == "pending"
    assert events(ca, "workload.proved") == []
    other = ca.client().register()
    _, made = other.order([NAME])
    assert body_of(other.ok(offered(other, made["authorizations"][0])["url"], jwt(token)))["status"] == "valid"


def test_every_fact_leaves_an_event(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    client.order([NAME])
    stolen = cluster.token(issuers.kubernetes(AUDIENCE, jti="stolen"))
    assert refused(ca, stolen) == "evidence_replayed"
    assert refused(ca, "no.token.atall") == "evidence_malformed"
    assert [event["workload"] for event in events(ca, "workload.bound")] == ["system:serviceaccount:pay:api"]
    assert [event["identifier"] for event in events(ca, "authorization.valid")] == [f"dns:{NAME}"]
    assert [event["error"]["workloadError"] for event in events(ca, "workload.refused")] == ["evidence_replayed"]


def test_a_workload_that_is_refused_again_and_again_does_not_fill_the_audit_trail(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    ca = make_ca(**settings | {"workload": rules(binding_ttl=0)})
    for _ in range(refusals.TOLD + 3):
        assert refused(ca, cluster.token(issuers.kubernetes(AUDIENCE))) == "no_policy"
    assert len(events(ca, "workload.refused")) == refusals.TOLD
    with ca.authority.database.write() as connection:
        connection.execute(text("UPDATE refusal_counts SET hour = '2020-01-01 00:00:00.000000'"))
    assert refusals.close_hours(ca.authority) == 1
    (counted,) = events(ca, "workload.refusals_counted")
    assert (counted["refused"], counted["told"]) == (refusals.TOLD + 3, refusals.TOLD)


def test_an_admitted_key_ends_with_its_binding(ca: RunningCa) -> None:
    environment, claims = ca.authority.environments["test"], {"repository_id": "456789"}
    made = bindings.admit(ca.authority, environment, "ci", "me", claims, timedelta(days=60), by="uid:0")
    assert made.key_expires_at == made.binding.expires_at


def in_thread(work: Any) -> tuple[threading.Thread, list[Any]]:  # noqa: ANN401 - a call without arguments
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def test_a_key_is_not_changed_in_the_middle_of_a_proof(
    make_ca: MakeCa, settings: dict[str, Any], postgres_url: str, cluster: TokenIssuer
) -> None:
    ca = make_ca(database_url=postgres_url, **settings)
    client = ca.client().register()
    _, made = order(client, URI)
    (authorization,) = made["authorizations"]
    url, account = offered(client, authorization)["url"], str(client.signer.kid)
    old, new = jwk_from_json(public_jwk(client.signer.key)), Signer.new()
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    environment = ca.authority.environments["test"]

    def change() -> None:
        accounts.change_key(
            ca.authority,
            environment,
            Acting(account.rpartition("/")[2], old.thumbprint),
            account_url=account,
            old=old,
            new=jwk_from_json(public_jwk(new.key)),
        )

    with ca.authority.database.write() as held:
        row = text("SELECT 1 FROM authorizations WHERE id = :id FOR UPDATE")
        held.execute(row, {"id": authorization.rpartition("/")[2]})
        proving, answers = in_thread(lambda: client.post(url, jwt(token)))
        await_lock(ca, "authorizations")
        changing, _ = in_thread(change)
        await_lock(ca, "accounts")
    proving.join()
    changing.join()

    assert body_of(answers[0])["status"] == "valid"
    client.signer = Signer(new.key, account)
    _, made = order(client, {"type": "uri", "value": SPIFFE_ID.replace("api", "web")})
    other = client.post(offered(client, made["authorizations"][0])["url"], jwt(cluster.token(web_pod())))
    assert body_of(other)["workloadError"] == "evidence_replayed"


def await_lock(ca: RunningCa, table: str) -> None:
    """Wait until somebody waits for a row of the table."""
    waiting = text(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM ' || :table || '%'"
    )
    for _ in range(500):
        with ca.authority.database.read() as connection:
            if connection.execute(waiting, {"table": table}).first() is not None:
                return
        time.sleep(0.02)
    raise AssertionError(f"nobody waits for a row of {table}")


def test_accounts_that_meet_over_a_workload_are_made_anyway(
    make_ca: MakeCa, settings: dict[str, Any], postgres_url: str, cluster: TokenIssuer
) -> None:
    ca = make_ca(database_url=postgres_url, **settings)
    pair = exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))
    client = ca.client()
    body = {"externalAccountBinding": binding_for(client, pair)}
    with ca.authority.database.write() as held:
        subject = Owner(
            key=Thing("test", "subject", client.signer.thumbprint).key,
            environment="test",
            kind="subject",
            owner="cluster|system:serviceaccount:pay:api",
            first_seen_at=clock.now(),
        )
        base.insert(held, subject)
        registering, answers = in_thread(lambda: client.post(client.url("newAccount"), body))
        time.sleep(0.5)
    registering.join()
    assert answers[0].status_code == 201, answers[0].text
