"""`perfmodel.sweep`: one question at many points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from perfmodel.library.arguments import SweepArguments, checked
from perfmodel.library.shown import Shown
from perfmodel.loading.over import swept_key
from perfmodel.loading.scenario_file import ScenarioLike
from perfmodel.planning.sweep import answer
from perfmodel.planning.sweep.backends import dask_cluster, processes
from perfmodel.planning.sweep.computation import answer_points
from perfmodel.planning.sweep.points import points_of
from perfmodel.report.asking import Asked, asking_of, require_asked, require_one_point
from perfmodel.report.columns import require_metrics
from perfmodel.report.documents.sweep import SweepDocument, sweep_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Sweep(Shown, answer.SweepTable):
    """The answer of `perfmodel.sweep`; as a table, a row a point."""

    __slots__ = ()
    _table: ClassVar[str] = "rows"

    def to_dict(self) -> SweepDocument:
        """Return the JSON document of `perfplan sweep`; what does not exist is None."""
        return sweep_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.sweep import sweep_page  # rich takes a while to load

        return sweep_page(self)

    def _summary(self) -> str:
        return (
            f"{self.question} of {self.scenario}: {self.answered} of {len(self.rows)} points have an answer"
        )


def sweep(
    scenario: ScenarioLike,
    over: Mapping[str, Iterable[Any] | str],
    *,
    question: Asked | Literal["plan"] | None = None,
    overrides: Sequence[str] = (),
    pareto: Sequence[str] = (),
    jobs: int | None = 1,
    address: str | None = None,
    accept_uncertain: bool = False,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Sweep:
    """Ask one question at many points of a scenario: `perfplan sweep`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; what the points change. Or a fleet's name, or the path of a fleet file.
    over : mapping of str to (list, or str)
        Keys, and their values: a list, or a text as for `--over`: `"16..1024*2"`.
    question : {"predict", "capacity", "tune"} or "plan"
        What is asked at every point; by default `predict`, and of a fleet `plan`.
    overrides : sequence of str
        Changes as for `--set`, at every point.
    pareto : sequence of str
        Metrics; rows that no other beats have `pareto` true.
    jobs : int or None
        Processes; None: one for each core. More than one takes joblib, the extra `jobs`.
    address : str, optional
        Scheduler of a Dask cluster that answers in their place.
    accept_uncertain, mixed_stacks, extrapolate : bool
        As for the question.

    Returns
    -------
    Sweep
        `rows`, a dict a point: the swept keys, `exit_code`, `reason`, `stack`, and the metrics of the answer.

    Raises
    ------
    InputError
        If the scenario, a key or an argument says something that cannot be accepted at any point.

    Examples
    --------
    >>> import perfmodel
    >>> quick = ["simulation.max_queries=20000", "simulation.min_queries=20000"]
    >>> table = perfmodel.sweep("rm3_skylake", {"policy.batch_size": "64..128*2"}, overrides=quick)
    >>> [(row["policy.batch_size"], row["verdict"]) for row in table.rows]
    [(64, 'meets_sla'), (128, 'meets_sla')]
    """
    checked("sweep", SweepArguments, question=question, pareto=pareto, jobs=jobs)
    keys = [swept_key(key, values) for key, values in over.items()]
    points = points_of(keys, overrides)
    asking = asking_of(
        scenario,
        question,
        overrides,
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
        accept_uncertain=accept_uncertain,
    )
    require_metrics(pareto, asking.question, over, "pareto")
    require_asked(asking, points)
    require_one_point(asking, points)
    backend = processes(jobs) if address is None else dask_cluster(address)
    found = answer_points(points, asking, backend)
    files = [*asking.files, *found.files]
    table = answer.table_of(asking.name, asking.question, keys, found.rows, pareto, files, asking.asked)
    return Sweep.of(table)
