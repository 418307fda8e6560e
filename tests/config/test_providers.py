"""acme_ca.config: what the providers of an environment need, and what rules can ask of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acme_ca.config import Config, ConfigError, load
from tests.support.ca import make_ca_files


def test_files_of_providers_have_to_be_there(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)
    kubernetes = {
        "type": "kubernetes",
        "issuer": "https://k.example",
        "jwks": {"source": "url", "url": "https://k.example/keys", "ca_file": "no-1.pem"},
        "token_review": {"api": "https://k.example", "token": "env:TOKEN", "ca_file": "no-2.pem"},
    }
    bundle = {"file": "no-3.json"}
    providers: list[dict[str, Any]] = [
        kubernetes,
        {"type": "oidc", "issuer": "https://o.example", "jwks": {"source": "file", "file": "no-4.json"}},
        {"type": "spiffe", "trust_domain": "spire.example", "bundle": bundle},
        {"type": "x5c", "ca_file": "no-5.pem", "intermediates_file": "no-6.pem"},
        {"type": "aws-sigv4", "accounts": ["123456789012"], "regions": ["eu-west-1"], "ca_file": "no-7.pem"},
    ]
    text = path.read_text()
    for number, provider in enumerate(providers):
        text += f"\n[[environment.prod.provider]]\nname = 'p{number}'\n"
        text += "".join(f"{name} = {toml(value)}\n" for name, value in provider.items())
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    missing = {mistake.text.partition("there is no file ")[2] for mistake in caught.value.mistakes}
    assert missing == {f"{tmp_path}/no-{number}.{'json' if number in {3, 4} else 'pem'}" for number in range(1, 8)}
    assert load(path, files=False)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


def loaded(path: Path, review: str) -> Config:
    """The configuration with a rule that asks for liveness."""
    path.write_text(path.read_text() + LIVELY.replace("REVIEW", review))
    return load(path)


LIVELY = """
[[environment.prod.provider]]
name = "cluster"
type = "kubernetes"
issuer = "https://k.example"
REVIEW
[[environment.prod.workload]]
name = "pods"
provider = "cluster"
dns = ["${kubernetes.serviceaccount}.prod.localhost"]
match = { "kubernetes.namespace" = "pay" }
liveness = true
"""


@pytest.mark.parametrize(
    "review", ["", 'token_review = { api = "https://k.example", token = "env:TOKEN", liveness = "off" }']
)
def test_a_rule_cannot_ask_for_liveness_where_nobody_can_tell(tmp_path: Path, review: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(make_ca_files(tmp_path), review)
    (mistake,) = caught.value.mistakes
    assert mistake.setting == "environment.prod.workload[0].liveness"
    assert mistake.text.startswith("provider 'cluster' cannot tell whether")


def test_a_rule_may_ask_a_cluster_that_can_tell(tmp_path: Path) -> None:
    review = 'token_review = { api = "https://k.example", token = "env:TOKEN", liveness = "pod" }'
    assert loaded(make_ca_files(tmp_path), review).environment["prod"].workload[0].liveness
