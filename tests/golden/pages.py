"""Terminal pages at several widths, to see whether anything moved.

`python -m tests.golden.pages` rewrites them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import perfmodel
from benchmarks.observed_cases import truth, write_log
from perfmodel.cli.commands import COMMANDS
from perfmodel.cli.main import main
from perfmodel.report.console import page_text
from tests.golden import measured
from tests.unit.loading.test_machine_dump import lscpu

FOLDER = Path(__file__).with_name("pages")
WIDTHS = (60, 80, 120)
FEW = [
    *["simulation.min_queries=20000", "simulation.max_queries=20000"],
    "simulation.precision=0.1",
]

USERS = "traffic.arrivals={process: closed, users: 40, think_s: 0.5}"
SIZES = Path(__file__).parents[1] / "unit/loading/recordings/files/deeprecsys_sizes.txt"


def observed() -> Any:
    """The log of a small simulated node, held against a scenario that it has drifted from."""
    with TemporaryDirectory() as folder, chdir(folder):
        write_log(truth(13), Path("log.csv"), num_queries=4000, seed=1)
        perfmodel.observe("log.csv", sla_ms=40, out="node")
        return perfmodel.observe(
            "log.csv",
            scenario="node/scenario.yaml",
            overrides=["traffic.arrivals.rate_qps=1"],
            sla_ms=40,
        )


CASES: dict[str, Callable[[], Any]] = {
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
    "observe": observed,
}


MEASURED: dict[str, Callable[[], Any]] = {
    "doctor": measured.doctor,
    "doctor_quiet": measured.doctor_quiet,
    "calibrate": measured.calibrate,
    "reproduce": measured.reproduce,
    "validate": measured.validate,
    "validate_disturbed": measured.validate_disturbed,
    "validate_suite": measured.validate_suite,
    "tune_deeprecsys_mode": measured.deeprecsys,
    "import": measured.imported,
}
"""Pages of what was measured, or takes minutes, and stands fixed here."""

PRINTED: Mapping[str, str] = {
    "dev": "dev",
    **{
        f"list_{topic}": f"list {topic}"
        for topic in ("models", "profiles", "scenarios", "fleets", "policies", "arrivals", "distributions")
    },
    "profile_new": "profile new --base skylake --from-lscpu lscpu.json --out mine.yaml",
    "init": "init starter",
    "show": "show rm3_skylake",
    "schema": "schema --of trace",
    **{f"help_{name}": f"{name} --help" for name in COMMANDS},
    "help": "--help",
    "report": f"report {measured.REPORTS / 'reproduce-mlperf.json'} --out page.html",
}
"""Commands whose answer is text as it is: what they print, notes on stderr below it."""

FEW_NAMES: Mapping[str, list[str]] = {
    "scenario": ["dien_broadwell_gtx1080ti", "five_terabytes_tiered", "ranking_two_stages", "rm3_skylake"],
    "model": ["bst", "dlrm-rmc1"],
    "profile": ["amd-epyc-turin-2c", "genoa-9654", "skylake"],
    "fleet": ["hercules", "two_services"],
}
"""What lists show here: what is shipped grows, and the page stays."""

FILES = ("mine.yaml",)
"""Files that commands write to be read by people: shown below what is printed."""


def printed(command: str, width: int) -> str:
    """What a command prints into a pipe whose width is told, without colours, in a folder of its own."""
    out, err = StringIO(), StringIO()
    told = {"COLUMNS": str(width), "NO_COLOR": "1"}
    few = patch("perfmodel.cli.list.shipped_names", FEW_NAMES.__getitem__)
    with TemporaryDirectory() as folder, chdir(folder), patch.dict(os.environ, told), few:
        lscpu(Path())
        with redirect_stdout(out), redirect_stderr(err):
            assert main(command.split()) == 0
        files = [Path(name).read_text(encoding="utf-8") for name in FILES if Path(name).exists()]
    return "".join([out.getvalue(), err.getvalue(), *files]).removesuffix("\n")


@cache
def answer(case: str) -> Any:
    """The answer behind a page, found once."""
    return (CASES | MEASURED)[case]()


def page(case: str, width: int) -> str:
    """The page as a terminal of that width shows it."""
    if case in PRINTED:
        return printed(PRINTED[case], width)
    if case in MEASURED:
        return page_text(answer(case), width)
    return page_text(answer(case)._page(), width)


def path_of(case: str, width: int) -> Path:
    """Where it is kept."""
    return FOLDER / f"{case}_{width}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in (*CASES, *MEASURED, *PRINTED):
        for width in WIDTHS:
            path_of(case, width).write_text(page(case, width) + "\n", encoding="utf-8")
