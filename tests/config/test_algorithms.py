"""What issuers sign with, held against keys and profiles: mistakes are told by their line before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from acme_ca.config import ConfigError, load
from tests.support.ca import make_ca_files

ISSUER = '[[environment.prod.issuer]]\nname = "prod-1"\n'
PROFILE = """
[profile.chosen]
description = "Chosen"
lifetime = 3600
extended_key_usages = ["serverAuth"]
revocation = "none"
signed_by = ["ml-dsa-65", "rsa-pss-sha256"]
"""


def made(folder: Path, *options: str) -> Path:
    return make_ca_files(folder, "--environment", "prod", *options)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def mistakes(path: Path) -> list[tuple[str, str]]:
    """The settings that are wrong and why; each is named with the line that it is in."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = path.read_text().splitlines()
    found = caught.value.mistakes
    assert all(one.setting.rpartition(".")[2].partition("[")[0] in lines[one.line - 1] for one in found)
    return [(one.setting, one.text) for one in found]


def test_a_signature_that_the_key_does_not_make(tmp_path: Path) -> None:
    path = made(tmp_path)
    edit(path, ISSUER, f'{ISSUER}signature = "rsa-pss-sha256"\n')
    ((setting, text),) = mistakes(path)
    assert setting == "environment.prod.issuer[0].signature"
    assert text == "the key of issuer 'prod-1' does not sign with it; expected ecdsa-sha256"


def test_the_signature_that_it_makes_may_be_written_down(tmp_path: Path) -> None:
    path = made(tmp_path)
    edit(path, ISSUER, f'{ISSUER}signature = "ecdsa-sha256"\n')
    assert load(path).environment["prod"].issuer[0].signature == "ecdsa-sha256"


def test_a_profile_that_no_issuer_signs(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.write_text(path.read_text() + PROFILE)
    load(path)  # nobody offers it
    edit(path, '"server-8h"]', '"server-8h", "chosen"]')
    ((setting, text),) = mistakes(path)
    assert setting == "environment.prod.profiles[4]"
    assert "to be signed with ml-dsa-65 or rsa-pss-sha256 (signed_by), and no issuer here does" in text
    assert text.endswith("they sign: prod-1 with ecdsa-sha256")


@pytest.mark.parametrize(
    ("kind", "signature"), [("ml-dsa-65", None), ("rsa-2048", "rsa-pss-sha256"), ("rsa-2048", "rsa-pss-sha384")]
)
def test_a_profile_that_an_issuer_signs(kind: str, signature: str | None, tmp_path: Path) -> None:
    path = made(tmp_path, "--issuer-key", kind)
    edit(path, '"server-8h"]', '"server-8h", "chosen"]')
    path.write_text(path.read_text() + PROFILE)
    if signature is not None:
        ((_, text),) = mistakes(path)
        assert text.endswith("prod-1 with rsa-sha256")
        edit(path, ISSUER, f'{ISSUER}signature = "{signature}"\n')
    if signature == "rsa-pss-sha384":
        ((_, text),) = mistakes(path)
        assert text.endswith("prod-1 with rsa-pss-sha384")
    else:
        load(path)


def test_a_listener_below_ml_dsa(tmp_path: Path) -> None:
    path = made(tmp_path, "--root-key", "ml-dsa-44")
    edit(path, 'certificate = "certificates/service-1.pem"', 'certificate = "certificates/prod-1.pem"')
    ((setting, text),) = mistakes(path)
    assert setting == "service.issuer.certificate"
    assert "ML-DSA cannot be above the HTTPS listener" in text
