"""`perfplan reproduce hercules`: what a plan saves over a greedy one, beside the published savings."""

from __future__ import annotations

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import BarPlot, Compared, Reproduction, Section
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question

STATEMENTS_FILE = "statements_hercules_hpca2022_text.csv"
FLEET = "hercules"
SKYLAKES = (40, 60, 80)
"""In stock: fewer than are wanted, as shipped, and as many as are wanted. [nodes]"""

ONE_CLASS = (
    "three CPUs of one class: what they serve per watt differs by 1.7 to 2.5 times (wnd by 9); the published "
    "types had cards and memory that looks rows up, which differ by more"
)
NOT_SCARCE = "no type is scarce, so that there is nothing to weigh; " + ONE_CLASS


def reproduce_hercules() -> Reproduction:
    """Recompute what a plan saves: no constant is fitted to these figures, and nothing is simulated."""
    answers = {available: _planned(available) for available in SKYLAKES}
    rows = [row for available, answer in answers.items() for row in _rows(available, answer)]
    return Reproduction(
        name="hercules",
        title="Provisioning against a greedy plan, recomputed",
        source=(
            "L. Ke et al., “Hercules: Heterogeneity-Aware Inference Serving for At-Scale Personalized "
            "Recommendation”, HPCA 2022, text. Its programme (the least power that carries every load with a "
            "margin, within stock) on six models and three kinds of CPU that ship; its own node types, loads "
            "and capacities are not known here, so that the two say what such a programme is worth, and not "
            "whether this one is right."
        ),
        sections=(
            Section(
                title="At the peak",
                prose=(
                    "60 Haswell, 60 Broadwell and so many Skylake nodes, by `perfplan plan hercules`; "
                    "greedy: each service, the largest demand first, takes the type with most queries/s/W "
                    "in stock."
                ),
                rows=tuple(rows),
                plots=(
                    BarPlot(
                        title="Saved over a greedy plan",
                        y_label="%",
                        groups=tuple(f"{available} Skylake" for available in SKYLAKES),
                        heights={
                            "fewer nodes": tuple(_saved(answer)[0] for answer in answers.values()),
                            "less power": tuple(_saved(answer)[1] for answer in answers.values()),
                        },
                    ),
                ),
            ),
        ),
    )


def _planned(available: int) -> PlanAnswer:
    return plan(plan_question(load_fleet(FLEET, [f"node_types.skylake.available={available}"])))


def _both(answer: PlanAnswer) -> tuple[tuple[int, float], tuple[int, float]]:
    """Nodes and watts of the plan, and of the greedy one."""
    greedy = answer.baselines["greedy"]
    assert answer.static is not None, "the shipped fleet is feasible"
    planned = answer.static.provisioned
    assert planned.tdp_w is not None, "of profiles it is known"
    assert greedy.num_nodes is not None, "greedy finds nodes for it"
    assert greedy.power_w is not None, "likewise"
    return (planned.num_nodes, planned.tdp_w), (greedy.num_nodes, greedy.power_w)


def _saved(answer: PlanAnswer) -> tuple[float, float]:
    """Fewer nodes, and less power, than greedy. [%]"""
    (nodes, power_w), (greedy_nodes, greedy_w) = _both(answer)
    return 100.0 * (1.0 - nodes / greedy_nodes), 100.0 * (1.0 - power_w / greedy_w)


def _rows(available: int, answer: PlanAnswer) -> tuple[Compared, Compared]:
    (nodes, power_w), (greedy_nodes, greedy_w) = _both(answer)
    fewer, less = _saved(answer)
    case = f"{available} Skylake nodes in stock"
    cause = ONE_CLASS if fewer > 1.0 else NOT_SCARCE
    return (
        Compared(
            case=case,
            quantity="fewer nodes than greedy [%]",
            predicted=fewer,
            published=_statement("fewer_servers_than_greedy_percent"),
            setting=f"{nodes} against {greedy_nodes}",
            cause=cause,
        ),
        Compared(
            case=case,
            quantity="less power than greedy [%]",
            predicted=less,
            published=_statement("less_power_than_greedy_percent"),
            setting=f"{power_w:,.0f} against {greedy_w:,.0f} W",
            cause=cause,
        ),
    )


def _statement(quantity: str) -> float:
    (row,) = (row for row in read_rows(STATEMENTS_FILE) if row["quantity"] == quantity)
    return float(row["value"])
