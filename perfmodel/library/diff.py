"""`perfmodel.diff`: what differs between two scenarios, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.library.shown import Shown
from perfmodel.loading.scenario_file import ScenarioLike
from perfmodel.planning.diff import answer
from perfmodel.report.comparing import compare
from perfmodel.report.documents.diff import DiffDocument, diff_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Diff(Shown, answer.Diff):
    """The answer of `perfmodel.diff`; as a table, a row a metric."""

    __slots__ = ()
    _table: ClassVar[str] = "differences"

    def to_dict(self) -> DiffDocument:
        """Return the JSON document of `perfplan diff`; what does not exist is None."""
        return diff_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.diff import diff_page  # rich takes a while to load

        return diff_page(self)

    def _summary(self) -> str:
        significant = sum(bool(found.is_significant) for found in self.differences)
        return f"{self.a} and {self.b}: {significant} of {len(self.differences)} metrics differ significantly"


def diff(
    a: ScenarioLike,
    b: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    overrides_b: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Diff:
    """Compare two scenarios on the same random numbers, or two saved answers: `perfplan diff`.

    Parameters
    ----------
    a, b : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; or two paths of answers that `--json` printed.
    overrides : sequence of str
        Changes of both scenarios, as for `--set`.
    overrides_b : sequence of str
        Changes of `b` alone, as for `--set-b`.
    mixed_stacks : bool
        Let the devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too.

    Returns
    -------
    Diff
        `differences` by metric, each with its 95 % interval; `keys` that differ, each by itself.

    Raises
    ------
    InputError
        If a scenario, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> smaller = perfmodel.load_scenario("rm3_skylake", ["policy.batch_size=64"])
    >>> found = perfmodel.diff("rm3_skylake", smaller)
    >>> [share.key.key for share in found.keys]
    ['policy.batch_size']
    """
    return Diff.of(
        compare(
            a,
            b,
            overrides=overrides,
            overrides_b=overrides_b,
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
        )
    )
