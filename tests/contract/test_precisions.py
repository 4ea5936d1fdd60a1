"""Models in other precisions: which stack answers, what it says, and where nobody measured it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from perfmodel.cli.main import main
from perfmodel.domain.estimate import Basis
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.explain.changes import changes_of
from perfmodel.planning.prepare import find_device, prepare

PROFILE = "amd-epyc-turin-2c-modules"


def model(layers: str, rest: str = "fp32", element_bytes: int = 4) -> RecModel:
    tables = (
        {"num_rows": 100_000, "dim": 32, "count": 8, "pooling_factor": 20, "element_bytes": element_bytes},
    )
    return RecModel.model_validate(
        {
            "name": "own",
            "dense_features": 64,
            "operators": (
                {
                    "name": "bottom",
                    "kind": "mlp",
                    "input": "dense",
                    "widths": (64, 512, 256),
                    "activation": "relu",
                    "precision": layers,
                },
                {"name": "rows", "kind": "embedding_bag", "tables": tables, "precision": rest},
                {"name": "joined", "kind": "concat", "inputs": ("bottom", "rows"), "precision": rest},
                {
                    "name": "top",
                    "kind": "mlp",
                    "input": "joined",
                    "widths": (512, 1024, 512, 1),
                    "activation": "relu",
                    "precision": layers,
                },
            ),
        }
    )


def written(tmp_path: Path, of: RecModel) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(of.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("layers", "rest", "stack"),
    [("fp32", "fp32", "eager"), ("bf16", "bf16", "eager-bf16"), ("int8", "fp32", "eager-int8")],
)
def test_a_users_model_is_answered_by_the_stack_of_its_precision(layers: str, rest: str, stack: str) -> None:
    found = find_device(PROFILE, model(layers, rest))
    assert (found.stack, found.precision) == (stack, layers)
    table = latency_table(model(layers, rest), found, (64,))
    assert table.notes == ()


def test_large_batches_gain_from_it_and_single_rows_do_not() -> None:
    fp32 = model("fp32")
    times_s = {
        stack: [
            row.seconds for row in latency_table(fp32, find_device(f"{PROFILE}@{stack}", fp32), (1, 256)).rows
        ]
        for stack in ("eager", "eager-bf16", "eager-int8")
    }
    assert times_s["eager-bf16"][0] > times_s["eager"][0]
    assert times_s["eager-bf16"][1] < 0.7 * times_s["eager"][1]
    assert times_s["eager-int8"][1] < 0.7 * times_s["eager"][1]


def test_a_model_in_fp32_is_told_that_another_precision_is_a_what_if(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, model("fp32"))
    code = main(["latency", "--model", str(path), "--on", f"{PROFILE}@eager-int8", "--batch", "64"])
    assert code == 0
    assert "this answers for fully connected layers in int8" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("stack", ["pytorch", "eager", "eager-int8"])
def test_where_nobody_measured_it_the_stack_that_knows_is_named(stack: str) -> None:
    half = model("bf16", "bf16")
    device = find_device(f"{PROFILE}@{stack}", half)
    with pytest.raises(ExtrapolationError, match="4 in bf16: costs are known of fp32"):
        latency_table(half, device, (64,))
    table = latency_table(half, device, (64,), extrapolate=True)
    assert any("times are those of fp32" in note for note in table.notes)


def test_quantised_operators_that_are_no_layers_are_not_known() -> None:
    odd = model("int8", "int8")
    with pytest.raises(ExtrapolationError, match="2 in int8"):
        latency_table(odd, find_device(f"{PROFILE}@eager-int8", odd), (64,))


@pytest.mark.parametrize(("element_bytes", "rest"), [(1, "int8"), (1, "fp32"), (2, "fp16"), (2, "fp32")])
def test_tables_of_shorter_elements_take_what_such_lookups_were_measured_to_take(
    element_bytes: int, rest: str
) -> None:
    short, wide = model("fp32", "fp32", element_bytes), model("fp32")
    rows = short.operators[1].model_copy(update={"precision": rest})
    short = short.model_copy(update={"operators": (short.operators[0], rows, *short.operators[2:])})
    device = find_device(PROFILE, short)
    assert (device.stack, short.embedding_bytes) == ("eager", wide.embedding_bytes * element_bytes / 4)
    found = latency_table(short, device, (1, 512))
    (note,) = found.notes
    assert note.startswith(f"tables in {'int8' if element_bytes == 1 else 'fp16'}: lookups take what sums of")
    assert max(row.basis for row in found.rows) is Basis.INTERPOLATED
    before = latency_table(wide, device, (1, 512))
    (one, many), (one_wide, many_wide) = (
        [next(each for each in row.operators if each.name == "rows") for row in table.rows]
        for table in (found, before)
    )
    assert one.seconds > one_wide.seconds  # a call of another kind, or a conversion after it
    assert many.seconds < many_wide.seconds
    assert many.bytes_moved < many_wide.bytes_moved


def test_a_model_whose_tables_are_in_fp32_is_told_that_shorter_ones_are_a_what_if() -> None:
    wide = model("fp32")
    asked = find_device(f"{PROFILE}@eager-int8-tables", wide)
    (note,) = latency_table(wide, asked, (64,)).notes
    assert "has tables in fp32; this answers for tables in int8" in note
    assert "their memory counts as the file has it" in note
    assert latency_table(wide, find_device(f"{PROFILE}@eager", wide), (64,)).notes == ()


def test_the_list_of_calls_was_measured_with_no_such_tables() -> None:
    short = model("fp32", "fp32", 1)
    (row,) = latency_table(short, find_device(f"{PROFILE}@pytorch", short), (64,)).rows
    lookups = next(each for each in row.operators if each.name == "rows")
    assert lookups.basis is Basis.EXTRAPOLATED
    assert 0.05 < lookups.share < 0.2
    assert row.basis is Basis.ASSUMED
    tables = (short.embedding_operators[0].tables[0].model_copy(update={"pooling_factor": 200.0}),)
    rows = short.operators[1].model_copy(update={"tables": tables})
    long = short.model_copy(update={"operators": (short.operators[0], rows, *short.operators[2:])})
    with pytest.raises(ExtrapolationError, match=r"rows .* has measured nothing like it"):
        latency_table(long, find_device(f"{PROFILE}@pytorch", long), (64,))


@pytest.mark.parametrize(("stack", "is_offered"), [("eager", True), ("pytorch", False)])
def test_explain_offers_shorter_tables_where_they_were_measured(
    tmp_path: Path, stack: str, is_offered: bool
) -> None:
    loaded = load_scenario(
        {
            "model": str(written(tmp_path, model("fp32"))),
            "node": {"cpu": PROFILE, "stack": stack, "cores": 2},
            "traffic": {
                "arrivals": {"process": "poisson", "rate_qps": 100},
                "query_sizes": {"distribution": "deeprecsys-production"},
            },
            "policy": {"name": "split", "batch_size": 128},
            "sla": {"percentile": 0.95, "latency_ms": 50},
        }
    )
    names = [change.name for change in changes_of(loaded, prepare(loaded), mixed_stacks=False)]
    assert ("embedding tables of 2 bytes an element instead of 4" in names) is is_offered


def test_a_card_calibrated_in_bf16_knows_bf16() -> None:
    half = model("bf16", "bf16", element_bytes=2)
    assert latency_table(half, find_device("h200-bf16", half), (64,)).notes == ()
    (note,) = latency_table(model("fp32"), find_device("h200-bf16", model("fp32")), (64,)).notes
    assert "this answers for all of it in bf16" in note
