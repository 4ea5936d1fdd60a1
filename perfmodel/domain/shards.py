"""Embedding tables on nodes of their own: how many, how tables are shared out, and the way to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from perfmodel.domain.base import Frozen
from perfmodel.domain.bounds import Cores, FileOrName, NonNegative, Positive, within
from perfmodel.domain.unsteady import Scatter
from perfmodel.units import GB, KIB, US

MOST_SHARDS = 10_000
"""Nodes that one request asks: a petabyte of tables on the smallest machines."""

ShardCount = Annotated[int, Field(ge=1), within(high=MOST_SHARDS)]


class NetworkSettings(Frozen):
    """The network between the main node and the shards.

    Attributes
    ----------
    latency_us : float
        One way, of an empty message: a request waits for it twice. [us]
    gb_per_s : float
        Rate of the main node's network card, which all its workers share. [GB/s]
    serialise_us_per_kib : float
        Time of a core to pack a KiB that is sent, or to unpack one that is received. [us/KiB]
    """

    latency_us: Annotated[float, Field(ge=0), within(high=1e9)]
    gb_per_s: Positive
    serialise_us_per_kib: NonNegative = 0.0

    @property
    def round_trip_s(self) -> float:
        """There and back. [s]"""
        return 2.0 * self.latency_us * US

    @property
    def bytes_per_s(self) -> float:
        """Rate of the card. [bytes/s]"""
        return self.gb_per_s * GB

    @property
    def serialise_s_per_byte(self) -> float:
        """Time of a core for each byte. [s/byte]"""
        return self.serialise_us_per_kib * US / KIB


class HotRowSettings(Frozen):
    """Rows that the main node has copies of, so that it does not ask for them.

    Attributes
    ----------
    memory_gib : float
        Memory of the main node that they take. [GiB]
    kept : {"pinned", "lru"}
        The rows that are looked up most, chosen once by the tables' skew; or those looked up last.
    """

    memory_gib: Annotated[float, Field(ge=0), within(high=1e6)]
    kept: Literal["pinned", "lru"] = "pinned"


class ShardNode(Frozen):
    """A machine that holds tables, where it is not like the main one.

    Attributes
    ----------
    cpu : str
        A shipped profile, or the path of one.
    cores : int or None
        Cores that look rows up; None: all that the profile has.
    price_usd_per_h : float or None
        What such a machine costs while it is on, given where the main node's price is. [USD/h]
    """

    cpu: FileOrName
    cores: Cores | None = None
    price_usd_per_h: NonNegative | None = None


class ShardSettings(Frozen):
    """Nodes that hold the embedding tables, which the main one asks for its lookups.

    Attributes
    ----------
    count : int or "auto"
        How many parts the tables are in, each on a node; auto: the fewest whose memory holds them.
    by : {"row", "table"}
        Every table's rows shared out evenly, or whole tables.
    replicas : int
        Nodes that hold the same part.
    network : NetworkSettings or None
        The way to them; None: they answer at once, which no machine does.
    scatter : LogNormalScatter, ListedScatter, ExponentialScatter or None
        How long one part takes to answer, over its mean; a request waits for the slowest. None: all take
        what their lookups take.
    hot_rows : HotRowSettings or None
        Rows that the main node keeps copies of; None: it asks for all.
    node : ShardNode or None
        The machines that hold them; None: like the main node, of which a request finds a core free.
    """

    count: Literal["auto"] | ShardCount = "auto"
    by: Literal["row", "table"] = "row"
    replicas: Annotated[int, Field(ge=1), within(high=1000)] = 1
    network: NetworkSettings | None = None
    scatter: Scatter | None = None
    hot_rows: HotRowSettings | None = None
    node: ShardNode | None = None
