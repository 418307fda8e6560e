"""The admin API of a CA in this process, and operators who ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acme_ca import config
from acme_ca.admin.signing_in import LOCAL
from acme_ca.app import ask, create_app
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from tests.support.ca import make_ca_files

PREFIX = "/admin/v1"


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON carries
        """Its JSON."""
        return json.loads(self.text)

    def refused(self, status: int, kind: str | None = None) -> str:
        """Its detail, when it is a problem document of this kind."""
        assert self.status == status, self.text
        assert self.headers["Content-Type"] == "application/problem+json"
        assert kind is None or self.json["type"].endswith(f":{kind}"), self.text
        return str(self.json["detail"])


@dataclass
class Api:
    """The API, asked by somebody: this process's user, or who holds a token."""

    app: Any
    ca: Authority
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Ask. `body` is sent as JSON, or as it is when it is bytes."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if sent is not None else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            given["Authorization"] = f"Bearer {self.token}"
        environ = {LOCAL: 0} if self.token is None else {}
        status, answered, content = ask(self.app, method, PREFIX + path, sent, given, environ)
        return Reply(status, answered, content.decode())

    def become(self, role: str, *environments: str, name: str | None = None) -> Api:
        """The API as an operator with this role asks it."""
        name = name or f"{role}-{len(environments)}"
        self("POST", "/admins", {"name": name, "role": role, "environments": environments})
        made = self("POST", f"/admins/{name}/tokens", {"label": "test", "role": role})
        assert made.status == 201, made.text
        return Api(self.app, self.ca, made.json["token"])


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Keys, certificates and configuration as `acme-ca init` makes them."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def api(settings: Config, database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API as root on this host asks it, on both kinds of database."""
    database = settings.database.model_copy(update={"url": database_url})
    migration = Database(database_url)
    upgrade(migration)
    migration.close()
    ca = Authority(settings.model_copy(update={"database": database, "state": tmp_path / "state"}))
    yield Api(create_app(ca, ("admin",)), ca)
    ca.close()
