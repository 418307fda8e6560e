"""Why an account would get names or not, as the admin API tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import print_json

_NOT_ABOUT_IT = ("says nothing of the name", "is for other accounts")


@api_options
def names_explained(
    api: Api,
    *,
    environment: str,
    names: Sequence[str],
    claims: Mapping[str, Any],
    who: Mapping[str, str | None],
    as_json: bool,
) -> bool:
    """Print what becomes of the names; return whether the order would be allowed."""
    body = {"names": list(names), "claims": claims, **who}
    found = api.call("POST", at("environments", environment, "policy", "explain"), body=body).document
    if as_json:
        print_json(found)
    else:
        for line in _lines(found):
            click.echo(line)
    return bool(found["allowed"])


API_PARAMETERS: Sequence[click.Parameter] = tuple(reversed(getattr(names_explained, "__click_params__")))  # noqa: B009 - click's own, of no type
"""The options that say where the API is."""


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for answer in found["answers"]:
        yield f"{answer['name']}: {'allowed' if answer['allowed'] else 'refused'}"
        for step in answer["steps"]:
            if step["said"] not in _NOT_ABOUT_IT:
                yield f"  rule {step['rule']} {step['said']}{': ' * bool(step['reason'])}{step['reason']}"
        silent = sum(step["said"] in _NOT_ABOUT_IT for step in answer["steps"])
        if silent:
            yield f"  {silent} of the rules before say nothing of the name, or are for other accounts"
        yield f"  reason: {answer['reason']}"
        yield f"  next: {answer['next_step']}"
    if found["whole"] is not None:
        yield f"The order as a whole is refused: {found['whole']}"
    yield f"Policy {found['version']}, profile {found['profile']}: {'allowed' if found['allowed'] else 'refused'}."
