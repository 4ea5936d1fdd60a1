"""`perfplan doctor`: is this machine fit for a calibration?"""

from __future__ import annotations

from collections import Counter

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table

from calibration.documents import VERSION, DoctorDocument
from calibration.health import Finding, examine
from perfmodel.cli.answering import show
from perfmodel.cli.options import JsonOption
from perfmodel.errors import InputError
from perfmodel.report.documents import saved


def doctor(as_json: JsonOption = False) -> None:
    """Say what would disturb a calibration on this machine, and how to fix it."""
    findings = examine()
    blocking = [finding for finding in findings if finding.blocks]
    document: DoctorDocument = {
        **saved("doctor", VERSION),
        "ready": not blocking,
        "checks": [finding.to_dict() for finding in findings],
    }
    show(lambda: document, lambda: findings_page(findings), as_json=as_json)
    if blocking:
        raise typer.Exit(InputError.exit_code)


_SHOWN = {"ok": "OK", "unknown": "?", "warn": "WARN", "blocks": "BLOCKS"}


def findings_page(findings: list[Finding]) -> Group:
    """Every check; below those that are not fine, what follows and what helps."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(_SHOWN[finding.status], finding.name, finding.value)
        if finding.consequence:
            said = f"{finding.consequence}\n[bold]what helps[/]: {finding.remedy}"
            table.add_row("", "", Padding(said, (0, 0, 0, 2)))
    number = Counter(finding.status for finding in findings)
    lines = []
    if number["blocks"]:
        lines.append(f"{number['blocks']} of {len(findings)} checks would stop a calibration")
    if number["warn"]:
        lines.append(f"{number['warn']} of {len(findings)} checks need a look")
    if number["unknown"]:
        lines.append(
            f"{number['unknown']} of {len(findings)} could not be made: this system does not show it"
        )
    return Group(table, "", *(lines or ["nothing to fix"]))
