"""`acme-ca issuer rotate`: let another issuer take over, or tell what would come of it. docs/how-to/rotation.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, refuse

if TYPE_CHECKING:
    from acme_ca.ceremony.rotation import Plan, Rotated
    from acme_ca.config import Config
    from acme_ca.db import Database


@click.command(**SETTINGS)
@config_option
@click.option("--plan", "only_plan", is_flag=True, help="Only tell the dates, and what follows from them.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file for the request.")
@click.argument("environment")
@click.argument("issuer", required=False)
@json_option
def rotate(
    *, config_path: Path, only_plan: bool, out: Path | None, environment: str, issuer: str | None, as_json: bool
) -> None:
    """Make the next issuer of ENVIRONMENT: its key beside the present one, and its certificate.

    If the root's key is here, the certificate is signed and published, and signs leafs after `rotation.publish_ahead`.
    Otherwise a request is written for a ceremony elsewhere, and `acme-ca issuer import` takes the certificate. No
    server has to be restarted. ISSUER names one of several.
    """
    from acme_ca.ceremony.errors import CeremonyError
    from acme_ca.cli.opening import open_database
    from acme_ca.keys import KeyAway, KeyUnavailableError

    if out is not None and out.exists():
        refuse(f"{out} exists already; it is never overwritten")
    with open_database(config_path, environment) as (config, database):
        try:
            plan = _planned(config, config_path, database, environment, issuer)
            if only_plan:
                _tell_plan(plan, as_json=as_json)
                return
            done = _done(config, database, plan, out)
        except (CeremonyError, KeyUnavailableError, KeyAway, ValueError) as error:
            refuse(str(error))
        except OSError as error:
            refuse(f"{error.filename}: {error.strerror}")
    _tell(done, out, as_json=as_json)


def _planned(config: Config, config_path: Path, database: Database, environment: str, issuer: str | None) -> Plan:
    from acme_ca.ceremony.configured import root_key_in
    from acme_ca.ceremony.rotation import find, plan
    from acme_ca.services import generations

    line = find(generations.lines(database, config, environment), issuer)
    keys = config_path.absolute().parent / "keys"
    own = config.environment[environment].rotation.root_key
    return plan(config, database, line, own or root_key_in(config, keys, line.settings.root))


def _done(config: Config, database: Database, plan: Plan, out: Path | None) -> Rotated:
    import os
    import socket

    from acme_ca.ceremony.files import write_new
    from acme_ca.ceremony.rotation import rotate as perform

    done = perform(config, database, plan, f"{socket.gethostname()}:{os.getpid()}", by=f"uid:{os.geteuid()}")
    if out is not None and done.request is not None:
        write_new(out, done.request.pem.encode())
    return done


def _document(plan: Plan) -> dict[str, Any]:
    from acme_ca.clock import rfc3339
    from acme_ca.keys import SoftwareKey

    line, span = plan.line, plan.span
    key = plan.wanted.issuer.key
    return {
        "environment": line.environment,
        "issuer": plan.generation.id,
        "instead_of": line.newest.id,
        "key": str(key),
        "kind": plan.kind,
        "root": plan.root.subject.rfc4514_string(),
        "root_key": None if plan.root_key is None else str(plan.root_key),
        "published_at": rfc3339(plan.staged_at),
        "signs_from": rfc3339(plan.signs_from),
        "ends_at": None if span is None else rfc3339(span.ends_at),
        "signs_until": None if span is None else rfc3339(span.signs_until(line.rules.longest)),
        "next_due_at": None if span is None else rfc3339(line.rules.due_at(span)),
        "old_last_leaf_at": rfc3339(plan.last_leaf_at),
        "old_retires_at": rfc3339(plan.retires_at),
        "deadline": rfc3339(line.rules.deadline(line.newest)),
        "notes": [f"{key} is on this host alone: copy it to all others"] if isinstance(key, SoftwareKey) else [],
        "refusals": list(plan.refusals),
    }


def _tell_plan(plan: Plan, *, as_json: bool) -> None:
    document = _document(plan)
    if as_json:
        print_json(document)
        return
    unknown = "as the root's ceremony decides"
    facts = {
        "Issuer": f"{document['issuer']}, after {document['instead_of']}",
        "Key": f"{document['key']}, {document['kind']}",
        "Root": document["root"],
        "Root's key": document["root_key"] or "elsewhere: a request is made, and a ceremony signs it",
        "Published": document["published_at"],
        "Signs from": document["signs_from"],
        "Signs until": document["signs_until"] or unknown,
        "Ends": document["ends_at"] or unknown,
        "Next one due": document["next_due_at"] or unknown,
        f"Last leaf of {document['instead_of']}": document["old_last_leaf_at"],
        f"{document['instead_of']} retires": f"{document['old_retires_at']}; until then its lists are published",
        "Has to be published by": document["deadline"],
    }
    width = max(map(len, facts)) + 2
    for title, value in facts.items():
        click.echo(f"{title:{width}}{value}")
    for note in document["notes"]:
        click.echo(f"Note: {note}")
    for refusal in plan.refusals:
        click.echo(f"Refused: {refusal}")


def _tell(done: Rotated, out: Path | None, *, as_json: bool) -> None:
    from acme_ca.clock import rfc3339

    document = {
        **_document(done.plan),
        "created": [str(one) for one in done.made],
        "staged": done.signs_from is not None,
        "file": None if out is None or done.request is None else str(out),
        "csr": None if done.request is None else done.request.pem,
    }
    if as_json:
        print_json(document)
        return
    for made in document["created"]:
        click.echo(f"made {made}", err=True)
    for note in document["notes"]:
        click.echo(f"Note: {note}", err=True)
    if done.signs_from is not None:
        click.echo(f"{document['issuer']} is published, and signs from {rfc3339(done.signs_from)}")
        return
    click.echo(
        f"{document['issuer']} waits for its certificate: have the request signed (docs/how-to/ceremony.md), then "
        f"`acme-ca issuer import CERTIFICATE`, by {document['deadline']}",
        err=True,
    )
    click.echo(f"wrote {out}" if out is not None else document["csr"], nl=out is not None, err=out is not None)
