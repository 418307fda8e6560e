"""Tables for people. Scripts have --json."""

from __future__ import annotations

from collections.abc import Sequence

import click

_UNLIMITED = 10_000  # columns of what is no terminal


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    """Print a table, of which no value is cut; without rows say `nothing`.

    Off a terminal each row is one line without a frame, however long.
    """
    if not rows:
        click.echo(nothing)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=box.HEAVY_HEAD)
    if not console.is_terminal:
        console, table = Console(width=_UNLIMITED), Table(box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:  # values are shown as they are: `[x]` and `:ab:` mean something to rich
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(table, markup=False, emoji=False, highlight=False)
