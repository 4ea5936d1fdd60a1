"""Transformers of x-transformers over a history of ids or vectors, with the options that rankers use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

BATCH, LENGTH, WIDTH, ROWS = 4, 50, 64, 1000
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]


def _over_ids(**options: Any) -> Factory:
    def made() -> tuple[Any, tuple[Any, ...]]:
        from x_transformers import Decoder, TransformerWrapper

        layers = Decoder(dim=WIDTH, depth=2, heads=4, attn_dim_head=16, **options)
        model = TransformerWrapper(num_tokens=ROWS, max_seq_len=LENGTH, attn_layers=layers)
        return model, (torch.randint(0, ROWS, (BATCH, LENGTH)),)

    return made


def _over_vectors(**options: Any) -> Factory:
    def made() -> tuple[Any, tuple[Any, ...]]:
        from x_transformers import ContinuousTransformerWrapper, Encoder

        layers = Encoder(dim=WIDTH, depth=2, heads=4, attn_dim_head=16, **options)
        model = ContinuousTransformerWrapper(dim_in=32, dim_out=1, max_seq_len=LENGTH, attn_layers=layers)
        return model, (torch.rand(BATCH, LENGTH, 32),)

    return made


MODELS: dict[str, Factory] = {
    "decoder": _over_ids(),
    "flash": _over_ids(attn_flash=True),
    "rotary": _over_ids(rotary_pos_emb=True),
    "alibi": _over_ids(alibi_pos_bias=True, alibi_num_heads=2),
    "relative": _over_ids(rel_pos_bias=True),
    "swiglu": _over_ids(ff_glu=True, ff_swish=True),
    "one_kv_head": _over_ids(attn_one_kv_head=True),
    "grouped_kv": _over_ids(attn_kv_heads=2),
    "rmsnorm": _over_ids(use_rmsnorm=True),
    "gated": _over_ids(attn_gate_values=True),
    "talking_heads": _over_ids(attn_pre_talking_heads=True),
    "memory": _over_ids(attn_num_mem_kv=8),
    "qk_norm": _over_ids(attn_qk_norm=True),
    "sandwich": _over_ids(sandwich_norm=True),
    "macaron": _over_ids(macaron=True),
    "scalenorm": _over_ids(use_scalenorm=True),
    "post_norm": _over_ids(pre_norm=False),
    "relu_squared": _over_ids(ff_relu_squared=True),
    "encoder": _over_vectors(),
    "encoder_glu": _over_vectors(ff_glu=True),
    "encoder_flash": _over_vectors(attn_flash=True),
}
