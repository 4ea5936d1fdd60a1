"""Models of torch-rechub: dictionaries of ids, histories and dense values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

BATCH, ROWS, DIM, LENGTH = 16, 1000, 16, 20
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]
MLP = {"dims": [32, 16], "activation": "relu", "dropout": 0.0}


class _Dict(nn.Module):
    """The model, which takes a dictionary."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: dict[str, torch.Tensor]) -> Any:
        return self.model(x)


def _features() -> tuple[list[Any], list[Any], list[Any], dict[str, torch.Tensor]]:
    from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

    dense = [DenseFeature(f"d{i}") for i in range(4)]
    sparse = [SparseFeature(f"s{i}", vocab_size=ROWS, embed_dim=DIM) for i in range(6)]
    histories = [
        SequenceFeature("hist", vocab_size=ROWS, embed_dim=DIM, pooling="concat", shared_with="s0"),
    ]
    x = {f"d{i}": torch.rand(BATCH) for i in range(4)}
    x |= {f"s{i}": torch.randint(1, ROWS, (BATCH,)) for i in range(6)}
    x["hist"] = torch.randint(1, ROWS, (BATCH, LENGTH))
    return dense, sparse, histories, x


def _made(build: Callable[[Any, list[Any], list[Any], list[Any]], nn.Module]) -> Factory:
    def made() -> tuple[Any, tuple[Any, ...]]:
        from torch_rechub.models import matching, multi_task, ranking

        space = {name: getattr(module, name) for module in (ranking, matching, multi_task) for name in dir(module)}
        dense, sparse, histories, x = _features()
        return _Dict(build(type("Models", (), space), dense, sparse, histories)), (x,)

    return made


MODELS: dict[str, Factory] = {
    "WideDeep": _made(lambda m, d, s, h: m.WideDeep(d, s, MLP)),
    "DeepFM": _made(lambda m, d, s, h: m.DeepFM(s + d, s, MLP)),
    "DCN": _made(lambda m, d, s, h: m.DCN(s, 3, MLP)),
    "DCNv2": _made(lambda m, d, s, h: m.DCNv2(s, 3, MLP)),
    "DCNv2_mixed": _made(
        lambda m, d, s, h: m.DCNv2(s, 3, MLP, use_low_rank_mixture=True, low_rank=8, num_experts=4)
    ),
    "EDCN": _made(lambda m, d, s, h: m.EDCN(s, 3, {"dims": [], "activation": "relu", "dropout": 0.0})),
    "AFM": _made(lambda m, d, s, h: m.AFM(s, s, DIM, 8)),
    "AutoInt": _made(lambda m, d, s, h: m.AutoInt(s, d, num_layers=2, num_heads=2, mlp_params=MLP)),
    "FiBiNet": _made(lambda m, d, s, h: m.FiBiNet(s, MLP)),
    "DeepFFM": _made(lambda m, d, s, h: m.DeepFFM(s, s, 4, MLP)),
    "DIN": _made(lambda m, d, s, h: m.DIN(s[1:], h, s[:1], MLP, {"dims": [16], "activation": "dice"})),
    "BST": _made(lambda m, d, s, h: m.BST(s[1:], h, s[:1], MLP, num_heads=2, num_layers=1)),
    "SharedBottom": _made(
        lambda m, d, s, h: m.SharedBottom(s + d, ["classification"] * 2, MLP, [MLP, MLP])
    ),
    "MMOE": _made(lambda m, d, s, h: m.MMOE(s + d, ["classification"] * 2, 4, MLP, [MLP, MLP])),
    "PLE": _made(lambda m, d, s, h: m.PLE(s + d, ["classification"] * 2, 1, 2, 1, MLP, [MLP, MLP])),
    "ESMM": _made(lambda m, d, s, h: m.ESMM(s[:3], s[3:], MLP, MLP)),
    "AITM": _made(lambda m, d, s, h: m.AITM(s + d, 2, MLP, [MLP, MLP])),
    "DSSM": _made(lambda m, d, s, h: m.DSSM(s[:3], s[3:], MLP, MLP)),
}


def hstu() -> tuple[Any, tuple[Any, ...]]:
    """HSTU over ids and time differences."""
    from torch_rechub.models.generative import HSTUModel

    model = HSTUModel(vocab_size=ROWS, d_model=32, n_heads=2, n_layers=2, max_seq_len=LENGTH)
    return model, (torch.randint(1, ROWS, (BATCH, LENGTH)),)


MODELS["HSTU"] = hstu
