"""OCSP as it is answered over HTTP: by the ledger, from what was signed ahead or on demand."""

from __future__ import annotations

import stat
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp as pyca
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponse, OCSPResponseStatus
from werkzeug.test import TestResponse

from acme_ca.config import Config
from acme_ca.metrics import render
from acme_ca.models.certificate import Certificate
from acme_ca.pki import der
from acme_ca.pki import ocsp as pki
from acme_ca.services import ocsp, responders
from tests.support import ledger, rows
from tests.support.ca import RunningCa, start_ca, with_environment

URL, TYPE = "/ocsp/test-1", "application/ocsp-request"
SHA1 = hashes.SHA1()


@pytest.fixture
def make_ca(status_settings: Config, tmp_path: Path, sqlite_url: str) -> Iterator[Callable[..., RunningCa]]:
    """Return a CA whose environment `test` has a responder."""
    running = []

    def make(database_url: str = sqlite_url) -> RunningCa:
        changes = {"profiles": ("server-1h", "server-7d"), "ocsp": True}
        settings = with_environment(status_settings, "test", **changes)
        running.append(start_ca(settings, database_url, tmp_path / "state"))
        return running[-1]

    yield make
    for ca in running:
        ca.close()


@pytest.fixture
def ca(make_ca: Callable[..., RunningCa]) -> RunningCa:
    """A CA with a responder on SQLite."""
    running = make_ca()
    assert responders.renew(running.authority) == 1
    return running


def request_for(
    ca: RunningCa,
    serial: int | Certificate,
    nonce: bytes | None = None,
    algorithm: hashes.HashAlgorithm = SHA1,
    issuer: x509.Certificate | None = None,
) -> bytes:
    number = int(serial.serial, 16) if isinstance(serial, Certificate) else serial
    issuer = issuer or ca.authority.environments["test"].issuers[0].certificate
    hashed = pki.issuer_hashes(issuer, algorithm.name)
    builder = pyca.OCSPRequestBuilder().add_certificate_by_hash(*hashed, number, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def several(*requests: bytes) -> bytes:
    """One request for what several ask about."""
    ids = [one.der for request in requests for one in pki.parse(request).ids]
    listed = der.encode(der.SEQUENCE, *(der.encode(der.SEQUENCE, one) for one in ids))
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, listed))


def post(ca: RunningCa, request: bytes) -> OCSPResponse:
    response = ca.app.test_client().post(URL, data=request, content_type=TYPE)
    assert (response.status_code, response.content_type) == (200, "application/ocsp-response")
    assert response.headers["Cache-Control"] == "no-store"
    return pyca.load_der_ocsp_response(response.data)


def get(ca: RunningCa, request: bytes, **headers: str) -> TestResponse:
    path = f"{URL}/{quote(b64encode(request), safe='')}"
    return ca.app.test_client().get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_certificate_that_names_a_responder_is_answered(make_ca: Callable[..., RunningCa], database_url: str) -> None:
    ca = make_ca(database_url)
    line = ledger.issue(ca.authority)
    leaf = x509.load_der_x509_certificate(line.der or b"")
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert next(one.access_location.value for one in access).endswith(URL)
    assert ocsp.sign_ahead(ca.authority) == 0, "there is no responder yet"
    assert responders.renew(ca.authority) == 1
    assert responders.renew(ca.authority) == 0
    assert ocsp.sign_ahead(ca.authority) == 1
    assert ocsp.sign_ahead(ca.authority) == 0
    first = post(ca, request_for(ca, line))
    assert first.certificate_status == OCSPCertStatus.GOOD
    assert first.next_update_utc == first.this_update_utc + timedelta(hours=8, minutes=1)
    ledger.revoke(ca.authority, line, 1)
    for _ in range(2):
        found = post(ca, request_for(ca, line))  # signed on demand, and then by the worker
        assert found.certificate_status == OCSPCertStatus.REVOKED
        assert found.revocation_reason == x509.ReasonFlags.key_compromise
        ocsp.sign_ahead(ca.authority)
    (kept,) = rows.select(ca.authority.database, "SELECT status, der FROM ocsp_responses")
    assert kept.status == "revoked"
    assert post(ca, request_for(ca, line)).public_bytes(Encoding.DER) == bytes(kept.der)


def test_serials_that_were_never_issued_are_unknown(ca: RunningCa) -> None:
    claimed, abandoned, foreign = (ledger.issue(ca.authority) for _ in range(3))
    for line, change in (
        (claimed, "status = 'claimed', der = NULL"),
        (abandoned, "status = 'abandoned', der = NULL"),
        (foreign, "issuer_id = 'prod-1'"),
    ):
        rows.change(ca.authority.database, f"UPDATE certificates SET {change} WHERE id = :id", id=line.id)
    ocsp.sign_ahead(ca.authority)
    for serial in (2**130, claimed, abandoned, foreign):
        found = post(ca, request_for(ca, serial))
        assert found.certificate_status == OCSPCertStatus.UNKNOWN
        assert found.next_update_utc == found.this_update_utc + timedelta(minutes=2)


def test_what_is_issued_after_it_was_unknown_is_good_at_once(ca: RunningCa) -> None:
    serial = 2**128 + 7
    assert post(ca, request_for(ca, serial)).certificate_status == OCSPCertStatus.UNKNOWN
    ledger.issue(ca.authority, serial=serial, profile="server-1h")
    assert post(ca, request_for(ca, serial)).certificate_status == OCSPCertStatus.GOOD


def test_a_short_lived_certificate_is_answered_although_it_names_no_responder(ca: RunningCa) -> None:
    line = ledger.issue(ca.authority, profile="server-1h")
    leaf = x509.load_der_x509_certificate(line.der or b"")
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert len(list(access)) == 1
    assert ocsp.sign_ahead(ca.authority) == 0
    assert post(ca, request_for(ca, line)).certificate_status == OCSPCertStatus.GOOD
    ledger.revoke(ca.authority, line)
    assert post(ca, request_for(ca, line)).certificate_status == OCSPCertStatus.REVOKED


@pytest.mark.parametrize("size", [1, 32, 128])
def test_a_nonce_comes_back(ca: RunningCa, size: int) -> None:
    line = ledger.issue(ca.authority)
    ocsp.sign_ahead(ca.authority)
    found = post(ca, request_for(ca, line, b"n" * size))
    assert found.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * size
    assert found.certificate_status == OCSPCertStatus.GOOD
    assert get(ca, request_for(ca, line, b"n" * size)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("size", [0, 129])
def test_a_nonce_of_another_length_is_malformed(ca: RunningCa, size: int) -> None:
    found = post(ca, request_for(ca, 2**128, b"n" * size))
    assert found.response_status == OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("body", [b"", b"0", b"\x30\x00", b"x" * 1000, b"0" * 9000])
def test_what_is_no_request_is_malformed(ca: RunningCa, body: bytes) -> None:
    assert post(ca, body).response_status == OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("path", ["!", "%00", "%C3%A9", "MAA=", "MAA", "M//", "=="])
def test_what_is_no_request_in_a_path_is_malformed(ca: RunningCa, path: str) -> None:
    response = ca.app.test_client().get(f"{URL}/{path}")
    assert pyca.load_der_ocsp_response(response.data).response_status == OCSPResponseStatus.MALFORMED_REQUEST
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("algorithm", [SHA1, hashes.SHA256()])
def test_another_issuers_certificates_are_not_this_responders(ca: RunningCa, algorithm: hashes.HashAlgorithm) -> None:
    line = ledger.issue(ca.authority)
    elsewhere = request_for(ca, 2**128, algorithm=algorithm, issuer=ca.root)
    assert post(ca, elsewhere).response_status == OCSPResponseStatus.UNAUTHORIZED
    mixed = post(ca, several(request_for(ca, line, algorithm=algorithm), elsewhere))
    statuses = [one.certificate_status for one in mixed.responses]
    assert statuses == [OCSPCertStatus.GOOD, OCSPCertStatus.UNKNOWN]


def test_each_certificate_of_a_request_is_answered(ca: RunningCa) -> None:
    good, revoked = ledger.issue(ca.authority), ledger.issue(ca.authority)
    ledger.revoke(ca.authority, revoked)
    asked = several(*(request_for(ca, one) for one in (revoked, good, 2**128)))
    assert [one.certificate_status.name for one in post(ca, asked).responses] == ["REVOKED", "GOOD", "UNKNOWN"]
    assert post(ca, several(*[request_for(ca, good)] * 33)).response_status == OCSPResponseStatus.MALFORMED_REQUEST


def test_an_answer_to_get_can_be_kept_by_caches(ca: RunningCa) -> None:
    line = ledger.issue(ca.authority)
    for _ in range(2):  # on demand, and signed ahead
        first = get(ca, request_for(ca, line))
        found = pyca.load_der_ocsp_response(first.data)
        assert found.certificate_status == OCSPCertStatus.GOOD
        assert first.headers["Cache-Control"] == "public, max-age=60, no-transform, must-revalidate"
        assert (first.last_modified, first.expires) == (None, found.next_update_utc)
        assert get(ca, request_for(ca, line)).data == first.data
        again = get(ca, request_for(ca, line), If_None_Match=first.headers["ETag"])
        assert (again.status_code, again.data) == (304, b"")
        ocsp.sign_ahead(ca.authority)
    ledger.revoke(ca.authority, line)
    for _ in range(2):
        told = get(ca, request_for(ca, line), If_Modified_Since=formatdate(usegmt=True))
        assert pyca.load_der_ocsp_response(told.data).certificate_status == OCSPCertStatus.REVOKED
        ocsp.sign_ahead(ca.authority)


def test_a_clock_that_is_behind_takes_an_answer(ca: RunningCa) -> None:
    ledger.issue(ca.authority)
    before = datetime.now(UTC)
    for serial in (2**128, ledger.issue(ca.authority)):
        found = post(ca, request_for(ca, serial))
        assert timedelta(seconds=59) < before - found.this_update_utc <= timedelta(seconds=62)
        assert found.certificates[0].not_valid_before_utc <= found.this_update_utc


def test_base64_is_read_with_its_slashes_escaped_or_not(ca: RunningCa) -> None:
    serial = next(
        serial for serial in range(2**128, 2**128 + 4096) if b"//" in b64encode(request_for(ca, serial << 8 | 0xFF))
    )
    encoded = b64encode(request_for(ca, serial << 8 | 0xFF)).decode()
    for path in (encoded, quote(encoded, safe=""), encoded.rstrip("=")):
        found = pyca.load_der_ocsp_response(ca.app.test_client().get(f"{URL}/{path}").data)
        assert found.response_status == OCSPResponseStatus.SUCCESSFUL


def test_responses_end_with_their_certificates(ca: RunningCa) -> None:
    line = ledger.issue(ca.authority)
    ocsp.sign_ahead(ca.authority)
    rows.change(
        ca.authority.database,
        "UPDATE certificates SET ocsp_due_at = :then, not_after = :then WHERE id = :id",
        then=rows.LONG_AGO,
        id=line.id,
    )
    assert ocsp.sign_ahead(ca.authority) == 1
    assert ocsp.sign_ahead(ca.authority) == 0
    assert rows.select(ca.authority.database, "SELECT serial FROM ocsp_responses") == []


def test_responses_are_signed_again_at_half_their_life(ca: RunningCa) -> None:
    ledger.issue(ca.authority)
    ocsp.sign_ahead(ca.authority)
    (line,) = rows.select(ca.authority.database, "SELECT ocsp_due_at FROM certificates")
    due_at = datetime.fromisoformat(line.ocsp_due_at).replace(tzinfo=UTC)
    assert timedelta(hours=3, minutes=59) < due_at - datetime.now(UTC) <= timedelta(hours=4)
    rows.change(ca.authority.database, "UPDATE certificates SET ocsp_due_at = :then", then=rows.LONG_AGO)
    assert ocsp.sign_ahead(ca.authority) == 1


@pytest.mark.parametrize(("minutes", "waits"), [(60, 30), (1.5, 1)])
def test_responses_are_not_signed_ever_faster_while_their_responder_ends(
    ca: RunningCa, minutes: float, waits: float
) -> None:
    authority, issuer = ca.authority, ca.authority.environments["test"].issuers[0]
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    ending = pki.make_responder(
        key, pki.responder_name(issuer.id), issuer.certificate, issuer.key, now, timedelta(minutes=minutes)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    responders.path_of(authority, issuer).write_bytes(pem + ending.certificate.public_bytes(Encoding.PEM))
    ledger.issue(authority)
    kept = set()
    for _ in range(3):
        assert ocsp.sign_ahead(authority) == 1
        (response,) = rows.select(authority.database, "SELECT der FROM ocsp_responses")
        (line,) = rows.select(authority.database, "SELECT ocsp_due_at FROM certificates")
        kept.add(bytes(response.der))
        due_at = datetime.fromisoformat(line.ocsp_due_at).replace(tzinfo=UTC)
        assert abs(due_at - datetime.now(UTC) - timedelta(minutes=waits)) < timedelta(seconds=10)
        rows.change(authority.database, "UPDATE certificates SET ocsp_due_at = :then", then=rows.LONG_AGO)
    assert len(kept) == 1, "another would be good for no longer"
    path = responders.path_of(authority, issuer)
    path.unlink()
    assert responders.renew(authority) == 1
    assert ocsp.sign_ahead(authority) == 1
    (response,) = rows.select(authority.database, "SELECT der FROM ocsp_responses")
    assert bytes(response.der) not in kept


def test_the_responders_file_is_private_and_is_made_again_when_it_is_broken(ca: RunningCa) -> None:
    path = ca.authority.config.state / "ocsp" / "test-1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = post(ca, request_for(ca, 2**128)).certificates[0]
    for content in (b"", b"no key", path.read_bytes().partition(b"-----BEGIN CERT")[0]):
        path.write_bytes(content)
        assert responders.renew(ca.authority) == 1
    after = post(ca, request_for(ca, 2**129)).certificates[0]
    assert after != before


def test_without_a_worker_a_responder_is_made_in_the_background(make_ca: Callable[..., RunningCa]) -> None:
    ca = make_ca()
    assert post(ca, request_for(ca, 2**128)).response_status == OCSPResponseStatus.TRY_LATER
    ca.authority._workers.shutdown(wait=True)
    assert post(ca, request_for(ca, 2**128)).response_status == OCSPResponseStatus.SUCCESSFUL


def test_a_responder_that_is_missing_or_over_is_told(make_ca: Callable[..., RunningCa]) -> None:
    ca = make_ca()

    def check() -> tuple[int, str]:
        answer = ca.app.test_client().get("/readyz")
        assert answer.json is not None
        return answer.status_code, answer.json["checks"]["OCSP responders"]

    assert check() == (503, "without a certificate of this host: test-1")
    responders.renew(ca.authority)
    assert check() == (200, "ok")
    gauge = 'acme_ca_ocsp_responder_expiration_timestamp_seconds{environment="test",issuer="test-1"} '
    (ends_at,) = [line.removeprefix(gauge) for line in render().decode().splitlines() if line.startswith(gauge)]
    assert float(ends_at) > datetime.now(UTC).timestamp() + 86_400


@pytest.mark.parametrize("issuer", ["prod-1", "none", "service-1", "%00"])
def test_an_issuer_without_a_responder_has_none(ca: RunningCa, issuer: str) -> None:
    client = ca.app.test_client()
    assert client.post(f"/ocsp/{issuer}", data=request_for(ca, 1)).status_code == 404
    assert client.get(f"/ocsp/{issuer}/MAA=").status_code == 404


def test_what_is_kept_in_memory_is_bounded(ca: RunningCa) -> None:
    answering, most = ocsp.Responding(ca.authority, 10_000), 0
    for number in range(40):
        answering.answer("test-1", request_for(ca, 2**128 + number))
        kept = [len(key[1]) + len(one.answer.der) for key, one in answering._cache.items()]
        assert answering._cached == sum(kept) <= 10_000
        most = max(most, len(kept))
    assert most > 5
    line = ledger.issue(ca.authority)
    for reason in (None, 1):
        if reason is not None:
            ledger.revoke(ca.authority, line, reason)
        answering.answer("test-1", request_for(ca, line))
        kept = [len(key[1]) + len(one.answer.der) for key, one in answering._cache.items()]
        assert answering._cached == sum(kept), "what took the place of another is counted once"


def test_answers_are_counted(ca: RunningCa) -> None:
    post(ca, request_for(ca, 2**128))
    post(ca, b"")
    text = render().decode()
    for status in ("unknown", "malformedRequest"):
        assert f'acme_ca_ocsp_answers_total{{environment="test",status="{status}"}}' in text
