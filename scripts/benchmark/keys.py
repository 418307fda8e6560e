"""Signatures a second of each place where a key can be: `python -m scripts.benchmark.keys`.

A token of SoftHSM is made for it, and its own limit is measured beside what the CA gets out of it: `C_Sign` alone, by
the same library, in one session. Keys in memory are cryptography's own. Each figure is the best of several rounds.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pkcs11 import Mechanism

from acme_ca import keys
from acme_ca.keys import Pkcs11Key, PrivateKey, SoftwareKey, pkcs11_library
from acme_ca.keys.pkcs11_library import Door
from acme_ca.keys.pkcs11_objects import private_keys
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.secret import Secret
from acme_ca.vocabulary import MLDSA_KEY_TYPES, KeyType

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234567"
SECONDS = 1.0
ROUNDS = 5
KINDS: tuple[KeyType, ...] = ("ec-p256", "ec-p384", "rsa-2048", "rsa-4096", "ed25519", *MLDSA_KEY_TYPES)
DIGEST = secrets.token_bytes(32)
RAW = {"ec": Mechanism.ECDSA, "rs": Mechanism.RSA_PKCS, "ed": Mechanism.EDDSA}


def sign(key: PrivateKey) -> bytes:
    """Sign something short."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(DIGEST, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(DIGEST, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(DIGEST)


def rate(work: Callable[[], object], threads: int = 1) -> float:
    """Return how often a second `work` is done, by so many threads."""
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            end = time.monotonic() + SECONDS / ROUNDS
            done = sum(pool.map(_count, [work] * threads, [end] * threads))
            best = max(best, done / (SECONDS / ROUNDS))
    return best


def _count(work: Callable[[], object], end: float) -> int:
    done = 0
    while time.monotonic() < end:
        work()
        done += 1
    return done


@contextmanager
def token(folder: Path) -> Iterator[Path]:
    """Make a token in a folder; yield the file of its PIN."""
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n", encoding="utf-8")
    words = ["--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", PIN]
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)  # noqa: S603, S607 - as a test does
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN, encoding="utf-8")
    yield folder / "pin"
    keys.let_go()


def raw(backend: Pkcs11Key) -> float:
    """Return the token's own limit: signatures of one thread in one session."""
    door, library = Door(backend.uri, backend.pin), pkcs11_library.library(MODULE)
    mechanism = RAW[backend.stem[:2]]

    def work(session: pkcs11.Session) -> float:
        (key,) = private_keys(session, backend.uri)
        return rate(lambda: key.sign(DIGEST, mechanism=mechanism))

    with library.turn("bench"):
        return library.with_session(door, work)


def main() -> None:
    """Print a table."""
    columns = ("kind", "memory", "token, raw", "token, 1 thread", "token, 8 threads")
    sys.stdout.write(" | ".join(columns) + "\n")
    with TemporaryDirectory() as name, token(Path(name)) as pin:
        for kind in KINDS:
            software = SoftwareKey(path=Path(name) / f"{kind}.key", passphrase=Secret("env", "BENCH_PASSPHRASE"))
            os.environ["BENCH_PASSPHRASE"] = secrets.token_hex(16)
            memory = software.create(kind)
            uri = Pkcs11Uri(token="bench", label=kind)  # noqa: S106 - a label
            backend = Pkcs11Key(type="pkcs11", uri=uri, module=MODULE, pin=Secret("file", str(pin)), keep_alive=0)
            figures = [rate(partial(sign, memory))]
            if kind in backend.kinds:
                stored = backend.create(kind)
                figures += [raw(backend), *(rate(partial(sign, stored), n) for n in (1, 8))]
            sys.stdout.write(" | ".join([kind, *(f"{figure:,.0f}" for figure in figures)]) + "\n")


if __name__ == "__main__":
    main()
