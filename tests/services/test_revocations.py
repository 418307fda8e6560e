"""Revocation by operators: counted first, done in batches, and never of anything else."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme_ca import clock
from acme_ca.models import account, certificate
from acme_ca.models.certificate import Certificate
from acme_ca.models.selection import Selection
from acme_ca.named import key_hash_of
from acme_ca.pki import csr as requests
from acme_ca.problems import BadRevocationReason, Conflict, Contended, Malformed, NotFound
from acme_ca.services import account_search, blocked_keys, issuance, revocation, revocations, selecting
from acme_ca.services.issuance import Claim
from acme_ca.services.selecting import Expected
from tests.support import ledger_lines as ledger
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize
from tests.support.jws import Signer
from tests.support.ledger_lines import line
from tests.support.web import WebServer

BELOW = Selection.of("test", below="x.test.localhost")
BY = "admin:alice"


def put_many(ca: RunningCa, count: int) -> set[str]:
    """Certificates below x.test.localhost, and others; the ids of the former."""
    wanted = [line((f"dns:n{number}.x.test.localhost",)) for number in range(count)]
    ledger.put(ca.authority.database, *wanted, *(line((f"dns:n{number}.test.localhost",)) for number in range(20)))
    return {one.id for one in wanted}


def test_preview_counts_and_changes_nothing(ca: RunningCa) -> None:
    put_many(ca, 7)
    found = selecting.preview(ca.authority, BELOW)
    assert found.total == 7
    assert ledger.revoked(ca.authority.database) == set()
    assert selecting.preview(ca.authority, BELOW, as_of=found.as_of) == found
    put_many(ca, 1)
    assert selecting.preview(ca.authority, BELOW, as_of=found.as_of) == found, "as it was then"
    assert selecting.preview(ca.authority, BELOW).total == 8


def test_large_set_is_revoked_in_batches(ca: RunningCa) -> None:
    wanted = put_many(ca, 620)
    started = revocations.start(ca.authority, BELOW, 4, by=BY, expected=Expected(total=620))
    assert (started.status, started.total, started.revoked) == ("running", 620, 500)
    assert revocations.resume(ca.authority) == 120
    with pytest.raises(NotFound):
        revocations.get(ca.authority, "prod", started.id)
    done = revocations.get(ca.authority, "test", started.id)
    assert (done.status, done.revoked, done.skipped) == ("finished", 620, 0)
    assert ledger.revoked(ca.authority.database) == wanted
    assert revocations.resume(ca.authority) == 0
    events = rows.select(ca.authority.database, "SELECT event, actor FROM audit_events ORDER BY id")
    counted = [event.event for event in events if event.event.startswith(("revocation.", "certificate."))]
    assert counted == ["revocation.started", *["certificate.revoked"] * 620, "revocation.finished"]
    assert all(event.actor == BY for event in events if event.event == "certificate.revoked")
    again = revocations.start(ca.authority, BELOW, 4, by=BY, expected=Expected(total=0))
    assert (again.status, again.revoked) == ("finished", 0)
    page = revocations.page(ca.authority, "test", limit=1)
    assert [one.id for one in page.revocations] == [again.id]
    assert [one.id for one in revocations.page(ca.authority, "test", after=page.after).revocations] == [started.id]


def test_only_what_is_expected_is_done(ca: RunningCa) -> None:
    put_many(ca, 3)
    before = selecting.preview(ca.authority, BELOW)
    for expected in (Expected(), Expected(total=2), Expected(total=4), Expected(as_of=before.as_of, digest="0" * 64)):
        with pytest.raises(Conflict):
            revocations.start(ca.authority, BELOW, 4, by=BY, expected=expected)
    with pytest.raises(Malformed, match="as_of"):
        revocations.start(ca.authority, BELOW, 4, by=BY, expected=Expected(digest=before.digest))
    with pytest.raises(Malformed, match="as_of"):
        selecting.preview(ca.authority, BELOW, as_of=clock.now() + timedelta(hours=1))
    with pytest.raises(NotFound):
        selecting.preview(ca.authority, Selection.of("elsewhere"))
    assert ledger.revoked(ca.authority.database) == set()
    later = put_many(ca, 2)
    done = revocations.start(ca.authority, BELOW, 4, by=BY, expected=before.expected)
    assert done.revoked == 3
    assert not later & ledger.revoked(ca.authority.database), "they were not counted"


@pytest.mark.parametrize("reason", [0, 1, 3, 4, 5, 9])
def test_reason_is_kept(ca: RunningCa, reason: int) -> None:
    one = line()
    ledger.put(ca.authority.database, one)
    revocations.start(ca.authority, Selection.of("test", serial=one.serial), reason, by=BY)
    (found,) = rows.select(ca.authority.database, "SELECT revocation_reason FROM certificates")
    assert found.revocation_reason == reason


@pytest.mark.parametrize("reason", [-1, 2, 6, 7, 8, 10, 11, 2**80])
def test_other_reasons_are_refused(ca: RunningCa, reason: int) -> None:
    with pytest.raises(BadRevocationReason):
        revocations.start(ca.authority, BELOW, reason, by=BY)


def test_what_expired_or_was_revoked_meanwhile_is_skipped(ca: RunningCa) -> None:
    wanted = sorted(put_many(ca, 4))
    found = selecting.preview(ca.authority, BELOW)
    rows.change(
        ca.authority.database,
        "UPDATE certificates SET not_after = :then WHERE id = :id",
        id=wanted[0],
        then=rows.hours_ago(0),
    )
    other = revocations.start(ca.authority, Selection.of("test", name="n1.x.test.localhost"), 4, by=BY)
    assert other.revoked == 1
    done = revocations.start(ca.authority, BELOW, 4, by=BY, expected=found.expected)
    assert (done.status, done.revoked, done.skipped) == ("finished", 2, 2)


def test_compromised_key_is_blocked_everywhere(ca: RunningCa, website: WebServer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    client = ca.client().register()
    names = ["a.test.localhost"]
    _, order = client.order(names)
    authorize(client, website, order)
    finished = body_of(client.finalize(order, make_csr(names, key)))
    serial = f"{certificates(client.ok(finished['certificate']).text)[0].serial_number:x}"
    revocations.start(ca.authority, Selection.of("test", serial=serial), 1, by=BY)
    _, order = client.order(names)
    assert client.finalize(order, make_csr(names, key)).json["type"].endswith("badCSR")  # type: ignore[index]  # a problem
    other = AcmeClient(client.app, ca.client("prod").base, Signer(key))
    assert other.refused(other.url("newAccount"), {"termsOfServiceAgreed": True})[0] == "badPublicKey"
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert blocked_keys.unblock(ca.authority, key_hash_of(pem), "a mistake", by=BY).serial == f"{int(serial, 16):034x}"
    assert body_of(client.finalize(order, make_csr(names, key)))["status"] == "valid"


def test_compromised_keys_of_many_begin_no_further_revocation_unless_others_have_them(ca: RunningCa) -> None:
    key, other = b"x" * 32, b"y" * 32
    lines = [line((f"dns:n{number}.x.test.localhost",), key_sha256=key) for number in range(90)]
    ended = line(("dns:n.x.test.localhost",), key_sha256=other)
    elsewhere = line(("dns:n.y.test.localhost",), key_sha256=other)
    ledger.put(ca.authority.database, *lines, ended, elsewhere)
    found = selecting.preview(ca.authority, BELOW)
    rows.change(
        ca.authority.database,
        "UPDATE certificates SET not_after = :then WHERE id = :id",
        id=ended.id,
        then=rows.hours_ago(0),
    )
    done = revocations.start(ca.authority, BELOW, 1, by=BY, expected=found.expected)
    assert (done.status, done.revoked, done.skipped) == ("finished", 90, 1)
    begun = revocations.page(ca.authority, "test").revocations
    assert [(one.total, one.id == done.id) for one in begun] == [(1, False), (91, True)]
    revocations.resume(ca.authority)
    assert ledger.revoked(ca.authority.database) == {one.id for one in (*lines, elsewhere)}
    assert len(blocked_keys.page(ca.authority).keys) == 2


@pytest.fixture
def claimed(ca: RunningCa, website: WebServer) -> tuple[AcmeClient, str, Claim]:
    """A client, its order, and what is being signed for it."""
    client = ca.client().register()
    url, order = client.order(["n.x.test.localhost"])
    authorize(client, website, order)
    csr = make_csr(["n.x.test.localhost"])
    signer = account.Signer(rows.id_of(str(client.signer.kid)), client.signer.thumbprint)
    environment = ca.authority.environments["test"]
    made = issuance._claimed(ca.authority, environment, signer, rows.id_of(url), csr, requests.parse(csr))
    assert isinstance(made, Claim)
    return client, url, made


def test_what_is_being_signed_is_counted_and_is_issued_all_the_same(
    ca: RunningCa, claimed: tuple[AcmeClient, str, Claim]
) -> None:
    before = selecting.preview(ca.authority, BELOW)
    assert before.total == 1
    issuance._issue(ca.authority, claimed[2])
    done = revocations.start(ca.authority, BELOW, 4, by=BY, expected=before.expected)
    assert (done.total, done.revoked, done.skipped) == (1, 1, 0)
    assert ledger.revoked(ca.authority.database) == {claimed[2].line.id}


def test_what_is_being_claimed_is_counted_when_it_is_committed(ca: RunningCa) -> None:
    """Its time is before that of the count, and it is written after."""
    found: list[int] = []
    counting = Thread(target=lambda: found.append(selecting.preview(ca.authority, BELOW).total))
    with ca.authority.database.write() as connection:
        certificate.add(connection, line(("dns:n.x.test.localhost",)))
        counting.start()
        counting.join(0.5)
        assert found == [], "it waits"
    counting.join(30)
    assert found == [1]


def test_what_is_being_signed_is_abandoned_and_its_order_goes_on(
    ca: RunningCa, claimed: tuple[AcmeClient, str, Claim]
) -> None:
    client, url, claim = claimed
    done = revocations.start(ca.authority, BELOW, 4, by=BY)
    assert (done.total, done.revoked, done.skipped) == (1, 0, 1)
    with pytest.raises(Contended):
        issuance._issue(ca.authority, claim)
    assert client.get(url)["status"] == "processing"
    rows.hasten(ca.authority.database)
    issuance.resume_due(ca.authority)
    found = rows.serials(ca.authority.database, client)
    assert found.pop(claim.line.serial) == "abandoned"
    assert list(found.values()) == ["issued"]
    assert client.get(url)["status"] == "valid"
    query = "SELECT actor FROM audit_events WHERE event = 'certificate.abandoned'"
    assert [row.actor for row in rows.select(ca.authority.database, query)] == [BY]


def test_nothing_is_issued_to_an_account_that_ended_while_it_was_signed(
    ca: RunningCa, claimed: tuple[AcmeClient, str, Claim]
) -> None:
    client, url, claim = claimed
    account_search.end(ca.authority, "test", claim.order.account_id, by=BY, revoke=5)
    with pytest.raises(Contended):
        issuance._issue(ca.authority, claim)
    rows.hasten(ca.authority.database)
    issuance.resume_due(ca.authority)
    assert rows.serials(ca.authority.database, client) == {claim.line.serial: "abandoned"}
    query = "SELECT status FROM orders WHERE id = :id"
    assert rows.select(ca.authority.database, query, id=rows.id_of(url))[0].status == "invalid"


def test_what_is_being_signed_for_a_compromised_key_is_abandoned(
    ca: RunningCa, claimed: tuple[AcmeClient, str, Claim]
) -> None:
    client, _, claim = claimed
    other = line(("dns:a.test.localhost",), key_sha256=claim.line.key_sha256)
    ledger.put(ca.authority.database, other)
    revocations.start(ca.authority, Selection.of("test", serial=other.serial), 1, by=BY)
    revocations.resume(ca.authority)
    with pytest.raises(Contended):
        issuance._issue(ca.authority, claim)
    rows.hasten(ca.authority.database)
    issuance.resume_due(ca.authority)
    assert rows.serials(ca.authority.database, client) == {claim.line.serial: "abandoned"}


CRASHING = """
import os, sys
from pathlib import Path
from acme_ca import config
from acme_ca.authority import Authority
from acme_ca.services import revocation, revocations
settings = config.load(Path(sys.argv[1]))
ca = Authority(settings.model_copy(update={
    "database": settings.database.model_copy(update={"url": sys.argv[2]}), "state": Path(sys.argv[3])}))
done, record = 0, revocation.record
def dying(*arguments, **details):
    global done
    done += 1
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), 9)
    record(*arguments, **details)
revocation.record = dying
revocations.resume(ca)
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(
    ca: RunningCa, service_folder: Path, tmp_path: Path, database_url: str
) -> None:
    wanted = put_many(ca, 350)
    found = selecting.preview(ca.authority, BELOW)
    with ca.authority.database.write() as connection:
        started = revocation.begin(connection, BELOW, 4, total=found.total, as_of=found.as_of, by=BY)
    for died_at, kept in ((150, 100), (120, 200)):
        command = [sys.executable, "-c", CRASHING, str(service_folder), database_url, str(tmp_path / "s"), str(died_at)]
        assert subprocess.run(command, check=False, timeout=60).returncode == -9
        assert revocations.get(ca.authority, "test", started.id).revoked == kept
        assert len(ledger.revoked(ca.authority.database)) == kept
    assert revocations.resume(ca.authority) == 150
    done = revocations.get(ca.authority, "test", started.id)
    assert (done.status, done.revoked, done.skipped) == ("finished", 350, 0)
    assert ledger.revoked(ca.authority.database) == wanted
    query = "SELECT subject FROM audit_events WHERE event = 'certificate.revoked'"
    events = [event.subject for event in rows.select(ca.authority.database, query)]
    assert sorted(events) == sorted(wanted), "each once"


FEW = st.sampled_from(["a", "b"])
LINES = st.builds(
    lambda name, account, eab, issuer, profile, subject: line(
        (f"dns:{name}.test.localhost", "dns:both.x.test.localhost"),
        account_id=account,
        eab_kid=eab,
        issuer_id=issuer,
        profile=profile,
        **(
            {
                "workload_subject": subject,
                "workload_provider": "p",
                "workload_rule": f"{subject}@1",
                "binding_id": subject,
            }
            if subject
            else {}
        ),
    ),
    FEW,
    FEW,
    st.none() | FEW,
    FEW,
    FEW,
    st.none() | FEW,
)
SELECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": FEW.map("{}.test.localhost".format),
        "below": st.sampled_from(["x.test.localhost", "a.test.localhost", "localhost"]),
        "account_id": FEW,
        "eab_kid": FEW,
        "issuer_id": FEW,
        "profile": FEW,
        "subject": FEW,
        "rule": FEW,
        "provider": st.sampled_from(["p", "q"]),
        "binding_id": FEW,
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, min_size=1, max_size=12), how=SELECTIONS)
def test_nothing_outside_the_selection_is_ever_touched(
    ca: RunningCa, lines: list[Certificate], how: dict[str, str]
) -> None:
    for one in lines:  # examples may repeat what an earlier one wrote
        fresh = line()
        one.id, one.serial, one.order_id, one.revoked_at = fresh.id, fresh.serial, fresh.order_id, None
    rows.change(ca.authority.database, "DELETE FROM certificates")
    rows.change(ca.authority.database, "DELETE FROM certificate_terms")
    ledger.put(ca.authority.database, *lines)
    selection = Selection.of("test", **how)  # type: ignore[arg-type]  # names of text fields
    wanted = {one.id for one in lines if selection.matches(one)}
    found = selecting.preview(ca.authority, selection)
    assert found.total == len(wanted)
    revocations.start(ca.authority, selection, 0, by=BY, expected=found.expected)
    assert ledger.revoked(ca.authority.database) == wanted


def test_keys_are_blocked_listed_and_unblocked(ca: RunningCa) -> None:
    hashes = [bytes([number]) * 32 for number in range(5)]
    for key in hashes:
        made = blocked_keys.block(ca.authority, key, "on a stolen disk", by=BY)
        assert blocked_keys.block(ca.authority, key, "again", by="uid:0").blocked_at == made.blocked_at
    first = blocked_keys.page(ca.authority, limit=3)
    second = blocked_keys.page(ca.authority, limit=3, after=first.after)
    assert [key.key_sha256 for key in (*first.keys, *second.keys)] == hashes
    assert second.after is None
    blocked_keys.unblock(ca.authority, hashes[0], "it was another disk", by=BY)
    with pytest.raises(NotFound):
        blocked_keys.unblock(ca.authority, hashes[0], "twice", by=BY)
    query = "SELECT event FROM audit_events WHERE event LIKE 'key.%'"
    assert [event.event for event in rows.select(ca.authority.database, query)] == ["key.blocked"] * 5 + [
        "key.unblocked"
    ]


@pytest.mark.parametrize(
    "text", ["", "x", "ab" * 31, "-----BEGIN", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="key"):
        key_hash_of(text)
