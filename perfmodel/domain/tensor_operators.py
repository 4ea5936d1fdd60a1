"""Operators of general modules, beside those of the published models: views, products, norms."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from perfmodel.domain.bounds import Count
from perfmodel.domain.shapes import ManyInputs, Name, OneInput, OperatorBase, Shape, Shapes

NORMS: Final = frozenset(
    {"layer_norm", "native_layer_norm", "rms_norm", "group_norm", "instance_norm", "normalize"}
)
"""Functions that sum over each vector before they scale its elements; a batch norm that serves does not."""
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


class LayerNorm(OneInput):
    """Each vector less its mean and over its deviation, then times a weight and plus a bias an element.

    Ba et al., "Layer Normalization", 2016. Without weights: an `elementwise` with that function.
    """

    kind: Literal["layer_norm"]

    def num_parameters(self, shapes: Shapes) -> int:
        """A weight and a bias for each element of a vector. [elements]"""
        return 2 * shapes[self.input].width


class Conv1d(OneInput):
    """A convolution over a sequence: each window of vectors times a weight gives one vector of `channels`.

    As PyTorch's `Conv1d`, whose channels are the elements of a vector here.

    Attributes
    ----------
    channels : int
        Elements of each resulting vector. [elements]
    kernel_size : int
        Vectors of a window. [vectors]
    stride : int
        Vectors from one window to the next. [vectors]
    padding : int
        Vectors of zeros before the first and after the last. [vectors]
    dilation : int
        Vectors from one that a window takes to the next. [vectors]
    groups : int
        Parts of a vector that are convolved by weights of their own.
    bias : bool
        Whether each channel has one.
    memory : str or None
        Label of its weights, where others are the same ones.
    """

    kind: Literal["conv1d"]
    channels: Count
    kernel_size: Count
    stride: Count = 1
    padding: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    dilation: Count = 1
    groups: Count = 1
    bias: bool = True
    memory: Name | None = None

    def output_shape(self, shapes: Shapes) -> Shape:
        """One vector for each place of the window."""
        given = shapes[self.input]
        if given.width % self.groups or self.channels % self.groups:
            raise ValueError(
                f"expects {self.groups} groups to divide {self.channels} channels and the {given.width} "
                f"elements from {self.input}"
            )
        spans = self.dilation * (self.kernel_size - 1) + 1
        room = given.length + 2 * self.padding - spans
        if room < 0:
            raise ValueError(
                f"expects at least {spans} vectors with padding, gets {given.length} from {self.input}"
            )
        return Shape(room // self.stride + 1, self.channels)

    def inner(self, shapes: Shapes) -> int:
        """Elements of a window that one channel is made of."""
        return self.kernel_size * shapes[self.input].width // self.groups

    def num_parameters(self, shapes: Shapes) -> int:
        """A window of weights, and a bias, for each channel. [elements]"""
        return self.channels * (self.inner(shapes) + self.bias)


class SwiGlu(OneInput):
    """A gated layer, (silu(x W) * x V) U, over every vector of the input; as wide as the input.

    Shazeer, "GLU Variants Improve Transformer", 2020, equation 6.

    Attributes
    ----------
    hidden_width : int
        Elements between the layers: of x W and of x V. [elements]
    bias : bool
        Whether the layers add one.
    """

    kind: Literal["swiglu"]
    hidden_width: Count
    bias: bool = False

    def num_parameters(self, shapes: Shapes) -> int:
        """W, V and U, and a bias of each where they have one. [elements]"""
        width, hidden = shapes[self.input].width, self.hidden_width
        return 3 * width * hidden + self.bias * (2 * hidden + width)


TensorOperator = View | Elementwise | BatchMatmul | LayerNorm | Conv1d | SwiGlu
"""All of them."""
