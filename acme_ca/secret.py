"""Secrets are written as references, never as values: `env:NAME`, `file:/path` or `credential:NAME`.

`credential:` is a file of $CREDENTIALS_DIRECTORY, where systemd (systemd.exec(5), LoadCredential=) puts them.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from acme_ca.paths import anchored

Source = Literal["env", "file", "credential"]

SIZE_LIMIT = 65_536  # bytes; a larger file was not meant to be a secret

log = logging.getLogger(__name__)


class SecretUnavailableError(Exception):
    """A secret cannot be read. The message names the place, never the content."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is kept. It is read when it is needed, so that it can be rotated, and has no repr."""

    source: Source
    name: str

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read a reference; raises ValueError, which does not repeat the text: it may be the secret itself."""
        source, colon, name = text.partition(":")
        if not colon or not name or source not in get_args(Source):
            raise ValueError("a secret is written as env:NAME, file:/path or credential:NAME, never as its value")
        if source == "credential" and ("/" in name or name in {".", ".."}):
            raise ValueError(
                "the name of a credential is the name of a file in $CREDENTIALS_DIRECTORY, without folders"
            )
        return cls(source, name)  # type: ignore[arg-type]  # checked against Source above

    def reveal(self) -> bytes:
        """Return the secret without a trailing line break; raises SecretUnavailableError when there is none."""
        value = self._environment() if self.source == "env" else self._file()
        if not value:
            raise SecretUnavailableError(f"{self} is empty")
        return value

    def _environment(self) -> bytes:
        value = os.environb.get(self.name.encode())
        if value is None:
            raise SecretUnavailableError(f"{self}: there is no such environment variable")
        return value

    def _file(self) -> bytes:
        path = self._path()
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(SIZE_LIMIT + 1)
        except OSError as error:
            raise SecretUnavailableError(f"{self}: {error.strerror}") from error
        if len(content) > SIZE_LIMIT:
            raise SecretUnavailableError(f"{self} is larger than {SIZE_LIMIT} bytes")
        if self.source == "file" and mode & stat.S_IROTH:  # a warning only: containers mount secrets as 0444
            log.warning("%s can be read by everybody on this host; chmod 0400 would keep it secret", self)
        return content.removesuffix(b"\n").removesuffix(b"\r")

    def _path(self) -> Path:
        if self.source == "file":
            return Path(self.name)
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretUnavailableError(
                f"{self}: $CREDENTIALS_DIRECTORY is not set; systemd sets it for LoadCredential="
            )
        return Path(folder) / self.name

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of a pydantic model be a Secret, written as the reference's text."""
        text = core_schema.with_info_plain_validator_function(
            cls._validate,
            json_schema_input_schema=core_schema.str_schema(pattern=f"^({'|'.join(get_args(Source))}):."),
        )
        return core_schema.json_or_python_schema(
            text, text, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> Secret:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("secret", "expected a string like env:NAME, file:/path or credential:NAME")
        try:
            secret = cls.parse(value)
        except ValueError as error:
            raise PydanticCustomError("secret", "{reason}", {"reason": str(error)}) from None
        if secret.source == "file":
            return cls("file", str(anchored(Path(secret.name), info)))
        return secret
