"""Kernels: the framework calls that operators turn into, with the work of each.

Quantities are per item of the batch, unless their name says per call or per batch; those of a kernel whose
`scope` is the query are per query, of which a pass has one. One `Kernel` may stand for several equal calls
(`calls`), such as the lookups of equal tables or the steps of a recurrent layer.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfmodel.domain.shapes import Scope
from perfmodel.domain.surface import AnyFamily
from perfmodel.domain.tensor_operators import TRANSCENDENTAL

Floats = npt.NDArray[np.float64]

INDEX_BYTES = 8
"""Bytes of one embedding index in memory: int64. [bytes]"""
ELEMENT_BYTES = 4
"""Bytes of an activation or a weight: fp32. [bytes]"""


@dataclass(frozen=True, slots=True)
class Work:
    """Counts for one batch: arithmetic, traffic, and rows touched at random.

    Attributes
    ----------
    flop : float or array
        A multiply-add counts as 2. [FLOP]
    bytes_read, bytes_written : float or array
        Operands once each; caches are not considered. [bytes]
    random_rows : float or array
        Embedding rows touched. [rows]
    """

    flop: Floats
    bytes_read: Floats
    bytes_written: Floats
    random_rows: Floats

    @property
    def bytes_moved(self) -> Floats:
        """Read and written. [bytes]"""
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product: `rows_per_item` rows a batch item, (rows, inner) x (inner, outer).

    `is_weight`: the right-hand matrix is the model's; else a result of the query, which all items share.
    """

    rows_per_item: float
    inner: int
    outer: int
    is_weight: bool = True

    @property
    def weight_bytes(self) -> float:
        """The right-hand matrix. [bytes]"""
        return float(ELEMENT_BYTES * self.inner * self.outer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Lookups in one table: `rows_per_item` rows of `row_bytes`, pooled into `bags_per_item` vectors.

    Of the query, where that is the scope, both are per query. Tables with one `memory` are one table. Where
    the most popular rows of a table are elsewhere, `first_rank` is that of the first of these: ranks go on
    from it. Where lookups fall on some rows only, the most popular ones, `rows_in_use` is how many.
    `element_bytes` is what an element takes up.
    """

    rows_per_item: float
    bags_per_item: float
    row_bytes: float
    num_rows: int
    zipf_exponent: float
    scope: Scope = "item"
    memory: str = ""
    first_rank: float = 1.0
    rows_in_use: int | None = None
    element_bytes: int = ELEMENT_BYTES

    @property
    def table_bytes(self) -> float:
        """Memory of the table. [bytes]"""
        return self.num_rows * self.row_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """`calls` equal framework calls of one family, made by one operator.

    Attributes
    ----------
    flop_per_item, read_bytes_per_item, written_bytes_per_item : float
        Of one call, weights left out. [FLOP/item], [bytes/item]
    product, gather : Product, Gather or None
        What a call multiplies or looks up.
    pieces : int
        Inputs that a concat joins, in one call.
    rows_per_item : float
        Rows that a softmax or a norm works on, or small products that a batched product makes, in one call.
    steps : int
        Steps of a recurrent layer, in all calls.
    variant : str
        Which function of its family it calls, such as `relu` or `gru`; measured costs differ by it.
    shape : tuple of int
        Rows, inner and outer size of each small product of a batched product; steps, input and hidden
        size of a recurrent layer.
    scope : {"item", "query"}
        Whom the calls work for: each item of the batch, or the query alone.
    read_bytes_per_query : float
        What a call reads once however many the items: results of the query, which all of them share.
        [bytes/query]
    is_elsewhere : bool
        Whether another machine does it, or the way there, while this one waits.
    """

    operator: str
    family: AnyFamily
    calls: int = 1
    flop_per_item: float = 0.0
    read_bytes_per_item: float = 0.0
    written_bytes_per_item: float = 0.0
    product: Product | None = None
    gather: Gather | None = None
    pieces: int = 0
    rows_per_item: float = 0.0
    steps: int = 0
    variant: str = ""
    shape: tuple[int, ...] = ()
    scope: Scope = "item"
    read_bytes_per_query: float = 0.0
    is_elsewhere: bool = False

    def of(self, batch_size: Floats) -> Floats:
        """How many one call works for in a batch of so many items: all of them, or the one query.

        Examples
        --------
        >>> Kernel(operator="user", family="sum", scope="query").of(np.array([1.0, 64.0])).tolist()
        [1.0, 1.0]
        """
        return np.ones_like(batch_size) if self.scope == "query" else batch_size

    def activation_bytes(self, batch_size: Floats) -> Floats:
        """What one call reads and writes, weights left out. [bytes]"""
        return self.activation_bytes_per_item * self.of(batch_size) + self.read_bytes_per_query

    @property
    def weight_bytes(self) -> float:
        """Weights that one call reads. [bytes]"""
        return self.product.weight_bytes if self.product else 0.0

    @property
    def activation_bytes_per_item(self) -> float:
        """What one call reads and writes, weights left out. [bytes/item]"""
        return self.read_bytes_per_item + self.written_bytes_per_item

    @property
    def signature(self) -> str:
        """What a measured curve is filed under: family and the sizes that its time depends on."""
        if self.product is not None:
            product = self.product
            return f"{self.family}:{product.rows_per_item:g}x{product.inner}x{product.outer}"
        if self.gather is not None:
            gather = self.gather
            size = f"{gather.num_rows}x{gather.row_bytes:g}:{gather.rows_per_item:g}"
            used = "" if gather.rows_in_use is None else f":{gather.rows_in_use}"
            return f"{self.family}:{size}:{gather.zipf_exponent:g}{used}"
        shape = f"{self.read_bytes_per_item:g}-{self.written_bytes_per_item:g}:{self.rows_per_item:g}"
        return f"{self.family}:{shape}:{self.pieces}"

    def work(self, batch_size: Floats) -> Work:
        """Work of all calls for one batch of `batch_size` items; weights are read once a call.

        Examples
        --------
        >>> layer = Product(rows_per_item=1, inner=4, outer=8)
        >>> fc = Kernel(operator="top", family="fc", product=layer, read_bytes_per_item=16.0)
        >>> float(fc.work(np.array(10.0)).bytes_read)  # 10 rows of 16 bytes, and 4 x 8 weights
        288.0
        """
        rows = self.gather.rows_per_item if self.gather and self.family == "embedding_bag" else 0.0
        served, once = self.of(batch_size), self.weight_bytes + self.read_bytes_per_query
        return Work(
            flop=self.calls * self.flop_per_item * served,
            bytes_read=self.calls * (self.read_bytes_per_item * served + once),
            bytes_written=self.calls * self.written_bytes_per_item * served,
            random_rows=self.calls * rows * served,
        )


def surface_key(kernel: Kernel) -> str:
    """Name of the surface that a kernel's time is read from.

    Source: family and variant, as `calibration/measure` files its measurements.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    """
    return f"{kernel.family}.{kernel.variant}" if kernel.variant else kernel.family


GROUPED = "grouped"
"""Variant of layers side by side, each over vectors of its own: one call for all of them."""
PRODUCTS = "products"
"""Variant of products of activations as an operator of their own, of any sizes."""
FUSED = "fused"
"""Variant of attention in one call: two products, and the softmax between them, by head."""
VECTOR_NORM = "vector_norm"
"""Variant of elementwise calls that sum over each vector first."""
_ALL_FUNCTIONS, _ALL_NORMS = "elementwise.transcendental", "elementwise.norm"
"""Surfaces of profiles from before each function, and each vector of a norm, was told apart."""
_OF_MEMORY = ("elementwise.pointwise", "elementwise.mul")
_LIKE = {
    "silu": ("sigmoid",),
    "gelu": ("tanh",),
    "sqrt": ("sigmoid",),
    "rsqrt": ("sqrt", "sigmoid"),
    **dict.fromkeys(("elu", "selu"), ("exp", "sigmoid")),
    **dict.fromkeys(("exp2", "log", "log2", "log1p", "expm1", "log_softmax"), ("exp",)),
    **dict.fromkeys(("sin", "cos", "log_sigmoid", "erf"), ("softplus", "erf")),
    **dict.fromkeys(("mish", "pow"), ("tanh",)),
}
"""Functions that take as long as others, within a factor of two, on one x86 core with PyTorch 2.13."""
_KIN: Mapping[str, tuple[str, ...]] = {
    "activation.gelu": ("activation.tanh",),
    "activation.silu": ("activation.sigmoid",),
    "elementwise.pointwise": ("elementwise.mul",),
    **{
        f"elementwise.{function}": (
            _ALL_FUNCTIONS,
            f"activation.{function}",
            *(
                f"{family}.{like}"
                for like in _LIKE.get(function, ())
                for family in ("elementwise", "activation")
            ),
            "activation.tanh",
        )
        for function in TRANSCENDENTAL
    },
    "elementwise.hardswish": (_ALL_FUNCTIONS, *_OF_MEMORY),
    f"elementwise.{VECTOR_NORM}": (_ALL_NORMS, "elementwise.mul"),
    "fc.conv1d": ("fc",),
    "recurrent.lstm": ("recurrent.gru",),
    f"fc.{GROUPED}": ("fc",),
    f"batch_matmul.{FUSED}": ("batch_matmul.values",),
}
"""The calls nearest to one that was not measured itself, the nearest first."""


def measured_as(kernel: Kernel, measured: Container[str]) -> str | None:
    """Name of the surface that times a kernel: its own, else of its nearest kin that was measured.

    Derived here: products are alike where their sizes are, so that each takes the surface of the operator
    whose products have such sizes: one row (`weigh`), one column (`match`), queries and keys of attention
    (`scores`), or their weighted values (`values`).

    Parameters
    ----------
    kernel : Kernel
        What runs.
    measured : container of str
        Names of the surfaces that there are.

    Returns
    -------
    str or None
        None: nothing like it was measured.
    """
    own = surface_key(kernel)
    if own in measured:
        return own
    if kernel.family == "batch_matmul" and kernel.variant == PRODUCTS:
        rows, inner, outer = kernel.shape
        kin = "weigh" if rows == 1 else "match" if outer == 1 else "scores" if inner <= outer else "values"
        near: tuple[str, ...] = (f"batch_matmul.{kin}",)
    else:
        near = _KIN.get(own, ())
    return next((one for one in near if one in measured), None)


def is_stand_in(kernel: Kernel, key: str) -> bool:
    """Whether a surface is of another function, and not of the same one at such sizes.

    Source: `measured_as`.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    key : str
        Name of the surface that times it.
    """
    same = (surface_key(kernel), _ALL_FUNCTIONS, _ALL_NORMS)
    if (
        kernel.variant == "pointwise" and key in _OF_MEMORY
    ):  # a product is one of them, bound by memory as all
        return False
    return key not in same and kernel.variant not in (PRODUCTS, GROUPED)


def is_narrow(kernel: Kernel) -> bool:
    """Whether it looks up rows of shorter elements than fp32's, of which no surface was measured.

    Source: the model's file; calibration's sequences have tables in fp32.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    """
    return kernel.gather is not None and kernel.gather.element_bytes < ELEMENT_BYTES


def is_part_of_another(kernel: Kernel) -> bool:
    """Whether its time is in another kernel's surface: inputs are prepared, recurrent layers one call.

    Source: what `calibration/runtime` makes one call of.

    Parameters
    ----------
    kernel : Kernel
        What runs.
    """
    return kernel.family == "input" or kernel.variant.endswith("_inputs")
