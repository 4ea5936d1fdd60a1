"""Models of deepctr-torch: one float matrix of ids, dense values, histories and their lengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

BATCH = 16
ROWS, FIELDS, DENSE, LENGTH = 1000, 8, 5, 10
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]


def _flat(name: str, **options: Any) -> Factory:
    """A model over single ids and dense values."""

    def made() -> tuple[Any, tuple[Any, ...]]:
        from deepctr_torch import models
        from deepctr_torch.inputs import DenseFeat, SparseFeat

        columns = [SparseFeat(f"id{i}", ROWS, embedding_dim=8) for i in range(FIELDS)]
        columns += [DenseFeat(f"dense{i}", 1) for i in range(DENSE)]
        kind = getattr(models, name)
        model = kind(columns, columns, device="cpu", **options)
        ids = torch.randint(0, ROWS, (BATCH, FIELDS)).float()
        return model, (torch.cat([ids, torch.rand(BATCH, DENSE)], 1),)

    return made


def _behaviours(name: str, **options: Any) -> Factory:
    """A model over a history of items and their lengths."""

    def made() -> tuple[Any, tuple[Any, ...]]:
        from deepctr_torch import models
        from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat, build_input_features

        columns = [SparseFeat("user", ROWS, embedding_dim=8), SparseFeat("item_id", ROWS, embedding_dim=8)]
        columns += [DenseFeat("score", 1)]
        history = SparseFeat("hist_item_id", ROWS, embedding_dim=8, embedding_name="item_id")
        columns += [VarLenSparseFeat(history, LENGTH, length_name="seq_length")]
        model = getattr(models, name)(columns, ["item_id"], device="cpu", **options)
        parts = []
        for feature, (start, stop) in build_input_features(columns).items():
            width = stop - start
            if feature == "score":
                parts.append(torch.rand(BATCH, width))
            elif feature == "seq_length":
                parts.append(torch.full((BATCH, 1), float(LENGTH)))
            else:
                parts.append(torch.randint(1, ROWS, (BATCH, width)).float())
        return model, (torch.cat(parts, 1),)

    return made


def _alone(name: str) -> tuple[Any, tuple[Any, ...]]:
    from deepctr_torch import models
    from deepctr_torch.inputs import SparseFeat

    columns = [SparseFeat(f"id{i}", ROWS, embedding_dim=8) for i in range(FIELDS)]
    kind = getattr(models, name)
    model = kind(columns, device="cpu") if name == "PNN" else kind(columns, columns, device="cpu")
    return model, (torch.randint(0, ROWS, (BATCH, FIELDS)).float(),)


def _tasks(name: str) -> tuple[Any, tuple[Any, ...]]:
    from deepctr_torch import models
    from deepctr_torch.inputs import DenseFeat, SparseFeat

    columns = [SparseFeat(f"id{i}", ROWS, embedding_dim=8) for i in range(FIELDS)]
    columns += [DenseFeat(f"dense{i}", 1) for i in range(DENSE)]
    model = getattr(models, name)(
        columns, task_types=["binary", "binary"], task_names=["ctr", "cvr"], device="cpu"
    )
    ids = torch.randint(0, ROWS, (BATCH, FIELDS)).float()
    return model, (torch.cat([ids, torch.rand(BATCH, DENSE)], 1),)


_FLAT = [
    "WDL",
    "DeepFM",
    "xDeepFM",
    "NFM",
    "DCN",
    "DCNMix",
    "AutoInt",
    "ONN",
    "FiBiNET",
    "IFM",
    "DIFM",
    "AFN",
    "MLR",
]
MODELS: dict[str, Factory] = {
    **{name: _flat(name) for name in _FLAT},
    "PNN": lambda: _alone("PNN"),
    "AFM": lambda: _alone("AFM"),
    "CCPM": lambda: _alone("CCPM"),
    "DIN": _behaviours("DIN"),
    "DIEN": _behaviours("DIEN"),
    **{name: partial(_tasks, name) for name in ("MMOE", "PLE", "ESMM", "SharedBottom")},
}
