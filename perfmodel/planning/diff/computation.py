"""The comparison: both sides, and each differing key changed alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.planning.diff.answer import Diff, KeyShare
from perfmodel.planning.diff.keys import DifferingKey, all_but_load, differing_keys, with_key
from perfmodel.planning.diff.side import Difference, Figure, Side, difference, largest_load, side
from perfmodel.planning.prepare import prepare, prepare_together
from perfmodel.planning.question import Question
from perfmodel.threads import Tell, side_by_side, untold

MOST_KEYS = 40
"""Each takes two scenarios more."""


def diff(
    a: LoadedScenario,
    b: LoadedScenario,
    *,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> Diff:
    """Compare two scenarios on the same random numbers, by A's settings of the simulation.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        If the devices have no software stack in common, unless `mixed_stacks`; or they differ in too much.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    keys = differing_keys(a, b)
    if len(keys) > MOST_KEYS:
        raise InputError(f"diff: expected at most {MOST_KEYS} keys that differ, got {len(keys)}")
    b = _simulated_as(b, a)
    questions = prepare_together([a, b], mixed_stacks=mixed_stacks, stages=True)
    num_queries = questions[0].simulation.min_queries
    stack = None if mixed_stacks else questions[0].node.stack
    loads = _Loads()

    def ask(which: LoadedScenario | int) -> Side | PerfplanError:
        try:
            if isinstance(which, int):
                loaded, question = (a, b)[which], questions[which]
            else:
                loaded = which
                question = prepare(_of_stack(which, stack), mixed_stacks=mixed_stacks, stages=True)
            with loaded.places():
                largest = loads.finder(loaded)
                return side(question, num_queries=num_queries, extrapolate=extrapolate, largest=largest)
        except PerfplanError as error:
            return error

    changed = [_changed(a, key, key.b) for key in keys]
    if len(keys) > 2:  # of two keys, A with the one is B without the other
        changed += [_changed(b, key, key.a) for key in keys]
    todo: list[LoadedScenario | int] = [0, 1]
    if len(keys) > 1:  # of one key, all of the difference is its own
        todo += [each for each in changed if isinstance(each, LoadedScenario)]
    found = side_by_side(ask, todo, tell)
    one, other = found[0], found[1]
    if isinstance(one, PerfplanError):
        raise one
    if isinstance(other, PerfplanError):
        raise other
    rest = iter(found[2:])
    if len(keys) > 1:
        answers = [each if isinstance(each, PerfplanError) else next(rest) for each in changed]
        answers += reversed(answers) if len(keys) == 2 else []
    else:
        answers = [*[other] * len(keys), *[one] * len(keys)]
    return Diff(
        inputs=tuple(dict.fromkeys(each for question in questions for each in question.inputs)),
        a=a.name,
        b=b.name if b.name != a.name else f"{b.name} (B)",
        differences=_differences(one, other),
        keys=tuple(
            _share(key, one, other, answers[index], answers[index + len(keys)])
            for index, key in enumerate(keys)
        ),
        notes=_notes(one, other),
        asked=(questions[0].asked, questions[1].asked),
    )


class _Loads:
    """Largest loads, each searched for once: scenarios that differ in their load alone have the same."""

    def __init__(self) -> None:
        self._found: dict[tuple[str | None, ...], Future[Figure | None]] = {}
        self._lock = Lock()

    def finder(self, loaded: LoadedScenario) -> Callable[[Question], Figure | None]:
        """What finds the largest load of a scenario, or waits for who is at it."""
        said = all_but_load(loaded)

        def largest(question: Question) -> Figure | None:
            if question.load_test is not None:  # its times were fitted under the traffic
                return largest_load(question)
            key = (said, *(stage.node.stack for stage in question.stages))
            with self._lock:
                is_first = key not in self._found
                found = self._found.setdefault(key, Future())
            if is_first:
                try:
                    found.set_result(largest_load(question))
                except BaseException as error:
                    found.set_exception(error)
            return found.result()

        return largest


def _simulated_as(b: LoadedScenario, a: LoadedScenario) -> LoadedScenario:
    """B with A's seed and precision: the same random numbers for both."""
    settings = a.scenario.simulation.model_dump_json()
    return load_scenario(b, [f"simulation={settings}"])


def _of_stack(loaded: LoadedScenario, stack: str | None) -> LoadedScenario:
    """A changed scenario with the software stack of both sides."""
    return loaded if stack is None else load_scenario(loaded, [f"node.stack={stack}"])


def _changed(base: LoadedScenario, key: DifferingKey, value: object) -> LoadedScenario | PerfplanError:
    try:
        return with_key(base, key, value)
    except PerfplanError as error:
        return error


def _differences(one: Side, other: Side) -> tuple[Difference, ...]:
    metrics = dict.fromkeys([*one.figures, *other.figures])
    return tuple(difference(metric, one, other) for metric in metrics)


def _share(
    key: DifferingKey,
    one: Side,
    other: Side,
    from_a: Side | PerfplanError,
    from_b: Side | PerfplanError,
) -> KeyShare:
    problems = [str(each) for each in (from_a, from_b) if isinstance(each, PerfplanError)]
    return KeyShare(
        key=key,
        from_a=() if isinstance(from_a, PerfplanError) else _differences(one, from_a),
        from_b=() if isinstance(from_b, PerfplanError) else _differences(from_b, other),
        why_not=problems[0] if problems else None,
    )


def _notes(one: Side, other: Side) -> tuple[str, ...]:
    notes = [f"A: {note}" for note in one.notes] + [f"B: {note}" for note in other.notes]
    notes += [f"A: {note}" for note in one.question.node_notes]
    notes += [f"B: {note}" for note in other.question.node_notes if note not in one.question.node_notes]
    times = {each.question.service_times_of for each in (one, other)}
    models = {tuple(stage.node.model_name for stage in each.question.stages) for each in (one, other)}
    if len(times) == len(models) == 1:
        shared = "the error of the service times meets both sides alike, and is not in the intervals"
    else:
        shared = "the errors of the service times are not in the intervals: predict states each side's"
    return (*notes, shared)
