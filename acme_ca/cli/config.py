"""`acme-ca config`: is the configuration file good, and what may stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, log_to_standard_error, print_json

if TYPE_CHECKING:
    from acme_ca.config import Config, Environment, Issuer, Location, SubCa
    from acme_ca.identifiers import Identifier


@click.group(**SETTINGS)
def config() -> None:
    """Check the configuration file, or print its JSON Schema."""


@config.command(**SETTINGS)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Name every mistake in the configuration file, each with its line.

    Its issuers are opened too: each key has to fit its certificate, and each certificate the zones of its environment.
    """
    from acme_ca.config import ConfigError, load, locate

    log_to_standard_error()
    try:
        found = load(config_path)
        if misfits := list(_misfits(found)):
            raise locate(config_path, misfits)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "mistakes": [mistake.document() for mistake in error.mistakes]})
        else:
            click.echo(str(error), err=True)
        ctx.exit(1)
    if as_json:
        print_json({"ok": True, "mistakes": []})
    else:
        click.echo(f"{config_path}: good. {_summary(found)}")


@config.command(**SETTINGS)
def schema() -> None:
    """Print the JSON Schema of the configuration file; editors complete and check TOML by it."""
    from acme_ca.config import json_schema

    print_json(json_schema())


def _misfits(found: Config) -> Iterator[tuple[Location, str]]:
    """Yield what shows only when the issuers are put to use."""
    from acme_ca.identifiers import Identifier
    from acme_ca.issuer_keys import beforehand

    found = beforehand(found)
    host = urlsplit(found.external_url).hostname or ""
    yield from _misfits_of(found, found.service.issuer, ("service", "issuer"), {("external_url",): [_identifier(host)]})
    for name, environment in found.environment.items():
        here = ("environment", name)
        wanted: dict[Location, list[Identifier]] = {
            (*here, "zones", number): [Identifier("dns", zone)] for number, zone in enumerate(environment.zones)
        }
        for number, rule in enumerate(environment.policy):
            for position, network in enumerate(() if rule.deny else rule.ip):
                edges = [Identifier("ip", str(address)) for address in (network[0], network[-1])]
                wanted[(*here, "policy", number, "ip", position)] = edges
        for number, issuer in enumerate(environment.issuer):
            yield from _misfits_of(found, issuer, (*here, "issuer", number), wanted)
        yield from _misfits_of_anchors(environment, here)
        if environment.sub_ca is not None:
            yield from _misfits_of_rules(found, environment.sub_ca, (*here, "sub_ca"))


def _misfits_of(
    config: Config, settings: Issuer, location: Location, wanted: Mapping[Location, list[Identifier]]
) -> Iterator[tuple[Location, str]]:
    from acme_ca.issuers import load_issuer
    from acme_ca.keys import KeyAway, KeyRefused, KeyUnavailableError
    from acme_ca.pki.lint import LintError, check_within
    from acme_ca.root_files import load_root_crl

    try:
        issuer = load_issuer(config, settings, "")
        if settings.root_crl is not None:
            load_root_crl(settings.root_crl, settings.root)
    except (KeyUnavailableError, KeyAway, KeyRefused, OSError, ValueError) as error:
        yield location, str(error)
        return
    for place, names in wanted.items():
        try:
            check_within(names, issuer.certificate)
        except LintError as error:
            yield place, f"{error}: add an issuer with a new name above it, and run `acme-ca init`"


def _misfits_of_anchors(environment: Environment, here: Location) -> Iterator[tuple[Location, str]]:
    from acme_ca.root_files import load_anchor, load_anchor_crl

    for number, path in enumerate(environment.anchors):
        try:
            load_anchor(path)
        except (OSError, ValueError) as error:
            yield (*here, "anchors", number), str(error)
            return
    for number, path in enumerate(environment.anchor_crls):
        try:
            load_anchor_crl(path, environment.anchors)
        except (OSError, ValueError) as error:
            yield (*here, "anchor_crls", number), str(error)


def _misfits_of_rules(config: Config, settings: SubCa, here: Location) -> Iterator[tuple[Location, str]]:
    """Yield what does not open, and the rules for sub-CAs that their issuer cannot sign under."""
    from acme_ca.issuers import load_issuer
    from acme_ca.pki.sub_ca_lint import unsuitable

    broken = list(_misfits_of(config, settings, here, {}))
    for number, issuer in enumerate(settings.former):
        broken += _misfits_of(config, issuer, (*here, "former", number), {})
    yield from broken
    if not broken:
        opened = load_issuer(config, settings, "")
        for number, rule in enumerate(settings.rule):
            reason = unsuitable(opened, rule.dns, rule.ip, rule.path_length)
            if reason is not None:
                advice = "give sub_ca a new name, certificate and key, and run `acme-ca init`"
                yield (*here, "rule", number), f"{reason}: {advice}"


def _identifier(host: str) -> Identifier:
    from acme_ca.config.fields import is_address
    from acme_ca.identifiers import Identifier

    return Identifier("ip" if is_address(host) else "dns", host)


def _summary(found: Config) -> str:
    return f"Environments: {', '.join(found.environment)}; ACME on {found.listener.acme.bind}."
