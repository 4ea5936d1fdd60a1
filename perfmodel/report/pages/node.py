"""The page of one node: of `predict`, `capacity`, `tune`, or of a scenario with all three."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from perfmodel.planning.node_view import NodeView
from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Drawing, bars, heatmap
from perfmodel.report.html import FOLDER, Block, Figure, Heading, Markup, Prose, Table, page
from perfmodel.report.pages.explain import answer as explain_answer
from perfmodel.report.pages.explain import changes
from perfmodel.report.pages.shared import (
    deciding_words,
    ends,
    glossary,
    latency_ends,
    load_drawing,
    notes,
    operators_table,
    question_text,
    sheds,
    where_time_goes,
)
from perfmodel.report.pages.sources import sources
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

MOST_OPERATORS = 8
"""In a drawing of one batch; the table has all."""

UNCERTAIN = "within_error"
"""The verdict of what the errors leave open."""

VERDICTS = {
    "meets_sla": "It meets its SLA",
    UNCERTAIN: "It cannot be told whether it meets its SLA",
    "misses_sla": "It misses its SLA",
}


def node_page(
    view: NodeView | None,
    *,
    predict: Document | None = None,
    capacity: Document | None = None,
    tune: Document | None = None,
    explain: Document | None = None,
    lacks: str | None = None,
) -> str:
    """Write the page of what there is: at least one of the documents.

    Parameters
    ----------
    view : NodeView or None
        The node seen closer; None where the question cannot be asked again.
    predict, capacity, tune, explain : mapping, optional
        Documents as `--json` prints them.
    lacks : str, optional
        What is left out, and why, where there is no view.
    """
    first = predict or capacity or tune
    assert first is not None, "one of them is given"
    blocks: list[Block] = [Prose(answer(predict, capacity, tune), is_answer=True)]
    if predict is not None:
        blocks.append(Prose(_load_words(predict)))
    blocks += deciding_words((predict or capacity or {}).get("would_decide"))
    blocks += [] if lacks is None else [Prose(lacks)]
    if tune is not None and first is tune:
        blocks += _tuning(tune)
    blocks += _load(view, predict, capacity)
    blocks += _stages((predict or capacity or {}).get("pipeline"))
    blocks += _where(view, predict)
    if tune is not None and first is not tune:
        blocks += _tuning(tune)
    if explain is not None:
        blocks += [*changes(explain), Prose(explain_answer(explain))]
    script = ""
    controls = _controls(view, predict or capacity, capacity or predict)
    if controls is not None:
        blocks += controls[0]
        script = controls[1]
    blocks += sources(first)
    blocks += notes(predict or capacity or tune or {})
    blocks += glossary()
    blocks += question_text(first.get("asked", {}), first["scenario"], _command(predict, capacity))
    title = f"{_models(first)}: {first['scenario']}"
    return page(title, blocks, facts=made_of(first), script=script)  # type: ignore[arg-type]  # a document is one


def _command(predict: Document | None, capacity: Document | None) -> str:
    if predict is not None:
        return "predict"
    return "tune" if capacity is None else "capacity"


def answer(predict: Document | None, capacity: Document | None, tune: Document | None) -> str:
    """The answer in a sentence or two."""
    found = capacity or predict
    said = []
    if found is not None:
        said.append(_largest_words(found, is_open=predict is not None and predict["verdict"] == UNCERTAIN))
    if predict is not None and predict["verdict"] == "unstable":
        said.insert(0, f"Unstable: {_offered_words(predict)} are more than the node can serve.")
    elif predict is not None:
        said.append(f"{VERDICTS[predict['verdict']]} at {_offered_words(predict)}.")
    if tune is not None and tune["gain"] is not None:
        said.append(_tuned_words(tune))
    return " ".join(said)


def _tuned_words(tune: Document) -> str:
    """What is best, and what it brings."""
    best = tune["tuned"]
    threshold, waited_ms = best["offload_threshold_items"], best.get("timeout_ms")
    offload = "" if threshold is None else f" and an offload threshold of {threshold} items"
    if waited_ms is not None:
        offload = f", waited for {number(waited_ms)} ms,"
    baseline = "the static baseline" if waited_ms is None else "what the scenario says"
    carried = f"{number(best['latency_bounded_qps'], 4)} queries/s"
    return (
        f"With a batch size of {best['batch_size']}{offload} a node carries {carried}, "
        f"{number(tune['gain'])} times {baseline}."
    )


def _offered_words(predict: Document) -> str:
    """The load that was asked about, and what of it is turned away."""
    offered = f"{number(predict['offered_qps'], 4)} queries/s"
    shed = predict["shed_rate"]
    return f"{offered}, of which {number(100 * shed)} % are turned away" if shed else offered


def _largest_words(found: Document, *, is_open: bool = False) -> str:
    """The load to plan for, in a sentence; or why there is none, and whether that is open still."""
    sla = found["sla"]
    bound = f"p{100 * sla['percentile']:g} stays within {as_asked(sla['latency_ms'])} ms"
    if sheds(found):
        bound += " (those turned away counted as late)"
    confident = f"with a confidence of {number(100 * sla['confidence'])} %, at the low end of what we know"
    plan, largest = found["plan_for_qps"], found["latency_bounded_qps"]
    if found.get("latency_bounded_users") is not None:
        users = found["plan_for_users"]
        if users is not None:
            return f"Plan for {users:,} users a node: {bound} {confident}."
        most = f"{found['latency_bounded_users']:,} users"
        return (
            f"No number of users is certain enough to plan for; by the central estimate {bound} up to {most}."
        )
    if plan is not None:
        return f"Plan for {number(plan, 4)} queries/s a node: {bound} {confident}."
    if largest is not None:
        return (
            f"No load is certain enough to plan for; by the central estimate {bound} up to "
            f"{number(largest, 4)} queries/s."
        )
    if _is_closed(found):
        return "How many users a node serves within the SLA, perfplan capacity says."
    if found["sla"].get("predicted_ms") is not None and sla["predicted_ms"] <= sla["latency_ms"]:
        return "The largest load was not searched for, as the notes say."
    none = "no load meets the SLA: queries that find the node idle already take longer"
    return f"By the central estimate {none}." if is_open else f"{none[0].upper()}{none[1:]}."


def _latency_drawing(document: Document) -> Drawing | None:
    """Percentiles at one load beside the SLA: of traffic that has no curve, or where none is drawn."""
    known = {key: value for key, value in (document["latency_ms"] or {}).items() if value is not None}
    if not known:
        return None
    sla = document["sla"]
    bound = f"SLA of p{100 * sla['percentile']:g}"
    return bars(
        list(known),
        {"latency": list(known.values())},
        marks={bound: [sla["latency_ms"]] * len(known)},
        y_label="ms",
        title="Latency at this load",
        text=f"The mark is the {bound}, {as_asked(sla['latency_ms'])} ms.",
    )


def _shares_drawing(operators: Sequence[Document], batch_size: int) -> Drawing:
    """Where a batch spends its time, by operator, where no other batch is looked at."""
    most = sorted(operators, key=lambda each: -float(each["share"]))[:MOST_OPERATORS]
    return bars(
        [str(each["name"]) for each in most],
        {"share": [100.0 * each["share"] for each in most]},
        y_label="share [%]",
        title=f"Where a batch of {batch_size} spends its time",
        text=f"Of a core at this load; the {len(most)} operators that take most.",
    )


def _asking(document: Document) -> str:
    """Who asks for the load of a table of latencies."""
    users = document.get("latency_bounded_users")
    return "At " if users is None else f"Of {users:,} users, who ask for "


def _is_closed(document: Document) -> bool:
    arrivals = (document.get("asked") or {}).get("traffic", {}).get("arrivals", {})
    return bool(arrivals.get("process") == "closed")


def _load_words(predict: Document) -> str:
    """What the asked load looks like."""
    latency = predict["latency_ms"]
    if latency["p95"] is None:
        asked = number(100 * predict["utilisation"]["cpu"])
        return f"No latency exists: the load asks for {asked} % of the cores."
    worst = predict.get("worst_window")
    shown = latency if worst is None else worst["latency_ms"]
    known = ", ".join(f"{key} {number(shown[key], 4)} ms" for key in ("p50", "p95", "p99"))
    when = "" if worst is None else f" in the mean, in the worst {_minutes(worst)} of the day"
    return (
        f"At {number(predict['offered_qps'], 4)} queries/s{when}: {known}; "
        f"{number(100 * predict['utilisation']['cpu'])} % of the cores are busy"
        + (f"; {number(predict['qps_per_w'])} queries/s/W of TDP." if predict["qps_per_w"] else ".")
    )


def _latencies(found: Document, bands: Document) -> list[list[str]]:
    """Rows of latencies, each with its interval and its band."""
    intervals = found["latency_ci95_ms"] or {}
    return [
        [key, number(value, 4), latency_ends(intervals.get(key)), ends(bands.get(key), without="unstable")]
        for key, value in (found["latency_ms"] or {}).items()
        if value is not None
    ]


def _minutes(worst: Document) -> str:
    """How long the worst minutes of a day are."""
    seconds = worst["end_s"] - worst["start_s"]
    return f"{number(seconds / 60)} minutes" if seconds >= 60.0 else f"{number(seconds)} s"


def _load(view: NodeView | None, predict: Document | None, capacity: Document | None) -> list[Block]:
    document = capacity or predict
    if document is None:
        return []
    curve = None if view is None else load_drawing(view, document)
    drawing = curve or _latency_drawing(document)
    blocks: list[Block] = [Heading("Latency" if curve is None else "Latency against load")]
    if drawing is not None:
        blocks.append(Figure(drawing))
    bands, worst = document.get("calibration_band_ms") or {}, document.get("worst_window")
    rows = _latencies(document, bands if worst is None else {})
    if worst is not None:  # the SLA and the bands are of these minutes
        then = f" in the worst {_minutes(worst)}"
        rows = [
            *([key + then, *more] for key, *more in _latencies(worst, bands)),
            *([f"{key} over the whole day", *more] for key, *more in rows),
        ]
    at = document.get("offered_qps") or document.get("latency_bounded_qps")
    if rows:
        caption = f"{_asking(document)}{number(at, 4)} queries/s [ms]: "
        caption += "interval of the simulation, band of the service times' error"
        blocks.append(Table(["latency", "ms", "interval", "band"], rows, caption=caption))
    if _is_closed(document):  # users who wait ask for less: there is no cliff
        return [*blocks, *_users(document)]
    loads = [
        ["plan for", number(document["plan_for_qps"], 4), ends(document.get("plan_for_qps_ci95")), "–"],
        [
            "largest load",
            number(document["latency_bounded_qps"], 4),
            ends(document["latency_bounded_qps_ci95"]),
            ends(document["latency_bounded_qps_calibration_band"], without="no load"),
        ],
    ]
    if view is not None:
        name = "all executors busy" if sheds(document) else "cliff"
        loads.append([name, number(view.cliff_qps, 4), "–", "–"])
    blocks.append(Table(["load", "queries/s", "interval", "band"], loads, caption="Loads of one node"))
    return blocks


def _users(document: Document) -> list[Block]:
    """How many users there may be; nothing where only a number of them was asked about."""
    if document.get("latency_bounded_users") is None:
        return []
    planned = "none" if document["plan_for_users"] is None else f"{document['plan_for_users']:,}"
    rows = [
        ["plan for", planned, "–"],
        [
            "most users",
            f"{document['latency_bounded_users']:,}",
            ends(document["latency_bounded_users_ci95"]),
        ],
    ]
    return [Table(["users", "number", "interval"], rows, caption="Users of one node, who wait for answers")]


def _stages(pipeline: Document | None) -> list[Block]:
    """The stages of a pipeline: how busy each is, and how long a part of a query is in it."""
    if pipeline is None:
        return []
    stages = pipeline["stages"]
    parts = "one part" if pipeline["sub_batches"] == 1 else f"{pipeline['sub_batches']} parts"
    blocks: list[Block] = [
        Heading("The stages"),
        Prose(
            f"Queries go through {len(stages)} stages in {parts}; handing on takes "
            f"{number(pipeline['handover_ms'])} ms."
        ),
    ]
    timed = [each for each in stages if each["latency_ms"]["p95"] is not None]
    if timed:
        drawing = bars(
            [each["name"] for each in timed],
            {key: [each["latency_ms"][key] for each in timed] for key in ("p50", "p95", "p99")},
            y_label="ms from arrival at the stage to its end",
            title="Time in each stage",
            text="Of a part of a query; percentiles of stages do not add up to those of queries.",
        )
        blocks.append(Figure(drawing))
    rows = [
        [
            each["name"],
            each["model"] or "–",
            each["node"]["cpu"] or each["node"]["service_times"] or "–",
            number(each["mean_items_of_part"]),
            "–" if each["utilisation"] is None else number(100 * each["utilisation"]["cpu"]),
            *(number(each["latency_ms"][key], 4) for key in ("p50", "p95", "p99")),
        ]
        for each in stages
    ]
    heads = ["stage", "model", "CPU", "items of a part", "cores busy [%]", "p50 ms", "p95 ms", "p99 ms"]
    return [*blocks, Table(heads, rows, caption="Each stage at this load")]


def _where(view: NodeView | None, predict: Document | None) -> list[Block]:
    if view is None and predict is None:
        return []
    blocks: list[Block] = []
    if view is not None:
        blocks += where_time_goes(view)
    elif predict is not None and predict["operators"]:
        blocks.append(Figure(_shares_drawing(predict["operators"], predict["operators_batch_size"])))
    if predict is not None and predict["operators"]:
        caption = f"A batch of {predict['operators_batch_size']}{_in_stage(predict)} on a core at this load"
        blocks.append(operators_table(predict["operators"], caption))
    if predict is not None and predict["accelerator_operators"]:
        caption = f"A launch of {predict['accelerator_operators_batch_size']} items on the accelerator, alone"
        blocks.append(operators_table(predict["accelerator_operators"], caption))
    return [Heading("Where the time goes"), *blocks] if blocks else []


def _in_stage(document: Document) -> str:
    """Of several stages the one whose operators a document lists: the first."""
    pipeline = document.get("pipeline")
    return "" if pipeline is None else f" of {pipeline['stages'][0]['name']}"


def _models(document: Document) -> str:
    """What is served: of several stages each model."""
    pipeline = document.get("pipeline")
    if pipeline is None:
        return str(document["model"] or "service times")
    return ", then ".join(str(each["model"] or each["name"]) for each in pipeline["stages"])


def _tuning(tune: Document) -> list[Block]:
    second = _second_of(tune)
    title = "Batch size and offload threshold" if second == "offload_threshold_items" else "Batch and timeout"
    blocks: list[Block] = [Heading(title)]
    blocks += [
        Figure(_map(tune, per_watt))
        for per_watt in ((False, True) if tune["tuned"]["qps_per_w"] else (False,))
    ]
    rows = [
        [
            name,
            str(point["batch_size"]),
            _or_dash(point[second]),
            number(point["latency_bounded_qps"], 4),
            number(point["qps_per_w"]),
        ]
        for name, point in (
            ("static" if second == "offload_threshold_items" else "as written", tune["static"]),
            ("hill climb", tune["climb"]),
            ("exhaustive", tune["tuned"]),
        )
    ]
    heads = ["found by", "batch size", SECOND[second], "queries/s", "queries/s/W"]
    blocks.append(
        Table(heads, rows, caption="The static baseline, where the climb ends, and the best of all")
    )
    if tune["sla_levels"]:
        blocks.append(_levels(tune["sla_levels"]))
    if tune["set"]:
        blocks.append(Prose("To set it: " + " ".join(f"--set {each}" for each in tune["set"])))
    return blocks


SECOND = {"offload_threshold_items": "threshold", "timeout_ms": "ms waited"}
"""What is set beside the batch size, and its heading."""


def _second_of(tune: Document) -> str:
    """Which of them it is: a document of before knows thresholds alone."""
    joins = tune["tuned"].get("timeout_ms") is not None
    return "timeout_ms" if joins else "offload_threshold_items"


def _levels(levels: Sequence[Document]) -> Table:
    """What is best at a tighter and a looser SLA."""
    rows = [
        [
            each["level"],
            number(each["sla"]["latency_ms"], 4),
            str(each["tuned"]["batch_size"]),
            _or_dash(each["tuned"][_second_of(each)]),
            number(each["static"]["latency_bounded_qps"], 4),
            number(each["tuned"]["latency_bounded_qps"], 4),
            number(each["gain"]),
        ]
        for each in levels
    ]
    second = SECOND[_second_of(levels[0])]
    heads = ["SLA", "ms", "batch size", second, "static queries/s", "best queries/s", "gain"]
    return Table(heads, rows, caption="The best at each level of the SLA; gain: times the static baseline")


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _map(tune: Document, per_watt: bool) -> Drawing:
    tried, second = tune["tried"], _second_of(tune)
    sizes = sorted({each["batch_size"] for each in tried})
    thresholds = sorted({each[second] for each in tried}, key=lambda t: (t is None, t or 0))
    watts = {
        point["offload_threshold_items"]: point["power_w"]
        for point in (tune["static"], tune["climb"], tune["tuned"])
    }

    def worth(each: Document) -> float | None:
        qps = each["latency_bounded_qps"]
        if qps is None or not per_watt:
            return None if qps is None else float(qps)
        power = watts.get(each["offload_threshold_items"]) or (
            tune["static"]["power_w"] if each["offload_threshold_items"] is None else tune["tuned"]["power_w"]
        )
        return float(qps / power) if power else None

    def place(each: Document) -> tuple[int, int]:
        return sizes.index(each["batch_size"]), thresholds.index(each[second])

    steps = [
        place(step)
        for step in tune["climb"]["steps"]
        if step["batch_size"] in sizes and step[second] in thresholds
    ]
    best = next(
        (place(each) for each in tried if all(each[k] == tune["tuned"][k] for k in ("batch_size", second))),
        None,
    )
    unit = "queries/s/W" if per_watt else "queries/s"
    what = "per watt of TDP" if per_watt else "within the SLA"
    return heatmap(
        [str(size) for size in sizes],
        ["none" if threshold is None else f"{threshold:g}" for threshold in thresholds],
        {place(each): worth(each) for each in tried},
        x_label="batch size [items]",
        y_label=SECOND[second],
        title=f"Largest load {what} [{unit}]",
        text="Stronger is more; the line is the climb from its dot, the ring the best that was tried.",
        path=steps,
        best=best,
    )


def _controls(
    view: NodeView | None, document: Document | None, capacity: Document | None
) -> tuple[list[Block], str] | None:
    """Controls that turn the node's capacity into a number of nodes, and their script."""
    if view is None or document is None or capacity is None or not view.curve:
        return None
    plan, central, sla = capacity["plan_for_qps"], capacity["latency_bounded_qps"], capacity["sla"]
    if plan is None or central is None:
        return None
    machines = int((capacity["node"] or {}).get("num_machines") or 1)
    whole = (
        "A node"
        if machines == 1
        else f"What serves together ({machines} nodes, all of it lost where one fails)"
    )
    data = {
        "kind": "node",
        "sla_ms": sla["latency_ms"],
        "plan_qps": plan,
        "central_qps": central,
        "cliff_qps": view.far_qps,
        "tdp_w": capacity["power_w"],
        "machines": machines,
        "curve": [
            [point.rate_qps, 1000.0 * point.percentiles[sla["percentile"]].value_s]
            for point in view.curve
            if sla["percentile"] in point.percentiles
        ],
    }
    demand = number(40 * plan, 2).replace(",", "")
    fields = [
        ("demand", "Peak demand of the service [queries/s]", demand, "1", ""),
        ("growth", "Growth [factor]", "1", "0.05", ""),
        ("sla", f"SLA of p{100 * sla['percentile']:g} [ms]", f"{sla['latency_ms']:g}", "1", ""),
        ("headroom", "Head-room [%]", "10", "1", "99"),
        ("failures", "Nodes that may fail at once", "1", "1", ""),
        ("price", "Price of a node [USD/h]", "1", "0.1", ""),
    ]
    blocks: list[Block] = [
        Heading("What if"),
        Prose(
            "Nodes of this kind for a demand, at once: the capacity of a node at the SLA comes from the "
            "curve above, brought down to what is certain enough to plan for. At the scenario's own SLA "
            "the numbers are those of perfplan plan with this capacity; at another one they hold for the "
            "same batch size and threshold, which a new perfplan tune may change. The demand to begin with "
            "is an example, what 40 nodes carry: put yours."
        ),
        Markup(controls_html(fields)),
        Markup(
            f'<p aria-live="polite">{whole} carries <output id="o-capacity"></output> queries/s: '
            '<output id="o-nodes"></output> nodes, <output id="o-power"></output>, '
            '<output id="o-price"></output>. '
            '<span id="o-note"></span></p>'
        ),
    ]
    return blocks, script_of(data)


def controls_html(fields: Sequence[tuple[str, str, str, str, str]]) -> str:
    """Number fields: name, label, value, step, and the most."""
    parts = []
    for name, label, value, step, most in fields:
        limit = f' max="{most}"' if most else ""
        parts.append(
            f'<label for="i-{name}">{escape(label)}<input id="i-{name}" type="number" min="0" step="any" '
            f'data-step="{step}" value="{escape(value, quote=True)}"{limit}></label>'
        )
    return f'<form class="controls" onsubmit="return false">{"".join(parts)}</form>'


def script_of(data: Mapping[str, Any]) -> str:
    """The script of the controls with its data."""
    code = (FOLDER / "controls.js").read_text(encoding="utf-8")
    return f"const DATA = {json.dumps(data, separators=(',', ':')).replace('<', chr(92) + 'u003c')};\n{code}"
