"""What the doctor can find, code by code. docs/doctor.md has the same table, which a test compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from acme_ca.config import Config
from acme_ca.keys import KeyAway, KeyRefused

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding: how bad it is, what it means, and what to do."""

    severity: Severity
    meaning: str
    fix: str


CODES = {
    "CFG001": Code(
        "error", "The configuration has a mistake.", "Correct the setting; `acme-ca config check` looks again."
    ),
    "CHK001": Code(
        "error", "A check did not end in its time.", "See what it waits for; give it longer with `--timeout`."
    ),
    "CHK002": Code(
        "error", "A check failed by itself.", "Report it with the text that is shown: it is a defect of acme-ca."
    ),
    "DNS001": Code(
        "warning",
        "No resolver is configured.",
        "Name resolvers in `validation.resolvers`: without them only names under localhost are found.",
    ),
    "DNS002": Code(
        "error",
        "A resolver does not answer.",
        "Start it, open the way to it (port 53, UDP and TCP), or take it out of `validation.resolvers`.",
    ),
    "NET001": Code(
        "info",
        "Validations go to other ports than ACME says.",
        "Nothing, if clients answer there; otherwise remove `http_port` and `tls_port`.",
    ),
    "NET002": Code(
        "error",
        "There is no route from this host to where validations go.",
        "Give the host a route, or take the network out of `validation.allow`.",
    ),
    "TLS001": Code(
        "error",
        "The host of `external_url` does not resolve on this host.",
        "Publish the name in DNS, or correct `external_url`.",
    ),
    "TLS002": Code(
        "error",
        "Nothing answers at `external_url`.",
        "Start `acme-ca serve`; check `listener.acme.bind`, proxies and firewalls.",
    ),
    "TLS003": Code(
        "error",
        "The certificate at `external_url` does not verify by the CA's root.",
        "Let TLS through to acme-ca, or renew what the proxy in front of it shows.",
    ),
    "TLS004": Code(
        "warning",
        "The chain at `external_url` is not in order, or has the root in it.",
        "Send the leaf first, then each certificate's issuer, and no root.",
    ),
    "CLK001": Code(
        "error",
        "The clock of this host is wrong, or that of the host it was compared with.",
        "Run a time service (chrony, systemd-timesyncd) on both.",
    ),
    "CLK002": Code(
        "info", "The clock could not be compared with another host's.", "Make sure that a time service runs."
    ),
    "KEY001": Code(
        "error",
        "A key cannot be used, or does not fit its certificate.",
        "Restore key, passphrase and certificate of the issuer; `acme-ca init` makes what is missing.",
    ),
    "KEY002": Code(
        "error",
        "A key, a secret or the database can be read or written by others on this host.",
        "`chmod 0600` the file, and give it to the user of acme-ca.",
    ),
    "KEY003": Code(
        "error", "A folder of keys or run-time files can be written by others on this host.", "`chmod go-w` the folder."
    ),
    "SGN001": Code(
        "error",
        "The signer does not answer, or will not sign with a key.",
        "Start `acme-ca signer`, or reload it; see its log, and `socket`, `users` and `mode` of `[signer]`.",
    ),
    "SGN002": Code(
        "warning",
        "The signer runs as the user of those who ask it, who can read its keys.",
        "Give the signer and the keys to a user of its own: docs/how-to/signer.md.",
    ),
    "ISS001": Code(
        "error",
        "No issuer of an environment lives long enough for its default profile.",
        "`acme-ca issuer rotate` makes the next one (docs/how-to/rotation.md).",
    ),
    "ISS002": Code(
        "warning",
        "An issuer, or something above it, ends, and the next one is due.",
        "`acme-ca issuer rotate` while it still signs (docs/how-to/rotation.md).",
    ),
    "ISS006": Code(
        "error",
        "The issuer of sub-CAs ends before the longest sub-CA that its rules allow.",
        "Make the rules' `lifetime` shorter, or give `sub_ca` a new name, files and key, and run `acme-ca init`.",
    ),
    "ISS007": Code(
        "warning",
        "A distrusted issuer is still configured.",
        "`acme-ca issuer distrusted` says what is left to do; then take it out of the configuration "
        "(docs/how-to/compromise.md).",
    ),
    "CRL001": Code("error", "A CRL is past its nextUpdate.", "See in the log why the worker makes no new one."),
    "CRL002": Code(
        "error", "A CRL is none, or its issuer has not signed it.", "Look at what answers at the status listener's URL."
    ),
    "CRL003": Code(
        "info",
        "There is no CRL of an issuer, or the status listener does not answer.",
        'Nothing, if no profile has `revocation = "crl"` and the server is stopped.',
    ),
    "CRL004": Code(
        "error",
        "The revocation list of a root is past its nextUpdate, or cannot be used.",
        "Sign a new one with the root's key (docs/how-to/ceremony.md), put it in its place and reload.",
    ),
    "CRL005": Code(
        "warning",
        "The revocation list of a root is past its nextUpdate soon.",
        "Sign a new one with the root's key (docs/how-to/ceremony.md), put it in its place and reload.",
    ),
    "CRL006": Code(
        "warning",
        "What is served is not the revocation list of a root that is in its file.",
        "Reload the server (SIGHUP), and see in its log whether it refused the file.",
    ),
    "CRL007": Code(
        "warning",
        "An issuer names a revocation list of its root that is not published here.",
        "Set `root_crl` of the issuer to a file of that name, unless the list is published elsewhere.",
    ),
    "CRL008": Code(
        "error",
        "An issuer is revoked by its root's list.",
        "Put a new issuer in its place: relying parties that look at the list refuse what it signs.",
    ),
    "ANC001": Code(
        "error", "An anchor is no root, or has expired.", "Put the right file there, or take it out of `anchors`."
    ),
    "ANC002": Code(
        "warning",
        "An issuer is below a root that relying parties may not have yet.",
        "Keep the old issuer first until then, or let the old root cross-sign the new one (docs/how-to/root-roll.md).",
    ),
    "POL001": Code(
        "error",
        "Policy grants names that the issuer's name constraints forbid.",
        "Take the names out of the rule, or make an issuer for them.",
    ),
    "POL002": Code(
        "error",
        "A rule for sub-CAs asks for more than their issuer may sign.",
        "Change the rule, or give `sub_ca` a new name, files and key, and run `acme-ca init`.",
    ),
    "LIF001": Code(
        "info",
        "Certificates of a profile end before packaged timers of clients come again.",
        "`acme-ca client-config` prints timers for each client; docs/clients.md says why.",
    ),
    "LIF002": Code(
        "warning",
        "A profile is too short for cert-manager, whose certificates last an hour at least.",
        "Offer a longer profile to cert-manager.",
    ),
    "LIF003": Code(
        "warning",
        "Names have to be proved for each renewal, as their authorizations end before it.",
        "Make `authorization_lifetime` longer than two thirds of the lifetime of the profile.",
    ),
    "DBS001": Code("error", "The database does not answer.", "Start it; check `database.url` and the password."),
    "DBS002": Code("error", "The tables of the database are not those of this version.", "Run `acme-ca db upgrade`."),
    "DBS003": Code(
        "error",
        "The SQLite database is on a network file system.",
        "Move it to a local disk, or use PostgreSQL: locks over a network lose data.",
    ),
    "DBS004": Code(
        "info",
        "Backups cannot be seen from here.",
        "Make sure that database, keys and configuration are saved, and that a restore was tried.",
    ),
    "LSN001": Code(
        "warning",
        "A listener for operators is open to other hosts.",
        "Bind it to a loopback address, or let a firewall say who may reach it.",
    ),
    "LSN002": Code(
        "warning",
        "The ACME listener is on a loopback address, and its clients are elsewhere.",
        "Bind it to an address that clients reach, unless a proxy on this host passes TLS through.",
    ),
    "PRV001": Code(
        "error",
        "The keys of a provider of workload identity cannot be had.",
        "Open the way to it; correct its URL, `ca_file` or file.",
    ),
    "PRV002": Code(
        "info",
        "The keys of a provider were read just now; how old those of the running server are is not known.",
        "Nothing.",
    ),
    "ISU001": Code(
        "info",
        "An environment has issued no certificate lately, as far as the newest lines of the ledger tell.",
        "Nothing, if nobody asked for one.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found. `place` is the setting, file or URL that it is about."""

    code: str
    place: str
    seen: str
    expected: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CODES[self.code].severity

    def document(self) -> dict[str, str]:
        """Render as a JSON object."""
        kind = CODES[self.code]
        return {
            "code": self.code,
            "severity": kind.severity,
            "place": self.place,
            "seen": self.seen,
            "expected": self.expected,
            "fix": kind.fix,
        }


@dataclass(frozen=True, slots=True)
class Host:
    """What is looked at: the configuration, the environments that were asked about, and the time of one question."""

    config: Config
    environments: Sequence[str]
    now: datetime
    timeout: float


def code_of(config: Config, error: Exception) -> str:
    """Return the code of a key that cannot be used: of the signer, where it is with one that is away or refuses."""
    return "SGN001" if config.signer is not None and isinstance(error, KeyAway | KeyRefused) else "KEY001"
