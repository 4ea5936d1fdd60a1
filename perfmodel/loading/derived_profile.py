"""Profiles derived from others: a machine that nobody measured, as changes to one that somebody did.

A derived profile names its base and says what is different about the hardware. Costs follow by the rule of
the resource that bounds them: arithmetic by the peak, what waits for memory by its bandwidth, all else by
the clock. How far off that is grows with the distance from the base, and is in the profile's error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import hypot, log, sqrt
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from perfmodel.domain import bounds
from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.hardware import LINK_REACH
from perfmodel.domain.shapes import Precision
from perfmodel.errors import InputError
from perfmodel.loading.carried_precision import LAYERS, SPREAD_BY_PRECISION, in_precision
from perfmodel.loading.profile_file import NAME_PATTERN, ProfileFile
from perfmodel.loading.profile_fingerprint import is_edited
from perfmodel.loading.profile_sections import Cores, NonNegative, Peaks, Positive, Sourced, ThreadsPerCore
from perfmodel.loading.shipped import find_file
from perfmodel.loading.text_file import read_text
from perfmodel.loading.validated import parse_file, validate
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.loading.yaml_tree import Section, YamlSource

SPREAD_BY_DISTANCE: Final = 0.36
"""Error of a derived time for each e-fold that the hardware is away from its base: what Broadwell's stack,
carried to Skylake and to Haswell, misses the figures of these by, over their distance
(`perfplan dev carried`). [ln/ln]"""
MOST_BASES: Final = 8
"""Profiles that may be derived from each other in a row."""

_NAMES_A_TABLE = re.compile(r"\bsha256\b")
_BASE = re.compile(r"""^["']?base["']?\s*:""", re.MULTILINE)

_TIMED_BY = (
    "peak_gflop_per_s",
    "memory_gb_per_s_per_socket",
    "l2_kib_per_core",
    "l3_mib_per_socket",
)
"""Hardware that service times of one executor depend on, beside the clock: not how many there are."""
_BY_MEMORY = frozenset({"weight_memory_gb_per_s"})
_RATES_BY_CLOCK = frozenset({"weight_l2_gb_per_s", "weight_l3_gb_per_s", "stream_gb_per_s"})
_NOT_BY_CLOCK = frozenset(
    {
        "gemm_efficiency",
        "gemm_half_width",
        "gemm_half_rows",
        "lookup_memory_line_ns",  # waiting for memory, whose latency has no clock of the core
        "transfer_gb_per_s",  # a core of the host copies, at most as fast as the link
        "engines",
        "stored_batch_items",
        "input_queue_blobs",
        "interpreter_lock",
        "conversion_slowdown",
        "network_slowdown",
    }
)
_STATED_ANEW = frozenset({"host_link_gb_per_s", "card_link_gb_per_s", "peaks_tflop_per_s"})
"""Hardware that a base may say nothing of."""
_CARRIED_FROM: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    "fp32": (),
    "fp16": ("bf16", "fp32"),
    "bf16": ("fp16", "fp32"),
    "int8": ("fp16", "bf16"),
}
"""Precisions that a card's calls are carried from. The rest of a model in int8 is in 16 bits."""
_AS_IN: Final[Mapping[Precision, str]] = {
    "fp16": "; here in fp16, peak and bytes of the data sheet",
    "bf16": "; here in bf16, peak and bytes of the data sheet",
    "int8": "; here with fully connected layers in int8: peak of the data sheet, weights of a byte, two "
    "calls more a layer to quantise and scale",
}
_ARITHMETIC_TERMS = ("multiply_add", "row_strip", "block_strip", "state_strip", "input_strip")
_MEMORY_TERMS: Final = {
    "cpu": ("beyond_l3", "beyond_shared"),
    "gpu": ("beyond_l2", "beyond_l3", "beyond_shared"),  # a card's L2 is its last level
}
"""What terms that wait for memory have in their names."""


def _stated(value: object) -> object:
    """A bare value, as whoever describes a machine states it."""
    return value if isinstance(value, dict) else {"value": value, "source": "derived: as stated"}


_Positive = Annotated[Positive, BeforeValidator(_stated, json_schema_input_type=bounds.Positive | Positive)]
_NonNegative = Annotated[
    NonNegative, BeforeValidator(_stated, json_schema_input_type=bounds.NonNegative | NonNegative)
]
_Threads = Annotated[
    ThreadsPerCore, BeforeValidator(_stated, json_schema_input_type=Literal[1, 2] | ThreadsPerCore)
]
_Kind = Literal["inclusive", "exclusive"]
_Policy = Annotated[Sourced[_Kind], BeforeValidator(_stated, json_schema_input_type=_Kind | Sourced[_Kind])]
_Cores = Annotated[Cores, BeforeValidator(_stated, json_schema_input_type=bounds.Cores | Cores)]


class HardwareChanges(Frozen):
    """What is different about the hardware; each value as it is for the new machine: bare, or
    `{value, source}`.

    `clock_ratio` is its clock over the base's, at which calls, caches and conversions of inputs run. [1]
    """

    clock_ratio: _Positive | None = None
    sockets: _Cores | None = None
    cores_per_socket: _Cores | None = None
    threads_per_core: _Threads | None = None
    peak_gflop_per_s: _Positive | None = None
    l2_kib_per_core: _Positive | None = None
    l3_mib_per_socket: _Positive | None = None
    l3_policy: _Policy | None = None
    memory_gib: _Positive | None = None
    memory_gb_per_s_per_socket: _Positive | None = None
    tdp_w: _Positive | None = None
    idle_w: _NonNegative | None = None
    peak_w: _Positive | None = None
    host_link_gb_per_s: _Positive | None = None
    card_link_gb_per_s: _Positive | None = None
    peaks_tflop_per_s: Peaks | None = None


class DerivedFile(Frozen):
    """A profile derived from another.

    `base` is a shipped profile's name or a path, relative to this file; `changes` are of its hardware,
    `costs` of single costs in each of its stacks, such as a stack's overheads in `fc_call_us`. `stacks` are
    those that carry over; left out: all. `precision` is that of a card whose base was measured in another.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    base: str
    description: str = ""
    changes: HardwareChanges = HardwareChanges()
    costs: dict[str, _NonNegative] = Field(default_factory=dict)
    stacks: tuple[str, ...] = ()
    precision: Precision | None = None


def read_profile(path: Path) -> ProfileFile:
    """Read a profile, or derive it from its base.

    Raises
    ------
    InputError
        One line with the place of what does not fit.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> ProfileFile:
    source = read_yaml(path)
    data = source.data()
    if not (isinstance(data, dict) and "base" in data):
        return validate(measured_document(source), ProfileFile)
    given = validate(source, DerivedFile)
    if path.resolve() in above or len(above) >= MOST_BASES:
        raise source.error("expected a base that is not derived from this profile", "base")
    try:
        base_path = find_file("profile", given.base, relative_to=path.parent)
    except InputError as error:
        raise source.error(str(error), "base") from None
    base = _read(base_path, (*above, path.resolve()))
    return derived(given, base, source)


def measured_document(source: YamlSource) -> YamlSource:
    """The document of a measured profile, with the surfaces that it names in a file of their own.

    Raises
    ------
    InputError
        If that file is not there, or not the one that the profile was written with.
    """
    stacks = source.find("stacks")
    names = stacks.entries if isinstance(stacks, Section) else ()
    if not any(isinstance(source.find("stacks", name, "surfaces"), Section) for name in names):
        return source
    from perfmodel.loading.surface_files import with_surfaces  # most profiles have no such file

    return with_surfaces(source)


def parse_any(path: Path, kind: type[Any]) -> Any:
    """Read a file of any kind: a profile with what it is derived from."""
    return read_profile(path) if kind is ProfileFile else parse_file(path, kind)


def bases_of(path: Path) -> tuple[Path, ...]:
    """The files that a profile is derived from, nearest first: none of a measured one."""
    found: list[Path] = []
    while len(found) <= MOST_BASES and is_derived(path):
        data = read_yaml(path).data()
        base = data.get("base") if isinstance(data, dict) else None
        if not isinstance(base, str):
            break
        path = find_file("profile", base, relative_to=path.parent)
        found.append(path)
    return tuple(found)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that a profile is made of: its own, what it is derived from, and their surfaces.

    Raises
    ------
    InputError
        If one is not there.
    """
    found = (path, *bases_of(path))
    naming = [each for each in found if _NAMES_A_TABLE.search(read_text(each))]
    if not naming:
        return found
    from perfmodel.loading.surface_files import surface_files  # as above

    return (*found, *(table for each in naming for table in surface_files(each)))


def is_derived(path: Path) -> bool:
    """Whether a profile may have a base, by its text: measured ones are long, and slow to parse."""
    try:
        return _BASE.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False  # whoever reads it will say why not


def distance(base: ProfileFile, changes: HardwareChanges) -> float:
    """How far the hardware is from its base: root of the summed squares of logarithms of ratios. [ln]

    Derived here: cores, power and capacity are left out, for they do not enter the time of one executor.

    Examples
    --------
    >>> distance.__name__
    'distance'
    """
    logs = [log(ratio) for ratio in _ratios(base, changes).values()]
    return sqrt(sum(each**2 for each in logs))


def _ratios(base: ProfileFile, changes: HardwareChanges) -> dict[str, float]:
    """New over old, of what service times depend on."""
    ratios = {}
    for key in _TIMED_BY:
        now, before = getattr(changes, key), getattr(base.hardware, key)
        if now is not None and before is not None:
            ratios[key] = now.value / before.value
    if changes.clock_ratio is not None:
        ratios["clock_ratio"] = changes.clock_ratio.value
    return ratios


def derived(given: DerivedFile, base: ProfileFile, source: YamlSource) -> ProfileFile:
    """The profile of a machine that differs from a base as stated.

    Parameters
    ----------
    given : DerivedFile
        The differences.
    base : ProfileFile
        What was measured.
    source : YamlSource
        Where the differences were written, for errors.

    Raises
    ------
    InputError
        At the change that does not fit.
    """
    changes = given.changes
    stated = {
        key: value
        for key in changes.model_fields_set - {"clock_ratio"}
        if (value := getattr(changes, key)) is not None
    }
    for key in stated:
        if key not in _STATED_ANEW and getattr(base.hardware, key) is None:
            raise source.error(f"expected hardware that {base.name} has, got {key}", "changes", key)
    for key in given.costs:
        if key not in type(next(iter(base.stacks.values())).costs).model_fields:
            raise source.error(f"{key}: expected a cost as in {base.name}", "costs", key)
    if given.precision is not None:
        _require_precision(given.precision, base, source)
    if unknown := [name for name in given.stacks if name not in base.stacks]:
        raise source.error(
            f"{base.name} has no stack {unknown[0]!r}; it has {', '.join(base.stacks)}", "stacks"
        )
    data = json.loads(base.model_dump_json(exclude_unset=True))
    data |= {"name": given.name, "description": given.description or f"derived from {base.name}"}
    data.pop("fingerprint", None)
    data["hardware"] |= {key: json.loads(value.model_dump_json()) for key, value in stated.items()}
    if (launched := base.hardware.launched_w) is not None and changes.peak_w is not None:
        ratio = changes.peak_w.value / base.hardware.peak_w.value
        source_of = f"derived: of {base.name}, by the ratio of peaks"
        data["hardware"]["launched_w"] = {"value": launched.value * ratio, "source": source_of}
    if changes.peak_w is not None and changes.idle_w is None:
        ratio = changes.peak_w.value / base.hardware.peak_w.value
        source_of = f"derived: of {base.name}, by the ratio of peaks"
        data["hardware"]["idle_w"] = {"value": base.hardware.idle_w.value * ratio, "source": source_of}
    spread = SPREAD_BY_DISTANCE * distance(base, changes)
    kept = given.stacks or tuple(base.stacks)
    data["stacks"] = {
        name: _carried(name, data["stacks"][name], base, given, spread)
        for name in base.stacks
        if name in kept
    }
    if data["default_stack"] not in data["stacks"]:
        data["default_stack"] = next(iter(data["stacks"]))
    try:
        return ProfileFile.model_validate_json(json.dumps(data)).carried_from(base)
    except ValidationError as error:
        raise _placed(error, source) from None


def _require_precision(precision: Precision, base: ProfileFile, source: YamlSource) -> None:
    """Refuse a precision that no rule carries a base to."""
    if base.kind == "cpu":
        raise source.error(
            "expected none: a core's precisions are ways to serve that its calibration measured "
            "(perfplan list profiles)",
            "precision",
        )
    for name, stack in base.stacks.items():
        if not stack.surfaces or stack.precision not in (precision, *_CARRIED_FROM[precision]):
            known = " or ".join(_CARRIED_FROM[precision]) or "no other"
            raise source.error(
                f"expected a base that was calibrated in {known}, call by call: {base.name}@{name} is in "
                f"{stack.precision}{'' if stack.surfaces else ', and its calls were not measured'}",
                "precision",
            )


def _placed(error: ValidationError, source: YamlSource) -> InputError:
    """What the changed hardware is not, at the change that made it so."""
    first = error.errors(include_url=False)[0]
    raised = first.get("ctx", {}).get("error")
    path = (*first["loc"], *(raised.path if isinstance(raised, ValueErrorAt) else ()))
    message = raised.message if isinstance(raised, ValueErrorAt) else first["msg"]
    key = str(path[-1]) if path else ""
    where = ("changes", key) if source.find("changes", key) is not None else ("changes",)
    return source.error(f"{key}: {message}", *where)


def _carried(
    name: str, stack: dict[str, Any], base: ProfileFile, given: DerivedFile, spread: float
) -> dict[str, Any]:
    """A stack's plain values for the new hardware."""
    carries = given.precision is not None and given.precision != stack.get("precision", "fp32")
    if carries:
        assert given.precision is not None, "stated"
        stack = in_precision(stack, given.precision)
        spread = hypot(spread, SPREAD_BY_PRECISION)
    ratios = _ratios(base, given.changes)
    clock = ratios.get("clock_ratio", 1.0)
    peak = ratios.get("peak_gflop_per_s", clock)
    memory = ratios.get("memory_gb_per_s_per_socket", 1.0)
    why = f"derived: of {base.name}, by the ratio of"
    costs = dict(stack["costs"])
    for key, entry in costs.items():
        if entry is None or key in _NOT_BY_CLOCK or (factor := _factor(key, clock, memory)) == 1.0:
            continue
        by = "memory bandwidths" if key in _BY_MEMORY else "clocks"
        costs[key] = {"value": entry["value"] * factor, "source": f"{why} {by}; {entry['source']}"}
    if (rate := costs.get("transfer_gb_per_s")) and (link := given.changes.host_link_gb_per_s) is not None:
        most = LINK_REACH * link.value
        if most < rate["value"]:
            costs["transfer_gb_per_s"] = {
                "value": most,
                "source": f"derived: {LINK_REACH} of the link to its host",
            }
    costs |= {key: json.loads(entry.model_dump_json()) for key, entry in given.costs.items()}
    error = stack["relative_error"]
    carried = stack | {
        "costs": costs,
        "relative_error": {
            "value": hypot(error["value"], spread),
            "source": f"derived: {error['value']:g} of {base.name}, and {spread:.3g} for its distance"
            + (f" and for {given.precision}, which nobody measured" if carries else ""),
        },
        "describes": _words(stack, base, given.changes, given.precision if carries else None),
        "derived_from": base.name,
        "base_is_edited": is_edited(base.hardware, base.stacks[name]),
    }
    for key in ("fitted_values", "relative_error_of_fitted_models", "measured", "anchors"):
        carried.pop(key, None)  # of the base's own machine
    if "surfaces" in carried:
        # A core waits for lines as long as memory takes to answer, which no data sheet states, however much
        # it gives to all cores: that is saturation's. A card's passes have its memory to themselves.
        lines = memory if base.kind == "gpu" else 1.0
        carried["surfaces"] = [
            _carried_surface(
                surface,
                clock,
                peak if given.precision != "int8" or surface["call"] == LAYERS else 1.0,
                lines,
                spread,
                kind=base.kind,
                few_rows_read=carries,
            )
            for surface in carried["surfaces"]
        ]
    return carried


def _words(
    stack: Mapping[str, Any], base: ProfileFile, changes: HardwareChanges, precision: Precision | None
) -> str:
    """What is in the times; and which hardware nobody stated, that is taken to be the base's."""
    said = stack.get("describes") or stack["description"]
    silent = [key for key in _TIMED_BY if getattr(changes, key) is None]
    as_base = f", its {', '.join(silent)} taken as there" if silent else ""
    now = _AS_IN.get(precision, "") if precision else ""
    return f"{said}; derived from {base.name}, not measured{as_base}{now}"


def _factor(key: str, clock: float, memory: float) -> float:
    if key in _BY_MEMORY:
        return memory
    return clock if key in _RATES_BY_CLOCK else 1.0 / clock


def _carried_surface(
    surface: dict[str, Any],
    clock: float,
    peak: float,
    memory: float,
    spread: float,
    *,
    kind: Literal["cpu", "gpu"],
    few_rows_read: bool = False,
) -> dict[str, Any]:
    """A measured surface's law, term by term; its residual stays, and its error grows.

    In another precision products of few rows, which read their weights, do not follow the peak's ratio.
    """
    law = {
        term: value / (memory if few_rows_read and term.startswith("thin_") else by)
        for term, value, by in _terms(surface["law_ns"], kind, clock, peak, memory)
    }
    return surface | {"law_ns": law, "relative_error": hypot(surface["relative_error"], spread)}


def _terms(
    law: Mapping[str, float], kind: Literal["cpu", "gpu"], clock: float, peak: float, memory: float
) -> Iterator[tuple[str, float, float]]:
    for term, value in law.items():
        if any(part in term for part in _MEMORY_TERMS[kind]):
            yield term, value, memory
        elif any(part in term for part in _ARITHMETIC_TERMS):
            yield term, value, peak
        else:
            yield term, value, clock
