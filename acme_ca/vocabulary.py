"""Words and bounds that operators use: in commands, in the admin API and in the configuration alike.

Nothing is imported here but the standard library: the help of a command names them, and waits for nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args

KEY_COMPROMISE = 1
# RFC 5280 §5.3.1 without those that only a CA can state: cACompromise, certificateHold, removeFromCRL,
# privilegeWithdrawn, aACompromise.
REASONS = {
    0: "unspecified",
    KEY_COMPROMISE: "keyCompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
}
"""The reasons that a client may give for a revocation."""
OPERATOR_REASONS = {**REASONS, 9: "privilegeWithdrawn"}
"""Of the reasons of RFC 5280 §5.3.1 those that an operator may give. cACompromise and aACompromise are not about leafs;
certificateHold and removeFromCRL would need certificates that come back."""

MAX_PAGE = 1000  # certificates in one answer
MAX_SPREAD = 30 * 24 * 3600  # seconds of a mass replacement

SELECTORS = {
    "name": "A DNS name, an address or a SPIFFE ID that it has; `*.example.com` is the wildcard itself.",
    "below": "A domain that one of its DNS names is at or below.",
    "serial": "Its serial number, hexadecimal.",
    "account_id": "The account that ordered it.",
    "eab_kid": "The external account key that its account was bound by.",
    "key_sha256": "SHA-256 of its SubjectPublicKeyInfo, hexadecimal.",
    "issuer_id": "The issuer that signed it.",
    "profile": "Its profile.",
    "binding_id": "The binding of the workload that proved a name.",
    "subject": "The workload that proved a name.",
    "provider": "The provider that vouched for the workload.",
    "rule": "The rule that granted names to the workload, or that a sub-CA was signed under, in whatever version.",
    "since": "When it was issued, or later.",
    "until": "Before when it was issued.",
}
"""What certificates are selected by, and what each selector says of a certificate."""

ListenerKeyType = Literal["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "rsa-4096"]
LISTENER_KEY_TYPES: tuple[ListenerKeyType, ...] = get_args(ListenerKeyType)
"""Kinds of key above the certificates of this CA's own listeners and of its operators, which TLS here has to take."""
MldsaKeyType = Literal["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"]
MLDSA_KEY_TYPES: tuple[MldsaKeyType, ...] = get_args(MldsaKeyType)
AuthorityKeyType = Literal[ListenerKeyType, MldsaKeyType]
AUTHORITY_KEY_TYPES: tuple[AuthorityKeyType, ...] = get_args(AuthorityKeyType)
"""Kinds of key that issuers and roots may have: verifiers take Ed25519 in leafs only."""
KeyType = Literal["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096", MldsaKeyType]
KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)

EcdsaSignature = Literal["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]
RsaSignature = Literal["rsa-sha256", "rsa-sha384", "rsa-sha512", "rsa-pss-sha256", "rsa-pss-sha384", "rsa-pss-sha512"]
RSA_SIGNATURES: tuple[RsaSignature, ...] = get_args(RsaSignature)
AuthoritySignature = Literal[EcdsaSignature, RsaSignature, MldsaKeyType]
"""What issuers sign with; the hash of ECDSA is the one that goes with the curve, and ML-DSA needs none."""
SignatureName = Literal[AuthoritySignature, "ed25519"]

FormatName = Literal["native", "ecs", "ocsf", "cef"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)
"""How audit events can be written. docs/audit.md."""


class Standing(StrEnum):
    """How an issued certificate stands now."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Role(StrEnum):
    """What an operator is there for."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    POLICY_ADMIN = "policy-admin"
    CA_ADMIN = "ca-admin"
