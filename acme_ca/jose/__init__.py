"""JOSE as ACME uses it: the signed envelope (RFC 8555 §6.2), keys, key change (§7.3.5) and account binding (§7.3.4).

Everything here takes what a client sent and either returns a typed value or raises a Problem, whatever the bytes.
"""

from acme_ca.jose.bindings import EAB_ALGORITHMS, eab_kid, parse_inner_key_change, verify_eab
from acme_ca.jose.encoding import b64url_decode, b64url_encode, load_json, load_object
from acme_ca.jose.envelope import ALGORITHMS, Envelope, Header, algorithm_for, parse, verify
from acme_ca.jose.jwk import Jwk, jwk_from_json, jwk_from_public_key, members_of, thumbprint_of

__all__ = [
    "ALGORITHMS",
    "EAB_ALGORITHMS",
    "Envelope",
    "Header",
    "Jwk",
    "algorithm_for",
    "b64url_decode",
    "b64url_encode",
    "eab_kid",
    "jwk_from_json",
    "jwk_from_public_key",
    "load_json",
    "load_object",
    "members_of",
    "parse",
    "parse_inner_key_change",
    "thumbprint_of",
    "verify",
    "verify_eab",
]
