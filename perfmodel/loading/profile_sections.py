"""Sections of a hardware profile: every value with its unit in the key, and with its source beside it."""

from __future__ import annotations

from math import log
from typing import Annotated, Generic, Literal, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from perfmodel.domain import bounds
from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.hardware import (
    CALL_KINDS,
    LATER_MODULE_TERMS,
    LAYER_TERMS,
    MODULE_TERMS,
    IssueCost,
    LaunchCosts,
    ModelAnchor,
    ModuleLaw,
)
from perfmodel.domain.shapes import Precision
from perfmodel.domain.surface import Family
from perfmodel.domain.unsteady import Unrest
from perfmodel.loading.profile_surfaces import Source, SurfaceSection
from perfmodel.units import NS, US

T = TypeVar("T")

WorkerCount = Annotated[int, Field(ge=2), bounds.within(high=bounds.MOST_CORES)]


class Sourced(Frozen, Generic[T]):
    """A value and where it comes from: `datasheet|published|measured|fitted|assumed: ...`."""

    value: T
    source: Source


Positive = Sourced[bounds.Positive]
NonNegative = Sourced[bounds.NonNegative]
Cores = Sourced[bounds.Cores]
Fraction = Sourced[bounds.Fraction]
Share = Sourced[Annotated[float, Field(ge=0, le=1)]]
Slowdown = Sourced[bounds.Slowdown]

NOTHING = NonNegative(value=0.0, source="assumed: not told apart from the rest of its power")
NONE = NonNegative(value=0.0, source="assumed: this stack has no such cost")
NO_SLOWDOWN = Slowdown(value=1.0, source="assumed: no interference beyond caches and bandwidth")
SHARED_CORE_GEMM = Slowdown(value=1.6, source="assumed: as published of three Intel servers, HPCA 2020, text")
SHARED_CORE_LOOKUP = Slowdown(
    value=1.3, source="assumed: as published of three Intel servers, HPCA 2020, text"
)
SHARED_CORE_SPREAD = log(1.2)
"""How far off these two may be where a profile does not say whence they are: assumed; 1.6 is then 1.33 to
1.92, a second thread on a core bringing 4 to 50 %. Two threads that gain nothing take 2 times as long.
[ln]"""
ThreadsPerCore = Sourced[Literal[1, 2]]
TWO_THREADS = ThreadsPerCore(value=2, source="assumed: as most server cores have")


NOTHING_STORED = Sourced[bounds.StoredItems](value=0, source="assumed: a request converts its own inputs")
NOTHING_AHEAD = Sourced[bounds.QueueBlobs](value=0, source="assumed: one request at a time")
NO_LOCK = Sourced[bounds.Share](value=0.0, source="assumed: this stack has no such lock")


class Peaks(Frozen):
    """Peaks of a card's data sheet by precision, dense; one that is left out the card does not have.

    They say what a card can be asked for; times follow `peak_gflop_per_s`, what a library reaches of it.
    """

    fp32: Positive
    tf32: Positive | None = None
    fp16: Positive | None = None
    bf16: Positive | None = None
    int8: Positive | None = None

    @property
    def named(self) -> dict[str, float]:
        """Precision to peak, of those that there are. [TFLOP/s]"""
        return {key: entry.value for key, entry in self if entry is not None}


LEAST_PEAK_OVER_TDP, MOST_PEAK_OVER_TDP = 0.5, 1.5
"""Assumed: short of a typing mistake no device's power at work is further from its TDP. [1]"""


class HardwareSection(Frozen):
    """What the data sheet says; a GPU may leave the caches out, or state its L2 as both levels.

    `l3_lifetime_ms` is there where others use the same L3: after so long half of what nobody read is gone.
    `threads_per_core` of a calibrated machine is what its system shows, where the file does not say.
    """

    sockets: Cores
    cores_per_socket: Cores
    threads_per_core: ThreadsPerCore = TWO_THREADS
    peak_gflop_per_s: Positive
    l2_kib_per_core: Positive | None = None
    l3_mib_per_socket: Positive | None = None
    l3_policy: Sourced[Literal["inclusive", "exclusive"]] | None = None
    l3_lifetime_ms: Positive | None = None
    memory_gib: Positive
    memory_gb_per_s_per_socket: Positive
    memory_random_fraction: Fraction
    memory_saturation_sharpness: Positive
    tdp_w: Positive
    idle_w: NonNegative
    peak_w: Positive
    launched_w: Positive | None = None
    host_link_gb_per_s: Positive | None = None
    card_link_gb_per_s: Positive | None = None
    peaks_tflop_per_s: Peaks | None = None
    pj_per_flop: NonNegative = NOTHING
    pj_per_byte: NonNegative = NOTHING
    hyper_thread_gemm_slowdown: Slowdown = SHARED_CORE_GEMM
    hyper_thread_lookup_slowdown: Slowdown = SHARED_CORE_LOOKUP

    @model_validator(mode="after")
    def _caches_come_together(self) -> HardwareSection:
        caches = (self.l2_kib_per_core, self.l3_mib_per_socket, self.l3_policy)
        if any(value is None for value in caches) and any(value is not None for value in caches):
            raise ValueError("expected all of l2_kib_per_core, l3_mib_per_socket and l3_policy, or none")
        if self.l3_lifetime_ms is not None and self.l3_mib_per_socket is None:
            raise ValueErrorAt("expected l3_mib_per_socket beside it", ("l3_lifetime_ms",))
        if self.idle_w.value > self.peak_w.value:
            raise ValueErrorAt(f"expected at most peak_w, {self.peak_w.value:g}", ("idle_w",))
        if self.launched_w is not None and self.launched_w.value > self.peak_w.value:
            raise ValueErrorAt(f"expected at most peak_w, {self.peak_w.value:g}", ("launched_w",))
        return self

    @model_validator(mode="after")
    def _peak_is_near_tdp(self) -> HardwareSection:
        tdp_w, peak_w = self.tdp_w.value, self.peak_w.value
        if not LEAST_PEAK_OVER_TDP <= peak_w / tdp_w <= MOST_PEAK_OVER_TDP:
            low, high = LEAST_PEAK_OVER_TDP * tdp_w, MOST_PEAK_OVER_TDP * tdp_w
            raise ValueErrorAt(
                f"expected {low:g} to {high:g}, {LEAST_PEAK_OVER_TDP:g} to {MOST_PEAK_OVER_TDP:g} times "
                f"tdp_w, got {peak_w:g}",
                ("peak_w",),
            )
        return self


class CostSection(Frozen):
    """Costs of one stack on one executor; `domain.hardware` says what each means."""

    gemm_efficiency: Fraction
    gemm_half_width: NonNegative
    gemm_half_rows: NonNegative
    weight_l2_gb_per_s: Positive
    weight_l3_gb_per_s: Positive
    weight_memory_gb_per_s: Positive
    stream_gb_per_s: Positive
    lookup_bag_ns: NonNegative
    lookup_cached_line_ns: NonNegative
    lookup_memory_line_ns: Positive
    lookup_serial_row_ns: NonNegative = NONE
    fc_call_us: NonNegative
    embedding_bag_call_us: NonNegative
    concat_call_us: NonNegative
    elementwise_call_us: NonNegative
    concat_piece_us: NonNegative = NONE
    concat_row_piece_ns: NonNegative = NONE
    recurrent_step_us: NonNegative
    softmax_row_ns: NonNegative
    softmax_element_ns: NonNegative
    small_product_ns: NonNegative
    input_blob_us: NonNegative = NONE
    input_bag_ns: NonNegative = NONE
    input_index_ns: NonNegative = NONE
    input_dense_element_ns: NonNegative = NONE
    transfer_gb_per_s: Positive | None = None
    engines: Cores | None = None
    stored_batch_items: Sourced[bounds.StoredItems] = NOTHING_STORED
    stored_index_ns: NonNegative = NONE
    feed_call_us: NonNegative = NONE
    hand_over_us: NonNegative = NONE
    input_queue_blobs: Sourced[bounds.QueueBlobs] = NOTHING_AHEAD
    interpreter_lock: Sourced[bounds.Share] = NO_LOCK
    conversion_slowdown: Slowdown = NO_SLOWDOWN
    network_slowdown: Slowdown = NO_SLOWDOWN


class Curve(Frozen):
    """Measured times of one kernel signature over batch sizes."""

    signature: str
    batch_sizes: Annotated[tuple[bounds.Count, ...], Field(min_length=1)]
    time_us: Annotated[tuple[bounds.Positive, ...], Field(min_length=1)]
    source: Source

    @model_validator(mode="after")
    def _points_match(self) -> Curve:
        if len(self.batch_sizes) != len(self.time_us):
            given = f"{len(self.time_us)} times for {len(self.batch_sizes)} batch sizes"
            raise ValueErrorAt(f"expected one time for each batch size, got {given}", ("time_us",))
        if list(self.batch_sizes) != sorted(set(self.batch_sizes)):
            raise ValueErrorAt("expected ascending batch sizes", ("batch_sizes",))
        return self


class AnchorSection(Frozen):
    """What a whole model took over the sum of its operators, by batch size (`perfplan validate --anchor`)."""

    batch_sizes: Annotated[tuple[bounds.Count, ...], Field(min_length=1)]
    factors: Annotated[tuple[bounds.Positive, ...], Field(min_length=1)]
    all_busy_factor: bounds.Positive = 1.0
    source: Source

    @model_validator(mode="after")
    def _points_match(self) -> AnchorSection:
        if len(self.batch_sizes) != len(self.factors):
            given = f"{len(self.factors)} factors for {len(self.batch_sizes)} batch sizes"
            raise ValueErrorAt(f"expected one factor for each batch size, got {given}", ("factors",))
        if list(self.batch_sizes) != sorted(set(self.batch_sizes)):
            raise ValueErrorAt("expected ascending batch sizes", ("batch_sizes",))
        return self

    def anchor(self) -> ModelAnchor:
        """The anchor as the planning sees it."""
        return ModelAnchor(
            batch_sizes=np.array(self.batch_sizes, float),
            factors=np.array(self.factors),
            all_busy=self.all_busy_factor,
        )


class IssueSection(Frozen):
    """Host time to issue one call: of any, and of each tensor that it joins or step that it makes.

    `few_rows_call` takes the place of `call` for products of up to `few_rows` rows.
    """

    call: bounds.NonNegative
    part: bounds.NonNegative = 0.0
    few_rows: bounds.NonNegative = 0.0
    few_rows_call: bounds.NonNegative = 0.0


class LaunchSection(Frozen):
    """What the host needs to launch on an accelerator (`perfplan calibrate --device cuda`).

    `issue_us` is filed under the calls of `surfaces`; `launch_latency_us` is from a launch to its start and
    from its end to the host's seeing it, `output_us` what copying a small result back takes beyond that.
    All that the host does takes `host_level` times as long, while its core is shared with others; levels
    are relative to `quiet_probe_us`, of a launch that is always the same.
    """

    issue_us: dict[str, IssueSection]
    launch_latency_us: bounds.NonNegative
    output_us: bounds.NonNegative = 0.0
    host_level: bounds.Positive = 1.0
    quiet_probe_us: bounds.NonNegative = 0.0
    source: Source

    def costs(self) -> LaunchCosts:
        """The costs in SI."""
        return LaunchCosts(
            issue={
                call: IssueCost(
                    call_s=entry.call * US,
                    part_s=entry.part * US,
                    few_rows=entry.few_rows,
                    few_rows_call_s=entry.few_rows_call * US,
                )
                for call, entry in self.issue_us.items()
            },
            latency_s=self.launch_latency_us * US,
            output_s=self.output_us * US,
            host_level=self.host_level,
            quiet_probe_s=self.quiet_probe_us * US,
        )


class ServedSection(Frozen):
    """A stack's calls as a way to serve them makes them, measured beside the stack itself.

    `law_ns` is what a pass takes more, by term: a call of each kind, an index (`pooled_index`) and a vector
    (`pooled_bag`) of pooled lookups, a cache line of a row (`row_line`), a KiB of a result in memory that
    was given back and comes anew (`fresh_kib`), and of one so large that it always does (`mapped_kib`). [ns]
    In another `precision` than fp32, `layers_ns` is the time of its fully connected layers, by term: a call,
    a row, an element of input, result and weights, a multiply-add, and calls and multiply-adds of very small
    products; `factors` is what times of other kinds of calls are multiplied by. [ns], [1]
    With `tables` in another precision `factors` are of lookups alone.
    `relative_error` is the root mean square of the logarithm of whole passes left out of the fit.
    """

    describes: str
    precision: Precision = "fp32"
    tables: Precision = "fp32"
    law_ns: dict[str, bounds.NonNegative]
    layers_ns: dict[str, bounds.NonNegative] = Field(default_factory=dict)
    factors: dict[str, bounds.NonNegative] = Field(default_factory=dict)
    relative_error: NonNegative
    passes: bounds.Count
    source: Source

    @model_validator(mode="after")
    def _every_term(self) -> ServedSection:
        if odd := sorted((set(self.law_ns) ^ set(MODULE_TERMS)) - (LATER_MODULE_TERMS - set(self.law_ns))):
            expected = f"expected the terms {', '.join(MODULE_TERMS)}; missing or unknown {odd}"
            raise ValueErrorAt(expected, ("law_ns",))
        terms = () if self.precision == "fp32" else LAYER_TERMS
        if odd := sorted(set(self.layers_ns) ^ set(terms)):
            listed = ", ".join(terms) or "no terms in fp32"
            raise ValueErrorAt(f"expected {listed}; missing or unknown {odd}", ("layers_ns",))
        if odd := sorted(set(self.factors) - set(CALL_KINDS)):
            raise ValueErrorAt(f"expected {', '.join(CALL_KINDS)}; unknown {odd}", ("factors",))
        return self

    def law(self) -> ModuleLaw:
        """The law in SI."""
        later = dict.fromkeys(LATER_MODULE_TERMS, 0.0)
        return ModuleLaw(
            costs={term: value * NS for term, value in {**later, **self.law_ns}.items()},
            precision=self.precision,
            tables=self.tables,
            relative_error=self.relative_error.value,
            layers={term: value * NS for term, value in self.layers_ns.items()},
            factors=self.factors,
        )


class SurfacesFile(Frozen):
    """A stack's surfaces in a table beside the profile.

    Attributes
    ----------
    file : str
        The table, in the profile's folder.
    sha256 : str
        Its SHA-256: of another one the profile says nothing.
    """

    file: Annotated[str, Field(min_length=1, json_schema_extra={"format": "file-path"})]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _read_before(surfaces: object) -> object:
    """Refuse the name of a table where its surfaces are expected: whoever reads the file puts them there."""
    if isinstance(surfaces, dict):
        raise ValueErrorAt("expected the surfaces, got the name of their file; give the profile's path", ())
    return tuple(surfaces) if isinstance(surfaces, list) else surfaces


class StackSection(Frozen):
    """One software stack on this hardware.

    `describes` says in words what is in the times, as answers print it; `derived_from` names the profile
    that they were carried over from, of a derived one, and `base_is_edited` whether that was edited by hand.
    `relative_error` is the root mean square of the error's logarithm, of models or sequences that the fit
    had not seen; `relative_error_of_fitted_models` that of batches it had not seen of `fitted_models`;
    `error_correlation` the correlation between kinds of calls, whose own errors `surfaces` state.
    `fitted_kinds` are the kernel families in the figures (left out: all), `network_slowdown_spread` how far
    off that factor may be (logarithm). `fitted_values` is a hash of the hardware, costs and claims as
    fitted: where it no longer matches, or `surfaces` have none, the profile was edited and its answers are
    extrapolations.
    `spread_between_passes` is the median distance of two visits of a call, minutes apart, relative.
    `surfaces` and `co_located` are there where the stack was calibrated: operators' measured times, and
    their measured slow-down by the number of busy workers; `anchors` where whole models were run, by the
    model's name. `served` are ways to serve a module whose calls these are, each a stack of its own by its
    name; `precision` is what its calls multiply in, bf16 also what its weights and results are in.
    `launches` is there where `surfaces` hold an accelerator's own times. `thread_scaling`
    is optional: the share of a kernel family's time that a worker's threads share out; so is `unrest`,
    the scatter and the pauses that were measured beside.
    """

    description: str
    describes: str = ""
    derived_from: str | None = None
    base_is_edited: bool = False
    precision: Precision = "fp32"
    batch_range: tuple[bounds.Count, bounds.Count]
    relative_error: NonNegative
    relative_error_of_fitted_models: NonNegative | None = None
    error_correlation: Share | None = None
    fitted_models: tuple[str, ...] = ()
    fitted_kinds: tuple[Family, ...] | None = None
    fitted_values: str | None = None
    network_slowdown_spread: NonNegative | None = None
    spread_between_passes: NonNegative | None = None
    costs: CostSection
    measured: tuple[Curve, ...] = ()
    thread_scaling: dict[Family, Share] = Field(default_factory=dict)
    unrest: Unrest | None = None
    surfaces: Annotated[
        tuple[SurfaceSection, ...],
        BeforeValidator(_read_before, json_schema_input_type=tuple[SurfaceSection, ...] | SurfacesFile),
    ] = ()
    co_located: dict[Family, dict[WorkerCount, bounds.Slowdown]] = Field(default_factory=dict)
    launches: LaunchSection | None = None
    anchors: dict[str, AnchorSection] = Field(default_factory=dict)
    served: dict[str, ServedSection] = Field(default_factory=dict)

    @property
    def is_bare(self) -> bool:
        """Whether no serving framework's own overheads are in the times: input conversion, busy processes."""
        costs = self.costs
        conversion = (
            costs.input_blob_us,
            costs.input_bag_ns,
            costs.input_index_ns,
            costs.input_dense_element_ns,
        )
        slowed = (costs.network_slowdown, costs.conversion_slowdown)
        served = (costs.stored_batch_items, costs.feed_call_us, costs.hand_over_us)
        return all(entry.value == 1.0 for entry in slowed) and all(
            entry.value == 0.0 for entry in (*conversion, *served)
        )

    @model_validator(mode="after")
    def _every_surface_can_be_issued(self) -> StackSection:
        if self.launches is not None:
            timed = {entry.call for entry in self.surfaces}
            if odd := sorted(timed ^ set(self.launches.issue_us)):
                expected = f"expected the calls of surfaces, missing or unknown {odd}"
                raise ValueErrorAt(expected, ("launches", "issue_us"))
        return self

    @model_validator(mode="after")
    def _range_ascends(self) -> StackSection:
        if self.batch_range[0] > self.batch_range[1]:
            raise ValueErrorAt(f"expected [lowest, highest], got {list(self.batch_range)}", ("batch_range",))
        return self
