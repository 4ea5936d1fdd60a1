"""`perfplan reproduce recpipe`: stages on cores and a card, as RecPipe sets them up."""

from __future__ import annotations

from typing import Any, Final

from calibration.reproduce.evaluation import BarPlot, Compared, Reproduction, Section
from calibration.reproduce.scope import Progress
from perfmodel.library.predict import predict
from perfmodel.loading.shipped import shipped_directory
from perfmodel.report.documents.predict import PredictDocument

ITEMS: Final = 4096
"""Of a query: `stage_batch_sizes` of its configurations begin with it. [items]"""
ENGINES: Final = 32
"""Processes of its server, one a physical core: `max_cpu_engines`. [cores]"""
RATE_QPS: Final = 200.0
"""A query each 5 ms, among its `arrival_rates`. [queries/s]"""
LIMIT_MS: Final = 100.0
"""Assumed: of p99, within which the largest load is looked for. [ms]"""
SERVER, CARD = "cascade-lake", "t4"

Stage = tuple[str, int, str]
"""A model by size, how many items of a query it ranks, and where."""
DESIGNS: Final[dict[str, tuple[Stage, ...]]] = {
    "large": (("large", 4096, "cores"),),
    "small, then large of 512": (("small", 4096, "cores"), ("large", 512, "cores")),
    "small, then large of 128": (("small", 4096, "cores"), ("large", 128, "cores")),
    "small, medium of 1024, large of 128": (
        ("small", 4096, "cores"),
        ("medium", 1024, "cores"),
        ("large", 128, "cores"),
    ),
    "large on the card": (("large", 4096, "card"),),
    "small on the card, then large of 512": (("small", 4096, "card"), ("large", 512, "cores")),
}
"""From `kaggle_1_stage`, `kaggle_2_stage` and `kaggle_3_stage` of its repository."""


def scenario_of(stages: tuple[Stage, ...]) -> dict[str, Any]:
    """The scenario of a design, as a file would say it; engines are shared out over stages on cores."""
    on_cores = sum(where == "cores" for _, _, where in stages)
    told = [_stage(stage, ENGINES // max(1, on_cores)) for stage in stages]
    first, *later = told
    for each, (_, items, _) in zip(later, stages[1:], strict=True):
        each["items"] = items
        if stages[0][2] == "cores":
            each["cores"] = each.pop("node")["cores"]
    found = {
        **first,
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": RATE_QPS},
            "query_sizes": {"distribution": "fixed", "num_items": ITEMS},
        },
        "sla": {"percentile": 0.99, "latency_ms": LIMIT_MS},
        "simulation": {"seed": 1, "precision": 0.05},
    }
    return found | ({"pipeline": {"sub_batches": 1, "stages": later}} if later else {})


def _stage(stage: Stage, cores: int) -> dict[str, Any]:
    size, items, where = stage
    node: dict[str, Any] = {"cpu": SERVER, "cores": cores, "stack": "pytorch"}
    if where == "card":
        node |= {"accelerators": [CARD], "cores": ENGINES - 1}  # one core issues
    return {
        "model": str(shipped_directory("scenario") / "models" / f"recpipe-{size}.yaml"),
        "node": node,
        "policy": {
            "name": "split",
            "batch_size": items,
            "offload_threshold_items": 1 if where == "card" else None,
        },
    }


def reproduce_recpipe(progress: Progress = lambda _: None) -> Reproduction:
    """Recompute latencies and loads of six designs: nothing is fitted, nothing published is beside."""
    found: dict[str, PredictDocument] = {}
    for name, stages in DESIGNS.items():
        progress(name)
        found[name] = predict(scenario_of(stages), extrapolate=True).to_dict()
    return Reproduction(
        name="recpipe",
        title="Several stages on a CPU server and a card, recomputed",
        source=(
            "U. Gupta et al., “RecPipe: Co-designing Models and Hardware to Jointly Optimize Recommendation "
            "Quality and Performance”, MICRO 2021; models, items, engines and rates from its repository "
            "(harvard-acc/RecPipe, configs), the machines of its Table 2 from data sheets. Its curves "
            "are not here: they stand apart, to be compared with these."
        ),
        sections=(_section(found),),
    )


def _section(found: dict[str, PredictDocument]) -> Section:
    one = found["large"]["latency_ms"]["p99"]
    rows = []
    for name, answer in found.items():
        p99 = answer["latency_ms"]["p99"]
        less = "" if p99 is None or one is None else f"{one / p99:.2f} times as fast as the large model alone"
        rows.append(
            Compared(case=name, quantity="p99 [ms]", predicted=p99, setting=f"{RATE_QPS:g} queries/s; {less}")
        )
        rows.append(
            Compared(
                case=name,
                quantity="largest load [queries/s]",
                predicted=answer["latency_bounded_qps"],
                setting=f"p99 within {LIMIT_MS:g} ms",
            )
        )
    return Section(
        title="Designs",
        prose=(
            f"Queries of {ITEMS} items; one process ranks a whole query of a stage. Assumed: {ENGINES} "
            f"engines shared out evenly over the stages on cores; PyTorch's calls of the calibrated Emerald "
            f"Rapids and H200, carried to {SERVER} and {CARD} by data sheets, at batches beyond those "
            "calibrated (extrapolated); the card beside the base's host; sorting is free, and what each "
            "stage ranks is as good as RecPipe found."
        ),
        rows=tuple(rows),
        plots=(
            BarPlot(
                title=f"p99 at {RATE_QPS:g} queries/s",
                y_label="ms",
                groups=tuple(found),
                heights={"predicted": tuple(each["latency_ms"]["p99"] for each in found.values())},
            ),
        ),
    )
