"""The `pkcs11:` URI scheme: which token, which object in it, and by which library. RFC 7512."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

SCHEME = "pkcs11:"
PRIVATE = "private"
TOKEN_ATTRIBUTES = ("token", "manufacturer", "model", "serial", "slot-id")
OBJECT_ATTRIBUTES = ("object", "id", "type")
QUERY_ATTRIBUTES = ("module-path", "pin-source")
FIELDS = {"slot-id": "slot_id", "object": "label", "module-path": "module_path", "pin-source": "pin_source"}
SECRETS = ("pin-value",)
KEPT = "-._~:[]@!$'()*+,=&"  # what a path attribute may hold as it is (RFC 7512 §2.3)


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A private key in a token. What is None is not asked for."""

    token: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    slot_id: str | None = None
    label: str | None = None
    """CKA_LABEL, the attribute `object`."""
    id: bytes | None = None
    """CKA_ID."""
    module_path: str | None = None
    pin_source: str | None = None

    @property
    def pin_file(self) -> str:
        """The file of `pin_source`, which is a URI (RFC 8089) or a path; a command is not run."""
        return (self.pin_source or "").removeprefix("file:").removeprefix("//")

    @classmethod
    def parse(cls, text: str) -> Pkcs11Uri:
        """Read a URI; raises ValueError, which says which attribute is wrong."""
        if not text.startswith(SCHEME):
            raise ValueError("expected a URI like pkcs11:token=acme-ca;object=prod-1 (RFC 7512)")
        path, _, query = text.removeprefix(SCHEME).partition("?")
        found = _attributes(path, ";", (*TOKEN_ATTRIBUTES, *OBJECT_ATTRIBUTES))
        found |= _attributes(query, "&", QUERY_ATTRIBUTES)
        if (kind := found.pop("type", b"private")) != b"private":
            raise ValueError(f"type={kind.decode(errors='replace')}: only a private key can sign; leave type out")
        uri = cls(id=found.pop("id", None), **{FIELDS.get(name, name): _text(name, found[name]) for name in found})
        if uri.label is None and uri.id is None:
            raise ValueError("expected object=LABEL or id=%01%02… that names the key")
        if (uri.token, uri.manufacturer, uri.model, uri.serial, uri.slot_id) == (None,) * 5:
            raise ValueError("expected token=LABEL, or serial or slot-id, that names the token")
        if uri.module_path is not None and not uri.module_path.startswith("/"):
            raise ValueError("module-path: expected an absolute path")
        if uri.pin_source is not None and not uri.pin_file.startswith("/"):
            raise ValueError("pin-source: expected the absolute path of a file, or file: and such a path")
        if uri.slot_id is not None and not re.fullmatch(r"[0-9]{1,20}", uri.slot_id, re.ASCII):
            raise ValueError("slot-id: expected a decimal number")
        return uri

    def __str__(self) -> str:
        """Return the part that says which key it is."""
        named = {
            "token": self.token,
            "manufacturer": self.manufacturer,
            "model": self.model,
            "serial": self.serial,
            "slot-id": self.slot_id,
            "object": self.label,
        }
        parts = [f"{name}={quote(str(value), safe=KEPT)}" for name, value in named.items() if value is not None]
        if self.id is not None:
            parts.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        return SCHEME + ";".join(parts)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of a pydantic model be a URI, written as its text."""
        text = core_schema.no_info_plain_validator_function(
            cls._validate, json_schema_input_schema=core_schema.str_schema(pattern="^pkcs11:.")
        )
        return core_schema.json_or_python_schema(
            text, text, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def _validate(cls, value: object) -> Pkcs11Uri:
        if isinstance(value, Pkcs11Uri):
            return value
        if not isinstance(value, str):
            raise ValueError("expected a string like pkcs11:token=acme-ca;object=prod-1")  # noqa: TRY004 - pydantic's
        return cls.parse(value)


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name in SECRETS:
            raise ValueError(f"{name}: a PIN is never written here; use `pin` with file:, env: or credential:")
        if not equals or name not in known:
            raise ValueError(f"attribute {name!r} is not known; known are {', '.join(known)}")
        if name in found:
            raise ValueError(f"attribute {name} is there twice")
        if re.search(r"%(?![0-9A-Fa-f]{2})|[\s\x00-\x1f]", value):
            raise ValueError(f"{name}: expected %XX for every octet that is not plain")
        found[name] = unquote_to_bytes(value)
        if not found[name]:
            raise ValueError(f"{name} is empty")
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: expected UTF-8") from error
    if not text.isprintable():
        raise ValueError(f"{name}: expected printable characters")
    return text
