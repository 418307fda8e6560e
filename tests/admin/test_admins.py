"""Operators: enrolled, changed, and what they sign in with."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from acme_ca.admin.signing_in import LOCAL
from acme_ca.app import ask
from acme_ca.keys.software import SoftwareKey
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.services import admins
from tests.admin.conftest import Api


def csr() -> x509.CertificateSigningRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())


def events(api: Api) -> list[tuple[str, str, str]]:
    with api.ca.database.read() as connection:
        rows = connection.execute(select(AUDIT_EVENTS).order_by(AUDIT_EVENTS.c.id)).all()
    return [(row.event, row.subject, row.actor) for row in rows]


def test_an_operator_is_enrolled_read_and_changed(api: Api) -> None:
    made = api("POST", "/admins", {"name": "alice", "role": "operator", "environments": ["prod"], "note": "on call"})
    assert (made.status, made.headers["Location"], made.headers["ETag"]) == (201, "/admin/v1/admins/alice", '"1"')
    assert made.headers["Cache-Control"] == "no-store"
    read = api("GET", "/admins/alice")
    assert read.json == made.json
    state: dict[str, object] = {"role": "viewer", "environments": [], "note": None}
    changed = api("PUT", "/admins/alice", state, If_Match=read.headers["ETag"])
    assert (changed.status, changed.json["role"], changed.headers["ETag"]) == (200, "viewer", '"2"')
    assert [item["name"] for item in api("GET", "/admins").json["items"]] == ["alice"]
    assert events(api) == [("admin.created", "alice", "uid:0"), ("admin.changed", "alice", "uid:0")]


def test_a_change_of_something_else_is_refused(api: Api) -> None:
    api("POST", "/admins", {"name": "alice", "role": "operator"})
    state = {"role": "viewer"}
    assert "If-Match" in api("PUT", "/admins/alice", state).refused(428, "preconditionRequired")
    api("PUT", "/admins/alice", state, If_Match="*")
    assert "read it again" in api("PUT", "/admins/alice", state, If_Match='"1"').refused(412, "preconditionFailed")
    for weak in ('W/"2"', "2", '"'):
        api("PUT", "/admins/alice", state, If_Match=weak).refused(412, "preconditionFailed")
    assert api("PUT", "/admins/nobody", state, If_Match="*").refused(404)


def test_of_two_changes_at_once_one_is_refused(api: Api) -> None:
    api("POST", "/admins", {"name": "alice", "role": "operator"})
    with ThreadPoolExecutor() as pool:
        for version in range(1, 6):
            state, tag = {"role": "viewer"}, f'"{version}"'
            at_once = [pool.submit(api, "PUT", "/admins/alice", state, If_Match=tag) for _ in range(2)]
            assert sorted(one.result().status for one in at_once) == [200, 412]


def test_a_dry_run_changes_nothing(api: Api) -> None:
    wanted = {"name": "alice", "role": "operator"}
    told = api("POST", "/admins?dry_run=true", wanted)
    assert (told.status, told.json["name"]) == (200, "alice")
    assert "Location" not in told.headers
    assert api("GET", "/admins/alice").status == 404
    assert events(api) == []
    assert api("POST", "/admins?dry_run=maybe", wanted).refused(400)
    assert api("GET", "/admins?dry_run=true").refused(400, "invalid")


def test_a_call_with_a_key_is_done_once(api: Api) -> None:
    wanted = {"label": "team-a"}
    first = api("POST", "/environments/prod/eab", wanted, Idempotency_Key="one")
    again = api("POST", "/environments/prod/eab", wanted, Idempotency_Key="one")
    assert (again.status, again.text) == (first.status, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(api("GET", "/environments/prod/eab").json["items"]) == 1
    other = api("POST", "/environments/prod/eab", {"label": "team-b"}, Idempotency_Key="one")
    assert "another request" in other.refused(400)
    assert api("POST", "/environments/test/eab", wanted, Idempotency_Key="one").refused(400)
    assert api("POST", "/environments/prod/eab", wanted, Idempotency_Key="x" * 201).refused(400, "invalid")
    assert api("POST", "/environments/prod/eab?dry_run=true", wanted, Idempotency_Key="x" * 201).refused(400, "invalid")
    colleague = api.become("operator")
    assert colleague("POST", "/environments/prod/eab", wanted, Idempotency_Key="one").json["kid"] != first.json["kid"]


def test_a_call_that_was_refused_may_be_made_again_with_its_key(api: Api) -> None:
    api("POST", "/admins", {"name": "alice", "role": "operator"}, Idempotency_Key="one")
    assert api("POST", "/admins", {"name": "alice", "role": "viewer"}, Idempotency_Key="two").refused(409)
    assert api("POST", "/admins", {"name": "bob", "role": "viewer"}, Idempotency_Key="two").status == 201


def test_what_is_shown_once_is_kept_encrypted(api: Api) -> None:
    made = api("POST", "/environments/prod/eab", {}, Idempotency_Key="one").json
    with api.ca.database.read() as connection:
        (answer,) = connection.exec_driver_sql("SELECT answer FROM idempotent_calls").one()
    assert made["mac_key"].encode() not in bytes(answer)


class TestTokens:
    def test_a_token_signs_in_until_it_is_revoked(self, api: Api) -> None:
        operator = api.become("operator")
        assert operator("GET", "/me").json["by"].startswith("admin:operator-0 by token ")
        (token,) = api("GET", "/admins/operator-0/credentials").json["tokens"]
        assert token["used_at"] is not None
        assert token["token"] is None
        api("DELETE", f"/admins/operator-0/tokens/{token['id']}")
        operator("GET", "/me").refused(401, "unauthenticated")

    def test_a_downgraded_operator_is_less_at_the_next_call(self, api: Api) -> None:
        operator = api.become("operator")
        assert operator("POST", "/environments/prod/eab", {}).status == 201
        api("PUT", "/admins/operator-0", {"role": "viewer"}, If_Match="*")
        operator("POST", "/environments/prod/eab", {}).refused(403, "forbidden")
        assert operator("GET", "/environments/prod/eab").status == 200
        api("PUT", "/admins/operator-0", {"role": "operator", "disabled": True}, If_Match="*")
        operator("GET", "/environments/prod/eab").refused(401)

    def test_no_token_is_for_more_than_its_owner_is(self, api: Api) -> None:
        api("POST", "/admins", {"name": "eve", "role": "viewer"})
        wanted = {"label": "t", "role": "operator"}
        assert "no token of theirs" in api("POST", "/admins/eve/tokens", wanted).refused(403)

    def test_a_token_for_environments_that_its_owner_lost_signs_nobody_in(self, api: Api) -> None:
        api("POST", "/admins", {"name": "eve", "role": "viewer"})
        wanted = {"label": "t", "role": "viewer", "environments": ["prod"]}
        eve = Api(api.app, api.ca, api("POST", "/admins/eve/tokens", wanted).json["token"])
        assert eve("GET", "/me").json["environments"] == ["prod"]
        api("PUT", "/admins/eve", {"role": "viewer", "environments": ["test"]}, If_Match="*")
        eve("GET", "/me").refused(401)

    @pytest.mark.parametrize("shown", ["Basic abc", "Bearer", "Bearer x", "Bearer acme-ca_zz_yy", "Bearer é"])
    def test_what_is_no_token_is_refused(self, api: Api, shown: str) -> None:
        status, _, _ = ask(api.app, "GET", "/admin/v1/me", None, {"Authorization": shown}, {})
        assert status == 401

    def test_the_secret_of_a_token_counts(self, api: Api) -> None:
        operator = api.become("operator")
        assert operator.token
        Api(api.app, api.ca, operator.token[:-1] + ("A" if operator.token[-1] != "A" else "B"))("GET", "/me").refused(
            401
        )


class TestCertificates:
    def test_a_certificate_is_for_its_key_and_signs_in_until_it_is_revoked(self, api: Api) -> None:
        api("POST", "/admins", {"name": "alice", "role": "operator"})
        request = csr()
        wanted = {"csr": request.public_bytes(Encoding.PEM).decode()}
        made = api("POST", "/admins/alice/certificates", wanted)
        assert made.status == 201
        certificate = x509.load_pem_x509_certificate(made.json["pem"].encode())
        assert certificate.public_key() == request.public_key()
        assert certificate.subject.rfc4514_string() == "CN=alice"
        der = certificate.public_bytes(Encoding.DER)
        found = admins.by_certificate(api.ca, der)
        assert found is not None
        assert (found.by, found.role) == ("admin:alice", "operator")
        api("DELETE", f"/admins/alice/certificates/{made.json['fingerprint']}")
        assert admins.by_certificate(api.ca, der) is None

    def test_der_in_base64_is_taken_too(self, api: Api) -> None:
        api("POST", "/admins", {"name": "alice", "role": "operator"})
        wanted = {"csr": b64encode(csr().public_bytes(Encoding.DER)).decode()}
        assert api("POST", "/admins/alice/certificates", wanted).status == 201

    @pytest.mark.parametrize("text", ["x", "-----BEGIN CERTIFICATE REQUEST-----", "AAAA", "é"])
    def test_what_is_no_csr_is_refused(self, api: Api, text: str) -> None:
        api("POST", "/admins", {"name": "alice", "role": "operator"})
        api("POST", "/admins/alice/certificates", {"csr": text}).refused(400)

    @pytest.mark.parametrize(
        ("written", "instead"),
        [
            (bytes.fromhex("020100"), bytes.fromhex("020105")),  # the version
            (bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04037f")),  # ecdsa-with-SHA256
            (bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")),  # prime256v1
        ],
        ids=["version", "algorithm", "curve"],
    )
    @pytest.mark.parametrize("as_pem", [True, False])
    def test_a_csr_of_a_kind_that_is_not_known_is_refused(
        self, api: Api, written: bytes, instead: bytes, *, as_pem: bool
    ) -> None:
        api("POST", "/admins", {"name": "alice", "role": "operator"})
        text = b64encode(csr().public_bytes(Encoding.DER).replace(written, instead, 1)).decode()
        name = "CERTIFICATE REQUEST"
        wanted = f"-----BEGIN {name}-----\n{text}\n-----END {name}-----\n" if as_pem else text
        api("POST", "/admins/alice/certificates", {"csr": wanted}).refused(400, "badCSR")

    @pytest.mark.parametrize("what", ["key", "certificate"])
    def test_an_issuer_that_is_away_is_passing_trouble(self, api: Api, what: str) -> None:
        api("POST", "/admins", {"name": "alice", "role": "operator"})
        listener = api.ca.config.listener.admin
        assert listener is not None
        assert isinstance(listener.issuer.key, SoftwareKey)
        path = {"key": listener.issuer.key.path, "certificate": listener.issuer.certificate}[what]
        away = path.rename(path.with_suffix(".away"))
        try:
            refused = api("POST", "/admins/alice/certificates", {"csr": csr().public_bytes(Encoding.PEM).decode()})
        finally:
            away.rename(path)
        assert "admin issuer" in refused.refused(503)


def test_a_user_of_this_host_who_is_not_root_signs_in_by_nothing(api: Api) -> None:
    status, _, body = ask(api.app, "GET", "/admin/v1/me", None, {}, {LOCAL: 12345})
    assert status == 401
    assert b"uid 12345" in body


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/admins", {"name": "a b", "role": "viewer"}, "name"),
        ("/admins", {"name": "a", "role": "king"}, "role"),
        ("/admins", {"name": "a", "role": "viewer", "more": 1}, "more"),
        ("/admins", {"name": 1, "role": "viewer"}, "name"),
        ("/admins", {"role": "viewer"}, "name"),
        ("/admins", {"name": "a", "role": "viewer", "environments": "prod"}, "environments"),
        ("/environments/prod/eab", {"hours": 0}, "hours"),
        ("/environments/prod/eab", {"hours": "1"}, "hours"),
        ("/environments/prod/eab", {"label": ""}, "label"),
        ("/environments/prod/eab", {"label": "\x01"}, "label"),
        ("/environments/prod/eab", {"label": "x" * 201}, "label"),
        ("/environments/prod/eab", {"reusable": 1}, "reusable"),
    ],
)
def test_a_wrong_field_is_named(api: Api, path: str, body: object, place: str) -> None:
    reply = api("POST", path, body)
    assert place in reply.refused(400, "invalid")
    assert place in [error["place"] for error in reply.json["errors"]]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"label": "\\u0000"}', b'{"label": "\\ud800"}']
)
def test_what_is_no_object_is_refused(api: Api, body: bytes) -> None:
    api("POST", "/environments/prod/eab", body).refused(400)


def test_a_body_is_in_utf_8(api: Api) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-32-be", "utf-8-sig"):
        for text in ('{"label": "a"}', '{"label": "\\u0000"}'):
            api("POST", "/environments/prod/eab", text.encode(encoding)).refused(400)


def test_a_backslash_before_four_digits_is_a_text(api: Api) -> None:
    path = "/environments/prod/eab"
    assert api("POST", path, b'{"label": "a\\\\u0000"}').status == 201
    assert "U+0000" in api("POST", path, b'{"label": "a\\\\\\u0000"}').refused(400)


def test_a_dry_run_shows_no_key_that_binds_nothing(api: Api) -> None:
    assert api("POST", "/environments/prod/eab?dry_run=true", {}).json["mac_key"] is None
    assert api("POST", "/environments/prod/eab", {}).json["mac_key"]


def test_a_body_of_another_type_is_refused(api: Api) -> None:
    assert "application/json" in api("POST", "/admins", b"{}", Content_Type="text/plain").refused(415)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "what=1", "limit=1&limit=2", "after=%00"])
def test_a_wrong_query_is_refused(api: Api, query: str) -> None:
    api("GET", f"/admins?{query}").refused(400, "invalid")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00"])
def test_a_time_that_nothing_here_can_have_is_refused(api: Api, moment: str) -> None:
    for path in ("/audit", "/environments/prod/certificates", "/environments/prod/accounts"):
        for field in ("since", "until"):
            assert field in api("GET", f"{path}?{field}={moment}").refused(400, "unsuitable")
    wanted = {"selection": {}, "as_of": moment}
    assert "as_of" in api("POST", "/environments/prod/revocations?dry_run=true", wanted).refused(400, "unsuitable")


@pytest.mark.parametrize("name", ["%00", "%0a", "%C3%A9", "x" * 300])
def test_there_is_nothing_at_a_path_that_is_no_text(api: Api, name: str) -> None:
    assert "no such name" in api("GET", f"/admins/{name}").refused(404)


def test_lists_come_in_pages(api: Api) -> None:
    names = [f"admin-{number:02}" for number in range(5)]
    for name in names:
        api("POST", "/admins", {"name": name, "role": "viewer"})
    found, query = [], "limit=2"
    while True:
        page = api("GET", f"/admins?{query}").json
        assert len(page["items"]) <= 2
        found += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"limit=2&after={page['next']}"
    assert found == names
