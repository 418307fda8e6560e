"""The directory and newNonce. RFC 8555 §7.1.1, §7.2."""

from __future__ import annotations

import pytest

from tests.acme.conftest import MakeCa
from tests.support.acme_client import AcmeClient, body_of
from tests.support.ca import URL, RunningCa

RESOURCES = {"newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "renewalInfo"}


def test_directory_lists_every_resource_and_what_is_offered(ca: RunningCa) -> None:
    response = ca.app.test_client().get("/acme/test/directory")
    body = body_of(response)
    assert set(body) == RESOURCES | {"meta"}
    assert body["newOrder"] == f"{URL}/acme/test/newOrder"
    assert body["meta"]["externalAccountRequired"] is False
    assert set(body["meta"]["profiles"]) == {"server-1h", "client-1h", "workload-1h", "server-8h"}
    assert body["meta"]["caaIdentities"] == ["localhost"]
    assert "termsOfService" not in body["meta"]
    assert "website" not in body["meta"]


def test_directory_names_terms_and_website_when_there_are_any(make_ca: MakeCa) -> None:
    ca = make_ca(terms_of_service="https://ca.example/terms", website="https://ca.example/")
    meta = body_of(ca.app.test_client().get("/acme/test/directory"))["meta"]
    assert meta["termsOfService"] == "https://ca.example/terms"
    assert meta["website"] == "https://ca.example/"


def test_everything_that_the_directory_lists_works(client: AcmeClient) -> None:
    """Each URL is its own resource: it reads a signed body and says what it misses in it."""
    directory = body_of(client.app.test_client().get(client.path(client.url("directory"))))
    assert client.app.test_client().head(client.path(directory["newNonce"])).status_code == 200
    assert client.app.test_client().get(client.path(directory["renewalInfo"] + "/AA.AQ")).status_code == 404
    for name in ("newOrder", "newAuthz", "revokeCert", "keyChange"):
        assert client.refused(directory[name], {})[::2] == ("malformed", 400), name


def test_new_nonce_answers_head_with_200_and_get_with_204(ca: RunningCa) -> None:
    http = ca.app.test_client()
    for response, status in ((http.head("/acme/test/newNonce"), 200), (http.get("/acme/test/newNonce"), 204)):
        assert response.status_code == status
        assert response.headers["Replay-Nonce"]
        assert response.headers["Cache-Control"] == "no-store"
        assert f'<{URL}/acme/test/directory>;rel="index"' in response.headers.getlist("Link")


def test_host_header_changes_no_url(ca: RunningCa) -> None:
    body = body_of(ca.app.test_client().get("/acme/test/directory", headers={"Host": "evil.example"}))
    assert body["newOrder"].startswith(URL)


@pytest.mark.parametrize(
    "path",
    ["newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "account/x", "account/x/orders", "order/x",
     "order/x/finalize", "authorization/x", "authorization/x/http-01", "certificate/x", "certificate/x/1"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_resources_answer_post_only(ca: RunningCa, path: str, method: str) -> None:
    response = ca.app.test_client().open(f"/acme/test/{path}", method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if method != "HEAD":
        assert body_of(response)["type"] == "urn:ietf:params:acme:error:malformed"


def test_directory_and_nonce_refuse_post(ca: RunningCa) -> None:
    for path in ("directory", "newNonce", "renewalInfo/AA.AQ"):
        response = ca.app.test_client().post(f"/acme/test/{path}")
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD"


def test_unknown_environment_is_named_with_those_that_exist(ca: RunningCa) -> None:
    response = ca.app.test_client().get("/acme/nowhere/directory")
    assert response.status_code == 404
    assert "dev, test, prod" in body_of(response)["detail"]


def test_problem_repeats_the_request_id(ca: RunningCa) -> None:
    response = ca.app.test_client().get("/acme/test/nothing")
    assert body_of(response)["instance"] == f"urn:request:{response.headers['X-Request-Id']}"


def test_directory_says_what_dns_persist_needs(make_ca: MakeCa) -> None:
    """draft-ietf-acme-dns-persist: the names and the prefix that the record may begin with."""
    ca = make_ca(challenges=["dns-persist-01", "dns-account-01"])
    meta = body_of(ca.app.test_client().get("/acme/test/directory"))["meta"]
    assert meta["issuerDomainNames"] == ["localhost"]
    assert meta["accountHashPrefix"].startswith(f"{URL}/acme/test/")
