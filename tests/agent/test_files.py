"""Files that others read while they change."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from acme_ca.agent import files, jws, material
from acme_ca.agent.errors import AgentError
from acme_ca.agent.files import SECRET, Content


def test_a_reader_of_current_always_has_a_pair(tmp_path: Path) -> None:
    """One that follows the link once and reads before the next but one set is published."""
    files.publish(tmp_path, {"key": Content(b"0", SECRET), "cert": Content(b"0")})
    seen: list[tuple[bytes, bytes]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            folder = (tmp_path / "current").resolve()
            seen.append(((folder / "key").read_bytes(), (folder / "cert").read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 40):
            value = str(number).encode()
            files.publish(tmp_path, {"key": Content(value, SECRET), "cert": Content(value)})
            before = len(seen)
            while len(seen) == before and reader.is_alive():
                time.sleep(0)
    finally:
        done.set()
        reader.join()
    assert len(set(seen)) > 1
    assert all(key == cert for key, cert in seen)


def test_the_stable_names_lead_to_the_newest_and_one_set_before_it_is_kept(tmp_path: Path) -> None:
    for number in range(5):
        files.publish(tmp_path, {"cert": Content(str(number).encode())})
    assert (tmp_path / "cert").read_bytes() == b"4"
    assert sorted(found.read_bytes() for found in tmp_path.glob("sets/*/cert")) == [b"3", b"4"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"sets", "current", "cert"}


def test_a_set_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    files.publish(tmp_path, {"cert": Content(b"good")})
    with pytest.raises(AgentError, match="cannot be written"):
        files.publish(tmp_path, {"cert": Content(b"bad"), "no/such/folder": Content(b"")})
    assert (tmp_path / "cert").read_bytes() == b"good"
    assert len(list((tmp_path / "sets").iterdir())) == 1


def test_a_file_that_somebody_else_put_there_is_replaced_and_a_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("by hand")
    files.publish(tmp_path, {"cert": Content(b"new")})
    assert (tmp_path / "cert").read_bytes() == b"new"
    (tmp_path / "key").mkdir()
    with pytest.raises(AgentError, match="is a folder"):
        files.publish(tmp_path, {"key": Content(b"new", SECRET)})


def test_a_single_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "status"
    file.write_text("old")
    file.chmod(0o666)
    files.write(file, Content(b"new", SECRET))
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match="cannot be written"):
        files.write(tmp_path / "file" / "status", Content(b""))
    with pytest.raises(AgentError, match="cannot be written"):
        files.make_folder(tmp_path / "file" / "below")


def test_an_account_key_is_made_once(tmp_path: Path) -> None:
    made = material.account_key(tmp_path / "state" / "account.key")
    assert material.account_key(tmp_path / "state" / "account.key").jwk == made.jwk


def test_a_file_that_holds_no_account_key_is_explained_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "account.key"
    file.write_text("something")
    with pytest.raises(AgentError, match="no private key"):
        material.account_key(file)
    assert file.read_text() == "something"
    with pytest.raises(AgentError, match="cannot be read"):
        material.account_key(tmp_path)


def test_nothing_is_loaded_where_there_is_nothing(tmp_path: Path) -> None:
    assert material.load(tmp_path) is None
    (tmp_path / "current").symlink_to("sets/gone")
    assert material.load(tmp_path) is None


def test_a_key_of_another_certificate_is_not_loaded(tmp_path: Path) -> None:
    files.publish(tmp_path, {"key.pem": Content(jws.to_pem(jws.new_key()), SECRET)})
    assert material.load(tmp_path) is None
