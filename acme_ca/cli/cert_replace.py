"""`acme-ca cert replace|replacements|cancel-replacement`: a fleet renews through renewal information. RFC 9773 §4.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from acme_ca.cli.acts import Asking, Telling, Wish, asking_options, begin, list_or_show, watch
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, json_option, print_done
from acme_ca.cli.selectors import environment_option, everything_option, require_selection, selector_options
from acme_ca.vocabulary import MAX_SPREAD

COLUMNS = {
    "id": "id",
    "status": "status",
    "replaced": "replaced",
    "remaining": "remaining",
    "total": "of",
    "spread": "seconds",
    "ordered_by": "by",
    "as_of": "begun",
}
MINUTES = click.FloatRange(0, MAX_SPREAD / 60)


@click.command(**SETTINGS)
@api_options
@environment_option
@selector_options
@everything_option
@click.option("--minutes", type=MINUTES, default=60, show_default=True, help="Within which all have their turn.")
@click.option("--explanation-url", help="A page that says why; clients show its URL.")
@asking_options
@click.option("--wait", is_flag=True, help="Show how far it is until none remains.")
@json_option
def replace(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    environment: str,
    selection: dict[str, str],
    everything: bool,
    minutes: float,
    explanation_url: str | None,
    asking: Asking,
    wait: bool,
    as_json: bool,
) -> None:
    """Have the valid certificates that fit all selectors replaced by their clients. They stay valid."""
    require_selection(selection, everything=everything)
    path = at("environments", environment, "replacements")
    body = {"selection": selection, "spread": round(minutes * 60), "explanation_url": explanation_url}
    within = f"replaced within {minutes:g} minutes"
    wish = Wish(path, body, f"Have {{what}} {within}?", f"{{what}} would be {within}.")
    done = begin(api, wish, asking, as_json=as_json)
    if done is None:
        return
    if wait:
        done = watch(api, path, done, _settled)
    print_done(done, _text(done), as_json=as_json)


@click.command(**SETTINGS)
@api_options
@environment_option
@click.argument("number", metavar="[ID]", required=False)
@json_option
def replacements(api: Api, environment: str, number: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the mass replacements, the newest first; or show how far one is."""
    path = at("environments", environment, "replacements")
    nothing = f"There are no replacements in environment {environment}."
    list_or_show(api, path, number, Telling(COLUMNS, _text), nothing, as_json=as_json)


@click.command("cancel-replacement", **SETTINGS)
@api_options
@environment_option
@click.argument("number", metavar="ID")
@json_option
def cancel_replacement(api: Api, environment: str, number: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """End a replacement before it is done: its certificates have their usual windows again."""
    done = api.call("DELETE", at("environments", environment, "replacements", number)).document
    print_done(done, _text(done), as_json=as_json)


COMMANDS = (replace, replacements, cancel_replacement)


def _settled(act: Mapping[str, Any]) -> int:
    return int(act["total"]) - int(act["remaining"])


def _text(act: Mapping[str, Any]) -> str:
    return (
        f"Replacement {act['id']} is {act['status']}: {act['replaced']} of {act['total']} replaced, "
        f"{act['remaining']} remain."
    )
