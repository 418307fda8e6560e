"""Secrets by reference."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from acme_ca.secret import SIZE_LIMIT, Secret, SecretUnavailableError


class Holder(BaseModel):
    password: Secret


def test_an_environment_variable_is_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TEST_SECRET", "hunter2")
    assert Secret.parse("env:ACME_TEST_SECRET").reveal() == b"hunter2"


@pytest.mark.parametrize(
    ("written", "revealed"),
    [(b"s3cret\n", b"s3cret"), (b"s3cret\r\n", b"s3cret"), (b"s3cret", b"s3cret"), (b" a\n\n", b" a\n")],
)
def test_one_trailing_line_break_of_a_file_is_dropped(tmp_path: Path, written: bytes, revealed: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(written)
    assert Secret.parse(f"file:{file}").reveal() == revealed


def test_a_credential_of_systemd_is_revealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passphrase").write_bytes(b"from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secret.parse("credential:passphrase").reveal() == b"from systemd"


def test_a_file_is_read_each_time_so_that_it_can_be_rotated(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secret = Secret("file", str(file))
    file.write_bytes(b"old")
    assert secret.reveal() == b"old"
    file.write_bytes(b"new")
    assert secret.reveal() == b"new"


@pytest.mark.parametrize(
    "text",
    ["hunter2", "", "env:", "env", "file:", "vault:x", "ENV:x", "credential:../x", "credential:a/b", "credential:.."],
)
def test_anything_but_a_reference_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"env:NAME|without folders") as caught:
        Secret.parse(text)
    assert "hunter2" not in str(caught.value)


def test_a_literal_in_a_model_is_refused_without_repeating_it_in_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"password": "hunter2"})
    assert "env:NAME" in caught.value.errors()[0]["msg"]
    assert "hunter2" not in caught.value.errors()[0]["msg"]
    with pytest.raises(ValidationError, match="expected a string"):
        Holder.model_validate({"password": 7})


def test_a_model_takes_a_reference_and_writes_it_back_as_text() -> None:
    holder = Holder.model_validate({"password": "env:X"})
    assert holder.password == Secret("env", "X")
    assert holder.model_dump(mode="json") == {"password": "env:X"}
    assert Holder(password=Secret("env", "X")) == holder
    assert Holder.model_json_schema()["properties"]["password"]["type"] == "string"


def test_a_relative_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    holder = Holder.model_validate({"password": "file:secrets/db"}, context={"folder": tmp_path})
    assert holder.password == Secret("file", str(tmp_path / "secrets/db"))
    holder = Holder.model_validate({"password": "file:/run/db"}, context={"folder": tmp_path})
    assert holder.password == Secret("file", "/run/db")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretUnavailableError, match="env:NO_SUCH_VARIABLE: there is no such"):
        Secret.parse("env:NO_SUCH_VARIABLE").reveal()
    with pytest.raises(SecretUnavailableError, match="no-such-file: No such file"):
        Secret.parse(f"file:{tmp_path}/no-such-file").reveal()
    with pytest.raises(SecretUnavailableError, match=r"\$CREDENTIALS_DIRECTORY is not set"):
        Secret.parse("credential:x").reveal()


def test_an_empty_or_huge_secret_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\n")
    with pytest.raises(SecretUnavailableError, match="is empty"):
        Secret("file", str(file)).reveal()
    file.write_bytes(b"x" * (SIZE_LIMIT + 1))
    with pytest.raises(SecretUnavailableError, match="larger than"):
        Secret("file", str(file)).reveal()


def test_a_file_that_everybody_can_read_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"hunter2")
    file.chmod(0o400)
    with caplog.at_level(logging.WARNING):
        Secret("file", str(file)).reveal()
        assert not caplog.messages
        file.chmod(0o444)
        Secret("file", str(file)).reveal()
    assert "can be read by everybody" in caplog.messages[0]
    assert "hunter2" not in caplog.text


def test_the_repr_shows_the_reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TEST_SECRET", "hunter2")
    secret = Secret.parse("env:ACME_TEST_SECRET")
    secret.reveal()
    assert "hunter2" not in repr(secret) + str(secret)
