"""`perfplan reproduce`: a published evaluation, recomputed on the shipped profiles."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from calibration.reproduce.evaluation import Reproduction
from calibration.reproduce.page import reproduction_html, reproduction_page
from calibration.reproduce.scope import FINAL_QUERIES, Progress, Scope, published_targets_ms, silent
from perfmodel.cli.answering import show
from perfmodel.cli.options import JsonOption
from perfmodel.loading.written import require_writable, write_atomically

LEAST_QUERIES = 20_000


class Evaluation(StrEnum):
    """What can be recomputed."""

    DEEPRECSYS = "deeprecsys"
    HPCA = "hpca"
    MLPERF = "mlperf"


def reproduce(
    evaluation: Annotated[
        Evaluation,
        typer.Argument(
            help="deeprecsys: ISCA 2020, tuned schedules. hpca: HPCA 2020, servers. "
            "mlperf: audited CPU servers, from their Offline rate."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write one self-contained HTML page there.")
    ] = None,
    queries: Annotated[
        int,
        typer.Option(
            "--queries",
            min=LEAST_QUERIES,
            help="Queries behind every final rate; fewer are faster and noisier.",
        ),
    ] = FINAL_QUERIES,
    as_json: JsonOption = False,
) -> None:
    """Recompute a published evaluation, beside its published figures."""
    if out is not None:
        require_writable(out)
    result = _recomputed(evaluation, queries)
    show(result.to_dict, lambda: reproduction_page(result), as_json=as_json)
    if out is not None:  # last: where it fails, the answer is out all the same
        write_atomically(out, reproduction_html(result))
        print(f"written: {out}", file=sys.stderr)


def _recomputed(evaluation: Evaluation, queries: int) -> Reproduction:
    # Imported on use: the one needs numba, which takes a third of a second.
    if evaluation is Evaluation.HPCA:
        from calibration.reproduce.hpca import reproduce_hpca

        return reproduce_hpca()
    if evaluation is Evaluation.MLPERF:
        from calibration.reproduce.mlperf import reproduce_mlperf

        return reproduce_mlperf(queries, _progress())
    from calibration.reproduce.deeprecsys import reproduce_deeprecsys

    scope = Scope(
        targets_ms=published_targets_ms(), final_queries=queries, variant_queries=min(queries, 100_000)
    )
    return reproduce_deeprecsys(scope, _progress())


def _progress() -> Progress:
    """Tell on stderr what comes next, where somebody watches."""
    if not sys.stderr.isatty():
        return silent
    return lambda step: print(f"{step} ...", file=sys.stderr)
