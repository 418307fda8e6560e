"""http-01 against a real web server: RFC 8555 §8.3, and what went wrong with outbound requests of other servers."""

from __future__ import annotations

import socket
import threading

import pytest

from acme_ca.challenges.base import Attempt, Unanswered
from acme_ca.challenges.http01 import Http01
from acme_ca.problems import ConnectionFailed, DnsFailed, IncorrectResponse, TlsFailed
from tests.challenges.contract import TOKEN, ChallengeContract, Site
from tests.support import alpn, web

PATH = web.WELL_KNOWN + TOKEN


class TestContract(ChallengeContract):
    type = "http-01"
    wildcards = False
    addresses = True

    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        site.web.token(attempt.token, attempt.key_authorization)

    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        site.web.token(attempt.token, "something else")

    def stay_silent(self, site: Site, attempt: Attempt) -> None:  # noqa: ARG002 - the path is the same
        site.web.silent(PATH)


def right(site: Site, path: str = PATH) -> None:
    site.web.raw(path, web.reply(200, site.attempt().key_authorization.encode()))


def validate(site: Site, **settings: object) -> str:
    return Http01().validate(site.attempt(network=site.network(**settings))).summary


def test_the_record_tells_the_way(site: Site) -> None:
    right(site)

    (record,) = Http01().validate(site.attempt()).records

    assert record == {
        "url": f"http://app.corp.example:{site.web.port}{PATH}",
        "hostname": "app.corp.example",
        "port": site.web.port,
        "addressesResolved": ["127.0.0.1"],
        "addressUsed": "127.0.0.1",
        "resolver": f"127.0.0.1:{site.resolver.port}/udp",
        "status": 200,
    }


def test_the_request_names_the_host_and_carries_no_credentials(site: Site) -> None:
    right(site)

    validate(site)

    ((path, fields),) = site.web.requests
    assert path == PATH
    assert fields["host"] == f"app.corp.example:{site.web.port}"
    assert set(fields) == {"host", "user-agent", "accept", "connection"}


def test_an_address_is_validated_at_itself(site: Site) -> None:
    right(site)

    evidence = Http01().validate(site.attempt("127.0.0.1", "ip"))

    assert evidence.records[0]["addressUsed"] == "127.0.0.1"
    assert not site.zone.queries


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \t\r\n\n"])
def test_whitespace_at_the_end_is_ignored(site: Site, end: bytes) -> None:
    site.web.raw(PATH, web.reply(200, site.attempt().key_authorization.encode() + end))

    assert "key authorization at" in validate(site)


def test_a_chunked_body_is_read(site: Site) -> None:
    body = site.attempt().key_authorization.encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:7], body[7:])) + b"0\r\n\r\n"
    site.web.raw(PATH, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    assert "key authorization at" in validate(site)


def test_the_detail_shows_what_was_seen_and_expected(site: Site) -> None:
    site.web.token(TOKEN, "<html>\x1b[31mnginx")

    with pytest.raises(IncorrectResponse) as refusal:
        validate(site)

    assert r"'<html>\x1b[31mnginx'" in refusal.value.detail
    assert site.attempt().key_authorization in refusal.value.detail
    assert "(127.0.0.1)" in refusal.value.detail


@pytest.mark.parametrize("status", [204, 401, 403, 404, 410])
def test_another_status_is_definite(site: Site, status: int) -> None:
    site.web.raw(PATH, web.reply(status, site.attempt().key_authorization.encode()))

    with pytest.raises(IncorrectResponse, match=f"HTTP status {status}"):
        validate(site)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_in_trouble_is_silence(site: Site, status: int) -> None:
    site.web.raw(PATH, web.reply(status, b""))

    with pytest.raises(Unanswered, match=f"HTTP status {status}"):
        validate(site)


def test_a_closed_port_is_silence(site: Site) -> None:
    site.zone.set("app.corp.example", "A", "127.0.0.2")

    with pytest.raises(Unanswered, match=r"127\.0\.0\.2 refused the connection") as silence:
        validate(site)

    assert isinstance(silence.value.problem, ConnectionFailed)


def test_a_connection_that_breaks_is_silence(site: Site) -> None:
    site.web.hang_up(PATH)

    with pytest.raises(Unanswered, match="broke the connection off"):
        validate(site)


def test_the_next_address_is_tried_when_one_refuses(site: Site) -> None:
    right(site)
    site.zone.set("app.corp.example", "A", "127.0.0.2", "127.0.0.1")

    (record,) = Http01().validate(site.attempt()).records

    assert record["addressesResolved"] == ["127.0.0.2", "127.0.0.1"]
    assert record["addressUsed"] == "127.0.0.1"


def test_ipv6_comes_first(site: Site) -> None:
    right(site)
    site.zone.set("app.corp.example", "AAAA", "::1")

    (record,) = Http01().validate(site.attempt(network=site.network(allow=["127.0.0.0/8", "::1/128"]))).records

    assert record["addressesResolved"] == ["::1", "127.0.0.1"]


def test_a_name_without_address_is_definite(site: Site) -> None:
    site.zone.set("app.corp.example", "A")

    with pytest.raises(DnsFailed, match="no A or AAAA record, says resolver"):
        validate(site)


def test_loopback_is_not_reached_by_default(site: Site) -> None:
    right(site)

    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1 \(loopback\).*validation\.allow"):
        validate(site, allow=[])

    assert not site.web.requests


def test_an_address_that_is_not_allowed_is_passed_over(site: Site) -> None:
    right(site)
    site.zone.set("app.corp.example", "A", "169.254.169.254", "127.0.0.1")

    (record,) = Http01().validate(site.attempt()).records

    assert record["addressUsed"] == "127.0.0.1"


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_they_are_followed(self, site: Site, status: int) -> None:
        site.web.redirect(PATH, "/elsewhere?a=b", status)
        right(site, "/elsewhere?a=b")

        first, second = Http01().validate(site.attempt()).records

        assert first["status"] == status
        assert second["url"] == f"http://app.corp.example:{site.web.port}/elsewhere?a=b"

    def test_each_hop_is_looked_up_and_checked_again(self, site: Site) -> None:
        site.web.redirect(PATH, f"http://internal.corp.example:{site.web.port}/")
        site.zone.set("internal.corp.example", "A", "127.0.0.3")

        with pytest.raises(ConnectionFailed, match=r"internal\.corp\.example is at 127\.0\.0\.3 \(denied"):
            validate(site, deny=["127.0.0.3/32"])

    def test_an_answer_after_one_is_not_shown(self, site: Site) -> None:
        """Or the CA would read for clients what they cannot reach."""
        site.web.redirect(PATH, "/secret")
        site.web.raw("/secret", web.reply(200, b"swordfish"))

        with pytest.raises(IncorrectResponse, match="answers with 9 octets") as refusal:
            validate(site)

        assert "swordfish" not in refusal.value.detail

    @pytest.mark.parametrize(
        ("location", "why"),
        [
            ("ftp://app.corp.example/", "only http and https"),
            ("file:///etc/passwd", "only http and https"),
            ("http://user:secret@app.corp.example/", "user name or password"),
            ("http://app.corp.example:22/", "port 22 is not among"),
            ("http://app.corp.example:99999/", "out of range"),
            ("http://2130706433/", "number"),
            ("http://0x7f.1/", "number"),
            ("http://[::1", "IPv6"),
            ("http://a_b.corp.example/", "contains '_'"),
            ("http://*.corp.example/", "wildcard"),
            ("http://app.corp.example/\xe9", "characters"),
            ("/a b", "characters"),
            ("/" + "a" * 3000, "characters"),
        ],
    )
    def test_to_other_places_are_refused(self, site: Site, location: str, why: str) -> None:
        site.web.redirect(PATH, location)

        with pytest.raises(IncorrectResponse, match=why):
            validate(site)

        assert len(site.web.requests) == 1

    @pytest.mark.parametrize("where", ["127.0.0.1:{port}", "[::ffff:127.0.0.1]:{port}", "localhost:{port}"])
    def test_to_this_host_are_refused_by_default(self, site: Site, where: str) -> None:
        site.web.redirect(PATH, f"http://{where.format(port=site.web.port)}/")
        site.zone.set("app.corp.example", "A", "127.0.0.1")

        with pytest.raises((ConnectionFailed, IncorrectResponse), match="does not connect"):
            validate(site, allow=["127.0.0.1/32"], deny=["127.0.0.1/32", "::/0"])

    def test_there_is_an_end_to_them(self, site: Site) -> None:
        site.web.redirect(PATH, PATH)

        with pytest.raises(IncorrectResponse, match="more than 3 redirects"):
            validate(site, max_redirects=3)

        assert len(site.web.requests) == 4

    def test_without_location_are_wrong_answers(self, site: Site) -> None:
        site.web.raw(PATH, web.reply(302, b""))

        with pytest.raises(IncorrectResponse, match="HTTP status 302"):
            validate(site)

    def test_https_that_breaks_off_is_silence(self, site: Site) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            site.web.redirect(PATH, f"https://app.corp.example:{port}/")

            def hang_up() -> None:
                listener.accept()[0].close()

            thread = threading.Thread(target=hang_up)
            thread.start()
            with pytest.raises(Unanswered, match="broke the connection off"):
                validate(site, redirect_ports=[port])
            thread.join()

    def test_https_is_followed_whatever_its_certificate(self, site: Site) -> None:
        secured = web.WebServer()
        with web.serve(secured, alpn.server_context("other.example")):
            site.web.redirect(PATH, f"https://app.corp.example:{secured.port}/")
            secured.raw("/", web.reply(200, site.attempt().key_authorization.encode()))

            assert validate(site, redirect_ports=[secured.port]).startswith("key authorization at https://")

    def test_to_a_port_that_does_not_speak_tls_are_definite(self, site: Site) -> None:
        site.web.redirect(PATH, f"https://app.corp.example:{site.web.port}/")

        with pytest.raises((TlsFailed, Unanswered)):
            validate(site, timeout=0.3)


class TestBounds:
    def test_a_huge_body_is_not_read(self, site: Site) -> None:
        site.web.huge(PATH, 1 << 20)

        with pytest.raises(IncorrectResponse, match="more than 1024 octets"):
            validate(site, max_body=1024)

    @pytest.mark.parametrize(
        ("head", "piece"),
        [
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        ],
    )
    def test_an_endless_answer_ends(self, site: Site, head: bytes, piece: bytes) -> None:
        site.web.endless(PATH, head, piece)

        with pytest.raises(IncorrectResponse):
            validate(site)

    def test_a_trickle_does_not_outlast_the_deadline(self, site: Site) -> None:
        site.web.slow(PATH, b"x" * 10_000)

        with pytest.raises(Unanswered, match="did not answer in time"):
            validate(site, timeout=0.4)

    @pytest.mark.parametrize("octets", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/9 hello\r\n\r\n", b"\0\xff\r\n\r\n"])
    def test_what_is_not_http_is_definite(self, site: Site, octets: bytes) -> None:
        site.web.raw(PATH, octets)

        with pytest.raises(IncorrectResponse, match="did not answer in HTTP"):
            validate(site)

    @pytest.mark.parametrize("size", [b"zz", b"-1", b"f" * 40])
    def test_a_wrong_chunk_size_is_no_crash(self, site: Site, size: bytes) -> None:
        site.web.raw(PATH, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nx")

        with pytest.raises((IncorrectResponse, Unanswered)):
            validate(site)
