"""Roots that are published ahead of their first issuer, and since when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.doctor import anchors as doctor
from acme_ca.doctor.findings import Finding, Host
from acme_ca.pki.issuer import Issuer
from acme_ca.services import anchors, versions
from tests.support import rows
from tests.support.ca import RunningCa, start_ca, with_environment
from tests.support.roots import Root, key, write

Start = Callable[..., RunningCa]


@pytest.fixture
def start(service_settings: Config, tmp_path: Path, database_url: str) -> Iterator[Start]:
    """Start a process with some settings of environment `test` changed, which brings its roots into force."""
    running: list[RunningCa] = []

    def begin(**changes: Any) -> RunningCa:  # noqa: ANN401 - settings of any kind
        settings = with_environment(service_settings, "test", **changes)
        running.append(start_ca(settings, database_url, tmp_path / "state"))
        versions.keep(running[-1].authority)
        return running[-1]

    yield begin
    for one in running:
        one.close()


@pytest.fixture
def new_root(tmp_path: Path) -> Path:
    """A root that nothing is below yet."""
    return write(tmp_path / "root-2.pem", Root.make("root-2").certificate)


def published(ca: RunningCa) -> tuple[list[x509.Certificate], str]:
    answer = ca.app.test_client().get("/ca/test/roots.pem")
    assert answer.content_type == "application/x-pem-file"
    return x509.load_pem_x509_certificates(answer.data), answer.headers["ETag"]


def findings(ca: RunningCa) -> list[Finding]:
    return list(doctor.published(Host(ca.authority.config, ["test"], clock.now(), 5)))


def test_an_anchor_is_published_and_the_number_grows(start: Start, new_root: Path, tmp_path: Path) -> None:
    (second,) = x509.load_pem_x509_certificates(new_root.read_bytes())
    before = start()
    assert published(before) == ([before.root], '"1"')
    after = start(anchors=(new_root,))
    assert published(after) == published(before) == ([before.root, second], '"2"'), "in every process"
    assert after.app.test_client().get("/roots.pem").data.count(b"BEGIN") == 2
    again = after.app.test_client().get("/ca/test/roots.pem", headers={"If-None-Match": '"2"'})
    assert (again.status_code, again.data) == (304, b"")
    assert len(x509.load_pem_x509_certificates(after.app.test_client().get("/ca/prod/roots.pem").data)) == 1
    same = write(tmp_path / "root-1-too.pem", before.root)
    assert published(start(anchors=(same,))) == ([before.root], '"3"'), "each root once"
    events = rows.select(before.authority.database, "SELECT subject FROM audit_events WHERE event = 'roots.changed'")
    assert sorted(row[0] for row in events if row[0].startswith("test/")) == [f"test/roots/{n}" for n in (1, 2, 3)]


def test_what_was_there_from_the_beginning_is_never_too_new(start: Start) -> None:
    ca = start()
    assert list(unannounced(ca)) == []
    assert findings(ca) == []


def below(ca: RunningCa, root: Root) -> Issuer:
    """An issuer as it is, below another root."""
    issuer = ca.authority.environments["test"].issuers[0]
    return replace(issuer, certificate=root.intermediate("test-2"), root=root.certificate, key=key("test-2"))


def unannounced(ca: RunningCa, *issuers: Issuer, later: timedelta = timedelta()) -> list[str]:
    environment = ca.authority.environments["test"]
    given = [(one.id, one.root) for one in issuers or environment.issuers]
    ahead = environment.settings.publish_ahead
    found = anchors.unannounced(ca.authority.database, "test", given, ahead, clock.now() + later)
    return [str(one) for one in found]


def test_a_root_is_to_be_published_for_some_time_first(start: Start, tmp_path: Path) -> None:
    second = Root.make("root-2")
    ca = start()
    issuer = below(ca, second)
    (told,) = unannounced(ca, issuer)
    assert told == "root CN=root-2,O=Corp of issuer test-1 is not published"
    ca = start(anchors=(write(tmp_path / "root-2.pem", second.certificate),))
    (told,) = unannounced(ca, issuer)
    assert "is published since 20" in told
    assert unannounced(ca, issuer, later=timedelta(days=6)) == unannounced(ca, issuer)
    assert unannounced(ca, issuer, later=timedelta(days=7, minutes=1)) == []
    start()
    ca = start(anchors=(tmp_path / "root-2.pem",))
    assert unannounced(ca, issuer, later=timedelta(days=6, hours=23)), "what went away begins anew"


def test_the_doctor_tells_of_an_issuer_that_came_too_early(start: Start, tmp_path: Path) -> None:
    ca = start()
    settings = ca.authority.config.environment["test"]
    second = Root.make("root-2")
    early = settings.issuer[0].model_copy(update={"root": write(tmp_path / "root-2.pem", second.certificate)})
    changed = settings.model_copy(update={"issuer": (early,)})
    config = ca.authority.config.model_copy(update={"environment": {"test": changed}})
    (found,) = doctor.published(Host(config, ["test"], clock.now(), 5))
    assert (found.code, found.place) == ("ANC002", "environment.test.issuer: test-1")
    assert "root-2" in found.seen
    away = config.model_copy(update={"database": config.database.model_copy(update={"url": "sqlite:////nowhere/db"})})
    assert list(doctor.published(Host(away, ["test"], clock.now(), 5))) == [], "other checks tell of that"


def test_what_is_no_root_is_refused(start: Start, tmp_path: Path) -> None:
    root = Root.make("root-2")
    ca = start()
    environment = ca.authority.config.environment["test"]
    for certificates, reason in (
        ((root.intermediate("between"),), "not self-signed"),
        ((root.certificate, root.certificate), "2 certificates"),
        ((), "no certificate|Unable to load|PEM|0 certificates"),
    ):
        path = write(tmp_path / "anchor.pem", *certificates)
        with pytest.raises(ValueError, match=f"anchor .*anchor.pem: .*({reason})"):
            start(anchors=(path,))
        host = Host(
            ca.authority.config.model_copy(
                update={"environment": {"test": environment.model_copy(update={"anchors": (path,)})}}
            ),
            ["test"],
            clock.now(),
            5,
        )
        assert [found.code for found in doctor.published(host)] == ["ANC001"]


def test_an_expired_anchor_is_told(start: Start, tmp_path: Path) -> None:
    old = Root.make("root-0", clock.now() - timedelta(days=10), timedelta(days=5))
    ca = start(anchors=(write(tmp_path / "root-0.pem", old.certificate),))
    assert [found.code for found in findings(ca)] == ["ANC001"]
