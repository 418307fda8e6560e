"""What a rule grants to one workload: the names it may have, worked out from its claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from acme_ca.identifiers import Identifier
from acme_ca.policy.templates import spiffe_id_matches
from acme_ca.workload.base import refusal

Add = Literal["always", "on-request", "never"]
"""When a SPIFFE ID goes into a certificate: always, when the order or the CSR asks for it, or never."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a workload may have, and for how long it is believed.

    `dns` are names, or patterns `*.NAME` for the names exactly one label below. Of `spiffe_id` and `spiffe_allow` one
    at most is set; in the latter a segment `*` stands for any one segment. `profiles` and `lifetime` (seconds) are the
    environment's and the profile's when None. `binding_ttl` is in seconds.
    """

    rule: str
    policy_version: str
    spiffe_id: str | None
    add: Add
    spiffe_allow: tuple[str, ...]
    dns: tuple[str, ...]
    profiles: tuple[str, ...] | None
    lifetime: int | None
    binding_ttl: int
    liveness: bool

    def covers(self, identifier: Identifier) -> bool:
        """Tell whether the workload may have the identifier: no wildcard and no address ever."""
        if identifier.type == "uri":
            return self.allows_uri(identifier.value)
        if identifier.type != "dns" or identifier.wildcard:
            return False
        below = f"*.{identifier.value.partition('.')[2]}"
        return identifier.value in self.dns or below in self.dns

    def require_covers(self, identifier: Identifier, subject: str) -> None:
        """Raise identifier_not_allowed unless the workload `subject` may have the identifier."""
        if not self.covers(identifier):
            names = ", ".join(filter(None, (self.spiffe_id, *self.spiffe_allow, *self.dns))) or "nothing"
            raise refusal(
                "identifier_not_allowed",
                f"rule {self.rule} does not grant {identifier} to {subject}; it grants {names}",
            )

    def allows_uri(self, uri: str) -> bool:
        """Tell whether the URI may stand in a certificate of the workload."""
        if self.add == "never":
            return False
        return uri == self.spiffe_id or any(spiffe_id_matches(uri, pattern) for pattern in self.spiffe_allow)

    def document(self) -> dict[str, Any]:
        """Render as a JSON object, to be stored."""
        return dict(_GRANT.dump_python(self, mode="json"))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Grant:
        """Return the grant that was stored; raises ValueError for what is none."""
        return _GRANT.validate_python(document)


_GRANT = TypeAdapter(Grant)
