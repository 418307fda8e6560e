"""revokeCert over HTTP. RFC 8555 §7.6."""

from flask import Response

from acme_ca.acme.messages import RevokeCert
from acme_ca.acme.signed import SignedRequest
from acme_ca.jose import b64url_decode
from acme_ca.services import revocation
from acme_ca.web import Answer


def revoke_cert(asked: SignedRequest) -> Response:
    """Revoke a certificate, signed by an account or by the certificate's own key."""
    message = asked.message(RevokeCert)
    revoker = asked.signer if asked.signer is not None else asked.jwk
    revocation.revoke(asked.ca, asked.environment, b64url_decode(message.certificate), message.reason, revoker)
    return Answer("")
