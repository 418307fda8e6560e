"""certbot's library `acme`, which other Python programs use too; rollover is added with its own signing classes."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, ClassVar

from acme import challenges, crypto_util, messages
from acme.client import ClientNetwork, ClientV2
from acme.jws import JWS
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC, JWKRSA

from tests.e2e.answers import web_root
from tests.e2e.checks import is_ip
from tests.e2e.scenario import PATIENCE, Client, Issued, Scenario, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Answer = tuple[messages.ChallengeBody, challenges.KeyAuthorizationChallengeResponse]


class Library(Client):
    """The library's client, resting on its own web server for http-01 and on our DNS zone for dns-01."""

    name = "acme (library)"
    notes = "`ClientNetwork(verify_ssl=...)` names the root. The library has no call for keyChange; the tests sign it."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "tls-alpn-01": "taken out of it",
        "dns-persist-01": "not implemented",
    }

    @classmethod
    def version(cls) -> str:
        return version("acme")

    @cached_property
    def key(self) -> JWK:
        """Make the account key."""
        return JWKRSA(key=rsa.generate_private_key(65537, 2048))

    @cached_property
    def client(self) -> ClientV2:
        """Register an account with an RSA key, as certbot does."""
        self.home.mkdir(parents=True, exist_ok=True)
        network = ClientNetwork(self.key, verify_ssl=str(self.ca.root))  # type: ignore[arg-type]  # requests takes a path
        client = ClientV2(ClientV2.get_directory(self.directory, network), network)
        binding = None
        if self.eab:
            public = self.key.public_key()
            binding = messages.ExternalAccountBinding.from_data(
                public, self.eab.kid, self.eab.secret, client.directory, "HS384"
            )
        client.new_account(
            messages.NewRegistration.from_data(terms_of_service_agreed=True, external_account_binding=binding)
        )
        return client

    def issued(self, wish: Wish) -> Issued:
        """Point to the files of the certificate."""
        stem = self.home / wish.names[0].replace("*", "any")
        return Issued(stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key"))

    def issue(self, wish: Wish) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        hosts = [name for name in wish.names if not is_ip(name)]
        addresses = [ip_address(name) for name in wish.names if is_ip(name)]
        csr = crypto_util.make_csr(pem, domains=hosts, ipaddrs=addresses)
        order = self.client.new_order(csr, profile=wish.profile)
        with self.answers(order, wish) as chosen:
            for challenge, response in chosen:
                self.client.answer_challenge(challenge, response)
            order = self.client.poll_and_finalize(order)
        issued = self.issued(wish)
        issued.chain.write_text(order.fullchain_pem)
        issued.key.write_bytes(pem)
        return issued

    @contextmanager
    def answers(self, order: messages.OrderResource, wish: Wish) -> Iterator[list[Answer]]:
        """Hold the answers ready for what has to be proved; what is valid already needs none."""
        chosen: list[Answer] = []
        with ExitStack() as stack:
            for authorization in order.authorizations:
                if authorization.body.status == messages.STATUS_VALID:
                    continue
                body = next(c for c in authorization.body.challenges if c.chall.typ == wish.challenge)
                chosen.append((body, body.response(self.key)))
                stack.enter_context(self.answer(body, authorization.body.identifier.value))
            yield chosen

    @contextmanager
    def answer(self, body: messages.ChallengeBody, name: str) -> Iterator[None]:
        """Put the answer to one challenge where the CA looks for it."""
        if isinstance(body.chall, challenges.DNS01):
            record = body.chall.validation_domain_name(name), body.validation(self.key)
            ask(self.ca.dns_door, "present", *record)
            yield
            ask(self.ca.dns_door, "cleanup", *record)
        else:
            with web_root(self.home / "www", self.ca.http_port) as folder:
                (folder / body.chall.encode("token")).write_text(body.validation(self.key))
                yield

    def renew_if_due(self, wish: Wish) -> Issued:
        issued = self.issued(wish)
        due, _ = self.client.renewal_time(issued.leaf.public_bytes(Encoding.PEM))
        return self.issue(wish) if due is not None and due <= datetime.now(UTC) else issued

    def revoke(self, issued: Issued) -> None:
        self.client.revoke(issued.leaf, rsn=0)

    def roll_over(self) -> None:
        network, directory = self.client.net, self.client.directory
        assert network.account is not None
        new = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        url = directory["keyChange"]
        change = json.dumps({"account": network.account.uri, "oldKey": self.key.public_key().to_json()})
        inner = JWS.sign(change.encode(), key=new, alg=ES256, nonce=None, url=url)
        network.post(url, inner, new_nonce_url=directory["newNonce"])
        self.key = network.key = new
        network.alg = ES256

    def deactivate(self) -> None:
        assert self.client.net.account is not None
        self.client.deactivate_registration(self.client.net.account)


def ask(door: str, act: str, name: str, value: str) -> None:
    """Change a TXT record."""
    document = json.dumps({"fqdn": name, "value": value}).encode()
    urllib.request.urlopen(f"{door}/{act}", document, PATIENCE).close()
