"""torchrec's models over KeyedJaggedTensors, tables not sharded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

BATCH, ROWS, DIM, DENSE, TABLES = 8, 1000, 16, 13, 6
Factory = Callable[[], tuple[Any, tuple[Any, ...]]]


def _tables(pooling: str = "SUM") -> Any:
    from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
    from torchrec.modules.embedding_modules import EmbeddingBagCollection

    return EmbeddingBagCollection(
        tables=[
            EmbeddingBagConfig(
                name=f"t{i}",
                embedding_dim=DIM,
                num_embeddings=ROWS,
                feature_names=[f"f{i}"],
                pooling=PoolingType[pooling],
            )
            for i in range(TABLES)
        ]
    )


def _lists(weighted: bool = False) -> Any:
    """Between 0 and 5 ids an item and feature."""
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

    lengths = torch.randint(0, 6, (TABLES * BATCH,))
    total = int(lengths.sum())
    return KeyedJaggedTensor(
        keys=[f"f{i}" for i in range(TABLES)],
        values=torch.randint(0, ROWS, (total,)),
        lengths=lengths,
        weights=torch.rand(total) if weighted else None,
    )


def dlrm() -> tuple[Any, tuple[Any, ...]]:
    """DLRM."""
    from torchrec.models.dlrm import DLRM

    model = DLRM(_tables(), DENSE, dense_arch_layer_sizes=[32, DIM], over_arch_layer_sizes=[32, 16, 1])
    return model, (torch.rand(BATCH, DENSE), _lists())


def dlrm_dcn() -> tuple[Any, tuple[Any, ...]]:
    """DLRM_DCN: cross layers of low rank, as in MLPerf."""
    from torchrec.models.dlrm import DLRM_DCN

    model = DLRM_DCN(
        _tables(),
        DENSE,
        dense_arch_layer_sizes=[32, DIM],
        over_arch_layer_sizes=[32, 1],
        dcn_num_layers=3,
        dcn_low_rank_dim=8,
    )
    return model, (torch.rand(BATCH, DENSE), _lists())


def dlrm_projection() -> tuple[Any, tuple[Any, ...]]:
    """DLRM with projected interactions."""
    from torchrec.models.dlrm import DLRM_Projection

    model = DLRM_Projection(
        _tables(),
        DENSE,
        dense_arch_layer_sizes=[32, DIM],
        over_arch_layer_sizes=[32, 1],
        interaction_branch1_layer_sizes=[4 * DIM],
        interaction_branch2_layer_sizes=[4 * DIM],
    )
    return model, (torch.rand(BATCH, DENSE), _lists())


def deepfm() -> tuple[Any, tuple[Any, ...]]:
    """SimpleDeepFMNN."""
    from torchrec.models.deepfm import SimpleDeepFMNN

    model = SimpleDeepFMNN(
        num_dense_features=DENSE,
        embedding_bag_collection=_tables(),
        hidden_layer_size=20,
        deep_fm_dimension=5,
    )
    return model, (torch.rand(BATCH, DENSE), _lists())


def mean_pooled() -> tuple[Any, tuple[Any, ...]]:
    """DLRM over means."""
    from torchrec.models.dlrm import DLRM

    model = DLRM(_tables("MEAN"), DENSE, dense_arch_layer_sizes=[32, DIM], over_arch_layer_sizes=[32, 1])
    return model, (torch.rand(BATCH, DENSE), _lists())


MODELS: dict[str, Factory] = {
    "DLRM": dlrm,
    "DLRM_DCN": dlrm_dcn,
    "DLRM_Projection": dlrm_projection,
    "SimpleDeepFMNN": deepfm,
    "DLRM_mean": mean_pooled,
}
