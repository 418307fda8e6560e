"""Say which files and functions are too long: a file over 400 lines, a function over 50."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("acme_ca", "tests", "scripts")
FILE_LINES = 400
FUNCTION_LINES = 50


def complaints(path: Path) -> Iterator[str]:
    """Yield one line for each thing in the file that is too long."""
    text = path.read_text(encoding="utf-8")
    if (lines := text.count("\n")) > FILE_LINES:
        yield f"{path}: {lines} lines, at most {FILE_LINES} are allowed"
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES} are allowed"


def main() -> int:
    """Check every Python file of the project; the exit status is 1 when something is too long."""
    found = [
        complaint for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py")) for complaint in complaints(path)
    ]
    sys.stdout.writelines(f"{complaint}\n" for complaint in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
