"""The calls of a pass as people serve them: `nn.Module`s that own their weights, no call in place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from calibration.runtime.operators import Function, Tensor, narrowed
from calibration.runtime.settings import RuntimeSettings, apply_plain_settings, apply_settings
from perfmodel.domain.shapes import Precision

INT8_MOST = 127.0
_ROWS_AT_ONCE = 2**16
"""Of a table that is quantised: what lies between stays in a cache."""
TINY = 1e-12
"""Scale of weights that are all nothing."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """A library of calls that are modules.

    Attributes
    ----------
    frozen : bool
        Whether the weights want no gradients. A module's weights do unless told otherwise, and lookups of
        such a table prepare for a backward pass that never comes, also under `no_grad`.
    """

    frozen: bool
    quantized: bool = False
    tables: Precision = "fp32"

    def linear(self, weight: Tensor, bias: Tensor) -> Function:
        """`nn.Linear`, or what `quantize_dynamic` makes of it."""
        if self.quantized:
            return _dynamically_quantized(weight, bias)
        layer = nn.Linear(1, 1)
        layer.out_features, layer.in_features = weight.shape
        layer.weight, layer.bias = self._own(weight), self._own(bias)
        return layer

    def prelu(self, slope: Tensor) -> Function:
        """`nn.PReLU`."""
        layer = nn.PReLU()
        layer.weight = self._own(slope)
        return layer

    def activation(self, function: str, *, in_place: bool) -> Function:
        """A module of its own, with a result of its own: nobody writes `inplace=True` by default."""
        del in_place
        return _ACTIVATIONS[function]()

    def embedding_bag(self, table: Tensor) -> Function:
        """`nn.EmbeddingBag`, summing; or its like on a table of shorter elements."""
        if self.tables == "int8":
            return _bytewise(table, pooled=True)
        rows = self._own(self._stored(table))
        bag = nn.EmbeddingBag(len(rows), rows.shape[1], mode="sum", _weight=rows)
        return bag if rows.dtype == table.dtype else lambda *indices: bag(*indices).to(table.dtype)

    def embedding(self, table: Tensor) -> Function:
        """`nn.Embedding`, or its like on a table of shorter elements."""
        if self.tables == "int8":
            return _bytewise(table, pooled=False)
        rows = self._own(self._stored(table))
        lookup = nn.Embedding(len(rows), rows.shape[1], _weight=rows)
        return lookup if rows.dtype == table.dtype else lambda indices: lookup(indices).to(table.dtype)

    def recurrent(self, kind: str, weights: Sequence[Tensor], *, last: bool) -> Function:
        """`nn.RNN`, `nn.GRU` or `nn.LSTM`, the batch first."""
        hidden, width = weights[1].shape[1], weights[0].shape[1]
        layer = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](1, 1, batch_first=True)
        layer.input_size, layer.hidden_size = width, hidden
        for name, weight in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
            setattr(layer, f"{name}_l0", self._own(weight))

        def call(x: Tensor) -> Tensor:
            states: Tensor
            steps = x if x.dim() == 3 else x.unsqueeze(1)  # one vector is a sequence of one step
            states, final = layer(steps)
            if kind == "lstm":
                final = final[0]  # beside the state of its cells
            return final.squeeze(0) if last or steps is not x else states

        return call

    def _stored(self, table: Tensor) -> Tensor:
        """The table as it is kept: in halves, what is looked up is converted afterwards."""
        return table if self.tables == "fp32" else narrowed(table, self.tables)

    def _own(self, weight: Tensor) -> nn.Parameter:
        return nn.Parameter(weight, requires_grad=not self.frozen)


def _bytewise(table: Tensor, *, pooled: bool) -> Function:
    """`torch.ao.nn.quantized.EmbeddingBag`, summing, or its `Embedding`: int8 rows, packed once."""
    from torch.ao.nn import quantized  # few models are in int8, and it warns where it is loaded

    num_rows, dim = table.shape
    scale = max(float(table.abs().max()) / INT8_MOST, TINY)
    stored = torch.empty((num_rows, dim), dtype=torch.uint8)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        stored[rows] = (table.detach()[rows] / scale).add_(INT8_MOST + 0.5)
    scales, zeros = torch.full((num_rows,), scale), torch.full((num_rows,), INT8_MOST)
    with warnings.catch_warnings():  # as of layers
        warnings.simplefilter("ignore", UserWarning)
        packed = torch._make_per_channel_quantized_tensor(stored, scales, zeros, 0)
        layer: Any = quantized.EmbeddingBag(1, dim, mode="sum") if pooled else quantized.Embedding(1, dim)
        layer.set_weight(packed)
    called: Function = layer
    return called


def _dynamically_quantized(weight: Tensor, bias: Tensor) -> Function:
    """The module of `torch.ao.quantization.quantize_dynamic`: int8 weights, packed once."""
    from torch.ao.nn.quantized.dynamic import Linear  # as above

    outer, inner = weight.shape
    weight, bias = weight.detach(), bias.detach()
    scale = max(float(weight.abs().max()) / INT8_MOST, TINY)
    with warnings.catch_warnings():  # that a later PyTorch has it no more
        warnings.simplefilter("ignore", UserWarning)
        layer: Any = Linear(inner, outer)  # type: ignore[no-untyped-call]
        layer.set_weight_bias(torch.quantize_per_tensor(weight, scale, 0, torch.qint8), bias)
    called: Function = layer
    return called


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A way to serve a module.

    Attributes
    ----------
    frozen : bool
        As in `Modules`.
    inference_mode : bool
        `torch.inference_mode` instead of `torch.no_grad`.
    tuned : bool
        In a process whose allocator keeps its memory and asks for huge pages (`apply_settings`).
    precision : Precision
        Of weights and results; int8: of the fully connected layers, whose inputs and results are fp32.
    tables : Precision
        Of embedding tables; what is looked up in them comes out in fp32.
    describes : str
        All of that in words.
    """

    frozen: bool = False
    inference_mode: bool = False
    tuned: bool = False
    precision: Precision = "fp32"
    tables: Precision = "fp32"
    describes: str = ""

    @property
    def narrow(self) -> Literal["", "layers", "tables"]:
        """What is in another precision than fp32."""
        return "layers" if self.precision != "fp32" else "tables" if self.tables != "fp32" else ""

    @property
    def library(self) -> Modules:
        """What makes the calls."""
        return Modules(frozen=self.frozen, quantized=self.precision == "int8", tables=self.tables)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and results, but those of quantised layers."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def is_here(self) -> bool:
        """Whether this machine has the instructions: without them PyTorch computes by another, slow way."""
        if self.precision == "bf16":
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        if "int8" in (self.precision, self.tables):
            engines = set(torch.backends.quantized.supported_engines)
            return hasattr(torch, "quantize_per_tensor") and bool(engines & {"x86", "fbgemm"})
        return True

    def apply_settings(self, *, threads: int = 1) -> RuntimeSettings:
        """Set the process up as this way has it."""
        return (apply_settings if self.tuned else apply_plain_settings)(threads=threads)

    def mode(self) -> AbstractContextManager[object]:
        """The context of a pass."""
        return torch.inference_mode() if self.inference_mode else torch.no_grad()


SERVED: Mapping[str, Served] = {
    "eager": Served(
        describes="a PyTorch module as people serve it: eager, no_grad, weights that want gradients, the "
        "allocator as it starts; one thread a worker; inputs are ready"
    ),
    "eager-inference-mode": Served(
        inference_mode=True, describes="a PyTorch module, eager, in inference_mode instead of no_grad"
    ),
    "eager-frozen": Served(
        frozen=True,
        describes="a PyTorch module, eager, whose weights want no gradients (requires_grad_(False))",
    ),
    "eager-tuned": Served(
        frozen=True,
        inference_mode=True,
        tuned=True,
        describes="a PyTorch module, eager, frozen, in inference_mode, with an allocator that keeps its "
        "memory and asks for huge pages",
    ),
    "eager-bf16": Served(
        precision="bf16",
        describes="a PyTorch module, eager, weights and results in bf16 (module.bfloat16())",
    ),
    "eager-int8": Served(
        precision="int8",
        describes="a PyTorch module, eager, its fully connected layers quantised to int8 "
        "(quantize_dynamic), the rest in fp32",
    ),
    "eager-fp16-tables": Served(
        tables="fp16",
        describes="a PyTorch module, eager, its embedding tables in fp16, their rows converted to fp32 after "
        "each lookup",
    ),
    "eager-int8-tables": Served(
        tables="int8",
        describes="a PyTorch module, eager, its embedding tables quantised to int8 by the row "
        "(torch.ao.nn.quantized.EmbeddingBag), the rest in fp32",
    ),
}
"""Ways to serve a module, by the names of their stacks; the first is what people do unless told."""
