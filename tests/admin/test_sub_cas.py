"""Sub-CAs over the admin API: what is signed, what is refused, and that openssl sees the constraints."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from acme_ca import clock, config
from acme_ca.app import create_app
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.models import base
from acme_ca.models.certificate import CERTIFICATES, SUB_CA, Certificate, CertificateStatus
from acme_ca.models.selection import Selection
from acme_ca.public_keys import spki_sha256
from acme_ca.services import audit_seal, crls, sub_cas
from acme_ca.services.replays import replay
from acme_ca.services.selecting import preview
from tests.admin.conftest import Api
from tests.support.ledger_lines import line, put
from tests.support.sub_cas import Mesh, key, make_sub_ca_files, request, verdict

HOME = "/environments/test/sub-cas"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A CA with rules for meshes."""
    return config.load(make_sub_ca_files(tmp_path_factory.mktemp("ca")))


def sign(api: Api, rule: str, signer: Any = None, **more: object) -> Any:  # noqa: ANN401 - a key; whatever JSON carries
    reply = api("POST", HOME, {"csr": request(signer or key()), "rule": rule, **more})
    assert reply.status == 201, reply.text
    return reply.json


def lines(ca: Authority) -> list[Certificate]:
    with ca.database.read() as connection:
        return base.find(connection, Certificate, base.select(Certificate, CERTIFICATES.c.account_id == SUB_CA))


def trail(api: Api, name: str) -> list[dict[str, Any]]:
    audit_seal.seal(api.ca)
    return list(api("GET", f"/audit?event={name}").json["items"])


def test_the_certificate_says_what_the_rule_says_and_nothing_of_the_csr_but_its_key(api: Api) -> None:
    signer = key()
    made = sign(api, "istio-eu", signer)
    certificate = x509.load_pem_x509_certificate(made["pem"].encode())
    found = certificate.extensions
    assert certificate.public_key() == signer.public_key()
    assert certificate.subject.rfc4514_string() == "CN=Istio EU,O=acme-ca"
    assert found.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    usage = found.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    critical = {one.oid._name for one in found if one.critical}
    assert critical == {"basicConstraints", "keyUsage", "nameConstraints"}
    constraints = found.get_extension_for_class(x509.NameConstraints).value
    assert [str(one.value) for one in constraints.permitted_subtrees or ()] == ["istio.test.localhost", "10.1.0.0/16"]
    assert [str(one.value) for one in constraints.excluded_subtrees or ()] == ["::/0"]
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [one.value for one in names] == ["spiffe://eu.test.localhost"]
    usages = found.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.not_valid_after_utc <= clock.now() + 30 * DAY
    assert (made["standing"], made["rule"].partition("@")[0]) == ("valid", "istio-eu")
    assert (made["common_name"], made["path_length"], made["ordered_by"]) == ("Istio EU", 0, "uid:0")


def test_the_certificate_leads_to_its_issuer_and_to_the_list_of_revoked_ones(api: Api) -> None:
    found = x509.load_pem_x509_certificate(sign(api, "istio-eu")["pem"].encode()).extensions
    (access,) = found.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    assert access.access_location.value.endswith("/issuers/test-mesh-1.crt")
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [one.value.endswith("/crl/test-mesh-1.crl") for one in point.full_name or ()] == [True]


def test_leafs_verify_inside_the_constraints_and_nowhere_else(api: Api, tmp_path: Path) -> None:
    signer = key()
    made = sign(api, "istio-eu", signer)
    mesh, root = Mesh.of(made["pem"] + made["chain"], signer), made["root"]
    good = ("pilot.istio.test.localhost", "10.1.2.3", "spiffe://eu.test.localhost/ns/a/sa/b")
    assert verdict(tmp_path, mesh.chain, root) == ""
    for purpose in ("sslserver", "sslclient"):
        assert verdict(tmp_path, mesh.leaf(*good), root, "-purpose", purpose) == ""
    for name in ("www.test.localhost", "istio.prod.localhost", "10.2.0.1", "::1"):
        assert "subtree violation" in verdict(tmp_path, mesh.leaf(name), root), name
    deeper = mesh.ca()
    assert "path length" in verdict(tmp_path, deeper.leaf("pilot.istio.test.localhost"), root)
    # What the page of meshes says of URIs: no constraint holds them.
    assert verdict(tmp_path, mesh.leaf("spiffe://other.example/x"), root) == ""


def test_a_mesh_that_makes_intermediates_of_its_own_may_have_one_and_no_more(api: Api, tmp_path: Path) -> None:
    signer = key()
    made = sign(api, "spire", signer)
    mesh, root = Mesh.of(made["pem"] + made["chain"], signer), made["root"]
    assert (made["path_length"], made["common_name"], made["permitted_dns"]) == (1, "spire", [])
    server = mesh.ca("spire server")
    svid = "spiffe://spire.test.localhost/web"
    assert verdict(tmp_path, server.leaf(svid), root) == ""
    assert "path length" in verdict(tmp_path, server.ca("deeper").leaf(svid), root)
    for name in ("web.test.localhost", "127.0.0.1", "::1"):
        assert "subtree violation" in verdict(tmp_path, server.leaf(name), root), name


def test_the_names_of_its_own_are_the_rule_s(api: Api, tmp_path: Path) -> None:
    signer, name = key(), "identity.linkerd.test.localhost"
    reply = api("POST", HOME, {"csr": request(signer, name, x509.DNSName(name)), "rule": "linkerd"})
    assert reply.status == 201, reply.text
    made = reply.json
    assert (made["common_name"], made["dns_names"], made["uris"]) == (name, [name], [])
    chain = Mesh.of(made["pem"] + made["chain"], signer).chain
    assert verdict(tmp_path, chain, made["root"], "-verify_hostname", name) == ""


def test_der_in_base64_and_a_shorter_life_can_be_asked_for(api: Api) -> None:
    der = x509.load_pem_x509_csr(request(key()).encode()).public_bytes(Encoding.DER)
    reply = api("POST", HOME, {"csr": b64encode(der).decode(), "rule": "istio-eu", "lifetime": 3600})
    assert reply.status == 201, reply.text
    assert datetime.fromisoformat(reply.json["not_after"]) <= clock.now() + timedelta(hours=1)
    assert reply.headers["Location"] == f"/admin/v1{HOME}/{reply.json['serial']}"


def test_lists_show_the_newest_first_and_details_the_chain(api: Api) -> None:
    first, second = sign(api, "istio-eu"), sign(api, "spire")
    viewer = api.become("viewer")
    items = viewer("GET", HOME).json["items"]
    assert [one["serial"] for one in items] == [second["serial"], first["serial"]]
    assert {one["pem"] for one in items} == {None}
    page = viewer("GET", f"{HOME}?limit=1").json
    (other,) = viewer("GET", f"{HOME}?limit=1&after={page['next']}").json["items"]
    assert other["serial"] == first["serial"]
    assert viewer("GET", f"{HOME}/{first['serial']}").json == first
    found = viewer("GET", f"/environments/test/certificates/{first['serial']}").json
    assert (found["pem"], found["chain"]) == (first["pem"], first["chain"])
    assert found["evidence"]["sub_ca"]["ordered_by"] == "uid:0"
    assert viewer("GET", "/environments/prod/sub-cas").json["items"] == []


@pytest.mark.parametrize(
    "query", ["rule=istio-eu", "profile=sub-ca:istio-eu", "below=test.localhost", "issuer_id=test-mesh-1"]
)
def test_search_finds_it_beside_leafs(api: Api, query: str) -> None:
    made = sign(api, "istio-eu")
    put(api.ca.database, line(("dns:a.elsewhere.localhost",)))
    (found,) = api("GET", f"/environments/test/certificates?{query}").json["items"]
    assert found["serial"] == made["serial"]
    assert found["names"] == ["uri:spiffe://eu.test.localhost", "dns:istio.test.localhost", "ip:10.1.0.0/16"]


def test_a_leaf_is_no_sub_ca(api: Api) -> None:
    leaf = line()
    put(api.ca.database, leaf)
    assert "not that of a sub-CA" in api("GET", f"{HOME}/{leaf.serial}").refused(404)
    assert "has no certificate" in api("GET", f"{HOME}/{'0' * 34}").refused(404)


def test_the_event_is_in_the_trail_with_the_hash_of_what_was_signed(api: Api) -> None:
    made = sign(api, "istio-eu")
    (event,) = trail(api, "sub_ca.signed")
    certificate = x509.load_pem_x509_certificate(made["pem"].encode())
    details = event["details"]
    assert (event["actor"], event["account"], details["serial"]) == ("uid:0", None, made["serial"])
    assert details["tbs_sha256"] == sha256(certificate.tbs_certificate_bytes).hexdigest()
    assert details["rule"] == made["rule"]
    assert api("GET", f"/audit?serial={made['serial']}").json["items"] == [event]


def test_a_dry_run_checks_everything_and_signs_nothing(api: Api) -> None:
    told = api("POST", f"{HOME}?dry_run=true", {"csr": request(key()), "rule": "spire"})
    assert (told.status, told.json["standing"], told.json["serial"], told.json["pem"]) == (200, "dry-run", None, None)
    assert (told.json["uris"], told.json["path_length"]) == (["spiffe://spire.test.localhost"], 1)
    assert lines(api.ca) == []
    assert trail(api, "sub_ca.signed") == []
    refused = api("POST", f"{HOME}?dry_run=true", {"csr": request(key()), "rule": "none"})
    assert "rule: " in refused.refused(400)


def test_a_call_that_is_repeated_is_done_once(api: Api) -> None:
    body = {"csr": request(key()), "rule": "istio-eu"}
    first, again = (api("POST", HOME, body, Idempotency_Key="once") for _ in range(2))
    assert (first.status, first.json) == (again.status, again.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(lines(api.ca)) == 1


def tampered() -> str:
    der = bytearray(x509.load_pem_x509_csr(request(key()).encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return b64encode(bytes(der)).decode()


P521 = ec.generate_private_key(ec.SECP521R1())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"csr": "no CSR"}, "csr: it is neither a certificate signing request in PEM nor the base64 of its DER"),
        ({"csr": b64encode(b"0\x00").decode()}, "not a valid PKCS#10 request"),
        ({"csr": tampered()}, "signature does not verify"),
        ({"csr": request(P521)}, "csr: rule istio-eu takes ec-p256, ec-p384 keys, the CSR has ec-p521"),
        ({"csr": request(key(), "Istio US")}, "csr: the common name is 'Istio US'; rule istio-eu says 'Istio EU'"),
        ({"csr": request(key(), None, x509.DNSName("a.istio.test.localhost"))}, "asks for the name dns:a.istio"),
        ({"csr": request(key(), None, x509.UniformResourceIdentifier("spiffe://x"))}, "uri:spiffe://x"),
        ({"csr": request(key(), None, x509.RFC822Name("a@x.example"))}, "RFC822Name:a@x.example"),
        (
            {"rule": "istio-us"},
            "rule: environment test has no rule 'istio-us' for sub-CAs; there are: istio-eu, linkerd",
        ),
        ({"lifetime": 2592001}, "lifetime: rule istio-eu allows 600 to 2592000 seconds, not 2592001"),
        ({"lifetime": 599}, "lifetime: rule istio-eu allows 600"),
    ],
)
def test_each_refusal_says_what_was_seen_and_what_was_expected(api: Api, body: dict[str, object], words: str) -> None:
    reply = api("POST", HOME, {"csr": request(key()), "rule": "istio-eu"} | body)
    assert words in reply.refused(400)
    assert lines(api.ca) == []


def test_a_weak_key_is_refused(api: Api) -> None:
    weak = rsa.generate_private_key(65_537, 1024)
    assert "csr" in api("POST", HOME, {"csr": request(weak), "rule": "istio-eu"}).refused(400, "badCSR").lower()


def test_no_rule_and_no_issuer_is_no(api: Api) -> None:
    refused = api("POST", "/environments/prod/sub-cas", {"csr": request(key()), "rule": "istio-eu"})
    assert "[environment.prod.sub_ca]" in refused.refused(404)


@pytest.mark.parametrize("body", [{}, {"csr": "x"}, {"rule": "x"}, {"csr": "x", "rule": "y", "lifetime": 0, "z": 1}])
def test_a_body_that_is_none_names_each_place(api: Api, body: dict[str, object]) -> None:
    reply = api("POST", HOME, body)
    reply.refused(400, "invalid")
    assert reply.json["errors"]


def test_a_blocked_key_is_refused(api: Api) -> None:
    signer = key()
    blocked = spki_sha256(signer.public_key()).hex()
    api("POST", "/blocked-keys", {"key": blocked, "reason": "found in a repository"})
    reply = api("POST", HOME, {"csr": request(signer), "rule": "istio-eu"})
    assert "csr: the key is blocked" in reply.refused(400, "badCSR")


def test_a_key_does_one_kind_of_work(api: Api) -> None:
    """The key of a leaf, of another rule's sub-CA or of a CA above is refused; that of the same rule is renewed."""
    signer, other = key(), key()
    made = sign(api, "istio-eu", signer)
    renewed = sign(api, "istio-eu", signer)
    assert renewed["serial"] != made["serial"]
    reply = api("POST", HOME, {"csr": request(signer), "rule": "spire"})
    assert f"already that of certificate {renewed['serial']}" in reply.refused(400) or made["serial"] in reply.text
    put(api.ca.database, line(key_sha256=spki_sha256(other.public_key())))
    reply = api("POST", HOME, {"csr": request(other), "rule": "istio-eu"})
    assert "(server-1h); make a new one" in reply.refused(400)
    above = api.ca.environments["test"].sub_cas[0].key
    reply = api("POST", HOME, {"csr": request(above), "rule": "istio-eu"})
    assert "that of a CA above" in reply.refused(400)


def test_a_revoked_sub_ca_is_on_its_issuer_s_list(api: Api, tmp_path: Path) -> None:
    crls.publish_due(api.ca)
    signer = key()
    made = sign(api, "istio-eu", signer)
    api.ca.database.settle()
    body = {"selection": {"serial": made["serial"]}, "reason": 5}
    assert api("POST", "/environments/test/revocations", body).json["revoked"] == 1
    crls.publish_due(api.ca)
    published = x509.load_der_x509_crl(crls.current(api.ca, "test-mesh-1").der)
    issuer = api.ca.environments["test"].sub_cas[0].certificate
    assert published.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # an issuer's key signs
    entry = published.get_revoked_certificate_by_serial_number(int(made["serial"], 16))
    assert entry is not None
    assert api("GET", f"{HOME}/{made['serial']}").json["standing"] == "revoked"
    (event,) = trail(api, "certificate.revoked")
    assert (event["account"], event["details"]["serial"]) == (None, made["serial"])
    (tmp_path / "crl.pem").write_bytes(published.public_bytes(Encoding.PEM))
    mesh = Mesh.of(made["pem"] + made["chain"], signer)
    assert "revoked" in verdict(tmp_path, mesh.chain, made["root"], "-crl_check", "-CRLfile", "crl.pem")


def test_a_long_lived_one_is_found_by_what_is_valid(api: Api) -> None:
    """The longest life that the environment's sub-CAs may have is known before the first of them is signed."""
    made = sign(api, "istio-eu")
    api.ca.database.settle()
    with api.ca.database.read() as connection:
        since = Selection(environment="test").living(connection, clock.now() + 29 * DAY).since
    assert since is not None
    assert since < clock.now()
    assert preview(api.ca, Selection(environment="test", serial=made["serial"])).total == 1


def test_what_died_before_it_was_signed_is_given_up(api: Api) -> None:
    now = clock.now()
    dead = line(
        account_id=SUB_CA,
        status=CertificateStatus.CLAIMED.value,
        created_at=now - sub_cas.LEASE - timedelta(seconds=1),
        der=None,
    )
    alive = line(account_id=SUB_CA, status=CertificateStatus.CLAIMED.value, der=None)
    leaf = line(status=CertificateStatus.CLAIMED.value, created_at=now - DAY, der=None)
    put(api.ca.database, dead, alive, leaf)
    assert sub_cas.abandon_dead(api.ca) == 1
    assert {one.id: one.status for one in lines(api.ca)} == {dead.id: "abandoned", alive.id: "claimed"}
    (event,) = trail(api, "certificate.abandoned")
    assert (event["account"], event["subject"]) == (None, dead.id)


def test_policy_that_is_tried_on_what_was_issued_leaves_sub_cas_out(api: Api) -> None:
    sign(api, "istio-eu")
    put(api.ca.database, line())
    environment = api.ca.environments["test"]
    policies = (environment.policy, environment.policy)
    assert replay(api.ca.database, "test", policies, 1, terms=environment.terms).certificates == 1


@pytest.fixture
def short(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """A CA whose rules ask for more than its issuer of sub-CAs may sign."""
    path = make_sub_ca_files(tmp_path / "short")
    text = path.read_text()
    more = """
[[environment.test.sub_ca.rule]]
name = "self"
common_name = "localhost test-mesh-1"
dns = ["late.test.localhost"]

[[environment.test.sub_ca.rule]]
name = "late"
dns = ["late.test.localhost"]
ip = ["192.0.2.0/24"]

[[environment.test.sub_ca.rule]]
name = "long"
dns = ["long.test.localhost"]
lifetime = 158000000
"""
    path.write_text(text.replace("max_lifetime = 8640000", "max_lifetime = 158112000") + more)
    found = config.load(path)
    database = Database(database_url)
    upgrade(database)
    database.close()
    ca = Authority(found.model_copy(update={"database": found.database.model_copy(update={"url": database_url})}))
    yield Api(create_app(ca, ("admin",)), ca)
    ca.close()


def test_a_rule_beyond_its_issuer_is_refused_and_says_so(short: Api) -> None:
    reply = short("POST", HOME, {"csr": request(key()), "rule": "late"})
    assert "192.0.2.0/24 is outside the name constraints of CN=" in reply.refused(409)
    reply = short("POST", HOME, {"csr": request(key()), "rule": "self"})
    assert "the common name 'localhost test-mesh-1' is the issuer's own" in reply.refused(409)
    reply = short("POST", HOME, {"csr": request(key()), "rule": "long"})
    assert "too early to sign for" in reply.refused(503)
    assert lines(short.ca) == []


def test_times_are_whole_and_in_utc(api: Api) -> None:
    made = sign(api, "istio-eu")
    assert datetime.fromisoformat(made["not_after"]).tzinfo == UTC
    certificate = x509.load_pem_x509_certificate(made["pem"].encode())
    der = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert made["key_sha256"] == sha256(der).hexdigest()
