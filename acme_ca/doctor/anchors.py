"""The roots that are published: whether they are roots, and were there before something was signed below them."""

from __future__ import annotations

from collections.abc import Iterator

from acme_ca.config import Environment
from acme_ca.doctor.findings import Finding, Host
from acme_ca.doctor.roots import age, served
from acme_ca.root_files import load_anchor, load_anchor_crl
from acme_ca.services.anchors import look


def published(host: Host) -> Iterator[Finding]:
    """Look at the anchors of each environment, at their lists, and at the roots of its issuers."""
    for name in host.environments:
        settings = host.config.environment[name]
        yield from _anchors(host, name, settings)
        yield from _lists(host, settings)
        yield from _announced(host, name, settings)


def _anchors(host: Host, name: str, settings: Environment) -> Iterator[Finding]:
    for number, path in enumerate(settings.anchors):
        place = f"environment.{name}.anchors[{number}]"
        try:
            ends = load_anchor(path).not_valid_after_utc
        except (OSError, ValueError) as error:
            yield Finding("ANC001", place, str(error), "one root in PEM")
            continue
        if ends <= host.now:
            yield Finding("ANC001", place, f"{path} expired at {ends:%Y-%m-%d %H:%M:%S} UTC", "a root that is valid")


def _lists(host: Host, settings: Environment) -> Iterator[Finding]:
    for path in settings.anchor_crls:
        try:
            crl = load_anchor_crl(path, settings.anchors)
        except (OSError, ValueError) as error:
            yield Finding("CRL004", str(path), str(error), "a list that an anchor has signed")
        else:
            yield from age(host, str(path), crl)
            yield from served(host, f"{host.config.listener.status.url}/crl/{path.name}", crl)


def _announced(host: Host, name: str, settings: Environment) -> Iterator[Finding]:
    """Say whose root is too new. What cannot be read is told by other checks."""
    for found in look(host.config, name, settings.all_issuers, host.now):
        expected = f"published for {settings.publish_ahead} seconds (publish_ahead) before it is needed"
        yield Finding("ANC002", f"environment.{name}.issuer: {found.issuer}", str(found), expected)
