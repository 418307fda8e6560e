"""Kinds of key that a store cannot make are refused before it is asked."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from acme_ca.keys import AnyKey, KeyBackend, KeyUnavailableError
from acme_ca.vocabulary import MLDSA_KEY_TYPES, KeyType

STORES: dict[str, dict[str, object]] = {
    "pkcs11": {"uri": "pkcs11:token=none;object=none", "module": "/nowhere.so"},
    "aws-kms": {"key": "alias/none", "region": "eu-west-1"},
    "azure-key-vault": {"vault": "https://none.vault.azure.net", "name": "none"},
    "google-kms": {"key": "projects/none/locations/none/keyRings/none/cryptoKeys/none"},
    "transit": {"address": "https://none.example", "name": "none", "token": "env:NONE"},
}


@pytest.mark.parametrize("kind", MLDSA_KEY_TYPES)
@pytest.mark.parametrize("store", STORES)
def test_a_store_elsewhere_makes_no_key_of_ml_dsa(store: str, kind: KeyType) -> None:
    adapter: TypeAdapter[KeyBackend] = TypeAdapter(AnyKey)
    backend = adapter.validate_python({"type": store, **STORES[store]}, context={"folder": None})
    with pytest.raises(KeyUnavailableError, match=f"no key of kind {kind} can be made there, expected one of ec-p256"):
        backend.create(kind)
