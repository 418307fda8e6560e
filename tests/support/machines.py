"""A CA whose environment `prod` believes a platform, and admits its machines by their rack."""

from __future__ import annotations

from pathlib import Path

from tests.support.ca import make_ca_files

TRUST = """
trust_domain = "prod.localhost"
provider = [{ type = "oidc", name = "ci", issuer = "https://ci.example" }]
"""
RULE = """
[[environment.prod.workload]]
name = "machines"
provider = "ci"
match = { rack = "r1" }
spiffe = { id = "spiffe://prod.localhost/machine/${sub}", add = "always" }
dns = ["${sub}.prod.localhost"]
profiles = ["workload-1h"]
"""


def make(folder: Path) -> Path:
    """Return its configuration."""
    path = make_ca_files(folder)
    before, place, after = path.read_text().partition("[environment.prod]\n")
    assert place
    path.write_text(before + place + TRUST + after + RULE)
    return path
