"""The signer with issuers of other kinds: what they sign goes the same way."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from acme_ca import clock, config
from acme_ca.authority import Authority
from acme_ca.pki import crl
from acme_ca.services import responders
from tests.signer.test_refusals import claim, request
from tests.support.ca import make_ca_files, start_ca, with_environment
from tests.support.signer import signing


@pytest.mark.parametrize(
    ("kind", "signature"),
    [("ec-p384", None), ("rsa-2048", None), ("rsa-2048", "rsa-pss-sha384"), ("ml-dsa-65", None)],
)
def test_issuers_of_all_kinds_sign_behind_it(tmp_path: Path, sqlite_url: str, kind: str, signature: str | None) -> None:
    path = make_ca_files(tmp_path / "ca", "--issuer-key", kind, "--root-key", kind)
    found = with_environment(config.load(path), "test", profiles=("server-1h", "server-7d"), ocsp=True)
    issuer = found.environment["test"].issuer[0].model_copy(update={"signature": signature})
    settings = with_environment(found, "test", issuer=(issuer,))
    start_ca(settings, sqlite_url, tmp_path / "state").close()  # which makes the tables
    database = settings.database.model_copy(update={"url": sqlite_url})
    settings = settings.model_copy(update={"database": database, "state": tmp_path / "state"})
    with signing(settings, tmp_path) as running, closing(Authority(running.settings)) as ca:
        claimed = claim(ca, request())
        claimed.issuer.issue(claimed.request).verify_directly_issued_by(claimed.issuer.certificate)
        assert responders.renew(ca) == 1
        now = clock.now()
        asked = crl.CrlRequest(1, now, now + timedelta(hours=1), [])
        assert crl.make(asked, claimed.issuer.certificate, claimed.issuer.key, claimed.issuer.signature)
