"""Pages of answers as they were found, and of documents that were saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.inputs import InputFile
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.text_file import read_text
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
from perfmodel.report.pages.fleet import fleet_html
from perfmodel.report.pages.node import node_page
from perfmodel.report.pages.plain import plain_html
from perfmodel.report.pages.plan import plan_html
from perfmodel.report.tables import number

MOST_BYTES = 100_000_000
"""Of a saved answer. [bytes]"""

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


def read_document(path: Path) -> Document:
    """Read an answer that `--json` printed.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        document: Any = json.loads(read_text(path, most_bytes=MOST_BYTES))
    except ValueError as error:
        if isinstance(error, PerfplanError):
            raise
        raise InputError(f"{path}: not JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise InputError(f"{path}: expected an answer that perfplan printed with --json: it has no schema")
    older: dict[str, Any] = {"perfplan": "of an older version", "date": "no date", "inputs": []}
    found: Document = older | document
    return found


def document_html(document: Document) -> str:
    """The page of a saved answer, with its own numbers; what is drawn beside them is computed anew."""
    name = document["schema"]["name"]
    try:
        if name in ("predict", "capacity", "tune", "explain"):
            view = _view(document)
            if name == "explain":
                return plain_html(document, explain_answer(document))
            return node_page(view, **{name: document})
        if name == "plan":
            return plan_html(document)
        if name == "fleet":
            return fleet_html(document)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, PerfplanError):
            raise
        raise InputError(f"report: the answer lacks what its schema {name!r} has: {error}") from None
    return plain_html(document, plain_answer(document))


def explain_answer(document: Document) -> str:
    """What binds, and the best single change."""
    binds, changes = document["binds"], document["changes"]
    best = next((each for each in changes if each["gain_percent"] is not None), None)
    said = f"{binds['resource']}: {binds['why']}."
    if best is not None:
        said += f" Of single changes, {best['change']} buys most: {best['gain_percent']:+.1f} %."
    return said


def plain_answer(document: Document) -> str:
    """The answer of a kind that has no page of its own, in a sentence."""
    name = document["schema"]["name"]
    if name == "sweep":
        points = f"{document['points']} points, {document['answered']} answered"
        return f"{document['question']} of {document['scenario']} at {points}."
    if name == "diff":
        some = [each for each in document["differences"] if each.get("significant")]
        metrics = ", ".join(str(each["metric"]) for each in some[:5])
        return f"{len(some)} figures differ by more than chance{': ' + metrics if some else ''}."
    if name == "validate":
        errors = document["error_percent"]
        p95 = "not known" if errors.get("p95") is None else f"{number(errors['p95'])} %"
        at = number(document["offered_qps"])
        return f"The prediction of p95 is off by {p95} on this machine, at {at} queries/s."
    return f"What perfplan {name} found."


def _view(document: Document) -> NodeView | None:
    """The node seen closer, where the question can still be asked: of the same files."""
    try:
        question = prepare(load_scenario(document.get("asked") or {}))
        read = {InputFile(each["name"], each["sha256"]) for each in document["inputs"]}
        own = {each for each in question.inputs if not each.name.startswith("scenarios/")}
        if read and not own <= read:
            return None
        return node_view(question, document.get("plan_for_qps"), document.get("latency_bounded_qps"))
    except PerfplanError:
        return None
