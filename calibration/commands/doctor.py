"""`perfplan doctor`: is this machine fit for a calibration?"""

from __future__ import annotations

import json

import typer
from rich.console import Group
from rich.table import Table

from calibration.health import Finding, examine
from perfmodel.cli.options import JsonOption
from perfmodel.errors import InputError
from perfmodel.report.latency import print_page


def doctor(as_json: JsonOption = False) -> None:
    """Say what would disturb a calibration on this machine, and how to fix it."""
    findings = examine()
    blocking = [finding for finding in findings if finding.blocks]
    if as_json:
        checks = [finding.to_dict() for finding in findings]
        print(json.dumps({"ready": not blocking, "checks": checks}, indent=2))
    else:
        print_page(_page(findings))
    if blocking:
        raise typer.Exit(InputError.exit_code)


def _page(findings: list[Finding]) -> Group:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row("OK" if finding.is_ok else "WARN", finding.name, finding.value)
        if not finding.is_ok:
            table.add_row("", "", f"  {finding.consequence}; {finding.remedy}")
    warned = sum(not finding.is_ok for finding in findings)
    return Group(table, "", f"{warned} of {len(findings)} checks need a look" if warned else "nothing to fix")
