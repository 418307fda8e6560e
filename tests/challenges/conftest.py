"""A DNS server and a web server for each test, and attempts that are made through them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.challenges.contract import Site
from tests.support import dns, web


@pytest.fixture
def site() -> Iterator[Site]:
    """Names that live on this host: a DNS server whose every name is at 127.0.0.1, and a web server there."""
    with dns.serve(dns.DnsServer()) as resolver, web.serve(web.WebServer()) as server:
        yield Site(resolver, server)
