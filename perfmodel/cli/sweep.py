"""`perfplan sweep`: one question at many points."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import page_path, printed_first, show, write_page
from perfmodel.cli.completion import complete_settings
from perfmodel.cli.options import (
    AcceptUncertainOption,
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    the_scenario,
)
from perfmodel.cli.progress import Progress
from perfmodel.errors import InputError, InterruptionError
from perfmodel.loading.over import parse_over
from perfmodel.loading.words import cut_path
from perfmodel.planning.sweep.answer import table_of
from perfmodel.planning.sweep.backends import Backend, dask_cluster, processes
from perfmodel.planning.sweep.computation import answer_points
from perfmodel.planning.sweep.journal import Journal
from perfmodel.planning.sweep.points import Point, points_of
from perfmodel.report.asking import asking_of, require_asked, require_one_point
from perfmodel.report.columns import require_metrics
from perfmodel.report.documents.sweep import sweep_document
from perfmodel.report.sweep import PLOTS, require_drawable, sweep_drawing, sweep_page
from perfmodel.report.table_files import require_writable, table_bytes, write_file


class SweptQuestion(StrEnum):
    """What is asked at every point."""

    PREDICT = "predict"
    CAPACITY = "capacity"
    TUNE = "tune"
    PLAN = "plan"


class BackendName(StrEnum):
    """Who answers."""

    LOCAL = "local"
    DASK = "dask"


def sweep(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=V1,V2,...",
            help="Values of a key, or ranges: 10:50:5 (a:b:n, five of them; plan --growth has the step "
            "there), 100..500+50, 16..1024*2. Repeatable: every combination is a point.",
            autocompletion=complete_settings,
        ),
    ] = None,
    question: Annotated[
        SweptQuestion | None,
        typer.Option(
            help="What is asked at every point [predict; of a fleet file plan].", show_default=False
        ),
    ] = None,
    overrides: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a row a point: .csv, .parquet or .json; or a page: .html. Killed before its end, the "
            "same command goes on with what is finished.",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: .svg, .png or .pdf.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What --plot draws [the SLA's percentile, or the largest load]."),
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Mark the points that no other beats, such as latency,qps_per_w."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, metavar="N", help="Processes [one for each core].")
    ] = None,
    backend: Annotated[BackendName, typer.Option(help="Who answers.")] = BackendName.LOCAL,
    address: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="The scheduler, for --backend dask.")
    ] = None,
    accept_uncertain: AcceptUncertainOption = False,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask one question at many points of a scenario, on all cores or a cluster."""
    keys = [parse_over(text) for text in over or ()]
    points = points_of(keys, overrides or ())
    fronts = [name.strip() for name in pareto.split(",")] if pareto is not None else []
    if "" in fronts:
        raise InputError("--pareto: expected names of metrics, such as latency,qps_per_w")
    if metric is not None and plot is None:
        raise InputError("--metric: expected --plot FILE with it")
    if plot is not None:
        require_writable(plot, PLOTS, "--plot")
    is_page = out is not None and out.suffix.lower() in (".html", ".htm")
    if is_page:
        page_path(out)
    elif out is not None:
        require_writable(out)
    asking = asking_of(
        the_scenario(names, scenario),
        None if question is None else question.value,
        overrides or (),
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
        accept_uncertain=accept_uncertain,
    )
    require_metrics(fronts, asking.question, [each.key for each in keys], "--pareto")
    if plot is not None:
        require_drawable(asking.question, keys, metric, fronts)
    require_asked(asking, points)
    require_one_point(asking, points)
    by = _backend(backend, address, jobs)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(_journal_path(out, asking.digest, points), asking.digest))
        stack.enter_context(_kept_where_interrupted(journal, out))
        found = answer_points(points, asking, by, journal=journal, progress=Progress("points", len(points)))
        files = [*asking.files, *found.files]
        table = table_of(asking.name, asking.question, keys, found.rows, fronts, files, asking.asked)
        with printed_first(
            lambda: show(lambda: sweep_document(table), lambda: sweep_page(table), as_json=as_json)
        ):
            if plot is not None:
                write_file(plot, sweep_drawing(table, plot.suffix.lower(), metric), "--plot")
            if out is not None and is_page:
                from perfmodel.report.pages.made import document_html  # few sweeps become a page of HTML

                write_page(out, document_html(sweep_document(table)))
            elif out is not None:
                write_file(out, table_bytes(out, table.rows, lambda: sweep_document(table)))
            journal.drop()
    if not table.answered:
        first = table.rows[0]
        print(f"sweep: no point has an answer; the first: {first['reason']}", file=sys.stderr)
        raise typer.Exit(first["exit_code"])


@contextmanager
def _kept_where_interrupted(journal: Journal, out: Path | None) -> Iterator[None]:
    """Say what an interrupted sweep leaves: the points that are finished, or all of the answer."""
    try:
        yield
    except KeyboardInterrupt:
        if not journal.is_kept:
            left = "nothing could be kept of what is finished"
        elif journal.path.exists():
            left = f"what is finished is kept in {cut_path(journal.path)}; the same command goes on"
        else:
            left = f"{out or 'the answer'} is whole, and was not printed"
        raise InterruptionError(f"interrupted: {left}") from None


def _backend(name: BackendName, address: str | None, jobs: int | None) -> Backend:
    if name is BackendName.LOCAL:
        if address is not None:
            raise InputError("--address: expected --backend dask with it")
        return processes(jobs)
    if address is None:
        raise InputError("--backend dask: expected --address tcp://HOST:PORT of a scheduler")
    if jobs is not None:
        raise InputError("--jobs: a Dask cluster has its own workers")
    return dask_cluster(address)


def _journal_path(out: Path | None, digest: str, points: Sequence[Point]) -> Path:
    """Beside the answer, or in the user's cache where the answer goes to stdout."""
    if out is not None:
        return out.with_name(f"{out.name}.unfinished")
    named = sha256(" ".join([digest, *(point.name for point in points)]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfplan"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{cache}: cannot keep what is finished: {error.strerror}; name --out FILE"
        ) from None
    return cache / f"sweep-{named}.unfinished"
