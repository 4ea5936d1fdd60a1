"""Modules written like published ones become model files: shapes by hand, FLOP as torch counts them."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from calibration.documents import ImportDocument
from calibration.importing.factory import load_example
from calibration.importing.importer import Imported, import_example
from perfmodel.cli.main import main
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.model_file import model_text
from perfmodel.loading.validated import parse_file, validate
from perfmodel.loading.yaml_source import parse_yaml

MODULES = Path(__file__).with_name("modules.py")
COMPLETE = (
    *("dlrm", "dcn", "dcn_full", "cross_v1", "din", "gru", "factorization_machine", "sequential"),
    *("transformer", "transformer_length_first", "explicit_attention", "shared_attention"),
)


@functools.cache
def imported(factory: str) -> Imported:
    return import_example(load_example(f"{MODULES}:{factory}"), factory.replace("_", "-"))


def operators(factory: str) -> dict[str, dict[str, Any]]:
    model = imported(factory).model
    return {op.name: op.model_dump(exclude_defaults=True, exclude={"name"}) for op in model.operators}


@pytest.mark.thorough_cases("dlrm", "dcn", "transformer_length_first", "transformer")
@pytest.mark.parametrize("factory", COMPLETE)
def test_products_are_those_that_torch_counts(factory: str) -> None:
    result = imported(factory)
    assert result.counted_flop_per_item > 0
    assert result.product_flop_per_item == pytest.approx(result.counted_flop_per_item, rel=1e-9)
    assert result.unrecognised == ()
    assert result.method == "a recorded pass"


@pytest.mark.thorough_cases("dlrm")
@pytest.mark.parametrize("factory", [*COMPLETE, "convolution"])
def test_the_file_reads_back_as_the_same_model(factory: str) -> None:
    model = imported(factory).model
    assert validate(parse_yaml(model_text(model), Path("imported.yaml")), RecModel) == model
    assert lower(model)


def test_dlrm_becomes_mlps_bags_and_an_interaction() -> None:
    found = operators("dlrm")
    assert list(found) == ["bottom", "tables", "bmm", "cat_1", "top"]
    assert found["bottom"] == {"kind": "mlp", "input": "dense", "widths": (13, 16, 8)}
    assert [table.get("pooling_factor", 1) for table in found["tables"]["tables"]] == [1, 4, 2]
    assert found["bmm"] == {"kind": "dot_interaction", "inputs": ("bottom", "tables")}
    assert found["top"] == {
        "kind": "mlp",
        "input": "cat_1",
        "widths": (14, 16, 1),
        "final_activation": "sigmoid",
    }


@pytest.mark.parametrize(("factory", "rank"), [("dcn", {"rank": 4}), ("dcn_full", {})])
def test_cross_layers_become_one_operator(factory: str, rank: dict[str, int]) -> None:
    assert operators(factory)["cross"] == {"kind": "cross", "input": "cat", "num_layers": 3, **rank}


@pytest.mark.parametrize("factory", ["transformer", "transformer_length_first"])
def test_encoder_layers_become_attention_and_mlps(factory: str) -> None:
    found = operators(factory)
    attention = found["encoder.layers.0.self_attn"]
    assert (attention["kind"], attention["num_heads"], attention["head_dim"]) == ("attention", 4, 4)
    assert found["encoder.layers.0"]["widths"] == (16, 32, 16)
    assert found["encoder.layers.0"]["activation"] == "gelu"
    assert found["encoder.layers.1.norm2"]["kind"] == "layer_norm"


def test_attention_by_hand_keeps_its_scale_and_mask() -> None:
    kinds = [operator["kind"] for operator in operators("explicit_attention").values()]
    assert kinds.count("batch_matmul") == 2
    assert kinds.count("softmax") == 1
    assert kinds.count("elementwise") == 3, "division, mask, and the copy that joins the heads"
    assert operators("shared_attention")["out"]["kind"] == "attention"


def test_a_recurrent_layer_and_its_last_state() -> None:
    found = operators("gru")
    assert found["gru"] == {"kind": "gru", "input": "items", "hidden_size": 6}
    assert found["items"]["tables"][0]["pooling_factor"] == 9


def test_a_convolution_over_a_sequence_is_one_over_its_windows() -> None:
    # 3 channels x 3 places to 5 channels, at 2 places: 2 x 2 x 9 x 5 = 180 FLOP.
    assert operators("convolution")["convolution"] == {
        "kind": "conv1d",
        "input": "before.view",
        "channels": 5,
        "kernel_size": 3,
    }
    assert imported("convolution").product_flop_per_item == 440


@pytest.mark.thorough
def test_the_command_writes_a_file_that_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["import", f"{MODULES}:dlrm", "--out", str(out), "--name", "mine", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    TypeAdapter(ImportDocument).validate_python(answer)
    assert answer["schema"]["name"] == "import"
    assert answer["name"] == parse_file(out, RecModel).name == "mine"
    assert answer["product_flop_per_item"] == answer["counted_flop_per_item"] == 1408
    assert answer["unmodelled"] == {"flop_share": 0, "bytes_share": 0, "calls": []}
    assert main(["latency", "--model", str(out), "--on", "broadwell", "--batch", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["latency_ms"] > 0


def test_what_no_operator_stands_for_is_an_error_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", f"{MODULES}:spectral", "--out", str(tmp_path / "s.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    number = next(
        number
        for number, text in enumerate(MODULES.read_text(encoding="utf-8").splitlines(), 1)
        if "torch.fft.irfft" in text
    )
    assert f"modules.py:{number}: no operator of a model file stands for fft_irfft x 1, fft_rfft x 1" in line
    assert "--allow-unmodelled" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_what_is_left_out_with_leave_is_said_by_the_file_and_every_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.yaml"
    command = ["import", f"{MODULES}:spectral", "--out", str(out), "--json", "--allow-unmodelled"]
    assert main([*command, "0.05"]) == 2
    assert main([*command, "0.9"]) == 0
    answer = json.loads(capsys.readouterr().out)
    left_out = answer["unmodelled"]
    # rfft gives 7 complex numbers, irfft 12: 19 of them beside products of 2 x 10 x 12 and 2 x 12.
    assert left_out["flop_share"] == pytest.approx(19 / (264 + 19))
    assert [call["call"] for call in left_out["calls"]] == ["fft_irfft", "fft_rfft"]
    model = parse_file(out, RecModel)
    assert model.unmodelled is not None
    assert model.unmodelled.flop_share == pytest.approx(left_out["flop_share"], abs=1e-6)
    assert main(["latency", "--model", str(out), "--on", "broadwell", "--batch", "8"]) == 0
    assert "leaves out 6.7 % of its FLOP" in " ".join(capsys.readouterr().out.split())


def test_the_page_shows_what_became_of_the_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", f"{MODULES}:convolution", "--out", str(tmp_path / "c.yaml")]) == 0
    page = capsys.readouterr().out
    assert "unmodelled operators: none" in page
    assert "conv1d" in page
    assert "440 FLOP an item in the model, 440 as torch counts the module" in page


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere_at_all:model", "no module named 'nowhere_at_all'"),
        ("nowhere.py:model", "no Python file nowhere.py"),
        ("just_a_name", "expected MODULE:FACTORY"),
        (f"{MODULES}:missing", "has no 'missing'"),
        (f"{MODULES}:failing", "the factory failed: RuntimeError: the checkpoint is missing"),
        (f"{MODULES}:wrong_inputs", "the module fails on its example inputs: RuntimeError"),
        (f"{MODULES}:not_a_module", "expected a torch.nn.Module or (module, example inputs), got int"),
        (f"{MODULES}:without_inputs", "the module came without example inputs"),
        (f"{MODULES}:branching", "its control flow depends on the values of tensors"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    target: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", target, "--out", str(tmp_path / "x.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_batch_size_that_no_input_has_is_refused() -> None:
    with pytest.raises(InputError, match="has a dimension of 5, its batch size"):
        load_example(f"{MODULES}:dlrm", batch_size=5)


def test_a_file_imports_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "layers_beside_it.py").write_text("from torch import nn\nlayer = nn.Linear(4, 1)\n")
    (tmp_path / "model_of_two_files.py").write_text(
        "import torch\nfrom layers_beside_it import layer\n"
        "def made():\n    return layer, (torch.rand(3, 4),)\n"
    )
    assert load_example(f"{tmp_path / 'model_of_two_files.py'}:made").batch_size == 3
