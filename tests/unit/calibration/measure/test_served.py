"""Modules beside a flat list of calls: the same results, and costs that are found again in made-up times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

import torch

import calibration
from calibration.measure.calibration import caches_of, costs_of_ways
from calibration.measure.profile import served_sections
from calibration.measure.records import read_records
from calibration.measure.sequences import sequence_of_seed
from calibration.measure.served import (
    FIRST_TABLE_BYTES,
    FLAT_ROUND,
    ROUNDS,
    ModuleCosts,
    ServedBench,
    module_costs,
    next_seed,
    rounds_of,
)
from calibration.measure.visits import Visit
from calibration.runtime.memory import random_weights
from calibration.runtime.modules import SERVED
from calibration.runtime.programme import CPU, programme_with
from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import served_seconds, table_part
from perfmodel.costmodel.residency import far_entries
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.domain.hardware import LAYER_TERMS, MODULE_TERMS, ModuleLaw
from perfmodel.loading.shipped import find_file
from perfmodel.planning.prepare import find_model

PROFILE = "amd-epyc-turin-2c-modules"
MEASURED = Path(calibration.__file__).parent / "raw" / f"{PROFILE}-tables.measured.csv"
EAGER, BF16, INT8, TABLES = (
    next(number for number, way in ROUNDS.items() if way == name)
    for name in ("eager", "eager-bf16", "eager-int8", "eager-int8-tables")
)
COSTS = (4e-6, 3e-6, 8e-6, 9e-6, 2e-5, 1e-6, 1.5e-9, 5e-9, 1e-10, 4e-8, 3e-5, 2e-6, 3e-8, 1e-8, 0.0)
L2_BYTES = 2.0**20
LAW = dict(zip(MODULE_TERMS, COSTS, strict=True))
IN_FP32 = ModuleLaw(costs=LAW)
LAYERS = dict(zip(LAYER_TERMS, (2e-5, 2e-8, 2e-10, 2e-10, 5e-11, 4e-12, 5e-6, 4e-10), strict=True))
SEEDS = range(510_000, 510_090)


@pytest.mark.parametrize("model", ["dlrm-rmc1", "din", "dien", "ncf"])
@pytest.mark.parametrize("way", SERVED)
def test_modules_give_the_results_of_the_flat_list(model: str, way: str) -> None:
    small = find_model(model)
    tables = [
        op.model_copy(
            update={"tables": tuple(table.model_copy(update={"num_rows": 50}) for table in op.tables)}
        )
        if op.kind == "embedding_bag"
        else op
        for op in small.operators
    ]
    small = small.model_copy(update={"operators": tuple(tables)})
    served = SERVED[way]
    flat = programme_with(small, random_weights(1, CPU))
    modules = programme_with(
        small,
        random_weights(1, CPU, served.dtype),
        dtype=served.dtype,
        library=served.library,
        mode=served.mode,
    )
    given, own = (each.inputs(3, np.random.default_rng(0)) for each in (flat, modules))
    # Numbers of 8 significant bits, and of 8 in all, a few of them summed up.
    close = {"fp32": 1e-6, "bf16": 0.05, "int8": 0.05}[served.precision]
    if served.tables != "fp32":
        close = 0.05
    assert torch.allclose(flat.run(given), modules.run(own).float(), atol=close)


def costs_of(visits: list[tuple[int, Visit]], *, mapped_kib_s: float = 0.0) -> dict[str, ModuleCosts]:
    return module_costs(
        visits, most_table_bytes=FIRST_TABLE_BYTES, l2_bytes=L2_BYTES, mapped_kib_s=mapped_kib_s
    )


def flat_seconds(kernel: Kernel) -> float:
    """Made up: of its bytes an item, so that times differ."""
    return 0.0 if kernel.family == "input" else 2e-5 + 1e-9 * kernel.activation_bytes_per_item


def made_up(
    seeds: range,
    rng: np.random.Generator,
    *,
    noise: float,
    law: ModuleLaw = IN_FP32,
    way: int = EAGER,
    batch_sizes: tuple[int, ...] = (1, 40),
) -> list[tuple[int, Visit]]:
    visits = []
    for seed in seeds:
        kernels = lower(sequence_of_seed(seed, most_table_bytes=FIRST_TABLE_BYTES))
        for batch_size in batch_sizes:
            part = table_part(law.precision, law.tables)
            far = far_entries(kernels, np.array(float(batch_size)), L2_BYTES, part=part)
            flat = np.array([flat_seconds(each) for each in kernels])
            times = [
                float(served_seconds(each, np.array(before), law, np.array(batch_size), far))
                for each, before in zip(kernels, flat, strict=True)
            ]
            served = np.where(flat > 0.0, times, 0.0) * np.exp(noise * rng.standard_normal(len(flat)))
            spread = np.zeros(len(flat))
            for number, seconds in ((FLAT_ROUND, flat), (way, served)):
                visits.append(
                    (number, Visit(seed=seed, batch_size=batch_size, seconds=seconds, spread=spread))
                )
    return visits


@pytest.mark.thorough
def test_costs_are_found_again() -> None:
    costs = costs_of(made_up(SEEDS, np.random.default_rng(1), noise=0.0))
    assert list(costs) == ["eager"]
    for term, cost in LAW.items():
        if term not in (
            "row_line",
            "pooled_bag",
            "far_bag",
            "far_row",
        ):  # rows, bags and fresh bytes grow together
            assert costs["eager"].law.costs[term] == pytest.approx(cost, rel=0.1), term
    assert costs["eager"].law.layers == costs["eager"].law.factors == {}
    assert costs["eager"].relative_error < 0.02
    assert costs["eager"].passes == 2 * len(SEEDS)
    assert costs["eager"].ratio > 1.0


@pytest.mark.thorough
def test_layers_in_int8_have_a_law_of_their_own_and_leave_other_calls_as_they_are() -> None:
    law = ModuleLaw(costs=LAW, precision="int8", layers=LAYERS)
    costs = costs_of(made_up(SEEDS, np.random.default_rng(5), noise=0.0, law=law, way=INT8))["eager-int8"]
    assert costs.law.precision == "int8"
    assert costs.law.factors == {}
    for term in ("call", "row", "input", "weight", "multiply_add"):
        assert costs.law.layers[term] == pytest.approx(LAYERS[term], rel=0.1), term
    assert costs.law.costs["activation_call"] == pytest.approx(LAW["activation_call"], rel=0.1)
    assert costs.relative_error < 0.02


@pytest.mark.thorough
def test_in_bf16_other_calls_take_a_share_of_what_they_take_in_fp32() -> None:
    factors = {"activation": 0.6, "bag": 0.9, "lookup": 0.7, "concat": 0.5}
    law = ModuleLaw(costs=LAW, precision="bf16", layers=LAYERS, factors=factors)
    costs = costs_of(made_up(SEEDS, np.random.default_rng(6), noise=0.0, law=law, way=BF16))["eager-bf16"]
    assert costs.relative_error < 0.03
    assert costs.law.layers["small_call"] == pytest.approx(LAYERS["small_call"], rel=0.3)
    assert costs.law.layers["multiply_add"] == pytest.approx(LAYERS["multiply_add"], rel=0.1)
    assert {"activation", "bag", "lookup", "concat", "recurrent"} <= set(costs.law.factors)


@pytest.mark.thorough
def test_tables_in_int8_have_lookups_of_their_own_and_leave_other_calls_as_they_are() -> None:
    factors = {"bag": 0.7, "lookup": 0.6}
    law = ModuleLaw(costs=LAW, tables="int8", factors=factors)
    costs = costs_of(made_up(SEEDS, np.random.default_rng(7), noise=0.0, law=law, way=TABLES))
    found = costs["eager-int8-tables"]
    assert (found.law.tables, found.law.precision, found.law.layers) == ("int8", "fp32", {})
    assert found.law.factors == pytest.approx(factors, rel=0.15)
    assert found.law.costs["fc_call"] == pytest.approx(LAW["fc_call"], rel=0.1)
    assert found.relative_error == found.law.relative_error < 0.03


@pytest.mark.thorough
def test_the_shipped_profile_has_of_tables_what_its_measurements_say() -> None:
    shipped = yaml.safe_load(find_file("profile", PROFILE).read_text(encoding="utf-8"))
    taken = Fingerprint.model_validate_json(json.dumps(shipped["fingerprint"]))
    records = read_records(MEASURED)
    found = served_sections(
        costs_of_ways(records, caches_of(taken, records.facts)), f"measured: {MEASURED.name}"
    )
    assert set(found) == {"eager-fp16-tables", "eager-int8-tables"}
    for way, section in found.items():
        own = shipped["stacks"]["pytorch"]["served"][way]
        for key in ("law_ns", "factors"):
            assert section[key] == pytest.approx(own[key], rel=1e-3, abs=1e-3), (way, key)
        assert section["relative_error"]["value"] == pytest.approx(own["relative_error"]["value"], rel=1e-3)
        assert (section["tables"], section["passes"], section["source"]) == (
            own["tables"],
            own["passes"],
            own["source"],
        )


def test_a_few_disturbed_calls_do_not_move_them() -> None:
    visits = made_up(SEEDS, np.random.default_rng(2), noise=0.02)
    disturbed = next(visit for number, visit in visits if number == EAGER and visit.batch_size == 1)
    disturbed.seconds[-1] += 5e-3
    costs = costs_of(visits)["eager"]
    for term in ("fc_call", "activation_call", "bag_call"):
        assert costs.law.costs[term] == pytest.approx(LAW[term], rel=0.25), term


def test_passes_beside_which_the_machine_was_disturbed_do_not_count() -> None:
    visits = made_up(SEEDS, np.random.default_rng(4), noise=0.0)
    probed = [
        (number, replace(visit, seconds=visit.seconds * (6.0 if odd else 1.0), probe_s=2e-6 if odd else 1e-6))
        for index, (number, visit) in enumerate(visits)
        for odd in [index % 40 == 1]
    ]
    costs = costs_of(probed)["eager"]
    assert costs.passes == sum(number == EAGER for number, _ in visits) - 9
    assert costs.relative_error < 0.02


def test_memory_that_is_mapped_anew_is_taken_off_before_the_rest_is_fitted() -> None:
    """Of a pass with a result of 40 MiB, each KiB of which costs 400 ns more."""
    mapped = ModuleLaw(costs=LAW | {"mapped_kib": 4e-7})
    visits = made_up(SEEDS[:20], np.random.default_rng(8), noise=0.0, law=mapped, batch_sizes=(1, 20_000))
    found = costs_of(visits, mapped_kib_s=4e-7)["eager"]
    assert found.law.costs["mapped_kib"] == 4e-7
    assert found.relative_error < 0.02 < costs_of(visits)["eager"].relative_error


@pytest.mark.slow
def test_a_plain_process_waits_for_pages_that_it_is_given_anew() -> None:
    with ServedBench(FIRST_TABLE_BYTES / 10) as bench:
        assert 10e-9 < bench.mapped_kib_s() < 10e-6


def test_too_few_passes_give_no_costs() -> None:
    assert costs_of(made_up(SEEDS[:4], np.random.default_rng(3), noise=0.0)) == {}


def test_sequences_follow_each_other_and_are_not_those_of_the_list() -> None:
    assert next_seed(()) == 510_000
    assert next_seed({500_000, 500_003}) == 500_004  # measurements from before go on as they began


def test_every_way_has_its_turn_and_the_usual_one_always() -> None:
    turns = [rounds_of(seed) for seed in range(next_seed(()), next_seed(()) + len(ROUNDS) - 1)]
    assert all(turn[:2] == (FLAT_ROUND, EAGER) and len(turn) == 5 for turn in turns)
    narrow = [[SERVED[ROUNDS[number]].narrow for number in turn[2:]] for turn in turns]
    assert all(each == ["", "layers", "tables"] for each in narrow)
    assert {number for turn in turns for number in turn} == {FLAT_ROUND, *ROUNDS}


@pytest.mark.slow
def test_two_processes_run_a_sequence_in_every_way() -> None:
    first = next_seed(())
    with ServedBench(FIRST_TABLE_BYTES) as bench:
        visits = [visit for seed in range(first, first + len(ROUNDS) - 1) for visit in bench.visits(seed)]
    assert {number for number, _ in visits} == {FLAT_ROUND, *ROUNDS}
    by_round = {
        number: sorted(v.batch_size for n, v in visits if n == number) for number in (FLAT_ROUND, EAGER)
    }
    assert by_round[FLAT_ROUND] == by_round[EAGER]
