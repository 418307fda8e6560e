"""What a proof is made for in these tests, and how a refusal is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from acme_ca.problems import Problem
from acme_ca.workload.base import Expected

URL = "https://ca.corp.example/acme/prod/chall/7"
AUDIENCE = "https://ca.corp.example/acme/prod/workload"
KEY_AUTHORIZATION = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
EXPECTED = Expected(AUDIENCE, URL, KEY_AUTHORIZATION)
BOUND = f"{AUDIENCE}/ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8"
"""The bound audience; it and the key authorization are the test vector of docs/workload-identity-00.md."""

OF_ANOTHER_ACCOUNT = replace(EXPECTED, key_authorization="evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.another-account")
OF_ANOTHER_ENVIRONMENT = Expected(
    "https://ca.corp.example/acme/test/workload", "https://ca.corp.example/acme/test/chall/7", KEY_AUTHORIZATION
)
OF_NOBODY = replace(EXPECTED, key_authorization=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
"""Whatever a client can send."""


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """Return the code and the detail of the refusal that the call raises."""
    with pytest.raises(Problem) as caught:
        call()
    return caught.value.extra["workloadError"], caught.value.detail
