"""Sequential models of RecBole over the items that a user has seen; sizes are all that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

BATCH, ROWS, LENGTH = 8, 1000, 50
NAMES = ["SASRec", "BERT4Rec", "GRU4Rec", "NARM", "STAMP", "NextItNet", "LightSANs", "HGN", "SRGNN", "GCSAN"]
NAMES += ["Caser", "CORE", "SINE", "FOSSIL", "SHAN", "NPE", "TransRec", "HRM"]
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]


_READS = {
    **dict.fromkeys(("BERT4Rec", "NextItNet", "CORE"), ("items",)),
    **dict.fromkeys(("HGN", "SHAN", "NPE"), ("items", "users")),
    "Caser": ("users", "items"),
    "FOSSIL": ("items", "lengths", "users"),
    "HRM": ("items", "users", "lengths"),
    "TransRec": ("users", "items", "lengths"),
}
"""What a model's forward pass takes, where it is not the items that were seen and how many they are."""


class _Sizes:
    """What a model asks of its data set: how many users and items there are, how many a user has seen."""

    user_num = item_num = ROWS
    field2seqlen: ClassVar = {"item_id": LENGTH, "item_id_list": LENGTH}

    def num(self, _: str) -> int:
        return ROWS


def _made(name: str) -> Factory:
    def made() -> tuple[Any, tuple[Any, ...]]:
        import sys

        import numpy as np

        for alias, kept in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
            setattr(np, alias, kept)  # the library was written for NumPy 1
        from recbole.config import Config
        from recbole.utils import get_model

        sys.argv = sys.argv[:1]
        options = {"use_gpu": False, "loss_type": "CE", "train_neg_sample_args": None}
        config = Config(model=name, dataset="ml-100k", config_dict={"MAX_ITEM_LIST_LENGTH": LENGTH} | options)
        model = get_model(name)(config, _Sizes())
        seen = torch.randint(1, ROWS, (BATCH, LENGTH))
        lengths, users = torch.full((BATCH,), LENGTH), torch.randint(1, ROWS, (BATCH,))
        given = {"items": seen, "lengths": lengths, "users": users}
        return model, tuple(given[what] for what in _READS.get(name, ("items", "lengths")))

    return made


MODELS: dict[str, Factory] = {name: _made(name) for name in NAMES}
