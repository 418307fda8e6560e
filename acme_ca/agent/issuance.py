"""One certificate: order, proof, finalize, download. RFC 8555 §7.4; docs/workload-identity-00.md."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.agent.client import Account
from acme_ca.agent.errors import AgentError, RefusedError
from acme_ca.agent.jws import new_key
from acme_ca.agent.messages import Authorization, Order
from acme_ca.agent.proofs import Prover, external_binding, workload_challenge
from acme_ca.jose import b64url_encode

_NOT_REPLACED = ("alreadyReplaced", "malformed", "unauthorized")
_DECIDED = ("valid", "invalid", "ready")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a certificate is wanted for."""

    dns: tuple[str, ...]
    spiffe_id: str | None = None
    profile: str | None = None

    @property
    def identifiers(self) -> list[dict[str, str]]:
        """The identifiers of the order, the SPIFFE ID first."""
        uris = [] if self.spiffe_id is None else [{"type": "uri", "value": self.spiffe_id}]
        return [*uris, *({"type": "dns", "value": name} for name in self.dns)]

    def is_met_by(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate has all these names."""
        uris, names = names_of(certificate)
        return set(self.dns) <= set(names) and (self.spiffe_id is None or self.spiffe_id in uris)

    def csr(self, key: EllipticCurvePrivateKey) -> bytes:
        """Return a request for the names in DER."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns]
        if self.spiffe_id is not None:
            names.insert(0, x509.UniformResourceIdentifier(self.spiffe_id))
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        # The subject is empty, so the extension is critical: RFC 5280 §4.2.1.6.
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key and the way to a root, the leaf first."""

    key: EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate."""
        return self.chain[0]


def names_of(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the URIs and the DNS names of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return names.get_values_for_type(x509.UniformResourceIdentifier), names.get_values_for_type(x509.DNSName)


def certificate_id(certificate: x509.Certificate) -> str | None:
    """Return the identifier of RFC 9773 §4.1; None without an authority key identifier."""
    try:
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    if authority.key_identifier is None:
        return None
    number = certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1)  # as in DER: a leading zero keeps it positive
    return f"{b64url_encode(authority.key_identifier)}.{b64url_encode(serial)}"


def obtain(account: Account, wish: Wish, prover: Prover, replaces: x509.Certificate | None = None) -> Issued:
    """Return a new certificate for a new key; raises AgentError."""
    _register(account, prover)
    url, order = _order(account, wish, replaces)
    order = _authorized(account, url, order, prover)
    key = new_key()
    account.post(order.finalize, {"csr": b64url_encode(wish.csr(key))}, "finalize")
    order = account.await_change(url, Order, lambda found: found.status in {"valid", "invalid"}, "the order")
    if order.status != "valid" or order.certificate is None:
        raise _failed(url, order)
    pem = account.post(order.certificate, None, "the certificate").body
    return Issued(key, _checked(pem, key, wish, order.certificate))


def _register(account: Account, prover: Prover) -> None:
    try:
        account.register()
    except RefusedError as error:
        if error.type != "externalAccountRequired":
            raise
        exchanged = prover.exchange(account.server, account.key.jwk.thumbprint)
        account.register(external_binding(account.key, exchanged, account.server.directory.new_account))


def _order(account: Account, wish: Wish, replaces: x509.Certificate | None) -> tuple[str, Order]:
    body: dict[str, object] = {"identifiers": wish.identifiers}
    if wish.profile is not None:
        body["profile"] = wish.profile
    replaced = None if replaces is None else certificate_id(replaces)
    new_order = account.server.directory.new_order
    if replaced is not None and account.server.directory.renewal_info is not None:
        try:
            return account.create(new_order, body | {"replaces": replaced}, Order, "newOrder")
        except RefusedError as error:
            # `replaces` is a courtesy (RFC 9773 §5): what another account or CA issued is to be renewed all the same.
            if error.type not in _NOT_REPLACED:
                raise
            log.info("order.not_a_replacement", reason=str(error))
    return account.create(new_order, body, Order, "newOrder")


def _authorized(account: Account, url: str, order: Order, prover: Prover) -> Order:
    """Prove what is not proved yet; one proof normally decides all authorizations of the order."""
    for authorization_url in order.authorizations if order.status == "pending" else ():
        found = account.post(authorization_url, None, "an authorization").read(Authorization)
        if found.status == "pending":
            prover.prove(account, workload_challenge(found))
            found = account.await_change(
                authorization_url, Authorization, lambda seen: seen.status != "pending", "the authorization"
            )
        if found.status != "valid":
            name = found.identifier.value
            raise RefusedError(f"the authorization of {name!a}", found.error or {"detail": found.status}, 403)
    order = account.await_change(url, Order, lambda found: found.status in _DECIDED, "the order")
    if order.status != "ready":
        raise _failed(url, order)
    return order


def _failed(url: str, order: Order) -> RefusedError:
    return RefusedError(f"the order {url}", order.error or {"detail": f"its status is {order.status}"}, 403)


def _checked(pem: bytes, key: EllipticCurvePrivateKey, wish: Wish, url: str) -> tuple[x509.Certificate, ...]:
    """Return the chain in what was downloaded, if it is one for the key and the names. §7.4.2."""
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
        for certificate, issuer in pairwise(chain):
            certificate.verify_directly_issued_by(issuer)
        fits = chain[0].public_key() == key.public_key() and wish.is_met_by(chain[0])
    except (ValueError, TypeError, InvalidSignature) as error:
        raise AgentError(f"{url} gave no chain of certificates in PEM: {error!r}") from error
    if not fits:
        raise AgentError(f"the certificate of {url} is not for the key and the names that were asked for")
    return chain
