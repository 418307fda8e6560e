"""Revocation lists: who is on them, for how long, what they are numbered, and how they are served."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from flask.testing import FlaskClient

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.metrics import render
from acme_ca.models import base
from acme_ca.models import crl as models
from acme_ca.models.crl import Crl
from acme_ca.pki.issuer import new_serial
from acme_ca.problems import NotFound
from acme_ca.services import crls
from tests.support import ledger, rows
from tests.support.ca import RunningCa, start_ca, with_environment

MakeCa = Callable[..., RunningCa]


@pytest.fixture
def make_ca(status_settings: Config, tmp_path: Path, sqlite_url: str) -> Iterator[MakeCa]:
    """Return a CA whose environment `test` has some settings changed; each one on the same database."""
    running = []

    def make(database_url: str = sqlite_url, status_url: str | None = None, **changes: object) -> RunningCa:
        profiles = ("server-1h", "server-7d")
        settings = with_environment(status_settings, "test", profiles=profiles, **changes)
        if status_url is not None:
            status = settings.listener.status.model_copy(update={"url": status_url})
            listener = settings.listener.model_copy(update={"status": status})
            settings = settings.model_copy(update={"listener": listener})
        running.append(start_ca(settings, database_url, tmp_path / "state"))
        return running[-1]

    yield make
    for ca in running:
        ca.close()


def fetch(ca: RunningCa, key: str = "test-1") -> x509.CertificateRevocationList:
    """The list as it is served, its signature verified."""
    response = ca.app.test_client().get(f"/crl/{key}.crl")
    assert response.status_code == 200, response.text
    found = x509.load_der_x509_crl(response.data)
    issuer = ca.authority.environments["test"].issuers[0]
    public_key = issuer.certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(public_key)
    return found


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {one.serial_number for one in crl}


def let_be_due(ca: RunningCa) -> None:
    rows.change(ca.authority.database, "UPDATE crls SET due_at = :then", then=rows.LONG_AGO)


def test_a_first_list_is_empty_and_says_what_it_has_to(make_ca: MakeCa) -> None:
    ca = make_ca()
    assert ca.app.test_client().get("/crl/test-1.crl").status_code == 404
    assert crls.publish_due(ca.authority) == 3
    assert crls.publish_due(ca.authority) == 0
    found, issuer = fetch(ca), ca.authority.environments["test"].issuers[0]
    assert {(one.oid, one.critical) for one in found.extensions} == {
        (x509.AuthorityKeyIdentifier.oid, False),
        (x509.CRLNumber.oid, False),
    }
    authority = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == issuer.key_id
    assert found.issuer == issuer.certificate.subject
    assert found.next_update_utc == found.last_update_utc + timedelta(days=1, minutes=1)
    assert serials(found) == set()


@pytest.mark.parametrize(
    ("reason", "flag"),
    [
        (0, None),
        (1, x509.ReasonFlags.key_compromise),
        (3, x509.ReasonFlags.affiliation_changed),
        (4, x509.ReasonFlags.superseded),
        (5, x509.ReasonFlags.cessation_of_operation),
        (9, x509.ReasonFlags.privilege_withdrawn),
    ],
)
def test_a_revocation_is_on_the_next_list_with_its_reason(
    make_ca: MakeCa, database_url: str, reason: int, flag: x509.ReasonFlags | None
) -> None:
    ca = make_ca(database_url)
    line, other = ledger.issue(ca.authority), ledger.issue(ca.authority, "prod", "server-1h")
    crls.publish_due(ca.authority)
    before = fetch(ca)
    ledger.revoke(ca.authority, line, reason)
    ledger.revoke(ca.authority, other)
    assert crls.publish_due(ca.authority) == 2
    (entry,) = after = fetch(ca)
    assert entry.serial_number == int(line.serial, 16)
    reasons = [one.value.reason for one in entry.extensions if isinstance(one.value, x509.CRLReason)]
    assert reasons == ([flag] if flag is not None else [])
    assert number_of(after) > number_of(before)
    query = "SELECT subject FROM audit_events WHERE event = 'crl.published' AND subject = 'test-1'"
    assert len(rows.select(ca.authority.database, query)) == 2


def test_a_short_lived_certificate_is_on_the_list_too(make_ca: MakeCa) -> None:
    """It says that there is no revocation; who looks all the same finds it."""
    ca = make_ca()
    line = ledger.issue(ca.authority, profile="server-1h")
    ledger.revoke(ca.authority, line)
    crls.publish_due(ca.authority)
    assert serials(fetch(ca)) == {int(line.serial, 16)}


def test_an_entry_leaves_only_after_a_list_that_was_made_when_its_certificate_had_ended(make_ca: MakeCa) -> None:
    ca = make_ca()
    week, hour = 7 * 86_400, 3_600
    just_ended = ledger.issue(ca.authority, shift=-week - hour)
    long_ended = ledger.issue(ca.authority, shift=-2 * week)
    for line in (just_ended, long_ended):
        ledger.revoke(ca.authority, line)
    crls.publish_due(ca.authority)
    assert serials(fetch(ca)) == {int(just_ended.serial, 16)}
    # The last list is from before the long ended one ended: nobody made one for more than a week.
    then = (datetime.now(UTC) - timedelta(seconds=2 * week)).strftime("%Y-%m-%d %H:%M:%S.%f")
    rows.change(ca.authority.database, "UPDATE crls SET this_update = :then", then=then)
    let_be_due(ca)
    crls.publish_due(ca.authority)
    assert serials(fetch(ca)) == {int(just_ended.serial, 16), int(long_ended.serial, 16)}
    let_be_due(ca)
    crls.publish_due(ca.authority)
    assert serials(fetch(ca)) == {int(just_ended.serial, 16)}


def test_shards_together_are_the_whole_and_say_what_they_are(make_ca: MakeCa) -> None:
    ca = make_ca(crl_shards=4)
    lines = [ledger.issue(ca.authority, serial=2**128 + number) for number in range(8)]
    for line in lines[:6]:
        ledger.revoke(ca.authority, line)
    crls.publish_due(ca.authority)
    whole, parts = fetch(ca), [fetch(ca, f"test-1/{shard}") for shard in range(4)]
    assert set().union(*map(serials, parts)) == serials(whole) == {int(line.serial, 16) for line in lines[:6]}
    assert sum(len(part) for part in parts) == len(whole)
    for line in lines:
        leaf = x509.load_der_x509_certificate(line.der or b"")
        (point,) = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        part = parts[line.crl_shard]
        only = part.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert only.critical
        assert only.value.full_name == point.full_name
        assert (leaf.serial_number in serials(part)) == (line in lines[:6])


def test_shards_name_every_url_under_which_they_ever_were(make_ca: MakeCa) -> None:
    def published(ca: RunningCa) -> list[str]:
        only = fetch(ca, "test-1/1").extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
        return [name.value for name in only.full_name or ()]

    def names(ca: RunningCa) -> str:
        serial = new_serial() | 1  # of shard 1
        leaf = x509.load_der_x509_certificate(ledger.issue(ca.authority, serial=serial).der or b"")
        (point,) = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        return str((point.full_name or [])[0].value)

    ca = make_ca(crl_shards=2)
    crls.publish_due(ca.authority)
    old = names(ca)
    assert published(ca) == [old]
    rows.change(ca.authority.database, "UPDATE crls SET due_at = '2999-01-01 00:00:00.000000'")
    moved = make_ca(crl_shards=2, status_url="http://elsewhere.example:8080")
    for _ in range(2):
        crls.publish_due(moved.authority)
    assert published(moved) == [old, names(moved)]
    assert len(fetch(moved).extensions) == 2, "the full list is for all URLs"


def test_another_number_of_shards_moves_no_certificate(make_ca: MakeCa) -> None:
    ca = make_ca(crl_shards=8)
    crls.publish_due(ca.authority)
    lines = [ledger.issue(ca.authority, serial=2**128 + number) for number in range(8)]
    for shards in (1, 3):
        later = make_ca(crl_shards=shards)
        while crls.publish_due(later.authority):
            pass
        line = lines[7 - shards]
        ledger.revoke(later.authority, line)
        assert crls.publish_due(later.authority) == 2, "the whole, and the shard that the certificate names"
        assert int(line.serial, 16) in serials(fetch(later, f"test-1/{line.crl_shard}"))
        assert int(line.serial, 16) in serials(fetch(later))


def test_what_is_revoked_while_a_list_is_made_is_on_the_next_one(make_ca: MakeCa, database_url: str) -> None:
    ca = make_ca(database_url)
    line = ledger.issue(ca.authority)
    crls.publish_due(ca.authority)
    let_be_due(ca)
    environment = ca.authority.environments["test"]
    before = crls._claim(ca.authority, "test-1")
    assert before is not None
    assert crls._claim(ca.authority, "test-1") is None, "one process makes it"
    after = crls._made(ca.authority, environment, environment.issuers[0], before)
    ledger.revoke(ca.authority, line)
    with ca.authority.database.write() as connection:
        assert models.publish(connection, before, after)
        assert not models.publish(connection, before, after), "another list took its place"
    assert serials(fetch(ca)) == set()
    assert crls.publish_due(ca.authority) >= 1
    assert serials(fetch(ca)) == {int(line.serial, 16)}


def test_a_broken_signer_keeps_its_old_list_and_no_other_from_being_made(make_ca: MakeCa) -> None:
    ca = make_ca()
    crls.publish_due(ca.authority)
    old = fetch(ca)
    break_signer(ca)
    let_be_due(ca)
    assert crls.publish_due(ca.authority) == 2
    assert fetch(ca) == old


def test_a_signer_that_never_made_a_list_is_told(make_ca: MakeCa) -> None:
    ca = make_ca()
    break_signer(ca)
    assert crls.publish_due(ca.authority) == 2
    answer = ca.app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["revocation lists"] == "never made or past their nextUpdate: test-1"  # type: ignore[index]  # it is JSON


def break_signer(ca: RunningCa) -> None:
    object.__setattr__(ca.authority.environments["test"].issuers[0], "key", Broken())


class Broken(ec.EllipticCurvePrivateKey):
    """A key whose token is away."""

    def _away(self, *_arguments: object) -> None:
        raise OSError("the token is away")

    exchange = sign = private_bytes = private_numbers = public_key = _away  # type: ignore[assignment]  # all fail alike
    __copy__ = __deepcopy__ = _away  # type: ignore[assignment]  # all fail alike

    @property
    def curve(self) -> ec.EllipticCurve:
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        return 256


def test_numbers_do_not_go_back_with_a_restored_database(make_ca: MakeCa, tmp_path: Path) -> None:
    ca = make_ca()
    crls.publish_due(ca.authority)
    path, copy = ca.authority.database.url.database or "", tmp_path / "backup.db"
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    for database in (source, target):
        database.close()
    let_be_due(ca)
    crls.publish_due(ca.authority)
    newest = number_of(fetch(ca))
    restored = make_ca(f"sqlite:///{copy}")
    let_be_due(restored)
    crls.publish_due(restored.authority)
    assert number_of(fetch(restored)) > newest


def test_a_list_is_made_again_at_half_its_life_and_the_first_one_soon(make_ca: MakeCa) -> None:
    ca = make_ca(crl_lifetime=7_200)

    def waits() -> timedelta:
        (found,) = [one for one in _all(ca) if one.key == "test-1"]
        return found.due_at - (found.this_update or found.due_at) - timedelta(minutes=1)

    crls.publish_due(ca.authority)
    assert waits() < timedelta(seconds=62)
    let_be_due(ca)
    crls.publish_due(ca.authority)
    assert timedelta(seconds=3_600) <= waits() < timedelta(seconds=3_602)


def _all(ca: RunningCa) -> list[Crl]:
    with ca.authority.database.read() as connection:
        return base.find(connection, Crl, base.select(Crl))


def test_a_list_is_valid_for_clocks_that_are_behind_and_never_before_the_last_one(make_ca: MakeCa) -> None:
    ca = make_ca()
    crls.publish_due(ca.authority)
    first = fetch(ca)
    assert timedelta(seconds=59) < datetime.now(UTC) - first.last_update_utc < timedelta(seconds=80)

    def following(last: timedelta) -> timedelta:
        """How old the next list is when the last one was dated so."""
        then = (datetime.now(UTC) - last).strftime("%Y-%m-%d %H:%M:%S.000000")
        rows.change(ca.authority.database, "UPDATE crls SET this_update = :then, due_at = :then", then=then)
        let_be_due(ca)
        crls.publish_due(ca.authority)
        return datetime.now(UTC) - fetch(ca).last_update_utc

    assert timedelta(seconds=29) < following(timedelta(seconds=30)) < timedelta(seconds=50), "as old as the last one"
    assert timedelta(seconds=59) < following(timedelta(days=-1)) < timedelta(seconds=80), "the clock had been ahead"


def test_caches_may_keep_a_list_and_ask_again(make_ca: MakeCa) -> None:
    ca = make_ca()
    crls.publish_due(ca.authority)
    client = ca.app.test_client()
    first = client.get("/crl/test-1.crl")
    assert first.content_type == "application/pkix-crl"
    assert first.headers["Cache-Control"] == "public, max-age=60"
    assert first.last_modified is None
    assert first.expires == x509.load_der_x509_crl(first.data).next_update_utc
    again = client.get("/crl/test-1.crl", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    since = {"If-Modified-Since": formatdate(usegmt=True)}
    assert client.get("/crl/test-1.crl", headers=since).status_code == 200, "another may have followed in this second"
    head = client.head("/crl/test-1.crl")
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(first.data))
    let_be_due(ca)
    crls.publish_due(ca.authority)
    newer = client.get("/crl/test-1.crl", headers={"If-None-Match": first.headers["ETag"]})
    assert newer.status_code == 200
    assert client.post("/crl/test-1.crl").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["none.crl", "test-1/0.crl", "test-1/00.crl", "test-1/x.crl", "%00.crl", "%C3%A9.crl", "..%2Ftest-1.crl", ".crl"],
)
def test_a_list_that_is_not_there_is_not_found(client: FlaskClient, ca: RunningCa, path: str) -> None:
    crls.publish_due(ca.authority)
    assert client.get(f"/crl/{path}").status_code == 404


def test_a_list_past_its_end_is_served_told_and_not_cached(make_ca: MakeCa) -> None:
    ca = make_ca()
    crls.publish_due(ca.authority)
    client = ca.app.test_client()
    assert client.get("/readyz").json["checks"]["revocation lists"] == "ok"  # type: ignore[index]  # it is JSON
    rows.change(ca.authority.database, "UPDATE crls SET next_update = :then WHERE key = 'test-1'", then=rows.LONG_AGO)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["revocation lists"] == "never made or past their nextUpdate: test-1"  # type: ignore[index]  # it is JSON
    assert client.get("/crl/test-1.crl").headers["Cache-Control"] == "public, max-age=0"


def test_operators_list_them_and_ask_for_new_ones(make_ca: MakeCa) -> None:
    ca = make_ca(crl_shards=2)
    with pytest.raises(NotFound):
        crls.regenerate(ca.authority, by="uid:0")
    crls.publish_due(ca.authority)
    found = crls.listing(ca.authority)
    assert [one.key for one in found] == ["dev-1", "prod-1", "test-1", "test-1/0", "test-1/1"]
    assert crls.listing(ca.authority, after="prod-1", limit=2) == found[2:4]
    assert crls.regenerate(ca.authority, "test-1", by="uid:0") == ["test-1", "test-1/0", "test-1/1"]
    assert crls.publish_due(ca.authority) == 3
    again = {one.key: one.number for one in crls.listing(ca.authority)}
    assert [one.key for one in found if again[one.key] > one.number] == ["test-1", "test-1/0", "test-1/1"]
    with pytest.raises(NotFound):
        crls.regenerate(ca.authority, "none", by="uid:0")


def test_figures_of_all_lists_are_shown(make_ca: MakeCa) -> None:
    ca = make_ca(crl_shards=2)
    ledger.revoke(ca.authority, ledger.issue(ca.authority, serial=2**128))
    crls.publish_due(ca.authority)
    crls.show(ca.authority)
    text = render().decode()
    for shard, entries in (("", 1.0), ("0", 1.0), ("1", 0.0)):
        labels = f'{{environment="test",issuer="test-1",shard="{shard}"}}'
        assert f"acme_ca_crl_entries{labels} {entries}" in text
        assert f"acme_ca_crl_number{labels} " in text
        assert f"acme_ca_crl_next_update_timestamp_seconds{labels} " in text


def test_an_issuer_that_ended_makes_no_more_lists(make_ca: MakeCa) -> None:
    ca = make_ca()
    issuer = ca.authority.environments["test"].issuers[0]
    after = issuer.certificate.not_valid_after_utc
    assert [one.id for _, one in crls._publishing(ca.authority, clock.now())] == ["dev-1", "test-1", "prod-1"]
    assert [one.id for _, one in crls._publishing(ca.authority, after)] == []
