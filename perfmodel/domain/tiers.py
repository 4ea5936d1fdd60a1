"""Memory for embedding rows beyond the own one: host memory behind a card, SSDs, another machine's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import NonNegative, Positive, within
from perfmodel.domain.shapes import Link
from perfmodel.units import GB, GIB, US

MOST_TIERS = 8


class TierSettings(Frozen):
    """A memory that rows are read from one by one, while the worker waits.

    Attributes
    ----------
    name : str
        What answers call it.
    capacity_gib : float
        For rows. [GiB]
    latency_us : float
        Of one read alone. [us]
    gb_per_s : float or None
        Rate of all reads of the node; None: that of `link`. [GB/s]
    link : str or None
        The card's link that reads go over, whose rate its profile states: `host`, to the host's memory
        (PCIe, or NVLink), or `cards`, to the memory of other cards (NVLink). Cores do not read it.
    reads_per_s : float or None
        Reads that it does at most; None: as many as its rate has. [reads/s]
    read_bytes : int
        Least that is read at once; a row of fewer takes as long. [bytes]
    reads_in_flight : int
        That a worker has going at once.
    core_us_per_read : float
        Time of the worker's core for each. [us]
    host_memory : bool
        Whether it is the host's own memory, which cards read and cores have as theirs.
    price_usd_per_h : float or None
        Of all of it; None: in the node's price. [USD/h]
    tdp_w : float
        Of all of it, busy or not. [W]
    source : str
        Where the numbers come from: datasheet|published|measured|fitted|derived|assumed, and what.
    """

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[\w .+-]+$")]
    capacity_gib: Positive
    latency_us: Annotated[float, Field(ge=0), within(high=1e9)]
    gb_per_s: Positive | None = None
    link: Link | None = None
    reads_per_s: Positive | None = None
    read_bytes: Annotated[int, Field(ge=1), within(high=2**30)] = 64
    reads_in_flight: Annotated[int, Field(ge=1), within(high=1_000_000)] = 1
    core_us_per_read: NonNegative = 0.0
    host_memory: bool = False
    price_usd_per_h: NonNegative | None = None
    tdp_w: NonNegative = 0.0
    source: Annotated[str, Field(pattern=r"^(datasheet|published|measured|fitted|derived|assumed): .+")]

    @model_validator(mode="after")
    def _has_a_rate(self) -> TierSettings:
        if (self.gb_per_s is None) == (self.link is None):
            got = "none" if self.link is None else "both"
            raise ValueErrorAt(f"expected gb_per_s or link, got {got}", ("gb_per_s",) if self.link else ())
        if self.link == "cards" and self.host_memory:
            raise ValueErrorAt(
                "expected none beside link: cards, which goes to other cards", ("host_memory",)
            )
        return self

    @property
    def is_of_cards(self) -> bool:
        """Whether cards alone read it: the host's own memory, and what is behind a card's link."""
        return self.host_memory or self.link is not None

    def over(self, links: Mapping[Link, float], reach: float) -> TierSettings:
        """The tier with the rate that its link has on a device. [bytes/s]

        Examples
        --------
        >>> behind = TierSettings(name="host", capacity_gib=1, latency_us=2, link="host", source="assumed: x")
        >>> behind.over({"host": 64e9}, 0.5).gb_per_s
        32.0
        """
        if self.link is None:
            return self
        rate = reach * links[self.link] / GB
        return self.model_copy(update={"gb_per_s": rate, "link": None, "host_memory": True})

    @property
    def capacity_bytes(self) -> float:
        """For rows. [bytes]"""
        return self.capacity_gib * GIB

    @property
    def latency_s(self) -> float:
        """Of one read alone. [s]"""
        return self.latency_us * US

    def read_s(self, row_bytes: float) -> float:
        """Time that the tier is busy with a row. [s]

        Examples
        --------
        >>> ssd = TierSettings(
        ...     name="ssd", capacity_gib=1, latency_us=9, gb_per_s=4.096, read_bytes=4096, source="assumed: x"
        ... )
        >>> ssd.read_s(128.0), ssd.model_copy(update={"reads_per_s": 5e5}).read_s(128.0)
        (1e-06, 2e-06)
        """
        assert self.gb_per_s is not None, "a tier behind a link has its rate by `over`"
        by_rate = max(row_bytes, float(self.read_bytes)) / (self.gb_per_s * GB)
        return by_rate if self.reads_per_s is None else max(by_rate, 1.0 / self.reads_per_s)

    @property
    def source_kind(self) -> str:
        """The first word of the source."""
        return self.source.partition(":")[0]


class NodeTiers(Frozen):
    """Where a node's embedding rows lie beyond its own memory, which has those that are looked up most.

    Attributes
    ----------
    memory_gib : float or None
        Of the node's own memory, for rows, as far as the weights leave it; None: all that they leave. [GiB]
    beyond : tuple of TierSettings
        Fastest first: each has the rows looked up most of those that are left.
    """

    memory_gib: Annotated[float, Field(ge=0), within(high=1e6)] | None = None
    beyond: Annotated[tuple[TierSettings, ...], Field(min_length=1, max_length=MOST_TIERS, strict=False)]

    @model_validator(mode="after")
    def _are_told_apart(self) -> NodeTiers:
        names = [each.name for each in self.beyond]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueErrorAt(f"expected a name of its own, got {name} again", ("beyond", index, "name"))
        return self

    @property
    def price_usd_per_h(self) -> float:
        """Of all tiers whose price is said. [USD/h]"""
        return sum(each.price_usd_per_h or 0.0 for each in self.beyond)

    @property
    def tdp_w(self) -> float:
        """Of all tiers. [W]"""
        return sum(each.tdp_w for each in self.beyond)
