"""Search in the ledger: every selector finds what it says, by an index, the newest first."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.models.certificate import Certificate
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import Malformed, NotFound, Problem
from acme_ca.services import certificates
from acme_ca.vocabulary import Standing
from tests.support import ari, rows
from tests.support import ledger_lines as ledger
from tests.support.acme_client import AcmeClient
from tests.support.acme_client import certificates as certificates_of
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import b64
from tests.support.ledger_lines import line
from tests.support.web import WebServer

KEY_HASH = bytes(range(32))
SPIFFE_ID = "spiffe://test.localhost/web"
WORKLOAD: dict[str, Any] = {
    "binding_id": "b1",
    "workload_rule": "rule@2@v1",
    "workload_subject": "ns/web",
    "workload_provider": "cluster",
}


def selectors() -> dict[str, tuple[dict[str, Any], Certificate]]:
    """Ways to select, each with a certificate that it finds."""
    old = clock.now() - timedelta(days=2)
    return {
        "name": ({"name": "WWW.a.test.localhost"}, line(("dns:www.a.test.localhost",))),
        "wildcard": ({"name": "*.b.test.localhost"}, line(("dns:*.b.test.localhost",))),
        "address": ({"name": "192.0.2.7"}, line(("ip:192.0.2.7",))),
        "address 6": ({"name": "2001:DB8:0::7"}, line(("ip:2001:db8::7",))),
        "spiffe": ({"name": SPIFFE_ID}, line((f"uri:{SPIFFE_ID}", "dns:c.test.localhost"))),
        "below": ({"below": "*.deep.test.localhost"}, line(("dns:x.y.deep.test.localhost",))),
        "at": ({"below": "at.test.localhost"}, line(("dns:at.test.localhost",))),
        "serial": ({"serial": "0A:BC"}, line(serial=f"{0xABC:034x}")),
        "account": ({"account_id": "acc"}, line(account_id="acc")),
        "eab": ({"eab_kid": "kid1"}, line(eab_kid="kid1")),
        "key": ({"key_sha256": KEY_HASH.hex().upper()}, line(key_sha256=KEY_HASH)),
        "issuer": ({"issuer_id": "test-2"}, line(issuer_id="test-2")),
        "profile": ({"profile": "client-1h"}, line(profile="client-1h")),
        "binding": ({"binding_id": "b0"}, line(**{**WORKLOAD, "binding_id": "b0", "workload_subject": "x"})),
        "subject": ({"subject": "ns/web"}, line(**WORKLOAD)),
        "provider": (
            {"provider": "other"},
            line(**{**WORKLOAD, "workload_subject": "y", "workload_provider": "other"}),
        ),
        "rule": ({"rule": "third"}, line(**{**WORKLOAD, "workload_subject": "z", "workload_rule": "third@v"})),
        "time": ({"until": old + timedelta(minutes=1)}, line(created_at=old)),
    }


ALL = list(selectors())


@pytest.fixture
def filled(ca: RunningCa) -> dict[str, tuple[Selection, Certificate]]:
    """A ledger with a certificate for each selector, some others, and some that were never issued."""
    found = selectors()
    ledger.put(ca.authority.database, *(wanted for _, wanted in found.values()), *(line() for _ in range(5)))
    foreign = (dataclasses.replace(wanted) for _, wanted in found.values())
    others = [_elsewhere(other, number) for number, other in enumerate(foreign)]
    ledger.put(ca.authority.database, *others)
    abandoned = [_elsewhere(dataclasses.replace(wanted), 100) for _, wanted in found.values()]
    for number, one in enumerate(abandoned):
        one.id, one.serial, one.environment = line().id, f"{2000 + number:034x}", "test"
        one.status, one.der = "abandoned", None
    ledger.put(ca.authority.database, *abandoned)
    return {name: (Selection.of("test", **how), wanted) for name, (how, wanted) in found.items()}


def _elsewhere(other: Certificate, number: int) -> Certificate:
    """The same certificate in another environment."""
    other.id, other.serial, other.environment = line().id, f"{1000 + number:034x}", "prod"
    other.order_id = f"{number}"
    return other


@pytest.mark.parametrize("name", ALL)
def test_selector_finds_its_certificate_and_no_other(
    ca: RunningCa, filled: dict[str, tuple[Selection, Certificate]], name: str
) -> None:
    selection, wanted = filled[name]
    assert [found.id for found in certificates.search(ca.authority, selection).certificates] == [wanted.id]
    for other, (_, one) in filled.items():
        assert selection.matches(one) == (other == name)
    assert Selection.load(selection.document()) == selection


def test_selectors_combine(ca: RunningCa) -> None:
    names = ("dns:a.x.test.localhost", "dns:b.x.test.localhost")
    wanted = line(names, account_id="acc", eab_kid="kid", issuer_id="test-2", **WORKLOAD)
    ledger.put(ca.authority.database, wanted, line(names), line(account_id="acc"), line(**WORKLOAD))
    fields: dict[str, str] = {
        "name": "a.x.test.localhost",
        "below": "x.test.localhost",
        "account_id": "acc",
        "eab_kid": "kid",
        "issuer_id": "test-2",
        "subject": "ns/web",
        "provider": "cluster",
        "rule": "rule@2",
        "binding_id": "b1",
        "key_sha256": wanted.key_sha256.hex(),
        "serial": wanted.serial,
    }
    for left_out in fields:
        chosen = {name: value for name, value in fields.items() if name != left_out}
        for how in (chosen, {name: value for name, value in chosen.items() if name not in ("serial", "key_sha256")}):
            selection = Selection.of("test", **how)  # type: ignore[arg-type]  # names of text fields
            found = certificates.search(ca.authority, selection).certificates
            assert [one.id for one in found] == [wanted.id], how
            for changed in ("account_id", "eab_kid", "issuer_id", "subject", "provider", "rule", "binding_id"):
                if changed in how:
                    other = dataclasses.replace(selection, **{changed: "another"})  # type: ignore[arg-type]  # text fields
                    assert certificates.search(ca.authority, other).certificates == []
                    assert not other.matches(wanted)


def test_pages_are_newest_first_and_complete(ca: RunningCa) -> None:
    start = clock.now() - timedelta(hours=1)
    lines = [line(created_at=start + timedelta(seconds=number)) for number in range(25)]
    ledger.put(ca.authority.database, *lines)
    for how in ({}, {"name": "a.test.localhost"}, {"below": "localhost"}, {"issuer_id": "test-1"}):
        seen: list[str] = []
        after = None
        while True:
            page = certificates.search(ca.authority, Selection.of("test", **how), after=after, limit=10)  # type: ignore[arg-type]  # names of text fields
            seen += [one.id for one in page.certificates]
            after = page.after
            if after is None:
                break
        assert seen == [one.id for one in reversed(lines)]


def test_standing_is_searched(ca: RunningCa) -> None:
    now = clock.now()
    valid = line()
    expired = line(created_at=now - timedelta(hours=3))
    revoked = line(revoked_at=now, revocation_reason=4)
    ledger.put(ca.authority.database, valid, expired, revoked)
    for standing, wanted in ((Standing.VALID, valid), (Standing.EXPIRED, expired), (Standing.REVOKED, revoked)):
        for selection in (Selection.of("test"), Selection.of("test", below="localhost")):
            page = certificates.search(ca.authority, selection, standing=standing)
            assert [one.id for one in page.certificates] == [wanted.id]
        assert certificates.standing_of(wanted) == standing.value


@pytest.mark.parametrize(
    ("how", "member"),
    [
        ({"name": "a b"}, "a b"),
        ({"name": "spiffe://"}, "spiffe"),
        ({"below": "*.*.a"}, "below"),
        ({"below": "a.b.c.d.e.f.g.h.i.j.k"}, "below"),
        ({"serial": "xyz"}, "serial"),
        ({"serial": ""}, "serial"),
        ({"serial": "f" * 41}, "serial"),
        ({"key_sha256": "abc"}, "key_sha256"),
        ({"since": datetime(2030, 1, 1)}, "since"),  # noqa: DTZ001 - that is what is wrong
    ],
)
def test_what_cannot_be_selected_is_named(how: dict[str, Any], member: str) -> None:
    with pytest.raises(Problem) as refusal:
        Selection.of("test", **how)
    assert refusal.value.status < 500
    assert member in refusal.value.detail


def test_wrong_pages_and_environments_are_refused(ca: RunningCa) -> None:
    for after, limit in (("x", 10), ("0" * 25, 10), (None, 0), (None, 1001), (None, -1)):
        with pytest.raises(Malformed):
            certificates.search(ca.authority, Selection.of("test"), after=after, limit=limit)
    with pytest.raises(NotFound):
        certificates.search(ca.authority, Selection.of("elsewhere"))
    known = line()
    ledger.put(ca.authority.database, known)
    assert certificates.detail(ca.authority, "test", known.serial).certificate.id == known.id
    for environment, serial in (("test", "abc"), ("prod", known.serial)):
        with pytest.raises(NotFound):
            certificates.detail(ca.authority, environment, serial)


INDEXES: dict[str, tuple[str, ...]] = {
    "name": ("certificate_terms",),
    "below": ("certificate_terms",),
    "spiffe": ("certificate_terms",),
    "eab": ("certificate_terms",),
    "subject": ("certificate_terms",),
    "provider": ("certificate_terms",),
    "rule": ("certificate_terms",),
    "serial": ("uq_certificates_serial", "sqlite_autoindex_certificates_2"),
    "account": ("ix_certificates_account_id",),
    "key": ("ix_certificates_key",),
    "issuer": ("ix_certificates_issuer",),
    "profile": ("ix_certificates_profile",),
    "binding": ("ix_certificates_binding",),
    "time": ("ix_certificates_newest", "pk_certificates"),
    "revoked": ("ix_certificates_revoked_newest",),
    "valid": ("ix_certificates_newest", "pk_certificates"),
}


def plan(database: Database, statement: Any) -> str:  # noqa: ANN401 - a SELECT
    """How the database finds it."""
    with database.read() as connection:
        postgresql = connection.dialect.name == "postgresql"
        compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        prefix = "EXPLAIN " if postgresql else "EXPLAIN QUERY PLAN "
        return "\n".join(str(row) for row in connection.exec_driver_sql(prefix + str(compiled)))


@pytest.fixture
def many(ca: RunningCa) -> Database:
    """Enough lines that a database that knows its tables takes an index."""
    database = ca.authority.database
    start = clock.now() - timedelta(days=3)
    lines = []
    for number in range(4000):
        workload = {key: f"{value}{number % 50}" for key, value in WORKLOAD.items()} if number % 2 else {}
        if workload:
            workload["binding_id"] = f"b{number % 1000}"
        lines.append(
            line(
                (f"dns:n{number % 400}.d{number % 40}.test.localhost", f"uri:{SPIFFE_ID}{number % 100}"),
                created_at=start + timedelta(minutes=number),
                account_id=f"acc{number % 200}",
                eab_kid=f"kid{number % 100}",
                issuer_id=f"test-{number % 200}",
                profile=f"profile{number % 200}",
                **({"revoked_at": start, "revocation_reason": 0} if number % 20 == 0 else {}),
                **workload,
            )
        )
    ledger.put(database, *lines)
    if database.url.get_backend_name() == "postgresql":  # which does it by itself; nobody does it for SQLite
        with database.read() as connection:
            connection.execute(text("ANALYZE"))
    return database


def test_every_search_walks_its_index(many: Database) -> None:
    selections = {
        "name": {"name": "n7.d7.test.localhost"},
        "below": {"below": "d7.test.localhost"},
        "spiffe": {"name": f"{SPIFFE_ID}7"},
        "eab": {"eab_kid": "kid7"},
        "subject": {"subject": "ns/web7"},
        "provider": {"provider": "cluster7"},
        "rule": {"rule": "rule@2"},
        "serial": {"serial": "7"},
        "account": {"account_id": "acc7"},
        "key": {"key_sha256": (b"k" * 32).hex()},
        "issuer": {"issuer_id": "test-3"},
        "profile": {"profile": "profile3"},
        "binding": {"binding_id": "b17"},
        "time": {"until": clock.now() - timedelta(days=2)},
        "revoked": {},
        "valid": {},
    }
    assert selections.keys() == INDEXES.keys()
    for name, how in selections.items():
        conditions = {"revoked": (certificates._condition(Standing.REVOKED),), "valid": (standing_at(clock.now()),)}
        statement = Selection.of("test", **how).lines(*conditions.get(name, ())).limit(10)  # type: ignore[arg-type]  # names of fields
        found = plan(many, statement)
        assert any(index in found for index in INDEXES[name]), f"{name}: {found}"
        assert "SCAN certificates\n" not in found, f"{name}: {found}"
        assert "Seq Scan" not in found, f"{name}: {found}"
        if name not in ("serial", "binding", "key", "revoked"):  # which have few
            assert "Sort" not in found, f"{name}: {found}"
            assert "TEMP B-TREE" not in found, f"{name}: {found}"


def serial_of(der: bytes) -> str:
    return f"{x509.load_der_x509_certificate(der).serial_number:x}"


def obtain_lineage(client: AcmeClient, website: WebServer, length: int) -> list[bytes]:
    """Certificates of which each replaces the one before."""
    ders: list[bytes] = []
    for _ in range(length):
        replaces = {"replaces": ari.identifier(ders[-1])} if ders else {}
        order = issue(client, website, ["a.test.localhost"], **replaces)
        ders.append(certificates_of(client.ok(order["certificate"]).text)[0].public_bytes(Encoding.DER))
    return ders


def test_detail_tells_how_a_name_was_proved_after_the_order_is_swept(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    (der,) = obtain_lineage(client, website, 1)
    assert certificates.detail(ca.authority, "test", serial_of(der)).order is not None
    for table in ("orders", "authorizations"):
        rows.change(ca.authority.database, f"DELETE FROM {table}")
    detail = certificates.detail(ca.authority, "test", serial_of(der))
    assert (detail.standing, detail.order, detail.key_blocked) == ("valid", None, False)
    leaf = x509.load_der_x509_certificate(der)
    assert detail.certificate.der == der
    assert x509.load_der_x509_certificate(detail.chain[0]).subject == leaf.issuer
    assert detail.evidence is not None
    (proof,) = detail.evidence["proofs"]
    assert (proof["identifier"], proof["challenge"]) == ("dns:a.test.localhost", "http-01")
    (record,) = proof["records"]
    assert record["addressUsed"].startswith("127.")
    assert "resolver" in record
    policy = ca.authority.environments["test"].policy
    assert detail.evidence["rules"] == [rule.name for rule in policy.rules[:1]]
    assert detail.certificate.policy_version == policy.version


def test_much_evidence_is_kept_compressed(ca: RunningCa, website: WebServer) -> None:
    names = [f"n{number}.test.localhost" for number in range(8)]
    issue(ca.client().register(), website, names)
    ((serial, packed),) = rows.select(ca.authority.database, "SELECT serial, evidence FROM certificates")
    assert not bytes(packed).startswith(b"{")
    detail = certificates.detail(ca.authority, "test", serial)
    assert detail.evidence is not None
    assert [proof["identifier"] for proof in detail.evidence["proofs"]] == [f"dns:{name}" for name in names]
    assert len(packed) < len(str(detail.evidence)) / 3


def test_detail_tells_the_lineage_both_ways(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    ders = obtain_lineage(client, website, 3)
    for number, der in enumerate(ders):
        detail = certificates.detail(ca.authority, "test", serial_of(der))
        assert [one.der for one in detail.replaces] == ders[:number][::-1]
        assert [one.der for one in detail.replaced_by] == ders[number + 1 :]
    client.ok(client.url("revokeCert"), {"certificate": b64(ders[0]), "reason": 1})
    detail = certificates.detail(ca.authority, "test", serial_of(ders[0]).upper())
    assert (detail.standing, detail.key_blocked) == ("revoked", True)


def test_evidence_is_kept_as_long_as_the_certificate_lives(ca: RunningCa) -> None:
    now = clock.now()
    lives = line(evidence=b"x", created_at=now - timedelta(days=60), not_after=now + timedelta(days=60))
    just_ended = line(evidence=b"x", created_at=now - timedelta(days=29))
    ended = [line(evidence=b"x", created_at=now - timedelta(days=31)) for _ in range(3)]
    ledger.put(ca.authority.database, lives, just_ended, *ended)
    assert certificates.sweep(ca.authority) == 3
    assert certificates.sweep(ca.authority) == 0
    kept = rows.select(ca.authority.database, "SELECT id FROM certificates WHERE evidence IS NOT NULL")
    assert {row.id for row in kept} == {lives.id, just_ended.id}
