"""docs/audit.md tells every event, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENT = re.compile(r"[a-z][a-z_-]*\.[a-z_]+")
MADE = {
    "authorization.{}": {"authorization.valid", "authorization.invalid"},
    "{}.changed": {"policy.changed", "workload-policy.changed", "bundle.changed", "roots.changed"},
}
"""Events whose names are put together."""


def texts(path: Path) -> Iterator[str]:
    """Yield what may be the name of an event: texts of that form, but for file names and what goes to the log."""
    tree = ast.parse(path.read_text())
    logged = {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in logged:
            if EVENT.fullmatch(node.value) and not node.value.endswith(".pem"):
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def test_the_table_of_events_is_complete() -> None:
    found: set[str] = set()
    for path in (ROOT / "acme_ca" / "services").glob("*.py"):
        for text in texts(path):
            found |= MADE.get(text, {text} if EVENT.fullmatch(text) else set())
    table = (ROOT / "docs" / "audit.md").read_text().split("## The chain")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {event for row in rows for event in re.findall(r"`([^`]+)`", row)}
    assert told == found
