#!/usr/bin/env python3
"""A stand-in for a Kubernetes cluster, for `scripts/run --workload`: it signs the tokens of two service accounts.

    workload_demo.py prepare DIR         make its key, and let the environment prod of the CA in DIR believe it
    workload_demo.py token DIR ACCOUNT   print the token of a new pod of this service account in the namespace pay

The CA reads the cluster's public keys from a file, as it does where it cannot reach the cluster.
"""

import argparse
import json
import re
import secrets
import sys
import time
import tomllib
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER = "https://kubernetes.default.svc.cluster.local"
NAMESPACE = "pay"
LIFETIME = 600  # seconds, the shortest that a cluster gives

SETTINGS = """\
trust_domain = "prod.localhost"
provider = [
    { type = "kubernetes", name = "demo", issuer = "ISSUER", jwks = { source = "file", file = "demo/jwks.json" } },
]
"""
RULE = """
# For `scripts/run --workload`: certificates of one minute, so that their renewal can be watched.
[profile.workload-1m]
description = "A workload's identity, one minute"
lifetime = 60
backdate = 5
extended_key_usages = ["serverAuth", "clientAuth"]
revocation = "none"
may_carry_uri = true

[[environment.prod.workload]]
name = "demo-services"
provider = "demo"
match = { "kubernetes.namespace" = "pay" }
spiffe = { id = "spiffe://prod.localhost/ns/${kubernetes.namespace}/sa/${kubernetes.serviceaccount}", add = "always" }
dns = ["${kubernetes.serviceaccount}.${kubernetes.namespace}.prod.localhost"]
profiles = ["workload-1h", "workload-1m"]
"""


def prepare(folder: Path) -> None:
    """Make the cluster's key and the CA's settings, unless they are there."""
    demo, configuration = folder / "demo", folder / "acme-ca.toml"
    demo.mkdir(exist_ok=True)
    if not (demo / "cluster.json").exists():
        key = RSAKey.generate_key(2048, {"kid": "demo", "use": "sig", "alg": "RS256"})
        (demo / "cluster.json").write_text(json.dumps(key.as_dict(private=True)))
        (demo / "cluster.json").chmod(0o600)
        (demo / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    text = configuration.read_text()
    if "demo-services" not in text:
        profiles = re.search(r"\[environment\.prod\](?:\n(?!\[).*)*?\nprofiles = \[", text)
        if profiles is None:
            raise SystemExit(f"{configuration} has no list of profiles in [environment.prod] to add one to")
        text = f'{text[: profiles.end()]}"workload-1m", {text[profiles.end() :]}'
        place = "[environment.prod]\n"
        text = text.replace(place, place + SETTINGS.replace("ISSUER", ISSUER), 1) + RULE
        configuration.write_text(text)


def token(folder: Path, account: str) -> str:
    """Return the token of a new pod, made out to the environment prod."""
    external_url = tomllib.loads((folder / "acme-ca.toml").read_text())["external_url"]
    now = int(time.time())
    pod = secrets.token_hex(4)
    claims = {
        "iss": ISSUER,
        "sub": f"system:serviceaccount:{NAMESPACE}:{account}",
        "aud": [f"{external_url}/acme/prod/workload"],
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_hex(16),
        "kubernetes.io": {
            "namespace": NAMESPACE,
            "serviceaccount": {"name": account, "uid": f"{account}-account"},
            "pod": {"name": f"{account}-{pod}", "uid": f"{account}-{pod}-uid"},
        },
    }
    key = RSAKey.import_key(json.loads((folder / "demo" / "cluster.json").read_text()))
    return jwt.encode({"alg": "RS256", "kid": "demo"}, claims, key)


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description="A stand-in for a Kubernetes cluster.")
    parser.add_argument("what", choices=("prepare", "token"))
    parser.add_argument("folder", type=Path, help="where the CA lives")
    parser.add_argument("account", nargs="?", default="api", help="a service account")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        prepare(arguments.folder)
    else:
        sys.stdout.write(f"{token(arguments.folder, arguments.account)}\n")


if __name__ == "__main__":
    main()
