"""The PyTorch calls of general operators, and their bindings: views, elementwise calls, products, norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from calibration.runtime.binding import Binding, held, made
from calibration.runtime.operators import Function

Tensor = torch.Tensor


def view(length: int, width: int) -> Function:
    """Another shape of the elements, the first of them, or all of them repeated."""

    def call(x: Tensor) -> Tensor:
        flat, wanted = x.flatten(1), length * width
        if wanted > flat.shape[1]:
            repeats = -(-wanted // flat.shape[1])
            if (length, width) == (
                repeats,
                flat.shape[1],
            ):  # the same vector again and again, which none copies
                return flat.unsqueeze(1).expand(-1, length, -1)
            flat = flat.unsqueeze(1).expand(-1, repeats, -1).flatten(1)
        flat = flat.narrow(1, 0, wanted)
        return flat if length == 1 else flat.view(flat.shape[0], length, width)

    return call


def _scaled(norm: Callable[..., Tensor], *, shifted: bool) -> Function:
    """A norm with a weight for each element of a vector, as models have it; others take twice as long."""
    held: list[Tensor] = []

    def call(x: Tensor) -> Tensor:
        if not held:
            weight = torch.ones(x.shape[-1], device=x.device, dtype=x.dtype)
            held.extend((weight, torch.zeros_like(weight)) if shifted else (weight,))
        return norm(x, x.shape[-1:], *held)

    return call


def _of_positive(function: Function) -> Function:
    """A function of positive numbers, as many as come in.

    Random weights make negative ones, whose roots and logarithms take 10 to 20 times as long, as does what
    follows of NaN; a model that is served takes them of what is positive.
    """
    held: list[Tensor] = []

    def call(x: Tensor) -> Tensor:
        if not held or held[0].shape != x.shape:
            held[:] = [torch.rand_like(x).add_(0.5)]
        return function(held[0])

    return call


_UNARY: Mapping[str, Function] = {
    "gelu": torch._C._nn.gelu,
    "silu": torch._C._nn.silu,
    "exp": torch.exp,
    "erf": torch.erf,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch._C._nn.softplus,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log_sigmoid": torch._C._nn.log_sigmoid,
    "log_softmax": partial(torch.log_softmax, dim=-1),
    "sin": torch.sin,
    "cos": torch.cos,
    "mish": torch._C._nn.mish,
    "selu": torch.selu,
    "elu": torch._C._nn.elu,
    "hardswish": torch._C._nn.hardswish,
    "relu": torch.relu,
    "neg": torch.neg,
    "abs": torch.abs,
}
_POSITIVE: Mapping[str, Function] = {
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "log": torch.log,
    "log2": torch.log2,
    "log1p": torch.log1p,
    "pow": partial(torch.pow, exponent=1.5),
}
_NORMS: Mapping[str, Callable[[], Function]] = {
    "layer_norm": partial(_scaled, torch.layer_norm, shifted=True),
    "native_layer_norm": partial(_scaled, torch.layer_norm, shifted=True),
    "rms_norm": partial(_scaled, torch.rms_norm, shifted=False),
}
_JOINED: Mapping[str, tuple[Function, str]] = {
    "add": (torch.add, "add_"),
    "sub": (torch.sub, "sub_"),
    "maximum": (torch.maximum, "clamp_min_"),
    "minimum": (torch.minimum, "clamp_max_"),
}
"""Functions of two inputs, and their form in place for further ones; others are products."""


def elementwise(length: int, width: int, num_inputs: int, function: str = "mul") -> Function:
    """A function of each element of all inputs, repeated to `length` vectors of `width` elements.

    Of one input the function itself; one that is not known here is its square. Of several their sum,
    difference or the like, else their product.
    """
    join, in_place = _JOINED.get(function, (torch.mul, "mul_"))
    unary = _unary(function) if num_inputs == 1 else None

    def call(*inputs: Tensor) -> Tensor:
        parts = [x if x.dim() == 3 else x.unsqueeze(1) for x in inputs]
        longest = max(part.shape[1] for part in parts)
        parts = [
            part if part.shape[1] in (1, longest) else part.repeat(1, longest // part.shape[1], 1)
            for part in parts
        ]
        second = parts[1 if num_inputs > 1 else 0]
        result = join(parts[0], second) if unary is None else unary(parts[0])
        for part in parts[2:]:
            covers = result.shape[1] >= part.shape[1] and result.shape[2] >= part.shape[2]
            result = getattr(result, in_place)(part) if covers else join(result, part)
        result = result if result.shape[1:] == (length, width) else result.expand(-1, length, width)
        return result.squeeze(1) if length == 1 else result

    return call


def _unary(function: str) -> Function | None:
    """The function of one input, with what it holds; None: it is not known here."""
    if function in _NORMS:
        return _NORMS[function]()
    return _of_positive(_POSITIVE[function]) if function in _POSITIVE else _UNARY.get(function)


def batch_matmul(products: int, inner: int, *, left: bool = False) -> Function:  # noqa: ARG001  # as above
    """`products` products an item, (rows, inner) x (inner, outer) each."""

    def call(left: Tensor, right: Tensor) -> Tensor:
        batch = left.shape[0]
        result = torch.bmm(
            left.reshape(batch * products, -1, inner), right.reshape(batch * products, inner, -1)
        )
        return result.view(batch, -1, result.shape[-1])

    return call


def layer_norm(weight: Tensor, bias: Tensor) -> Function:
    """Each vector less its mean and over its deviation, times a weight and plus a bias."""

    def call(x: Tensor) -> Tensor:
        return torch.layer_norm(x, weight.shape, weight, bias)

    return call


def conv1d(weight: Tensor, bias: Tensor | None = None, **moves: int) -> Function:
    """A convolution over each item's vectors, whose elements are PyTorch's channels."""

    def call(x: Tensor) -> Tensor:
        x = x if x.dim() == 3 else x.unsqueeze(1)
        channels: Tensor = torch.nn.functional.conv1d(x.transpose(1, 2), weight, bias, **moves)
        result = channels.transpose(1, 2)
        return result if result.shape[1] > 1 else result.squeeze(1)

    return call


BINDINGS: Mapping[str, Binding] = {
    "batch_matmul": made(batch_matmul),
    "conv1d": held(conv1d),
    "elementwise": made(elementwise),
    "layer_norm": held(layer_norm),
    "view": made(view),
}
"""PyTorch's part of each call."""
