"""`perfmodel.deeprecsys`: the published controller beside the exact answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.deeprecsys.climb import ClimbReport, published_climbs
from perfmodel.planning.deeprecsys.shortcuts import ShortcutReport, compare_shortcuts
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.deeprecsys import DeepRecSysDocument, deeprecsys_document

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DeepRecSys(Shown):
    """The answer of `perfmodel.deeprecsys`; as a table, a row a set of shortcuts.

    Attributes
    ----------
    shortcuts : ShortcutReport
        What each shortcut is worth at the scenario's policy.
    climbs : ClimbReport
        What the published climb chooses.
    """

    shortcuts: ShortcutReport
    climbs: ClimbReport
    _table: ClassVar[str] = "rows"

    def to_dict(self) -> DeepRecSysDocument:
        """Return the JSON document of `perfplan tune --deeprecsys-mode`; what does not exist is None."""
        return deeprecsys_document(self.shortcuts, self.climbs)

    def _page(self) -> RenderableType:
        from perfmodel.report.deeprecsys import deeprecsys_page  # rich takes a while to load

        return deeprecsys_page(self.shortcuts, self.climbs)

    def _summary(self) -> str:
        together = self.shortcuts.all_together
        found = rate(None if together is None else together.qps)
        exact = rate(self.shortcuts.exact_qps)
        return f"{self.shortcuts.question.name}: {found} queries/s, exactly {exact}"


def deeprecsys(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> DeepRecSys:
    """Run the published controller, shortcuts and mistakes included: `perfplan tune --deeprecsys-mode`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; its arrival rate plays no part.
    overrides : sequence of str
        Changes as for `--set`.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    DeepRecSys
        The exact capacity, what one finds with each shortcut, and what the climbs choose.

    Raises
    ------
    InputError
        If the scenario, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    loaded = load_scenario(scenario, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks)
    with loaded.places():
        return DeepRecSys(
            shortcuts=compare_shortcuts(question, extrapolate=extrapolate),
            climbs=published_climbs(question, extrapolate=extrapolate),
        )
