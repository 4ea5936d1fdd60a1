"""A card's stack in a precision that its base was not measured in: bytes by the width of elements, and what
layers in int8 take beside their products. Arithmetic follows the peaks, as of any derived profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perfmodel.domain.model import ELEMENT_BYTES
from perfmodel.domain.shapes import Precision

LAYERS: Final = "fc"
"""Call whose products are those of fully connected layers, which alone are in int8."""
SPREAD_BY_PRECISION: Final = 0.20
"""Error of times in a precision that the base was not measured in: the larger root mean square of the H200's
times in tf32 carried to bf16, and in fp32 to bf16, against those that were measured in bf16, the eight models
at 1 to 1024 items (`perfplan dev carried`). [ln]"""
_PASS: Final = "elementwise.mul"
"""Call that reads a tensor and writes it: what quantising an input, and scaling a result, take each."""
_BYTE_TERMS: Final = frozenset(
    {
        "byte",
        "written_byte",
        "element",
        "short_element",
        "line",
        "weight",
        "state_weight",
        "several_state_weight",
        "input",
        "output",
        "operand",
        "result",
        "state",
        "thin_multiply_add",
    }
)
"""Terms of laws that are traffic. A product of few rows reads its weights and hardly multiplies."""


def in_precision(stack: Mapping[str, Any], precision: Precision) -> dict[str, Any]:
    """A stack's plain values with elements as wide as a precision's, before its peaks are another chip's.

    Derived here: each term that counts bytes takes the ratio of the widths; calls stay. In int8 that
    holds of fully connected layers alone, and a layer takes two more calls, one that quantises its input and
    one that scales its result, as PyTorch's dynamic quantisation has them.

    Parameters
    ----------
    stack : mapping
        As the profile's file has it.
    precision : Precision
        Of the new one.
    """
    ratio = ELEMENT_BYTES[precision] / ELEMENT_BYTES[stack.get("precision", "fp32")]
    surfaces = [
        surface | {"law_ns": _narrower(surface["law_ns"], ratio)} for surface in stack.get("surfaces", ())
    ]
    if precision != "int8":
        return {**stack, "precision": precision, "surfaces": surfaces}
    one_more: Mapping[str, float] = next(
        (each["law_ns"] for each in stack.get("surfaces", ()) if each["call"] == _PASS), {}
    )
    kept = [
        _quantised(narrower, one_more) if own["call"] == LAYERS else own
        for own, narrower in zip(stack.get("surfaces", ()), surfaces, strict=True)
    ]
    return {**stack, "precision": precision, "surfaces": kept, "launches": _two_more(stack.get("launches"))}


def _narrower(law: Mapping[str, float], ratio: float) -> dict[str, float]:
    return {
        term: value * (ratio if term.partition("_beyond")[0] in _BYTE_TERMS else 1.0)
        for term, value in law.items()
    }


def _quantised(layers: dict[str, Any], one_more: Mapping[str, float]) -> dict[str, Any]:
    """Layers with a call before that reads their input, and one after that reads their result."""
    law = dict(layers["law_ns"])
    law["call"] += 2.0 * one_more.get("call", 0.0)
    for term in ("input", "output"):
        law[term] += one_more.get("element", 0.0)
    return layers | {"law_ns": law}


def _two_more(launches: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the host takes to issue them."""
    if launches is None or LAYERS not in launches["issue_us"]:
        return None if launches is None else dict(launches)
    issue = dict(launches["issue_us"])
    more = 2.0 * issue.get(_PASS, {"call": 0.0})["call"]
    layers = dict(issue[LAYERS])
    layers["call"] += more
    if layers.get("few_rows"):
        layers["few_rows_call"] = layers.get("few_rows_call", 0.0) + more
    return {**launches, "issue_us": {**issue, LAYERS: layers}}
