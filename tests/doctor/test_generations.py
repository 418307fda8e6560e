"""What the doctor says of issuers that follow each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from acme_ca.cli import cli
from acme_ca.config import Config, load
from acme_ca.doctor import Finding, Host, keeping, serving
from acme_ca.doctor.generations import published
from tests.support.ca import key_file, make_ca_files

YEARS = timedelta(days=5 * 365)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A CA that nobody serves."""
    return load(make_ca_files(tmp_path, "--environment", "prod"))


def host(config: Config, later: timedelta = timedelta()) -> Host:
    return Host(config, tuple(config.environment), datetime.now(UTC) + later, 5.0)


def found(config: Config, later: timedelta = timedelta()) -> list[tuple[str, str]]:
    return [(one.code, one.place) for one in keeping.issuers(host(config, later))]


def rotate(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["issuer", "rotate", "prod", "--config", str(tmp_path / "acme-ca.toml")])
    assert result.exit_code == 0, result.output


def test_the_next_one_is_asked_for_until_it_is_there(config: Config, tmp_path: Path) -> None:
    assert found(config, YEARS - timedelta(days=70)) == []
    assert found(config, YEARS - timedelta(days=65)) == [("ISS002", "environment.prod.issuer")]
    (told,) = keeping.issuers(host(config, YEARS - timedelta(days=65)))
    assert isinstance(told, Finding)
    assert "prod-1 can sign until" in told.seen
    path = tmp_path / "acme-ca.toml"
    path.write_text(path.read_text() + "\n[environment.prod.rotation]\nbefore = 3600\npublish_ahead = 3600\n")
    sooner = load(path)
    assert found(sooner, YEARS - timedelta(days=65)) == []
    rotate(tmp_path)
    assert found(sooner, YEARS - timedelta(hours=9)) == [("ISS002", "environment.prod.issuer")], "both end then"


def test_each_generation_that_is_published_has_to_open(config: Config, tmp_path: Path) -> None:
    rotate(tmp_path)
    assert found(config) == []
    assert [name for name, *_ in published(host(config), "prod")] == ["prod-2", "prod-1"]
    later = key_file(config.environment["prod"].issuer[0].key.beside(2))
    later.chmod(0o644)
    assert [one.place for one in keeping.modes(host(config)) if one.code == "KEY002"] == [str(later)]
    later.unlink()
    assert found(config) == [("KEY001", "environment.prod.issuer[0]: prod-2")]


def test_lists_of_all_that_are_published_are_looked_for(config: Config, tmp_path: Path) -> None:
    rotate(tmp_path)
    places = [one.place for one in serving.crls(host(config))]
    assert [place.rpartition("/")[2] for place in places] == ["prod-2.crl", "prod-1.crl"]
