"""Each format of audit events, by the rules of its own specification."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from acme_ca.sinks import SealedEvent
from acme_ca.sinks.formats import FORMATS, cef
from acme_ca.sinks.syslog import framed
from acme_ca.vocabulary import FormatName

NASTY = 'a|b\\c=d\n"é'
# ECS 8.17: what event.type may be for each event.category used here.
ECS_TYPES = {
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
}
# OCSF 1.3.0: what the class Entity Management requires, and its activities.
OCSF_REQUIRED = {
    "activity_id": int,
    "category_uid": int,
    "class_uid": int,
    "entity": dict,
    "metadata": dict,
    "severity_id": int,
    "time": int,
    "type_uid": int,
}
OCSF_ACTIVITIES = {*range(14), 99}
EVENTS = (
    "account.created",
    "account.deactivated",
    "account.refusals_counted",
    "authorization.invalid",
    "certificate.issued",
    "certificate.revoked",
    "order.refused",
    "policy.changed",
    "workload.proved",
    "something.unheard_of",
)


def event(name: str = "certificate.issued", **details: object) -> SealedEvent:
    return SealedEvent(
        seq=42,
        hash="ab" * 32,
        id=43,
        at=datetime(2026, 1, 31, 12, 0, 0, 1500, UTC),
        environment="prod",
        event=name,
        actor="admin:alice",
        account_id=None,
        subject=f"subject-{NASTY}",
        details=details or {"names": ["dns:www.corp.example"], "note": NASTY},
    )


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("format_name", list(FORMATS))
def test_an_event_is_one_line(format_name: FormatName, name: str) -> None:
    line = FORMATS[format_name](event(name))
    assert line.splitlines() == [line]
    assert format_name == "cef" or json.loads(line)


def test_native_has_everything() -> None:
    assert json.loads(FORMATS["native"](event())) == {
        "seq": 42,
        "hash": "ab" * 32,
        "id": 43,
        "time": "2026-01-31T12:00:00.001500Z",
        "environment": "prod",
        "event": "certificate.issued",
        "actor": "admin:alice",
        "account": None,
        "subject": f"subject-{NASTY}",
        "details": {"names": ["dns:www.corp.example"], "note": NASTY},
    }


@pytest.mark.parametrize("name", EVENTS)
def test_ecs_uses_allowed_values(name: str) -> None:
    found = json.loads(FORMATS["ecs"](event(name, error={"detail": "no rule allows it"})))
    assert {"@timestamp", "ecs", "event", "message"} <= found.keys()
    assert found["event"]["kind"] == "event"
    for category in found["event"]["category"]:
        assert set(found["event"]["type"]) <= ECS_TYPES[category]
    assert found["event"]["outcome"] in {"success", "failure", "unknown"}
    assert (found["event"]["outcome"] == "failure") == name.endswith((".refused", ".invalid"))
    assert found["event"]["reason"] == "no rule allows it"
    assert found["event"]["action"] == name
    assert found["event"]["sequence"] == 42
    assert found["user"]["id"] == "admin:alice"


@pytest.mark.parametrize("name", EVENTS)
def test_ocsf_has_what_its_class_requires(name: str) -> None:
    found = json.loads(FORMATS["ocsf"](event(name, error={"detail": "no rule allows it"})))
    for attribute, kind in OCSF_REQUIRED.items():
        assert isinstance(found[attribute], kind), attribute
    assert found["activity_id"] in OCSF_ACTIVITIES
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
    assert found["class_uid"] // 1000 == found["category_uid"]
    assert found["metadata"]["version"] == "1.3.0"
    assert {"name", "vendor_name"} <= found["metadata"]["product"].keys()
    assert found["entity"]["uid"] == f"subject-{NASTY}"
    assert found["time"] == 1769860800001
    assert found["status_detail"] == "no rule allows it"


def parse_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """Read CEF as its specification says."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    extension: dict[str, str] = {}
    for found in re.finditer(r"(\w+)=((?:\\.|[^=\\])*?)(?= \w+=|$)", parts[7]):
        extension[found[1]] = re.sub(
            r"\\(.)", lambda escaped: {"n": "\n", "r": "\r"}.get(escaped[1], escaped[1]), found[2]
        )
    return parts[:7], extension


@pytest.mark.parametrize("name", EVENTS)
def test_cef_is_read_as_it_was_meant(name: str) -> None:
    head, extension = parse_cef(FORMATS["cef"](event(name)))
    assert head[:3] == ["CEF:0", "acme-ca", "acme-ca"]
    assert head[3:5] == [cef.VERSION, name]
    assert 0 <= int(head[6]) <= 10
    assert extension["cs2"] == f"subject-{NASTY}"
    assert json.loads(extension["cs5"])["note"] == NASTY
    assert extension["rt"] == "1769860800001"
    assert extension["externalId"] == "42"
    assert {key[:3] for key in extension if key.endswith("Label")} == {
        key for key in extension if re.fullmatch(r"cs\d", key)
    }


def test_cef_escapes_its_header() -> None:
    head = cef.render(event("a|b\\c.x\ny")).split("|suid")[0]
    assert r"|a\|b\\c.x y|" in head


def test_syslog_message_is_of_rfc_5424_and_5425() -> None:
    data = framed(event(), "ca host\n1", "native")
    length, _, message = data.partition(b" ")
    assert int(length) == len(message)
    head, bom, body = message.partition(b"\xef\xbb\xbf")
    assert bom
    assert json.loads(body)["seq"] == 42
    assert re.fullmatch(
        rb'<109>1 2026-01-31T12:00:00\.001500Z cahost1 acme-ca - certificate\.issued \[meta sequenceId="42"\] ', head
    )
    assert (
        framed(event("order.refused"), "", "cef")
        .partition(b" ")[2]
        .startswith(b"<108>1 2026-01-31T12:00:00.001500Z - ")
    )
