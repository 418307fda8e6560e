"""Logs: one JSON object a line, with the request's id, and no secrets."""

import io
import json
import logging
from collections.abc import Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass
from threading import Thread
from typing import Any, Literal

import pytest
import structlog

from acme_ca import logs


@dataclass(frozen=True)
class Settings:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.BytesIO()
    logs.configure(Settings(), stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_time_and_level(stream: io.BytesIO) -> None:
    structlog.get_logger().info("order created", order="abc", names=2)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "event": "order created", "order": "abc", "names": 2}


def test_a_line_carries_the_request_it_belongs_to(stream: io.BytesIO) -> None:
    log = structlog.get_logger()

    def request(number: str) -> None:
        logs.bind_request(number, environment="prod")
        log.info("served")
        assert logs.request_id() == number

    copy_context().run(request, "one")
    thread = Thread(target=request, args=("two",))
    thread.start()
    thread.join()
    assert [(line["request_id"], line["environment"]) for line in lines(stream)] == [("one", "prod"), ("two", "prod")]


def test_a_new_request_on_the_same_thread_forgets_the_one_before(stream: io.BytesIO) -> None:
    def requests() -> None:
        logs.bind_request("one", account="a")
        logs.bind_request("two")
        structlog.get_logger().info("served")

    copy_context().run(requests)
    (line,) = lines(stream)
    assert line["request_id"] == "two"
    assert "account" not in line


def test_outside_a_request_there_is_no_id() -> None:
    assert Context().run(logs.request_id) is None


def test_secrets_and_bytes_are_not_written(stream: io.BytesIO) -> None:
    structlog.get_logger().info("started", password="hunter2", hmac_key=b"hunter2", body=b"hunter2")
    assert b"hunter2" not in stream.getvalue()
    (line,) = lines(stream)
    assert line["password"] == logs.HIDDEN
    assert line["body"] == "(7 bytes)"


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "nul\0", "\u2028", "ümlaut", "\ud800"])
def test_what_a_client_sent_stays_on_one_line_of_plain_ascii(stream: io.BytesIO, text: str) -> None:
    structlog.get_logger().warning("refused", detail=text)
    written = stream.getvalue()
    assert written.count(b"\n") == 1
    assert written.isascii()
    assert b"\x1b" not in written
    assert lines(stream)[0]["detail"] == text


def test_libraries_that_log_through_logging_get_the_same_form(stream: io.BytesIO) -> None:
    def request() -> None:
        logs.bind_request("one")
        logging.getLogger("library").warning("%d sockets left", 3)
        logging.getLogger("library").debug("chatter")
        logging.getLogger("library").log(35, "a level of its own")

    copy_context().run(request)
    first, second = lines(stream)
    assert (first["event"], first["level"], first["logger"]) == ("3 sockets left", "warning", "library")
    assert first["request_id"] == "one"
    assert second["level"] == "warning"


def test_an_exception_is_written_whole(stream: io.BytesIO) -> None:
    try:
        raise RuntimeError("broken")  # noqa: TRY301 - the exception is what is tested
    except RuntimeError:
        structlog.get_logger().exception("request failed")
        logging.getLogger("library").exception("request failed")
    for line in lines(stream):
        assert line["level"] == "error"
        assert "RuntimeError: broken" in line["exception"]


def test_the_level_can_change_while_loggers_exist(stream: io.BytesIO) -> None:
    log = structlog.get_logger()
    log.debug("before")
    logs.configure(Settings(level="debug"), stream)
    log.debug("after")
    assert [line["event"] for line in lines(stream)] == ["after"]


def test_people_get_text(stream: io.BytesIO) -> None:
    logs.configure(Settings(format="console"), stream)
    structlog.get_logger().warning("refused", name="a.example", password="hunter2")
    text = stream.getvalue().decode()
    assert "refused" in text
    assert "a.example" in text
    assert "hunter2" not in text


def test_people_get_tracebacks_without_the_values_of_variables(stream: io.BytesIO) -> None:
    def fail(mac_key: str) -> None:
        raise ValueError(f"{len(mac_key)} characters")

    logs.configure(Settings(format="console"), stream)
    try:
        fail("hunter" + "2")
    except ValueError:
        structlog.get_logger().exception("failed")
    text = stream.getvalue().decode()
    assert "7 characters" in text
    assert "Traceback" in text
    assert "hunter2" not in text
