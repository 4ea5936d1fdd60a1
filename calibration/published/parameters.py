"""What the fit may move, from where it starts, and how far it may go.

A start is a physical expectation; `spread` is the standard deviation, in natural logarithms, of how far
the truth may lie from it. The fit pays for leaving it, so that figures which say nothing about a
constant leave it where physics puts it. A spread of 0 fixes the constant.
"""

from __future__ import annotations

from typing import NamedTuple


class Parameter(NamedTuple):
    """Start value in the profile's unit, allowed spread, and why it starts there."""

    start: float
    spread: float
    reason: str


CPU_KERNELS: dict[str, Parameter] = {
    "gemm_efficiency": Parameter(0.8, 0.3, "a tuned library reaches most of the peak"),
    "gemm_half_width": Parameter(16, 0.8, "a few vector registers wide"),
    "gemm_half_rows": Parameter(21, 0.5, "packing: see `half_rows`"),
    "weight_l2_gb_per_s": Parameter(40, 0.8, "between the L3 rate of a core and three times that"),
    "weight_l3_gb_per_s": Parameter(21, 0.2, "12.8 MB of weights in the 0.6 ms of batch 1 (HPCA 2020, text)"),
    "weight_memory_gb_per_s": Parameter(5, 0.5, "one core's strided reads beside packing"),
    "stream_gb_per_s": Parameter(30, 0.3, "one core, data in cache, read and written"),
    "lookup_bag_ns": Parameter(10, 0.3, "loop set-up and output of one pooled vector"),
    "lookup_cached_line_ns": Parameter(1.0, 0.25, "an L3 access of 20 ns, overlapped"),
    "lookup_memory_line_ns": Parameter(
        7.3,
        0.35,
        "one thread's rows of 64 bytes at 6.1 GB/s (RecNMP Fig. 6), with or without their page's entry",
    ),
    "fc_call_us": Parameter(4, 0.6, "framework call, product and bias"),
    "embedding_bag_call_us": Parameter(1.5, 0.6, "framework call"),
    "concat_call_us": Parameter(1.0, 0.5, "framework call"),
    "elementwise_call_us": Parameter(0.4, 0.4, "framework call"),
    "concat_row_piece_ns": Parameter(10, 0.5, "one short copy"),
    "small_product_ns": Parameter(300, 0.4, "set-up of one product in a batch of products"),
    "recurrent_step_us": Parameter(14, 0.5, "about ten framework calls a step"),
    "softmax_row_ns": Parameter(5, 0.3, "loop set-up of one row"),
    "softmax_element_ns": Parameter(0.9, 0.4, "an exponential and a division"),
}

PACKING_BYTES, PACKING_GB_PER_S = 8.0, 20.0
"""A weight is read and written once where it is packed, at the rate of one core's copies. [bytes], [GB/s]"""


def half_rows(peak_gflop_per_s: float) -> Parameter:
    """Rows whose arithmetic takes as long as packing the weights: 8 bytes at 20 GB/s beside 2 FLOP a row."""
    start = PACKING_BYTES / PACKING_GB_PER_S * peak_gflop_per_s / 2.0
    return Parameter(start, 0.5, "packing a weight is a copy of 8 bytes at 20 GB/s, a row 2 FLOP at the peak")


SAME_SOFTWARE_SPREAD = 0.3
"""How far a constant may differ between two servers that run the same software. [ln]"""

DECIDED_BY_SOFTWARE = {
    "gemm_half_width": False,
    "fc_call_us": True,
    "embedding_bag_call_us": True,
    "concat_call_us": True,
    "elementwise_call_us": True,
    "concat_row_piece_ns": True,
    "small_product_ns": True,
    "lookup_bag_ns": True,
    "lookup_cached_line_ns": True,
    "lookup_memory_line_ns": False,
}
"""Constants of the CPU that the software on it decides more than the chip; whether its clock counts, too."""

GPU_KERNELS: dict[str, Parameter] = {
    "gemm_efficiency": Parameter(0.7, 0.25, "a tuned library reaches most of the peak"),
    "gemm_half_width": Parameter(64, 0.5, "half a tile of 128"),
    "gemm_half_rows": Parameter(16, 0.7, "tiles and multiprocessors that few rows leave idle"),
    "weight_l2_gb_per_s": Parameter(300, 0, "weights stream from the card's memory: not used"),
    "weight_l3_gb_per_s": Parameter(300, 0, "weights stream from the card's memory: not used"),
    "weight_memory_gb_per_s": Parameter(250, 0.5, "half of the card's bandwidth"),
    "stream_gb_per_s": Parameter(400, 0, "80 % of the card's bandwidth"),
    "lookup_bag_ns": Parameter(13, 0.3, "a thread block scheduled"),
    "lookup_cached_line_ns": Parameter(0.3, 0, "as from memory: no model of the card's L2"),
    "lookup_memory_line_ns": Parameter(0.3, 0.3, "213 GB/s of random 64-byte lines"),
    "lookup_serial_row_ns": Parameter(60, 0.5, "dependent loads of one thread block, partly overlapped"),
    "fc_call_us": Parameter(11, 0.4, "two launches"),
    "embedding_bag_call_us": Parameter(13, 0.4, "two launches"),
    "concat_call_us": Parameter(6, 0.5, "a launch"),
    "elementwise_call_us": Parameter(6, 0.3, "a launch"),
    "concat_piece_us": Parameter(3, 0.4, "an asynchronous copy"),
    "small_product_ns": Parameter(1, 0, "side by side in one launch; no figure shows it"),
    "recurrent_step_us": Parameter(25, 0.4, "about four launches a step"),
    "softmax_row_ns": Parameter(13, 0.4, "a thread block scheduled"),
    "softmax_element_ns": Parameter(0.01, 0, "streamed"),
}

REPOSITORY_INPUT: dict[str, Parameter] = {
    "input_index_ns": Parameter(75, 0.3, "50-100 ns an index in the DeepRecSys runs"),
    "input_bag_ns": Parameter(80, 0.7, "one list of indices"),
    "input_dense_element_ns": Parameter(1.5, 0.7, "one float copied by the interpreter's array code"),
    "input_blob_us": Parameter(8, 0.7, "one tensor handed to the framework"),
}

SAME_CODE_SPREAD = 0.5
"""How far conversion of inputs may differ between two servers whose interpreters run the same code. [ln]"""

GPU_TRANSFER: dict[str, Parameter] = {
    "transfer_gb_per_s": Parameter(6, 0.5, "pageable memory over PCIe 3.0 x16"),
}

GPU_FEEDING = Parameter(16, 0.7, "one tensor handed over and copied to the card")

SAME_SILICON_SPREAD = 0.3
"""How far a constant may differ between two stacks on the same chip. [ln]"""

DECIDED_BY_SILICON = frozenset(
    {
        "gemm_efficiency",
        "weight_l3_gb_per_s",
        "weight_memory_gb_per_s",
        "stream_gb_per_s",
        "lookup_bag_ns",
        "lookup_cached_line_ns",
        "lookup_memory_line_ns",
        "small_product_ns",
    }
)
"""Constants of the CPU that the chip decides more than the software on it."""
