"""ISCA 2020's headline: the gain of tuning over a static batch, on the cores alone and with a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import BarPlot, Compared, Section
from calibration.reproduce.rate_grid import RateEnds, published_ends, script_ends
from calibration.reproduce.scope import CARD, CPU
from calibration.reproduce.study import Study, gain_of, geometric_mean, study_node
from perfmodel.planning.tune.answer import Optimum

ALL_MODELS = "geometric mean"
GAINS: tuple[tuple[str, str, str | None, bool], ...] = (
    ("qps_gain_cpu", "QPS of tuned over static, cores alone", None, False),
    ("qps_gain_gpu", "QPS of tuned with the GPU over static", CARD, False),
    ("qps_per_w_gain_gpu", "QPS/W of tuned with the GPU over static", CARD, True),
)
"""Key in the published file, what it is, the accelerator, and whether it is per watt."""

CAUSE = "see “what stays apart”"
CAUSE_FROM = 0.1


ANY_RATE = "any rate"


def gains_section(study: Study) -> Section:
    """Every model's gains at every SLA level, and their geometric means beside the published ones."""
    ends = published_ends()
    rows = [*_means(study, ends), *_by_model(study, ends)]
    levels = tuple(study.plan.levels)
    plots = tuple(
        BarPlot(
            title=name,
            y_label="gain",
            groups=(*study.plan.targets_ms, ALL_MODELS, "published"),
            heights={level: _heights(study, key, card, level, per_w, ends) for level in levels},
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
            "The published search moves along a list of rates and reports the end of the list where a node "
            f"lies beyond it. Rates count as it would report them between {ends.least_qps:,.0f} and "
            f"{ends.greatest_qps:,.0f} queries/s, the least and the greatest that were published: the list "
            "itself was not. Beside them: the list of the public scripts, narrower than what was published; "
            "and any rate, as the nodes carry them, over the models whose baseline carries something. "
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


def _means(study: Study, ends: RateEnds) -> Iterator[Compared]:
    """By the ends of the search's rates: those that hold all published ones, the scripts', none."""
    published, scripts = published_gains(), script_ends()
    listed = f"the scripts' {scripts.least_qps:,.0f} to {scripts.greatest_qps:,.0f} queries/s"
    for where, reported in (("", ends), (f", {listed}", scripts), (f", {ANY_RATE}", None)):
        for key, name, card, per_w in GAINS:
            for level in study.plan.levels:
                gains = study.gains(CPU, card, level, per_w=per_w, ends=reported)
                row = Compared(
                    case=f"{ALL_MODELS}, {level} SLA{where}",
                    quantity=name,
                    predicted=geometric_mean(gains.values()),
                    published=published.get((key, level)),
                    setting=f"of {sum(gain is not None for gain in gains.values())} models",
                )
                yield _with_cause(row)


def _with_cause(row: Compared) -> Compared:
    if row.deviation is None or abs(row.deviation) < CAUSE_FROM:
        return row
    return replace(row, cause=CAUSE)


def _by_model(study: Study, ends: RateEnds) -> Iterator[Compared]:
    for model in study.plan.targets_ms:
        for level in study.plan.levels:
            for _, name, card, per_w in GAINS:
                tuning = study.case(model, CPU, card, level)
                yield Compared(
                    case=f"{model}, {level} SLA",
                    quantity=name,
                    predicted=gain_of(tuning, per_w=per_w, ends=ends),
                    setting=_setting(tuning),
                    detail=True,
                )


def _setting(tuning: Optimum) -> str:
    """What was tuned to what, and what both carry."""
    static, best = tuning.static.latency_bounded_qps, tuning.exhaustive.latency_bounded_qps
    if best is None:
        return "no load meets the SLA"
    threshold = tuning.exhaustive.offload_threshold_items
    offload = "" if threshold is None else f", offload from {threshold} items"
    before = "none" if static is None else f"{static:,.0f}"
    return f"{before} → {best:,.0f} queries/s: batch {tuning.exhaustive.batch_size}{offload}"


def _heights(
    study: Study, key: str, card: str | None, level: str, per_w: bool, ends: RateEnds
) -> tuple[float | None, ...]:
    gains = study.gains(CPU, card, level, per_w=per_w, ends=ends)
    published = published_gains().get((key, level))
    return (*gains.values(), geometric_mean(gains.values()), published)
