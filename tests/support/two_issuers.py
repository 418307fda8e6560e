"""A CA whose environment `test` has a second issuer, test-2, below the first one."""

from __future__ import annotations

from pathlib import Path

from tests.support.ca import make_ca_files

OPENING = "[environment.test.validation]"


def table(environment: str, name: str) -> str:
    """Return the configuration of one more issuer, as `acme-ca init` keeps them."""
    return f"""[[environment.{environment}.issuer]]
name = "{name}"
certificate = "certificates/{name}.pem"
root = "certificates/root.pem"
root_crl = "certificates/root-1.crl"
key = {{ type = "software", path = "keys/{name}.key", passphrase = "file:keys/passphrase" }}

"""


def make_two_issuers(folder: Path, *options: str) -> Path:
    """Run `acme-ca init`, add the second issuer, and run it again; return the configuration file."""
    path = make_ca_files(folder, *options)
    path.write_text(path.read_text().replace(OPENING, table("test", "test-2") + OPENING))
    return make_ca_files(folder)
