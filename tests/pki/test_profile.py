"""Profiles."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from acme_ca.pki.profile import BUILTIN, LONGEST_UNREVOCABLE, Profile

PLAIN: dict[str, Any] = {
    "description": "test",
    "lifetime": 3600,
    "extended_key_usages": ["serverAuth"],
    "revocation": "none",
}


def test_the_built_in_profiles_are_the_documented_ones() -> None:
    lifetimes = {name: profile.lifetime for name, profile in BUILTIN.items()}
    assert lifetimes == {
        "server-1h": 3600,
        "client-1h": 3600,
        "workload-1h": 3600,
        "server-8h": 28_800,
        "server-7d": 604_800,
    }
    assert {profile.subject for profile in BUILTIN.values()} == {"empty"}
    assert [name for name, profile in BUILTIN.items() if profile.may_carry_uri] == ["workload-1h"]
    assert [name for name, profile in BUILTIN.items() if profile.revocation == "crl"] == ["server-7d"]


def test_a_profile_has_safe_defaults() -> None:
    profile = Profile.model_validate(PLAIN)
    assert (profile.backdate, profile.subject, profile.may_carry_uri) == (60, "empty", False)
    assert "ec-p521" not in profile.key_types


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lifetime": 0}, "greater than or equal to 60"),
        ({"lifetime": 10**9}, "less than or equal to"),
        ({"lifetime": LONGEST_UNREVOCABLE + 1}, "expected at most 86400 s"),
        ({"backdate": -1}, "greater than or equal to 0"),
        ({"extended_key_usages": []}, "at least 1 item"),
        ({"extended_key_usages": ["codeSigning"]}, "serverAuth"),
        ({"extended_key_usages": ["serverAuth", "serverAuth"]}, "twice"),
        ({"key_types": []}, "at least 1 item"),
        ({"key_types": ["rsa-1024"]}, "rsa-2048"),
        ({"revocation": "ocsp"}, "none"),
        ({"subject": "whole"}, "common-name"),
        ({"may_carry_uri": True}, "both serverAuth and clientAuth"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Profile.model_validate(PLAIN | changes)


def test_a_longer_lifetime_is_allowed_with_a_crl() -> None:
    assert Profile.model_validate(PLAIN | {"lifetime": LONGEST_UNREVOCABLE + 1, "revocation": "crl"})
