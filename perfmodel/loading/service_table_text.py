"""A table of service times as the text of its file."""

from __future__ import annotations

from perfmodel.domain.service_table import ServiceTable
from perfmodel.units import MS


def service_table_text(table: ServiceTable, *, comment: str = "") -> str:
    """Write a table as `read_service_table` reads it, to nine digits, its scatter left out.

    Parameters
    ----------
    table : ServiceTable
        What is written.
    comment : str
        The first line, after a `#`.
    """
    lines = [f"# {comment}"] if comment else []
    columns = [table.items, table.service_s / MS]
    names = "items,service_ms"
    if table.busy is not None:
        columns.append(table.busy)
        names += ",busy"
    lines.append(names)
    lines += [",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"
