"""`acme-ca init`: from nothing to a CA that `acme-ca serve` can serve."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from acme_ca import clock
from acme_ca.cli import starter
from acme_ca.cli.db import upgrade_or_refuse
from acme_ca.cli.options import SETTINGS, json_option, print_json, refuse
from acme_ca.vocabulary import AUTHORITY_KEY_TYPES, MLDSA_KEY_TYPES, AuthorityKeyType

if TYPE_CHECKING:
    from cryptography import x509

    from acme_ca.ceremony.configured import Report
    from acme_ca.ceremony.wanted import Wanted
    from acme_ca.config import Config

CONFIG_NAME = "acme-ca.toml"
DEFAULT_URL = "https://localhost:8443"
ENVIRONMENTS = ("dev", "test", "prod")
HTTPS_PORT = 443
EVERY_TIME = ("folder", "offline_root", "as_json", "root_key", "issuer_key")  # they count for an old file as well

Networks = tuple[starter.IpNetwork, ...]


def _external_url(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
    from acme_ca.config.fields import https_origin

    try:
        return https_origin(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _environments(_ctx: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
            raise click.BadParameter(f"{name!r}: expected up to 32 of a-z, 0-9 and hyphens; it becomes a DNS label")
    if len(set(names)) < len(names):
        raise click.BadParameter("an environment is named twice")
    return names


def _networks(_ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> Networks:
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected e.g. 10.0.0.0/8") from error


def _secret(_ctx: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Take a reference to a secret; a file's is from here, and not from the folder of the configuration."""
    from acme_ca.secret import Secret

    if text is None:
        return None
    try:
        secret = Secret.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return f"file:{Path(secret.name).absolute()}" if secret.source == "file" else text


@click.command(**SETTINGS)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current one",
    help="The folder for configuration, keys, certificates and database.",
)
@click.option(
    "--external-url",
    default=DEFAULT_URL,
    show_default=True,
    callback=_external_url,
    help="The URL under which clients reach the CA.",
)
@click.option(
    "--domain", help="The zones become ENVIRONMENT.DOMAIN; without it ENVIRONMENT.localhost, for trying it out."
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    default=ENVIRONMENTS,
    show_default=True,
    callback=_environments,
    help="An environment; repeat it for several.",
)
@click.option("--ip-network", "networks", multiple=True, callback=_networks, help="A network to issue for; repeatable.")
@click.option("--resolver", "resolvers", multiple=True, help="A DNS resolver; repeatable. Default: this system's.")
@click.option("--http-port", default=80, show_default=True, help="The port that http-01 validation connects to.")
@click.option("--tls-port", default=443, show_default=True, help="The port that tls-alpn-01 validation connects to.")
@click.option("--acme-bind", help="Address and port of the HTTPS listener.")
@click.option("--status-bind", help="Address and port of the plain-HTTP listener.")
@click.option(
    "--offline-root",
    is_flag=True,
    help="Make no root and nothing that it signs: they come from a ceremony elsewhere (docs/how-to/ceremony.md).",
)
@click.option(
    "--root-key",
    type=click.Choice(AUTHORITY_KEY_TYPES),
    help="The kind of key of the environments' root.  [default: ec-p384]",
)
@click.option(
    "--issuer-key",
    type=click.Choice(AUTHORITY_KEY_TYPES),
    default="ec-p256",
    show_default=True,
    help="The kind of key of issuers. The listeners' own is never ml-dsa, nor their root.",
)
@click.option("--admin-bind", help="Address and port of the admin API. Default: 127.0.0.1:8444.")
@click.option("--pkcs11-module", metavar="PATH", help="Keep all keys but the root's in a token: its PKCS#11 library.")
@click.option("--pkcs11-token", metavar="LABEL", help="The token's label.")
@click.option(
    "--pkcs11-pin", metavar="SECRET", callback=_secret, help="Its PIN: file:PATH, env:NAME or credential:NAME."
)
@json_option
@click.pass_context
def init(
    ctx: click.Context,
    /,
    folder: Path,
    offline_root: bool,  # noqa: FBT001 - click passes it by name
    as_json: bool,  # noqa: FBT001 - as above
    root_key: AuthorityKeyType | None,
    issuer_key: AuthorityKeyType,
    **options: Any,  # noqa: ANN401 - click's
) -> None:
    """Make what a new CA needs: a root, an intermediate for each environment and for the CA's own name, a
    configuration file and the database.

    Running it again makes what is missing and touches nothing else: an environment that was added to the
    configuration file gets its key and certificate. Keys in files are encrypted, under a passphrase that is made up
    too.
    """  # noqa: D205 - click prints the first paragraph as it is
    from acme_ca.cli.opening import load_or_refuse

    path = folder / CONFIG_NAME
    is_new = not path.exists()
    if is_new:
        _refuse_elsewhere(issuer_key, options["pkcs11_module"])
        _write_config(path, starter.text(_choices(root=_root_name(root_key), **options)))
    config = load_or_refuse(path, files=False)
    kinds = {"root_kind": root_key, "issuer_kind": issuer_key}
    outcome = Outcome(config, path, issuer_key, *_perform(config, folder, offline_root=offline_root, **kinds))
    (outcome.report.created if is_new else outcome.report.kept).insert(0, path)
    outcome.warnings = list(_warnings(outcome.report, folder)) if is_new else list(_ignored(ctx))
    if as_json:
        print_json(outcome.document())
    else:
        outcome.show()


def _choices(
    *,
    external_url: str,
    domain: str | None,
    acme_bind: str | None,
    status_bind: str | None,
    admin_bind: str | None,
    resolvers: tuple[str, ...],
    **rest: Any,  # noqa: ANN401 - options that are taken as they are
) -> starter.Choices:
    token = _token(*(rest.pop(f"pkcs11_{name}") for name in ("module", "token", "pin")))
    url = urlsplit(external_url)
    is_here = url.hostname == "localhost"
    anywhere = "127.0.0.1" if is_here else "0.0.0.0"  # noqa: S104 - a CA with a name of its own is there to be reached
    return starter.Choices(
        external_url=external_url,
        domain=domain,
        acme_bind=acme_bind or f"{anywhere}:{url.port or HTTPS_PORT}",
        status_bind=status_bind or f"{anywhere}:8080",
        admin_bind=admin_bind or "127.0.0.1:8444",
        token=token,
        resolvers=resolvers or (starter.system_resolvers() if domain else ()),
        **rest,
    )


def _root_name(kind: AuthorityKeyType | None) -> str:
    """Return what the environments' root is called: of ML-DSA, it is another one than the listeners'."""
    return f"root-{kind}" if kind in MLDSA_KEY_TYPES else "root"


def _refuse_elsewhere(kind: AuthorityKeyType, module: str | None) -> None:
    if kind in MLDSA_KEY_TYPES and module is not None:
        raise click.UsageError(f"a token makes no key of kind {kind}: leave out --pkcs11-module, or --issuer-key")


def _token(module: str | None, label: str | None, pin: str | None) -> starter.Token | None:
    if module is not None and label is not None:
        return starter.Token(str(Path(module).absolute()), label, pin)
    if (module, label, pin) != (None, None, None):
        raise click.UsageError("--pkcs11-module and --pkcs11-token go together, and --pkcs11-pin with both")
    return None


def _write_config(path: Path, text: str) -> None:
    """Write the configuration file, unless what the options ask for cannot be configured."""
    from acme_ca.ceremony.files import write_new
    from acme_ca.config import ConfigError, loads

    try:
        loads(text, path, files=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, text.encode(), 0o644)
    except ConfigError as error:
        refuse("\n".join(f"{mistake.setting}: {mistake.text}" for mistake in error.mistakes))
    except OSError as error:
        refuse(f"{path}: {error.strerror}")


def _perform(config: Config, folder: Path, **how: Any) -> tuple[Report, x509.Certificate | None]:  # noqa: ANN401 - Ceremony's
    """Make what is missing, or end with exit code 1."""
    from acme_ca.ceremony.configured import Ceremony
    from acme_ca.ceremony.errors import CeremonyError
    from acme_ca.keys import KeyAway, KeyUnavailableError

    ceremony = Ceremony(config, folder.absolute(), **how)
    try:
        root = ceremony.perform()
        ceremony.prepare_storage()
    except (CeremonyError, KeyUnavailableError, KeyAway, ValueError) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    upgrade_or_refuse(config)
    return ceremony.report, root


def _warnings(report: Report, folder: Path) -> Iterator[str]:
    if (folder.absolute() / "keys" / "passphrase") in report.created:
        yield (
            f"The passphrase of all keys was made up and lies beside them, in {folder / 'keys' / 'passphrase'}: it "
            "protects backups of the keys, not this host. For more, keep it elsewhere (env:NAME or credential:NAME)."
        )
    roots = (str(path) for path in report.created if isinstance(path, Path) and path.match("keys/root*.key"))
    for root in roots:
        yield (
            f"The root's key, {folder / 'keys' / Path(root).name}, is not needed to serve: move it and a copy of the "
            "passphrase offline. Bring it back to add an environment, and once a year for its revocation list."
        )


def _ignored(ctx: click.Context) -> Iterator[str]:
    given = [
        f"--{name.replace('_', '-')}"
        for name in ctx.params
        if name not in EVERY_TIME and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        yield f"The configuration file exists and is kept as it is: {', '.join(given)} had no effect. Edit the file."


@dataclass(slots=True)
class Outcome:
    """What the operator is told."""

    config: Config
    path: Path
    issuer_key: AuthorityKeyType
    report: Report
    root: x509.Certificate | None
    warnings: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the root's DER, as openssl and browsers show it; None while there is no root."""
        from cryptography.hazmat.primitives.hashes import SHA256

        return None if self.root is None else self.root.fingerprint(SHA256()).hex(":").upper()

    @property
    def other_roots(self) -> dict[str, str]:
        """The same of the roots that are above environments alone, by their files."""
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256

        paths = dict.fromkeys(issuer.root for _, issuer in self.config.issuers)
        others = [path for path in paths if path != self.config.service.issuer.root and path.exists()]
        found = {path: x509.load_pem_x509_certificate(path.read_bytes()) for path in others}
        return {str(path): root.fingerprint(SHA256()).hex(":").upper() for path, root in found.items()}

    @property
    def waiting(self) -> dict[str, str]:
        """What asks for the certificates that a root elsewhere has to sign."""
        how = f"--config {shlex.quote(str(self.path))} --create"
        return {
            str(one): f"acme-ca issuer csr {one} {how} {self._kind_of(one)} --out {one.issuer.name}.csr"
            for one in self.report.waiting
        }

    def _kind_of(self, one: Wanted) -> AuthorityKeyType:
        return self.issuer_key if self.issuer_key in one.kinds else "ec-p256"

    @property
    def directories(self) -> dict[str, str]:
        """The directory URL of each environment."""
        return {name: f"{self.config.external_url}/acme/{name}/directory" for name in self.config.environment}

    @property
    def trust(self) -> dict[str, str]:
        """How to make clients trust the root."""
        root = shlex.quote(str(self.config.service.issuer.root))
        return {
            "Debian, Ubuntu": f"cp {root} /usr/local/share/ca-certificates/acme-ca.crt && update-ca-certificates",
            "Fedora, RHEL": f"trust anchor {root}",
            "certbot": f"REQUESTS_CA_BUNDLE={root}",
            "lego": f"LEGO_CA_CERTIFICATES={root}",
            "cert-manager": f"spec.acme.caBundle: the output of `base64 -w0 {root}`",
        }

    def document(self) -> dict[str, Any]:
        """Render for `--json`."""
        return {
            "config": str(self.path),
            "created": [str(path) for path in self.report.created],
            "kept": [str(path) for path in self.report.kept],
            "root": {
                "certificate": str(self.config.service.issuer.root),
                "sha256": self.fingerprint,
                "not_after": None if self.root is None else clock.rfc3339(self.root.not_valid_after_utc),
            },
            "other_roots": self.other_roots,
            "waiting": self.waiting,
            "directories": self.directories,
            "trust": self.trust,
            "warnings": self.warnings,
        }

    def show(self) -> None:
        """Print for people. Nothing is wrapped or marked up that one would copy."""
        from rich.console import Console

        console = Console(soft_wrap=True, highlight=False, markup=False)
        for title, paths in (("Created", self.report.created), ("Kept", self.report.kept)):
            if paths:
                console.print(title, style="bold")
                console.print("\n".join(f"  {path}" for path in paths))
        console.print("Root certificate, SHA-256", style="bold")
        console.print(f"  {self.fingerprint or 'none yet: put it at ' + str(self.config.service.issuer.root)}")
        tables = (
            ("Roots of environments, SHA-256", self.other_roots),
            ("Directories", self.directories),
            ("Trust the root", self.trust),
            ("Have signed (docs/how-to/ceremony.md)", self.waiting),
        )
        for title, entries in ((title, entries) for title, entries in tables if entries):
            width = max(map(len, entries))
            console.print(title, style="bold")
            console.print("\n".join(f"  {name:{width}}  {value}" for name, value in entries.items()))
        console.print("Serve", style="bold")
        console.print(f"  acme-ca serve --config {shlex.quote(str(self.path))}")
        for warning in self.warnings:
            console.print(f"Warning: {warning}", style="yellow")
