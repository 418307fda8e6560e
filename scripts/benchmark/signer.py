"""What the signer costs an issuance: `python -m scripts.benchmark.signer`.

An issuer signs leafs itself, and behind `acme-ca signer`, on SQLite. Each leaf has its claim in the ledger, which is
made before it is measured. Rounds of both take turns, so that a busy machine is as busy for both; the median counts,
and the ratio of each pair of rounds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.config import Config, load
from acme_ca.identifiers import Identifier
from acme_ca.issuer_keys import holding
from acme_ca.models import base
from acme_ca.models.certificate import Certificate, serial_text
from acme_ca.pki.issuer import Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.validity import validity
from acme_ca.public_keys import spki_sha256

LEAFS = 400  # in a round
ROUNDS = 7
PROFILE = "server-1h"
KEY = ec.generate_private_key(ec.SECP256R1())


@contextmanager
def running(folder: Path) -> Iterator[Config]:
    """Make a CA with a signer in a folder, and run the signer."""
    words = [sys.executable, "-m", "acme_ca"]
    subprocess.run([*words, "init", "--dir", folder], check=True, capture_output=True)  # noqa: S603 - this very program
    path = folder / "acme-ca.toml"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n[signer]\nstart = false\n")
    config = load(path)
    with subprocess.Popen([*words, "signer", "--config", path], stdout=subprocess.DEVNULL) as process:  # noqa: S603 - as above
        try:
            while not config.signer_socket.is_socket():
                time.sleep(0.1)
            yield config
        finally:
            process.terminate()


def claims(ca: Authority, issuer: Issuer) -> list[LeafRequest]:
    """Claim serials, and return what is to be signed."""
    now = clock.now()
    start, end = validity(BUILTIN[PROFILE], now)
    name, key = Identifier("dns", "a.prod.localhost"), KEY.public_key()
    wanted = [LeafRequest((name,), (), key, BUILTIN[PROFILE], new_serial(), start, end) for _ in range(LEAFS)]
    with ca.database.write() as connection:
        base.insert(connection, *(_line(one, issuer) for one in wanted))
    return wanted


def _line(wanted: LeafRequest, issuer: Issuer) -> Certificate:
    return Certificate(
        serial=serial_text(wanted.serial),
        environment="prod",
        account_id="bench",
        order_id=base.new_id(),
        issuer_id=issuer.id,
        authority_key_id=issuer.key_id,
        profile=PROFILE,
        policy_version="1",
        names=[str(name) for name in wanted.identifiers],
        key_sha256=spki_sha256(wanted.public_key),
        not_before=wanted.not_before,
        not_after=wanted.not_after,
        created_at=clock.now(),
    )


def seconds(issuer: Issuer, wanted: Sequence[LeafRequest], threads: int) -> float:
    """Return how long a leaf takes, signed by so many threads."""
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(issuer.issue, wanted):
            pass
    return (time.monotonic() - began) / len(wanted)


def main() -> None:
    """Print a table."""
    sys.stdout.write("threads | leaf by its own key, µs | behind the signer, µs | ratio (least to most)\n")
    with TemporaryDirectory() as name, running(Path(name) / "ca") as config:
        for threads in (1, 8):
            pairs = measured(config, threads)
            ratios = sorted(far / near for near, far in pairs)
            near, far = (1e6 * median(side) for side in zip(*pairs, strict=True))
            spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            sys.stdout.write(f"{threads} | {near:,.0f} | {far:,.0f} | {spread}\n")


def measured(config: Config, threads: int) -> list[tuple[float, float]]:
    """Return how long a leaf takes in each round, with the key at hand and behind the signer."""
    with closing(Authority(holding(config))) as alone, closing(Authority(config)) as behind:
        own, away = (ca.environments["prod"].issuers[0] for ca in (alone, behind))
        return [
            (seconds(own, claims(alone, own), threads), seconds(away, claims(behind, away), threads))
            for _ in range(ROUNDS)
        ]


if __name__ == "__main__":
    main()
