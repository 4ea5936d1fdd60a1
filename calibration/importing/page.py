"""The terminal page of `perfplan import`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from calibration.importing.importer import Imported, shares
from perfmodel.report.tables import number


def import_page(result: Imported, where: str) -> RenderableType:
    """What was recognised and what was not, with its work."""
    num_operators = len(result.model.operators)
    title = f"[bold]{result.model.name}: {num_operators} operators written to {where}[/]"
    table = Table(box=None, pad_edge=False)
    for heading in ("torch call", "became"):
        table.add_column(heading)
    for heading in ("calls", "FLOP/item", "bytes/item"):
        table.add_column(heading, justify="right")
    for row in result.recognised:
        flop, moved = number(row.flop_per_item), number(row.bytes_per_item)
        table.add_row(row.call, row.kind, str(row.count), flop, moved)
    return Group(title, "", table, "", *unmodelled_lines(result), *_check_lines(result))


def unmodelled_lines(result: Imported) -> list[str]:
    """The share that no operator stands for, and what it is."""
    if not result.unrecognised:
        return ["unmodelled operators: none"]
    calls = [
        f"  {row.call} x {row.count}: {shares(row.flop_share, row.bytes_share)}"
        for row in result.unrecognised
    ]
    return [f"unmodelled operators: {result.unmodelled_shares}", *calls]


def _check_lines(result: Imported) -> list[str]:
    """FLOP of matrix products against torch's own count, and how the module was traced."""
    ours, theirs = result.product_flop_per_item, result.counted_flop_per_item
    counts = f"{number(ours, 6)} FLOP an item in the model, {number(theirs, 6)} as torch counts the module"
    apart = f": {100 * (ours / theirs - 1):+.1f} %" if theirs and abs(ours / theirs - 1) > 0.0005 else ""
    return [f"matrix products: {counts}{apart}", f"traced by {result.method}"]
