"""What tuning found: what was tried, the three answers beside each other, and the whole answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.domain.estimate import Basis
from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.question import Question
from perfmodel.planning.service_times import IDLE_ACCELERATOR
from perfmodel.planning.tune.question import MEDIUM, Configuration, Grid, Objective, threshold_key
from perfmodel.sim.traffic import has_days

PLATEAU = 0.01
"""A step of the climb that loses less than this may be noise: the climb goes on. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A configuration and what a short sample says of it.

    Attributes
    ----------
    configuration : Configuration
        What was tried.
    latency_bounded_qps : float or None
        Greatest rate that meets the SLA; None: no load meets it, or it was not worth finding. [queries/s]
    below_qps : float or None
        Where it was not worth finding: a rate that it does not carry. [queries/s]
    """

    configuration: Configuration
    latency_bounded_qps: float | None
    below_qps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A configuration with what it carries, by the long sample.

    Attributes
    ----------
    configuration : Configuration
        What is set.
    latency_bounded_qps : float or None
        Greatest rate that meets the SLA; None: no load does. [queries/s]
    power_w : float or None
        Static TDP of what it uses: the accelerators only where it offloads; None: not known. [W]
    num_queries : int
        Queries behind the rate.
    """

    configuration: Configuration
    latency_bounded_qps: float | None
    power_w: float | None
    num_queries: int

    @property
    def batch_size(self) -> int:
        """Largest request of a core. [items]"""
        return self.configuration.batch_size

    @property
    def offload_threshold_items(self) -> int | None:
        """Queries of at least this size go to the accelerator; None: none does. [items]"""
        return self.configuration.offload_threshold_items

    @property
    def timeout_ms(self) -> float | None:
        """How long a full batch is waited for; None: queries are not joined. [ms]"""
        return self.configuration.timeout_ms

    @property
    def qps_per_w(self) -> float | None:
        """Throughput over static TDP; None where that is not known. [queries/s/W]"""
        return _ratio(self.latency_bounded_qps, self.power_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best of a grid for one node and one SLA, beside the static baseline.

    Attributes
    ----------
    node : ServingNode or TableNode
        What is tuned.
    sla : SlaTarget
        What has to hold.
    objective : {"qps", "qps-per-watt"}
        What is best.
    static : OperatingPoint
        The baseline: CPU only, the largest query shared out over the cores; where queries are joined, the
        scenario's own settings.
    exhaustive : OperatingPoint
        The best of the grid.
    tried : tuple of Tried
        Everything that was tried, in the grid's order.
    simulated_queries : int
        In all probes.
    """

    node: AnyNode
    sla: SlaTarget
    objective: Objective
    static: OperatingPoint
    exhaustive: OperatingPoint
    tried: tuple[Tried, ...]
    simulated_queries: int

    @property
    def score(self) -> float:
        """Objective of the optimum; 0 where nothing is carried. [queries/s] or [queries/s/W]"""
        best = self.exhaustive
        return (best.qps_per_w if self.objective == "qps-per-watt" else best.latency_bounded_qps) or 0.0

    @property
    def gain(self) -> float | None:
        """Throughput of the optimum over the static baseline's; None where either carries nothing. [1]"""
        return _ratio(self.exhaustive.latency_bounded_qps, self.static.latency_bounded_qps)

    @property
    def gain_per_w(self) -> float | None:
        """The same per watt of static TDP. [1]"""
        return _ratio(self.exhaustive.qps_per_w, self.static.qps_per_w)

    @property
    def by_batch(self) -> tuple[Tried, ...]:
        """What was found at the optimum's threshold, or timeout, by batch size."""
        best = self.exhaustive.configuration
        return tuple(
            tried
            for tried in self.tried
            if tried.configuration.offload_threshold_items == best.offload_threshold_items
            and tried.configuration.joins == best.joins
        )

    @property
    def by_timeout(self) -> tuple[Tried, ...]:
        """What was found of the optimum's full batch, by how long it is waited for."""
        return tuple(
            tried for tried in self.tried if tried.configuration.batch_size == self.exhaustive.batch_size
        )

    @property
    def by_threshold(self) -> tuple[Tried, ...]:
        """What was found at the optimum's batch size, by threshold, no offload last."""
        found = [
            tried for tried in self.tried if tried.configuration.batch_size == self.exhaustive.batch_size
        ]
        return tuple(sorted(found, key=lambda tried: threshold_key(tried.configuration)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning(Optimum):
    """One node, tuned for one SLA: the optimum, and where the published hill climb ends.

    Attributes
    ----------
    climb : OperatingPoint
        Where the hill climb ends.
    climbed : tuple of Tried
        The steps of the climb, in order.
    """

    climb: OperatingPoint
    climbed: tuple[Tried, ...]

    @property
    def climb_gain(self) -> float | None:
        """Throughput where the climb ends over that of the static baseline. [1]"""
        return _ratio(self.climb.latency_bounded_qps, self.static.latency_bounded_qps)

    @property
    def climb_shortfall(self) -> float | None:
        """What the climb misses of the optimum's throughput; None where nothing is carried. [1]"""
        ratio = _ratio(self.climb.latency_bounded_qps, self.exhaustive.latency_bounded_qps)
        return None if ratio is None else max(0.0, 1.0 - ratio)

    @property
    def climb_found_optimum(self) -> bool:
        """Whether the climb ends within a plateau's tolerance of the optimum."""
        if self.exhaustive.latency_bounded_qps is None:
            return True
        return self.climb_shortfall is not None and self.climb_shortfall <= PLATEAU


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value / base


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuneAnswer:
    """The answer of `perfplan tune`.

    Attributes
    ----------
    question : Question
        What was asked; its rate, batch size and threshold play no part.
    grid : Grid
        What was searched.
    levels : mapping of str to Tuning
        By SLA level, "medium" being the scenario's own.
    by_threads : mapping of int to Tuning
        At the scenario's own SLA, by the threads of a worker; one entry where the profile does not know how
        threads scale.
    simulated_queries : int
        In all probes of all searches.
    left_out : tuple of int
        Batch sizes whose requests lie beyond the rows of a node's table of service times, or beyond the
        batches that its profile is calibrated for. [items]
    """

    question: Question
    grid: Grid
    levels: dict[str, Tuning]
    by_threads: dict[int, Tuning]
    simulated_queries: int
    left_out: tuple[int, ...] = ()

    @property
    def tuning(self) -> Tuning:
        """What was found at the scenario's own SLA."""
        return self.levels[MEDIUM]

    @property
    def basis(self) -> Basis:
        """How far to trust the service times, over all batches of the optimum."""
        return self._tuned.times.basis

    @property
    def _tuned(self) -> Question:
        """The question with the optimum's policy."""
        return replace(self.question, policy=self.tuning.exhaustive.configuration.policy)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        notes = []
        if has_days(self.question.traffic):
            notes.append("tuned for the peak of the day, as if it lasted; rates are means over the day")
        node = self.question.node
        if isinstance(node, ServingNode) and not node.threads_scale:
            notes.append(f"one thread a request: the profile {node.cpu.name} does not know how threads scale")
        notes += [
            IDLE_ACCELERATOR
            if note.startswith(IDLE_ACCELERATOR)
            else note  # what else it says is this answer
            for note in self._tuned.node_notes
        ]
        if self.left_out:
            sizes = ", ".join(map(str, self.left_out))
            why = "the node's service times do not reach their requests"
            if isinstance(node, ServingNode):
                low, high = node.cpu.batch_range
                why = f"{node.cpu.name} is calibrated for batches of {low} to {high}"
            notes.append(f"not tried, since {why}: {sizes}{self._of_the_last_tried()}")
        return tuple(notes)

    def _of_the_last_tried(self) -> str:
        """What it means that larger batches were left out, where the best is the largest of the others."""
        best = self.tuning.exhaustive
        largest = max(self.grid.batch_sizes)
        if best.latency_bounded_qps is None or best.batch_size < largest or max(self.left_out) < largest:
            return ""
        return "; the best is the last before them, and larger ones may carry more (--extrapolate tries them)"

    @property
    def settings(self) -> tuple[str, ...]:
        """What to set, as `--set` takes it; empty where no load meets the SLA."""
        best = self.tuning.exhaustive
        if best.latency_bounded_qps is None:
            return ()
        threshold, timeout_ms = best.offload_threshold_items, best.configuration.timeout_ms
        written = "null" if threshold is None else str(threshold)
        setting: tuple[str, ...] = (
            f"policy.batch_size={best.batch_size}",
            f"policy.offload_threshold_items={written}",
        )
        if timeout_ms is not None:
            setting = (f"policy.max_batch_items={best.batch_size}", f"policy.timeout_ms={timeout_ms:g}")
        if not self.question.node.threads_scale:
            return setting
        return (*setting, f"node.threads={self.tuning.node.threads}")
