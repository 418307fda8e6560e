"""`acme-ca policy show|history|diff|apply|rollback|shadow`: the policy in force, through the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acme_ca.cli.client import Api, Reply, api_options, at
from acme_ca.cli.options import SETTINGS, counted, json_option, print_done, print_json, refuse
from acme_ca.cli.tables import print_table

if TYPE_CHECKING:
    from acme_ca.policy.document import Document

FILE = click.Path(path_type=Path, dir_okay=False)
HISTORY = {
    "number": "number",
    "version": "version",
    "rules": "rules",
    "created_at": "made",
    "created_by": "by",
    "comment": "comment",
}
FOUND = ("would", "name", "rule", "orders", "reason")
environment_option = click.option("--environment", required=True, help="The environment whose policy it is.")
comment_option = click.option("--comment", help="Why, for the history; a commit of Git, for instance.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Change nothing: judge the last hours' orders by it.")
hours_option = click.option(
    "--hours", type=click.FloatRange(0, 8784, min_open=True), default=24.0, show_default=True, help="For --dry-run."
)


@click.command(**SETTINGS)
@api_options
@environment_option
@click.option("--version", "number", type=click.IntRange(1), help="An earlier version, by its number.")
@json_option
def show(api: Api, environment: str, number: int | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Print the policy in force as TOML, or that of an earlier version."""
    found = _policy(api, environment, number)
    if as_json:
        print_json(found)
        return
    click.echo(f"# {_title(found)}\n{_document(found).to_toml()}", nl=False)


@click.command(**SETTINGS)
@api_options
@environment_option
@json_option
def history(api: Api, environment: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List all versions of the policy, the newest first."""
    rows = list(api.pages(at("environments", environment, "policy", "versions")))
    if as_json:
        print_json(rows)
        return
    lines = [tuple(row[name] for name in HISTORY) for row in rows]
    print_table(tuple(HISTORY.values()), lines, f"The policy of environment {environment} has no versions yet.")


@click.command(**SETTINGS)
@api_options
@environment_option
@click.argument("before")
@click.argument("after", required=False)
@json_option
@click.pass_context
def diff(ctx: click.Context, api: Api, environment: str, before: str, after: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """Show what is different in AFTER; the exit code is 1 when something is.

    Each is the number of a version, a file, or `now`: the policy in force. With one argument, the difference is between
    the policy in force and that.
    """
    from acme_ca.policy.document import changes

    first, second = ("now", before) if after is None else (before, after)
    found = changes(_either(api, environment, first), _either(api, environment, second))
    if as_json:
        print_json([{"rule": one.rule, "kind": one.kind, "settings": dict(one.settings)} for one in found])
    else:
        for one in found:
            click.echo(str(one))
    ctx.exit(1 if found else 0)


@click.command(**SETTINGS)
@api_options
@environment_option
@comment_option
@dry_run_option
@hours_option
@click.option("--if-match", help="Refuse unless this is the ETag of what is in force. Default: what is when it begins.")
@click.option("--shadow", is_flag=True, help="Only evaluate it beside the policy in force.")
@click.argument("file", type=FILE)
@json_option
def apply(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    environment: str,
    comment: str | None,
    dry_run: bool,
    hours: float,
    if_match: str | None,
    shadow: bool,
    file: Path,
    as_json: bool,
) -> None:
    """Put the policy of FILE in force, as a whole. The same one again changes nothing."""
    if shadow and dry_run:
        raise click.UsageError("a shadow changes no answer: --dry-run means nothing with --shadow")
    from acme_ca.cli.policy_files import refused

    body = {**_read(file).to_json(), "comment": comment}
    path, reason = at("environments", environment, "policy"), partial(refused, file)
    if shadow:
        done = api.call("PUT", f"{path}/shadow", body=body, reason=reason).document
        text = f"Version {done['number']} is {'now' if done['changed'] else 'already'} in the shadow."
        print_done(done, text, as_json=as_json)
        return
    headers = {"If-Match": _quoted(if_match) if if_match else _etag(api, path)}
    query = {"dry_run": True, "hours": hours} if dry_run else {}
    done = api.call("PUT", path, body=body, query=query, headers=headers, reason=reason)
    _print_applied(done, as_json=as_json)


@click.command(**SETTINGS)
@api_options
@environment_option
@comment_option
@dry_run_option
@hours_option
@click.argument("number", type=click.IntRange(1))
@json_option
def rollback(
    api: Api,
    *,
    environment: str,
    comment: str | None,
    dry_run: bool,
    hours: float,
    number: int,
    as_json: bool,
) -> None:
    """Put the rules of version NUMBER in force again, as a new version."""
    path = at("environments", environment, "policy")
    query = {"dry_run": True, "hours": hours} if dry_run else {}
    headers, body = {"If-Match": _etag(api, path)}, {"number": number, "comment": comment}
    _print_applied(api.call("POST", f"{path}/rollback", body=body, query=query, headers=headers), as_json=as_json)


@click.group(**SETTINGS)
def shadow() -> None:
    """Look at the policy that is evaluated beside the one in force (`policy apply --shadow`), or end it."""


@shadow.command(**SETTINGS)
@api_options
@environment_option
@json_option
def report(api: Api, environment: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Show what the shadow would have decided otherwise, name by name."""
    path = at("environments", environment, "policy", "shadow")
    found = api.get(path)
    found["items"] = list(api.pages(path))
    if as_json:
        print_json({name: value for name, value in found.items() if name != "next"})
        return
    state = "runs" if found["running"] else "has ended"
    click.echo(f"Version {found['number']} in the shadow of environment {environment} {state}.")
    rows = sorted(found["items"], key=lambda one: -int(one["count"]))
    lines = [(row["outcome"], row["name"] or "(order)", row["rule"], row["count"], row["reason"]) for row in rows]
    print_table(FOUND, lines, "It would have decided nothing otherwise.")


@shadow.command(**SETTINGS)
@api_options
@environment_option
@json_option
def end(api: Api, environment: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Evaluate the policy in the shadow no more; its report stays."""
    done = api.call("DELETE", at("environments", environment, "policy", "shadow")).document
    print_done(done, f"Version {done['number']} in the shadow has ended.", as_json=as_json)


COMMANDS = (show, history, diff, apply, rollback, shadow)


def _read(path: Path) -> Document:
    from acme_ca.cli.policy_files import read_document
    from acme_ca.config import ConfigError

    try:
        return read_document(path)
    except ConfigError as error:
        refuse(str(error))


def _policy(api: Api, environment: str, number: int | None) -> dict[str, Any]:
    path = at("environments", environment, "policy")
    found: dict[str, Any] = api.get(path if number is None else f"{path}/versions/{number}")
    return found


def _document(found: Mapping[str, Any]) -> Document:
    from acme_ca.policy.document import Document

    return Document.from_json({"rules": found["rules"]})


def _either(api: Api, environment: str, which: str) -> Document:
    """Return the policy of a version's number, of a file, or that in force."""
    if which == "now":
        return _document(_policy(api, environment, None))
    if which.isascii() and which.isdigit():
        return _document(_policy(api, environment, int(which)))
    return _read(Path(which))


def _quoted(tag: str) -> str:
    return tag if tag == "*" or tag.startswith('"') else f'"{tag}"'


def _etag(api: Api, path: str) -> str:
    headers = {name.lower(): value for name, value in api.call("GET", path).headers.items()}
    return headers["etag"]


def _title(found: Mapping[str, Any]) -> str:
    if found["number"] is None:
        return f"Policy of environment {found['environment']}, as its configuration file says ({found['version']})"
    by = found["created_by"] or "the configuration file"
    return f"Policy of environment {found['environment']}, version {found['number']} ({found['version']}), by {by}"


def _print_applied(reply: Reply, *, as_json: bool) -> None:
    done = reply.document
    if as_json:
        print_json(done)
        return
    for change in done["changes"]:
        click.echo(change["text"])
    if done["trial"] is not None:
        _print_trial(done["trial"])
    elif done["changed"]:
        click.echo(f"Version {done['number']} is in force.")
    else:
        click.echo(f"Unchanged: version {done['number']} has these rules.")


def _print_trial(trial: Mapping[str, Any]) -> None:
    covered = (
        counted(trial["certificates"], "certificate"),
        counted(trial["unfinished"], "unfinished order"),
        counted(trial["refused"], "refused order"),
    )
    click.echo(f"Judged since {trial['since']}: {', '.join(covered)}{'; not all there were' * trial['partial']}.")
    click.echo(
        f"{trial['denied']} would now be denied, {trial['allowed']} would now be allowed, "
        f"{trial['shortened']} would live shorter."
    )
    lines = [
        (one["outcome"], one["name"] or "(order)", one["rule"], one["orders"], one["reason"])
        for one in trial["findings"]
    ]
    if lines:
        print_table(FOUND, lines, "")
    if trial["more"]:
        click.echo(f"... and {trial['more']} more.")
