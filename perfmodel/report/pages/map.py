"""The page of `perfplan map`: the best device by model and batch size, as a heat map and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import heatmap
from perfmodel.report.error_budget import probability
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import command_text, glossary, notes
from perfmodel.report.pages.sources import profiles_of
from perfmodel.report.tables import number

Document = Mapping[str, Any]

SURE = 0.9
"""Probability from which on a device is said to be the best without doubt. [1]"""


def map_html(found: Document) -> str:
    """Write the page of a document."""
    what = _what(found)
    blocks: list[Block] = [Prose(answer(found), is_answer=True), Heading("Which device where"), _map(found)]
    blocks += [_best(found), Heading("Every device")]
    blocks += [_of_model(found, model) for model in found["models"]]
    blocks += [
        Heading("Where the numbers come from"),
        *(Prose(f"Service times on {words}.") for words in found["service_times_of"]),
        *profiles_of(found),
    ]
    blocks += notes({"notes": found["notes"], "assumptions": []})
    blocks += glossary()
    devices = ",".join(_with_stack(found, device) for device in found["devices"])
    sizes = ",".join(map(str, found["batch_sizes"]))
    asks = f"perfplan map --models {','.join(found['models'])} --on {devices} --batch {sizes}"
    blocks += command_text(asks + ("" if found["by"] == "latency" else f" --by {found['by']}"))
    title = f"The {what} of {', '.join(found['devices'])}"
    return page(title, blocks, facts=made_of(found))  # type: ignore[arg-type]  # a document is one


def _with_stack(found: Document, name: str) -> str:
    stacks = {each["stack"] for row in found["rows"] for each in row["devices"] if each["device"] == name} - {
        None
    }
    return f"{name.partition('@')[0]}@{stacks.pop()}" if len(stacks) == 1 else name


def _what(found: Document) -> str:
    return "fastest" if found["by"] == "latency" else "most efficient"


def answer(found: Document) -> str:
    """How often each device is the best, and where the lead is largest."""
    known = [row for row in found["rows"] if row["best"] is not None]
    counts = Counter(row["best"] for row in known)
    places = ", ".join(f"{device} in {count}" for device, count in counts.most_common())
    text = f"Of {len(found['rows'])} pairs of a model and a batch size the {_what(found)} device is {places}."
    led = [row for row in known if row["factor_over_second"] is not None]
    if led:
        most = max(led, key=lambda row: float(row["factor_over_second"]))
        text += (
            f" The largest lead is {number(most['factor_over_second'])} times: {most['best']} over "
            f"{most['second']} for {most['model']} in batches of {most['batch_size']}."
        )
    likely = [row["probability"] for row in known if row.get("probability") is not None]
    if likely:
        sure = sum(each >= SURE for each in likely)
        text += f" That is {100 * SURE:g} % sure in {sure or 'none'} of them, given the errors of the times."
    if found["extrapolated_cells"]:
        text += f" {found['extrapolated_cells']} of the times lie outside the calibrated range."
    return text


def _map(found: Document) -> Figure:
    """Factors over the second, each field in the colour of its best device."""
    models, sizes = list(found["models"]), list(found["batch_sizes"])

    def place(row: Document) -> tuple[int, int]:
        return sizes.index(row["batch_size"]), models.index(row["model"])

    rows = [row for row in found["rows"] if row["best"] is not None]
    drawing = heatmap(
        [str(size) for size in sizes],
        models,
        {place(row): row["factor_over_second"] for row in rows},
        x_label="batch size [items]",
        y_label="model",
        title=f"The {_what(found)} device, and its factor over the second",
        text="The colour is the device; the number, and the strength, how many times as good it is.",
        kinds={place(row): row["best"] for row in rows},
    )
    return Figure(drawing)


def _best(found: Document) -> Table:
    heads = ["model", "batch size", _what(found), "over the second", "second", "probability"]
    rows = [
        [
            row["model"],
            str(row["batch_size"]),
            (row["best"] or "none") + (" (extrapolated)" if row["extrapolated"] else ""),
            number(row["factor_over_second"]),
            row["second"] or "–",
            "–" if row["probability"] is None else probability(row["probability"]),
        ]
        for row in found["rows"]
    ]
    return Table(heads, rows, caption="The best device, and how probably it is the best")


def _of_model(found: Document, model: str) -> Table:
    """One model on every device."""
    by_latency = found["by"] == "latency"
    unit = "ms" if by_latency else "items/s/W"
    key = "latency_ms" if by_latency else "items_per_s_per_w"
    rows = [
        [
            str(row["batch_size"]),
            *(
                number(cell[key], 4) + (" (extrapolated)" if cell["basis"] == "extrapolated" else "")
                for cell in row["devices"]
            ),
        ]
        for row in found["rows"]
        if row["model"] == model
    ]
    return Table(["batch size", *found["devices"]], rows, caption=f"{model} [{unit}]")
