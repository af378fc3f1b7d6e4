"""Tables: ruled for eyes on a terminal, tab-separated in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gir_cli.cli.terminal import is_terminal

Rows = Sequence[Sequence[str]]


def show(head: Sequence[str], rows: Rows, caption: str, *, best: Sequence[int | None] = ()) -> None:
    """Print a table on standard output; `best` gives the cell of each row that a terminal shows in bold."""
    if is_terminal(1):
        _draw(head, rows, caption, best or [None] * len(rows))
    else:
        print("\n".join(lines(head, rows, caption)))


def lines(head: Sequence[str], rows: Rows, caption: str) -> Iterator[str]:
    """Yield a table's lines: the caption as a comment, then tab-separated cells."""
    yield f"# {caption}"
    yield from ("\t".join(row) for row in (head, *rows))


def _draw(head: Sequence[str], rows: Rows, caption: str, best: Sequence[int | None]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # names of files are no markup

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(Text(head[0]))
    for title in head[1:]:
        table.add_column(Text(title, overflow="fold"), justify="right")
    for row, winner in zip(rows, best, strict=True):
        table.add_row(*(Text(cell, "bold" if place == winner else "") for place, cell in enumerate(row)))
    console = Console()
    console.print(table)
    console.print(Text(caption, "dim"))
