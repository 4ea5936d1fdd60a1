"""One point of a sweep: the question asked of a changed scenario, and its answer as a row of a table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from perfmodel.errors import EXIT_CODES, SLA_MISSED, InputError, Note, PerfplanError, UndecidedError
from perfmodel.loading.scenario_file import LoadedScenario, ScenarioLike, load_scenario
from perfmodel.loading.shipped import shipped_names
from perfmodel.loading.text_file import is_file
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.planning.asked_stages import stage_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question, as_asked
from perfmodel.planning.sweep.journal import FileDigests, Finished, Row, sources_digest
from perfmodel.planning.sweep.points import Point
from perfmodel.report.frames import FULLEST_STAGE, flat

if TYPE_CHECKING:
    from perfmodel.loading.fleet_file import LoadedFleet

T = TypeVar("T")
Asked = Literal["predict", "capacity", "tune"]

SAID_OF_ALL = ("perfplan", "date", "inputs", "asked", "reason")
"""Keys of a document that are no metrics: a table says them once, or in columns of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked at every point; other processes, on other machines, get it whole.

    Attributes
    ----------
    scenario : LoadedScenario
        What the points change.
    question : {"predict", "capacity", "tune"}
        Which command's answer a row holds.
    mixed_stacks, extrapolate, accept_uncertain : bool
        As for that command.
    """

    scenario: LoadedScenario
    question: Asked = "predict"
    mixed_stacks: bool = False
    extrapolate: bool = False
    accept_uncertain: bool = False

    @property
    def name(self) -> str:
        """What the points change."""
        return self.scenario.name

    @property
    def asked(self) -> Mapping[str, Any]:
        """What the points change, as its file says it."""
        return as_asked(self.scenario)

    @property
    def files(self) -> tuple[Path, ...]:
        """The scenario's own file, where it has one."""
        return () if self.scenario.path is None else (self.scenario.path,)

    def load(self, overrides: Sequence[str]) -> LoadedScenario:
        """Read the scenario with changes."""
        return load_scenario(self.scenario, overrides)

    @property
    def digest(self) -> str:
        """Digest of all that the points share: the scenario as it stands, what is asked, and our own code."""
        source = self.scenario.source
        asked = (self.question, self.mixed_stacks, self.extrapolate, self.accept_uncertain)
        shared = [source.data(), str(source.directory.resolve()), asked, sources_digest()]
        return sha256(json.dumps(shared).encode()).hexdigest()

    def __call__(self, point: Point) -> Finished:
        """Answer a point; what cannot be answered is a row with the reason."""
        return _finished(point, self.load, _files_of, self._row)

    def _row(self, loaded: LoadedScenario) -> Row:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # of a thousand points, a thousand notes
            question = prepare(loaded, mixed_stacks=self.mixed_stacks, stages=self.question != "tune")
            with loaded.places():
                document, code, reason = self._answer(question)
        metrics = flat({key: value for key, value in document.items() if key not in SAID_OF_ALL})
        metrics |= stage_metrics(document)
        return {"exit_code": code, "reason": reason, "stack": question.node.stack} | metrics

    def _answer(self, question: Question) -> tuple[Mapping[str, Any], int, str | None]:
        """The document, the exit code of the command, and why that is not 0."""
        # Imported on use: three questions, of which a sweep asks one.
        if self.question == "capacity":
            return _capacity(question, self.extrapolate, self.accept_uncertain)
        if self.question == "tune":
            return _tune(question, self.extrapolate)
        return _predict(question, self.extrapolate, self.accept_uncertain)


def stage_metrics(document: Mapping[str, Any]) -> Row:
    """What a row has of each stage, the first being 1; nothing of an answer about one.

    Parameters
    ----------
    document : mapping
        An answer, as its JSON has it.

    Examples
    --------
    >>> busy = {"model": "a", "utilisation": {"cpu": 0.5}, "latency_ms": {"p99": 2.0}}
    >>> full = {"model": "b", "utilisation": None, "offered_utilisation": {"cpu": 1.2}, "latency_ms": {}}
    >>> row = stage_metrics({"pipeline": {"stages": [busy, full]}})
    >>> row["stage.1.latency_ms.p99"], row["stage.2.utilisation.cpu"], row[FULLEST_STAGE]
    (2.0, 1.2, 1.2)
    """
    row: Row = {}
    for number, stage in enumerate((document.get("pipeline") or {}).get("stages", ()), start=1):
        used = stage["utilisation"] or stage["offered_utilisation"]
        own = {"model": stage["model"], "utilisation": used, "latency_ms": stage["latency_ms"]}
        row |= flat(own, f"stage.{number}.")
    busy = [each for key, each in row.items() if ".utilisation." in key and each is not None]
    return row | ({FULLEST_STAGE: max(busy)} if busy else {})


def _finished(
    point: Point,
    load: Callable[[Sequence[str]], T],
    files_of: Callable[[T], dict[str, str]],
    row_of: Callable[[T], Row],
) -> Finished:
    """A point's row, and the files behind it; what cannot be answered is a row with the reason."""
    files: dict[str, str] = {}
    try:
        loaded = load(point.overrides)
        files = files_of(loaded)
        row = row_of(loaded)
    except PerfplanError as error:
        row = {"exit_code": error.exit_code, "reason": _at_point(error, point), "stack": None}
    except MemoryError:
        row = {"exit_code": 2, "reason": "out of memory", "stack": None}
    own = {key: value for key, value in row.items() if key not in point.keys}
    return {"point": point.name, "row": own, "files": files}


def _at_point(error: PerfplanError, point: Point) -> str:
    """What is wrong; what the sweep set was said with --over."""
    said = str(error)
    is_swept = any(said.startswith(f"--set {key}") for key in point.keys)
    return said.replace("--set ", "--over ", 1) if is_swept else said


def _files_of(loaded: LoadedScenario) -> dict[str, str]:
    """Digests of the files that an answer is computed from, beside the scenario's own."""
    stages = () if loaded.scenario.pipeline is None else range(len(loaded.scenario.pipeline.stages))
    later = [stage_scenario(loaded, number) for number in stages]
    paths = [*(path for each in (loaded, *later) for path in each.node_paths()), *loaded.traffic_paths()]
    digests = FileDigests()
    return {str(path.resolve()): digests.of(path) or "" for path in paths}


def _predict(
    question: Question, extrapolate: bool, accept_uncertain: bool
) -> tuple[Mapping[str, Any], int, str | None]:
    from perfmodel.planning.predict.computation import predict  # as above
    from perfmodel.report.documents.predict import predict_document

    result = predict(question, extrapolate=extrapolate, accept_uncertain=accept_uncertain)
    reasons = {
        "meets_sla": None,
        "misses_sla": "the SLA is missed",
        "within_error": "cannot tell: the SLA may be met or missed",
        "unstable": f"unstable: {result.run.notes[0] if result.run.notes else 'overloaded'}",
    }
    return predict_document(result), EXIT_CODES[result.verdict], reasons[result.verdict]


def _capacity(
    question: Question, extrapolate: bool, accept_uncertain: bool
) -> tuple[Mapping[str, Any], int, str | None]:
    from perfmodel.planning.capacity.computation import capacity  # as above
    from perfmodel.report.documents.capacity import capacity_document

    result = capacity(question, extrapolate=extrapolate)
    document = capacity_document(result)
    if result.latency_bounded_qps is None:
        return document, SLA_MISSED, result.reason
    if result.plan_for_qps is None and not accept_uncertain:
        return document, UndecidedError.exit_code, "no load meets the SLA with its confidence"
    return document, 0, None


def _tune(question: Question, extrapolate: bool) -> tuple[Mapping[str, Any], int, str | None]:
    from perfmodel.planning.tune.computation import tune  # as above
    from perfmodel.planning.tune.question import TuneOptions
    from perfmodel.report.documents.tune import tune_document

    answer = tune(question, TuneOptions(extrapolate=extrapolate))
    missed = answer.tuning.exhaustive.latency_bounded_qps is None
    return tune_document(answer), SLA_MISSED if missed else 0, "no load meets the SLA" if missed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingOfFleet:
    """The same of a fleet file, of which `plan` is asked.

    Attributes
    ----------
    fleet : str
        Its name or path.
    overrides : tuple of str
        Changes at every point.
    simulation : bool
        Whether each plan is simulated, and raised where an SLA is missed.
    mixed_stacks, extrapolate : bool
        As for `plan`.
    """

    fleet: str
    overrides: tuple[str, ...] = ()
    simulation: bool = True
    mixed_stacks: bool = False
    extrapolate: bool = False
    question: str = "plan"

    @property
    def name(self) -> str:
        """What the points change."""
        return self.load(()).name

    @property
    def digest(self) -> str:
        """Digest of all that the points share."""
        source = self.load(()).source
        asked = (self.simulation, self.mixed_stacks, self.extrapolate)
        shared = [source.data(), str(source.directory.resolve()), asked, sources_digest()]
        return sha256(json.dumps(shared).encode()).hexdigest()

    @property
    def asked(self) -> Mapping[str, Any]:
        """What the points change, as its file says it."""
        data = self.load(()).source.data()
        assert isinstance(data, dict), "the top level of a fleet is a section"
        return data

    @property
    def files(self) -> tuple[Path, ...]:
        """The fleet's own file."""
        return (Path(self.load(()).source.name),)

    def load(self, overrides: Sequence[str]) -> LoadedFleet:
        """Read the fleet with changes."""
        from perfmodel.loading.fleet_file import load_fleet  # few answers are of fleets

        return load_fleet(self.fleet, [*self.overrides, *overrides])

    def __call__(self, point: Point) -> Finished:
        """Plan the fleet at a point; what cannot be planned is a row with the reason."""
        return _finished(point, self.load, _files_of_fleet, self._row)

    def _row(self, loaded: LoadedFleet) -> Row:
        from perfmodel.planning.plan.computation import plan  # as above
        from perfmodel.planning.plan.prepare import plan_question
        from perfmodel.planning.plan.simulation import simulated
        from perfmodel.report.documents.plan import plan_document

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            question = plan_question(loaded, mixed_stacks=self.mixed_stacks, extrapolate=self.extrapolate)
            result = plan(question)
            if self.simulation:
                result = simulated(result, extrapolate=self.extrapolate)
        reason = None
        if result.static is None:
            reason = "infeasible"
        elif result.simulated is not None and not result.simulated.holds:
            reason = "an SLA is missed, however many nodes are added"
        document = plan_document(result)
        metrics = flat({key: value for key, value in document.items() if key not in SAID_OF_ALL})
        return {"exit_code": SLA_MISSED if reason else 0, "reason": reason, "stack": None} | metrics


def _files_of_fleet(loaded: LoadedFleet) -> dict[str, str]:
    """Digests of the files behind a plan: every service's scenario on every node type, demand and grid."""
    digests = FileDigests()
    return {str(path.resolve()): digests.of(path) or "" for path in loaded.paths()}


def is_fleet(name: str) -> bool:
    """Whether this names a fleet, and no scenario: a shipped one, or a file with services."""
    if name.removesuffix(".yaml") in shipped_names("fleet"):
        return True
    path = Path(name)
    if not is_file(path) or path.suffix not in (".yaml", ".yml"):
        return False
    return read_yaml(path).find("services") is not None


AnyAsking = Asking | AskingOfFleet

_PLAN_AND_TUNE = "of which a verdict can be uncertain"


def asking_of(
    scenario: ScenarioLike,
    question: Asked | Literal["plan"] | None,
    overrides: Sequence[str],
    *,
    mixed_stacks: bool,
    extrapolate: bool,
    accept_uncertain: bool,
) -> AnyAsking:
    """What is asked of a scenario, `predict` where nothing is said, or of a fleet.

    Raises
    ------
    InputError
        If the question does not go with what it is asked of.
    """
    if isinstance(scenario, str | PathLike) and is_fleet(str(scenario)):
        if question not in (None, "plan"):
            raise InputError(f"question: of a fleet expected plan, got {question}")
        if accept_uncertain:
            raise InputError(f"--accept-uncertain: expected predict or capacity, {_PLAN_AND_TUNE}, got plan")
        return AskingOfFleet(
            fleet=str(scenario),
            overrides=tuple(overrides),
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
        )
    if question == "tune" and accept_uncertain:
        raise InputError(f"--accept-uncertain: expected predict or capacity, {_PLAN_AND_TUNE}, got tune")
    if question == "plan":
        raise InputError("question: of a scenario expected predict, capacity or tune, got plan")
    return Asking(
        scenario=load_scenario(scenario, overrides),
        question=question or "predict",
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
        accept_uncertain=accept_uncertain,
    )


SEARCHED: Mapping[str, Mapping[str, str]] = {
    "capacity": {"traffic.arrivals.rate_qps": "predict answers at a rate"},
    "tune": {
        "traffic.arrivals.rate_qps": "predict answers at a rate",
        "policy.batch_size": "capacity answers at a batch size",
        "policy.offload_threshold_items": "capacity answers at a threshold",
        "policy.max_batch_items": "capacity answers at a batch",
        "policy.timeout_ms": "capacity answers at a timeout",
        "node.threads": "capacity answers at a number of threads",
    },
}
"""What a question looks for itself, whatever the scenario says, and which question takes it as it is."""


def require_asked(asking: AnyAsking, points: Sequence[Point]) -> None:
    """Refuse to sweep what the question looks for: every point would have the same answer.

    Raises
    ------
    InputError
        With the question that does depend on the key.
    """
    searched = SEARCHED.get(asking.question, {})
    for key in points[0].keys:
        if key in searched:
            raise InputError(
                f"--over {key}: {asking.question} looks for it, and would answer the same at every point; "
                f"--question {searched[key]}"
            )


TRIED_FIRST = 100
"""Points that are looked at before any is asked: a key that does not exist is found in the first."""


def require_one_point(asking: AnyAsking, points: Sequence[Point]) -> None:
    """Refuse a sweep whose first points cannot even be read: its keys are misspelt, most likely.

    Raises
    ------
    InputError
        What is wrong with the first.
    """
    problem: InputError | None = None
    for point in points[:TRIED_FIRST]:
        try:
            asking.load(point.overrides)
        except InputError as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise InputError(str(problem).replace("--set ", "--over ", 1))
