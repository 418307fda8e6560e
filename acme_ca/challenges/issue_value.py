"""The issue-value of CAA records, which dns-persist-01 records have too. RFC 8659 §4.2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ISSUER = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_PARAMETER = re.compile(rf"(?P<tag>{_LABEL})[ \t]*=[ \t]*(?P<value>[\x21-\x3a\x3c-\x7e]*)", re.IGNORECASE)
_MAX = 4096  # characters; accounts' URLs are long, but not so long


@dataclass(frozen=True, slots=True)
class IssueValue:
    """An issuer's domain name in lower case, which may be empty, and parameters with their tags in lower case."""

    issuer: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take the value apart, strictly by the grammar; raises ValueError."""
        if len(text) > _MAX:
            raise ValueError("the value is too long")
        issuer, *rest = (part.strip(" \t") for part in text.split(";"))
        if issuer and not _ISSUER.fullmatch(issuer):
            raise ValueError("the value does not start with a domain name")
        matches = [_PARAMETER.fullmatch(part) for part in ([] if rest == [""] else rest)]
        parameters = [(match["tag"].lower(), match["value"]) for match in matches if match]
        if len(parameters) < len(matches):
            raise ValueError("a parameter is not of the form tag=value")
        return cls(issuer.lower(), tuple(parameters))

    def values(self, tag: str) -> tuple[str, ...]:
        """Return the values of all parameters of the tag."""
        return tuple(value for name, value in self.parameters if name == tag)
