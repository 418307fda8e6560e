"""Operators whom an OpenID Connect issuer signs in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acme_ca import config
from acme_ca.app import create_app
from acme_ca.authority import Authority
from acme_ca.config import AdminListener, Config, ConfigError, OidcIssuer
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from tests.admin.conftest import Api
from tests.support import issuers
from tests.support.ca import make_ca_files
from tests.support.issuers import TokenIssuer
from tests.support.jws import shared_key

AUDIENCE = "acme-ca-admins"
GROUPS = (
    {"value": "pki-admins", "role": "ca-admin"},
    {"value": "on-call", "role": "operator", "environments": ["prod"]},
)


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[TokenIssuer]:
    """An issuer of ID tokens on loopback."""
    with issuers.serve(tmp_path / "issuer") as running:
        yield running


@pytest.fixture
def app(settings: Config, issuer: TokenIssuer, sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API of a CA that believes the issuer."""
    assert settings.listener.admin is not None
    told = {"name": "sso", "audience": AUDIENCE, "group": GROUPS, **issuer.settings}
    oidc = (OidcIssuer.model_validate(told, strict=False),)
    admin = settings.listener.admin.model_copy(update={"oidc": oidc})
    assert isinstance(admin, AdminListener)
    listener = settings.listener.model_copy(update={"admin": admin})
    database = settings.database.model_copy(update={"url": sqlite_url})
    migration = Database(sqlite_url)
    upgrade(migration)
    migration.close()
    changed = settings.model_copy(update={"listener": listener, "database": database, "state": tmp_path / "state"})
    ca = Authority(changed)
    yield Api(create_app(ca, ("admin",)), ca)
    ca.close()


def token(issuer: TokenIssuer, **claims: Any) -> str:  # noqa: ANN401 - claims of any kind
    now = int(time.time())
    given = {"sub": "alice", "aud": AUDIENCE, "iat": now, "exp": now + 600, "groups": ["staff", "on-call"]}
    return issuer.token(given | claims)


def signed_in(app: Api, text: str) -> Api:
    return Api(app.app, app.ca, text)


def test_the_group_says_what_somebody_is(app: Api, issuer: TokenIssuer) -> None:
    me = signed_in(app, token(issuer))("GET", "/me").json
    assert (me["by"], me["role"], me["environments"]) == ("oidc:sso:alice", "operator", ["prod"])
    both = token(issuer, groups=["on-call", "pki-admins"])
    assert signed_in(app, both)("GET", "/me").json["role"] == "ca-admin"
    assert signed_in(app, token(issuer, groups="pki-admins"))("GET", "/me").json["role"] == "ca-admin"


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": []},
        {"groups": None},
        {"groups": {"on-call": True}},
        {"groups": ["on-cal"]},
        {"aud": "another"},
        {"aud": [AUDIENCE, "another"]},
        {"aud": None},
        {"exp": 1},
        {"iat": 1},
        {"sub": None},
        {"iss": "https://another.example"},
    ],
)
def test_other_tokens_sign_nobody_in(app: Api, issuer: TokenIssuer, claims: dict[str, Any]) -> None:
    signed_in(app, token(issuer, **claims))("GET", "/me").refused(401, "unauthenticated")


def test_a_token_by_another_key_signs_nobody_in(app: Api, issuer: TokenIssuer) -> None:
    forged = issuer.token({"sub": "alice", "aud": AUDIENCE}, key=shared_key("rsa-2048", 999))
    signed_in(app, forged)("GET", "/me").refused(401)


def test_an_issuer_that_is_away_is_passing_trouble(app: Api, issuer: TokenIssuer) -> None:
    issuer.rotate("ec-p256")
    issuer.api.fault = "500"
    try:
        reply = signed_in(app, token(issuer))("GET", "/me")
        assert reply.status == 503
        assert reply.headers["Retry-After"]
    finally:
        issuer.api.fault = None


def test_mistakes_in_its_settings_have_their_place(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)
    path.write_text(
        path.read_text() + "\n[[listener.admin.oidc]]\nname = 'sso'\nissuer = 'http://plain.example'\naudience = 'a'\n"
        "group = [{ value = 'x', role = 'king' }]\n"
    )
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "listener.admin.oidc[0].group[0].role" in str(caught.value)
    path.write_text(path.read_text().replace("king", "viewer"))
    with pytest.raises(ConfigError, match="the issuer has no discovery"):
        config.load(path)
