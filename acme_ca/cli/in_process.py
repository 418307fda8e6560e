"""The admin API in this process, on the database of the configuration: for when no server runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from acme_ca.admin.signing_in import LOCAL
from acme_ca.app import ask, create_app
from acme_ca.authority import Authority
from acme_ca.cli.client import Reply
from acme_ca.cli.options import refuse
from acme_ca.config import Config
from acme_ca.server.application import NOT_ASSEMBLED


@dataclass
class InProcess:
    """A way to ask without a server. The CA is put together for the first call."""

    config: Config
    _ca: Authority | None = None

    @cached_property
    def _app(self) -> Any:  # noqa: ANN401 - a WSGI application, whose framework is not known here
        self._ca = Authority(self.config)
        return create_app(self._ca, ("admin",))

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Return the answer; ends with exit code 1 when the CA cannot be put together."""
        try:
            app = self._app
        except NOT_ASSEMBLED as error:
            refuse(str(error))
        return Reply(*ask(app, method, path, body, headers, {LOCAL: os.geteuid()}))

    def close(self) -> None:
        """Let everything go."""
        if self._ca is not None:
            self._ca.close()
