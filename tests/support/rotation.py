"""Issuers that follow each other, in a CA whose root's key is here."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from acme_ca.authority import Authority
from acme_ca.ceremony import rotation
from acme_ca.ceremony.configured import root_key_in
from acme_ca.issuers.lines import Line
from acme_ca.services import generations


def line(ca: Authority, environment: str = "test") -> Line:
    """The generations of the only issuer of an environment, as the database has them."""
    (found,) = generations.lines(ca.database, ca.config, environment)
    return found


def rotate(ca: Authority, folder: Path, environment: str = "test") -> datetime:
    """Make the next issuer and publish it; when it signs."""
    found = line(ca, environment)
    plan = rotation.plan(ca.config, ca.database, found, root_key_in(ca.config, folder / "keys", found.settings.root))
    done = rotation.rotate(ca.config, ca.database, plan, "here", by="uid:0")
    assert done.signs_from is not None
    return done.signs_from
