"""Answers of the shipped scenarios, to see whether anything moved; never evidence of being right.

`python -m tests.golden.scenarios` rewrites the answers; a diff needs a reason in the commit message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import perfmodel
from perfmodel.loading.shipped import shipped_names

ANSWERS = Path(__file__).with_name("scenarios.json")
QUICK = ("simulation.min_queries=50000", "simulation.precision=0.1")
KEPT = ("verdict", "utilisation", "latency_ms", "latency_bounded_qps", "service_time_ms", "power_at_load_w")


def answers() -> dict[str, dict[str, Any]]:
    """Ask every shipped scenario, and keep what a reader would look at, to four digits."""
    found = {}
    for name in shipped_names("scenario"):
        document = perfmodel.predict(name, overrides=QUICK).to_dict()
        found[name] = {key: rounded(document[key]) for key in KEPT}
    return found


def rounded(value: Any) -> Any:
    """Round numbers to four significant digits, in dictionaries too."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    ANSWERS.write_text(json.dumps(answers(), indent=1) + "\n", encoding="utf-8")
