"""perfplan: how much recommendation traffic can this hardware serve within its SLA?

The commands' answers, from Python:

>>> import perfmodel
>>> answer = perfmodel.predict("rm3_skylake", overrides=["simulation.precision=0.05"])
>>> answer.verdict, answer.to_dict()["offered_qps"]
('meets_sla', 400.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfmodel.report.answers import LatencyTable, Prediction

__all__ = ["latency", "predict"]

# Imports wait for the call: `import perfmodel` alone loads nothing heavy.


def predict(
    scenario: str,
    *,
    overrides: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Prediction:
    """Answer `perfplan predict` for a shipped scenario's name or a file's path.

    Parameters
    ----------
    scenario : str
        A shipped scenario, or the path of a scenario file.
    overrides : sequence of str
        Changes as for `--set`: `"traffic.arrivals.rate_qps=500"`.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Raises
    ------
    InputError, ExtrapolationError
        See `perfmodel.errors`.
    """
    from perfmodel.loading.scenario_file import load_scenario
    from perfmodel.planning.predict.computation import predict as predict_question
    from perfmodel.planning.prepare import prepare
    from perfmodel.report.answers import Prediction

    question = prepare(load_scenario(scenario, overrides), mixed_stacks=mixed_stacks)
    return Prediction.of(predict_question(question, extrapolate=extrapolate))


def latency(
    model: str, on: str, batch_sizes: Sequence[int], *, co_located: int = 1, extrapolate: bool = False
) -> LatencyTable:
    """Answer `perfplan latency`: batches of a model on one executor of a profile, no queue.

    Examples
    --------
    >>> import perfmodel
    >>> table = perfmodel.latency("dlrm-rmc3", on="broadwell@hpca2020", batch_sizes=[16])
    >>> table.rows[0].batch_size, table.rows[0].basis.label
    (16, 'fitted')
    """
    from perfmodel.planning.breakdown import latency_table
    from perfmodel.planning.prepare import find_device, find_model
    from perfmodel.report.answers import LatencyTable

    what = find_model(model)
    device = find_device(on, what)
    return LatencyTable.of(
        latency_table(what, device, tuple(batch_sizes), co_located=co_located, extrapolate=extrapolate)
    )
