"""The configuration file that `acme-ca init` writes: complete, commented, and the operator's from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from urllib.parse import quote, urlsplit

IpNetwork = IPv4Network | IPv6Network

RESOLV_CONF = Path("/etc/resolv.conf")
LOOPBACK = ("127.0.0.0/8", "::1/128")

_HEAD = """\
# Configuration of acme-ca, written by `acme-ca init` and yours from now on: `init` never changes it again.
# Paths start at the folder of this file. Durations are in seconds.
# `acme-ca config check` names every mistake with its line; docs/configuration.md explains every setting.

# All ACME URLs are built from this one. Clients keep them: choose a name that stays.
external_url = {external_url}

[listener.acme]  # HTTPS; its certificate is issued by this CA and renewed in place
bind = {acme_bind}
workers = 2
threads = 8

[listener.status]  # plain HTTP: issuer certificates, roots, health, metrics
bind = {status_bind}
# Certificates point to this URL (AIA).
url = {status_url}

[listener.admin]  # the admin API: HTTPS with a certificate or a token, and the Unix socket state/admin.sock
bind = {admin_bind}

# Signs the certificates of operators and nothing else; `acme-ca admin enroll` gives them out.
[listener.admin.issuer]
certificate = "certificates/admin.pem"
key = {admin_key}

[database]
# One host: SQLite. Several: "postgresql+psycopg://acme_ca@db.example/acme_ca" and, if it needs one, the password
# as a reference, never as a value:
#   password = "file:keys/database-password"      or "env:NAME", or "credential:NAME" (systemd)
url = "sqlite:///acme-ca.db"

[log]
level = "info"
format = "json"

# Every fact leaves an event in the audit trail; this key signs where its hash chain ends. docs/audit.md
[audit]
key = {audit_key}

# Signs the HTTPS listener's own certificate; permitted for its name alone.
[service.issuer]
{service_issuer}
"""

_ISSUER = """\
name = {name}
certificate = "certificates/{file}.pem"
root = "certificates/{root}.pem"
root_crl = "certificates/{root}-1.crl"
key = {key}"""

_ENVIRONMENT = """\

# ----- {name}: {external_url}/acme/{name}/directory

[environment.{name}]
# The zones whose names it issues for. The issuer's name constraints are made from them: a zone that is added later
# needs a new issuer.
zones = {zones}
default_profile = "server-1h"
profiles = ["server-1h", "client-1h", "workload-1h", "server-8h"]
challenges = {challenges}
# A name that an account has proved needs no new proof for this long.
authorization_lifetime = 28800
# Whether accounts have to be bound to a key that you hand out.
external_account_required = false

# The first issuer that lives long enough for a certificate signs it.
[[environment.{name}.issuer]]
{issuer}

[environment.{name}.validation]
http_port = {http_port}
tls_port = {tls_port}
{resolvers}
{allow}

# Who gets what: the first rule that matches a name decides, and no rule means no.
{policy}"""


@dataclass(frozen=True, slots=True)
class Token:
    """Where keys are to be kept, if not in files: a token of a PKCS#11 library."""

    module: str
    label: str
    pin: str | None

    def key(self, name: str) -> str:
        """Return the settings of a key in it."""
        uri = f"pkcs11:token={quote(self.label, safe='')};object={name}"
        pin = "" if self.pin is None else f", pin = {_string(self.pin)}"
        return f'{{ type = "pkcs11", uri = {_string(uri)}, module = {_string(self.module)}{pin} }}'


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator asked for."""

    external_url: str
    acme_bind: str
    status_bind: str
    admin_bind: str
    environments: tuple[str, ...]
    domain: str | None
    http_port: int
    tls_port: int
    resolvers: tuple[str, ...]
    networks: tuple[IpNetwork, ...]
    token: Token | None = None
    root: str = "root"
    """What the environments' root is called."""

    def key(self, name: str) -> str:
        """Return where a key is kept, as an inline table."""
        if self.token is not None:
            return self.token.key(name)
        return f'{{ type = "software", path = "keys/{name}.key", passphrase = "file:keys/passphrase" }}'

    @property
    def host(self) -> str:
        """The host of the external URL."""
        return urlsplit(self.external_url).hostname or ""

    @property
    def status_url(self) -> str:
        """The status listener's URL, on the host of the external one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.status_bind.rpartition(':')[2]}"


def text(choices: Choices) -> str:
    """Return the configuration file."""
    head = _HEAD.format(
        external_url=_string(choices.external_url),
        acme_bind=_string(choices.acme_bind),
        status_bind=_string(choices.status_bind),
        admin_bind=_string(choices.admin_bind),
        status_url=_string(choices.status_url),
        admin_key=choices.key("admin"),
        audit_key=choices.key("audit"),
        service_issuer=_issuer("service-1", "root", choices),
    )
    return head + "".join(_environment(name, choices) for name in choices.environments)


def system_resolvers(path: Path = RESOLV_CONF) -> tuple[str, ...]:
    """Return the name servers of resolv.conf(5), to be written down where the operator sees and changes them."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    return tuple(entry[1] for entry in words if len(entry) > 1 and entry[0] == "nameserver" and "%" not in entry[1])


def _environment(name: str, choices: Choices) -> str:
    zone = f"{name}.{choices.domain or 'localhost'}"
    return _ENVIRONMENT.format(
        name=name,
        external_url=choices.external_url,
        zones=_array([zone]),
        challenges=_array(["http-01", "dns-01", "tls-alpn-01"]),
        issuer=_issuer(f"{name}-1", choices.root, choices),
        http_port=choices.http_port,
        tls_port=choices.tls_port,
        resolvers="\n".join(_resolvers(choices)),
        allow="\n".join(_allow(choices)),
        policy="\n".join(_policy(name, zone, choices.networks)),
    )


def _issuer(name: str, root: str, choices: Choices) -> str:
    return _ISSUER.format(name=_string(name), file=name, root=root, key=choices.key(name))


def _resolvers(choices: Choices) -> Iterator[str]:
    if choices.resolvers:
        yield "# Who is asked for names. A resolver for some zones only is a table:"
        yield '#   { address = "10.0.0.53", zones = ["corp.example"] }'
        yield f"resolvers = {_array(choices.resolvers)}"
    else:
        yield "# Names under localhost need no resolver; all others do:"
        yield '# resolvers = ["10.0.0.53", "tls://10.0.0.54#dns.example"]'


def _allow(choices: Choices) -> Iterator[str]:
    if choices.domain is None:
        yield "# For trying it out on this host. Loopback is refused unless it is listed here."
        yield f"allow = {_array(LOOPBACK)}"
    else:
        yield "# Loopback and link-local addresses are refused unless they are listed:"
        yield f"# allow = {_array(LOOPBACK)}"


def _policy(environment: str, zone: str, networks: Sequence[IpNetwork]) -> Iterator[str]:
    yield f"[[environment.{environment}.policy]]"
    yield 'name = "own-zones"'
    yield f"dns = {_array(['.' + zone])}  # the zone itself and everything below"
    yield "wildcards = true"
    if networks:
        yield f"ip = {_array([str(network) for network in networks])}"


def _string(value: str) -> str:
    return json.dumps(value)  # a JSON string is a TOML basic string


def _array(values: Sequence[str]) -> str:
    return json.dumps(list(values))
