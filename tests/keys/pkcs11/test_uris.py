"""URIs of keys (RFC 7512), and the settings beside them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from acme_ca.keys import (
    AnyKey,
    Pkcs11Key,
)
from acme_ca.keys.pkcs11_uri import Pkcs11Uri


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pkcs12:token=a;object=b", "expected a URI like pkcs11:"),
        ("pkcs11:", "object=LABEL or id="),
        ("pkcs11:token=a", "object=LABEL or id="),
        ("pkcs11:object=b", "token=LABEL, or serial or slot-id"),
        ("pkcs11:token=a;object=b;object=c", "attribute object is there twice"),
        ("pkcs11:token=a;object=", "object is empty"),
        ("pkcs11:token=a;object=b;colour=blue", "attribute 'colour' is not known; known are token"),
        ("pkcs11:token=a;object=b;type=public", "only a private key can sign"),
        ("pkcs11:token=a;object=%zz", "expected %XX"),
        ("pkcs11:token=a;object=%ff", "expected UTF-8"),
        ("pkcs11:token=a;object=%07", "expected printable"),
        ("pkcs11:slot-id=x;object=b", "slot-id: expected a decimal number"),
        ("pkcs11:token=a;object=b?pin-value=1234", "a PIN is never written here"),
        ("pkcs11:token=a;object=b?pin-value=1234&x", "a PIN is never written here"),
        ("pkcs11:token=a;object=b?pin-source=pin", "pin-source: expected the absolute path of a file"),
        ("pkcs11:token=a;object=b?pin-source=|/bin/pin", "pin-source: expected the absolute path of a file"),
        ("pkcs11:token=a;object=b?pin-source=file://host/pin", "pin-source: expected the absolute path of a file"),
        ("pkcs11:token=a;object=b?module-path=p.so", "module-path: expected an absolute path"),
        ("pkcs11:token", "attribute 'token' is not known"),
    ],
)
def test_wrong_uris_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as raised:
        TypeAdapter[object](AnyKey).validate_python({"type": "pkcs11", "uri": text, "module": "/lib/p.so"})
    assert "1234" not in str(raised.value).replace(text, "")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a;object=b",
        "pkcs11:token=My%20token;manufacturer=Acme%2C%20Inc;model=M;serial=01;slot-id=7;object=k%C3%A9y;id=%01%FF",
        "pkcs11:serial=deadbeef;id=%00",
    ],
)
def test_uris_are_written_as_they_are_read(text: str) -> None:
    uri = Pkcs11Uri.parse(text)
    assert Pkcs11Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "expected the library once"),
        ({"module": "/lib/p.so", "uri": "pkcs11:token=a;object=b?module-path=/lib/p.so"}, "expected the library once"),
        (
            {"module": "/lib/p.so", "pin": "env:PIN", "uri": "pkcs11:token=a;object=b?pin-source=file:/pin"},
            "expected the PIN once",
        ),
        ({"module": "/lib/p.so", "pin": "1234"}, "a secret is written as"),
        ({"module": "/lib/p.so", "keep_alive": -1}, "greater than or equal to 0"),
    ],
)
def test_ambiguous_settings_are_refused(more: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Pkcs11Key.model_validate({"type": "pkcs11", "uri": "pkcs11:token=a;object=b", **more})
