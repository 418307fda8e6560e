"""How a sub-CA is signed, with the care that leafs are. RFC 5280 §6.

Build, lint under a throwaway key, try it out there, sign, verify the finished chain: each check stops the issuance.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from acme_ca.pki import sub_ca_lint
from acme_ca.pki.issuer import IssuanceError, Issuer
from acme_ca.pki.signing import sign as signed
from acme_ca.pki.signing import throwaway_like
from acme_ca.pki.sub_ca import SubCaRequest, builder
from acme_ca.pki.sub_ca_trial import try_out


def sign(issuer: Issuer, request: SubCaRequest) -> x509.Certificate:
    """Return the signed certificate; raises LintError or IssuanceError when it is not what it has to be."""
    rehearse(issuer, request)
    certificate = signed(builder(issuer, request, request.public_key), issuer.key, issuer.signature)
    _verify(issuer, certificate, request)
    return certificate


def rehearse(issuer: Issuer, request: SubCaRequest) -> None:
    """Do all that can be done without the issuer's key; raises LintError."""
    throwaway = throwaway_like(issuer.key)
    certificate = signed(builder(issuer, request, request.public_key), throwaway, issuer.signature)
    sub_ca_lint.check(certificate, request, issuer)
    own_key = ec.generate_private_key(ec.SECP256R1())
    twin = signed(builder(issuer, request, own_key.public_key()), throwaway, issuer.signature)
    try_out(twin, own_key, request)


def _verify(issuer: Issuer, certificate: x509.Certificate, request: SubCaRequest) -> None:
    """Verify the chain up to the root with pyca's path verifier, the sub-CA being the end of it. RFC 5280 §6.1.

    It counts no path length for the last certificate and looks at no names but its own: the lint does.
    """
    policy = (
        verification.PolicyBuilder()
        .time(max(request.not_before, issuer.begins_at))
        .store(verification.Store([issuer.root]))
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
    )
    try:
        policy.build_client_verifier().verify(certificate, [issuer.certificate, *issuer.chain])
    except (verification.VerificationError, ValueError) as error:
        raise IssuanceError(f"the finished chain of issuer {issuer.id} does not verify: {error}") from error
