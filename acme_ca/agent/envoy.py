"""Files by which Envoy takes a certificate and trust anchors: file-based SDS, one DiscoveryResponse in each.

In Envoy `sds_config: {path_config_source: {path: DIR/tls_certificate.json, watched_directory: {path: DIR}}}`, with the
names of the secrets below. Key and certificate stand in one file, so that Envoy never has a pair that does not fit.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from acme_ca.agent import files
from acme_ca.agent.files import PUBLIC, SECRET, Content
from acme_ca.agent.material import Material, pem

CERTIFICATE_SECRET = "workload_certificate"  # noqa: S105 - the name of a resource
VALIDATION_SECRET = "workload_trust"  # noqa: S105 - the name of a resource
CERTIFICATE_FILE = "tls_certificate.json"
VALIDATION_FILE = "validation_context.json"

_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def write(folder: Path, material: Material) -> None:
    """Replace both files, the trust anchors first; raises AgentError."""
    files.make_folder(folder)
    trusted = {"trusted_ca": {"inline_string": pem(material.bundle).decode()}}
    files.write(folder / VALIDATION_FILE, _resource(VALIDATION_SECRET, {"validation_context": trusted}, PUBLIC))
    certificate = {
        "certificate_chain": {"inline_string": pem(material.issued.chain).decode()},
        "private_key": {"inline_string": material.key_pem.decode()},
    }
    files.write(folder / CERTIFICATE_FILE, _resource(CERTIFICATE_SECRET, {"tls_certificate": certificate}, SECRET))


def _resource(name: str, secret: dict[str, object], mode: int) -> Content:
    resource = {"@type": _TYPE, "name": name, **secret}
    version = sha256(json.dumps(resource).encode()).hexdigest()[:16]
    document = {"version_info": version, "resources": [resource]}
    return Content(json.dumps(document, indent=1).encode() + b"\n", mode)
