"""ISCA 2020's headline: the gain of tuning over a static batch, on the cores alone and with a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import BarPlot, Compared, Section
from calibration.reproduce.scope import CARD, CPU
from calibration.reproduce.study import Study, geometric_mean, study_node
from perfmodel.planning.tune.answer import Tuning

ALL_MODELS = "geometric mean"
GAINS: tuple[tuple[str, str, str | None, bool], ...] = (
    ("qps_gain_cpu", "QPS of tuned over static, cores alone", None, False),
    ("qps_gain_gpu", "QPS of tuned with the GPU over static", CARD, False),
    ("qps_per_w_gain_gpu", "QPS/W of tuned with the GPU over static", CARD, True),
)
"""Key in the published file, what it is, the accelerator, and whether it is per watt."""

CAUSE = "see “what stays apart”"
CAUSE_FROM = 0.1


def gains_section(study: Study) -> Section:
    """Every model's gains at every SLA level, and their geometric means beside the published ones."""
    rows = [*_means(study), *_by_model(study)]
    levels = tuple(study.plan.levels)
    plots = tuple(
        BarPlot(
            title=name,
            y_label="gain",
            groups=(*study.plan.targets_ms, ALL_MODELS, "published"),
            heights={level: _heights(study, key, card, level, per_w) for level in levels},
        )
        for key, name, card, per_w in GAINS
    )
    return Section(
        title="Gain of tuning over a static batch, Broadwell",
        prose=(
            f"The baseline cuts queries into batches of {study.plan.static_batch} on the cores alone, which "
            f"{_engines(study)} engines serve: 1000 items / 40 is the published rule; how many ran is not "
            "published, and its static rates fit 40 better than Broadwell's 28 (derived). Tuned: "
            "the best batch size, and with the GPU the best offload threshold too, by exhaustive search. "
            "Static TDP: 240 W without the GPU, 490 W with it. Low is medium / 1.5, high 1.5 × medium. "
            "Nothing was fitted to these gains. DIN is the code's default, with one attention unit; the "
            "paper's has 250 (din-isca2020), whose stored batch takes longer here than its medium SLA allows."
        ),
        rows=tuple(rows),
        plots=plots,
    )


def _engines(study: Study) -> int:
    """Engines of the node behind the gains, baseline and tuned alike."""
    return study_node(next(iter(study.plan.targets_ms)), CPU, None).cores


def published_gains() -> dict[tuple[str, str], float]:
    """The published geometric means, by key and SLA level. [1]"""
    rows = read_rows("headline_isca2020_text.csv")
    return {(row["quantity"], row["sla_level"]): float(row["value"]) for row in rows}


def _means(study: Study) -> Iterator[Compared]:
    published = published_gains()
    for key, name, card, per_w in GAINS:
        for level in study.plan.levels:
            row = Compared(
                case=f"{ALL_MODELS}, {level} SLA",
                quantity=name,
                predicted=study.geometric_mean_gain(CPU, card, level, per_w=per_w),
                published=published.get((key, level)),
            )
            yield _with_cause(row)


def _with_cause(row: Compared) -> Compared:
    if row.deviation is None or abs(row.deviation) < CAUSE_FROM:
        return row
    return replace(row, cause=CAUSE)


def _by_model(study: Study) -> Iterator[Compared]:
    for model in study.plan.targets_ms:
        for level in study.plan.levels:
            for _, name, card, per_w in GAINS:
                tuning = study.case(model, CPU, card, level)
                yield Compared(
                    case=f"{model}, {level} SLA",
                    quantity=name,
                    predicted=tuning.gain_per_w if per_w else tuning.gain,
                    setting=_setting(tuning),
                    detail=True,
                )


def _setting(tuning: Tuning) -> str:
    """What was tuned to what, and what both carry."""
    static, best = tuning.static.latency_bounded_qps, tuning.exhaustive.latency_bounded_qps
    if static is None or best is None:
        return "no load meets the SLA"
    threshold = tuning.exhaustive.offload_threshold_items
    offload = "" if threshold is None else f", offload from {threshold} items"
    return f"{static:,.0f} → {best:,.0f} queries/s: batch {tuning.exhaustive.batch_size}{offload}"


def _heights(study: Study, key: str, card: str | None, level: str, per_w: bool) -> tuple[float | None, ...]:
    gains = study.gains(CPU, card, level, per_w=per_w)
    published = published_gains().get((key, level))
    return (*gains.values(), geometric_mean(gains.values()), published)
