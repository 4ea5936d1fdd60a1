"""The one way from the command line to `calibration`, which measures: names, loaded when they are asked for.

The library never imports what measures, and needs no PyTorch. `tests/contract/test_no_circles.py` holds that
these are there, that no other module names any, and that the ways through them make no circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

ENTRY_POINTS: Mapping[str, str] = {
    "calibrate": "calibration.commands.calibrate:calibrate",
    "import": "calibration.commands.import_model:import_model",
    "reproduce": "calibration.commands.reproduce:reproduce",
    "validate": "calibration.commands.validate:validate",
    "doctor": "calibration.commands.doctor:doctor",
    "dev": "calibration.commands.dev:dev",
    "documents": "calibration.documents:KINDS",
}
"""Commands, and the documents that they print: module and name."""


def entry_point(name: str) -> Any:
    """Load what stands behind a name."""
    module, _, found = ENTRY_POINTS[name].partition(":")
    return vars(import_module(module))[found]
