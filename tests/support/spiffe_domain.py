"""A SPIFFE trust domain of somebody else: its CA, its SVIDs of both kinds, and its bundle endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.support import web
from tests.support.jws import Kind, PrivateKey, algorithm, b64, public_jwk, shared_key
from tests.support.pop import Authority, Holder, der64, distinguished, now, signature, tls_server

PATH = "/bundle"


@dataclass
class SpiffeDomain:
    """A trust domain. `number` tells its keys from those of others; `extra` are more keys of the bundle."""

    name: str
    number: int = 0
    sequence: int | None = 1
    hint: int | None = 300
    authorities: list[Authority] = field(default_factory=list)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    extra: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.authorities:
            self.add_authority()
        if not self.keys:
            self.add_key("first")

    def add_authority(self) -> Authority:
        """A new CA, from now on the one that signs. All have one name, as those of SPIRE have."""
        number = 100 * (self.number + 1) + len(self.authorities)
        self.authorities.insert(0, Authority.root("SPIFFE", number, f"spiffe://{self.name}"))
        self.sequence = (self.sequence or 0) + 1
        return self.authorities[0]

    def add_key(self, kid: str, kind: Kind = "ec-p256") -> PrivateKey:
        """A new key for JWT-SVIDs."""
        self.keys[kid] = shared_key(kind, 100 * (self.number + 1) + len(self.keys))
        self.sequence = (self.sequence or 0) + 1
        return self.keys[kid]

    def id(self, path: str) -> str:
        return f"spiffe://{self.name}{path}"

    def x509_svid(self, path: str, *names: x509.GeneralName, **leaf: Any) -> Holder:  # noqa: ANN401 - as Authority.leaf
        """A workload with an X.509-SVID by the newest CA."""
        uri = x509.UniformResourceIdentifier(self.id(path))
        leaf = {"subject": distinguished(None), "key": shared_key("ec-p256", 7)} | leaf
        return self.authorities[0].leaf(uri, *names, **leaf)

    def jwt_svid(
        self,
        path: str,
        audience: object,
        kid: str = "first",
        header: Mapping[str, object] | None = None,
        **claims: object,
    ) -> str:
        """A JWT-SVID of five minutes; a member or claim that is None is left out."""
        key, present = self.keys[kid], int(now().timestamp())
        protected = {"alg": algorithm(key), "kid": kid, "typ": "JWT"} | dict(header or {})
        payload = {"sub": self.id(path), "aud": audience, "iat": present, "exp": present + 300} | claims
        signing_input = ".".join(b64(json.dumps(_kept(members)).encode()) for members in (protected, payload))
        return f"{signing_input}.{b64(signature(key, protected['alg'], signing_input.encode()))}"

    def bundle(self) -> dict[str, object]:
        """The bundle as JSON. SPIFFE Trust Domain and Bundle §4."""
        authorities = [
            public_jwk(authority.key) | {"use": "x509-svid", "x5c": [der64(authority.certificate)]}
            for authority in self.authorities
        ]
        keys = [public_jwk(key) | {"use": "jwt-svid", "kid": kid} for kid, key in self.keys.items()]
        numbers = {"spiffe_sequence": self.sequence, "spiffe_refresh_hint": self.hint}
        return _kept(numbers) | {"keys": [*authorities, *keys, *self.extra]}

    def write(self, file: Path) -> Path:
        """The file, with the bundle in it."""
        file.write_text(json.dumps(self.bundle()), encoding="utf-8")
        return file


@dataclass
class BundleEndpoint:
    """The server that has the bundle; it can be made to answer otherwise by `server`."""

    url: str
    ca_file: Path
    server: web.WebServer

    def publish(self, document: object) -> None:
        """Answer with the document from now on."""
        self.server.raw(PATH, web.reply(200, json.dumps(document).encode(), **{"Content-Type": "application/json"}))

    @property
    def fetched(self) -> int:
        """How often the bundle was asked for."""
        return sum(path == PATH for path, _ in self.server.requests)


@contextmanager
def serve(domain: SpiffeDomain, folder: Path) -> Iterator[BundleEndpoint]:
    """Run a bundle endpoint of the profile https_web."""
    context, ca_file = tls_server(folder)
    with web.serve(web.WebServer(), context) as server:
        endpoint = BundleEndpoint(f"https://127.0.0.1:{server.port}{PATH}", ca_file, server)
        endpoint.publish(domain.bundle())
        yield endpoint


def _kept(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}
