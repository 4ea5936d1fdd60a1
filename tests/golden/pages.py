"""Terminal pages at several widths, to see whether anything moved.

`python -m tests.golden.pages` rewrites them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import perfmodel
from perfmodel.report.console import page_text

FOLDER = Path(__file__).with_name("pages")
WIDTHS = (60, 80, 120)
FEW = [
    *["simulation.min_queries=20000", "simulation.max_queries=20000"],
    "simulation.precision=0.1",
]

USERS = "traffic.arrivals={process: closed, users: 40, think_s: 0.5}"
SIZES = Path(__file__).parents[1] / "unit/loading/recordings/files/deeprecsys_sizes.txt"

CASES: Mapping[str, Callable[[], Any]] = {
    "predict": lambda: perfmodel.predict("rm3_skylake", overrides=FEW),
    "predict_unstable": lambda: perfmodel.predict("rm3_skylake", overrides=FEW, scale_load=20.0),
    "predict_card": lambda: perfmodel.predict("rm1_broadwell_gtx1080ti", overrides=FEW),
    "capacity": lambda: perfmodel.capacity("ncf_skylake", overrides=FEW),
    "tune": lambda: perfmodel.tune("ncf_skylake", overrides=FEW, batch_sizes=[64, 128]),
    "latency": lambda: perfmodel.latency("dlrm-rmc3", on="skylake", batch_sizes=[1, 64]),
    "map": lambda: perfmodel.map_devices(["dlrm-rmc1", "wnd"], ["broadwell", "gtx1080ti"], [1, 64]),
    "mlperf": lambda: perfmodel.mlperf("mlperf_dlrm_v2_skylake", 40.0, overrides=FEW),
    "explain": lambda: perfmodel.explain("rm3_skylake", overrides=FEW),
    "diff": lambda: perfmodel.diff("rm3_skylake", "rm3_broadwell", overrides=FEW),
    "sweep": lambda: perfmodel.sweep(
        "rm3_skylake",
        {"policy.batch_size": [64, 128, 0], "node.cores": [20, 40]},
        question="predict",
        overrides=FEW,
        pareto=["qps", "latency"],
    ),
    "predict_stages": lambda: perfmodel.predict("ranking_two_stages", overrides=FEW),
    "tune_stages": lambda: perfmodel.tune_stages(
        "ranking_two_stages", overrides=[*FEW, "sla.latency_ms=12"], sub_batches=[1, 4]
    ),
    "capacity_users": lambda: perfmodel.capacity("rm3_skylake", overrides=[*FEW, USERS]),
    "explain_shedding": lambda: perfmodel.explain("rm1_broadwell_overloaded_shedding", overrides=FEW),
    "plan": lambda: perfmodel.plan("two_services", simulate=False),
    "trace": lambda: perfmodel.trace(SIZES),
    "fleet": lambda: perfmodel.fleet("rm1_broadwell_diurnal", 3, windows=4, overrides=FEW),
}


@cache
def answer(case: str) -> Any:
    """The answer behind a page, found once."""
    return CASES[case]()


def page(case: str, width: int) -> str:
    """The page as a terminal of that width shows it."""
    return page_text(answer(case)._page(), width)


def path_of(case: str, width: int) -> Path:
    """Where it is kept."""
    return FOLDER / f"{case}_{width}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        for width in WIDTHS:
            path_of(case, width).write_text(page(case, width) + "\n", encoding="utf-8")
