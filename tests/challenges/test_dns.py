"""Questions to real resolvers: what counts as an answer, what as silence, and what is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from dns.rdatatype import RdataType
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.challenges import dns
from acme_ca.challenges.base import Unanswered
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.network import Network
from acme_ca.problems import DnsFailed
from tests.challenges.contract import Site
from tests.support import alpn
from tests.support import dns as dns_server

NAME = "app.corp.example"


def texts(network: Network, name: str = NAME) -> tuple[str, ...]:
    return dns.texts(network, name, Deadline.after(20)).found


def addresses(network: Network, name: str = NAME) -> list[str]:
    return [str(address) for address in dns.addresses(network, name, Deadline.after(20)).found]


def test_addresses_of_both_families_are_found_ipv6_first(site: Site) -> None:
    site.zone.set(NAME, "AAAA", "fd00::1")
    site.zone.set(NAME, "A", "10.0.0.1", "10.0.0.2")

    assert addresses(site.network()) == ["fd00::1", "10.0.0.1", "10.0.0.2"]


def test_one_family_is_enough_when_the_other_one_fails(site: Site) -> None:
    """Some old servers answer AAAA with an error."""
    site.zone.fail("servfail", NAME, "AAAA")

    assert addresses(site.network()) == ["127.0.0.1"]


def test_a_name_without_addresses_is_silence_when_a_family_failed(site: Site) -> None:
    site.zone.set(NAME, "A")
    site.zone.fail("servfail", NAME, "AAAA")

    with pytest.raises(Unanswered, match="AAAA app"):
        addresses(site.network())


def test_a_name_that_does_not_exist_is_an_answer(site: Site) -> None:
    site.zone.a = None

    assert texts(site.network()) == ()
    assert addresses(site.network()) == []


def test_the_strings_of_a_text_are_joined(site: Site) -> None:
    site.zone.txt(NAME, "a" * 300, "")

    assert sorted(texts(site.network())) == ["", "a" * 300]


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "_acme-challenge.app.localhost"])
def test_nobody_is_asked_for_localhost(site: Site, name: str) -> None:
    assert addresses(site.network(), name) == ["::1", "127.0.0.1"]
    assert texts(site.network(), name) == ()
    assert not site.zone.queries


@pytest.mark.parametrize("fault", ["servfail", "refused"])
def test_the_next_resolver_is_asked(site: Site, fault: dns_server.Fault) -> None:
    broken = dns_server.DnsServer()
    broken.fail(fault)
    with dns_server.serve(broken) as other:
        network = site.network(resolvers=[f"127.0.0.1:{other.port}", f"127.0.0.1:{site.resolver.port}"])

        answer = dns.addresses(network, NAME, Deadline.after(20))

    assert answer.resolver == f"127.0.0.1:{site.resolver.port}/udp"


def test_silence_names_what_each_resolver_did(site: Site) -> None:
    site.zone.fail("servfail")
    network = site.network(resolvers=[f"127.0.0.1:{site.resolver.port}", "127.0.0.2:9"])

    with pytest.raises(Unanswered) as silence:
        texts(network)

    detail = silence.value.problem.detail
    assert f"127.0.0.1:{site.resolver.port}/udp answered SERVFAIL (extended error 9 'DNSKEY missing')" in detail
    assert "127.0.0.2:9/udp failed: connection refused" in detail
    assert "TXT app.corp.example" in detail
    assert isinstance(silence.value.problem, DnsFailed)


def test_a_lost_datagram_is_sent_again(site: Site) -> None:
    site.zone.fail("silent")

    with pytest.raises(Unanswered, match=r"did not answer within 0\.3 s"):
        texts(site.network(dns_timeout=0.3))

    assert len(site.zone.queries) == 2


def test_a_truncated_answer_is_asked_for_again_over_tcp(site: Site) -> None:
    site.zone.txt(NAME, *(f"{number} " + "x" * 200 for number in range(50)))
    site.zone.fail("truncated")

    assert len(texts(site.network())) == 50
    assert [protocol for _, _, protocol in site.zone.queries] == ["udp", "tcp"]


def test_forged_answers_are_waited_out(site: Site) -> None:
    site.zone.txt(NAME, "true")
    site.zone.fail("forged")

    assert texts(site.network()) == ("true",)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_malformed_answer_is_silence(site: Site, protocol: str) -> None:
    site.zone.fail("garbage")

    with pytest.raises(Unanswered, match="malformed"):
        texts(site.network(resolvers=[f"{protocol}://127.0.0.1:{site.resolver.port}"]))


def test_a_connection_that_closes_is_silence(site: Site) -> None:
    site.zone.fail("closed")

    with pytest.raises(Unanswered, match="closed the connection"):
        texts(site.network(resolvers=[f"tcp://127.0.0.1:{site.resolver.port}"]))


def test_too_many_records_are_refused(site: Site) -> None:
    site.zone.fail("oversized")

    with pytest.raises(DnsFailed, match="more than 500 records"):
        texts(site.network())


class TestAliases:
    @pytest.mark.parametrize("recursive", [True, False])
    def test_they_are_followed_whether_or_not_the_server_does(self, site: Site, *, recursive: bool) -> None:
        site.zone.recursive = recursive
        site.zone.set(NAME, "CNAME", "b.corp.example.")
        site.zone.set("b.corp.example", "CNAME", "C.other.example.")
        site.zone.txt("c.other.example", "found")

        assert texts(site.network()) == ("found",)

    def test_one_that_leads_nowhere_is_an_answer(self, site: Site) -> None:
        site.zone.set(NAME, "CNAME", "nowhere.corp.example.")

        assert texts(site.network()) == ()

    @pytest.mark.parametrize("recursive", [True, False])
    def test_a_circle_is_refused(self, site: Site, *, recursive: bool) -> None:
        site.zone.recursive = recursive
        site.zone.set(NAME, "CNAME", "b.corp.example.")
        site.zone.set("b.corp.example", "CNAME", f"{NAME}.")

        with pytest.raises(DnsFailed, match="circle"):
            texts(site.network())

    def test_a_long_chain_is_refused(self, site: Site) -> None:
        site.zone.recursive = False
        for number in range(12):
            site.zone.set(f"{number}.example", "CNAME", f"{number + 1}.example.")

        with pytest.raises(DnsFailed, match="more than 8"):
            texts(site.network(), "0.example")

    def test_a_target_that_is_no_name_to_ask_for_is_refused(self, site: Site) -> None:
        site.zone.recursive = False
        site.zone.set(NAME, "CNAME", "a\\032b.corp.example.")

        with pytest.raises(DnsFailed, match="cannot be asked"):
            texts(site.network())


class TestResolverChoice:
    def test_the_longest_zone_wins(self, site: Site) -> None:
        inner = dns_server.DnsServer()
        inner.txt("a.dev.corp.example", "inner")
        site.zone.txt("a.dev.corp.example", "outer")
        site.zone.txt("xdev.corp.example", "outer")
        with dns_server.serve(inner) as other:
            network = site.network(
                resolvers=[
                    f"127.0.0.1:{site.resolver.port}",
                    {"address": "127.0.0.1", "port": site.resolver.port, "zones": ["corp.example"]},
                    {"address": "127.0.0.1", "port": other.port, "zones": ["dev.corp.example."]},
                ]
            )

            assert texts(network, "a.dev.corp.example") == ("inner",)
            assert texts(network, "xdev.corp.example") == ("outer",)

    def test_a_name_in_no_zone_has_no_resolver(self, site: Site) -> None:
        network = site.network(resolvers=[{"address": "127.0.0.1", "zones": ["corp.example"]}])

        with pytest.raises(DnsFailed, match=r"no resolver is configured for app\.other\.example"):
            texts(network, "app.other.example")


class TestTls:
    def resolver(self, tmp_path: Path, port: int, **settings: object) -> dict[str, object]:
        return {"address": "127.0.0.1", "port": port, "protocol": "tls", "ca_file": tmp_path / "ca.pem"} | settings

    @pytest.mark.parametrize(("name", "tls_name"), [("127.0.0.1", None), ("dns.corp.example", "dns.corp.example")])
    def test_the_answer_comes_over_tls(self, tmp_path: Path, name: str, tls_name: str | None) -> None:
        server = dns_server.DnsServer()
        server.txt(NAME, "secret")
        context = alpn.verifiable_context(tmp_path / "ca.pem", name)
        with dns_server.serve(server, context) as running:
            assert running.tls_port is not None
            resolver = self.resolver(tmp_path, running.tls_port, tls_name=tls_name)
            assert texts(Network.model_validate({"resolvers": [resolver]})) == ("secret",)

        assert [protocol for _, _, protocol in server.queries] == ["tls"]

    def test_another_certificate_is_silence(self, tmp_path: Path) -> None:
        server = dns_server.DnsServer()
        context = alpn.verifiable_context(tmp_path / "ca.pem", "other.example")
        with dns_server.serve(server, context) as running:
            assert running.tls_port is not None
            resolver = self.resolver(tmp_path, running.tls_port, tls_name="dns.corp.example")
            with pytest.raises(Unanswered, match="failed in TLS"):
                texts(Network.model_validate({"resolvers": [resolver]}))

        assert not server.queries


def test_records_come_from_files_for_the_hooks_of_clients(tmp_path: Path) -> None:
    (tmp_path / f"_acme-challenge.{NAME}.TXT").write_text("one\ntwo\n", encoding="utf-8")
    with dns_server.serve(dns_server.DnsServer(directory=tmp_path)) as running:
        network = Network.model_validate({"resolvers": [f"127.0.0.1:{running.port}"]})

        assert sorted(texts(network, f"_acme-challenge.{NAME}")) == ["one", "two"]


@settings(max_examples=50)
@given(name=st.text(max_size=300))
def test_no_name_crashes(name: str) -> None:
    """Nothing listens at the resolver, so a name that can be asked for is silence."""
    network = Network.model_validate({"resolvers": ["127.0.0.2:9"]})

    with pytest.raises((Unanswered, DnsFailed)):
        dns.query(network, name, RdataType.A, Deadline.after(5))
