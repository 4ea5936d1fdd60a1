"""Framework calls that several operators make: fully connected, elementwise, softmax, batched products."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.costmodel.kernels import ELEMENT_BYTES, FUSED, Gather, Kernel, Product
from perfmodel.domain.operators import EmbeddingTable, Function, Scope
from perfmodel.domain.surface import Family

SOFTMAX_FLOP = 5.0
"""FLOP of one element: maximum, subtraction, exponential, sum, division."""


def fc(operator: str, rows_per_item: float, inner: int, outer: int) -> Kernel:
    """One fully connected layer with bias over `rows_per_item` rows an item.

    F = 2 r k n for each item, the bias left out as in the published counts; activations are read and
    written once, weights come on top in `Kernel.work`.

    Derived here: a product of (r, k) and (k, n) is r k n multiply-adds, each of which counts as 2 FLOP.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    rows_per_item : float
        Rows r that each item brings: 1, or the vectors of a sequence.
    inner, outer : int
        Inputs k and outputs n of the layer. [elements]

    Examples
    --------
    >>> layer = fc("top", 1, 352, 512)
    >>> layer.flop_per_item, layer.weight_bytes
    (360448.0, 720896.0)
    """
    return Kernel(
        operator=operator,
        family="fc",
        flop_per_item=2.0 * rows_per_item * inner * outer,
        read_bytes_per_item=ELEMENT_BYTES * rows_per_item * inner,
        written_bytes_per_item=ELEMENT_BYTES * rows_per_item * outer,
        product=Product(rows_per_item=rows_per_item, inner=inner, outer=outer),
    )


def elementwise(
    operator: str,
    elements: float,
    *,
    family: Family = "elementwise",
    inputs: int = 1,
    calls: int = 1,
    variant: str = "",
) -> Kernel:
    """One call over `elements` an item that reads `inputs` operands and writes one.

    F = e max(1, i - 1) for each item, 4 e i bytes read and 4 e written.

    Derived here: one operation between each two operands, and one where there is a single operand, whatever
    the function: memory traffic bounds all of them.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    elements : float
        Elements e of the result. [elements/item]
    family : str
        Whose costs of the profile it is charged by.
    inputs : int
        Operands i of as many elements.
    calls : int
        Equal calls.
    variant : str
        The function, where measured costs differ by it.

    Examples
    --------
    >>> product = elementwise("x", 100.0, inputs=2)
    >>> product.flop_per_item, product.read_bytes_per_item, product.written_bytes_per_item
    (100.0, 800.0, 400.0)
    """
    return Kernel(
        operator=operator,
        family=family,
        calls=calls,
        flop_per_item=elements * max(1, inputs - 1),
        read_bytes_per_item=ELEMENT_BYTES * elements * inputs,
        written_bytes_per_item=ELEMENT_BYTES * elements,
        variant=variant,
    )


def activation(operator: str, function: Function, elements: float) -> list[Kernel]:
    """Activation of a layer, a call of its own as the papers count it; none for `none`.

    Source: `elementwise` of one operand.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    function : str
        The activation.
    elements : float
        Outputs of the layer. [elements/item]
    """
    if function == "none":
        return []
    return [elementwise(f"{operator}.{function}", elements, family="activation", variant=function)]


def softmax(operator: str, rows: float, width: float) -> Kernel:
    """Softmax over each of `rows` rows an item, `width` elements wide.

    Derived here: F = 5 r w: of each element the maximum, a subtraction, an exponential, the sum and a
    division; each element is read and written once.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    rows : float
        Rows r. [rows/item]
    width : float
        Elements w of a row.

    Examples
    --------
    >>> softmax("s", 2, 10).flop_per_item
    100.0
    """
    elements = rows * width
    return Kernel(
        operator=operator,
        family="softmax",
        flop_per_item=SOFTMAX_FLOP * elements,
        read_bytes_per_item=ELEMENT_BYTES * elements,
        written_bytes_per_item=ELEMENT_BYTES * elements,
        rows_per_item=rows,
    )


def batch_matmul(
    operator: str, products: float, rows: int, inner: int, outer: int, *, variant: str = ""
) -> Kernel:
    """`products` small products an item, (rows, inner) x (inner, outer) each; both sides are activations.

    F = 2 p m k n for each item; 4 p k (m + n) bytes are read and 4 p m n written.

    Derived here: as `fc`, but with no weights that a batch shares.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    products : float
        Products p. [products/item]
    rows, inner, outer : int
        Sizes m, k and n of each. [elements]
    variant : str
        What they are for, where measured costs differ by it.

    Examples
    --------
    >>> pairs = batch_matmul("pairs", 1, 6, 32, 6)
    >>> pairs.flop_per_item, pairs.read_bytes_per_item, pairs.written_bytes_per_item
    (2304.0, 1536, 144)
    """
    return Kernel(
        operator=operator,
        family="batch_matmul",
        flop_per_item=2.0 * products * rows * inner * outer,
        read_bytes_per_item=ELEMENT_BYTES * products * inner * (rows + outer),
        written_bytes_per_item=ELEMENT_BYTES * products * rows * outer,
        rows_per_item=products,
        variant=variant,
        shape=(rows, inner, outer),
    )


def fused_attention(operator: str, heads: int, rows: int, inner: int, outer: int) -> Kernel:
    """Attention in one call, which keeps the scores to itself: m queries and n keys of k elements a head.

    F = 4 h m k n for each item, of the two products; 4 h k (m + 2 n) bytes are read and 4 h m k written. The
    softmax of the h m n scores, which moves nothing [1]_, is in the time alone (`attention_parts`).

    References
    ----------
    .. [1] T. Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
       NeurIPS 2022.

    Parameters
    ----------
    operator : str
        Operator in the model file that the call belongs to.
    heads : int
        Heads h. [1/item]
    rows, inner, outer : int
        Queries m, elements k of a head, and keys n.

    Examples
    --------
    >>> call = fused_attention("attend", 2, 50, 32, 50)
    >>> call.flop_per_item, call.read_bytes_per_item, call.written_bytes_per_item
    (640000.0, 38400.0, 12800.0)
    """
    moved = float(ELEMENT_BYTES * heads * inner)
    return Kernel(
        operator=operator,
        family="batch_matmul",
        flop_per_item=4.0 * heads * rows * inner * outer,
        read_bytes_per_item=moved * (rows + 2 * outer),
        written_bytes_per_item=moved * rows,
        rows_per_item=float(heads),
        variant=FUSED,
        shape=(rows, inner, outer),
    )


def attention_parts(fused: Kernel) -> tuple[Kernel, Kernel, Kernel]:
    """What a fused attention does, as calls of their own: scores, softmax, weighted values.

    Derived here: the same arithmetic. On one core of an AMD EPYC (Zen 5, PyTorch 2.13, 50 keys of two heads
    of 32) the one call took 0.85 to 0.92 of what the three took.

    Parameters
    ----------
    fused : Kernel
        As `fused_attention` makes it.
    """
    rows, inner, outer = fused.shape
    heads = fused.rows_per_item
    parts = (
        batch_matmul(fused.operator, heads, rows, inner, outer, variant="scores"),
        softmax(fused.operator, heads * rows, outer),
        batch_matmul(fused.operator, heads, rows, outer, inner, variant="values"),
    )
    scores, weights, values = (replace(part, calls=fused.calls, scope=fused.scope) for part in parts)
    return scores, weights, values


def gather(table: EmbeddingTable, *, pooled: bool, scope: Scope = "item") -> Gather:
    """Lookups of one item in one table: pooled to one vector, or each row a vector of its own.

    Source: the table's own counts in the model file.

    Parameters
    ----------
    table : EmbeddingTable
        Rows, elements of a row, and mean lookups an item.
    pooled : bool
        Whether the rows are summed to one vector.
    scope : {"item", "query"}
        Whose lookups they are: counts are of one.
    """
    return Gather(
        rows_per_item=table.pooling_factor,
        bags_per_item=1.0 if pooled else table.pooling_factor,
        row_bytes=float(table.row_bytes),
        num_rows=table.num_rows,
        zipf_exponent=table.zipf_exponent,
        scope=scope,
        memory=table.memory or "",
        rows_in_use=table.rows_in_use,
        element_bytes=table.element_bytes,
    )
