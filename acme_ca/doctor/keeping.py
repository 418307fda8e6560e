"""What is kept: keys and their files, issuers and their time, the database, what was issued last."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from pydantic import BaseModel

from acme_ca.config import Config, Issuer, SubCa
from acme_ca.configured_keys import ConfiguredKey, KeyFaultError, configured_keys
from acme_ca.db import Database
from acme_ca.doctor import generations
from acme_ca.doctor.findings import Finding, Host, code_of
from acme_ca.identifiers import Identifier
from acme_ca.issuer_keys import OPERATORS, beforehand, open_key
from acme_ca.issuers import load_issuer
from acme_ca.pki import issuer as pki
from acme_ca.pki.lint import LintError, check_within
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.sub_ca_lint import unsuitable
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import Secret, SecretUnavailableError
from acme_ca.services import ledger

QUIET = timedelta(days=1)
OF_OPERATORS = "listener.admin.issuer"
OF_NO_ISSUER = {OF_OPERATORS, "audit.key"}  # keys of which no chain has to hold
FAULTS = (KeyFaultError, *generations.UNOPENED)
NETWORKED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs", "lustre"}
)


def issuers(host: Host) -> Iterator[Finding]:
    """Open every key, and see how long issuers live and which names they may sign."""
    host = replace(host, config=beforehand(host.config))
    yield from _signer(host.config)
    yield from _opened(host.config, host.config.service.issuer, "service.issuer", [])
    yield from _other_keys(host)
    for name in host.environments:
        settings = host.config.environment[name]
        found: list[pki.Issuer] = []
        yield from generations.look(host, name, found)
        default = _lifetime(host.config, settings.default_profile)
        profile = {**BUILTIN, **host.config.profile}[settings.default_profile]
        if found and not any(issuer.signs_as(profile) and issuer.can_sign(host.now, default) for issuer in found):
            ends = max(issuer.ends_at for issuer in found)
            seen = f"the last one ends at {ends:%Y-%m-%d %H:%M:%S} UTC"
            yield Finding("ISS001", f"environment.{name}", seen, f"one that lives for {default} yet")
        yield from _beyond_constraints(host, name, found)
        if settings.sub_ca is not None:
            yield from _sub_ca(host.config, settings.sub_ca, f"environment.{name}.sub_ca", host.now)


def _other_keys(host: Host) -> Iterator[Finding]:
    admin = host.config.listener.admin
    for one in _keys(host):
        try:
            if one.place == OF_OPERATORS and host.config.signer is not None and admin is not None:
                certificate = x509.load_pem_x509_certificate(admin.issuer.certificate.read_bytes())
                open_key(host.config, one.key, OPERATORS, certificate)
            elif one.place in OF_NO_ISSUER:
                one.check()
        except FAULTS as error:
            yield Finding(code_of(host.config, error), one.place, str(error), "a key that fits what is known in public")


def _signer(config: Config) -> Iterator[Finding]:
    """See whether the signer that runs apart is another user's."""
    if config.signer is not None:
        with suppress(OSError):  # that it is not there is found where keys are opened
            if config.signer_socket.stat().st_uid == os.geteuid():
                yield Finding(
                    "SGN002", str(config.signer_socket), "the socket of this user", "a signer of another user"
                )


def modes(host: Host) -> Iterator[Finding]:
    """Look at who may read and write keys, secrets and the folders they are in."""
    files = {one.key.file for one in _keys(host) if one.key.file is not None}
    files |= {path for name in host.environments for *_, path in generations.published(host, name) if path is not None}
    files |= {path for secret in _secrets_in(host.config) if (path := _file_of(secret)) is not None}
    if (path := _sqlite_file(host.config)) is not None:
        files |= {path}
    for path in sorted(files):
        if (mode := _mode(path)) is not None and mode & (stat.S_IRWXO | stat.S_IWGRP):
            yield Finding("KEY002", str(path), f"mode {mode:04o}", "mode 0600, or 0640 for a group of its own")
    for folder in sorted({path.parent for path in files} | {host.config.state}):
        if (mode := _mode(folder)) is not None and mode & (stat.S_IWOTH | stat.S_IWGRP):
            yield Finding("KEY003", str(folder), f"mode {mode:04o}", "no write permission for others")


def database(host: Host) -> Iterator[Finding]:
    """See whether the database is there, current, and on a disk that can hold it."""
    path = _sqlite_file(host.config)
    if path is not None:
        if not path.exists():  # to open it would make it
            yield Finding("DBS001", "database.url", f"{path} is not there", "the database")
            return
        if (kind := _file_system(path)) in NETWORKED:
            yield Finding("DBS003", str(path), kind, "a file system of this host")
    try:
        with _open(host) as opened:
            opened.require_current()
    except (ServiceUnavailable, SecretUnavailableError) as error:
        yield Finding("DBS001", "database.url", str(error.__cause__ or error), "an answer")
        return
    except RuntimeError as error:
        yield Finding("DBS002", "database.url", str(error), "the tables of this version")
    yield Finding("DBS004", "database.url", "nothing: backups are made from outside", "a backup that was restored once")


def issued(host: Host) -> Iterator[Finding]:
    """See when each environment issued its last certificate, if the database is one: `database` tells if not."""
    try:
        with _open(host) as opened:
            opened.require_current()
            found = {name: ledger.last_issued_at(opened, name) for name in host.environments}
    except (ServiceUnavailable, SecretUnavailableError, RuntimeError):
        return
    for name, last in found.items():
        if last is None or host.now - last > QUIET:
            seen = "none" if last is None else f"the last one at {last:%Y-%m-%d %H:%M:%S} UTC"
            yield Finding("ISU001", f"environment.{name}", seen, f"one within {QUIET}")


def _keys(host: Host) -> Iterator[ConfiguredKey]:
    """Yield the keys of what is looked at."""
    for one in configured_keys(host.config):
        if not one.place.startswith("environment.") or one.place.split(".")[1] in host.environments:
            yield one


def _secrets_in(setting: object) -> Iterator[Secret]:
    """Yield every secret reference below a setting: passwords, tokens of sinks, credentials of providers."""
    if isinstance(setting, Secret):
        yield setting
    elif isinstance(setting, BaseModel):
        for name in type(setting).model_fields:
            yield from _secrets_in(getattr(setting, name))
    elif isinstance(setting, Mapping):
        for value in setting.values():
            yield from _secrets_in(value)
    elif isinstance(setting, tuple | list):
        for value in setting:
            yield from _secrets_in(value)


def _sqlite_file(config: Config) -> Path | None:
    scheme, _, name = config.database.url.partition(":///")
    return Path(name) if scheme == "sqlite" else None


def lifetimes(host: Host) -> Iterator[Finding]:
    """Compare what is offered with what clients can do."""
    for name in host.environments:
        settings = host.config.environment[name]
        for profile in settings.profiles:
            lifetime = _lifetime(host.config, profile)
            place = f"environment.{name}.profiles: {profile}"
            if lifetime < timedelta(hours=1):
                yield Finding("LIF002", place, f"{lifetime}", "an hour, where cert-manager asks")
            if lifetime < timedelta(days=2):
                yield Finding("LIF001", place, f"{lifetime}", "2 days for timers that come twice a day")
        default = _lifetime(host.config, settings.default_profile)
        reuse = timedelta(seconds=settings.authorization_lifetime)
        if timedelta() < reuse < default * 2 / 3:
            place = f"environment.{name}.authorization_lifetime"
            yield Finding("LIF003", place, f"{reuse}", f"more than {default * 2 / 3}, for {settings.default_profile}")


def _opened(config: Config, settings: Issuer, place: str, found: list[pki.Issuer]) -> Iterator[Finding]:
    try:
        found.append(load_issuer(config, settings, ""))
    except FAULTS as error:
        yield Finding(code_of(config, error), place, str(error), "a key that fits the certificate")


def _sub_ca(config: Config, settings: SubCa, place: str, now: datetime) -> Iterator[Finding]:
    """Open what signs sub-CAs, and see whether each rule can be signed under: by name, by depth and by time."""
    found: list[pki.Issuer] = []
    yield from _opened(config, settings, place, found)
    for number, former in enumerate(settings.former):
        yield from _opened(config, former, f"{place}.former[{number}]", [])
    for issuer in found:
        for number, rule in enumerate(settings.rule):
            reason = unsuitable(issuer, rule.dns, rule.ip, rule.path_length)
            if reason is not None:
                yield Finding("POL002", f"{place}.rule[{number}]", reason, f"what {issuer.id} may sign")
        longest = timedelta(seconds=max((rule.lifetime for rule in settings.rule), default=0))
        if not issuer.can_sign(now, longest):
            yield Finding("ISS006", place, f"{issuer.id} ends at {issuer.ends_at:%Y-%m-%d}", f"{longest} from now")


def _beyond_constraints(host: Host, name: str, found: list[pki.Issuer]) -> Iterator[Finding]:
    settings = host.config.environment[name]
    wanted = {f"zones: {zone}": Identifier("dns", zone) for zone in settings.zones}
    for rule in settings.policy:
        for network in () if rule.deny else rule.ip:
            wanted |= {f"policy: {network}": Identifier("ip", str(edge)) for edge in (network[0], network[-1])}
    for workload in settings.workload:
        for template in workload.dns:
            known = template.replace("*", "a").split("}")[-1].lstrip("-.")  # the labels that do not depend on claims
            wanted[f"workload {workload.name}: {template}"] = Identifier("dns", known)
    for issuer in found:
        for place, identifier in wanted.items():
            try:
                check_within([identifier], issuer.certificate)
            except LintError as error:
                yield Finding("POL001", f"environment.{name}.{place}", str(error), f"a name that {issuer.id} may sign")


def _lifetime(config: Config, profile: str) -> timedelta:
    return timedelta(seconds={**BUILTIN, **config.profile}[profile].lifetime)


@contextmanager
def _open(host: Host) -> Iterator[Database]:
    opened = Database(host.config.database.url, host.config.database.reveal_password(), only_look=True)
    try:
        yield opened
    finally:
        opened.close()


def _file_of(secret: Secret) -> Path | None:
    return Path(secret.name) if secret.source == "file" else None


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _file_system(path: Path) -> str:
    """Return the kind of file system that a path is on, from the kernel's table of mounts; the nearest mount counts."""
    real, best, kind = os.path.realpath(path), "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if (real == mount or real.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, found
    return kind
