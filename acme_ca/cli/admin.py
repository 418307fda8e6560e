"""`acme-ca admin`: operators of the admin API, their certificates and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, json_option, print_json, refuse
from acme_ca.cli.tables import print_table
from acme_ca.vocabulary import Role

ROLES = tuple(role.value for role in Role)
COLUMNS = {"name": "name", "role": "role", "environments": "environments", "disabled_at": "disabled", "note": "note"}

role_option = click.option("--role", type=click.Choice(ROLES), required=True, help="What may be done.")
environments_option = click.option(
    "--environment", "environments", multiple=True, help="Only for this environment; repeatable. Default: all."
)


@click.group(**SETTINGS)
def admin() -> None:
    """Enroll operators, and give them certificates and tokens for the admin API."""


@admin.command(**SETTINGS)
@api_options
@click.argument("name", type=WORDS)
@role_option
@environments_option
@click.option("--note", help="Who it is, or why they are there.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where NAME.key and NAME.pem go. Default: the current folder.",
    default=Path(),
)
@json_option
def enroll(
    api: Api,
    name: str,
    role: str,
    environments: tuple[str, ...],
    note: str | None,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Make an operator, with a key and a certificate to sign in with. The key is made here and stays here."""
    key_path, certificate_path = out / f"{name}.key", out / f"{name}.pem"
    for path in (key_path, certificate_path):
        if path.exists():
            refuse(f"{path} is there already; nothing was done")
    api.call("POST", "/admins", body={"name": name, "role": role, "environments": environments, "note": note})
    issued = _certify(api, name, key_path, certificate_path)
    if as_json:
        print_json({"name": name, "role": role, "key": str(key_path), "certificate": str(certificate_path), **issued})
        return
    click.echo(f"{name} is {role} now. Key and certificate: {key_path}, {certificate_path}")
    click.echo(f"The certificate ends at {issued['not_after']}. `acme-ca admin certify {name}` makes another one.")
    click.echo(f"Sign in with --api URL --cert {certificate_path} --key {key_path}, or ACME_CA_API, _CERT and _KEY.")


@admin.command(**SETTINGS)
@api_options
@click.argument("name", type=WORDS)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where NAME.key and NAME.pem go. Default: the current folder.",
    default=Path(),
)
@json_option
def certify(api: Api, name: str, out: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Make another key and certificate for an operator."""
    key_path, certificate_path = out / f"{name}.key", out / f"{name}.pem"
    for path in (key_path, certificate_path):
        if path.exists():
            refuse(f"{path} is there already; move it away first")
    issued = _certify(api, name, key_path, certificate_path)
    if as_json:
        print_json({"name": name, "key": str(key_path), "certificate": str(certificate_path), **issued})
        return
    click.echo(f"{key_path} and {certificate_path} are good until {issued['not_after']}.")


@admin.command("list", **SETTINGS)
@api_options
@json_option
def list_(api: Api, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List all operators."""
    rows = list(api.pages("/admins"))
    if as_json:
        print_json(rows)
        return
    lines = [tuple(_shown(row[name]) for name in COLUMNS) for row in rows]
    print_table(tuple(COLUMNS.values()), lines, "There are no operators; `acme-ca admin enroll` makes the first one.")


@admin.command(**SETTINGS)
@api_options
@click.argument("name", type=WORDS)
def show(api: Api, name: str) -> None:
    """Print an operator with all that signs them in, as JSON."""
    print_json(api.get(at("admins", name)) | api.get(at("admins", name, "credentials")))


@admin.command(**SETTINGS)
@api_options
@click.argument("name", type=WORDS)
@click.option("--role", type=click.Choice(ROLES), help="Another role.")
@click.option("--environment", "environments", multiple=True, help="Only for this environment; repeatable.")
@click.option("--all-environments", is_flag=True, help="For all environments.")
@click.option("--disable/--enable", default=None, help="Whether nothing of theirs signs in.")
@json_option
def change(
    api: Api,
    name: str,
    role: str | None,
    environments: tuple[str, ...],
    all_environments: bool,  # noqa: FBT001 - click passes it by name
    disable: bool | None,  # noqa: FBT001 - click passes it by name
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Change what an operator is, from their next call on."""
    if environments and all_environments:
        raise click.UsageError("--environment and --all-environments contradict each other")
    found = api.call("GET", at("admins", name))
    before = found.document
    wanted = {
        "role": role or before["role"],
        "environments": [] if all_environments else list(environments) or before["environments"],
        "note": before["note"],
        "disabled": before["disabled_at"] is not None if disable is None else disable,
    }
    after = api.call("PUT", at("admins", name), body=wanted, headers={"If-Match": found.headers["ETag"]}).document
    if as_json:
        print_json(after)
        return
    where = ", ".join(after["environments"]) or "all environments"
    click.echo(f"{name} is {after['role']} for {where}{' and disabled' if after['disabled_at'] else ''} now.")


@admin.command(**SETTINGS)
@api_options
@click.argument("name", type=WORDS)
@click.argument("label", type=WORDS)
@role_option
@environments_option
@click.option("--days", type=click.FloatRange(min=0, max=366, min_open=True), default=30, show_default=True)
@json_option
def token(
    api: Api,
    name: str,
    label: str,
    role: str,
    environments: tuple[str, ...],
    days: float,
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Make an API token for an operator. It is shown now and never again."""
    wanted = {"label": label, "role": role, "environments": environments, "days": days}
    made = api.call("POST", at("admins", name, "tokens"), body=wanted).document
    if as_json:
        print_json(made)
        return
    click.echo(made["token"])
    click.echo(f"It is good until {made['expires_at']}. Give it to commands by ACME_CA_TOKEN.", err=True)


@admin.command("revoke", **SETTINGS)
@api_options
@click.argument("name", type=WORDS)
@click.option("--token", "token_id", help="The id of a token.")
@click.option("--certificate", "fingerprint", help="The fingerprint of a certificate.")
def revoke(api: Api, name: str, token_id: str | None, fingerprint: str | None) -> None:
    """Let a token or a certificate sign nobody in any more."""
    if (token_id is None) == (fingerprint is None):
        raise click.UsageError("give one of --token and --certificate")
    path = at("admins", name, "tokens", token_id) if token_id else at("admins", name, "certificates", fingerprint or "")
    api.call("DELETE", path)
    click.echo(f"It signs nobody in any more: {token_id or fingerprint}")


def _certify(api: Api, name: str, key_path: Path, certificate_path: Path) -> dict[str, Any]:
    """Make a key, and get a certificate for it; both are written."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    from acme_ca.ceremony.files import write_new

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    wanted = {"csr": csr.public_bytes(Encoding.PEM).decode()}
    issued: dict[str, Any] = api.call("POST", at("admins", name, "certificates"), body=wanted).document
    try:
        key_path.parent.mkdir(parents=True, exist_ok=True)
        write_new(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        write_new(certificate_path, issued.pop("pem").encode(), 0o644)
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    return {name: issued[name] for name in ("fingerprint", "not_after")}


def _shown(value: object) -> object:
    return ", ".join(value) or "all" if isinstance(value, list) else value
