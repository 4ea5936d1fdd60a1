"""What the commands that measure say, of measurements that are fixed: no clock, no machine, no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType

from calibration.commands.calibrate import summary_lines
from calibration.commands.doctor import findings_page
from calibration.health import Finding
from calibration.reproduce.evaluation import Compared, Reproduction, Section
from calibration.reproduce.page import reproduction_page
from calibration.validation.anchor import Anchor
from calibration.validation.capacity import CapacityCheck
from calibration.validation.comparison import Comparison
from calibration.validation.own_module import AloneRow
from calibration.validation.page import comparison_page
from calibration.validation.single import Validation
from calibration.validation.suite_page import suite_page
from calibration.validation.suite_report import SuiteReport
from calibration.validation.summary import Summary
from calibration.validation.unsteadiness import Unsteadiness
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.deeprecsys.climb import Attempt, Climb, ClimbReport
from perfmodel.planning.deeprecsys.settings import PUBLISHED, Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutCapacity, ShortcutReport
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.question import Configuration
from perfmodel.report.deeprecsys import deeprecsys_page
from perfmodel.units import MS

REPORTS = Path(__file__).parents[2] / "docs" / "reports"


def doctor() -> RenderableType:
    """A virtual machine with a busy neighbour, without torch."""
    return findings_page(
        [
            Finding(
                name="load",
                value="2.07 runnable over the last minute, 2 hardware threads",
                consequence="other work takes time and cache from what is measured",
                remedy="stop other processes (top shows them), or wait a minute",
            ),
            Finding(name="frequency governor", value="not shown here", unknown=True),
            Finding(name="hyper-threads", value="2 threads on 2 cores"),
            Finding(
                name="torch",
                value="not installed",
                consequence="nothing can be measured",
                remedy="pip install 'perfplan[calibration]'",
                blocks=True,
            ),
            Finding(
                name="last-level cache",
                value="keeps lines for 1.1 ms",
                consequence="neighbours on this host fill it: lookups take longer than they would alone",
                remedy="a dedicated host, or a cache partition of your own",
            ),
        ]
    )


def doctor_quiet() -> RenderableType:
    """Nothing to fix."""
    return findings_page([Finding(name="swap", value="none"), Finding(name="huge pages", value="madvise")])


def calibrate() -> RenderableType:
    """The figures of a profile of today."""
    summary = {
        "calls": 14747,
        "kinds": 12,
        "spread_between_passes": 0.0123,
        "disturbed_passes": 41,
        "relative_error": 0.0789,
    }
    return Group(*summary_lines(Path("profiles/my-server.yaml"), summary))


def reproduce() -> RenderableType:
    """The evaluation of audited servers, as saved."""
    saved: dict[str, Any] = json.loads((REPORTS / "reproduce-mlperf.json").read_text(encoding="utf-8"))
    sections = [
        Section(
            title=section["title"],
            prose=section["prose"],
            rows=tuple(
                Compared(
                    **{key: row[key] for key in ("case", "quantity", "predicted", "published", "detail")},
                    setting=row["setting"] or "",
                    cause=row["cause"] or "",
                )
                for row in section["rows"]
            ),
        )
        for section in saved["sections"]
    ]
    texts = {key: saved[key] for key in ("title", "source")}
    return reproduction_page(Reproduction(name=saved["evaluation"], **texts, sections=tuple(sections)))


def _summary(factor: float) -> Summary:
    shares = {0.5: 3.1, 0.95: 8.42, 0.99: 13.7}
    return Summary(
        mean_s=3.9 * factor * MS,
        percentiles_s={share: value * factor * MS for share, value in shares.items()},
        throughput_qps=148.2,
        service_time_s=1.21 * factor * MS,
        utilisation=0.41 * factor,
        accelerator_service_time_s=2.2 * factor * MS,
    )


SIZES = (
    {"from_items": 1, "to_items": 31, "requests": 412, "measured_ms": 0.61, "predicted_ms": 0.58},
    {"from_items": 32, "to_items": 127, "requests": 3210, "measured_ms": 1.02, "predicted_ms": 1.05},
    {"from_items": 128, "to_items": 128, "requests": 9021, "measured_ms": 1.41, "predicted_ms": 1.37},
)


def _by_size() -> list[dict[str, float]]:
    return [
        {**row, "error_percent": 100.0 * (row["predicted_ms"] / row["measured_ms"] - 1.0)} for row in SIZES
    ]


def _comparison(*, own: float, repeated: int = 1) -> Comparison:
    return Comparison(
        question=prepare(load_scenario("rm3_skylake")),
        offered_qps=148.0,
        num_queries=4440,
        measured=_summary(1.0),
        predicted=_summary(0.96),
        unanchored=None,
        unanchored_now=None,
        equal_utilisation=_summary(1.01),
        own_times=_summary(own),
        level_factor=1.04,
        by_batch=_by_size(),
        by_launch=_by_size()[:1],
        drift=0.013,
        anchor=Anchor(
            shape=np.ones(4),
            contention=0.1,
            level=1.07,
            num_requests=900,
            drift=0.021,
            accelerator_level=1.0,
            relative_std=0.043,
        ),
        l3_lifetime_s=1.1 * MS,
        repeated_pieces=repeated,
        longest_stall_s=3.4 * MS,
        interrupted=repeated > 1,
        unsteadiness=Unsteadiness(
            requests=12643,
            compared=12000,
            relative_std=0.061,
            p99_over_p50=1.3,
            pauses_per_s=0.8,
            pause_s=4.1 * MS,
        ),
    )


SETTINGS = "one thread a worker, pinned to cores 0 to 19; allocator: glibc, arenas kept"


def validation() -> Validation:
    """A server with a card, its largest load, and a module of the user's own."""
    check = CapacityCheck(percentile=0.95, latency_s=0.1, predicted_qps=402.0, measured_qps=389.0, tried=())
    rows = [AloneRow(batch_size=size, measured_s=1e-5 * size, predicted_s=0.97e-5 * size) for size in (1, 64)]
    return Validation(
        comparison=_comparison(own=1.0),
        capacity=check,
        settings=SETTINGS,
        alone=tuple(rows),
        module="serving/model.py:build",
    )


def validate() -> RenderableType:
    """What `perfplan validate` says of it."""
    return validation().page()


def validate_disturbed() -> RenderableType:
    """A run that met something else and was ended."""
    disturbed = _comparison(own=0.3, repeated=4)
    object.__setattr__(disturbed, "predicted", _summary(0.3))
    return comparison_page(disturbed, None, SETTINGS)


def validate_suite() -> RenderableType:
    """The suite as it was measured on a machine, from its saved report."""
    text = (REPORTS / "validate-amd-epyc-turin-2c.json").read_text(encoding="utf-8")
    saved = json.loads(text)
    saved.pop("summary")
    return suite_page(SuiteReport(**saved), Path("suite.html"))


def _row(name: str, shortcuts: set[Shortcut], qps: float, latency_s: float | None) -> ShortcutCapacity:
    return ShortcutCapacity(
        name=name,
        shortcuts=frozenset(shortcuts),
        qps=qps,
        lowest_qps=0.97 * qps,
        highest_qps=1.03 * qps,
        repetitions=32 if shortcuts else 4,
        of_exact=qps / 400.0,
        exact_latency_s=latency_s,
        note="the windows end where the list of gaps does" if latency_s is None else "",
    )


def deeprecsys() -> RenderableType:
    """The published controller beside the exact answer, on few climbs."""
    rows = (
        _row("exact", set(), 400.0, 0.0999),
        _row("percentile over windows of 64", {Shortcut.WINDOWS}, 440.0, None),
        _row("six batches, interpolated", {Shortcut.INTERPOLATION}, 371.0, 0.081),
    )
    question = prepare(load_scenario("rm3_broadwell_gtx1080ti"))
    forgotten, without = Configuration(512, 96), Configuration(512, 1024)
    climb = Climb((Attempt(forgotten, without, 390.0),), forgotten, 390.0)
    climbs = ClimbReport(settings=PUBLISHED, climbs=(climb,), exact_qps={forgotten: 100.0, without: 380.0})
    return deeprecsys_page(ShortcutReport(question=question, settings=PUBLISHED, rows=rows), climbs)


def imported() -> RenderableType:
    """A module of which something was not recognised."""
    from calibration.importing.importer import Imported, Recognised, Unrecognised  # torch
    from calibration.importing.page import import_page
    from perfmodel.planning.prepare import find_model

    rows = (("linear", "mlp", 6, 1.2e6, 4.8e3), ("embedding_bag", "embedding_bag", 26, 0.0, 3.3e3))
    found = Imported(
        model=find_model("dlrm-rmc1"),
        method="torch.export",
        recognised=tuple(
            Recognised(call=call, kind=kind, count=count, flop_per_item=flop, bytes_per_item=moved)
            for call, kind, count, flop, moved in rows
        ),
        unrecognised=(
            Unrecognised(
                call="aten.cumsum.default", count=2, flop_share=0.001, bytes_share=0.02, where="m.py:7"
            ),
        ),
        counted_flop_per_item=1.24e6,
        product_flop_per_item=1.2e6,
        counted_rows_per_item=26.0,
        rows_per_item=26.0,
        counted_row_bytes_per_item=3.3e3,
        row_bytes_per_item=3.3e3,
        counted_table_bytes=1e9,
    )
    return import_page(found, "models/my-model.yaml")
