"""The page of `perfplan validate`: a scenario, or a module, as a real server served it, and as predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Series, bars, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import glossary, questions_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.spans import Span, spans
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

MEASURES = {
    "p50": "p50 [ms]",
    "p95": "p95 [ms]",
    "p99": "p99 [ms]",
    "throughput": "throughput [queries/s]",
    "service_time": "mean service time [ms]",
    "utilisation": "utilisation [%]",
    "accelerator_service_time": "on the accelerator [ms]",
}
"""What is compared, by the key of its error."""


def validate_html(found: Document) -> str:
    """Write the page of a validation's document."""
    served = found.get("module") or found["model"]
    beside = "with" if found.get("anchor") else "without"
    blocks: list[Block] = [
        Prose(answer(found), is_answer=True),
        Prose(
            f"{served} was served by {found['workers']} workers of {found['threads']} "
            f"{'thread' if found['threads'] == 1 else 'threads'} on this machine: {found['queries']:,} "
            f"queries at {number(found['offered_qps'], 4)} queries/s. The prediction is of profile "
            f"{found['profile']}, {beside} an anchor (short paced runs of the whole model), for the same "
            "arrivals and sizes."
        ),
        Heading("Predicted and measured"),
        *_compared(found),
    ]
    blocks += _causes(found)
    blocks += _by_size(found["service_time_by_batch"], "Service time on the cores")
    blocks += _by_size(found["accelerator_service_time_by_batch"], "Service time on the accelerator")
    blocks += _by_length(found.get("service_time_by_length") or ())
    blocks += _capacity(found.get("capacity"))
    blocks += _alone(found.get("alone") or ())
    blocks += _machine(found)
    if "inputs" in found:  # reports of earlier versions name none
        blocks += sources(found)
    blocks += glossary()
    target = (found.get("module") or "").partition(" as it is")[0]
    options = f"--module {target}" if target else ""
    blocks += questions_text([(found.get("asked"), found["scenario"])], "validate", options)
    title = f"Prediction and measurement: {found['scenario']}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def answer(found: Document) -> str:
    """How far the prediction is off, and what the measured run says of the SLA."""
    errors, measured, predicted = found["error_percent"], found["measured"], found["predicted"]
    if found["verdict"] == "disturbed":
        return (
            "Disturbed, measure again: something else decided what was measured, so that neither figure says "
            "anything of the prediction."
        )
    said = []
    for key in ("p50", "p95", "p99"):
        said.append(
            f"{key} {number(predicted['latency_ms'][key])} ms for {number(measured['latency_ms'][key])} ms "
            f"({_signed(errors[key])})"
        )
    verdict = {"meets_sla": "meets", "misses_sla": "misses"}[found["verdict"]]
    text = f"Predicted {', '.join(said)}. The measured run {verdict} the SLA."
    capacity = found.get("capacity")
    if capacity and capacity["predicted_qps"] is not None and capacity["measured_qps"] is not None:
        text += (
            f" Largest load: {number(capacity['predicted_qps'], 4)} queries/s predicted, "
            f"{number(capacity['measured_qps'], 4)} measured ({_signed(capacity['error_percent'])})."
        )
    return text


def _signed(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:+.1f} %"


def _value(side: Document, key: str) -> float | None:
    """A measure of one side, in the unit of its label."""
    if key in side["latency_ms"]:
        return float(side["latency_ms"][key])
    value = {
        "throughput": side["throughput_qps"],
        "service_time": side["service_time_ms"],
        "utilisation": 100.0 * side["utilisation"],
        "accelerator_service_time": side.get("accelerator_service_time_ms"),
    }[key]
    return None if value is None else float(value)


def _compared(found: Document) -> list[Block]:
    measured, predicted = found["measured"], found["predicted"]
    equal = found["equal_utilisation"]
    shown = [key for key in MEASURES if _value(measured, key) is not None]
    drawn = bars(
        [key for key in shown if key in measured["latency_ms"]],
        {"measured": [_value(measured, key) for key in shown if key in measured["latency_ms"]]},
        marks={"predicted": [_value(predicted, key) for key in shown if key in measured["latency_ms"]]},
        y_label="latency [ms]",
        title="Latency, measured and predicted",
        text="Bars are measured, marks predicted, both of the same arrivals and sizes.",
    )
    rows = [
        [
            MEASURES[key],
            number(_value(measured, key), 4),
            number(_value(predicted, key), 4),
            _signed(found["error_percent"][key]),
            number(_value(equal["predicted"], key), 4),
            _signed(equal["error_percent"][key]),
        ]
        for key in shown
    ]
    heads = ["", "measured", "predicted", "error", "at equal utilisation", "error"]
    caption = (
        "Errors are positive where the prediction is above the measurement. At equal utilisation: all "
        f"service times {number(equal['service_time_factor'])} times as long, which leaves the shape"
    )
    return [Figure(drawn), Table(heads, rows, caption=caption)]


def _causes(found: Document) -> list[Block]:
    """Which part of the prediction the error comes from."""
    ways = {
        "as predicted": found["error_percent"],
        "without the anchor": found["error_percent_without_anchor"] if found.get("anchor") else None,
        "without it, in this hour's cache": (
            found["error_percent_without_anchor_at_this_lifetime"] if found.get("anchor") else None
        ),
        "at equal utilisation": found["equal_utilisation"]["error_percent"],
        "with the run's own service times": found["own_service_times"]["error_percent"],
    }
    some = {name: errors for name, errors in ways.items() if errors is not None}
    drawn = [
        Span(name=name, value=float(errors["p95"]))
        for name, errors in some.items()
        if errors["p95"] is not None
    ]
    own = found["own_service_times"]["error_percent"]["p95"]
    text = (
        "What is left of the error of p95 when a part of the prediction is replaced by what was measured: "
        f"with the run's own service times the queue alone is off by {_signed(own)}; the rest is theirs."
    )
    keys = ("p50", "p95", "p99", "service_time")
    rows = [[name, *(_signed(errors[key]) for key in keys)] for name, errors in some.items()]
    return [
        Heading("Where the error comes from"),
        Figure(
            spans(drawn, x_label="error of p95 [%]", title="Error of p95 by way of predicting", text=text)
        ),
        Table(["prediction", "p50", "p95", "p99", "service time"], rows, caption="Signed errors"),
    ]


def _by_size(rows: Sequence[Document], title: str) -> list[Block]:
    if not rows:
        return []
    blocks: list[Block] = [Heading(title)]
    if len(rows) > 1:
        x = [(row["from_items"] * row["to_items"]) ** 0.5 for row in rows]
        drawn = lines(
            [
                Series(name="measured", x=x, y=[row["measured_ms"] for row in rows]),
                Series(name="predicted", x=x, y=[row["predicted_ms"] for row in rows], dashed=True),
            ],
            x_label="request size [items]",
            y_label="mean service time [ms]",
            title=title,
            text="By octaves of the size; a dot at the middle of its octave.",
            log_x=True,
            log_y=True,
        )
        blocks.append(Figure(drawn))
    cells = [
        [
            f"{int(row['from_items'])}"
            if row["from_items"] == row["to_items"]
            else f"{int(row['from_items'])} to {int(row['to_items'])}",
            f"{int(row['requests']):,}",
            number(row["measured_ms"]),
            number(row["predicted_ms"]),
            _signed(row["error_percent"]),
        ]
        for row in rows
    ]
    blocks.append(Table(["items", "requests", "measured ms", "predicted ms", "error"], cells, caption=title))
    return blocks


def _by_length(rows: Sequence[Document]) -> list[Block]:
    """Service times by the length of the history; nothing where all are of one, or of earlier versions."""
    if not rows:
        return []
    title = "Service time by length of the history"
    cells = [
        [
            f"{int(row['length']):,}",
            f"{int(row['requests']):,}",
            number(row["measured_ms"]),
            number(row["predicted_ms"]),
            _signed(row["error_percent"]),
        ]
        for row in rows
    ]
    headings = ["positions", "requests", "measured ms", "predicted ms", "error"]
    return [Heading(title), Table(headings, cells, caption=title)]


def _capacity(capacity: Document | None) -> list[Block]:
    if not capacity:
        return []
    sla = capacity["sla"]
    bound = f"p{100 * sla['percentile']:g} within {as_asked(sla['latency_ms'])} ms"
    blocks: list[Block] = [Heading("Largest load"), Prose(f"The largest load with {bound}, on the server:")]
    rows = [
        ["predicted", number(capacity["predicted_qps"], 4)],
        ["measured", number(capacity["measured_qps"], 4)],
        ["error", _signed(capacity["error_percent"])],
    ]
    blocks.append(Table(["", "queries/s"], rows))
    if capacity["tried"]:
        tried = [[number(each["rate_qps"], 4), number(each["latency_ms"], 4)] for each in capacity["tried"]]
        heads = ["queries/s", f"p{100 * sla['percentile']:g} ms"]
        blocks.append(Table(heads, tried, caption="Loads that were measured on the way"))
    return blocks


def _alone(rows: Sequence[Document]) -> list[Block]:
    if not rows:
        return []
    cells = [
        [
            str(row["batch_size"]),
            number(row["measured_ms"]),
            number(row["predicted_ms"]),
            _signed(row["error_percent"]),
        ]
        for row in rows
    ]
    return [
        Heading("One pass of the module, nothing beside it"),
        Table(["items", "measured ms", "predicted ms", "error"], cells, caption="Single passes"),
    ]


def _machine(found: Document) -> list[Block]:
    """How still the machine was, what it is, and how the server was set up."""
    unsteady = found.get("unsteadiness") or {}
    fingerprint = found.get("fingerprint") or {}
    machine, software = fingerprint.get("machine", {}), fingerprint.get("software", {})
    rows = [
        ["drift of service times between pieces", f"{number(found['drift_percent'], 2)} %"],
        ["disturbed pieces repeated", str(found["repeated_pieces"])],
        ["longest loss of a core", f"{number(found['longest_stall_ms'], 2)} ms"],
    ]
    if unsteady.get("relative_std") is not None:
        rows.append(["scatter of requests alike", f"{number(100 * unsteady['relative_std'], 2)} %"])
    if unsteady.get("pause_ms") is not None:
        pauses = (
            f"{number(unsteady['pauses_per_s'], 2)} a second of work, {number(unsteady['pause_ms'], 2)} ms"
        )
        rows.append(["a core is taken away", pauses])
    stops = unsteady.get("stops")  # reports of earlier versions have none
    if stops and stops["number"]:
        often = (
            f"{stops['number']} times, {number(stops['per_s'], 2)} a second, {number(stops['mean_ms'], 3)} ms"
        )
        rows.append(["the whole node stops", often])
    if found.get("l3_lifetime_ms") is not None:
        rows.append(["life of lines in the last-level cache", f"{number(found['l3_lifetime_ms'], 2)} ms"])
    anchor = found.get("anchor")
    if anchor:
        rows.append(["the whole model over its operators (anchor)", f"{number(anchor['level'])} times"])
        rows.append(["requests behind the anchor", f"{anchor['requests']:,}"])
    for label, value in (
        ("processor", machine.get("cpu_model")),
        ("cores", machine.get("cores")),
        ("memory", None if machine.get("memory_gib") is None else f"{machine['memory_gib']} GiB"),
        ("cards", ", ".join(machine.get("gpus") or ()) or None),
        ("PyTorch", software.get("torch")),
    ):
        if value is not None:
            rows.append([label, str(value)])
    blocks: list[Block] = [Heading("The machine"), Table(["what", "value"], rows)]
    if found.get("settings"):
        blocks.append(Prose(f"How the server was set up: {found['settings']}."))
    if found["interrupted"]:
        blocks.append(Prose("It was interrupted: these are the pieces that were measured until then."))
    return blocks
