"""The `validation` table: where validation may go, and by whom names are looked up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.network import Network, Resolver


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.53", "10.0.0.53:53/udp"),
        ("10.0.0.53:5353", "10.0.0.53:5353/udp"),
        ("fd00::53", "[fd00::53]:53/udp"),
        ("::1", "[::1]:53/udp"),
        ("[fd00::53]:5353", "[fd00::53]:5353/udp"),
        ("tcp://10.0.0.53", "10.0.0.53:53/tcp"),
        ("tls://10.0.0.53", "10.0.0.53:853/tls"),
        ("tls://[fd00::53]:8853#dns.corp.example", "[fd00::53]:8853/tls"),
    ],
)
def test_a_resolver_has_a_short_form(text: str, expected: str) -> None:
    assert str(Resolver.model_validate(text)) == expected


def test_the_short_form_may_name_the_certificate() -> None:
    assert Resolver.model_validate("tls://10.0.0.53#dns.corp.example").tls_name == "dns.corp.example"


@pytest.mark.parametrize(
    "value",
    [
        "dns.corp.example",
        "10.0.0.53:0",
        "10.0.0.53:70000",
        "10.0.0.999",
        "https://10.0.0.53",
        "",
        {"address": "10.0.0.53", "zones": ["a b"]},
        {"address": "10.0.0.53", "zone": ["corp.example"]},
        {"address": "10.0.0.53", "tls_name": "dns.corp.example"},
    ],
)
def test_what_is_no_resolver_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Resolver.model_validate(value)


SPECIAL = (
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fec0::1", "ff02::1", "fd00:ec2::254", "100::1"),
    *("::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:a00:1::1"),
)


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_not_reached(address: str) -> None:
    assert Network().refusal(ip_address(address)) is not None


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "198.51.100.1", "fd00::1"])
def test_private_addresses_are_reached(address: str) -> None:
    assert Network().refusal(ip_address(address)) is None


def test_what_is_allowed_is_reached_and_what_is_denied_is_not() -> None:
    network = Network.model_validate({"allow": ["127.0.0.0/8"], "deny": ["127.0.0.2/32", "10.9.0.0/16"]})

    assert network.refusal(ip_address("127.0.0.1")) is None
    assert network.refusal(ip_address("127.0.0.2")) == "denied by configuration"
    assert network.refusal(ip_address("10.9.1.1")) == "denied by configuration"
    assert network.refusal(ip_address("::1")) == "loopback"


def test_settings_are_bounded_and_known() -> None:
    for name, value in (("timeout", 0), ("timeout", 3600), ("max_body", 1 << 30), ("http_port", 0), ("allowed", [])):
        with pytest.raises(ValidationError):
            Network.model_validate({name: value})


def test_a_deadline_passes() -> None:
    with pytest.raises(TimeoutError):
        Deadline.after(-1).left()

    assert 0 < Deadline.after(60).within(1).left() <= 1
