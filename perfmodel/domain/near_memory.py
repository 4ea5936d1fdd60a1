"""Memory modules that pool embedding rows themselves: ranks side by side, caches, the order of packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import within
from perfmodel.units import GB, KIB

BURST_BYTES = 64
"""What a burst of eight beats moves on a bus of 64 bits. [bytes]"""

MOST_RANKS = 64
"""Ranks of a channel: sixteen times what a board of today carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """Timing of one memory channel. [s]

    Attributes
    ----------
    burst_s : float
        A burst of 64 bytes on the data bus. [s]
    switch_s : float
        That the bus idles between bursts of two ranks. [s]
    four_activates_s : float
        In which a rank opens at most four rows. [s]
    row_cycle_s : float
        From opening a row to opening another one of that bank. [s]
    first_s : float
        From opening a row to its first data. [s]
    banks : int
        Of a rank.
    """

    burst_s: float
    switch_s: float
    four_activates_s: float
    row_cycle_s: float
    first_s: float
    banks: int

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Peak of a channel. [bytes/s]"""
        return BURST_BYTES / self.burst_s


MOST_CACHE_KIB = 1e6
"""A gigabyte of SRAM in each rank. [KiB]"""

DEFAULT_CACHE_KIB = 128.0
"""Of a rank, as RecNMP has it. [KiB]"""

_CLOCK_S = 1.0 / 1200e6
"""Of DDR4-2400. [s]"""

DramName = Literal["ddr4-2400"]

DRAMS: dict[DramName, Dram] = {
    # datasheet: Micron MT40A1G8 (8 Gb x 8, DDR4-2400, 17-17-17) as gem5's DDR4_2400_8x8 quotes it: tBURST
    # 3.332, tCS 1.666, tXAW 21, tRAS 32, tRP, tRCD and tCL 14.16 ns; in whole clocks of 0.833 ns, as a
    # controller counts.
    "ddr4-2400": Dram(
        burst_s=4 * _CLOCK_S,
        switch_s=2 * _CLOCK_S,
        four_activates_s=26 * _CLOCK_S,
        row_cycle_s=(39 + 17) * _CLOCK_S,
        first_s=(17 + 17) * _CLOCK_S,
        banks=16,
    )
}
"""Kinds of memory whose timing is known."""

DEFAULT_CHANNEL_BYTES_PER_S = 19.2 * GB
"""Of DDR4-2400, by which a profile's bandwidth is counted in channels. [bytes/s]"""


class NearMemorySettings(Frozen):
    """Memory modules that look rows up and pool them beside the DRAM, as RecNMP's do.

    Attributes
    ----------
    ranks : int
        Of each memory channel, which read rows side by side: a power of two (4 modules of 2 ranks: 8).
    cache_kib : float or None
        Cache of rows in each rank; None: there is none. [KiB]
    scheduling : {"arrival", "table"}
        Packets of lookups go in the order of their arrival, all tables mixed, or table by table, so that
        the cache serves one table at a time.
    hot_entries : bool
        Rows that a request looks up more than once are found beforehand, and only they are cached.
    packet_bags : int
        Bags of one packet, which is done when its slowest rank is.
    channels : int or None
        Memory channels of the node; None: as many of DDR4-2400 as the profile's bandwidth amounts to.
    dram : {"ddr4-2400"}
        Kind of memory, for its timing.
    """

    ranks: Annotated[int, Field(ge=1), within(high=MOST_RANKS)] = 8
    cache_kib: Annotated[float, Field(gt=0), within(high=MOST_CACHE_KIB)] | None = None
    scheduling: Literal["arrival", "table"] = "arrival"
    hot_entries: bool = False
    packet_bags: Annotated[int, Field(ge=1), within(high=16)] = 8
    channels: Annotated[int, Field(ge=1), within(high=1024)] | None = None
    dram: DramName = "ddr4-2400"

    @model_validator(mode="after")
    def _makes_sense(self) -> NearMemorySettings:
        if self.ranks & (self.ranks - 1):
            raise ValueErrorAt(f"expected a power of two, got {self.ranks}", ("ranks",))
        if self.cache_kib is None:
            if self.scheduling == "table":
                raise ValueErrorAt(
                    "expected arrival without cache_kib: order matters to a cache alone", ("scheduling",)
                )
            if self.hot_entries:
                raise ValueErrorAt(
                    "expected false without cache_kib, where there is nothing to keep them in",
                    ("hot_entries",),
                )
        return self

    @property
    def rank_cache_bytes(self) -> float:
        """Cache of a rank; 0 without. [bytes]"""
        return 0.0 if self.cache_kib is None else self.cache_kib * KIB
