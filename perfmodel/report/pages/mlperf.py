"""The page of `perfplan mlperf`: what LoadGen would say of a run, why, and up to which rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import bars
from perfmodel.report.html import Block, Definitions, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import (
    deciding_words,
    ends,
    glossary,
    notes,
    question_text,
)
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import number

Document = Mapping[str, Any]

RESULTS = {
    "VALID": "LoadGen would call the run VALID",
    "INVALID": "LoadGen would call the run INVALID",
    "undecided": "It cannot be told whether LoadGen would call the run VALID",
}

WORDS = (
    ("Server", "LoadGen sends queries at random, so many a second in the mean; a run lasts minutes."),
    ("Offline", "LoadGen sends all samples at once; the score is how many are served a second."),
    (
        "early stopping",
        "How many of a run's queries may be late, so that the percentile holds with 99 % confidence: a "
        "little fewer than the percentile itself allows, none in a run that is too short.",
    ),
    ("target", "The rate that a submitter claims in user.conf (target_qps)."),
    ("largest valid rate", "The greatest target of a VALID run by the central estimate."),
)


def mlperf_html(found: Document) -> str:
    """Write the page of a document."""
    blocks: list[Block] = [Prose(answer(found), is_answer=True)]
    if found["reason"] is not None:
        blocks.append(Prose(f"Why: {found['reason']}."))
    blocks += deciding_words(found["deciding"])
    blocks += [Heading("The run"), *_run(found), Heading("Rates"), *_rates(found)]
    blocks += sources(found)
    blocks += notes(found)
    blocks += [Heading("LoadGen's words"), Definitions(WORDS), *glossary()]
    blocks += question_text(found["asked"], found["scenario"], _command(found))
    title = f"MLPerf {found['benchmark']}, {found['loadgen_scenario']}: {found['scenario']}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def _command(found: Document) -> str:
    offline = " --loadgen-scenario offline" if found["loadgen_scenario"] == "Offline" else ""
    return f"mlperf --target-qps {found['target_qps']:g}{offline}"


def _unit(found: Document) -> str:
    return "queries/s" if found["loadgen_scenario"] == "Server" else "samples/s"


def _sure(found: Document) -> str:
    return f"{number(100 * found['confidence'])} %"


def answer(found: Document) -> str:
    """What LoadGen would say, how surely, and up to which rate."""
    unit, probability = _unit(found), found["valid_probability"]
    said = f"{RESULTS[found['result']]} at a target of {number(found['target_qps'], 4)} {unit}"
    said += "." if probability is None else f" (probability of VALID {_percent(probability)})."
    largest, planned = found["largest_valid_qps"], found["plan_for_qps"]
    if largest is None:
        return f"{said} No rate is VALID."
    if found["loadgen_scenario"] == "Offline":
        said += f" The score would be {number(largest, 4)} samples/s by the central estimate"
    else:
        said += f" By the central estimate runs are VALID up to {number(largest, 4)} {unit}"
    if planned is None:
        return f"{said}; no rate is VALID with {_sure(found)}."
    return f"{said}; with {_sure(found)}, {number(planned, 4)}."


def _percent(probability: float) -> str:
    if probability > 0.999:
        return "over 99.9 %"
    return "below 0.1 %" if probability < 0.001 else f"{number(100.0 * probability)} %"


def _run(found: Document) -> list[Block]:
    """Its length, what may be late, and what is expected to be."""
    unit = _unit(found).removesuffix("/s")
    rows = [
        [f"{unit} of the run", f"{found['run_queries']:,}"],
        [f"least {unit}", f"{found['min_queries']:,}"],
        ["seconds", number(found["run_s"], 4)],
        ["least seconds", number(found["min_duration_s"], 4)],
    ]
    rule = found["early_stopping"]
    blocks: list[Block] = []
    if rule is not None:
        bound = f"p{100 * rule['percentile']:g} within {number(found['target_latency_ms'])} ms"
        rows += [
            [f"may be late ({bound})", "none" if rule["most_late"] is None else f"{rule['most_late']:,}"],
            ["expected late", number(rule["expected_late"], 4)],
        ]
        drawn = {"queries": [rule["most_late"] or 0, rule["expected_late"]]}
        text = f"VALID where no more of the {found['run_queries']:,} queries are late than may be."
        if rule["expected_late"] is not None:
            drawing = bars(
                ["may be late", "expected late"], drawn, y_label="queries", title="Late queries", text=text
            )
            blocks.append(Figure(drawing))
        latency = {key: value for key, value in (found["latency_ms"] or {}).items() if value is not None}
        if latency:
            limit = [found["target_latency_ms"]] * len(latency)
            drawing = bars(
                list(latency),
                {"latency": list(latency.values())},
                marks={"target": limit},
                y_label="ms",
                title="Latency at the target rate",
                text="Bars are simulated; the mark is the target latency.",
            )
            blocks.append(Figure(drawing))
    return [Table(["of the run", "value"], rows, caption="What LoadGen asks of a run"), *blocks]


def _rates(found: Document) -> list[Block]:
    """The target beside the largest valid rate and what is open of it."""
    label = "largest valid rate" if found["loadgen_scenario"] == "Server" else "throughput, the score"
    sure = f"VALID with {_sure(found)}"
    rates = {"target": found["target_qps"], label: found["largest_valid_qps"], sure: found["plan_for_qps"]}
    if found["least_target_qps"] is not None:
        rates["VALID from a target of"] = found["least_target_qps"]
    known = {name: value for name, value in rates.items() if value is not None}
    rows = [
        [
            name,
            number(value, 4),
            ends(found["largest_valid_qps_ci95"]) if name == label else "–",
            ends(found["largest_valid_qps_calibration_band"], without="no load") if name == label else "–",
        ]
        for name, value in rates.items()
    ]
    drawing = bars(
        list(known),
        {"rate": list(known.values())},
        y_label=_unit(found),
        title="Rates of one system",
        text="What is claimed beside what is valid, by the central estimate and surely.",
    )
    heads = ["rate", _unit(found), "interval", "band"]
    return [Figure(drawing), Table(heads, rows, caption="Interval of the simulation, band of the times")]
