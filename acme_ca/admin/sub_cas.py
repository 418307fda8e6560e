"""Sub-CAs over HTTP: the CSR of a mesh's CA is signed under a rule. They are revoked as leafs are."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, StringConstraints

from acme_ca.admin.calls import Answered, Asked, Call, Model, Page, Paged, Text, Time, reading
from acme_ca.models.admin import Permission
from acme_ca.models.certificate import SUB_CA, Certificate
from acme_ca.models.selection import Selection
from acme_ca.pki.csr import DECODING_ERRORS
from acme_ca.pki.leaf import USAGES
from acme_ca.pki.sub_ca import SubCaRequest
from acme_ca.problems import BadCsr, NotFound
from acme_ca.public_keys import spki_sha256
from acme_ca.services import certificates, sub_cas

PATH = "/environments/{environment}/sub-cas"
MAX_SECONDS = 2**31


class NewSubCa(Model):
    """The CA of a mesh, whose key somebody else has."""

    csr: Annotated[str, StringConstraints(min_length=1, max_length=50_000)]
    """A certificate signing request in PEM, or the base64 of its DER. Its key counts; its common name has to fit."""
    rule: Text
    """The rule of the environment's `sub_ca` that it is signed under."""
    lifetime: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = None
    """Seconds until its end, if not as many as the rule allows."""


class SubCaView(Model):
    """A sub-CA, as its certificate says it is."""

    id: str | None
    """None for a dry run."""
    serial: str | None
    """Hexadecimal; it is revoked by it. None for a dry run."""
    environment: str
    standing: str
    """valid, revoked or expired; dry-run."""
    rule: str
    """What it was signed under; behind the @ a digest of the rule's words."""
    common_name: str
    permitted_dns: tuple[str, ...]
    """Zones whose names it may certify; none: no names."""
    permitted_ips: tuple[str, ...]
    """Networks whose addresses it may certify; none: no addresses."""
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    """Its own names; the URI is that of its trust domain, and constrains nothing."""
    path_length: int
    """How many CAs there may be below it."""
    extended_key_usages: tuple[str, ...]
    issuer_id: str
    key_sha256: str
    """Of its SubjectPublicKeyInfo, hexadecimal."""
    not_before: Time
    not_after: Time
    ordered_by: str | None = None
    """Who had it signed; forgotten some time after its end."""
    revoked_at: Time | None = None
    revocation_reason: int | None = None
    """A code of RFC 5280 §5.3.1."""
    pem: str | None = None
    """The certificate, in PEM; not in lists."""
    chain: str | None = None
    """Its issuer and what leads to the root, in PEM, without the root; not in lists."""
    root: str | None = None
    """The root, in PEM; not in lists."""


def _sign(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    wish = sub_cas.Wish(_csr(body.csr), body.rule, body.lifetime)
    if asked.dry_run:
        return Answered(_planned(sub_cas.plan(asked.ca, environment, wish)))
    line = sub_cas.sign(asked.ca, environment, wish, by=asked.operator.by)
    return Answered(_whole(asked, line.serial), location=f"/environments/{environment.name}/sub-cas/{line.serial}")


def _list(asked: Asked) -> Page[SubCaView]:
    selection = Selection(environment=asked.environment.name, account_id=SUB_CA)
    found = certificates.search(asked.ca, selection, after=asked.query.after, limit=asked.query.limit)
    return Page[SubCaView](items=tuple(map(_view, found.certificates)), next=found.after)


def _show(asked: Asked) -> SubCaView:
    return _whole(asked, asked.path["serial"])


def _whole(asked: Asked, serial: str) -> SubCaView:
    """Return a sub-CA with its certificates; raises NotFound."""
    environment = asked.environment
    found = certificates.detail(asked.ca, environment.name, serial)
    line = found.certificate
    if not line.is_sub_ca or line.der is None:
        raise NotFound(f"certificate {line.serial} of environment {environment.name} is not that of a sub-CA")
    roots = [issuer.root for issuer in environment.sub_cas if issuer.id == line.issuer_id]
    certificate = x509.load_der_x509_certificate(line.der)
    return _view(line).model_copy(
        update={
            "pem": _pem(certificate),
            "chain": "".join(_pem(x509.load_der_x509_certificate(der)) for der in found.chain),
            "root": "".join(map(_pem, roots)),
            "ordered_by": (found.evidence or {}).get("sub_ca", {}).get("ordered_by"),
        }
    )


def _view(line: Certificate) -> SubCaView:
    certificate = x509.load_der_x509_certificate(line.der or b"")
    extensions = certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    permitted = extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    own = [name for one in extensions if isinstance(one.value, x509.SubjectAlternativeName) for name in one.value]
    usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    return SubCaView(
        id=line.id,
        serial=line.serial,
        environment=line.environment,
        standing=certificates.standing_of(line),
        rule=line.workload_rule or "",
        common_name=str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value),
        permitted_dns=tuple(one.value for one in permitted if isinstance(one, x509.DNSName)),
        permitted_ips=tuple(str(one.value) for one in permitted if isinstance(one, x509.IPAddress)),
        dns_names=tuple(one.value for one in own if isinstance(one, x509.DNSName)),
        uris=tuple(one.value for one in own if isinstance(one, x509.UniformResourceIdentifier)),
        path_length=basic.path_length or 0,
        extended_key_usages=tuple(name for name, oid in USAGES.items() if oid in usages),
        issuer_id=line.issuer_id,
        key_sha256=line.key_sha256.hex(),
        not_before=line.not_before,
        not_after=line.not_after,
        revoked_at=line.revoked_at,
        revocation_reason=line.revocation_reason,
    )


def _planned(plan: sub_cas.Plan) -> SubCaView:
    """Return what a dry run tells."""
    request: SubCaRequest = plan.request
    return SubCaView(
        id=None,
        serial=None,
        environment=plan.environment.name,
        standing="dry-run",
        rule=f"{plan.rule.name}@{plan.version}",
        common_name=request.common_name,
        permitted_dns=request.permitted_dns,
        permitted_ips=tuple(map(str, request.permitted_ips)),
        dns_names=request.dns_names,
        uris=request.uris,
        path_length=request.path_length,
        extended_key_usages=request.extended_key_usages,
        issuer_id=plan.issuer.id,
        key_sha256=spki_sha256(request.public_key).hex(),
        not_before=request.not_before,
        not_after=request.not_after,
    )


def _csr(text: str) -> bytes:
    """Return the DER of a CSR; raises BadCsr."""
    try:
        if "-----BEGIN" in text:
            return x509.load_pem_x509_csr(text.encode()).public_bytes(Encoding.DER)
        return b64decode(text, validate=True)
    except (*DECODING_ERRORS, Base64Error) as error:
        raise BadCsr("csr: it is neither a certificate signing request in PEM nor the base64 of its DER") from error


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


CALLS = (
    reading(
        path=PATH,
        summary="List sub-CAs",
        work=_list,
        query=Paged,
        answer=Page[SubCaView],
    ),
    Call(
        method="POST",
        path=PATH,
        permission=Permission.ADMIN,
        summary="Have the CSR of a sub-CA signed under a rule",
        work=_sign,
        body=NewSubCa,
        answer=SubCaView,
        status=201,
        acts=True,
        dry_run="own",
    ),
    reading(path=f"{PATH}/{{serial}}", summary="Show a sub-CA with its chain", work=_show, answer=SubCaView),
)
