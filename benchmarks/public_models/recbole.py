"""Sequential models of RecBole over the items that a user has seen; sizes are all that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

BATCH, ROWS, LENGTH = 8, 1000, 50
NAMES = ["SASRec", "BERT4Rec", "GRU4Rec", "NARM", "STAMP", "NextItNet", "LightSANs", "HGN", "SRGNN", "GCSAN"]
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]


class _Sizes:
    """What a model asks of its data set: how many users and items there are."""

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
        lengths = torch.full((BATCH,), LENGTH)
        if name == "BERT4Rec":
            return model, (seen,)
        if name == "HGN":
            return model, (seen, torch.randint(1, ROWS, (BATCH,)))
        return model, (seen,) if name == "NextItNet" else (seen, lengths)

    return made


MODELS: dict[str, Factory] = {name: _made(name) for name in NAMES}
