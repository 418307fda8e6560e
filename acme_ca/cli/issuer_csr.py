"""`acme-ca issuer csr`: ask for an issuer's certificate. docs/how-to/ceremony.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, refuse
from acme_ca.vocabulary import AUTHORITY_KEY_TYPES

if TYPE_CHECKING:
    from acme_ca.ceremony.issuers import Request
    from acme_ca.vocabulary import KeyType


@click.command(**SETTINGS)
@config_option
@click.option("--create", type=click.Choice(AUTHORITY_KEY_TYPES), help="Make a key of this kind first.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file for it. Default: printed.")
@click.argument("issuer", metavar="ENVIRONMENT/ISSUER")
@json_option
def csr(config_path: Path, create: KeyType | None, out: Path | None, issuer: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Write a PKCS#10 request for the certificate of an issuer, signed by its key, wherever that is.

    The issuer of the CA's own listener is service/ISSUER. The request says what the configuration asks for: the zones
    and networks of the environment, path length 0. Whoever signs it decides what to take from it but the key.
    """
    from acme_ca.ceremony.errors import CeremonyError
    from acme_ca.ceremony.files import write_new
    from acme_ca.ceremony.issuers import find, request
    from acme_ca.cli.opening import load_or_refuse
    from acme_ca.keys import KeyAway, KeyUnavailableError

    config = load_or_refuse(config_path, files=False)
    if out is not None and out.exists():
        refuse(f"{out} exists already; it is never overwritten")
    try:
        found = request(find(config, issuer), create)
        if out is not None:
            write_new(out, found.pem.encode())
    except (CeremonyError, KeyUnavailableError, KeyAway) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    _tell(found, out, as_json=as_json)


def _tell(found: Request, out: Path | None, *, as_json: bool) -> None:
    from acme_ca.public_keys import spki_sha256

    key_sha256 = spki_sha256(found.key).hex()
    if as_json:
        print_json(
            {
                "issuer": str(found.issuer),
                "key": str(found.issuer.issuer.key),
                "key_sha256": key_sha256,
                "subject": found.csr.subject.rfc4514_string(),
                "created": [str(made) for made in found.made],
                "file": None if out is None else str(out),
                "csr": found.pem,
            }
        )
        return
    for made in found.made:
        click.echo(f"made {made}", err=True)
    click.echo(f"{found.issuer}: {found.issuer.issuer.key}, SHA-256 of the public key {key_sha256}", err=True)
    if out is None:
        click.echo(found.pem, nl=False)
    else:
        click.echo(f"wrote {out}; when it is signed: acme-ca issuer import CERTIFICATE", err=True)
