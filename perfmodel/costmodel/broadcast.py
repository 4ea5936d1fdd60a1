"""What an item's call does with results of the query: reads them once, and shares them among its items.

A result of the query is a right-hand matrix that all items multiply with, as a layer's weights are: what were
small products an item become one product over the rows of all items. Where an operator reads nothing but
results of the query, they are repeated for each item first, and its counts stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from perfmodel.costmodel.kernels import ELEMENT_BYTES, Kernel, Product


def read_once(kernel: Kernel, elements: float) -> Kernel:
    """The kernel of a call that reads some of its operands once, and not for each item.

    Derived here: an operand that all items share is read once a call.

    Parameters
    ----------
    kernel : Kernel
        As it would be if all its operands were items'.
    elements : float
        Elements of those of the query.
    """
    moved = ELEMENT_BYTES * elements
    return replace(
        kernel,
        read_bytes_per_item=kernel.read_bytes_per_item - moved,
        read_bytes_per_query=kernel.read_bytes_per_query + moved,
    )


def shared_product(kernel: Kernel, *, reverse: bool) -> Kernel:
    """A batched product whose right side is the query's, as one product a head over the rows of all items.

    Derived here: (b r, k) x (k, n). Where the left side is the query's, the transpose of it: rows of items
    are what a shared matrix multiplies.

    Parameters
    ----------
    kernel : Kernel
        The products as they would be if both sides were items', with their sizes.
    reverse : bool
        Whether the left side is the query's.
    """
    rows, inner, outer = kernel.shape
    if reverse:
        rows, outer = outer, rows
    return Kernel(
        operator=kernel.operator,
        family="fc",
        calls=round(kernel.rows_per_item),
        flop_per_item=2.0 * rows * inner * outer,
        read_bytes_per_item=float(ELEMENT_BYTES * rows * inner),
        written_bytes_per_item=float(ELEMENT_BYTES * rows * outer),
        product=Product(rows_per_item=rows, inner=inner, outer=outer, is_weight=False),
    )
