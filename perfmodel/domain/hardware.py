"""Hardware and the software stack that runs on it, as the cost model sees them; all in SI.

A device is one kind of processor *with* one software stack: the same chip under another framework has
other call overheads and efficiencies. `loading.profile_file` builds these from the YAML profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import hypot, inf

import numpy as np
import numpy.typing as npt

from perfmodel.domain.shapes import DeviceKind, Link, Precision
from perfmodel.domain.surface import Surface
from perfmodel.domain.unsteady import Unrest

LINK_REACH = 0.93
"""Share of a link's rate that copies reach: the H200's from pinned memory over PCIe, 59.3 of 64 GB/s
(hardware_profiles/h200.yaml, at `transfer_gb_per_s`). [1]"""

MODULE_TERMS = (
    "fc_call",
    "activation_call",
    "lookup_call",
    "bag_call",
    "recurrent_step",
    "other_call",
    "pooled_index",
    "pooled_bag",
    "row_line",
    "fresh_kib",
    "recurrent_call",
    "product_call",
    "far_bag",
    "far_row",
    "mapped_kib",
)
"""What costs more in modules than in a flat list of calls: a call by its kind, a step of a recurrent
layer that is a call of its own, an index and a vector of pooled lookups, a cache line of a row, a KiB of a
result in memory that the kernel gives page by page, and a vector of pooled lookups, or a row, whose page's
entry is not in the L2: tables lie on pages of 4 KiB where nobody asks for huge ones. Of pooled rows the first
waits for it, the others' entries come meanwhile. `mapped_kib` is a KiB of a result so large that malloc asks
the kernel for its memory each time."""

LATER_MODULE_TERMS = frozenset({"recurrent_call", "product_call", "far_bag", "far_row", "mapped_kib"})
"""Which profiles of before do not have: 0 there."""

CALL_KINDS = (
    "fc",
    "convolution",
    "activation",
    "lookup",
    "bag",
    "recurrent",
    "lstm",
    "batch_matmul",
    "concat",
    "sum",
    "elementwise",
    "norm",
    "take",
    "softmax",
)
"""Kinds of calls that ways to serve modules tell apart: kernel families, lookups by what they give, and
calls whose code is another one in another precision. `fc` there is layers side by side."""

LAYER_TERMS = (
    "call",
    "row",
    "input",
    "result",
    "weight",
    "multiply_add",
    "small_call",
    "small_multiply_add",
)
"""What the time of a fully connected layer in another precision than fp32 is made of: a call, a row, an
element of its input, of its result and of its weights, a multiply-add; and a call and a multiply-add of
products so small that PyTorch computes them in a loop of its own."""


UNMEASURED_MODULES_SPREAD = 0.23
"""What modules may take more than a flat list of calls, where nobody measured it: ln 1.26, by the mean
error of fourteen models as plain PyTorch serves them (docs/calibration.md). [ln]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleLaw:
    """What a way to serve modules makes of the times of a flat list of calls in fp32.

    Attributes
    ----------
    costs : mapping
        What calls take more, by term of `MODULE_TERMS`. [s]
    precision : Precision
        In which its fully connected layers multiply; bf16: all weights and results.
    tables : Precision
        In which its embedding tables are stored; fp32: those of the model are in what its file says.
    relative_error : float
        Of whole passes left out of its fit, given the flat list's time: root mean square. [ln]
    layers : mapping
        Time of those layers in that precision, by term of `LAYER_TERMS`; empty: that of the flat list, and
        more. [s]
    factors : mapping
        What the times of other kinds of calls in the flat list are multiplied by; 1 where it has none. [1]
    """

    costs: Mapping[str, float]
    precision: Precision = "fp32"
    tables: Precision = "fp32"
    relative_error: float = 0.0
    layers: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """Caches of a CPU: private L2, and an L3 that the cores of a socket share; of a GPU its L2, as both.

    Attributes
    ----------
    l2_bytes, l3_bytes : float
        Of one core, of a socket. [bytes]
    exclusive : bool
        True: a line is in L2 or L3 (Skylake-SP); False: L3 holds copies of all L2s (Broadwell).
    l3_lifetime_s : float
        After how long half of what nobody read has left L3: other machines on the same host fill it. [s]
    table_copies : float
        Copies of the embedding tables that the workers of a socket look rows up in, >= 1: processes that have
        one each. [1]
    """

    l2_bytes: float
    l3_bytes: float
    exclusive: bool
    l3_lifetime_s: float = inf
    table_copies: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory of a node (CPU) or of the card (GPU).

    Attributes
    ----------
    capacity_bytes : float
        What tables and weights may occupy. [bytes]
    bandwidth_bytes_per_s : float
        Peak of one socket or card. [bytes/s]
    random_fraction : float
        Fraction of the peak that many cores together reach with random rows. [1]
    saturation_sharpness : float
        Exponent p of (1 + x^p)^(1/p), x = demand over reachable bandwidth: how abrupt saturation is. [1]
    """

    capacity_bytes: float
    bandwidth_bytes_per_s: float
    random_fraction: float = 1.0
    saturation_sharpness: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmCosts:
    """What a matrix product costs beyond its arithmetic.

    Attributes
    ----------
    efficiency : float
        Fraction of the peak reached by large products. [1]
    half_width : float
        Inner or outer width at which half of that is left: narrow layers fill vectors and tiles badly.
    half_rows : float
        Rows whose arithmetic takes as long as packing the weights (CPU) or filling the chip (GPU).
    weight_l2_bytes_per_s, weight_l3_bytes_per_s, weight_memory_bytes_per_s : float
        Rates at which one core streams weights from each level. [bytes/s]
    """

    efficiency: float
    half_width: float
    half_rows: float
    weight_l2_bytes_per_s: float
    weight_l3_bytes_per_s: float
    weight_memory_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupCosts:
    """What an embedding lookup costs.

    Attributes
    ----------
    bag_s : float
        Each pooled vector: loop set-up and output (CPU), a thread block (GPU). [s]
    cached_line_s, memory_line_s : float
        Each 64-byte line of a row that is in the last-level cache, or in memory; with the
        overlap of misses that the core sustains. [s]
    serial_row_s : float
        Rows of one bag that must follow each other; bags run side by side (GPU). [s]
    """

    bag_s: float
    cached_line_s: float
    memory_line_s: float
    serial_row_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCosts:
    """Turning a request into tensors, and for a GPU moving them there.

    Attributes
    ----------
    blob_s : float
        Each tensor handed to the framework. [s]
    bag_s, index_s, dense_element_s : float
        Each pooled lookup list, index, and dense element converted. [s]
    transfer_bytes_per_s : float
        Host to device; infinite for a CPU. [bytes/s]
    index_bytes : int
        Bytes of one index as handed over. [bytes]
    """

    blob_s: float = 0.0
    bag_s: float = 0.0
    index_s: float = 0.0
    dense_element_s: float = 0.0
    transfer_bytes_per_s: float = float("inf")
    index_bytes: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCosts:
    """What a stack's serving processes (engines) do for each request of a loaded node; nothing by default.

    Attributes
    ----------
    engines : int or None
        Processes that serve, where a scenario names no cores; None: one for each core.
    stored_items : int
        Items of the stored batch, whose lists are converted for each request, whatever its size; 0: a request
        converts its own. [items]
    stored_index_s : float
        Of each index and each list length of the stored batch. [s]
    feed_call_s : float
        Of each input tensor: a call that hands it to the network. [s]
    hand_over_s : float
        From the process that has the query to the engine, and back. [s]
    queue_blobs : int
        Requests that an engine may take ahead of its network; 0: it takes one when the last has left.
    interpreter_lock : float
        Share of the shorter of conversion and network that the interpreter's lock keeps from running beside
        the other, where requests are taken ahead. [1]
    """

    engines: int | None = None
    stored_items: int = 0
    stored_index_s: float = 0.0
    feed_call_s: float = 0.0
    hand_over_s: float = 0.0
    queue_blobs: int = 0
    interpreter_lock: float = 0.0

    @property
    def places(self) -> int:
        """Requests in flight in an engine: one, or one that is converted beside one in the network."""
        return 2 if self.queue_blobs else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCosts:
    """Fixed costs of framework calls, by kernel family, and per-row costs of the small kernels. [s]"""

    call_s: Mapping[str, float]
    concat_piece_s: float = 0.0  # each input of a concat call: a copy kernel of its own on a GPU
    concat_row_piece_s: float = 0.0  # each input, for each item: the copy loop of a CPU
    recurrent_step_s: float = 0.0  # each step's calls, beside its products
    softmax_row_s: float = 0.0
    softmax_element_s: float = 0.0
    small_product_s: float = 0.0  # each item's product in a batched matrix product


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCost:
    """Host time to issue one call to an accelerator.

    Attributes
    ----------
    call_s : float
        Of any call. [s]
    part_s : float
        Of each tensor that a call joins or adds, of each step of a recurrent layer. [s]
    few_rows : float
        Rows of a product up to which the library multiplies vectors, in fewer launches. [rows]
    few_rows_call_s : float
        In place of `call_s`, of a product of so few rows. [s]
    """

    call_s: float
    part_s: float = 0.0
    few_rows: float = 0.0
    few_rows_call_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchCosts:
    """What an accelerator's calls cost the host that issues them, beside the device's own time.

    Attributes
    ----------
    issue : mapping
        Kind of call (as in `surfaces`) to the host's time for one.
    latency_s : float
        From a launch to its start, and from its end to the host's seeing it. [s]
    output_s : float
        To copy a small result back, beyond waiting for it. [s]
    host_level : float
        What the host takes over what it takes on a core of its own: another thread on the same physical
        core (of another virtual machine, say) slows everything that it does. 1: a quiet host. [1]
    quiet_probe_s : float
        What a probe launch takes a quiet host, which levels are relative to; 0: not known. [s]
    """

    issue: Mapping[str, IssueCost]
    latency_s: float
    output_s: float = 0.0
    host_level: float = 1.0
    quiet_probe_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """Slow-down of co-located executors beyond caches and bandwidth.

    Attributes
    ----------
    node_factor : float
        Time of the network's calls with all cores busy over that alone, beyond caches and memory bandwidth
        (clock, the stack's processes): grows linearly with the other busy cores. [1]
    conversion_factor : float
        The same of what an interpreter does: conversion of inputs, feeding, hand-over. [1]
    node_factor_spread : float
        How far off that factor may be: root mean square of its logarithm. [ln]
    hyper_thread_gemm, hyper_thread_lookup : float
        Slow-down of two workers on one core. [1]
    hyper_thread_spread : float
        How far off these may be, where the profile assumes them: 0 where it says whence they are. [ln]
    """

    node_factor: float = 1.0
    conversion_factor: float = 1.0
    node_factor_spread: float = 0.0
    hyper_thread_gemm: float = 1.0
    hyper_thread_lookup: float = 1.0
    hyper_thread_spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Static TDP as DeepRecSys charges it, and the range between idle and peak. [W]

    Attributes
    ----------
    launched_w : float or None
        Of an accelerator that small launches keep awake, and that has next to nothing to do; None: not
        measured, and one that serves is taken to draw its peak. [W]
    joules_per_flop, joules_per_byte : float
        What arithmetic and memory traffic take beyond that. [J/FLOP], [J/byte]
    """

    tdp_w: float
    idle_w: float
    peak_w: float
    launched_w: float | None = None
    joules_per_flop: float = 0.0
    joules_per_byte: float = 0.0

    def serving_w(self, flop_per_s: float, bytes_per_s: float) -> float:
        """Power of an accelerator while it serves at these rates. [W]

        P = launched + FLOP/s x J/FLOP + bytes/s x J/byte, at most the peak. Derived here: energy is linear
        in work, as in the roofline model of energy (Choi et al., IPDPS 2013); that a launch-bound pass
        stays far below the peak is measured (docs/gpu.md).

        Examples
        --------
        >>> card = Power(tdp_w=700.0, idle_w=75.0, peak_w=630.0, launched_w=128.0, joules_per_flop=1e-11)
        >>> card.serving_w(2e12, 0.0)
        148.0
        """
        if self.launched_w is None:
            return self.peak_w
        work_w = flop_per_s * self.joules_per_flop + bytes_per_s * self.joules_per_byte
        return min(self.peak_w, self.launched_w + work_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCurve:
    """Measured time of one kernel signature over batch sizes, ascending. [items], [s]"""

    batch_sizes: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnchor:
    """What a whole model takes over what its operators, measured one by one, add up to.

    Attributes
    ----------
    batch_sizes : (n,) float
        Ascending. [items]
    factors : (n,) float
        Measured over predicted time of a request, with no other worker busy. [1]
    all_busy : float
        Further factor with all workers busy. [1]
    """

    batch_sizes: npt.NDArray[np.float64]
    factors: npt.NDArray[np.float64]
    all_busy: float = 1.0

    def factor(
        self, batch_size: npt.NDArray[np.float64], busy_share: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Factor on the service time; linear in logarithms between sizes, constant beyond them. [1]

        Parameters
        ----------
        batch_size : (...) float
            Items in the request.
        busy_share : (...) float
            Share of the other workers that are busy; broadcasts with `batch_size`. [1]

        Examples
        --------
        >>> sizes, factors = np.array([1.0, 16.0]), np.array([1.0, 4.0])
        >>> anchor = ModelAnchor(batch_sizes=sizes, factors=factors, all_busy=1.1)
        >>> anchor.factor(np.array([1.0, 4.0, 99.0]), np.array([0.0, 0.0, 1.0])).round(6).tolist()
        [1.0, 2.0, 4.4]
        """
        logs = np.interp(np.log(batch_size), np.log(self.batch_sizes), np.log(self.factors))
        return np.asarray(np.exp(logs) * self.all_busy**busy_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitErrors:
    """How far off a stack's times are where its fit had not seen them: logarithms, root mean square. [ln]

    Attributes
    ----------
    whole : float
        Of a pass of a model that the fit had not seen.
    of_fitted_models : float or None
        Of a case (a batch size) that the fit had not seen of a model that it had; None: not known.
    models : frozenset of str
        The models that the fit had seen.
    kinds : frozenset of str or None
        Kernel families that the fit had seen; None: all.
    correlation : float
        Between the errors of two kinds of calls in a pass, where each kind has its own error. [1]
    """

    whole: float = 0.0
    of_fitted_models: float | None = None
    models: frozenset[str] = frozenset()
    kinds: frozenset[str] | None = None
    correlation: float = 0.0

    def of_model(self, name: str) -> float:
        """Of a whole pass of a model. [ln]"""
        if name in self.models and self.of_fitted_models is not None:
            return self.of_fitted_models
        return self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One processor kind with one software stack; rates and costs are those of one executor.

    Attributes
    ----------
    sockets, cores_per_socket : int
        Physical cores of the node; a GPU has 1 and 1.
    threads_per_core : int
        Hardware threads of each: so many workers it takes, at the most.
    peak_flop_per_s : float
        fp32 peak of one core, or of the card. [FLOP/s]
    stream_bytes_per_s : float
        Rate at which elementwise kernels and copies move bytes. [bytes/s]
    batch_range : (int, int)
        Batch sizes over which the profile was calibrated; beyond: EXTRAPOLATED.
    errors : FitErrors
        How far off the times are where the fit had not seen them.
    describes : str
        What is in the times, in words.
    without_input : str or None
        A stack of the same profile that has no input conversion in its times, if this one has.
    is_edited : bool
        Whether the profile's hardware or costs are no longer those that were fitted.
    is_derived : bool
        Whether the times are another machine's, carried over by the ratios of hardware.
    carried_from : Device or None
        The measured device whose surfaces these were, of one with surfaces that is derived.
    measured : mapping
        Kernel signature to its measured curve.
    thread_scaling : mapping of str to float
        Share of a kernel family's time that a worker's threads share out; empty: not known. [1]
    surfaces : mapping
        Kind of call to its measured surface; where there is one, its times come from it.
    launches : LaunchCosts or None
        Of an accelerator whose surfaces hold device times; None: times are those that the host sees.
    engine : EngineCosts
        What the stack's serving processes do for each request of a loaded node.
    anchors : mapping
        Model to its anchor, for those that were run as a whole.
    modules : ModuleLaw or None
        What serving calls as modules makes of their times; None: a flat list of calls.
    module_ways : mapping
        All measured ways to serve a module, the own one among them: stack to what `modules` would be.
    precision : Precision
        In which it multiplies whatever a model's file says; bf16 and fp16: weights and results are that, too.
        int8: fully connected layers alone, beside which a card has the rest in 16 bits and a core in fp32.
    links : mapping
        What a card's links carry, one way, of those that are known. [bytes/s]
    peaks_flop_per_s : mapping
        Precision to the peak that the data sheet names, where that is known. [FLOP/s]
    unrest : Unrest or None
        Scatter and pauses that its calibration measured, where it did.
    co_located : mapping
        Kernel family to its measured slow-down by the number of busy workers, this one included. [1]
    assumptions : tuple of str
        Costs that no fit stands behind, for reports.
    """

    name: str
    kind: DeviceKind
    stack: str
    sockets: int
    cores_per_socket: int
    threads_per_core: int = 2
    peak_flop_per_s: float
    stream_bytes_per_s: float
    memory: Memory
    power: Power
    gemm: GemmCosts
    lookup: LookupCosts
    calls: CallCosts
    inputs: InputCosts
    caches: Caches | None = None
    interference: Interference = field(default_factory=Interference)
    engine: EngineCosts = field(default_factory=EngineCosts)
    batch_range: tuple[int, int] = (1, 1024)
    errors: FitErrors = field(default_factory=FitErrors)
    describes: str = ""
    without_input: str | None = None
    is_edited: bool = False
    is_derived: bool = False
    carried_from: Device | None = None
    measured: Mapping[str, MeasuredCurve] = field(default_factory=dict)
    thread_scaling: Mapping[str, float] = field(default_factory=dict)
    unrest: Unrest | None = None
    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    co_located: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    launches: LaunchCosts | None = None
    anchors: Mapping[str, ModelAnchor] = field(default_factory=dict)
    modules: ModuleLaw | None = None
    module_ways: Mapping[str, ModuleLaw] = field(default_factory=dict)
    precision: Precision = "fp32"
    links: Mapping[Link, float] = field(default_factory=dict)
    peaks_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()

    def as_unmeasured_modules(self) -> Device:
        """The device for a module where only calls one by one were measured: its times, and a wider error."""
        errors = FitErrors(
            whole=hypot(self.errors.whole, UNMEASURED_MODULES_SPREAD), correlation=self.errors.correlation
        )
        described = (
            f"{self.describes}; a flat list of calls: what a PyTorch module takes more was not measured on "
            f"{self.name}, and is in the error (`perfplan calibrate` measures it, given two minutes)"
        )
        nothing = ModuleLaw(costs=dict.fromkeys(MODULE_TERMS, 0.0))
        return replace(self, errors=errors, describes=described, anchors={}, modules=nothing)

    def with_host_level(self, host_level: float) -> Device:
        """The accelerator beside a host that takes so many times as long as a quiet one. [1]"""
        if self.launches is None:
            return self
        return replace(self, launches=replace(self.launches, host_level=host_level))

    def with_l3_lifetime(self, l3_lifetime_s: float) -> Device:
        """The device in a last-level cache that others fill so fast: as it is at this hour. [s]"""
        if self.caches is None:
            return self
        return replace(self, caches=replace(self.caches, l3_lifetime_s=l3_lifetime_s))

    @property
    def has_half_results(self) -> bool:
        """Whether tables and results take 2 bytes an element: a card's do beside layers in int8, too."""
        return self.precision in ("bf16", "fp16") or (self.precision == "int8" and self.kind == "gpu")

    @property
    def stored_tables(self) -> Precision:
        """What all tables are in, whatever a model's file says of them; fp32: in what it says."""
        return "fp32" if self.modules is None else self.modules.tables

    @property
    def table_precisions(self) -> frozenset[Precision]:
        """What lookups in tables of shorter elements were measured in."""
        if self.modules is None:
            return frozenset()
        return frozenset(law.tables for law in self.module_ways.values() if law.tables != "fp32")

    @property
    def relative_error(self) -> float:
        """Error of a pass of a model that the fit had not seen: root mean square. [ln]"""
        return self.errors.whole

    @property
    def num_cores(self) -> int:
        """Physical cores of the node; 1 for a GPU."""
        return self.sockets * self.cores_per_socket

    @property
    def num_threads(self) -> int:
        """Hardware threads of the node; 1 for a GPU."""
        return self.num_cores * self.threads_per_core

    @property
    def threads_in_words(self) -> str:
        """Cores and their threads, for a reader who asked for more."""
        each = "one thread each" if self.threads_per_core == 1 else "two threads each"
        return f"{self.num_cores} cores of {self.name}, {each}"
