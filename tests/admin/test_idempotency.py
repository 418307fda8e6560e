"""Calls that act are done once, whatever becomes of the first attempt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from acme_ca import clock
from acme_ca.admin import dispatch
from acme_ca.admin.calls import Asked, Call, Model
from acme_ca.models.admin import IDEMPOTENT_CALLS, Permission
from acme_ca.problems import Conflict, ServiceUnavailable
from acme_ca.services import admins, idempotency
from acme_ca.services.admins import Wanted
from acme_ca.vocabulary import Role
from tests.admin.conftest import Api


class Nothing(Model):
    """An empty object."""


def enroll(asked: Asked) -> None:
    admins.create(asked.ca, "alice", Wanted(Role.VIEWER), by=asked.operator.by)


def works_halfway(asked: Asked) -> Nothing:
    enroll(asked)
    raise ServiceUnavailable("the rest has to wait")


def is_forgotten_meanwhile(asked: Asked) -> Nothing:
    enroll(asked)
    with asked.ca.database.write() as connection:
        connection.execute(delete(IDEMPOTENT_CALLS))
    return Nothing()


def fails_while_trying(asked: Asked) -> Nothing:
    with asked.ca.database.write():
        raise Conflict("somebody was faster")


def add(api: Api, work: Callable[[Asked], Nothing]) -> None:
    """Add a call to the API that does this."""
    call = Call(
        method="POST",
        path="/try",
        permission=Permission.OPERATE,
        summary="",
        work=work,
        answer=Nothing,
        body=Nothing,
        acts=True,
    )
    api.app.add_url_rule("/admin/v1/try", call.name, dispatch.view(api.ca, call), methods=["POST"])


def names(api: Api) -> list[str]:
    return [item["name"] for item in api("GET", "/admins").json["items"]]


def age(api: Api, by: timedelta) -> None:
    with api.ca.database.write() as connection:
        connection.execute(update(IDEMPOTENT_CALLS).values(created_at=clock.now() - by))


def test_a_call_that_failed_halfway_is_not_made_again(api: Api) -> None:
    add(api, works_halfway)
    api("POST", "/try", {}, Idempotency_Key="one").refused(503)
    assert names(api) == ["alice"]
    assert "is unknown; look" in api("POST", "/try", {}, Idempotency_Key="one").refused(409)


def test_a_call_that_failed_before_anything_was_done_is_made_again(api: Api) -> None:
    add(api, fails_while_trying)
    for _ in range(2):
        assert "faster" in api("POST", "/try", {}, Idempotency_Key="one").refused(409)


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(api: Api) -> None:
    add(api, is_forgotten_meanwhile)
    assert api("POST", "/try", {}, Idempotency_Key="one").status == 200


@pytest.mark.parametrize(("age_of_claim", "told"), [(timedelta(), "still at work"), (timedelta(hours=1), "unknown")])
def test_what_a_process_left_behind_that_died_is_not_done_again(api: Api, age_of_claim: timedelta, told: str) -> None:
    wanted = {"name": "bob", "role": "viewer"}
    assert api("POST", "/admins", wanted, Idempotency_Key="one").status == 201
    with api.ca.database.write() as connection:  # as if the process had died before it kept the answer
        connection.execute(update(IDEMPOTENT_CALLS).values(http_status=None, answer=None))
    age(api, age_of_claim)
    assert told in api("POST", "/admins", wanted, Idempotency_Key="one").refused(409)
    assert names(api) == ["bob"]


def test_an_answer_is_kept_for_a_day(api: Api) -> None:
    wanted = {"name": "bob", "role": "viewer"}
    api("POST", "/admins", wanted, Idempotency_Key="one")
    age(api, idempotency.KEPT + timedelta(minutes=1))
    assert "already" in api("POST", "/admins", wanted, Idempotency_Key="one").refused(409)


def test_an_answer_that_cannot_be_read_any_more_is_unknown(api: Api) -> None:
    wanted = {"name": "bob", "role": "viewer"}
    api("POST", "/admins", wanted, Idempotency_Key="one")
    with api.ca.database.write() as connection:  # as a version before kept them
        connection.execute(update(IDEMPOTENT_CALLS).values(answer=bytes(40)))
    assert "unknown" in api("POST", "/admins", wanted, Idempotency_Key="one").refused(409)


def test_a_repeated_answer_has_the_headers_of_the_first(api: Api) -> None:
    wanted = {"name": "bob", "role": "viewer"}
    first = api("POST", "/admins", wanted, Idempotency_Key="one")
    again = api("POST", "/admins", wanted, Idempotency_Key="one")
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert (again.status, again.text) == (first.status, first.text)
