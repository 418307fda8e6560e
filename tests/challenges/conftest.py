"""The servers of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.challenges.contract import Site
from tests.support import alpn, dns, web


@pytest.fixture
def site() -> Iterator[Site]:
    """Names that live on this host: a DNS server whose every name is at 127.0.0.1, a web and a TLS server there."""
    with dns.serve(dns.DnsServer()) as resolver, web.serve(web.WebServer()) as server, alpn.serve() as responder:
        yield Site(resolver, server, responder)
