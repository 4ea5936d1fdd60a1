"""What a machine says of itself: `lscpu -J` and `nvidia-smi -q -x` as changes to a base profile."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.text_file import place_in, read_json, read_text
from perfmodel.loading.words import quoted
from perfmodel.units import GIB, KIB, MIB

MOST_BYTES = 10_000_000
"""Of what a machine prints of itself. [bytes]"""
_MOST_CORES = 100_000
_MOST_DIGITS = 9
"""More than the most cores have: a longer number is too large, whatever follows."""
_NUMBER = rf"[0-9]{{1,{_MOST_DIGITS}}}(?:\.[0-9]+)?"
_SIZES = {"": 1, "B": 1, "KIB": KIB, "K": KIB, "MIB": MIB, "M": MIB, "GIB": GIB, "G": GIB}
_PCIE_GB_PER_S_A_LANE = {
    1: 2.5 * 8 / 10 / 8,
    2: 5.0 * 8 / 10 / 8,
    3: 8.0 * 128 / 130 / 8,
    4: 16.0 * 128 / 130 / 8,
    5: 32.0 * 128 / 130 / 8,
    6: 64.0 * 242 / 256 / 8,
}
"""By generation: transfers a second times the share of bits that are data (PCI Express base specification).
[GB/s]"""
_CPU_REST = {
    "peak_gflop_per_s": "of one core: fp32 FLOP a cycle (64 with AVX-512 and two FMA units, 32 with AVX2) "
    "times the clock with all cores busy",
    "clock_ratio": "its clock with all cores busy over the base's",
    "memory_gb_per_s_per_socket": "channels times transfers a second times 8 bytes",
    "memory_gib": "what is installed",
    "tdp_w": "of all sockets; idle_w and peak_w go with it",
}
_GPU_REST = {
    "peak_gflop_per_s": "of the data sheet, in the base's precision",
    "memory_gb_per_s_per_socket": "of the data sheet",
    "l2_kib_per_core": "the card's L2, and the same as l3_mib_per_socket",
}


@dataclass(frozen=True, slots=True)
class Dump:
    """A machine's name, the hardware that its dump tells, and what a person has to look up.

    Attributes
    ----------
    machine : str
        As it calls itself.
    changes : dict
        Key of `HardwareChanges` to value.
    source : str
        Which command said so.
    rest : dict
        Key to where its value is found.
    """

    machine: str
    changes: dict[str, float]
    source: str
    rest: dict[str, str]


def read_lscpu(path: Path) -> Dump:
    """Read what `lscpu -J` printed.

    Raises
    ------
    InputError
        If it is none, or does not say how many cores there are.
    """
    expected = "expected what `lscpu -J` prints"
    document = read_json(path, most_bytes=MOST_BYTES)
    try:
        rows = _fields(document["lscpu"])
    except (KeyError, TypeError, AttributeError, RecursionError):
        message = f"{expected}: a JSON object with a list lscpu of field and data"
        raise InputError(f"{path}:1:1: {message}") from None
    fields = dict(rows)
    models = list(dict.fromkeys(data for field, data in rows if field == "Model name" and data))
    if len(models) > 1:
        place = place_in(read_text(path), max(0, read_text(path).rfind('"Model name')))
        kinds = " and ".join(models[:3])
        raise InputError(
            f"{path}:{place}: Model name: expected cores of one kind, which a profile is of, got {kinds}"
        )
    changes: dict[str, float] = {}
    named = {"sockets": "Socket(s)", "cores_per_socket": "Core(s) per socket"}
    if not fields.get("Socket(s)", "").isdecimal() and fields.get("Cluster(s)", "").isdecimal():
        named = {"sockets": "Cluster(s)", "cores_per_socket": "Core(s) per cluster"}  # of some ARM systems
    for key, field in named.items():
        value = fields.get(field, "")
        if not (value.isascii() and value.isdecimal()) or not 1 <= int(value[:_MOST_DIGITS]) <= _MOST_CORES:
            text = read_text(path)
            place = place_in(text, max(0, text.find(f'"{field}')))
            got = quoted(value) if value else "none"
            whole = f"{field}: expected a whole number from 1 to {_MOST_CORES}, got {got}"
            raise InputError(f"{path}:{place}: {expected}: {whole}")
        changes[key] = int(value)
    threads = fields.get("Thread(s) per core", "")
    if threads in ("1", "2"):
        changes["threads_per_core"] = int(threads)
    for key, level, unit in (("l2_kib_per_core", "L2", KIB), ("l3_mib_per_socket", "L3", MIB)):
        total = fields.get(f"{level} cache") or fields.get(level, "")
        if (size := _bytes_each(total)) is not None:
            changes[key] = size / unit
    if "l3_mib_per_socket" in changes:
        total = fields.get("L3 cache") or fields.get("L3", "")
        changes["l3_mib_per_socket"] *= _each_socket(total, int(changes["sockets"]))
    rest = {key: why for key, why in _CPU_REST.items() if key not in changes}
    rest |= {key: "not in the dump" for key in ("l2_kib_per_core", "l3_mib_per_socket") if key not in changes}
    if "threads_per_core" not in changes:
        rest["threads_per_core"] = f"1 or 2{f'; the dump says {quoted(threads)}' if threads else ''}"
    return Dump(fields.get("Model name", "a machine"), changes, "lscpu -J", rest)


def read_nvidia_smi(path: Path) -> Dump:
    """Read what `nvidia-smi -q -x` printed, of the first card.

    Raises
    ------
    InputError
        If it is none.
    """
    expected = "expected what `nvidia-smi -q -x` prints"
    try:
        card = ET.fromstring(read_text(path, most_bytes=MOST_BYTES)).find("gpu")
    except ET.ParseError as error:
        line, column = error.position
        raise InputError(f"{path}:{line}:{column + 1}: {expected}: XML, {error}") from None
    if card is None:
        raise InputError(f"{path}:1:1: {expected}: an element gpu")
    changes: dict[str, float] = {}
    if (memory := _first_number(card.findtext("fb_memory_usage/total"))) is not None:
        changes["memory_gib"] = round(memory * MIB / GIB, 1)
    limits = ("gpu_power_readings/current_power_limit", "gpu_power_readings/default_power_limit")
    older = ("power_readings/power_limit", "power_readings/default_power_limit")
    found = (_first_number(card.findtext(place)) for place in (*limits, *older))
    if (watts := next((value for value in found if value is not None), None)) is not None:
        changes |= {"tdp_w": watts, "peak_w": watts}
    if (link := _link_gb_per_s(card)) is not None:
        changes["host_link_gb_per_s"] = link
    rest = {key: why for key, why in _GPU_REST.items() if key not in changes}
    rest |= {} if "memory_gib" in changes else {"memory_gib": "of the data sheet"}
    rest |= {} if "host_link_gb_per_s" in changes else {"host_link_gb_per_s": "PCIe, one way"}
    rest |= {} if "tdp_w" in changes else {"tdp_w": "its power limit; idle_w and peak_w go with it"}
    return Dump(card.findtext("product_name") or "a card", changes, "nvidia-smi -q -x", rest)


def derived_text(name: str, base: str, dump: Dump | None) -> str:
    """A derived profile's YAML: what the dump says, and the rest as comments to fill in."""
    machine = dump.machine if dump is not None else "a machine"
    lines = [f"name: {name}", f"base: {base}", f"description: {json.dumps(f'{machine}; nobody measured it')}"]
    rest = dump.rest if dump is not None else {"cores_per_socket": "of one socket", **_CPU_REST}
    changes = dump.changes if dump is not None else {}
    lines.append("changes:" if changes else "changes: {}")
    source = f"datasheet: {dump.source}" if dump is not None else ""
    lines += [f'  {key}: {{value: {value:g}, source: "{source}"}}' for key, value in changes.items()]
    lines.append(
        '  # As the base\'s until you say otherwise (a number, or {value: ..., source: "datasheet: ..."}):'
    )
    lines += [f"  # {key}:  # {why}" for key, why in rest.items()]
    return "\n".join(lines) + "\n"


def _fields(rows: Any) -> list[tuple[str, str]]:
    """Every field, those of newer versions' nested lists too."""
    found = []
    for row in rows:
        found.append((str(row["field"]).rstrip(":"), str(row.get("data") or "")))
        found += _fields(row.get("children", ()))
    return found


def _bytes_each(text: str) -> float | None:
    """Size of one cache: `1 MiB (2 instances)` is 512 KiB each; older versions print one, `1024K`."""
    match = re.match(
        rf"({_NUMBER}|[0-9]{{1,15}})\s*([A-Za-z]*)(?:\s*\(([0-9]{{1,{_MOST_DIGITS}}}) instances?\)|\s*$)",
        text,
    )
    if match is None or (unit := _SIZES.get(match[2].upper())) is None:
        return None
    return float(match[1]) * unit / max(1, int(match[3] or 1))


def _each_socket(text: str, sockets: int) -> float:
    """Caches of one socket: `768 MiB (24 instances)` of two sockets are 12 of each."""
    match = re.search(rf"\(([0-9]{{1,{_MOST_DIGITS}}}) instances?\)", text)
    return 1.0 if match is None else max(1.0, int(match[1]) / sockets)


def _link_gb_per_s(card: ET.Element) -> float | None:
    """Rate of a card's PCIe link, one way: lanes times what each carries. [GB/s]"""
    where = "pci/pci_gpu_link_info"
    generation = _first_number(card.findtext(f"{where}/pcie_gen/max_link_gen"))
    lanes = _first_number(card.findtext(f"{where}/link_widths/max_link_width"))
    if generation is None or lanes is None or (rate := _PCIE_GB_PER_S_A_LANE.get(int(generation))) is None:
        return None
    return round(rate * lanes, 2)


def _first_number(text: str | None) -> float | None:
    match = re.match(rf"\s*({_NUMBER})(?![0-9])", text or "")
    return None if match is None else float(match[1])
