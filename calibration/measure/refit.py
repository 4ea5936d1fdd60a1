"""Fit anew what this machine measured: `python -m calibration.measure.refit MEASURED.csv OUT.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from calibration.fingerprint import fingerprint
from calibration.measure.calibration import calibrated_values
from calibration.measure.one_thread import in_one_thread
from calibration.measure.records import read_records
from calibration.runtime.settings import apply_settings
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.written import write_atomically


def main() -> None:
    """Read, fit, write."""
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    taken = fingerprint(settings=(apply_settings().describe(),))
    values = in_one_thread(calibrated_values, read_records(raw), taken, name=out.stem, raw=raw.name)
    write_atomically(out, profile_text(values))
    for section in values["stacks"]["pytorch"]["surfaces"]:
        print(
            f"{section['call']:24} {section['calls']:6} calls  error {100 * section['relative_error']:5.1f} %"
        )


if __name__ == "__main__":
    main()
