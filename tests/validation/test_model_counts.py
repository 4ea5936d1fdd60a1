"""The shipped models have the sizes that were published: tables, arithmetic, bytes, parameters."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import gemm_flop_per_item, lower
from perfmodel.costmodel.model_counts import model_counts
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Cross, EmbeddingBag, LocalActivation, Mlp, Recurrent
from perfmodel.domain.shapes import DeviceKind
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.loading.validated import parse_file
from perfmodel.units import GIB


class Published(NamedTuple):
    """One line of the table; lookups are the same in every table of a model."""

    tables: dict[int, int]  # rows: how many tables have them
    dim: int
    lookups_per_table: int
    dense_features: int
    gemm_flop: int
    embedding_bytes_read: int
    dense_parameter_bytes: int
    output_width: int


PUBLISHED = {
    # Counts for one candidate item, fp32, a multiply-add is 2 FLOP. Source: the DeepRecSys repository's code
    # and configs, as it runs the models (sizes: ISCA 2020 Table I).
    "dlrm-rmc1": Published({4_000_000: 8}, 32, 80, 128, 200_832, 81_920, 403_332, 1),
    "dlrm-rmc2": Published({500_000: 32}, 64, 120, 256, 639_104, 983_040, 1_279_748, 1),
    "dlrm-rmc3": Published({2_000_000: 10}, 32, 20, 2560, 6_406_656, 25_600, 12_821_636, 1),
    "ncf": Published({140_000: 2, 28_000: 2}, 64, 1, 0, 294_912, 1_024, 592_896, 64),
    "wnd": Published({1_000_000: 27}, 32, 1, 512, 4_129_280, 3_456, 8_265_732, 1),
    "mt-wnd": Published({500_000: 41, 5_000_000: 2}, 32, 1, 512, 5_242_880, 5_504, 10_493_440, 128),
    "din": Published({1_000_000: 1, 100_000: 1, 10_000_000: 2}, 32, 3, 0, 83_776, 1_536, 168_812, 2),
    # its configuration's 250 behaviour tables, a unit of 96 -> 1 -> 32 for each
    "din-isca2020": Published(
        {1_000_000: 1, 100_000: 250, 10_000_000: 2}, 32, 3, 0, 147_520, 97_152, 329_168, 2
    ),
    "dien": Published({500_000: 41, 5_000_000: 2}, 32, 1, 0, 1_570_880, 5_504, 268_776, 2),
}
ON: tuple[DeviceKind, DeviceKind] = ("cpu", "gpu")
every_model = pytest.mark.parametrize("name", PUBLISHED)
"""The published counts are those of a card: on cores ncf's code looks two of its tables up twice."""


def shipped(name: str) -> RecModel:
    return parse_file(find_file("model", name), RecModel)


def on_a_card(name: str) -> list[EmbeddingBag]:
    return [operator for operator in shipped(name).embedding_operators if operator.only_on is None]


def calls_of(family: str, kernels: tuple[Kernel, ...]) -> int:
    return sum(kernel.calls for kernel in kernels if kernel.family == family)


def embedding_bytes_on_a_card(name: str) -> float:
    kernels = [kernel for kernel in lower(shipped(name), "gpu") if kernel.gather is not None]
    return sum(
        kernel.calls * kernel.gather.rows_per_item * kernel.gather.row_bytes
        for kernel in kernels
        if kernel.family == "embedding_bag" and kernel.gather is not None
    )


@every_model
def test_tables_and_rows_are_as_published(name: str) -> None:
    rows: Counter[int] = Counter()
    for operator in on_a_card(name):
        for table in operator.tables:
            rows[table.num_rows] += table.count
    assert rows == PUBLISHED[name].tables


@every_model
def test_every_table_has_the_published_dim_and_lookups(name: str) -> None:
    tables = [table for operator in shipped(name).embedding_operators for table in operator.tables]
    assert {table.dim for table in tables} == {PUBLISHED[name].dim}
    assert {table.pooling_factor for table in tables} == {PUBLISHED[name].lookups_per_table}


@every_model
def test_inputs_and_outputs_are_as_wide_as_published(name: str) -> None:
    model = shipped(name)
    assert model.dense_features == PUBLISHED[name].dense_features
    assert model.output_width == PUBLISHED[name].output_width


@every_model
def test_arithmetic_is_as_published(name: str) -> None:
    assert gemm_flop_per_item(shipped(name)) == PUBLISHED[name].gemm_flop


@every_model
def test_embedding_bytes_are_as_published(name: str) -> None:
    assert embedding_bytes_on_a_card(name) == PUBLISHED[name].embedding_bytes_read


def test_ncf_looks_two_tables_up_twice_on_cores_and_once_on_a_card() -> None:
    """DeepRecSys repository, models/ncf.py, create_emb: SparseLengthsSum twice where no card is used."""
    model = shipped("ncf")
    assert [calls_of("embedding_bag", lower(model, on)) for on in ON] == [6, 4]
    assert model.num_tables == 4
    assert model.embedding_bytes == 4 * 64 * (2 * 140_000 + 2 * 28_000)
    assert model.embedding_bytes_per_item == PUBLISHED["ncf"].embedding_bytes_read + 2 * 64 * 4
    # four lists of indices are converted and fed, each with its lengths, whatever is looked up twice
    assert [calls_of("input", lower(model, on)) for on in ON] == [4, 4]


@every_model
def test_dense_parameters_are_as_published(name: str) -> None:
    assert shipped(name).dense_parameter_bytes == PUBLISHED[name].dense_parameter_bytes


# MLPerf inference's first DLRM: mlcommons/inference at tag v3.0, recommendation/dlrm/pytorch/python/main.py,
# get_backend where max_ind_range is 40,000,000: `ln_emb` in order; m_spa 128, ln_bot and ln_top below.
DLRM_ROWS = [39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10]
DLRM_ROWS += [2208, 11938, 155, 4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36]
DLRM_BOTTOM, DLRM_TOP = (13, 512, 256, 128), (479, 1024, 1024, 512, 256, 1)


def test_dlrm_has_the_tables_and_layers_of_mlperf() -> None:
    model = shipped("dlrm")
    (bags,) = model.embedding_operators
    assert [table.num_rows for table in bags.tables] == DLRM_ROWS
    assert {(table.dim, table.count, table.pooling_factor) for table in bags.tables} == {(128, 1, 1)}
    assert {op.name: op.widths for op in model.operators if isinstance(op, Mlp)} == {
        "bottom": DLRM_BOTTOM,
        "top": DLRM_TOP,
    }
    assert model.shapes()["pairs"] == (1, 27 * 26 // 2)  # arch_interaction_itself=False
    assert (model.dense_features, model.output_width) == (13, 1)


def test_dlrm_has_the_parameters_flop_and_bytes_of_mlperf() -> None:
    layers = [*pairwise(DLRM_BOTTOM), *pairwise(DLRM_TOP)]
    weights, neurons = sum(k * n for k, n in layers), sum(n for _, n in layers)
    dot = 2 * 27 * 27 * 128  # torch.bmm(T, T.transpose(1, 2)): all pairs are computed, 351 kept
    model = shipped("dlrm")
    counts = model_counts(model)
    assert counts.parameters == weights + neurons == 2_368_897
    assert counts.table_bytes == 4 * 128 * sum(DLRM_ROWS) == 96_136_908_288
    assert gemm_flop_per_item(model) == 2 * weights == 4_730_368
    # one addition an element of a row, one operation a neuron's activation
    assert counts.flop_per_item == 2 * weights + dot + 26 * 128 + neurons == 4_924_033
    assert (model.lookups_per_item, model.embedding_bytes_per_item) == (26, 26 * 128 * 4)


# MLPerf inference, DLRM-v2: lookups and rows of its 26 tables, in order. mlcommons/inference at b66003e,
# recommendation/dlrm_v2/pytorch/python: multihot_criteo.py (multi_hot_sizes), main.py (embedding_dim=128,
# num_embeddings_per_feature, dcn_num_layers=3, dcn_low_rank_dim=512, dense_ and over_arch_layer_sizes).
DLRM_V2_LOOKUPS = [3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1]
DLRM_V2_ROWS = [40000000, 39060, 17295, 7424, 20265, 3, 7122, 1543, 63, 40000000, 3067956, 405282, 10]
DLRM_V2_ROWS += [2209, 11938, 155, 4, 976, 14, 40000000, 40000000, 40000000, 590152, 12973, 108, 36]


def test_dlrm_v2_has_the_tables_of_mlperf() -> None:
    model = shipped("dlrm-v2")
    (bags,) = model.embedding_operators
    assert [table.pooling_factor for table in bags.tables] == DLRM_V2_LOOKUPS
    assert [table.num_rows for table in bags.tables] == DLRM_V2_ROWS
    assert {(table.dim, table.count) for table in bags.tables} == {(128, 1)}
    assert (model.num_tables, model.lookups_per_item) == (26, 214)


def test_dlrm_v2_has_the_layers_of_mlperf() -> None:
    model = shipped("dlrm-v2")
    widths = {op.name: op.widths for op in model.operators if isinstance(op, Mlp)}
    (cross,) = (op for op in model.operators if isinstance(op, Cross))
    assert model.dense_features == 13
    assert widths["bottom"] == (13, 512, 256, 128)
    assert widths["over_arch"] == (27 * 128, 1024, 1024, 512, 256, 1)
    assert (cross.num_layers, cross.rank) == (3, 512)


def test_dlrm_v2_does_the_arithmetic_of_its_layers() -> None:
    bottom = 13 * 512 + 512 * 256 + 256 * 128
    cross = 3 * 2 * 3456 * 512
    over = 3456 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256 * 1
    assert gemm_flop_per_item(shipped("dlrm-v2")) == 2 * (bottom + cross + over)


def test_din_of_the_paper_weighs_250_behaviours() -> None:
    # ISCA 2020 Table I: hundreds of lookups; one attention unit each
    model = shipped("din-paper")
    (unit,) = (op for op in model.operators if isinstance(op, LocalActivation))
    assert model.shapes()[unit.behaviours] == (250, 32)
    assert model.shapes()[unit.name] == (1, 32)


def test_dien_of_the_paper_steps_through_250_behaviours_with_gru_and_augru() -> None:
    # Zhou et al., AAAI 2019: a GRU, attention over its states, and an AUGRU
    model = shipped("dien-paper")
    layers = [op for op in model.operators if isinstance(op, Recurrent)]
    assert [op.kind for op in layers] == ["gru", "augru"]
    assert [model.shapes()[op.name].length for op in layers] == [250, 1]
    assert layers[1].attention is not None
    assert model.shapes()[layers[1].attention] == (250, 1)


@pytest.mark.parametrize(("name", "gigabytes"), [("hpca-rmc1", 0.1), ("hpca-rmc2", 10.0), ("hpca-rmc3", 1.0)])
def test_hpca_models_are_about_as_large_as_published(name: str, gigabytes: float) -> None:
    # HPCA 2020, text: embeddings total about 100 MB, 10 GB and 1 GB
    assert shipped(name).embedding_bytes / 1e9 == pytest.approx(gigabytes, rel=0.4)


def test_dlrm_v2_has_the_parameters_and_products_of_the_reference() -> None:
    """torchrec's DLRM_DCN: a low-rank cross layer is (in, rank), (rank, in) and a bias of in."""
    model = shipped("dlrm-v2")
    layers = [(13, 512), (512, 256), (256, 128)]
    over = [(3456, 1024), (1024, 1024), (1024, 512), (512, 256), (256, 1)]
    cross = 3 * (2 * 3456 * 512)
    weights = sum(k * n for k, n in layers + over) + cross
    biases = sum(n for _, n in layers + over) + 3 * 3456
    counts = model_counts(model)
    assert counts.parameters == weights + biases
    assert counts.table_bytes == 4 * 128 * sum(DLRM_V2_ROWS)
    assert gemm_flop_per_item(model) == 2 * weights
    # one addition an element of a row; a product and a sum an element of a cross layer; activations
    other = 128 * sum(DLRM_V2_LOOKUPS) + 3 * 2 * 3456 + sum(n for _, n in layers + over)
    assert counts.flop_per_item == 2 * weights + other == 32_112_769


@pytest.mark.parametrize(("name", "checkpoint_gib"), [("dlrm", 90.0), ("dlrm-v2", 97.31)])
def test_the_models_of_mlperf_are_as_large_as_their_checkpoints(name: str, checkpoint_gib: float) -> None:
    """mlcommons/inference, recommendation: dlrm/pytorch/README.md at v3.0, dlrm_v2/pytorch's at b66003e.

    They write GB, of which 96.1 and 104.6 are counted: theirs are GiB.
    """
    model = shipped(name)
    held = model.embedding_bytes + model.dense_parameter_bytes
    assert held / GIB == pytest.approx(checkpoint_gib, rel=0.01)


def _norm_mlp(inner: int, hidden: int, outer: int) -> int:
    """Parameters of Linear, SwishLayerNorm, Linear and LayerNorm, as `dlrm_hstu.py` builds them."""
    return (inner * hidden + hidden) + 2 * hidden + (hidden * outer + outer) + 2 * outer


def test_dlrm_v3_has_the_parameters_of_the_reference() -> None:
    """mlcommons/inference, recommendation/dlrm_v3: configs.py and generative_recommenders/modules."""
    tables = 512 * (1_000_000_000 + 128 + 10_000_000)  # fp16
    preprocessor = 2 * _norm_mlp(512, 256, 512) + _norm_mlp(40, 256, 512) + (5 * 8 + 40) + (512 * 512 + 512)
    positional = 512 * (8192 + 2048 + 1)
    stu = (512 * 2048 + 2048) + 2 * 512 + 3 * 512 * 512 + 2 * 512  # uvqk, input norm, output, output norm
    postprocessor = 2 * 512 + (512 + 2 * 2) * 512 + 512
    item = _norm_mlp(2 * 512, 512, 512)
    task = (512 * 512 + 512) + 2 * 512 + (512 * 1 + 1)
    model = shipped("dlrm-v3")
    in_tables = 80 + positional  # looked up here: actions, positions and times
    counts = model_counts(model)
    assert counts.table_bytes == 2 * tables + 4 * in_tables
    dense = preprocessor + positional + 5 * stu + postprocessor + item + task
    # which the reference's own module has: the parameters of its DlrmHSTU(is_dense=True), summed up
    assert counts.parameters + in_tables == dense == 16_693_585


@pytest.mark.parametrize("length", [200, 512, 1000])
def test_dlrm_v3_has_the_products_of_the_reference(length: int) -> None:
    """FLOP of products of a history, and of a candidate that attends to it and to itself."""
    model = shipped("dlrm-v3").with_length(length)
    token = 2 * (2 * 2 * 512 * 256 + 40 * 256 + 256 * 512)  # content, category and action
    layer = 2 * (512 * 2048 + 1536 * 512)
    each_key = 2 * 2 * 512  # a score and its share of the sum, 4 heads of 128
    keys = length + 1  # behaviours and the user
    history = length * token + 2 * 512 * 512 + 5 * keys * (layer + keys * each_key)
    candidate = token + 5 * (layer + (keys + 1) * each_key)
    item = 2 * (1024 * 512 + 512 * 512)
    head = 2 * (516 * 512 + 512 * 512 + 512)
    assert _products(model) == {"item": candidate + item + head, "query": history}


@pytest.mark.parametrize(
    ("length", "candidates", "flop"),
    [(30, 1, 642_106_368), (30, 3, 688_073_728), (200, 8, 4_580_886_528)],
)
def test_dlrm_v3_does_what_torch_counts_on_the_reference(length: int, candidates: int, flop: int) -> None:
    """`DlrmHSTU.main_forward` at b66003e, its PyTorch kernels, by torch.utils.flop_counter (torch 2.13).

    The reference multiplies all pairs of positions and masks some: those of a behaviour with a candidate, and
    of two candidates, are left out of the file; those of a behaviour with a later one are in both.
    """
    products = _products(shipped("dlrm-v3").with_length(length))
    masked_pairs = (length + 1) * candidates + candidates * (candidates - 1)
    each_key = 2 * 2 * 512
    assert products["query"] + candidates * products["item"] + 5 * masked_pairs * each_key == flop


def _products(model: RecModel) -> dict[str, float]:
    """FLOP of all products, by whose they are."""
    products = {"item": 0.0, "query": 0.0}
    for kernel in lower(model):
        if kernel.family in ("fc", "batch_matmul"):
            products[kernel.scope] += kernel.calls * kernel.flop_per_item
    return products


def test_readme_says_what_the_models_count() -> None:
    """Each shipped model has a row of README's table of models, with today's counts."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name in shipped_names("model"):
        assert counts_row(name) in text, f"README: expected {counts_row(name)}"


def counts_row(name: str) -> str:
    """The row of a model: counts an item and a query."""
    counts = model_counts(shipped(name))
    cells = [counts.flop_per_item, counts.flop_per_query, counts.bytes_per_item, counts.bytes_per_query]
    work = " | ".join(f"{cell:,.0f}" if cell else "–" for cell in cells)
    return f"| {name} | {work} | {counts.parameters:,} | {counts.table_bytes / GIB:.3g} |"
