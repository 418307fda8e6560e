"""Call by role: what each role may do, and that nobody who is not signed in may do anything."""

from __future__ import annotations

import pytest

from acme_ca.admin import CALLS
from acme_ca.admin.calls import Call
from acme_ca.models.admin import PERMISSIONS, narrower
from acme_ca.vocabulary import Role
from tests.admin.conftest import Api

# What each role may do, written out by hand: whoever adds a call decides here who may make it.
READERS = {"viewer", "auditor", "operator", "policy-admin", "ca-admin"}
OPERATORS = {"operator", "ca-admin"}
ADMINS = {"ca-admin"}
LAWMAKERS = {"policy-admin", "ca-admin"}
AUDITORS = {"auditor", "ca-admin"}
TABLE: dict[str, set[str]] = {
    "GET /me": READERS,
    "GET /admins": ADMINS,
    "POST /admins": ADMINS,
    "GET /admins/{name}": ADMINS,
    "PUT /admins/{name}": ADMINS,
    "GET /admins/{name}/credentials": ADMINS,
    "POST /admins/{name}/certificates": ADMINS,
    "DELETE /admins/{name}/certificates/{fingerprint}": ADMINS,
    "POST /admins/{name}/tokens": ADMINS,
    "DELETE /admins/{name}/tokens/{id}": ADMINS,
    "GET /audit": AUDITORS,
    "GET /audit/checkpoints": AUDITORS,
    "GET /environments/{environment}/eab": READERS,
    "POST /environments/{environment}/eab": OPERATORS,
    "GET /environments/{environment}/eab/{kid}": READERS,
    "DELETE /environments/{environment}/eab/{kid}": OPERATORS,
    "GET /environments/{environment}/policy": READERS,
    "PUT /environments/{environment}/policy": LAWMAKERS,
    "GET /environments/{environment}/policy/versions": READERS,
    "GET /environments/{environment}/policy/versions/{number}": READERS,
    "POST /environments/{environment}/policy/rollback": LAWMAKERS,
    "POST /environments/{environment}/policy/explain": READERS,
    "GET /environments/{environment}/policy/shadow": READERS,
    "PUT /environments/{environment}/policy/shadow": LAWMAKERS,
    "DELETE /environments/{environment}/policy/shadow": LAWMAKERS,
    "GET /environments/{environment}/accounts": READERS,
    "GET /environments/{environment}/accounts/{id}": READERS,
    "PATCH /environments/{environment}/accounts/{id}": OPERATORS,
    "POST /environments/{environment}/accounts/{id}/deactivate": OPERATORS,
    "GET /environments/{environment}/bindings": READERS,
    "POST /environments/{environment}/bindings": ADMINS,
    "POST /environments/{environment}/bindings/revoke": OPERATORS,
    "POST /environments/{environment}/bindings/release": OPERATORS,
    "GET /environments/{environment}/pauses": READERS,
    "DELETE /environments/{environment}/pauses/{id}": OPERATORS,
    "GET /environments/{environment}/certificates": READERS,
    "GET /environments/{environment}/certificates/{serial}": READERS,
    "GET /environments/{environment}/inventory": READERS,
    "GET /environments/{environment}/revocations": READERS,
    "POST /environments/{environment}/revocations": OPERATORS,
    "GET /environments/{environment}/revocations/{id}": READERS,
    "GET /environments/{environment}/replacements": READERS,
    "POST /environments/{environment}/replacements": OPERATORS,
    "GET /environments/{environment}/replacements/{id}": READERS,
    "DELETE /environments/{environment}/replacements/{id}": OPERATORS,
    "GET /environments/{environment}/sub-cas": READERS,
    "POST /environments/{environment}/sub-cas": ADMINS,
    "GET /environments/{environment}/sub-cas/{serial}": READERS,
    "GET /environments/{environment}/distrusted-issuers": READERS,
    "POST /environments/{environment}/distrusted-issuers": ADMINS,
    "GET /environments/{environment}/distrusted-issuers/{issuer}": READERS,
    "DELETE /environments/{environment}/distrusted-issuers/{issuer}": ADMINS,
    "POST /environments/{environment}/distrusted-issuers/{issuer}/unpublish": ADMINS,
    "GET /crls": READERS,
    "POST /crls/{issuer}/regenerate": OPERATORS,
    "GET /blocked-keys": READERS,
    "POST /blocked-keys": OPERATORS,
    "DELETE /blocked-keys/{key}": OPERATORS,
    "GET /environments/{environment}/limits": READERS,
    "DELETE /environments/{environment}/limits/{limit}": OPERATORS,
}

# What is for operators of all environments only: who can make or end operators could make, or end, one of all.
OF_ALL = {name for name in TABLE if "/admins" in name} | {"POST /blocked-keys", "DELETE /blocked-keys/{key}"}


def test_the_table_is_complete() -> None:
    assert {f"{call.method} {call.path}" for call in CALLS} == set(TABLE)
    assert {f"{call.method} {call.path}" for call in CALLS if call.everywhere} == OF_ALL
    assert len({call.name for call in CALLS}) == len(CALLS)


def path_of(call: Call) -> str:
    path = call.path.replace("{environment}", "prod")
    for name in call.variables:
        path = path.replace(f"{{{name}}}", "nothing")
    return path


def test_each_call_is_for_the_roles_of_the_table_alone(api: Api) -> None:
    operators = {role.value: api.become(role.value) for role in Role}
    for call in CALLS:
        allowed = TABLE[f"{call.method} {call.path}"]
        for role, operator in operators.items():
            reply = operator(call.method, path_of(call), {} if call.body is not None else None)
            if role in allowed:
                assert reply.status != 403, (call.name, role, reply.text)
            else:
                assert "may not" in reply.refused(403, "forbidden"), (call.name, role)


def test_nobody_may_do_anything(api: Api) -> None:
    stranger = Api(api.app, api.ca, token="acme-ca_00000000000000000000000000_secret")
    for call in CALLS:
        reply = stranger(call.method, path_of(call))
        reply.refused(401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("one", Role)
@pytest.mark.parametrize("other", Role)
def test_what_two_roles_both_may_is_never_more_than_either(one: Role, other: Role) -> None:
    assert PERMISSIONS[narrower(one, other)] <= PERMISSIONS[one] & PERMISSIONS[other]


def test_an_operator_of_one_environment_sees_no_other(api: Api) -> None:
    operator = api.become("operator", "test")
    assert operator("GET", "/environments/test/eab").status == 200
    assert "not for prod" in operator("GET", "/environments/prod/eab").refused(403, "forbidden")
    assert "there are dev, test, prod" in operator("GET", "/environments/none/eab").refused(404)
    assert operator("GET", "/me").json["environments"] == ["test"]


def test_what_is_about_all_environments_is_not_for_operators_of_some(api: Api) -> None:
    admin = api.become("ca-admin", "prod")
    for call in CALLS:
        reply = admin(call.method, path_of(call), {} if call.body is not None else None)
        if f"{call.method} {call.path}" in OF_ALL:
            assert "for some environments only" in reply.refused(403, "forbidden"), call.name
        else:
            assert reply.status != 403, (call.name, reply.text)


def test_a_restricted_operator_is_not_told_why_a_key_is_blocked(api: Api) -> None:
    api("POST", "/blocked-keys", {"key": "ab" * 32, "reason": "found in a repository of dev"})
    (seen,) = api.become("viewer", "test")("GET", "/blocked-keys").json["items"]
    assert seen["key_sha256"] == "ab" * 32
    assert (seen["serial"], seen["reason"], seen["blocked_by"]) == (None, None, None)
    (known,) = api.become("viewer")("GET", "/blocked-keys").json["items"]
    assert (known["reason"], known["blocked_by"]) == ("found in a repository of dev", "uid:0")
    trail = {event["event"]: event for event in api("GET", "/audit").json["items"]}
    assert trail["key.blocked"]["environment"] == trail["admin.created"]["environment"] == ""
