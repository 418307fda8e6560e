"""Places in TOML documents: the same paths that tomllib sees, each with its line."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.config.toml_lines import Path, lines_of


def paths(value: object, here: Path = ()) -> Iterator[Path]:
    if here:
        yield here
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*here, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from paths(inner, (*here, position))


DOCUMENT = '''\
# a comment with [brackets] and "quotes"
title = "x # not a comment"
a.b."c.d" = 1          # dotted

[table]  # trailing
when = 1979-05-27 07:32:00
list = [
  "one",   # a ] in a comment
  { two = [2, 3], "t]hree" = 'lit"eral' },
  [4, [5]],
]
text = """
[not.a.table]
key = 1 \\""" still
""""
other = \'\'\'
it\'s\'\'\'
[[array]]
x = 1
[array.sub]
y = 2
[[array.items]]
z = 1
[[array.items]]
z = 2
[[array]]
x = 2
[[array.items]]
z = 3
["quoted table"."b"]
"k\\u0065y" = { }
empty = []
last = inf'''


def test_every_path_of_the_document_has_a_line() -> None:
    assert set(lines_of(DOCUMENT)) == set(paths(tomllib.loads(DOCUMENT)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("a", "b", "c.d"), 3),
        (("table",), 5),
        (("table", "when"), 6),
        (("table", "list"), 7),
        (("table", "list", 0), 8),
        (("table", "list", 1, "t]hree"), 9),
        (("table", "list", 2, 1, 0), 10),
        (("table", "text"), 12),
        (("table", "other"), 16),
        (("array", 0), 18),
        (("array", 0, "sub", "y"), 21),
        (("array", 0, "items", 1, "z"), 25),
        (("array", 1, "x"), 27),
        (("array", 1, "items", 0, "z"), 29),
        (("quoted table", "b", "key"), 31),
        (("quoted table", "b", "last"), 33),
    ],
)
def test_the_line_is_where_the_value_starts(path: Path, line: int) -> None:
    assert lines_of(DOCUMENT)[path] == line


def test_line_ends_of_other_systems_count_the_same() -> None:
    assert lines_of(DOCUMENT.replace("\n", "\r\n")) == lines_of(DOCUMENT)


KEYS = st.text(st.characters(exclude_categories=["C"]), max_size=4)
VALUES = st.recursive(
    st.integers(0, 99) | st.booleans() | st.text(st.sampled_from("a'\"\\\n[]{}#=,."), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(sign, sign) for sign in text) + '"'


def written(value: object, gap: str) -> str:
    """Write a value as TOML, with `gap` wherever an array allows blanks."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(inner, gap)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + gap + ("," + gap).join(written(inner, gap) for inner in value) + gap + "]"
    return quoted(value) if isinstance(value, str) else str(value)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from(["", " ", "\n", " # ]}\n"]))
def test_any_document_is_walked_to_its_end(document: dict[str, object], gap: str) -> None:
    text = "\n".join(f"{quoted(key)} = {written(value, gap)}" for key, value in document.items())
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))
