"""What modules cost beside a flat list of calls: amounts by hand, and the stack that charges them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perfmodel.costmodel import service_time
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import KEPT_BYTES, module_amounts, module_seconds
from perfmodel.costmodel.service_time import batch_time
from perfmodel.costmodel.timing import KernelTime
from perfmodel.domain.hardware import MODULE_TERMS
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.profile_fingerprint import fitted_values
from perfmodel.loading.shipped import find_profile
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.planning.time_errors import device_error
from perfmodel.planning.time_words import tuning_advice

NOTHING = dict.fromkeys(MODULE_TERMS, 0.0)
OWN = RecModel.model_validate(
    {
        "name": "own",
        "dense_features": 8,
        "operators": (
            {"name": "bottom", "kind": "mlp", "input": "dense", "widths": (8, 16), "activation": "relu"},
            {
                "name": "lookups",
                "kind": "embedding_bag",
                "tables": ({"num_rows": 100, "dim": 24, "count": 3, "pooling_factor": 5},),
            },
            {"name": "joined", "kind": "concat", "inputs": ("bottom", "lookups")},
        ),
    }
)


def amounts(operator: str, family: str, batch_size: float) -> dict[str, float]:
    (kernel,) = (each for each in lower(OWN) if each.operator == operator and each.family == family)
    return {term: float(value) for term, value in module_amounts(kernel, np.array(batch_size)).items()}


def test_each_call_of_a_layer_counts_once() -> None:
    assert amounts("bottom", "fc", 4.0) == {"fc_call": 1.0, "fresh_kib": 0.0}


def test_what_malloc_cannot_keep_is_mapped_anew() -> None:
    items = 2**25 / (4 * 16)  # 32 MiB, of 16 outputs each
    assert "mapped_kib" not in amounts("bottom", "fc", items)
    assert amounts("bottom", "fc", items + 1)["mapped_kib"] == (items + 1) * 16 * 4 / 1024


def test_work_of_the_query_is_that_of_one_item_whatever_the_batch() -> None:
    (lookups,) = (each for each in lower(OWN) if each.family == "embedding_bag")
    of_query = module_amounts(replace(lookups, scope="query"), np.array(64.0))
    for term, amount in module_amounts(lookups, np.array(1.0)).items():
        assert float(of_query[term]) == float(amount), term


def test_layers_side_by_side_are_one_call_of_a_module() -> None:
    (layer, *_) = (each for each in lower(OWN) if each.family == "fc")
    together = replace(layer, calls=8, variant="grouped")
    assert float(module_amounts(together, np.array(4.0))["fc_call"]) == 1.0
    assert float(module_amounts(replace(layer, calls=8), np.array(4.0))["fc_call"]) == 8.0


def test_an_activation_has_a_result_of_its_own_at_any_size() -> None:
    (relu,) = (each for each in lower(OWN) if each.family == "activation")
    found = module_amounts(relu, np.array(4.0))
    assert float(found["fresh_kib"]) == 4 * 16 * 4 / 1024


def test_lookups_count_their_indices_bags_and_lines() -> None:
    """3 tables, 4 items of 5 rows each; 24 elements of 4 bytes are 96 bytes, two lines."""
    assert amounts("lookups", "embedding_bag", 4.0) == {
        "bag_call": 3.0,
        "pooled_index": 60.0,
        "pooled_bag": 12.0,
        "row_line": 120.0,
        "far_bag": 0.0,
        "fresh_kib": 0.0,
    }


def test_large_results_are_fresh_and_small_ones_are_kept() -> None:
    items = KEPT_BYTES / (16 * 4)
    assert amounts("bottom", "fc", items)["fresh_kib"] == 0.0
    assert amounts("bottom", "fc", items + 1)["fresh_kib"] == (items + 1) * 16 * 4 / 1024


def test_seconds_are_amounts_times_costs() -> None:
    (lookups,) = (each for each in lower(OWN) if each.family == "embedding_bag")
    law = NOTHING | {"bag_call": 1e-6, "pooled_index": 1e-9}
    assert float(module_seconds(lookups, law, np.array(4.0))) == pytest.approx(3e-6 + 60e-9)


def served_profile(tmp_path: Path) -> str:
    """The shipped calibrated profile with two ways to serve a module, of round costs."""
    path = find_profile("amd-epyc-turin-2c").path
    profile = read_profile(path)
    text = path.read_text(encoding="utf-8")
    law = ", ".join(f"{term}: 0.0" for term in MODULE_TERMS if term != "fc_call")
    ways = "".join(
        f"""
      {way}:
        describes: {way} words
        law_ns: {{fc_call: {cost}, {law}}}
        relative_error: {{value: 0.1, source: 'measured: here'}}
        passes: 50
        source: 'measured: here'"""
        for way, cost in (("eager", 2000.0), ("eager-tuned", 500.0))
    )
    assert profile.default_stack == "pytorch"
    file = tmp_path / "served.yaml"
    text = text.rstrip("\n") + f"\n    served:{ways}\n"
    file.write_text(text, encoding="utf-8")
    with_ways = read_profile(file)
    fitted = fitted_values(with_ways.hardware, with_ways.stacks["pytorch"])  # as if fitted with them
    file.write_text(re.sub(r"fitted_values: .*", f"fitted_values: {fitted}", text), encoding="utf-8")
    return str(file)


@pytest.mark.thorough
def test_a_users_model_runs_as_modules_and_a_shipped_one_as_it_was_measured(tmp_path: Path) -> None:
    profile = served_profile(tmp_path)
    rmc3 = find_model("dlrm-rmc3")
    assert find_device(profile, rmc3).stack == "pytorch"
    assert find_device(profile, OWN).stack == "eager"
    assert find_device(f"{profile}@pytorch", OWN).stack == "pytorch"
    assert find_device(f"{profile}@eager-tuned", rmc3).stack == "eager-tuned"
    with pytest.raises(InputError, match="no stack 'lazy'; it has pytorch, eager, eager-tuned"):
        find_device(f"{profile}@lazy", OWN)


@pytest.mark.thorough
def test_a_stack_of_modules_adds_its_calls_and_its_error(tmp_path: Path) -> None:
    profile, batch = served_profile(tmp_path), np.array([4.0])
    flat, eager = find_device(f"{profile}@pytorch", OWN), find_device(profile, OWN)
    more_s = batch_time(OWN, eager, batch).seconds - batch_time(OWN, flat, batch).seconds
    assert more_s == pytest.approx([2e-6], rel=1e-3)  # one layer
    assert eager.errors.whole == pytest.approx(np.hypot(flat.errors.whole, 0.1))
    share = np.ones(1)
    errors = [device_error(device, "own", batch_time(OWN, device, batch), share) for device in (flat, eager)]
    assert errors[1] == pytest.approx(eager.errors.whole)
    assert errors[0] < errors[1]


@pytest.mark.thorough
def test_the_answer_says_what_tuning_the_process_would_gain(tmp_path: Path) -> None:
    eager = find_device(served_profile(tmp_path), OWN)
    time = batch_time(OWN, eager, np.array([4.0]))
    gain = 100.0 * 1.5e-6 / float(time.seconds[0])
    said = tuning_advice(time, eager, np.ones(1))
    assert said is not None
    assert f"{gain:.0f} % off a request's time" in said
    assert "node.stack=eager-tuned" in said


def test_modules_that_nobody_measured_are_in_the_error() -> None:
    """Shipped profiles from before modules were measured: a user's model keeps its time, and says so."""
    named = find_device("amd-epyc-turin-2c@pytorch", OWN)
    silent = find_device("amd-epyc-turin-2c", OWN)
    batch = np.array([4.0])
    assert batch_time(OWN, silent, batch).seconds == batch_time(OWN, named, batch).seconds
    assert silent.errors.whole == pytest.approx(np.hypot(named.errors.whole, 0.23))
    assert "was not measured" in silent.describes
    assert "was not measured" not in named.describes
    assert find_device("amd-epyc-turin-2c", find_model("dlrm-rmc3")).modules is None


@pytest.mark.parametrize("profile", ["amd-epyc-turin-2c", "amd-epyc-turin-2c-modules"])
def test_parts_of_many_tables_are_scaled_together_and_as_one_by_one(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = tuple({"num_rows": 1000 + 3 * index, "dim": 32, "pooling_factor": 5} for index in range(60))
    operators = ({"name": "lookups", "kind": "embedding_bag", "tables": tables},)
    model = RecModel.model_validate({"name": "tables", "dense_features": 0, "operators": operators})
    device, scaled, calls = find_device(profile, model), KernelTime.scaled, [0]

    def counted(time: KernelTime, factor: np.ndarray) -> KernelTime:
        calls[0] += 1
        return scaled(time, factor)

    monkeypatch.setattr(KernelTime, "scaled", counted)
    together = batch_time(model, device, np.array([1.0, 64.0])).kernels
    assert calls[0] <= 6  # lookups and inputs by the formula, by the surfaces, as modules; 120 kernels each
    monkeypatch.setattr(service_time, "_KERNELS_AT_ONCE", 1)
    by_one = batch_time(model, device, np.array([1.0, 64.0])).kernels
    assert calls[0] > 120
    for one, other in zip(together, by_one, strict=True):
        assert (one.kernel, one.basis) == (other.kernel, other.basis)
        assert one.seconds.tolist() == other.seconds.tolist()
        for part in ("overhead_s", "lookup_s", "input_s", "memory_s"):
            assert getattr(one.parts, part).tolist() == getattr(other.parts, part).tolist()
