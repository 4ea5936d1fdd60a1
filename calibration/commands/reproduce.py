"""`perfplan reproduce`: a published evaluation, recomputed on the shipped profiles."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from calibration.reproduce.evaluation import Reproduction
from calibration.reproduce.page import reproduction_page
from calibration.reproduce.scope import (
    FINAL_QUERIES,
    VARIANT_QUERIES,
    Progress,
    Scope,
    published_targets_ms,
)
from perfmodel.cli.answering import page_path, show, write_page
from perfmodel.cli.options import JsonOption
from perfmodel.cli.watched import AnyWatch, watched

LEAST_QUERIES = 20_000


class Evaluation(StrEnum):
    """What can be recomputed."""

    DEEPRECSYS = "deeprecsys"
    HERCULES = "hercules"
    HPCA = "hpca"
    MLPERF = "mlperf"
    RECNMP = "recnmp"
    RECPIPE = "recpipe"


SERVER_QUERIES = 1_000_000
"""Of each audited server's run."""

STEPS = {
    Evaluation.DEEPRECSYS: 45,
    Evaluation.HERCULES: 1,
    Evaluation.HPCA: 1,
    Evaluation.MLPERF: 7,
    Evaluation.RECNMP: 1,
    Evaluation.RECPIPE: 6,
}
"""Steps that each tells of, about: what is said of the time left, and no more."""


def reproduce(
    evaluation: Annotated[
        Evaluation,
        typer.Argument(
            show_choices=False,  # each is in the words below
            help="deeprecsys: ISCA 2020, tuned schedules. hercules: HPCA 2022, provisioning. "
            "hpca: HPCA 2020, servers. "
            "mlperf: audited CPU servers, from their Offline rate. recnmp: ISCA 2020, near-memory lookups. "
            "recpipe: MICRO 2021, several stages.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.html", help="Write one self-contained HTML page there."),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=LEAST_QUERIES,
            help="Queries behind every final rate, fewer are faster and noisier: "
            f"{FINAL_QUERIES:,} (deeprecsys), {SERVER_QUERIES:,} (mlperf).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute a published evaluation, beside its published figures."""
    if out is not None:
        page_path(out)
    with watched() as watch:
        result = _recomputed(evaluation, queries, _progress(watch, STEPS[evaluation]))
    result = replace(result, asked_queries=queries)
    show(result.to_dict, lambda: reproduction_page(result), as_json=as_json)
    if out is not None:  # last: where it fails, the answer is out all the same
        from perfmodel.report.pages.reproduce import reproduce_html  # few answers become a page of HTML

        write_page(out, reproduce_html(result.to_dict()))


def _recomputed(evaluation: Evaluation, queries: int | None, progress: Progress) -> Reproduction:
    # Imported on use: the one needs numba, which takes a third of a second.
    if evaluation is Evaluation.HPCA:
        from calibration.reproduce.hpca import reproduce_hpca

        return reproduce_hpca()
    if evaluation is Evaluation.HERCULES:
        from calibration.reproduce.hercules import reproduce_hercules

        return reproduce_hercules()
    if evaluation is Evaluation.RECNMP:
        from calibration.reproduce.recnmp import reproduce_recnmp

        return reproduce_recnmp()
    if evaluation is Evaluation.RECPIPE:
        from calibration.reproduce.recpipe import reproduce_recpipe

        return reproduce_recpipe(progress)
    if evaluation is Evaluation.MLPERF:
        from calibration.reproduce.mlperf import reproduce_mlperf

        return reproduce_mlperf(queries or SERVER_QUERIES, progress)
    from calibration.reproduce.deeprecsys import reproduce_deeprecsys

    final = queries or FINAL_QUERIES
    scope = Scope(
        targets_ms=published_targets_ms(), final_queries=final, variant_queries=min(final, VARIANT_QUERIES)
    )
    return reproduce_deeprecsys(scope, progress)


def _progress(watch: AnyWatch, steps: int) -> Progress:
    """Tell on a terminal how many of so many steps are done, and what comes next."""
    tell = watch.stage("recomputing")
    begun: list[str] = []

    def progress(step: str) -> None:
        tell(min(1.0, len(begun) / steps))
        begun.append(step)

    return progress
