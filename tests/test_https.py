"""Requests to issuers and APIs: what comes back, and how each kind of failure ends."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from tests.support import https_api
from tests.support.https_api import Fault, HttpsApi
from tests.support.pop import Authority, write_pem


@pytest.fixture
def api(tmp_path: Path) -> Iterator[HttpsApi]:
    """A server that says what it was asked."""
    with https_api.serve(
        tmp_path, lambda request: (200, {"path": request.path, "method": request.method, "body": request.body.decode()})
    ) as running:
        yield running


def endpoint(api: HttpsApi, path: str = "/", timeout: float = 20) -> Endpoint:
    return Endpoint(api.url + path, api.ca_file, timeout)


def test_json_is_fetched(api: HttpsApi) -> None:
    assert https.get_json(endpoint(api, "/a?b=c")) == {"path": "/a?b=c", "method": "GET", "body": ""}
    assert api.requests[0].fields["accept"] == "application/json"


def test_a_body_is_sent(api: HttpsApi) -> None:
    response = https.request(endpoint(api), "POST", b"x", {"Authorization": "Bearer y"})

    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert https.parse_json(response.body) == {"path": "/", "method": "POST", "body": "x"}
    assert api.requests[0].fields["authorization"] == "Bearer y"


def test_connections_are_kept(api: HttpsApi) -> None:
    for _ in range(5):
        https.get_json(endpoint(api))

    assert len({request.connection for request in api.requests}) == 1


def test_threads_do_not_share_a_connection_at_a_time(api: HttpsApi) -> None:
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            for turn in range(10):
                found = https.get_json(endpoint(api, f"/{number}/{turn}"))
                assert isinstance(found, dict)
                assert found["path"] == f"/{number}/{turn}"
        except BaseException as error:  # noqa: BLE001 - told by the test below
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_makes_its_own_connections(api: HttpsApi) -> None:
    https.get_json(endpoint(api))
    child = os.fork()
    if child == 0:
        try:
            https.get_json(endpoint(api, "/child"))
        except BaseException:  # noqa: BLE001 - the child must not go on with the tests
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    https.get_json(endpoint(api, "/parent"))
    first, in_child, in_parent = api.requests

    assert in_child.connection != first.connection == in_parent.connection


def test_proxies_of_the_environment_are_not_asked(api: HttpsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    https.get_json(endpoint(api))


FAULTS: dict[Fault, str] = {
    "500": "answered with status 500; expected 200",
    "redirect": "answered with status 302; expected 200",
    "garbage": "what is not JSON",
    "empty": "what is not JSON",
    "gzip": "what is not JSON",
    "deep": "nested too deeply",
    "huge": "more than 1048576 octets",
    "cut": "gave no answer",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_answers_that_are_none(api: HttpsApi, fault: Fault) -> None:
    api.fault = fault

    with pytest.raises(FetchFailedError, match=FAULTS[fault]) as failure:
        https.get_json(endpoint(api))

    assert str(failure.value).startswith(f"{api.url}/ ")
    api.fault = None
    assert https.get_json(endpoint(api))


def test_redirects_are_not_followed(api: HttpsApi) -> None:
    api.fault = "redirect"

    assert https.request(endpoint(api)).status == 302
    assert api.paths == ["/"]


@pytest.mark.parametrize("fault", ["silent", "drip", "continue"])
def test_a_server_that_takes_too_long(api: HttpsApi, fault: Fault) -> None:
    """Also one that sends an octet now and then, or promises without end: the deadline is for the whole."""
    api.fault = fault

    with pytest.raises(FetchFailedError, match="it took too long"):
        https.get_json(endpoint(api, timeout=0.3))


def test_a_server_that_nobody_runs() -> None:
    with pytest.raises(FetchFailedError, match=r"https://127\.0\.0\.1:9/ gave no answer: .*refused"):
        https.get_json(Endpoint("https://127.0.0.1:9/"))


def test_a_server_with_a_certificate_of_another_root(api: HttpsApi, tmp_path: Path) -> None:
    other = write_pem(tmp_path / "other.pem", Authority.root("other", 901).certificate)

    for ca_file in (other, None):
        with pytest.raises(FetchFailedError, match="certificate verify failed"):
            https.get_json(Endpoint(api.url, ca_file))


def test_a_server_of_another_name(api: HttpsApi) -> None:
    with pytest.raises(FetchFailedError, match="localhost"):
        https.get_json(Endpoint(f"https://localhost:{api.port}/", api.ca_file))


def test_roots_are_read_again_when_they_change(api: HttpsApi, tmp_path: Path) -> None:
    roots = write_pem(tmp_path / "roots.pem", Authority.root("other", 901).certificate)
    with pytest.raises(FetchFailedError):
        https.get_json(Endpoint(api.url, roots))

    replacement = tmp_path / "new.pem"
    replacement.write_bytes(api.ca_file.read_bytes())
    replacement.replace(roots)

    assert https.get_json(Endpoint(api.url, roots))


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_roots_that_cannot_be_read(api: HttpsApi, tmp_path: Path, text: str | None) -> None:
    roots = tmp_path / "roots.pem"
    if text is not None:
        roots.write_text(text)

    with pytest.raises(FetchFailedError, match="gave no answer"):
        https.get_json(Endpoint(api.url, roots))


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "file:///etc/passwd", "https://", "", "ftp://x/"])
def test_only_https_is_spoken(url: str) -> None:
    with pytest.raises(FetchFailedError, match="no https URL"):
        https.request(Endpoint(url))


@pytest.mark.parametrize("url", ["https://[::1", "https://127.0.0.1:x/", "https://127.0.0.1:65536/"])
def test_what_is_no_url_is_not_asked(url: str) -> None:
    with pytest.raises(FetchFailedError, match="was not asked"):
        https.request(Endpoint(url))


def test_a_server_without_tls_has_a_deadline_too() -> None:
    """Plain HTTP, which a cloud's metadata speaks on the machine itself: here one octet after another, without end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection = listener.accept()[0]
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(FetchFailedError, match="it took too long"):
            https.request(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.5, plain=True))
        thread.join()


def test_a_header_field_that_cannot_be_sent(api: HttpsApi) -> None:
    with pytest.raises(FetchFailedError):
        https.request(endpoint(api), headers={"Authorization": "a\r\nHost: b"})
