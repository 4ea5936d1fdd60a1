"""The best batch size against the SLA, on two servers, and for another law of query sizes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from calibration.reproduce.evaluation import Compared, Line, LinePlot, Section
from calibration.reproduce.scope import CPU, OTHER_CPU
from calibration.reproduce.study import Study
from perfmodel.planning.tune.answer import Optimum

BATCH = "best batch size [items]"
QPS = "latency-bounded throughput [queries/s]"


def server_section(study: Study) -> Section:
    """Best batch size at each SLA level, Broadwell and Skylake."""
    models, levels = list(study.plan.targets_ms), list(study.plan.levels)
    rows = [
        Compared(
            case=f"{model}, {cpu}, {level} SLA",
            quantity=BATCH,
            predicted=_batch(study.case(model, cpu, None, level)),
            setting=_carried(study.case(model, cpu, None, level)),
            detail=True,
        )
        for model in models
        for cpu in (CPU, OTHER_CPU)
        for level in levels
    ]
    falls = sum(
        _is_smaller(study.case(model, cpu, None, looser), study.case(model, cpu, None, tighter))
        for model in models
        for cpu in (CPU, OTHER_CPU)
        for tighter, looser in pairwise(levels)
    )
    smaller = sum(
        _is_smaller(study.case(model, CPU, None, level), study.case(model, OTHER_CPU, None, level))
        for model in models
        for level in levels
    )
    orders = [
        _count("looser SLA with a smaller best batch", falls, 2 * len(models) * (len(levels) - 1)),
        _count("Broadwell with a smaller best batch than Skylake", smaller, len(models) * len(levels)),
    ]
    return Section(
        title="Best batch size against the SLA, Broadwell and Skylake",
        prose=(
            "Published: a looser SLA asks for larger batches, and Broadwell for larger ones than Skylake. "
            "Sizes are tried in powers of two. Where throughput hardly depends on the batch size, the "
            "smallest of those within 0.5 % is taken, and the order of two best sizes says little."
        ),
        rows=(*orders, *rows),
        plots=tuple(_plot(study, cpu) for cpu in (CPU, OTHER_CPU)),
    )


def sizes_section(production: Study, lognormal: Study) -> Section:
    """Best batch size under the production sizes and under a log-normal law, Broadwell."""
    pairs = [
        (
            f"{model}, {level} SLA",
            production.case(model, CPU, None, level),
            lognormal.case(model, CPU, None, level),
        )
        for model in production.plan.targets_ms
        for level in production.plan.levels
    ]
    larger = sum(_is_smaller(ours, theirs) for _, ours, theirs in pairs)
    return Section(
        title="Production query sizes against a log-normal law",
        prose=(
            "LogNormal(5.10, 0.20), ISCA 2020's comparison: about as many items in the mean, but without "
            "the tail of large queries. Published: it leads to smaller batches than the production sizes."
        ),
        rows=(
            _count("log-normal with a larger best batch than production", larger, len(pairs)),
            *_sizes_rows(pairs),
        ),
    )


def _sizes_rows(pairs: list[tuple[str, Optimum, Optimum]]) -> Iterator[Compared]:
    for case, production, lognormal in pairs:
        for name, tuning in (("production", production), ("log-normal", lognormal)):
            yield Compared(
                case=f"{case}, {name}",
                quantity=BATCH,
                predicted=_batch(tuning),
                setting=_carried(tuning),
                detail=True,
            )


def _batch(tuning: Optimum) -> float | None:
    best = tuning.exhaustive
    return None if best.latency_bounded_qps is None else float(best.batch_size)


def _is_smaller(one: Optimum, other: Optimum) -> bool:
    """Whether the first's best batch is smaller, and not just as good as the other's size."""
    mine, theirs = _batch(one), _batch(other)
    if mine is None or theirs is None or mine >= theirs:
        return False
    best = one.exhaustive.latency_bounded_qps or 0.0
    tried = {entry.configuration.batch_size: entry for entry in one.by_batch}
    there = tried.get(int(theirs))
    carried = 0.0 if there is None or there.latency_bounded_qps is None else there.latency_bounded_qps
    return carried < 0.99 * best


def _carried(tuning: Optimum) -> str:
    qps = tuning.exhaustive.latency_bounded_qps
    return "no load meets the SLA" if qps is None else f"{qps:,.0f} queries/s"


def _count(name: str, count: int, of: int) -> Compared:
    return Compared(
        case="all models",
        quantity=f"{name}, by more than 1 % of throughput [cases]",
        predicted=float(count),
        setting=f"of {of}",
    )


def _plot(study: Study, cpu: str) -> LinePlot:
    levels = study.plan.levels
    return LinePlot(
        title=cpu,
        x_label="p95 target over the medium one",
        y_label="best batch [items]",
        lines=tuple(
            Line(
                name=model,
                x=tuple(levels.values()),
                y=tuple(_batch(study.case(model, cpu, None, level)) for level in levels),
            )
            for model in study.plan.targets_ms
        ),
        log_y=True,
    )
