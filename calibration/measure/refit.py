"""Fit anew what this machine measured: `python -m calibration.measure.refit MEASURED.csv OUT.yaml`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

from calibration.fingerprint import fingerprint
from calibration.measure.calibration import calibrated_values
from calibration.measure.one_thread import in_one_thread
from calibration.measure.records import read_records
from calibration.runtime.settings import apply_settings
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.errors import InputError
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.written import write_atomically
from perfmodel.loading.yaml_source import read_yaml


def main() -> None:
    """Read, fit, write; a profile that is there keeps its name and its fingerprint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="the measurements of a calibration")
    parser.add_argument("out", type=Path, help="the profile to write, or to fit anew")
    given = parser.parse_args()
    try:
        records, (name, taken) = read_records(given.measured), identity(given.out)
    except InputError as error:
        parser.error(str(error))
    if "memory_bytes" in records.facts:
        parser.error(f"{given.measured}: measurements of an accelerator; expected a CPU's: calibrate it anew")
    values = in_one_thread(calibrated_values, records, taken, name=name, raw=given.measured.name)
    write_atomically(given.out, profile_text(values))
    for section in values["stacks"]["pytorch"]["surfaces"]:
        print(
            f"{section['call']:24} {section['calls']:6} calls  error {100 * section['relative_error']:5.1f} %"
        )


def identity(out: Path) -> tuple[str, Fingerprint]:
    """Name and fingerprint of the profile that is there, else the file's name and this machine's.

    Raises
    ------
    InputError
        If what is there is no calibrated profile: it is not overwritten.
    """
    if out.exists():
        try:
            document = cast(dict[str, Any], read_yaml(out).data())
            return document["name"], Fingerprint.model_validate_json(json.dumps(document["fingerprint"]))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{out}: expected a calibrated profile to fit anew, or no file") from None
    return out.stem, fingerprint(settings=(apply_settings().describe(),))


if __name__ == "__main__":
    main()
