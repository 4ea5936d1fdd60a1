"""The page of `perfplan latency`: time by batch, where it goes, and the roofs of the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Series, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import (
    BatchShares,
    command_text,
    glossary,
    notes,
    operators_table,
    roofline_of,
    shares_by_batch,
)
from perfmodel.report.pages.sources import profiles_of
from perfmodel.report.tables import number

Document = Mapping[str, Any]


def latency_html(latency: Document) -> str:
    """Write the page of one device's document, or of that of several."""
    devices: list[Document] = list(latency.get("devices", [latency]))
    blocks: list[Block] = [Prose(answer(devices), is_answer=True)]
    blocks += [Heading("Time of a batch"), *_times(devices)]
    for device in devices:
        blocks += _where(device, several=len(devices) > 1)
    blocks.append(Heading("Where the numbers come from"))
    for device in devices:
        where = f" on {_place(device)}" if len(devices) > 1 else ""
        blocks.append(Prose(f"Service times{where}: {device['service_times_of']}."))
        if device["without"]:
            blocks.append(Prose(f"Left out of all times: {', '.join(device['without'])}."))
    blocks += profiles_of(latency)
    blocks += notes(
        {
            "notes": list(dict.fromkeys(note for each in devices for note in each["notes"])),
            "assumptions": list(dict.fromkeys(note for each in devices for note in each["assumptions"])),
        }
    )
    blocks += glossary()
    if devices[0]["model"] is not None and devices[0]["busy"] is None:
        blocks += command_text(_command(devices))
    what = devices[0]["model"] or "service times"
    title = f"Latency of {what} on {', '.join(_place(each) for each in devices)}"
    return page(title, blocks, facts=made_of(latency))  # type: ignore[arg-type]  # a document is one


def _command(devices: Sequence[Document]) -> str:
    first = devices[0]
    named = " ".join(f"--on {each['device']}@{each['stack']}" for each in devices)
    sizes = ",".join(str(row["batch_size"]) for row in first["rows"])
    more = f" --co-located {first['co_located']}" if first["co_located"] > 1 else ""
    more += f" --without {','.join(first['without'])}" if first["without"] else ""
    return f"perfplan latency --model {first['model']} {named} --batch {sizes}{more}"


def answer(devices: Sequence[Document]) -> str:
    """The times of the smallest and the largest batch, and what takes most of the latter."""
    said = []
    for device in devices:
        rows = sorted(device["rows"], key=lambda row: int(row["batch_size"]))
        first, last = rows[0], rows[-1]
        text = f"On {_place(device)} a batch of {_items(first)} takes {number(first['latency_ms'])} ms"
        if last is not first:
            text += (
                f" and one of {_items(last)} {number(last['latency_ms'])} ms, {number(_us(last))} us an item "
                f"instead of {number(_us(first))}"
            )
        most = max(last["operators"], key=lambda each: float(each["share"]), default=None)
        if most is not None:
            share = number(100 * most["share"])
            text += f"; {most['name']} takes {share} % of the {'latter' if last is not first else 'time'}"
            text += f", bound by {most['bound']}"
        said.append(f"{text}.")
    return " ".join(said)


def _items(row: Document) -> str:
    return f"{row['batch_size']} item{'' if row['batch_size'] == 1 else 's'}"


def _us(row: Document) -> float:
    return float(1000.0 * row["latency_ms"] / row["batch_size"])


def _place(device: Document) -> str:
    name = str(device["device"])
    beside = f", {device['co_located']} copies on a socket" if device["co_located"] > 1 else ""
    if device["busy"] is not None:
        beside = f" with {device['busy']} executors at work" if device["busy"] > 1 else " alone at work"
    return f"{name}{beside}"


def _times(devices: Sequence[Document]) -> list[Block]:
    blocks: list[Block] = []
    if any(len(device["rows"]) > 1 for device in devices):
        names = [f"{_place(device)}" for device in devices]
        xs = [[row["batch_size"] for row in device["rows"]] for device in devices]
        for title, label, of in (
            ("Time of a batch", "time [ms]", lambda row: float(row["latency_ms"])),
            ("Time an item", "time an item [us]", _us),
        ):
            series = [
                Series(name=name, x=x, y=[of(row) for row in device["rows"]])
                for name, x, device in zip(names, xs, devices, strict=True)
            ]
            text = "One batch on one executor, no queue; both axes in powers."
            blocks.append(
                Figure(
                    lines(
                        series,
                        x_label="batch size [items]",
                        y_label=label,
                        title=title,
                        text=text,
                        log_x=True,
                        log_y=True,
                    )
                )
            )
    rows = [
        [
            *([_place(device)] if len(devices) > 1 else []),
            str(row["batch_size"]),
            number(row["latency_ms"], 4),
            number(_us(row), 4),
            row["basis"],
        ]
        for device in devices
        for row in device["rows"]
    ]
    heads = [*(["device"] if len(devices) > 1 else []), "batch size", "ms", "us an item", "basis"]
    caption = "One batch on one executor, no queue"
    blocks.append(Table(heads, rows, caption=caption, is_grouped=len(devices) > 1))
    return blocks


def _where(device: Document, *, several: bool) -> list[Block]:
    rows = sorted(device["rows"], key=lambda row: int(row["batch_size"]))
    if not rows[-1]["operators"]:
        return []
    where = f" on {_place(device)}" if several else ""
    blocks: list[Block] = [Heading(f"Where the time goes{where}")]
    blocks += shares_by_batch(
        [
            BatchShares(
                row["batch_size"], [(each["name"], each["kind"], each["share"]) for each in row["operators"]]
            )
            for row in rows
        ],
        where,
    )
    roofs = device.get("roofs")
    if roofs is not None:
        blocks += roofline_of(
            rows[-1]["operators"],
            rows[-1]["batch_size"],
            device=str(device["device"]),
            peak_gflop_per_s=roofs["peak_gflop_per_s"],
            bandwidth_gb_per_s=roofs["bandwidth_gb_per_s"],
            where=where,
        )
    blocks += [
        operators_table(row["operators"], f"A batch of {_items(row)}{where}") for row in reversed(rows)
    ]
    return blocks
