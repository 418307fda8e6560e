"""Names made from claims: what fits, and that nothing else gets through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.identifiers import parse, parse_spiffe_id
from acme_ca.policy.templates import DnsTemplate, SpiffeTemplate, UnfitError, spiffe_id_matches


def values(found: Mapping[str, object]) -> Callable[[str], object]:
    return found.get


@pytest.mark.parametrize(
    ("template", "claims", "name"),
    [
        ("pay.prod.example", {}, "pay.prod.example"),
        ("${a}.${k.ns}.svc.prod.example", {"a": "api", "k.ns": "pay"}, "api.pay.svc.prod.example"),
        ("*.${k.ns}.prod.example", {"k.ns": "pay"}, "*.pay.prod.example"),
        ("*.prod.example", {}, "*.prod.example"),
        ("x-${a}-y.prod.example", {"a": "1"}, "x-1-y.prod.example"),
        ("${https://x:1/.y}.prod.example", {"https://x:1/.y": "a"}, "a.prod.example"),
        ("${a}.prod.example", {"a": "a" * 63}, "a" * 63 + ".prod.example"),
        ("${a}.prod.example", {"a": "xn--mnchen-3ya"}, "xn--mnchen-3ya.prod.example"),
    ],
)
def test_a_dns_template_is_filled(template: str, claims: dict[str, object], name: str) -> None:
    of = DnsTemplate(template)
    assert of.fill(values(claims)) == name
    assert of.paths == claims.keys()


BAD_EVERYWHERE = [
    *("", ".", "..", "a.b/..", "*", "a*", "%61", "a%2fb", "a/b", "a b", "a\n", "a\x00", "\u00e9", "\u212a", "\ud800"),
    *("${a}", "$a", "a:b", "a@b", None, 1, True, 1.5, [], ["a"], {}, {"a": "b"}),
]


@pytest.mark.parametrize(
    "value", [*BAD_EVERYWHERE, "A", "a_b", "-a", "a-", "a.b", "a" * 64, "xn--a", "a.", "*.a"], ids=repr
)
def test_a_claim_that_is_no_label_is_refused(value: object) -> None:
    with pytest.raises(UnfitError) as refusal:
        DnsTemplate("${c}.prod.example").fill(values({"c": value}))
    check_text(str(refusal.value))


def test_a_name_that_grows_too_long_is_refused() -> None:
    with pytest.raises(UnfitError, match="a label of 64 characters"):
        DnsTemplate("x${c}.prod.example").fill(values({"c": "a" * 63}))
    with pytest.raises(UnfitError, match="at most 253"):
        DnsTemplate("${c}." * 4 + "b").fill(lambda _: "a" * 63)


@pytest.mark.parametrize(
    ("template", "suffix", "within"),
    [
        ("${a}.prod.example", "prod.example", True),
        ("*.prod.example", "prod.example", True),
        ("prod.example", "prod.example", True),
        ("a.b.prod.example", "a.b.prod.example", True),
        ("${a}.b.${c}.x.prod.example", "x.prod.example", True),
        ("${a}.example", "example", False),
        ("prod.${a}", "", False),
        ("xprod.example", "xprod.example", False),
        ("${a}-prod.example", "example", False),
        ("*.example", "example", False),
        ("example", "example", False),
    ],
)
def test_the_literal_end_of_a_template_says_its_zone(template: str, suffix: str, within: bool) -> None:  # noqa: FBT001 - a table's column
    of = DnsTemplate(template)
    assert of.suffix == suffix
    assert of.is_within("prod.example") == within


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", "has no name"),
        ("*.", "has no name"),
        ("*", "misplaced asterisk"),
        ("*.*.prod.example", "misplaced asterisk"),
        ("a.*.prod.example", "misplaced asterisk"),
        ("**.prod.example", "misplaced asterisk"),
        ("${a}${b}.prod.example", "two substitutions in '${a}${b}'"),
        ("${a}-${b}.prod.example", "two substitutions in '${a}-${b}'"),
        ("${a", "a brace that is no part"),
        ("${a.prod.example", "a brace that is no part"),
        ("$a.prod.example", "a brace that is no part"),
        ("a}.prod.example", "a brace that is no part"),
        ("${${a}}.prod.example", "a brace that is no part"),
        ("${}.prod.example", "is no path of a claim"),
        ("${a b}.prod.example", "is no path of a claim"),
        ("${a|lower}.prod.example", "has the filter 'lower'"),
        ("${a|}.prod.example", "has the filter ''"),
        ("${a|spiffe_path}.prod.example", "is for SPIFFE IDs only"),
        ("${a}.Prod.example", "capital letters"),
        ("A${a}.prod.example", "capital letters"),
        ("-${a}.prod.example", "neither starts nor ends with a hyphen"),
        ("${a}..example", "empty label"),
        ("${a}.prod.example.", "ends with a dot"),
        ("${a}.1", "ends with a number"),
        ("m\u00fcnchen.example", "is not ASCII"),
    ],
)
def test_a_bad_dns_template_is_a_mistake(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        DnsTemplate(template)


@pytest.mark.parametrize(
    ("template", "claims", "expected"),
    [
        ("spiffe://prod.example/a", {}, "spiffe://prod.example/a"),
        (
            "spiffe://prod.example/ns/${k.ns}/sa/${sa}",
            {"k.ns": "Pay_1", "sa": "a.b"},
            "spiffe://prod.example/ns/Pay_1/sa/a.b",
        ),
        ("spiffe://prod.example/v${n}-x", {"n": "1"}, "spiffe://prod.example/v1-x"),
        ("spiffe://prod.example/g/${sub|spiffe_path}", {"sub": "spiffe://corp/a/b"}, "spiffe://prod.example/g/a/b"),
        (
            "spiffe://prod.example/${sub|spiffe_path}/${x}",
            {"sub": "spiffe://corp/a/b", "x": "c"},
            "spiffe://prod.example/a/b/c",
        ),
    ],
)
def test_a_spiffe_template_is_filled(template: str, claims: dict[str, object], expected: str) -> None:
    of = SpiffeTemplate(template)
    assert of.trust_domain == "prod.example"
    assert of.fill(values(claims)) == expected
    assert of.paths == claims.keys()


@pytest.mark.parametrize("value", BAD_EVERYWHERE, ids=repr)
def test_a_claim_that_is_no_segment_is_refused(value: object) -> None:
    for template in ("spiffe://prod.example/ns/${c}", "spiffe://prod.example/x${c}/y"):
        with pytest.raises(UnfitError) as refusal:
            SpiffeTemplate(template, pattern=True).fill(values({"c": value}))
        check_text(str(refusal.value))


@pytest.mark.parametrize(
    "value",
    [*BAD_EVERYWHERE, "spiffe://corp", "spiffe://corp/", "spiffe://corp/a/../b", "spiffe://Corp/a", "/a"],
    ids=repr,
)
def test_a_claim_that_is_no_spiffe_id_with_a_path_gives_no_path(value: object) -> None:
    with pytest.raises(UnfitError) as refusal:
        SpiffeTemplate("spiffe://prod.example/g/${c|spiffe_path}").fill(values({"c": value}))
    check_text(str(refusal.value))


def test_an_id_that_grows_too_long_is_refused() -> None:
    with pytest.raises(UnfitError, match="at most 2048"):
        SpiffeTemplate("spiffe://prod.example/${c}").fill(values({"c": "a" * 2048}))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", "does not start with spiffe://"),
        ("https://prod.example/a", "does not start with spiffe://"),
        ("SPIFFE://prod.example/a", "does not start with spiffe://"),
        ("spiffe://prod.example", "does not start with spiffe://"),
        ("spiffe://${td}/a", "does not start with spiffe://"),
        ("spiffe://x${td}/a", "does not start with spiffe://"),
        ("spiffe://prod.example/", "empty path segment"),
        ("spiffe://prod.example//a", "empty path segment"),
        ("spiffe://prod.example/a/../${b}", "'..'"),
        ("spiffe://Prod.example/a", "contains 'P' in its trust domain"),
        ("spiffe://prod.example:1/a", "contains ':' in its trust domain"),
        ("spiffe:///a", "has no trust domain"),
        ("spiffe://prod.example/*", "contains '*'"),
        ("spiffe://prod.example/${a}${b}", "two substitutions in '${a}${b}'"),
        ("spiffe://prod.example/${a}.${b}", "two substitutions in '${a}.${b}'"),
        ("spiffe://prod.example/${a|upper}", "has the filter 'upper'"),
        ("spiffe://prod.example/x${a|spiffe_path}", "stands alone between slashes"),
        ("spiffe://prod.example/${a|spiffe_path}/${b|spiffe_path}", "twice"),
        ("spiffe://prod.example/${a", "a brace that is no part"),
        ("spiffe://prod.example/a?b", "contains '?'"),
        ("spiffe://prod.example/" + "a" * 2048, "at most 2048"),
    ],
)
def test_a_bad_spiffe_template_is_a_mistake(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        SpiffeTemplate(template)


@pytest.mark.parametrize(
    ("uri", "matched"),
    [
        ("spiffe://prod.example/ns/pay/sa/api", True),
        ("spiffe://prod.example/ns/pay/sa/API_1", True),
        ("spiffe://prod.example/ns/pay/sa", False),
        ("spiffe://prod.example/ns/pay/sa/", False),
        ("spiffe://prod.example/ns/pay/sa/..", False),
        ("spiffe://prod.example/ns/pay/sa/*", False),
        ("spiffe://prod.example/ns/pay/sa/a/b", False),
        ("spiffe://prod.example/ns/other/sa/api", False),
        ("spiffe://other.example/ns/pay/sa/api", False),
        ("SPIFFE://prod.example/ns/pay/sa/api", False),
        ("*//prod.example/ns/pay/sa/api", False),
    ],
)
def test_an_asterisk_in_a_pattern_is_one_whole_segment(uri: str, matched: bool) -> None:  # noqa: FBT001 - a table's column
    pattern = SpiffeTemplate("spiffe://prod.example/ns/${ns}/sa/*", pattern=True).fill(values({"ns": "pay"}))
    assert pattern == "spiffe://prod.example/ns/pay/sa/*"
    assert spiffe_id_matches(uri, pattern) == matched


@pytest.mark.parametrize("template", ["spiffe://*/a", "spiffe://prod.example/a*", "spiffe://prod.example/**"])
def test_an_asterisk_has_no_other_place_in_a_pattern(template: str) -> None:
    with pytest.raises(ValueError, match=r"contains '\*'"):
        SpiffeTemplate(template, pattern=True)


PARTS = st.sampled_from(
    ["${a}", "${b.c}", "${a|spiffe_path}", "x", "-", ".", "/", "*", "$", "{", "}", "|", "X", "prod"]
)


@given(text=st.lists(PARTS, max_size=8).map("".join) | st.text(max_size=20), value=st.text(max_size=5) | st.none())
@settings(deadline=None, max_examples=600)
def test_any_text_is_a_template_or_a_mistake_and_gives_good_names_or_none(text: str, value: str | None) -> None:
    try:
        template = DnsTemplate(f"{text}.prod.example")
        name = template.fill(lambda _: value)
        assert parse("dns", name).value == name
        assert name.endswith("prod.example")
    except (ValueError, UnfitError):
        pass
    try:
        uri = SpiffeTemplate(f"spiffe://prod.example/{text}").fill(lambda _: value)
        assert str(parse_spiffe_id(uri)) == uri
    except (ValueError, UnfitError):
        pass


TEMPLATES = ("${a}.${b}.x.example", "${a}.y-${b}-z.example", "p-${a}.${b}.example")
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,3}[a-z0-9])?", fullmatch=True)


@given(first=st.tuples(LABELS, LABELS), second=st.tuples(LABELS, LABELS), text=st.sampled_from(TEMPLATES))
@settings(deadline=None)
def test_different_claims_never_join_to_one_name(first: tuple[str, str], second: tuple[str, str], text: str) -> None:
    def name(pair: tuple[str, str]) -> str | None:
        try:
            return DnsTemplate(text).fill(dict(zip("ab", pair, strict=True)).get)
        except UnfitError:
            return None

    assert first == second or name(first) is None or name(first) != name(second)


def check_text(text: str) -> None:
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 500
