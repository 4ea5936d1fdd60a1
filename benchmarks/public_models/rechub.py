"""Models of torch-rechub: dictionaries of ids, histories and dense values."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
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


def _made(build: Callable[[Any, Any], nn.Module]) -> Factory:
    def made() -> tuple[Any, tuple[Any, ...]]:
        from torch_rechub.models import matching, multi_task, ranking

        space = {
            name: getattr(module, name) for module in (ranking, matching, multi_task) for name in dir(module)
        }
        dense, sparse, history, x = _features()
        features = SimpleNamespace(dense=dense, sparse=sparse, history=history)
        return _Dict(build(SimpleNamespace(**space), features)), (x,)

    return made


MODELS: dict[str, Factory] = {
    "WideDeep": _made(lambda m, f: m.WideDeep(f.dense, f.sparse, MLP)),
    "DeepFM": _made(lambda m, f: m.DeepFM(f.sparse + f.dense, f.sparse, MLP)),
    "DCN": _made(lambda m, f: m.DCN(f.sparse, 3, MLP)),
    "DCNv2": _made(lambda m, f: m.DCNv2(f.sparse, 3, MLP)),
    "DCNv2_mixed": _made(
        lambda m, f: m.DCNv2(f.sparse, 3, MLP, use_low_rank_mixture=True, low_rank=8, num_experts=4)
    ),
    "EDCN": _made(lambda m, f: m.EDCN(f.sparse, 3, {"dims": [], "activation": "relu", "dropout": 0.0})),
    "AFM": _made(lambda m, f: m.AFM(f.sparse, DIM, 8)),
    "AutoInt": _made(lambda m, f: m.AutoInt(f.sparse, f.dense, num_layers=2, num_heads=2, mlp_params=MLP)),
    "FiBiNet": _made(lambda m, f: m.FiBiNet(f.sparse, MLP)),
    "DIN": _made(
        lambda m, f: m.DIN(f.sparse[1:], f.history, f.sparse[:1], {"dims": [32, 16]}, {"dims": [16]})
    ),
    "BST": _made(lambda m, f: m.BST(f.sparse[1:], f.history, f.sparse[:1], MLP, nhead=2, num_layers=1)),
    "SharedBottom": _made(
        lambda m, f: m.SharedBottom(f.sparse + f.dense, ["classification"] * 2, MLP, [MLP, MLP])
    ),
    "MMOE": _made(lambda m, f: m.MMOE(f.sparse + f.dense, ["classification"] * 2, 4, MLP, [MLP, MLP])),
    "PLE": _made(lambda m, f: m.PLE(f.sparse + f.dense, ["classification"] * 2, 1, 2, 1, MLP, [MLP, MLP])),
    "ESMM": _made(lambda m, f: m.ESMM(f.sparse[:3], f.sparse[3:], MLP, MLP)),
    "AITM": _made(lambda m, f: m.AITM(f.sparse + f.dense, 2, MLP, [MLP, MLP])),
    "DSSM": _made(lambda m, f: m.DSSM(f.sparse[:3], f.sparse[3:], MLP, MLP)),
}


def hstu() -> tuple[Any, tuple[Any, ...]]:
    """HSTU over ids and time differences."""
    from torch_rechub.models.generative import HSTUModel

    model = HSTUModel(vocab_size=ROWS, d_model=32, n_heads=2, n_layers=2, max_seq_len=LENGTH)
    return model, (torch.randint(1, ROWS, (BATCH, LENGTH)),)


MODELS["HSTU"] = hstu
