"""Key objects in a token: found by the URI, described, made. OASIS PKCS #11 v3.0 §4.7 to §4.9."""

from __future__ import annotations

import secrets
from typing import Any

import pkcs11
from asn1crypto.core import OctetString, PrintableString
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism, MechanismFlag, ObjectClass
from pkcs11 import KeyType as Kind
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from acme_ca.keys.base import KeyUnavailableError
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import KeyType

CURVES = {"ec-p256": "secp256r1", "ec-p384": "secp384r1", "ec-p521": "secp521r1"}
ED25519 = PrintableString("edwards25519").dump()  # CKA_EC_PARAMS, §6.3.6
ID_SIZE = 8  # octets
STAYS = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
}
PrivateObject = Any
"""A private key object: python-pkcs11 makes its classes when it meets them."""


def private_keys(session: pkcs11.Session, uri: Pkcs11Uri) -> list[PrivateObject]:
    """Return the private keys that a URI names."""
    return list(session.get_objects(_template(uri, ObjectClass.PRIVATE_KEY)))


def the_key(session: pkcs11.Session, uri: Pkcs11Uri) -> PrivateObject:
    """Return the private key that a URI names; raises KeyUnavailableError unless there is exactly one."""
    found = private_keys(session, uri)
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted("id=" + "".join(f"%{octet:02X}" for octet in key[Attribute.ID]) for key in found))
        raise KeyUnavailableError(f"{uri}: {len(found)} private keys are so, with {ids}; add one of these to the URI")
    if list(session.get_objects(_template(uri, ObjectClass.PUBLIC_KEY))):
        raise KeyUnavailableError(f"{uri}: there is a public key only, and no private one that this PIN shows")
    raise KeyUnavailableError(
        f"{uri}: there is no such key, but {labels(session)}; `acme-ca key generate` makes one where it is configured"
    )


def labels(session: pkcs11.Session) -> str:
    """Name the private keys that are there."""
    found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    return ", ".join(sorted(str(key[Attribute.LABEL]) for key in found)) or "none"


def faults(key: PrivateObject, *, extractable: bool) -> list[str]:
    """Return which attributes of a private key are not as they have to be."""
    expected = {Attribute.SIGN: True, Attribute.SENSITIVE: True}
    if not extractable:
        expected[Attribute.EXTRACTABLE] = False
    return [f"CKA_{name.name} is not {str(value).lower()}" for name, value in expected.items() if key[name] != value]


def public_key(session: pkcs11.Session, key: PrivateObject, uri: Pkcs11Uri) -> PublicKey:
    """Return the public half: RSA's is in the private object, that of the others in an object with the same CKA_ID."""
    if key.key_type == Kind.RSA:
        modulus, exponent = key[Attribute.MODULUS], key[Attribute.PUBLIC_EXPONENT]
        return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    template = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key[Attribute.ID]}
    found = list(session.get_objects(template))
    if not found:
        raise KeyUnavailableError(f"{uri}: the token has no public key of the same CKA_ID; put it there")
    try:
        if key.key_type == Kind.EC_EDWARDS:
            point = found[0][Attribute.EC_POINT]
            return ed25519.Ed25519PublicKey.from_public_bytes(bytes(OctetString.load(point)))
        known = load_der_public_key(encode_ec_public_key(found[0]))  # type: ignore[arg-type]  # the library's stub says Object
    except ValueError as error:
        raise KeyUnavailableError(f"{uri}: its public key cannot be read: {error}") from error
    return known  # type: ignore[return-value]  # the caller checks which kind it is


def generate(session: pkcs11.Session, uri: Pkcs11Uri, kind: KeyType) -> None:
    """Make a key pair that a URI names from then on; raises KeyUnavailableError where it names one already."""
    if private_keys(session, uri):
        raise KeyUnavailableError(f"{uri} exists already; a key is never replaced")
    if uri.label is None:
        raise KeyUnavailableError(f"{uri}: a new key needs a label, object=LABEL")
    wanted: dict[str, Any] = {
        "id": uri.id or secrets.token_bytes(ID_SIZE),
        "label": uri.label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": STAYS,
    }
    if kind.startswith("rsa-"):
        session.generate_keypair(Kind.RSA, int(kind.removeprefix("rsa-")), **wanted)
        return
    of, parameters, mechanism = (
        (Kind.EC, encode_named_curve_parameters(CURVES[kind]), Mechanism.EC_KEY_PAIR_GEN)
        if kind in CURVES
        else (Kind.EC_EDWARDS, ED25519, Mechanism.EC_EDWARDS_KEY_PAIR_GEN)
    )
    domain = session.create_domain_parameters(of, {Attribute.EC_PARAMS: parameters}, local=True)
    domain.generate_keypair(mechanism=mechanism, **wanted)


def _template(uri: Pkcs11Uri, kind: ObjectClass) -> dict[Attribute, Any]:
    template: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if uri.label is not None:
        template[Attribute.LABEL] = uri.label
    if uri.id is not None:
        template[Attribute.ID] = uri.id
    return template
