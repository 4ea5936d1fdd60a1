"""Fit anew what this machine measured: `perfplan dev refit MEASURED.csv OUT.yaml`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from calibration.fingerprint import fingerprint
from calibration.measure.calibration import caches_of, calibrated_values, costs_of_ways
from calibration.measure.device_calibration import calibrated_device_values
from calibration.measure.one_thread import in_one_thread
from calibration.measure.points import require_kernels
from calibration.measure.profile import served_sections, with_fitted_values
from calibration.measure.records import read_records
from calibration.runtime.settings import apply_settings
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.profile_file import require_name
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.profile_writing import require_profile_writable, write_profile
from perfmodel.loading.yaml_source import read_yaml


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, fit, write; a profile that is there keeps its name and its fingerprint."""
    parser = argparse.ArgumentParser(prog="perfplan dev refit", description=__doc__)
    parser.add_argument("measured", type=Path, help="the measurements of a calibration")
    parser.add_argument("out", type=Path, help="the profile to write, or to fit anew")
    parser.add_argument("--card", help="of an accelerator's measurements: what its maker calls it")
    parser.add_argument(
        "--ways-from", type=Path, metavar="MORE.csv", help="ways to serve modules that were measured later"
    )
    given = parser.parse_args(arguments)
    try:
        values = refitted(given.measured, given.out, given.card)
        if given.ways_from is not None:
            add_ways(values, given.ways_from)
        try:
            write_profile(given.out, values)
        except InputError:
            print(profile_text(values), end="")
            raise
    except PerfplanError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    for section in values["stacks"]["pytorch"]["surfaces"]:
        print(
            f"{section['call']:24} {section['calls']:6} calls  error {100 * section['relative_error']:5.1f} %"
        )


def refitted(measured: Path, out: Path, card: str | None = None) -> dict[str, Any]:
    """Fit measurements anew, for a profile at `out`; of an accelerator, where `card` names one.

    Raises
    ------
    InputError
        If they are none, or too few, or the profile cannot be written there.
    """
    require_profile_writable(out, "OUT")
    records, (name, taken) = read_records(measured), identity(out)
    require_kernels(
        records.visits,
        records.facts.get("most_table_bytes", 0.0),
        str(measured),
        records.models,
    )
    if "memory_bytes" not in records.facts:
        return in_one_thread(calibrated_values, records, taken, name=name, raw=measured.name)
    if card is None:
        raise InputError(f"{measured}: measurements of an accelerator: say of which one by --card NAME")
    return in_one_thread(calibrated_device_values, records, taken, card=card, name=name, raw=measured.name)


def add_ways(values: dict[str, Any], more: Path) -> None:
    """Add the ways to serve modules that another file of measurements has, and the profile has not.

    Raises
    ------
    InputError
        If the file is none of a calibration, or the profile none of a CPU.
    """
    if values["kind"] != "cpu":
        raise InputError("--ways-from: expected a CPU's measurements")
    records, stack = read_records(more), values["stacks"]["pytorch"]
    caches = caches_of(Fingerprint.model_validate_json(json.dumps(values["fingerprint"])), records.facts)
    found = served_sections(costs_of_ways(records, caches), f"measured: {more.name}")
    stack["served"] = stack.get("served", {})
    stack["served"] |= {way: section for way, section in found.items() if way not in stack["served"]}
    with_fitted_values(values)


def identity(out: Path) -> tuple[str, Fingerprint]:
    """Name and fingerprint of the profile that is there, else the file's name and this machine's.

    Raises
    ------
    InputError
        If what is there is no calibrated profile: it is not overwritten. If a new one cannot be named so.
    """
    if out.exists():
        try:
            document = cast(dict[str, Any], read_yaml(out).data())
            return document["name"], Fingerprint.model_validate_json(json.dumps(document["fingerprint"]))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{out}: expected a calibrated profile to fit anew, or no file") from None
    require_name(out.stem, f"OUT {out}")
    return out.stem, fingerprint(settings=(apply_settings().describe(),))


if __name__ == "__main__":
    main()
