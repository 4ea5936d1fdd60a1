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
QUICK = ("simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.1")
# One scenario of each kind that answers within seconds; the others are predicted among the slow tests.
EACH_KIND = (
    "din_broadwell",
    "rm1_broadwell_gtx1080ti",
    "rm1_broadwell_overloaded_shedding",
    "rm3_amd_epyc_turin_2c",
    "wnd_broadwell_gtx1080ti_batching",
    "wnd_broadwell_trace",
    "wnd_skylake",
)
KEPT = ("verdict", "utilisation", "latency_ms", "latency_bounded_qps", "service_time_ms", "power_at_load_w")


def answer(name: str) -> dict[str, Any]:
    """Ask a shipped scenario, and keep what a reader would look at, to four digits."""
    document = perfmodel.predict(name, overrides=QUICK).to_dict()
    return {key: rounded(document[key]) for key in KEPT}


def rounded(value: Any) -> Any:
    """Round numbers to four significant digits, in dictionaries too."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    answers = {name: answer(name) for name in shipped_names("scenario")}
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
