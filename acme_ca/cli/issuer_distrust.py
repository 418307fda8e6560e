"""`acme-ca issuer distrust|distrusted|trust|unpublish`: the end of an issuer whose key was compromised."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from acme_ca.cli.acts import INTERVAL, PATIENCE, watch
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, counted, json_option, print_done, print_json, refuse
from acme_ca.cli.tables import print_table
from acme_ca.vocabulary import MAX_SPREAD

COLUMNS = {
    "issuer": "issuer",
    "distrusted_at": "since",
    "reason": "reason",
    "live": "live",
    "replaced": "replaced",
    "remaining": "remaining",
    "last_not_after": "last ends",
    "published": "in the bundle",
}
MINUTES = click.FloatRange(0, MAX_SPREAD / 60)


class _PlaceType(click.ParamType[tuple[str, str]]):
    """ENVIRONMENT/ISSUER."""

    name = "environment/issuer"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return both names."""
        if isinstance(value, tuple):
            return value
        environment, _, issuer = str(value).partition("/")
        if not environment or not issuer or "/" in issuer:
            self.fail(f"expected ENVIRONMENT/ISSUER, such as prod/prod-1, not {str(value)!r}", param, ctx)
        return environment, issuer


_place = click.argument("place", metavar="ENVIRONMENT/ISSUER", type=_PlaceType())


@click.command(**SETTINGS)
@api_options
@_place
@click.option("--reason", required=True, type=WORDS, help="Why, for the audit trail.")
@click.option("--minutes", type=MINUTES, default=60, show_default=True, help="Within which all have their turn.")
@click.option("--explanation-url", help="A page that says why; clients show its URL.")
@click.option("--unpublish", is_flag=True, help="Out of the SPIFFE bundle at once: workloads fail until they renewed.")
@click.option("--force", is_flag=True, help="Go on although nobody would be left to sign.")
@click.option("--dry-run", is_flag=True, help="Only tell what it would be about; do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def distrust(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    place: tuple[str, str],
    reason: str,
    minutes: float,
    explanation_url: str | None,
    unpublish: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let an issuer sign nothing any more, and have all of its certificates replaced: its key was compromised.

    Every process knows within a second. Its certificates stay valid, and its revocation lists and OCSP responses are
    published as before. `acme-ca issuer trust` takes it back.
    """
    environment, issuer = place
    path = at("environments", environment, "distrusted-issuers")
    body = {
        "issuer": issuer,
        "reason": reason,
        "spread": round(minutes * 60),
        "explanation_url": explanation_url,
        "unpublish": unpublish,
        "force": force,
    }
    preview = api.call("POST", path, body=body, query={"dry_run": True}).document
    others = ", ".join(preview["others"]) or "nobody"
    what = f"{counted(preview['live'], 'valid certificate')} of {environment}/{issuer}"
    if dry_run:
        told = f"{what} would be replaced within {minutes:g} minutes; {others} would sign from then on."
        print_done(preview, told, as_json=as_json)
        return
    if not yes:
        question = f"Distrust {environment}/{issuer}: {what} to be replaced within {minutes:g} minutes, {others} signs?"
        click.confirm(question, abort=True, err=True)
    done = api.call("POST", path, body=body).document
    print_done(done, "\n".join((f"{environment}/{issuer} signs nothing any more.", *_next(done))), as_json=as_json)


@click.command(**SETTINGS)
@api_options
@click.argument("place", metavar="ENVIRONMENT[/ISSUER]")
@click.option("--wait", is_flag=True, help="Show how far it is until no valid certificate is without a successor.")
@json_option
def distrusted(api: Api, *, place: str, wait: bool, as_json: bool) -> None:
    """List the distrusted issuers of an environment; or show how far the end of one is, and what comes next."""
    environment, _, issuer = place.partition("/")
    path = at("environments", environment, "distrusted-issuers")
    if not issuer:
        if wait:
            raise click.UsageError("--wait is for one ISSUER")
        rows = api.get(path)["items"]
        if as_json:
            print_json(rows)
            return
        lines = [tuple(row[name] for name in COLUMNS) for row in rows]
        print_table(tuple(COLUMNS.values()), lines, f"Environment {environment} distrusts no issuer.")
        return
    found = api.get(path + at(issuer))
    if wait:
        found = _watched(api, environment, path + at(issuer))
    print_done(found, "\n".join(_told(found)), as_json=as_json)


@click.command(**SETTINGS)
@api_options
@_place
@json_option
def trust(api: Api, *, place: tuple[str, str], as_json: bool) -> None:
    """Take distrust back: the issuer signs again, and what is left of the replacement ends."""
    environment, issuer = place
    done = api.call("DELETE", at("environments", environment, "distrusted-issuers", issuer)).document
    print_done(done, f"{environment}/{issuer} signs again.", as_json=as_json)


@click.command(**SETTINGS)
@api_options
@_place
@click.option("--force", is_flag=True, help="Go on although certificates remain that have no successor.")
@json_option
def unpublish(api: Api, *, place: tuple[str, str], force: bool, as_json: bool) -> None:
    """Take a distrusted issuer out of the SPIFFE bundle: workloads take nothing any more that it signed."""
    environment, issuer = place
    path = at("environments", environment, "distrusted-issuers", issuer, "unpublish")
    done = api.call("POST", path, body={"force": force}).document
    print_done(done, f"{environment}/{issuer} is out of the SPIFFE bundle.", as_json=as_json)


COMMANDS = (distrust, distrusted, trust, unpublish)


def _watched(api: Api, environment: str, path: str) -> Any:  # noqa: ANN401 - whatever JSON carries
    """Wait until none remains without a successor; return how it stands then."""
    until = time.monotonic() + PATIENCE
    while (found := api.get(path))["replacement"] is None:
        if time.monotonic() > until:
            refuse(
                "the replacement of its certificates has not begun; it is the server's worker that does: is it running?"
            )
        time.sleep(INTERVAL)
    replacements = at("environments", environment, "replacements")
    replacement = api.get(replacements + at(found["replacement"]))
    watch(api, replacements, replacement, lambda act: int(act["total"]) - int(act["remaining"]))
    return api.get(path)


def _told(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield how far it is, and what comes next."""
    yield f"{found['environment']}/{found['issuer']} is distrusted since {found['distrusted_at']}: {found['reason']}"
    ends = f"; the last ends at {found['last_not_after']}" if found["last_not_after"] else ""
    yield f"{found['live']} live, {found['replaced']} replaced, {found['remaining']} remain{ends}."
    yield from _next(found)


def _next(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is left to do, in its order."""
    place = f"{found['environment']}/{found['issuer']}"
    yield "What comes next:"
    if not found["others"]:
        yield "  * now: put another issuer into the configuration; until then orders are answered 503"
    if found["remaining"]:
        yield f"  * wait until none remains without a successor: acme-ca issuer distrusted {place} --wait"
    if found["published"]:
        yield f"  * then take it out of the SPIFFE bundle: acme-ca issuer unpublish {place}"
    if found["live"]:
        selection = f"--environment {found['environment']} --issuer-id {found['issuer']}"
        yield f"  * then revoke its certificates: acme-ca cert revoke {selection} --reason superseded"
    yield f"  * have the root revoke the issuer itself: [[crl.revoked]] with serial {found['serial']} and reason"
    yield "    cACompromise in the ceremony's plan, acme-ca root sign-crl, its list in the place of root_crl, reload"
    yield f"  * when nothing of it is live any more: take {found['issuer']} out of the configuration, and reload"
