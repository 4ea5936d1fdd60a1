"""Modules beside a flat list of calls: the same results, and costs that are found again in made-up times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from calibration.measure.sequences import random_sequence
from calibration.measure.served import (
    FLAT_ROUND,
    ROUNDS,
    TABLE_BYTES,
    ServedBench,
    module_costs,
    next_seed,
    rounds_of,
)
from calibration.measure.visits import Visit
from calibration.runtime.memory import random_weights
from calibration.runtime.modules import SERVED
from calibration.runtime.programme import CPU, programme_with
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import module_seconds
from perfmodel.domain.hardware import MODULE_TERMS
from perfmodel.planning.prepare import find_model

EAGER = next(number for number, way in ROUNDS.items() if way == "eager")
LAW = dict(zip(MODULE_TERMS, (4e-6, 3e-6, 8e-6, 9e-6, 2e-5, 1e-6, 1.5e-9, 5e-9, 1e-10, 4e-8), strict=True))


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
    modules = programme_with(small, random_weights(1, CPU), library=served.library, mode=served.mode)
    inputs = flat.inputs(3, np.random.default_rng(0))
    assert torch.allclose(flat.run(inputs), modules.run(inputs), atol=1e-6)


def made_up(seeds: range, rng: np.random.Generator, *, noise: float) -> list[tuple[int, Visit]]:
    visits = []
    for seed in seeds:
        kernels = lower(random_sequence(np.random.default_rng(seed), most_table_bytes=TABLE_BYTES))
        for batch_size in (1, 40):
            flat = np.array([0.0 if each.family == "input" else 2e-5 for each in kernels])
            more = np.array([float(module_seconds(each, LAW, np.array(batch_size))) for each in kernels])
            served = np.where(flat > 0.0, flat + more, 0.0) * np.exp(noise * rng.standard_normal(len(flat)))
            spread = np.zeros(len(flat))
            for number, seconds in ((FLAT_ROUND, flat), (EAGER, served)):
                visits.append(
                    (number, Visit(seed=seed, batch_size=batch_size, seconds=seconds, spread=spread))
                )
    return visits


@pytest.mark.thorough
def test_costs_are_found_again() -> None:
    costs = module_costs(made_up(range(60), np.random.default_rng(1), noise=0.0))
    assert list(costs) == ["eager"]
    for term, cost in LAW.items():
        if term not in ("row_line", "pooled_bag"):  # rows, bags and fresh bytes grow together
            assert costs["eager"].law[term] == pytest.approx(cost, rel=0.1), term
    assert costs["eager"].relative_error < 0.02
    assert costs["eager"].passes == 120
    assert costs["eager"].ratio > 1.0


def test_a_few_disturbed_calls_do_not_move_them() -> None:
    visits = made_up(range(60), np.random.default_rng(2), noise=0.02)
    disturbed = next(visit for number, visit in visits if number == EAGER and visit.batch_size == 1)
    disturbed.seconds[-1] += 5e-3
    costs = module_costs(visits)["eager"]
    for term in ("fc_call", "activation_call", "bag_call"):
        assert costs.law[term] == pytest.approx(LAW[term], rel=0.25), term


def test_passes_beside_which_the_machine_was_disturbed_do_not_count() -> None:
    visits = made_up(range(60), np.random.default_rng(4), noise=0.0)
    probed = [
        (number, replace(visit, seconds=visit.seconds * (6.0 if odd else 1.0), probe_s=2e-6 if odd else 1e-6))
        for index, (number, visit) in enumerate(visits)
        for odd in [index % 40 == 1]
    ]
    costs = module_costs(probed)["eager"]
    assert costs.passes == sum(number == EAGER for number, _ in visits) - 6
    assert costs.relative_error < 0.02


def test_too_few_passes_give_no_costs() -> None:
    assert module_costs(made_up(range(4), np.random.default_rng(3), noise=0.0)) == {}


def test_sequences_follow_each_other_and_are_not_those_of_the_list() -> None:
    assert next_seed(()) == 500_000
    assert next_seed({500_000, 500_003}) == 500_004


def test_every_way_has_its_turn_and_the_usual_one_always() -> None:
    turns = [rounds_of(seed) for seed in range(next_seed(()), next_seed(()) + len(ROUNDS) - 1)]
    assert all(turn[:2] == (FLAT_ROUND, EAGER) and len(turn) == 3 for turn in turns)
    assert {number for turn in turns for number in turn} == {FLAT_ROUND, *ROUNDS}


@pytest.mark.slow
def test_two_processes_run_a_sequence_in_every_way() -> None:
    first = next_seed(())
    with ServedBench() as bench:
        visits = [visit for seed in range(first, first + len(ROUNDS) - 1) for visit in bench.visits(seed)]
    assert {number for number, _ in visits} == {FLAT_ROUND, *ROUNDS}
    by_round = {
        number: sorted(v.batch_size for n, v in visits if n == number) for number in (FLAT_ROUND, EAGER)
    }
    assert by_round[FLAT_ROUND] == by_round[EAGER]
