"""Identifiers: what is accepted, what it becomes, and what the refusal of all else says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca import identifiers
from acme_ca.identifiers import Identifier
from acme_ca.problems import Compound, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier

LONG = ".".join(["a" * 63] * 3 + ["b" * 61])  # 253 characters


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("www.corp.example", "www.corp.example"),
        ("WWW.Corp.EXAMPLE", "www.corp.example"),
        ("localhost", "localhost"),
        ("*.corp.example", "*.corp.example"),
        ("*.localhost", "*.localhost"),
        ("0.a", "0.a"),
        ("1.2.3.4.corp", "1.2.3.4.corp"),
        ("my--host.example", "my--host.example"),
        ("a.0xyz", "a.0xyz"),
        ("XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de"),
        ("*.xn--mnchen-3ya.de", "*.xn--mnchen-3ya.de"),
        (LONG, LONG),
    ],
)
def test_a_name_is_normalised(value: str, expected: str) -> None:
    assert identifiers.parse("dns", value) == Identifier("dns", expected)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "has no name"),
        ("*.", "has no name"),
        ("*", "misplaced asterisk"),
        ("www.*.example", "misplaced asterisk"),
        ("w*.example", "misplaced asterisk"),
        ("*.*.example", "misplaced asterisk"),
        ("www.example.", "ends with a dot"),
        ("www..example", "empty label"),
        (".example", "empty label"),
        ("-a.example", "neither starts nor ends with a hyphen"),
        ("a-.example", "neither starts nor ends with a hyphen"),
        ("a_b.example", "contains '_'"),
        ("_acme-challenge.example", "contains '_'"),
        ("a b.example", "contains ' '"),
        ("a.example\n", r"contains '\n'"),
        ("a\x00.example", r"contains '\x00'"),
        ("https://a.example", "contains ':'"),
        ("a" * 64 + ".example", "a label of 64 characters"),
        ("a." + LONG, "has 255 characters"),
        ("münchen.de", "expected A-labels: xn--mnchen-3ya.de"),
        ("*.MÜNCHEN.de", "expected A-labels: xn--mnchen-3ya.de"),
        ("\u212aelvin.example", "expected A-labels: kelvin.example"),
        ("\ud800.example", "it has none under IDNA2008"),
        ("xn--a.example", "is not a valid A-label"),
        ("xn--n3h.example", "is not a valid A-label"),  # a snowman: IDNA2003 took symbols
        ("xn---bbk.example", "is not the canonical Punycode"),
        ("xn--.example", "neither starts nor ends with a hyphen"),
        ("10.0.0.1", "is an IP address"),
        ("*.10.0.0.1", "is an IP address"),
        ("::1", "is an IP address"),
        ("www.1", "ends with a number"),
        ("127.1", "ends with a number"),
        ("127.0.0.0x1", "ends with a number"),
        ("0x", "ends with a number"),
    ],
)
def test_a_bad_name_is_malformed_and_the_detail_says_why(value: str, reason: str) -> None:
    with pytest.raises(Malformed) as refusal:
        identifiers.parse("dns", value)
    assert reason in refusal.value.detail
    assert refusal.value.identifier is None  # RFC 8555 §6.7.1: in subproblems only


@pytest.mark.parametrize("value", ["10.0.0.1", "127.0.0.1", "::1", "2001:db8::1", "2001:db8:0:1:1:1:1:1"])
def test_a_canonical_address_is_accepted(value: str) -> None:
    assert identifiers.parse("ip", value) == Identifier("ip", value)


@pytest.mark.parametrize(
    ("value", "problem", "reason"),
    [
        ("", Malformed, "is not an IPv4 or IPv6 address"),
        ("corp.example", Malformed, "is not an IPv4 or IPv6 address"),
        ("10.0.0.0/8", Malformed, "is not an IPv4 or IPv6 address"),
        ("010.0.0.1", Malformed, "is not an IPv4 or IPv6 address"),
        ("10.1", Malformed, "is not an IPv4 or IPv6 address"),
        ("\u0661\u0660.0.0.1", Malformed, "is not an IPv4 or IPv6 address"),
        ("2001:DB8::1", Malformed, "expected 2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", Malformed, "expected 2001:db8::1"),
        ("2001:db8::1:1:1:1:1", Malformed, "expected 2001:db8:0:1:1:1:1:1"),  # RFC 5952 §4.2.2
        ("fe80::1%eth0", Malformed, "has a zone"),
        ("::ffff:10.0.0.1", RejectedIdentifier, "expected 10.0.0.1"),
        ("::ffff:a00:1", RejectedIdentifier, "expected 10.0.0.1"),
        ("0.0.0.0", RejectedIdentifier, "unspecified"),
        ("::", RejectedIdentifier, "unspecified"),
        ("224.0.0.1", RejectedIdentifier, "multicast"),
        ("ff02::1", RejectedIdentifier, "multicast"),
        ("255.255.255.255", RejectedIdentifier, "broadcast"),
    ],
)
def test_a_bad_address_is_refused_and_the_detail_says_why(value: str, problem: type[Problem], reason: str) -> None:
    with pytest.raises(problem) as refusal:
        identifiers.parse("ip", value)
    assert reason in refusal.value.detail


def test_another_type_is_unsupported() -> None:
    with pytest.raises(UnsupportedIdentifier, match="'email' is not supported; expected dns or ip"):
        identifiers.parse("email", "a@corp.example")


def test_a_wildcard_knows_its_base_and_wire_form() -> None:
    wildcard, name = identifiers.parse("dns", "*.corp.example"), identifiers.parse("dns", "corp.example")
    assert (wildcard.wildcard, wildcard.base) == (True, "corp.example")
    assert (name.wildcard, name.base) == (False, "corp.example")
    assert wildcard.wire() == {"type": "dns", "value": "*.corp.example"}
    assert str(wildcard) == "dns:*.corp.example"


def test_the_reverse_name_of_an_address() -> None:
    assert identifiers.reverse_name("10.0.0.1") == "1.0.0.10.in-addr.arpa"
    assert identifiers.reverse_name("2001:db8::1") == "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"


def test_duplicates_are_dropped_and_the_order_is_kept() -> None:
    given_ = [("dns", "b.example"), ("dns", "A.example"), ("dns", "a.example"), ("ip", "::1"), ("dns", "B.example")]
    assert [str(name) for name in identifiers.parse_many(given_)] == ["dns:b.example", "dns:a.example", "ip:::1"]


def test_no_identifier_and_too_many_are_malformed() -> None:
    with pytest.raises(Malformed, match="identifiers is empty"):
        identifiers.parse_many([])
    with pytest.raises(Malformed, match="has 3 identifiers; at most 2"):
        identifiers.parse_many([("dns", "a.example")] * 3, limit=2)


def test_one_bad_identifier_among_many_is_the_problem_itself() -> None:
    with pytest.raises(RejectedIdentifier) as refusal:
        identifiers.parse_many([("dns", "a.example"), ("ip", "0.0.0.0"), ("dns", "b.example")])
    assert "identifier" not in refusal.value.document()
    assert refusal.value.subproblems == ()


def test_several_of_one_type_keep_the_type() -> None:
    with pytest.raises(Malformed) as refusal:
        identifiers.parse_many([("dns", "a_b"), ("dns", "a.example"), ("dns", "-")])
    document = refusal.value.document()
    assert [problem["identifier"]["value"] for problem in document["subproblems"]] == ["a_b", "-"]
    assert "identifier" not in document


def test_several_of_different_types_are_compound() -> None:
    with pytest.raises(Compound) as refusal:
        identifiers.parse_many([("dns", "a_b"), ("email", "\ud800" + "x" * 400)])
    unsupported = refusal.value.subproblems[1]
    assert isinstance(unsupported, UnsupportedIdentifier)
    assert unsupported.identifier == {"type": "email", "value": "?" + "x" * 252}


@given(type_=st.sampled_from(["dns", "ip", "email"]) | st.text(), value=st.text())
@settings(deadline=None, max_examples=300)
def test_any_text_is_an_identifier_or_a_problem(type_: str, value: str) -> None:
    check_total(type_, value)


@given(
    value=st.from_regex(r"(\*\.)?(xn--)?[-a-zA-Z0-9_é.]{1,30}(\.[a-z0-9]{0,5})?\.?", fullmatch=True)
    | st.ip_addresses().map(str)
    | st.text("0123456789abcdefx.:%*", max_size=40),
)
@settings(deadline=None, max_examples=300)
def test_text_that_is_nearly_an_identifier_is_one_or_a_problem(value: str) -> None:
    check_total("dns", value)
    check_total("ip", value)


def check_total(type_: str, value: str) -> None:
    refusal = None
    try:
        parsed = identifiers.parse(type_, value)
    except Problem as problem:
        refusal = problem
    if refusal is None:
        assert identifiers.parse(parsed.type, parsed.value) == parsed
        assert parsed.value.isascii()
        assert len(parsed.value) <= 253
    else:
        assert refusal.status < 500
        assert refusal.detail.isascii()
        assert refusal.detail.isprintable()
        assert len(refusal.detail) < 1000
