"""The revocation lists of roots: read from files, refused when they are not the root's, published beside the others."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from flask.testing import FlaskClient

from acme_ca.cli import cli
from acme_ca.config import Config, ConfigError, load
from acme_ca.doctor import Host, roots
from acme_ca.pki import crl
from acme_ca.pki.crl import CrlRequest
from acme_ca.root_files import root_crls
from tests.support.ca import make_ca_files
from tests.support.root_crls import NAME, replace_list, root_key
from tests.support.server import Server, eventually, serving

URL = f"http://localhost:8080/crl/{NAME}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration of a CA that nobody serves."""
    return make_ca_files(tmp_path, "--environment", "prod")


def findings(path: Path, **changes: object) -> list[tuple[str, str]]:
    given = {"environments": ("prod",), "now": datetime.now(UTC), "timeout": 2.0}
    return [(found.code, found.seen) for found in roots.crls(Host(load(path), **{**given, **changes}))]  # type: ignore[arg-type]


def test_a_new_ca_has_a_list_that_its_intermediates_name(path: Path) -> None:
    (name,), (found,) = zip(*root_crls(load(path)).items(), strict=True)
    assert (name, list(found)) == (NAME, [])
    assert found.next_update_utc is not None
    assert found.next_update_utc - found.last_update_utc > timedelta(days=360)
    for issuer in ("prod-1", "service-1"):
        certificate = x509.load_pem_x509_certificate((path.parent / f"certificates/{issuer}.pem").read_bytes())
        (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert point.full_name == [x509.UniformResourceIdentifier(URL)]
    assert findings(path) == []


def test_it_is_served_as_lists_are(client: FlaskClient, status_settings: Config) -> None:
    expected = next(iter(root_crls(status_settings).values()))
    first = client.get(f"/crl/{NAME}")
    assert (first.status_code, first.content_type) == (200, "application/pkix-crl")
    assert first.data == expected.public_bytes(Encoding.DER)
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    assert first.expires == expected.next_update_utc
    again = client.get(f"/crl/{NAME}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get("/crl/root-2.crl").status_code == 404


def overwritten(path: Path, der: bytes) -> None:
    (path.parent / "certificates" / NAME).write_bytes(der)


def shard(path: Path) -> None:
    root = x509.load_pem_x509_certificate((path.parent / "certificates/root.pem").read_bytes())
    now = datetime.now(UTC)
    request = CrlRequest(1, now, now + timedelta(days=1), (), ("http://a.example/1.crl",))
    overwritten(path, crl.make(request, root, root_key(path.parent)))


def of_another(path: Path) -> None:
    issuer = x509.load_pem_x509_certificate((path.parent / "certificates/prod-1.pem").read_bytes())
    now = datetime.now(UTC)
    request = CrlRequest(1, now, now + timedelta(days=1), ())
    overwritten(path, crl.make(request, issuer, load(path).environment["prod"].issuer[0].key.open()))


def unnumbered(path: Path) -> None:
    root = x509.load_pem_x509_certificate((path.parent / "certificates/root.pem").read_bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(root.subject, now, now + timedelta(days=1))
    overwritten(path, builder.sign(root_key(path.parent), SHA384()).public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: overwritten(path, b"no list"), "no revocation list in PEM or DER"),
        (of_another, "has not signed it"),
        (shard, "about some certificates only"),
        (unnumbered, "no CRL number"),
    ],
)
def test_what_is_no_list_of_the_root_stops_the_start(path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(path)
    with pytest.raises(ValueError, match=reason) as caught:
        root_crls(load(path))
    assert NAME in str(caught.value)
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
    assert result.exit_code == 1
    assert re.search(reason, result.stderr)
    assert [code for code, _ in findings(path)] == ["CRL004"]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (NAME, "corp.crl", "expected a name like root-1.crl"),
        (NAME, "root-.crl", "expected a name like root-1.crl"),
        (NAME, "root-9.crl", "there is no file"),
    ],
)
def test_the_name_of_the_file_is_that_in_the_url(path: Path, before: str, after: str, reason: str) -> None:
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ConfigError, match=reason):
        load(path)


def test_two_lists_have_two_names(path: Path) -> None:
    text = path.read_text()
    first, _, rest = text.partition(f"certificates/{NAME}")
    path.write_text(f"{first}elsewhere/{NAME}{rest}")
    with pytest.raises(ConfigError, match=f"environment.prod.issuer.0..root_crl: {NAME} is published already"):
        load(path, files=False)
    path.write_text(text.replace('name = "prod-1"', 'name = "root-1"'))
    with pytest.raises(ConfigError, match="where the list of the issuer of that name is published"):
        load(path, files=False)


def test_the_doctor_tells_before_it_is_over(path: Path) -> None:
    replace_list(path.parent, since=timedelta(days=310))
    assert [code for code, _ in findings(path)] == ["CRL005"]
    replace_list(path.parent, since=timedelta(days=10), lasts=timedelta(days=30))
    assert findings(path) == []
    replace_list(path.parent, since=timedelta(days=366))
    assert [code for code, _ in findings(path)] == ["CRL004"]


def test_the_doctor_tells_of_a_revoked_issuer_and_of_a_list_that_is_not_published(path: Path) -> None:
    certificate = x509.load_pem_x509_certificate((path.parent / "certificates/prod-1.pem").read_bytes())
    replace_list(path.parent, revoked=[certificate.serial_number])
    assert [code for code, _ in findings(path)] == ["CRL008"]
    path.write_text(path.read_text().replace(f'root_crl = "certificates/{NAME}"\n', ""))
    assert findings(path) == [("CRL007", URL), ("CRL007", URL)]


def reload(server: Server, event: str) -> None:
    before = len(server.said(event))
    server.signal(signal.SIGHUP)
    eventually(lambda: len(server.said(event)) > before, event)


def test_a_reload_takes_a_newer_list_and_no_older_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--environment", "prod") as server:
        newer = replace_list(tmp_path, revoked=[4711])
        told = CliRunner().invoke(cli, ["doctor", "--config", str(server.config), "--json"])
        assert "CRL006" in {found["code"] for found in json.loads(told.stdout)["findings"]}
        reload(server, "serve.ready")
        eventually(lambda: server.get(f"/crl/{NAME}")[2] == newer, "the new list")
        replace_list(tmp_path, number=1)
        reload(server, "config.refused")
        assert "bring the newer one" in server.said("config.refused")[-1]["reason"]
        assert server.get(f"/crl/{NAME}")[2] == newer
