"""The table of docs/clients.md: collected while the tests run, written when a run has tried everything."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.scenario import SCENARIOS, Scenario
from tests.support.tools import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.e2e.scenario import Client

PAGE = ROOT / "docs" / "clients.md"
SHARED = ROOT / ".cache" / "clients" / "outcomes"

ABSENT = {"acme.sh": "none of the package registries that the tests may use carries it"}

HEAD = """\
# Clients

<!-- Written by the tests (tests/e2e/outcomes.py) whenever a run of them has tried every client. Do not edit. -->

Unmodified clients, tried against this CA as `acme-ca init` and `acme-ca serve` make it. ✓: done by the tests, with the
chain verified by `openssl verify -x509_strict` and by a TLS handshake. Blank: the client cannot, for the reason below.
`acme-ca client-config` prints ready configuration for many of them: [how-to/clients.md](how-to/clients.md).

| scenario | what is done |
|---|---|
| http-01, dns-01, tls-alpn-01, dns-persist-01 | a certificate for a name, proved this way |
| wildcard | `*.zone` and `zone` in one certificate |
| ip | a certificate for an IP address (RFC 8738) |
| profile | the profile `server-8h` in place of the default |
| eab | an account in an environment that requires external account binding |
| renew | a second certificate in place of the first |
| ari | the same because the CA says so by renewal information (RFC 9773) |
| revoke | the CA refuses to revoke it once more |
| rollover | a new account key, with which the next certificate is got |
| deactivate | the account is closed |

"""


@dataclass
class Outcomes:
    """What became of each client and scenario in this process, and which versions were tried."""

    results: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def note(self, client: type[Client], scenario: Scenario, outcome: str) -> None:
        """Note that a test passed, failed or was skipped; the first trouble stays."""
        row = self.results.setdefault(client.name, {})
        if row.get(scenario, "passed") == "passed":
            row[scenario] = outcome

    def publish(self, clients: Sequence[type[Client]]) -> None:
        """Add to what other test processes of the same run found; write the page if nothing is missing any more."""
        folder = SHARED / os.environ.get("PYTEST_XDIST_TESTRUNUID", f"alone-{os.getpid()}")
        folder.mkdir(parents=True, exist_ok=True)
        with (SHARED / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            own = folder / f"{os.getpid()}.json"
            own.write_text(json.dumps({"results": self.results, "versions": self.versions}))
            everything = gathered(folder)
            if everything.is_complete(clients):
                PAGE.parent.mkdir(exist_ok=True)
                PAGE.write_text(everything.page(clients))
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    def is_complete(self, clients: Sequence[type[Client]]) -> bool:
        """Tell whether every client was there and tried all that it can."""
        return all(
            self.results.get(client.name, {}).get(scenario) in {"passed", "failed"}
            for client in clients
            for scenario in SCENARIOS
            if scenario not in client.cannot
        )

    def page(self, clients: Sequence[type[Client]]) -> str:
        """Render the page; it changes with outcomes and versions only."""
        return HEAD + "\n".join((*self.table(clients), "", *reasons(clients), "", *notes(clients), ""))

    def table(self, clients: Sequence[type[Client]]) -> Iterator[str]:
        """Render clients and scenarios."""
        yield f"| client | version | {' | '.join(SCENARIOS)} |"
        yield "|" + "---|" * (len(SCENARIOS) + 2)
        for client in clients:
            cells = [self.cell(client, scenario) for scenario in SCENARIOS]
            yield f"| {client.name} | {self.versions[client.name]} | {' | '.join(cells)} |"
        for name in ABSENT:
            yield f"| {name} | not tried | {' | '.join(' ' for _ in SCENARIOS)} |"

    def cell(self, client: type[Client], scenario: Scenario) -> str:
        """Render one outcome."""
        if scenario in client.cannot:
            return " "
        return "✓" if self.results[client.name][scenario] == "passed" else "**fails**"


def gathered(folder: Path) -> Outcomes:
    """Read what all processes of a run found."""
    found = Outcomes()
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        for client, row in document["results"].items():
            found.results.setdefault(client, {}).update(row)
        found.versions |= document["versions"]
    return found


def reasons(clients: Sequence[type[Client]]) -> Iterator[str]:
    """Render why clients cannot do what they cannot."""
    yield "## What a client cannot do\n"
    for client in clients:
        grouped: dict[str, list[str]] = {}
        for scenario in SCENARIOS:
            if scenario in client.cannot:
                grouped.setdefault(client.cannot[scenario], []).append(scenario)
        if grouped:
            told = "; ".join(f"{', '.join(scenarios)}: {reason}" for reason, scenarios in grouped.items())
            yield f"- **{client.name}**: {told}."
    for name, reason in ABSENT.items():
        yield f"- **{name}**: not tried: {reason}."


def notes(clients: Sequence[type[Client]]) -> Iterator[str]:
    """Render what a user of each client has to know."""
    yield "## What to know\n"
    for client in clients:
        yield f"- **{client.name}**: {client.notes}"
