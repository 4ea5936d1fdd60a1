"""How far off service times may be: of what runs, where it runs, and nothing of what idles."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from math import exp, hypot, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.issue import BESIDE_CORES, BESIDE_CORES_SPREAD
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.service_time import BatchTime, batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Interference, ModelAnchor
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.predict.computation import predict
from perfmodel.planning.prepare import find_device, find_model, prepare
from perfmodel.planning.question import Question
from perfmodel.planning.sensitivity import ANCHORED_SPREAD, Errors
from perfmodel.planning.time_errors import (
    EDITED_SPREAD,
    device_error,
    loaded_spread,
    paired_spread,
)
from perfmodel.report.documents.predict import predict_document
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.units import MS

REPORTS = Path(__file__).parents[3] / "docs" / "reports"


def question(name: str, *overrides: str) -> Question:
    return prepare(load_scenario(name, overrides))


def errors(asked: Question) -> Errors:
    return asked.times.errors


def error_of(model: str, on: str) -> float:
    what = find_model(model)
    device = find_device(on, what)
    return device_error(device, model, batch_time(what, device, np.array([64.0])), np.ones(1))


def test_an_idle_card_has_no_error_and_moves_none() -> None:
    with_card = question("rm1_broadwell_gtx1080ti")
    largest = with_card.traffic.size_pmf.max_items
    idle = replace(with_card, policy=SplitAndOffload(batch_size=128, offload_threshold_items=largest + 1))
    assert errors(idle).accelerator is None
    same_stack = question("rm1_broadwell", "node.stack=deeprecsys-isca2020")
    assert errors(idle).cpu == pytest.approx(errors(same_stack).cpu)


def test_idle_cores_have_no_error() -> None:
    found = errors(question("rm1_broadwell_gtx1080ti", "policy.offload_threshold_items=1"))
    assert found.cpu == 0.0
    assert found.accelerator is not None
    assert found.accelerator > 0.0


def test_a_model_that_the_figures_were_measured_with_has_the_error_of_its_own_cases() -> None:
    device = find_device("skylake@hpca2020", find_model("hpca-rmc1"))
    assert device.errors.of_fitted_models is not None
    assert device.errors.of_fitted_models < device.errors.whole
    assert error_of("hpca-rmc1", "skylake@hpca2020") == pytest.approx(device.errors.of_fitted_models)
    assert error_of("dlrm-rmc1", "skylake@hpca2020") == pytest.approx(device.errors.whole)


def test_kinds_of_calls_in_no_figure_of_the_stack_widen_the_error() -> None:
    # hpca-rmc1 has a dot interaction, DeepRecSys's models do not; dlrm-rmc2 is of the kinds in the figures
    stack = "skylake@deeprecsys-repository"
    known, unlike = error_of("dlrm-rmc2", stack), error_of("hpca-rmc1", stack)
    model = find_model("hpca-rmc1")
    device = find_device(stack, model)
    time = batch_time(model, device, np.array([64.0]))
    share = float((time.family_s("batch_matmul") + time.family_s("elementwise"))[0] / time.seconds[0])
    assert share > 0.01
    assert unlike == pytest.approx(hypot(known, share * log(2.0)))


@pytest.mark.thorough
def test_kinds_of_measured_calls_count_by_their_share_and_correlation() -> None:
    model = find_model("ncf")
    calibrated = find_device("amd-epyc-turin-2c", model)
    time = batch_time(model, calibrated, np.array([64.0]))
    parts: dict[str, float] = {}
    for timed in time.kernels:
        share = float(timed.seconds[0] / time.seconds[0])
        if timed.kernel.family != "input":
            kind = surface_key(timed.kernel)
            is_far = timed.basis is Basis.EXTRAPOLATED
            spread = log(2.0) if is_far else calibrated.surfaces[kind].relative_error
            parts[kind] = parts.get(kind, 0.0) + share * spread
    for correlation, expected in (
        (0.0, sqrt(sum(part**2 for part in parts.values()))),
        (1.0, sum(parts.values())),
    ):
        device = replace(calibrated, errors=replace(calibrated.errors, correlation=correlation))
        assert device_error(device, "ncf", time, np.ones(1)) == pytest.approx(expected)


def test_an_assumed_slow_down_of_paired_workers_counts_by_the_share_that_is_paired() -> None:
    model = find_model("wnd")
    silent, stated = find_device("amd-epyc-turin-2c", model), find_device("broadwell", model)
    assert silent.interference.hyper_thread_spread == pytest.approx(log(1.2))
    assert paired_spread(stated, 2 * stated.num_cores) == 0.0
    cpu = replace(silent, sockets=1, cores_per_socket=4)
    assert paired_spread(cpu, 4) == 0.0
    assert paired_spread(cpu, 8) == pytest.approx(log(1.2))  # all are paired: off as f is
    # Four of six are paired, p = 2/3, f = 1.3 for lookups: 1 / (1 - p + p / f), by a small change of f.
    p, f = 2.0 / 3.0, 1.3
    moved = log((1.0 - p + p / f) / (1.0 - p + p / (f * 1.0001))) / log(1.0001)
    assert paired_spread(cpu, 6) == pytest.approx(log(1.2) * moved, rel=1e-3)


def test_a_note_says_whose_the_slow_down_of_paired_workers_is_and_the_band_has_it_where_assumed() -> None:
    for cpu, words, spread in (
        ("skylake", "1.3 times for lookups, by its profile", 0.0),
        ("genoa-9654", "1.3 times for lookups, which is assumed, within a factor of 1.2", log(1.2)),
    ):
        cores = find_device(cpu, find_model("dlrm-rmc3")).num_cores
        here = ("node.cpu=" + cpu, "node.stack=null")
        few, many = (question("rm3_skylake", *here, f"node.cores={n}") for n in (cores, 2 * cores))
        assert [note for note in many.times.notes if "hyper-threads" in note and words in note]
        assert not [note for note in few.times.notes if "hyper-threads" in note]
        bare = replace(
            many.node.cpu, interference=replace(many.node.cpu.interference, hyper_thread_spread=0.0)
        )
        known = replace(many, node=replace(many.node, cpu=bare))
        assert errors(many).cpu == pytest.approx(hypot(errors(known).cpu, spread))


def test_the_loaded_level_counts_where_more_than_one_core_is_busy() -> None:
    cpu = find_device("broadwell", find_model("wnd"))
    slowed = replace(
        cpu, sockets=1, cores_per_socket=5, interference=Interference(node_factor=2.0, node_factor_spread=0.3)
    )
    assert loaded_spread(slowed, 1) == 0.0
    assert loaded_spread(slowed, 5) == pytest.approx(0.3)
    assert loaded_spread(slowed, 3) == pytest.approx(0.3 * 2.0 * 0.5 / 1.5)  # half of the others busy


def test_an_edited_profile_is_off_by_more() -> None:
    asked = question("rm1_skylake")
    edited = replace(asked, node=replace(asked.node, cpu=replace(asked.node.cpu, is_edited=True)))
    assert errors(edited).cpu == pytest.approx(hypot(errors(asked).cpu, EDITED_SPREAD))


def test_a_model_that_was_run_as_a_whole_has_the_error_of_such_models() -> None:
    asked = question("rm3_amd_epyc_turin_2c")
    anchor = ModelAnchor(batch_sizes=np.array([1.0]), factors=np.array([1.0]))
    anchored = replace(asked.node.cpu, anchors={"dlrm-rmc3": anchor})
    known = replace(asked, node=replace(asked.node, cpu=anchored))
    assert errors(known).cpu == pytest.approx(ANCHORED_SPREAD)
    assert errors(known).cpu < errors(asked).cpu


@pytest.mark.thorough
def test_a_question_asks_for_each_of_its_service_times_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(*given: Any, **options: Any) -> BatchTime:
        time = batch_time(*given, **options)
        sizes.append(time.batch_size.size)
        return time

    asked = question("rm3_skylake", "simulation.precision=0.1")
    monkeypatch.setattr("perfmodel.planning.node.batch_time", counted)
    prediction = predict(asked)
    assert asked.service_times_of in predict_document(prediction)["service_times_of"]
    table = 128 * asked.node.cores
    ends, of_the_mix, at_this_load = 2, 5, 1
    assert sizes == [ends, table, of_the_mix, at_this_load]


def test_a_card_is_as_far_off_as_its_host() -> None:
    """Kinds of calls are of the card's own time; what the host adds is in the error of the whole only."""
    model = find_model("ncf")
    card = find_device("h200", model)
    time = batch_time(model, card, np.array([64.0]))
    assert device_error(card, "ncf", time, np.ones(1)) == pytest.approx(card.errors.whole)
    assert card.errors.whole > 0.2


@pytest.mark.thorough
def test_what_busy_cores_do_to_a_cards_host_counts_in_its_error_and_is_said() -> None:
    beside = question("rm1_emerald_h200").times
    alone = question("rm1_emerald_h200", "policy.offload_threshold_items=1").times
    assert alone.errors.accelerator is not None
    assert beside.errors.accelerator == pytest.approx(hypot(alone.errors.accelerator, BESIDE_CORES_SPREAD))
    assert any("busy ones slow its host" in note for note in beside.notes)
    assert not any("busy ones slow its host" in note for note in alone.notes)
    fitted = question("rm1_broadwell_gtx1080ti").times  # a whole node's figures: nothing to add
    assert not any("busy ones slow" in note for note in fitted.notes)


RUNS = {
    "validate-h200-overloaded": "h200",
    "validate-h100-80gb-rmc1": "h100-80gb",
    "validate-h100-80gb-rmc1-capacity": "h100-80gb",
    "validate-h100-80gb-rmc3": "h100-80gb",
    "validate-h100-80gb-wnd": "h100-80gb",
    "validate-h100-80gb-second-machine-rmc1": "h100-80gb",
    "validate-h100-80gb-second-machine-rmc1-15-cores": "h100-80gb",
    "validate-h100-80gb-second-machine-rmc3": "h100-80gb",
    "validate-h100-80gb-second-machine-wnd": "h100-80gb",
    "validate-h100-80gb-third-machine-rmc3": "h100-80gb",
    "validate-h100-80gb-third-machine-wnd": "h100-80gb",
}
"""Runs of cores and a card side by side, and the profile of the card alone."""


def test_what_busy_cores_do_to_launches_is_what_runs_beside_them_took_over_the_profiles_times() -> None:
    by_model: dict[str, list[float]] = defaultdict(list)
    for name, profile in RUNS.items():
        report = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
        model, rows = find_model(report["model"]), report["accelerator_service_time_by_batch"]
        sizes = np.array([(row["from_items"] + row["to_items"]) / 2.0 for row in rows])
        alone_ms = batch_time(model, find_device(profile, model), sizes).seconds / MS
        requests, measured_ms = (np.array([row[key] for row in rows]) for key in ("requests", "measured_ms"))
        by_model[model.name].append(log(float(requests @ measured_ms / (requests @ alone_ms))))
    means = {name: float(np.mean(found)) for name, found in by_model.items()}
    assert exp(np.mean(list(means.values()))) == pytest.approx(BESIDE_CORES, abs=0.01)
    left_out = [
        one - np.mean([mean for other, mean in means.items() if other != name])
        for name, found in by_model.items()
        for one in found
    ]
    assert np.sqrt(np.mean(np.square(left_out))) == pytest.approx(BESIDE_CORES_SPREAD, abs=0.01)


def test_launches_take_longer_beside_cores_that_serve_and_no_longer_where_none_does() -> None:
    beside, alone = (
        question("rm1_emerald_h200", f"policy.offload_threshold_items={least}") for least in (256, 1)
    )
    ratio = beside.node.accelerator_times_s(beside.policy, 512) / alone.node.accelerator_times_s(
        alone.policy, 512
    )
    assert ratio == pytest.approx(BESIDE_CORES)
    broadwell = question("rm1_broadwell_gtx1080ti")  # fitted to figures of whole nodes: it is in there
    times_s = broadwell.node.accelerator_times_s(broadwell.policy, 64)
    time = broadwell.node.accelerator_time(64)
    assert time is not None
    assert times_s[-1] == pytest.approx(float(time.seconds[0]))


@pytest.mark.thorough
def test_a_host_level_that_was_edited_is_an_edit(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "hardware_profiles" / "h200.yaml"
    text = shipped.read_text(encoding="utf-8")
    (tmp_path / "h200.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "slow.yaml").write_text(text.replace("host_level: ", "host_level: 2"), encoding="utf-8")
    for name, expected in (("h200", False), ("slow", True)):
        on = question("rm1_emerald_h200", f"node.accelerators=[{tmp_path / name}.yaml]")
        assert on.node.accelerator is not None
        assert on.node.accelerator.is_edited is expected


@pytest.mark.thorough
def test_a_card_that_its_host_issues_to_needs_a_core_of_its_own() -> None:
    assert not any("one has to issue" in note for note in question("rm1_emerald_h200").times.notes)
    notes = question("rm1_emerald_h200", "node.cores=16").times.notes
    assert "all 16 cores serve: one has to issue to h200, so set node.cores=15" in notes


def test_a_card_draws_no_more_with_launches_than_at_its_peak(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "hardware_profiles" / "h200.yaml"
    text = shipped.read_text(encoding="utf-8").replace("launched_w: {value: 128", "launched_w: {value: 9128")
    (tmp_path / "hot.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"hot\.yaml:\d+:\d+: launched_w: expected at most peak_w, 630"):
        question("rm1_emerald_h200", f"node.accelerators=[{tmp_path / 'hot.yaml'}]")


def test_two_on_a_core_take_longer_on_a_measured_machine_too_and_it_is_said() -> None:
    on = ("node.cpu=granite-rapids-6787p", "node.stack=pytorch")
    alone, shared = (question("rm3_skylake", *on, f"node.cores={cores}") for cores in (172, 344))
    of_one, of_two = (asked.times.table.cpu_s[127, -1] for asked in (alone, shared))
    assert 1.5 < of_two / of_one <= 1.6  # nearly all of this model is products
    assert any("344 of the 344 are two on a core" in note for note in shared.times.notes)
    assert not any("two on a core" in note for note in alone.times.notes)


def test_a_machine_that_shows_one_thread_a_core_takes_no_more_workers_than_cores() -> None:
    with pytest.raises(
        InputError, match=r"at most 2 \(2 cores of amd-epyc-turin-2c, one thread each\), got 3"
    ):
        question("rm3_skylake", "node.cpu=amd-epyc-turin-2c", "node.stack=pytorch", "node.cores=3")
