"""Operators of general modules, beside those of the published models: views, elementwise calls, products."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from perfmodel.domain.bounds import Count
from perfmodel.domain.shapes import ManyInputs, Name, OneInput, OperatorBase, Shape, Shapes

NORMS: Final = frozenset(
    {"layer_norm", "native_layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm", "normalize"}
)
"""Functions that sum over each vector before they scale its elements."""
TRANSCENDENTAL: Final = frozenset(
    {"gelu", "silu", "exp", "log", "erf", "sin", "cos", "tanh", "sigmoid", "softplus", "mish", "selu", "elu"}
    | {"pow", "log1p", "expm1", "log_sigmoid", "log_softmax", "exp2", "log2", "sqrt", "rsqrt", "hardswish"}
)
"""Functions whose arithmetic on an element takes longer than to move it."""


class View(OneInput):
    """The same elements in another shape, some of them, or the same ones repeated; it costs nothing."""

    kind: Literal["view"]
    length: Count = 1
    width: Count

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002  # one signature for all
        """As the file says."""
        return Shape(self.length, self.width)


class Elementwise(ManyInputs):
    """One call over each element of its inputs, such as a product, a GELU or a layer norm.

    Inputs of one vector, of vectors of one element, or of fewer vectors are repeated to the largest.
    What is counted is the memory traffic; `function` says what is done to an element, and so which measured
    calls it is like: those of `NORMS`, of `TRANSCENDENTAL`, or any other, bound by memory.
    """

    kind: Literal["elementwise"]
    function: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "mul"

    def output_shape(self, shapes: Shapes) -> Shape:
        """The largest length and the largest width."""
        given = {name: shapes[name] for name in self.inputs}
        length, width = max(s.length for s in given.values()), max(s.width for s in given.values())
        for name, shape in given.items():
            if length % shape.length or shape.width not in (1, width):
                got = f"{name} has {shape.length} x {shape.width}"
                raise ValueError(f"expects inputs that repeat to {length} x {width}, but {got}")
        return Shape(length, width)


class BatchMatmul(OperatorBase):
    """`products` products of two results, (rows, inner) x (inner, outer) each: neither side is a weight."""

    kind: Literal["batch_matmul"]
    left: Name
    right: Name
    inner: Count
    products: Count = 1

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.left, self.right)

    def sizes(self, shapes: Shapes) -> tuple[int, int]:
        """Rows and outer size of each product; raises ValueError where elements do not divide."""
        per_product = self.products * self.inner
        sizes = []
        for name in self.reads():
            size, rest = divmod(shapes[name].elements, per_product)
            if rest:
                expected = f"{self.products} products of inner size {self.inner}"
                raise ValueError(f"expects {expected}, gets {shapes[name].elements} elements from {name}")
            sizes.append(size)
        return sizes[0], sizes[1]

    def output_shape(self, shapes: Shapes) -> Shape:
        """The rows of all products, one after the other."""
        rows, outer = self.sizes(shapes)
        return Shape(self.products * rows, outer)
