"""Identifiers: what is accepted, what it becomes, and what the refusal of all else says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca import identifiers
from acme_ca.identifiers import Identifier, SpiffeId, parse_spiffe_id
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
    with pytest.raises(UnsupportedIdentifier, match="'email' is not supported; expected dns, ip or uri"):
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


@pytest.mark.parametrize(
    ("value", "trust_domain", "segments"),
    [
        ("spiffe://prod.example.com/ns/pay/sa/api", "prod.example.com", ("ns", "pay", "sa", "api")),
        ("spiffe://a_b-c.9/Ab_9-x.y", "a_b-c.9", ("Ab_9-x.y",)),
        ("spiffe://a/...", "a", ("...",)),
        ("spiffe://a/.b", "a", (".b",)),
        ("spiffe://" + "a" * 255 + "/b", "a" * 255, ("b",)),
        ("spiffe://a/" + "b" * 2037, "a", ("b" * 2037,)),  # 2048 octets
    ],
)
def test_a_spiffe_id_is_taken_apart_and_kept_as_it_is(value: str, trust_domain: str, segments: tuple[str, ...]) -> None:
    identifier, parts = identifiers.parse("uri", value), parse_spiffe_id(value)
    assert identifier == Identifier("uri", value)
    assert (parts.trust_domain, parts.segments, str(parts)) == (trust_domain, segments, value)
    assert (identifier.wildcard, identifier.base) == (False, value)
    assert identifier.wire() == {"type": "uri", "value": value}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "does not start with spiffe://"),
        ("prod.example/a", "does not start with spiffe://"),
        ("spiffe:/prod.example/a", "does not start with spiffe://"),
        ("SPIFFE://prod.example/a", "does not start with spiffe://"),
        (" spiffe://prod.example/a", "does not start with spiffe://"),
        ("spiffe://", "has no trust domain"),
        ("spiffe:///a", "has no trust domain"),
        ("spiffe://Prod.example/a", "contains 'P' in its trust domain"),
        ("spiffe://prod.example:443/a", "contains ':' in its trust domain"),
        ("spiffe://user@prod.example/a", "contains '@' in its trust domain"),
        ("spiffe://prod%2eexample/a", "contains '%' in its trust domain"),
        ("spiffe://prod.example?a", "contains '?' in its trust domain"),
        ("spiffe://prod.example#a", "contains '#' in its trust domain"),
        ("spiffe://\u212aelvin/a", r"contains '\u212a' in its trust domain"),
        ("spiffe://[::1]/a", "contains '[' in its trust domain"),
        ("spiffe://" + "a" * 256 + "/b", "a trust domain of 256 characters"),
        ("spiffe://prod.example/", "has an empty path segment"),
        ("spiffe://prod.example/a/", "has an empty path segment"),
        ("spiffe://prod.example//a", "has an empty path segment"),
        ("spiffe://prod.example/a//b", "has an empty path segment"),
        ("spiffe://prod.example/a/../b", "has the path segment '..'"),
        ("spiffe://prod.example/.", "has the path segment '.'"),
        ("spiffe://prod.example/a%2fb", "contains '%' in its path"),
        ("spiffe://prod.example/a?b", "contains '?' in its path"),
        ("spiffe://prod.example/a#b", "contains '#' in its path"),
        ("spiffe://prod.example/a:b", "contains ':' in its path"),
        ("spiffe://prod.example/*", "contains '*' in its path"),
        ("spiffe://prod.example/a\n", r"contains '\n' in its path"),
        ("spiffe://prod.example/\u00e9", r"contains '\xe9' in its path"),
        ("spiffe://prod.example/\ud800", r"contains '\ud800' in its path"),
        ("spiffe://a/" + "b" * 2038, "has 2049 characters; at most 2048"),
        ("spiffe://prod.example", "names a trust domain; expected a SPIFFE ID with a path"),
    ],
)
def test_a_bad_spiffe_id_is_malformed_and_the_detail_says_why(value: str, reason: str) -> None:
    with pytest.raises(Malformed) as refusal:
        identifiers.parse("uri", value)
    assert reason in refusal.value.detail


def test_the_spiffe_id_of_a_trust_domain_has_no_path() -> None:
    parts = parse_spiffe_id("spiffe://prod.example")
    assert parts == SpiffeId("prod.example", "")
    assert (parts.segments, str(parts)) == ((), "spiffe://prod.example")


@pytest.mark.parametrize("value", ["https://prod.example/a", "wimse://prod.example/a", "urn:uuid:0", "mailto:a@b"])
def test_a_uri_of_another_scheme_is_unsupported(value: str) -> None:
    with pytest.raises(UnsupportedIdentifier, match="expected a SPIFFE ID"):
        identifiers.parse("uri", value)
    with pytest.raises(Malformed, match="does not start with spiffe://"):
        parse_spiffe_id(value)


def test_an_order_has_one_uri_at_most() -> None:
    first, second = ("uri", "spiffe://a/b"), ("uri", "spiffe://a/c")
    assert len(identifiers.parse_many([first, ("dns", "a.example"), first])) == 2
    with pytest.raises(Malformed, match="has 2 different uri identifiers"):
        identifiers.parse_many([first, ("dns", "a.example"), second])


@given(type_=st.sampled_from(["dns", "ip", "uri", "email"]) | st.text(), value=st.text())
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


@given(
    value=st.from_regex(r"(spiffe|SPIFFE|https?)?:?/{0,3}[a-zA-Z0-9._:@%-]{0,9}(/[a-zA-Z0-9._%*-]{0,3}){0,4}[?#]?")
    | st.from_regex(r"spiffe://[a-z0-9._-]{1,9}(/[A-Za-z0-9._-]{1,3}){0,4}", fullmatch=True)
)
@settings(deadline=None, max_examples=300)
def test_text_that_is_nearly_a_spiffe_id_is_one_or_a_problem(value: str) -> None:
    check_total("uri", value)


def check_total(type_: str, value: str) -> None:
    refusal = None
    try:
        parsed = identifiers.parse(type_, value)
    except Problem as problem:
        refusal = problem
    if refusal is None:
        assert identifiers.parse(parsed.type, parsed.value) == parsed
        assert parsed.value.isascii()
        assert len(parsed.value) <= (2048 if type_ == "uri" else 253)
        assert type_ != "uri" or parsed.value == value == str(parse_spiffe_id(value))
    else:
        assert refusal.status < 500
        assert refusal.detail.isascii()
        assert refusal.detail.isprintable()
        assert len(refusal.detail) < 1000
