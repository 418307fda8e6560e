"""A key in a token, as the rest of the CA signs with it."""

from __future__ import annotations

from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import MGF, KeyType, Mechanism

from acme_ca import public_keys
from acme_ca.keys.base import KeyUnavailableError
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.keys.pkcs11_library import Door, Library, TokenMissing
from acme_ca.keys.pkcs11_objects import PrivateObject, faults, public_key, the_key
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import PublicKey

NEEDED = {KeyType.EC: Mechanism.ECDSA, KeyType.EC_EDWARDS: Mechanism.EDDSA}
DIGEST_INFO = {  # RFC 8017 §9.2, note 1: what stands before the digest
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


class Pkcs11Store(Store):
    """The key in its token; the object is looked for again in each new session."""

    def __init__(self, door: Door, library: Library, *, extractable: bool) -> None:
        self.where = str(door.uri)
        self._door, self._library, self._extractable = door, library, extractable
        self._found: tuple[pkcs11.Session, PrivateObject] | None = None
        self._hashes_itself = False

    def look(self) -> None:
        """See what the key is; raises KeyUnavailableError when it is not fit, and KeyAway."""
        with self._library.turn(self.where):
            try:
                self.public_key = self._library.with_session(self._door, self._look)
            except TokenMissing as missing:
                if missing.others:  # the library works: it is the name that is wrong
                    raise KeyUnavailableError(str(missing)) from missing
                raise

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        """Sign in the token; raises KeyAway and KeyUnavailableError."""
        with self._library.turn(self.where):
            return self._library.with_session(self._door, lambda session: self._sign(session, scheme, message))

    def _look(self, session: pkcs11.Session) -> PublicKey:
        key = self._key(session)
        if found := faults(key, extractable=self._extractable):
            raise KeyUnavailableError(f"{self.where}: {', '.join(found)}; `acme-ca key generate` makes keys as needed")
        public = public_key(session, key, self._door.uri)
        try:
            public_keys.check(public)
        except BadPublicKey as error:
            raise KeyUnavailableError(f"{self.where}: {error.detail}") from error
        offered = session.token.slot.get_mechanisms()
        needed = NEEDED.get(key.key_type)
        if needed is not None and needed not in offered:
            raise KeyUnavailableError(f"{self.where}: the token does not offer CKM_{needed.name}")
        self._hashes_itself = Mechanism.RSA_PKCS not in offered
        return public

    def _key(self, session: pkcs11.Session) -> PrivateObject:
        if self._found is None or self._found[0] is not session:
            self._found = session, the_key(session, self._door.uri)
        return self._found[1]

    def _sign(self, session: pkcs11.Session, scheme: Scheme, message: bytes) -> bytes:
        mechanism, parameter, data = self._mechanism(scheme, message)
        signature: bytes = self._key(session).sign(data, mechanism=mechanism, mechanism_param=parameter)
        if scheme.name != "ecdsa":
            return signature
        half = len(signature) // 2  # r and s, §6.3.1
        return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))

    def _mechanism(self, scheme: Scheme, message: bytes) -> tuple[Mechanism, Any, bytes]:
        """Return mechanism, parameter and data. What is long is hashed here: a revocation list has megabytes."""
        if scheme.hash is None:
            return Mechanism.EDDSA, None, message
        if scheme.name == "ecdsa":
            return Mechanism.ECDSA, None, scheme.digest(message)
        name = scheme.hash.name.upper()
        if scheme.name == "rsa-pss":
            salted = Mechanism[name], MGF[name], scheme.hash.digest_size
            return Mechanism.RSA_PKCS_PSS, salted, scheme.digest(message)
        if self._hashes_itself:
            return Mechanism[f"{name}_RSA_PKCS"], None, message
        return Mechanism.RSA_PKCS, None, DIGEST_INFO[scheme.hash.name] + scheme.digest(message)
