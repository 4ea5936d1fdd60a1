"""`perfmodel.explain`: what binds, and what single changes would bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.library.shown import Shown
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.explain import answer
from perfmodel.planning.explain.computation import explain as explain_scenario
from perfmodel.report.documents.explain import ExplainDocument, explain_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Explanation(Shown, answer.Explanation):
    """The answer of `perfmodel.explain`; as a table, a row a change."""

    __slots__ = ()
    _table: ClassVar[str] = "changes"

    def to_dict(self) -> ExplainDocument:
        """Return the JSON document of `perfplan explain`; what does not exist is None."""
        return explain_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.explain import explain_page  # rich takes a while to load

        return explain_page(self)

    def _summary(self) -> str:
        return f"{self.question.name}: {self.binds.resource} binds"


def explain(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Explanation:
    """Say what binds a node, and what single changes would bring: `perfplan explain`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`.
    overrides : sequence of str
        Changes as for `--set`.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too.

    Returns
    -------
    Explanation
        `binds`, the resource and why; `gains`, a change each, the largest first.

    Raises
    ------
    InputError
        If the scenario, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    loaded = load_scenario(scenario, overrides)
    return Explanation.of(explain_scenario(loaded, mixed_stacks=mixed_stacks, extrapolate=extrapolate))
