"""How long to wait, how a refusal reads, and what an answer may look like: parts that need no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.agent import renewal, shell
from acme_ca.agent.bundles import anchors_of
from acme_ca.agent.errors import AgentError, RefusedError, UnreachableError, printable, retry_after
from acme_ca.agent.issuance import Issued, Wish, _checked, certificate_id
from acme_ca.agent.jws import AccountKey, new_key
from acme_ca.agent.material import Material, pem
from acme_ca.agent.messages import Authorization, Bundle, BundleKey, Directory, Exchanged, Window
from acme_ca.agent.outlets import Socket
from acme_ca.agent.proofs import external_binding, workload_challenge
from acme_ca.agent.spiffe_socket import Current
from acme_ca.agent.transport import Answer, Transport, origin
from acme_ca.https import MAX_BODY
from tests.support import https_api
from tests.support.https_api import Fault
from tests.support.pop import Authority, der64

ROOT = Authority.root("root", 51)
LEAF = ROOT.leaf().certificate


@given(st.integers(1, 10_000), st.integers(0, 90_000))
def test_pauses_leave_room_for_many_attempts(failures: int, left: int) -> None:
    pause = renewal.pause(failures, timedelta(seconds=left))
    assert 1 <= pause <= renewal.LONGEST_PAUSE
    assert pause <= max(10, left / 20)


@given(st.datetimes(), st.integers(-100_000, 100_000))
def test_the_moment_is_in_the_window_and_before_the_end(start: datetime, length: int) -> None:
    begin = start.replace(tzinfo=UTC) if start.year < 9000 else datetime(9000, 1, 1, tzinfo=UTC)
    begin = max(begin, datetime(1000, 1, 1, tzinfo=UTC))
    window = Window(start=begin, end=begin + timedelta(seconds=length))
    moment = renewal._moment(window, LEAF)
    assert moment <= LEAF.not_valid_after_utc
    assert moment == LEAF.not_valid_after_utc or begin <= moment <= max(begin, window.end)


def test_a_certificate_without_a_name_for_advice_is_renewed_by_its_lifetime() -> None:
    root = Authority.root("root", 52).certificate
    assert certificate_id(root) is None
    plan = renewal.fallback(root, datetime.now(UTC))
    assert root.not_valid_before_utc < plan.renew_at < root.not_valid_after_utc


@pytest.mark.parametrize(("value", "seconds"), [("120", 120), (" 0 ", 0), ("", None), ("soon", None), ("-1", None)])
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_retry_after_as_a_time() -> None:
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert later is not None
    assert 3000 < later <= 3600
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 0


@given(st.text())
def test_retry_after_takes_anything(value: str) -> None:
    found = retry_after({"retry-after": value})
    assert found is None or found >= 0


def test_a_refusal_shows_subproblems_and_no_control_characters() -> None:
    problems = [
        {"detail": "no\x1b[2J", "identifier": {"type": "dns", "value": "a.example"}},
        {"detail": 7, "identifier": 7},
        "none",
    ]
    document = {"type": "urn:ietf:params:acme:error:compound", "detail": "several", "subproblems": problems}
    told = str(RefusedError("newOrder", document, 403))
    assert "compound: several" in told
    assert "a.example: no?[2J" in told
    assert str(RefusedError("it", {"type": 1, "detail": None}, 500)).endswith("about:blank: no detail")


@given(st.text())
def test_foreign_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"<html>", b"\xff", b"[" * 100_000, b'{"newNonce": 1}'])
def test_an_answer_that_is_no_directory_is_explained(body: bytes) -> None:
    with pytest.raises(UnreachableError, match=r"ca\.example"):
        Answer("https://ca.example/", 200, {}, body).read(Directory)


@given(st.binary(max_size=300))
def test_an_answer_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(AgentError):
        Answer("https://ca.example/", 200, {}, body).read(Directory)
    with pytest.raises(RefusedError):
        Answer("https://ca.example/", 500, {}, body).require("it")


def test_a_bundle_says_when_to_come_again_within_reason() -> None:
    key = BundleKey(use="x509-svid", x5c=(der64(LEAF),))
    jwt = BundleKey(use="jwt-svid")
    found = {hint: anchors_of(Bundle(keys=(key, jwt), spiffe_refresh_hint=hint), "it") for hint in (None, 1, 60, 10**9)}
    assert {hint: anchors.refresh for hint, anchors in found.items()} == {None: 300, 1: 30, 60: 60, 10**9: 3600}
    assert {anchors.certificates for anchors in found.values()} == {(LEAF,)}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ((), "no key with the use x509-svid"),
        ((BundleKey(use="jwt-svid"),), "no key with the use x509-svid"),
        ((BundleKey(use="x509-svid", x5c=("?",)),), "no certificate"),
        ((BundleKey(use="x509-svid", x5c=("AAAA",)),), "no certificate"),
    ],
)
def test_a_bundle_without_anchors_is_refused(keys: tuple[BundleKey, ...], reason: str) -> None:
    with pytest.raises(AgentError, match=reason):
        anchors_of(Bundle(keys=keys), "it")


def test_a_chain_that_is_not_for_the_key_and_the_names_is_refused() -> None:
    key = new_key()
    holder = ROOT.leaf(x509.DNSName("a.example"), key=key)
    url, wish = "https://ca.example/c", Wish(("a.example",))
    assert _checked(pem(holder.chain), key, wish, url) == holder.chain
    with pytest.raises(AgentError, match="not for the key and the names"):
        _checked(pem(holder.chain), new_key(), wish, url)
    with pytest.raises(AgentError, match="not for the key and the names"):
        _checked(pem(holder.chain), key, Wish(("b.example",)), url)
    with pytest.raises(AgentError, match="not for the key and the names"):
        _checked(pem((ROOT.certificate,)), key, wish, url)
    with pytest.raises(AgentError, match="no chain of certificates"):
        _checked(b"nothing", key, wish, url)
    with pytest.raises(AgentError, match="no chain of certificates"):
        _checked(pem((*holder.chain, Authority.root("root", 54).certificate)), key, wish, url)


def test_a_certificate_without_a_spiffe_id_takes_the_one_before_from_the_socket() -> None:
    current = Current()
    outlet = Socket(current)
    for names in ((x509.UniformResourceIdentifier("spiffe://a.example/b"),), (x509.DNSName("a.example"),)):
        key = new_key()
        outlet.take(Material(Issued(key, ROOT.leaf(*names, key=key).chain), (ROOT.certificate,)))
        seen = current._svid
        assert (seen is not None) == isinstance(names[0], x509.UniformResourceIdentifier)
        assert seen is None or (seen.spiffe_id, seen.trust_domain) == ("spiffe://a.example/b", "spiffe://a.example")


def test_a_command_that_cannot_be_started_is_explained() -> None:
    with pytest.raises(AgentError, match="could not be started"):
        shell.run("a\0b", {}, 1, "it")


FAULTS: tuple[tuple[Fault, str], ...] = (
    ("500", "status 500"),
    ("garbage", "not JSON"),
    ("array", "not a JSON object"),
    ("deep", "objects and arrays"),
    ("huge", f"more than {MAX_BODY} octets"),
    ("empty", "not JSON"),
    ("cut", "gave no answer"),
    ("silent", "gave no answer"),
    ("drip", "gave no answer: it took too long"),
)


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_platform_that_fails_is_explained(tmp_path: Path, fault: Fault, reason: str) -> None:
    with https_api.serve(tmp_path, lambda _: (200, {})) as api:
        api.fault = fault
        transport = Transport(api.ca_file, timeout=1.0 if fault in {"silent", "drip"} else 20.0)
        with pytest.raises(AgentError, match=reason):
            transport.get(f"{api.url}/x", "it").members()


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with https_api.serve(tmp_path, lambda _: (200, {})) as api:
        api.fault = "redirect"
        assert Transport(api.ca_file).request("GET", f"{api.url}/x").status == 302
        assert api.paths == ["/x"]


def test_a_server_of_an_unknown_authority_is_not_believed(tmp_path: Path) -> None:
    with https_api.serve(tmp_path, lambda _: (200, {})) as api, pytest.raises(UnreachableError, match="--ca-file"):
        Transport().get(f"{api.url}/x", "it")


@pytest.mark.parametrize("url", ["http://ca.example", "https://", "ca.example", "https://ca.example:x", "https://[::1"])
def test_only_https_urls_have_an_origin(url: str) -> None:
    with pytest.raises(AgentError, match="is no"):
        origin(url)
    assert origin("https://ca.example/a") == origin("https://CA.example:443/b?c")


def test_an_authorization_without_the_challenge_is_explained() -> None:
    body = {"status": "pending", "identifier": {"type": "dns", "value": "a.example"}, "challenges": []}
    with pytest.raises(AgentError, match=r"no challenge workload-identity-00 is offered for 'a\.example'"):
        workload_challenge(Authorization.model_validate(body))


@pytest.mark.parametrize("pair", [Exchanged(), Exchanged(kid="a", hmac_key="no base64url!")])
def test_an_exchange_without_a_usable_key_is_explained(pair: Exchanged) -> None:
    with pytest.raises(AgentError, match=r"gave no key|hmac_key"):
        external_binding(AccountKey(new_key()), pair, "https://ca.example/newAccount")
