"""Where each value of a TOML document stands, which `tomllib` does not tell. TOML 1.0."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

Path = tuple[str | int, ...]
"""The way to a value: names of keys and positions in arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # a multi-line string may end in up to five quotes
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")  # the first form is a date and time with a space


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, where each table, array and value of a valid TOML document starts."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks over a document that `tomllib` has accepted: it finds places and judges nothing."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._breaks = [match.start() for match in re.finditer("\n", self._text)]
        self._position = 0
        self._found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # arrays of tables, with the position of their last element

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._position < len(self._text):
            if self._text[self._position] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)
        return self._found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise ValueError(f"not a TOML document: line {self._line()}")
        self._position = match.end()
        return match[0]

    def _take(self, literal: str) -> bool:
        """Step over `literal` and the blanks before it, if it comes next."""
        self._skip(_BLANK)
        taken = self._text.startswith(literal, self._position)
        self._position += len(literal) if taken else 0
        return taken

    def _line(self) -> int:
        return bisect_left(self._breaks, self._position) + 1

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._found.setdefault(path[:length], line)

    def _header(self) -> Path:
        line, is_array = self._line(), self._text.startswith("[[", self._position)
        self._position += 2 if is_array else 1
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path += (key,)
            if is_array and number == len(keys):
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path += (self._tables[path],)
        self._position += 2 if is_array else 1
        self._note(path, line)
        return path

    def _keys(self) -> list[str]:
        """Read a dotted key up to the sign behind it."""
        keys = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._position] in "\"'"
            text = self._skip(_STRING if quoted else _BARE_KEY)
            keys.append(str(tomllib.loads(f"key = {text}")["key"]) if quoted else text)
            self._skip(_SPACE)
            if self._text[self._position] != ".":
                return keys
            self._position += 1

    def _assignment(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._position += 1  # the equals sign
        self._note(path, line)
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        sign = self._text[self._position]
        if sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if sign in "\"'" else _SCALAR)

    def _array(self, path: Path) -> None:
        self._position += 1
        number = 0
        while not self._take("]"):
            element = (*path, number)
            self._note(element, self._line())
            self._value(element)
            self._take(",")
            number += 1

    def _inline_table(self, path: Path) -> None:
        self._position += 1
        while not self._take("}"):
            self._assignment(path)
            self._take(",")
