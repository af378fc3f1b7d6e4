"""Work over many files: operands -> plan -> results in order."""

from __future__ import annotations

from gir_cli.batch.inputs import STDIN, listed
from gir_cli.batch.planning import STDOUT, Item, Placing, framed, is_stdout, listing, plan
from gir_cli.batch.workers import ordered

__all__ = ["STDIN", "STDOUT", "Item", "Placing", "framed", "is_stdout", "listed", "listing", "ordered", "plan"]
