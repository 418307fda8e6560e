"""`acme-ca client-config`: the configuration of stock ACME clients, ready to be copied. docs/how-to/clients.md."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import click

from acme_ca.cli.options import SETTINGS, config_option, counted, json_option, print_json, refuse

if TYPE_CHECKING:
    from acme_ca.config import Config, Environment
    from acme_ca.pki.profile import Profile

MINUTE, HOUR, DAY = 60, 3_600, 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Client:
    """What a client can do: which lifetimes (seconds), and whether it can ask for a profile. See docs/clients.md."""

    needs: int
    renews: str
    prefers: int = 0
    asks: bool = True
    root: str | None = "/etc/ssl/acme-ca-root.pem"  # where the root is put; None where it is in the configuration


CLIENTS = {
    "cert-manager": Client(HOUR, "by itself, when two thirds of the lifetime are over", prefers=8 * HOUR, root=None),
    "certbot": Client(10 * MINUTE, "by a timer, when renewal information (ARI) says so"),
    "lego": Client(10 * MINUTE, "by a timer, when renewal information (ARI) says so; version 4 by whole days"),
    "caddy": Client(MINUTE, "by itself, when a third of the lifetime is left or ARI says so"),
    "traefik": Client(HOUR, "by itself, by the lifetime that it is told in whole hours"),
    "nginx-acme": Client(HOUR, "by itself, with ARI"),
    "mod_md": Client(10 * MINUTE, "by itself; httpd has to be reloaded after it"),
    "acme.sh": Client(7 * DAY, "by a job once a day, after a number of whole days"),
    "proxmox": Client(
        90 * DAY,
        "by a job once a day, when less than 30 days are left",
        asks=False,
        root="/usr/local/share/ca-certificates/acme-ca-root.crt",
    ),
    "terraform": Client(90 * DAY, "when somebody applies it, by whole days"),
}

EAB_PLACEHOLDERS = ("YOUR-EAB-KID", "YOUR-EAB-MAC-KEY")

_PATH = re.compile(r"/[\w./-]*[\w-]")  # what no client's file has to quote
_KID = re.compile(r"[A-Za-z0-9._~-]+")
_MAC_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    client: str
    environment: str
    names: tuple[str, ...]
    profile: str | None
    root: str | None
    eab_kid: str | None
    eab_key_file: Path | None


@click.command(**SETTINGS)
@click.argument("client", required=False)
@config_option
@click.option("--environment", help="The environment that the client gets its certificates from.")
@click.option("--name", "names", multiple=True, metavar="DNSNAME", help="A name for the certificate; repeatable.")
@click.option("--profile", help="The profile to ask for. Default: the environment's, or the first that suits.")
@click.option("--root", metavar="PATH", help="Where the CA's root certificate is on the client's host.")
@click.option("--eab-kid", metavar="KID", help="The key identifier of an external account key (`acme-ca eab create`).")
@click.option("--eab-key-file", type=click.Path(path_type=Path, dir_okay=False), help="The file with its MAC key.")
@click.option("--list", "as_list", is_flag=True, help="List the clients, as without CLIENT.")
@json_option
def client_config(
    client: str | None,
    config_path: Path,
    *,
    as_list: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the fields of Wish, as click reads them
) -> None:
    """Print what the operator of a CLIENT copies to get certificates from an environment of this CA.

    Several files follow each other, each under its name. What else is to be known is told on standard error.
    """
    from acme_ca.cli.opening import load_or_refuse

    if client is None or as_list:
        _list(as_json=as_json)
        return
    if client not in CLIENTS:
        refuse(f"there is no client {client!r} here; {_hint(client, CLIENTS)}")
    if options["environment"] is None:
        raise click.UsageError("Missing option '--environment'.")
    if (options["eab_kid"] is None) != (options["eab_key_file"] is None):
        raise click.UsageError("--eab-kid and --eab-key-file go together")
    wish = Wish(client, **options)
    _print(wish, Answer.to(wish, load_or_refuse(config_path, files=False)), as_json=as_json)


def _list(*, as_json: bool) -> None:
    from acme_ca.cli.tables import print_table

    if as_json:
        shown = [
            {"client": name, "shortest_lifetime": client.needs, "names_profile": client.asks, "renews": client.renews}
            for name, client in CLIENTS.items()
        ]
        print_json(shown)
        return
    rows = [
        (name, _span(client.needs), "yes" if client.asks else "no", client.renews) for name, client in CLIENTS.items()
    ]
    print_table(("client", "lifetime at least", "asks for a profile", "renews"), rows, "")


def _print(wish: Wish, answer: Answer, *, as_json: bool) -> None:
    texts = dict(_render(wish.client, answer.values()))
    notes = list(answer.notes())
    if as_json:
        shown = [{"name": name, "text": text} for name, text in texts.items()]
        print_json({"client": wish.client, "environment": wish.environment, "files": shown, "notes": notes})
        return
    for name, text in texts.items():
        click.echo(f"# ----- {name}\n{text}")
    for note in notes:
        click.echo(f"Note: {note}", err=True)


def _render(client: str, values: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the client's files.

    A line is left out when a value that it names is None, and a file when nothing is left of it. Units come last.
    """
    snippets = (files("acme_ca.cli") / "snippets" / client).iterdir()
    for snippet in sorted(snippets, key=lambda file: (file.name.endswith((".service", ".timer")), file.name)):
        lines = snippet.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if all(values[name] is not None for name in Template(line).get_identifiers())]
        if kept:
            yield snippet.name, Template("".join(kept)).substitute(values)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written into the snippets of one client."""

    wish: Wish
    config: Config
    names: tuple[str, ...]
    profile: str
    root_pem: bytes
    eab: tuple[str, str] | None

    @classmethod
    def to(cls, wish: Wish, config: Config) -> Answer:
        """Find the answer, or end with exit code 1 and the reason that there is none."""
        if (environment := config.environment.get(wish.environment)) is None:
            refuse(f"there is no environment {wish.environment!r}; {_hint(wish.environment, config.environment)}")
        if wish.root is not None and not _PATH.fullmatch(wish.root):
            refuse(f"--root {wish.root!r}: expected an absolute path of letters, digits and ._-/")
        eab = _eab(wish)
        if eab is None and environment.external_account_required:
            eab = EAB_PLACEHOLDERS
        profile = _profile(wish, environment, config.profile)
        return cls(wish, config, _names(wish, environment), profile, _root(config), eab)

    @property
    def client(self) -> Client:
        """What the client can do."""
        return CLIENTS[self.wish.client]

    @property
    def environment(self) -> Environment:
        """The environment that it gets certificates from."""
        return self.config.environment[self.wish.environment]

    @property
    def lifetime(self) -> int:
        """How many seconds its certificates live."""
        return _known(self.config.profile)[self.profile].lifetime

    @property
    def named_profile(self) -> str | None:
        """The profile, if the client has to name it; older versions cannot, and get the environment's default."""
        is_default = self.profile == self.environment.default_profile and self.wish.profile is None
        return self.profile if self.client.asks and not is_default else None

    def values(self) -> dict[str, str | None]:
        """Return what the snippets name; None where there is nothing to be said."""
        kid, key = self.eab or (None, None)
        terms = self.environment.terms_of_service
        return {
            "environment": self.wish.environment,
            "directory": f"{self.config.external_url}/acme/{self.wish.environment}/directory",
            "root": self.wish.root or self.client.root,
            "ca_bundle": base64.b64encode(self.root_pem).decode(),
            "terms_of_service": None if terms is None else shlex.quote(terms),
            "profile": self.named_profile,
            "profile_option": "" if self.named_profile is None else f" --profile {self.named_profile}",
            "eab": None if self.eab is None else "",
            "eab_kid": kid,
            "eab_key": key,
            **_ways_to_write(self.names),
            **_times(self.lifetime),
        }

    def notes(self) -> Iterator[str]:
        """Yield what an operator has to know and the snippets do not say."""
        here, environment = self.wish.environment, self.environment
        yield f"Certificates of profile {self.profile} live for {_span(self.lifetime)}."
        if (place := self.wish.root or self.client.root) is not None:
            source = self.config.service.issuer.root
            yield f"Put the CA's root, {source} here, to {place} there. Its SHA-256 is {_fingerprint(self.root_pem)}."
        if self.eab == EAB_PLACEHOLDERS:
            yield f"Environment {here} requires external account binding. `acme-ca eab create` makes a key."
            yield f"Put its identifier and MAC key in the places of {' and '.join(self.eab)}."
        if not self.wish.names:
            yield f"{self.names[0]} stands for your own names; --name writes them."
        if "http-01" not in environment.challenges and self.wish.client != "terraform":
            offered = ", ".join(environment.challenges)
            yield f"The names are proved by http-01 here, which environment {here} does not offer. It offers {offered}."
        if any(name.startswith("*.") for name in self.names) and self.wish.client != "terraform":
            yield "A wildcard needs dns-01: change how names are proved."


def _profile(wish: Wish, environment: Environment, own: Mapping[str, Profile]) -> str:
    """Return the profile that the client is to have, or refuse."""
    client, known, default = CLIENTS[wish.client], _known(own), environment.default_profile
    if wish.profile is not None and wish.profile not in environment.profiles:
        hint = _hint(wish.profile, environment.profiles)
        refuse(f"environment {wish.environment} offers no profile {wish.profile!r}; {hint}")
    if not client.asks and wish.profile not in {None, default}:
        refuse(f"{wish.client} cannot ask for a profile; it gets the default of the environment, {default}")
    candidates = [default] if wish.profile is None else [wish.profile]
    if wish.profile is None and client.asks:
        candidates += sorted(environment.profiles, key=lambda name: known[name].lifetime)
        candidates = [name for name in candidates if "serverAuth" in known[name].extended_key_usages]
    for bound in (max(client.prefers, client.needs), client.needs):
        if fitting := [name for name in candidates if known[name].lifetime >= bound]:
            return fitting[0]
    return refuse(_too_short(wish, environment, known))


def _too_short(wish: Wish, environment: Environment, known: Mapping[str, Profile]) -> str:
    client = CLIENTS[wish.client]
    offered = ", ".join(f"{name} ({_span(known[name].lifetime)})" for name in environment.profiles)
    text = (
        f"{wish.client} needs certificates that live for {_span(client.needs)} at least: they are renewed "
        f"{client.renews}. Environment {wish.environment} offers {offered}"
    )
    if not client.asks:
        text += f", and {wish.client} cannot ask for another than the default, {environment.default_profile}"
    fitting = [name for name, profile in known.items() if profile.lifetime >= client.needs]
    if client.asks and wish.profile is None and fitting:
        return f"{text}. Add {fitting[0]!r} to environment.{wish.environment}.profiles."
    return f"{text}. docs/configuration.md tells how to make a profile ([profile.NAME], lifetime = {client.needs})."


def _known(own: Mapping[str, Profile]) -> dict[str, Profile]:
    from acme_ca.pki.profile import BUILTIN

    return {**BUILTIN, **own}


def _names(wish: Wish, environment: Environment) -> tuple[str, ...]:
    from acme_ca.identifiers import parse
    from acme_ca.problems import Problem

    try:
        names = [parse("dns", name) for name in wish.names or (f"app.{environment.zones[0]}",)]
    except Problem as problem:
        refuse(problem.detail)
    for name in names:
        if not any(f".{name.base}".endswith(f".{zone}") for zone in environment.zones):
            zones = ", ".join(environment.zones)
            refuse(f"{name.value} is outside the zones of environment {wish.environment}: {zones}")
    return tuple(name.value for name in names)


def _eab(wish: Wish) -> tuple[str, str] | None:
    if wish.eab_kid is None or wish.eab_key_file is None:
        return None
    try:
        key = wish.eab_key_file.read_text(encoding="utf-8").strip().rstrip("=")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{wish.eab_key_file}: {getattr(error, 'strerror', None) or 'is not text'}")
    if not _KID.fullmatch(wish.eab_kid):
        refuse(f"--eab-kid {wish.eab_kid!r}: expected what `acme-ca eab create` shows")
    if not _MAC_KEY.fullmatch(key):
        refuse(f"{wish.eab_key_file}: expected a MAC key in base64url, as `acme-ca eab create` shows it")
    return wish.eab_kid, key


def _root(config: Config) -> bytes:
    path = config.service.issuer.root
    try:
        pem = path.read_bytes()
        _fingerprint(pem)
    except (OSError, ValueError) as error:
        refuse(f"the root {path} cannot be read: {error}")
    return pem


def _fingerprint(pem: bytes) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem).fingerprint(SHA256()).hex(":").upper()


def _ways_to_write(names: tuple[str, ...]) -> dict[str, str]:
    """Write the names as each kind of file has them. A list is one of JSON, YAML and HCL alike."""
    return {
        "cert_name": names[0].removeprefix("*."),
        "first_name": names[0],
        "names_list": json.dumps(names),
        "other_names_list": json.dumps(names[1:]),
        "names_spaces": " ".join(names),
        "names_commas": ", ".join(names),
        "names_semicolons": ";".join(names),
        "domain_options": " ".join(f"-d {shlex.quote(name)}" for name in names),
    }


def _times(lifetime: int) -> dict[str, str]:
    """Return how often a client has to look, and when to renew, with time for a second and a third attempt."""
    return {
        "lifetime": _span(lifetime),
        "interval": str(min(max(lifetime // 12, MINUTE), DAY // 2)),
        "renew_interval": str(min(max(lifetime // 60, 1), 10 * MINUTE)),
        "hours": str(lifetime // HOUR),
        "days_left": str(lifetime // 3 // DAY),
        "days_until": str(lifetime * 2 // 3 // DAY),
    }


def _span(seconds: int) -> str:
    for length, noun in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds % length == 0:
            return counted(seconds // length, noun)
    return counted(seconds, "second")


def _hint(seen: str, known: Iterable[str]) -> str:
    from acme_ca.config.mistakes import did_you_mean

    return did_you_mean(seen, list(known))
