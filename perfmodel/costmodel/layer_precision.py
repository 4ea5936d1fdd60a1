"""Time of fully connected layers in other precisions than fp32, on a core: bf16, and int8 weights.

A layer is a call into oneDNN or FBGEMM, whose fixed cost is several times that of an fp32 call;
multiply-adds in blocks of the library's kernels; weights that are put in the kernels' order anew in each
call (bf16), or were once (int8: their term comes out near 0); and inputs and results that are converted or
quantised. Very small products in bf16 PyTorch computes itself, in a loop without any of that.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.domain.hardware import ModuleLaw
from perfmodel.domain.shapes import Precision

SMALL_MULTIPLY_ADDS: Final = 16**3
"""Up to so many multiply-adds a product in bf16 does not go to oneDNN (PyTorch, `mkldnn_gemm_min_size` in
ATen/native/mkldnn/Matmul.cpp). [1]"""
_BLOCK_INNER: Final = 32
_BLOCK_OUTER: Final = 16
"""What a kernel multiplies at least: pairs of elements in 16 lanes, and those lanes. [elements]"""


def is_layer(kernel: Kernel) -> bool:
    """Say whether a kernel is a fully connected layer that has a law of its own in another precision.

    Source: PyTorch's dynamic quantisation takes `nn.Linear` alone; layers side by side are batched products,
    and convolutions have kernels of their own.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    """
    return kernel.family == "fc" and kernel.product is not None and not kernel.variant


def layer_amounts(kernel: Kernel, batch_size: Floats, precision: Precision) -> dict[str, Floats]:
    """How much of each term all calls of a layer have.

    Derived here: counts of the product (rows, inner) x (inner, outer), its multiply-adds in whole blocks.

    Parameters
    ----------
    kernel : Kernel
        With a product.
    batch_size : (...) float array
        Items.
    precision : Precision
        bf16 or int8.

    Returns
    -------
    dict of str to (...) float array
        Of `LAYER_TERMS`: calls, rows, elements, multiply-adds.

    Examples
    --------
    A layer of 100 x 10 in bf16, of one row and of many:

    >>> from perfmodel.costmodel.kernels import Product
    >>> layer = Kernel(operator="top", family="fc", product=Product(rows_per_item=1, inner=100, outer=10))
    >>> found = layer_amounts(layer, np.array([1.0, 64.0]), "bf16")
    >>> found["small_multiply_add"].tolist(), found["multiply_add"].tolist()
    ([1000.0, 0.0], [0.0, 131072.0])
    """
    product = kernel.product
    assert product is not None, "a layer multiplies"
    rows = product.rows_per_item * kernel.of(np.asarray(batch_size, dtype=float))
    inner, outer = product.inner, product.outer
    exact = rows * inner * outer
    small = (exact <= SMALL_MULTIPLY_ADDS) & (precision == "bf16")
    blocks = float(-(-inner // _BLOCK_INNER) * _BLOCK_INNER) * (-(-outer // _BLOCK_OUTER) * _BLOCK_OUTER)
    large = kernel.calls * np.where(small, 0.0, 1.0)
    return {
        "call": large,
        "row": large * rows,
        "input": large * rows * inner,
        "result": large * rows * outer,
        "weight": large * inner * outer,
        "multiply_add": large * rows * blocks,
        "small_call": kernel.calls * np.where(small, 1.0, 0.0),
        "small_multiply_add": kernel.calls * np.where(small, exact, 0.0),
    }


def layer_seconds(kernel: Kernel, law: ModuleLaw, batch_size: Floats) -> Floats:
    """Time of all calls of a layer in the law's precision. [s]

    Derived here: a sum of amounts times costs, fitted to layers of sequences measured in that precision
    (`calibration/measure/served.py`).

    Parameters
    ----------
    kernel : Kernel
        Of which `is_layer` is true.
    law : ModuleLaw
        With `layers`.
    batch_size : (...) float array
        Items.
    """
    total = np.zeros_like(np.asarray(batch_size, dtype=float))
    for term, amount in layer_amounts(kernel, batch_size, law.precision).items():
        total = total + law.layers[term] * amount
    return total
