"""Measured costs of one kind of call: what its law charges for, by name, and what was measured beside it.

A profile states coefficients and coordinates under these names, and one with other names is refused: a term
that comes to mean something else gets another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Family = Literal[
    "input",
    "fc",
    "embedding_bag",
    "concat",
    "sum",
    "activation",
    "softmax",
    "batch_matmul",
    "recurrent",
    "elementwise",
]
"""Kinds of framework calls: each has its own costs in a profile, and its own line in reports."""

AnyFamily = Family | Literal["network", "tier"]
"""Those, and the ways to other nodes and other memories, which no profile has costs of."""


class LawNames(NamedTuple):
    """What a law charges for, and where its residual is looked up: name to meaning, in their order."""

    terms: Mapping[str, str]
    coordinates: Mapping[str, str]


_COLD_TERMS = {
    "code_beyond_private": "share of the call's own code that has left a private cache [1]",
    "code_beyond_shared": "share of it that has left a shared cache too [1]",
    "framework_beyond_private": "share of interpreter and framework that has left a private cache [1]",
}
_COLD_COORDINATES = {
    "log_since_bytes": "touched since a call of this kind last ran [ln bytes]",
    "log_before_bytes": "touched by the kernel before [ln bytes]",
}
_LOG_REUSE = {"log_reuse_bytes": "touched by a whole pass [ln bytes]"}
_STREAMED_TERMS = {
    "byte_beyond_private": "operands and results that a private cache does not hold [bytes]",
    "byte_beyond_shared": "operands and results that a shared cache does not hold [bytes]",
}


def _names(terms: Mapping[str, str], coordinates: Mapping[str, str]) -> LawNames:
    return LawNames({**terms, **_COLD_TERMS}, {**coordinates, **_COLD_COORDINATES})


_ELEMENTWISE = _names(
    {"call": "a call", "element": "elements written"},
    {"log_elements": "elements written [ln]", **_LOG_REUSE},
)

LAW_NAMES: Mapping[str, LawNames] = {
    # rows m, inputs k and outputs n of a product; thin: fewer rows than a library multiplies at once
    "fc": _names(
        {
            "call": "a call",
            "row": "m",
            "multiply_add": "m k n, where not thin",
            "row_strip": "m k by strips of outputs, where not thin",
            "block_output": "k n by blocks of rows, where not thin",
            "block_strip": "k by blocks of rows and strips of outputs, where not thin",
            "weight": "k n, where not thin",
            "weight_beyond_l2": "of those, what is not in L2",
            "weight_beyond_l3": "of those, what is not in the last-level cache either",
            "input": "m k",
            "output": "m n",
            "thin_call": "a call, where thin",
            "thin_row": "m, where thin",
            "thin_multiply_add": "m k n, where thin: weights are read for each row",
            "thin_multiply_add_beyond_l2": "of those, what is not in L2",
            "thin_multiply_add_beyond_l3": "of those, what is not in the last-level cache either",
            "column_call": "a call, where there is one output",
            "column_multiply_add": "m k, where there is one output",
        },
        {
            "log_rows": "m [ln]",
            "log_inner": "k [ln]",
            "log_outer": "n [ln]",
            **_LOG_REUSE,
            "thin": "1 where thin, else 0",
            "column": "1 where there is one output, else 0",
            "log_output_tail": "outputs in whole strips over outputs [ln]",
            "log_row_tail": "rows in whole blocks over rows [ln]",
        },
    ),
    "embedding_bag": _names(
        {
            "call": "a call",
            "bag": "bags",
            "row": "rows",
            "line": "cache lines of rows",
            "line_beyond_l2_least_1": "lines not in L2",
            "line_beyond_l2_least_2": "the same, rows of one line counted as of 2",
            "line_beyond_l2_least_4": "the same, rows of fewer lines counted as of 4",
            "line_beyond_l3_least_1": "lines not in the last-level cache either",
            "line_beyond_l3_least_2": "the same, rows of one line counted as of 2",
            "line_beyond_l3_least_4": "the same, rows of fewer lines counted as of 4",
            "entry_beyond_l2": "rows whose page's entry is not in L2",
            "entry_beyond_l3": "rows whose page's entry is not in the last-level cache either",
            "page_beyond_tlb1": "rows whose page is not in the first TLB",
            "page_beyond_tlb2": "rows whose page is not in the second TLB either",
            "bag_beyond_l3": "bags whose first rows are not in the last-level cache",
        },
        {
            "log_bags": "bags [ln]",
            "log_rows_per_bag": "rows a bag [ln]",
            "log_row_bytes": "a row [ln bytes]",
            "rows_beyond_l2": "share of rows not in L2 [1]",
            "rows_beyond_l3": "share of rows not in the last-level cache either [1]",
            "entries_beyond_l2": "share whose page's entry is not in L2 [1]",
            "entries_beyond_l3": "share whose page's entry is not in the last-level cache either [1]",
            "pages_beyond_tlb1": "share whose page is not in the first TLB [1]",
            "pages_beyond_tlb2": "share whose page is not in the second TLB either [1]",
            "log_table_bytes": "the table [ln bytes]",
            **_LOG_REUSE,
        },
    ),
    "concat": _names(
        {
            "call": "a call",
            "piece": "tensors joined",
            "byte": "bytes read",
            "item_piece": "items by tensors joined",
        },
        {
            "log_items": "items [ln]",
            "log_pieces": "tensors joined [ln]",
            "log_piece_bytes": "an item of a tensor [ln bytes]",
            **_LOG_REUSE,
        },
    ),
    "sum": _names(
        {
            "call": "a call",
            "piece": "tensors or rows added up",
            "byte": "bytes read and written",
            "written_byte": "bytes written",
        },
        {"log_written_bytes": "written [ln bytes]", "log_pieces": "added up [ln]", **_LOG_REUSE},
    ),
    "activation": _ELEMENTWISE,
    "elementwise": _ELEMENTWISE,
    "softmax": _names(
        {
            "call": "a call",
            "row": "rows",
            "element": "elements",
            "vector": "vectors, the last of a row counted whole",
            "short_element": "elements, where a row is shorter than a vector",
            **_STREAMED_TERMS,
        },
        {"log_rows": "rows [ln]", "log_width": "elements of a row [ln]", **_LOG_REUSE},
    ),
    # p small products of r rows, k inner and n outer
    "batch_matmul": _names(
        {
            "call": "a call",
            "product": "p",
            "multiply_add": "p r k n",
            "row_strip": "p r k by strips of n",
            "operand": "p k (r + n)",
            "result": "p r n",
            **_STREAMED_TERMS,
        },
        {
            "log_products": "p [ln]",
            "log_rows": "r [ln]",
            "log_inner": "k [ln]",
            "log_outer": "n [ln]",
        },
    ),
    # of one step: b items of an input of width w, a state of h, whose products have g h outputs (g gates)
    "recurrent": _names(
        {
            "call": "a step's share of the layer's call",
            "step": "a step",
            "several": "a step, where items are several: rows are packed first",
            "state_multiply_add": "b h h",
            "input_multiply_add": "b w h",
            "state_strip": "b h by strips of outputs",
            "input_strip": "b w by strips of outputs",
            "state": "b h",
            "state_weight": "h h",
            "several_state_weight": "h h, where items are several",
            "input": "b w",
        },
        {
            "log_items": "b [ln]",
            "log_steps": "steps [ln]",
            "log_width": "w [ln]",
            "log_hidden": "h [ln]",
            "log_output_tail": "outputs in whole strips over outputs [ln]",
        },
    ),
}
"""Family to the names of its law: counts, unless a unit is given. All variants share them but `_OF_CALLS`."""

_SIZES = ("log_products", "log_rows", "log_inner", "log_outer")
_OF_CALLS: Mapping[str, LawNames] = {
    "elementwise.vector_norm": LAW_NAMES["softmax"],
    # p heads an item by items, each of r queries and n keys of k elements
    "batch_matmul.fused": _names(
        {
            "call": "a call",
            "product": "p",
            "row": "p r",
            "multiply_add": "p r k n",
            "row_strip": "p r k by strips of n",
            "score": "p r n",
            "score_strip": "p r by strips of n",
            "value_strip": "p r n by strips of k",
            "operand": "p k (r + 2 n)",
            **_STREAMED_TERMS,
        },
        {name: LAW_NAMES["batch_matmul"].coordinates[name] for name in _SIZES},
    ),
}
"""Calls with laws that are not their family's. A norm works row by row, as a softmax does; attention in one
call is two products and the softmax of their scores."""


def law_names(call: str) -> LawNames:
    """Names of the law of a kind of call, `family` or `family.variant`.

    Examples
    --------
    >>> list(law_names("activation.relu").terms)[:2]
    ['call', 'element']
    """
    return _OF_CALLS.get(call) or LAW_NAMES[call.partition(".")[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Time of a call: law x exp(residual), the residual interpolated between measured points.

    t(f, x) = (sum_j c_j f_j) exp(a^2 sum_i w_i k(x, x_i)): f are amounts of work, x coordinates
    (logarithms of sizes, mostly) and k a Matern kernel of smoothness 5/2. Far from all points the
    residual is 0 and the law remains.

    Attributes
    ----------
    law : mapping
        Coefficients c, none negative, by the names of `LAW_NAMES`: seconds for each unit of work. [s]
    scales : (dims,) array
        Distances over which the residual changes, by coordinate, in the order of `LAW_NAMES`.
    amplitude, noise, noise_s : float
        Standard deviation of the residual [1], and of what it leaves unexplained: a fraction of the time
        [1], and a time that only small calls feel [s].
    points : (n, dims) array
        Coordinates x_i.
    weights : (n,) array
        Weights w_i.
    low, high : (dims,) arrays
        Range that was measured.
    relative_error : float
        Root mean square of the logarithm's error, of all calls of the kind in a sequence that the fit did
        not see, each sequence weighted by the kind's share of its time. [ln]
    """

    law: Mapping[str, float]
    scales: Floats
    amplitude: float
    noise: float
    noise_s: float
    points: Floats
    weights: Floats
    low: Floats
    high: Floats
    relative_error: float
