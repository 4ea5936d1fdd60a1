"""Pages of answers as they were found, and of documents that were saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.errors import PerfplanError
from perfmodel.loading.asked_paths import found_again
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.answer import Capacity
from perfmodel.planning.explain.answer import Explanation
from perfmodel.planning.node_view import NodeView, node_view
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.answer import TuneAnswer
from perfmodel.report.documents.capacity import capacity_document
from perfmodel.report.documents.explain import explain_document
from perfmodel.report.documents.predict import predict_document
from perfmodel.report.documents.tune import tune_document
from perfmodel.report.html import figures_of
from perfmodel.report.pages.deeprecsys import deeprecsys_html
from perfmodel.report.pages.diff import diff_html
from perfmodel.report.pages.explain import explain_html
from perfmodel.report.pages.fleet import fleet_html
from perfmodel.report.pages.latency import latency_html
from perfmodel.report.pages.map import map_html
from perfmodel.report.pages.mlperf import mlperf_html
from perfmodel.report.pages.node import node_page
from perfmodel.report.pages.plain import plain_html
from perfmodel.report.pages.plan import plan_html
from perfmodel.report.pages.recorded import observe_html, trace_html
from perfmodel.report.pages.reproduce import reproduce_html
from perfmodel.report.pages.sweep import sweep_html
from perfmodel.report.pages.tune_stages import tune_stages_html
from perfmodel.report.pages.validate import validate_html

Document = Mapping[str, Any]


def predict_html(result: Prediction) -> str:
    """The page of a prediction."""
    view = node_view(result.question, result.plan_for_qps, result.latency_bounded_qps)
    return node_page(view, predict=predict_document(result))


def capacity_html(result: Capacity) -> str:
    """The page of a largest load."""
    view = node_view(result.question, result.plan_for_qps, result.latency_bounded_qps)
    return node_page(view, capacity=capacity_document(result))


def tune_html(result: TuneAnswer) -> str:
    """The page of a tuning."""
    return node_page(node_view(result.question), tune=tune_document(result))


def scenario_html(
    predicted: Prediction, capacity: Capacity, tuned: TuneAnswer | None, explained: Explanation | None
) -> str:
    """The page of a scenario: all that is asked of a node."""
    view = node_view(predicted.question, capacity.plan_for_qps, capacity.latency_bounded_qps)
    return node_page(
        view,
        predict=predict_document(predicted),
        capacity=capacity_document(capacity),
        tune=None if tuned is None else tune_document(tuned),
        explain=None if explained is None else explain_document(explained),
    )


def document_html(document: Document, *, anew: bool = True) -> str:
    """The page of a saved answer, with its own numbers.

    Parameters
    ----------
    document : mapping
        What `--json` printed.
    anew : bool
        Compute what is drawn beside its numbers anew, from the question in it; else it is left out.
    """
    name = document["schema"]["name"]
    if name in ("predict", "capacity", "tune"):
        view, lacks = _view(document) if anew else (None, None)
        return node_page(view, lacks=lacks, **{name: document})
    if name == "explain":
        return explain_html(document, *(_view(document) if anew else (None, None)))
    if (made := PAGES.get(name)) is not None:
        return made(document)
    return plain_html(document)


def document_figures(document: Document) -> str:
    """The figures of an answer that its own numbers give, as a part of another page; empty: none."""
    return figures_of(document_html(document, anew=False))


PAGES: Mapping[str, Callable[[Document], str]] = {
    "deeprecsys": deeprecsys_html,
    "diff": diff_html,
    "fleet": fleet_html,
    "latency": latency_html,
    "map": map_html,
    "mlperf": mlperf_html,
    "observe": observe_html,
    "plan": plan_html,
    "reproduce": reproduce_html,
    "sweep": sweep_html,
    "trace": trace_html,
    "tune-stages": tune_stages_html,
    "validate": validate_html,
}
"""By schema, what makes the page of a document from it alone."""


def explain_page_html(result: Explanation) -> str:
    """The page of an explanation."""
    return explain_html(explain_document(result), node_view(result.question, result.latency_bounded_qps))


def _view(document: Document) -> tuple[NodeView | None, str | None]:
    """The node seen closer, where the question can still be asked of the same files; else why it is not."""
    try:
        question = prepare(load_scenario(_asked(document)), stages=True)
        read = {each["sha256"] for each in document["inputs"]}
        changed = [each.name for each in question.inputs if each.sha256 not in read]
        if read and changed:
            return None, _lacks(f"{' and '.join(changed)} changed since")
        return node_view(question, document.get("plan_for_qps"), document.get("latency_bounded_qps")), None
    except PerfplanError as error:
        return None, _lacks(f"the question cannot be asked again: {error}")


def _asked(document: Document) -> Any:
    """The question, its files where they lie now; those beside a shipped scenario are where that is."""
    asked = document.get("asked") or {}
    first = next((str(each["name"]) for each in document["inputs"]), "")
    return found_again(asked) if isinstance(asked, Mapping) and first.startswith("scenarios/") else asked


def _lacks(why: str) -> str:
    """What a page lacks of which the files are not what they were."""
    anew = "What is computed anew beside these numbers (curves, a batch's operators, controls)"
    return f"{anew} is left out: {why}."
