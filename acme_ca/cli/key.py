"""`acme-ca key`: the private keys that the configuration names, wherever they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, refuse
from acme_ca.cli.tables import print_table
from acme_ca.vocabulary import KEY_TYPES, KeyType

if TYPE_CHECKING:
    from acme_ca.configured_keys import ConfiguredKey

COLUMNS = ("name", "setting", "kept at", "kind", "SHA-256 of its SPKI")
DEFAULT: KeyType = "ec-p256"


@click.group(**SETTINGS)
def key() -> None:
    """Make, list and check the private keys that the configuration names."""


@key.command("list", **SETTINGS)
@config_option
@json_option
def list_(config_path: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the keys, and where they are kept. Nothing is opened."""
    found = _configured(config_path)
    if as_json:
        print_json({"keys": [_row(one) for one in found]})
        return
    print_table(COLUMNS[:3], [(one.name, one.place, str(one.key)) for one in found], "There are none.")


@key.command(**SETTINGS)
@config_option
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def check(config_path: Path, names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Open each key (or those NAMEd), let it sign if it is not in a file, and compare it with its certificate.

    Exit code 1 when one is not as it has to be.
    """
    from acme_ca.configured_keys import KeyFaultError

    rows, faults = [], []
    for one in _selected(config_path, names):
        try:
            kind, spki = one.check()
            rows.append(_row(one) | {"kind": kind, "spki_sha256": spki.hex()})
        except KeyFaultError as error:
            faults.append(_row(one) | {"fault": str(error)})
    if as_json:
        print_json({"keys": rows, "faults": faults})
    elif rows:
        shown = [(row["name"], row["setting"], row["kept_at"], row["kind"], row["spki_sha256"]) for row in rows]
        print_table(COLUMNS, shown, "")
    if faults and not as_json:
        refuse("\n".join(f"{fault['name']} ({fault['setting']}): {fault['fault']}" for fault in faults))
    if faults:
        raise click.exceptions.Exit(1)


@key.command(**SETTINGS)
@config_option
@click.argument("name")
@click.option("--kind", type=click.Choice(KEY_TYPES), default=DEFAULT, show_default=True, help="The kind of key.")
@json_option
def generate(config_path: Path, name: str, kind: KeyType, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Make the key that the configuration gives to the issuer NAME, or to `admin` or `audit`, where it is kept.

    In a token it is made so that it cannot leave it. A key that is there is never replaced.
    """
    from acme_ca import public_keys
    from acme_ca.configured_keys import KeyFaultError
    from acme_ca.keys import KeyAway, KeyUnavailableError

    (one,) = _selected(config_path, (name,))
    try:
        one.require_kind(kind)
        made = one.key.create(kind).public_key()
    except (KeyFaultError, KeyUnavailableError, KeyAway) as error:
        refuse(str(error))
    row = _row(one) | {"kind": kind, "spki_sha256": public_keys.spki_sha256(made).hex()}
    if as_json:
        print_json(row)
    else:
        click.echo(f"Made {row['kept_at']}, {kind}, SHA-256 of its SPKI {row['spki_sha256']}")


def _configured(path: Path) -> list[ConfiguredKey]:
    from acme_ca.cli.opening import load_or_refuse
    from acme_ca.configured_keys import configured_keys

    return list(configured_keys(load_or_refuse(path, files=False)))


def _selected(path: Path, names: tuple[str, ...]) -> list[ConfiguredKey]:
    found = _configured(path)
    for name in names:
        if name not in {one.name for one in found}:
            refuse(f"there is no key {name!r}; there are {', '.join(one.name for one in found)}")
    return [one for one in found if not names or one.name in names]


def _row(one: ConfiguredKey) -> dict[str, Any]:
    return {"name": one.name, "setting": one.place, "kept_at": str(one.key), "type": one.key.type}
