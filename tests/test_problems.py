"""Problem documents as clients read them. RFC 8555 §6.7, RFC 9457."""

from __future__ import annotations

from acme_ca.problems import Compound, Malformed, RejectedIdentifier

WIRE = {"type": "dns", "value": "a.example"}


def test_identifier_stands_in_subproblems_only() -> None:
    """§6.7.1: a top-level problem has none."""
    refused = RejectedIdentifier("not this one", identifier=WIRE)
    assert refused.document() == {
        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
        "detail": "not this one",
        "status": 403,
    }
    several = Compound("see the subproblems", subproblems=(refused, Malformed("nor that", identifier=None)))
    assert "identifier" not in several.document()
    assert several.document()["subproblems"] == [
        {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not this one", "identifier": WIRE},
        {"type": "urn:ietf:params:acme:error:malformed", "detail": "nor that"},
    ]


def test_further_members_are_part_of_the_document() -> None:
    assert Malformed("no", extra={"algorithms": ["ES256"]}).document()["algorithms"] == ["ES256"]
