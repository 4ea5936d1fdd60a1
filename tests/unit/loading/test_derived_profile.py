"""Profiles derived from others: costs by the ratio of what bounds them, an error that grows with distance."""

from __future__ import annotations

import re
from math import hypot, log, sqrt
from pathlib import Path

import numpy as np
import pytest

from calibration.published.carried import carried
from calibration.published.carried_measured import carried_passes
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import SPREAD_BY_DISTANCE, bases_of, read_profile
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import find_file
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_source import parse_yaml
from perfmodel.planning.prepare import find_device, find_model, prepare

HEAD = "name: mine\nbase: skylake\n"


def written(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_changed_is_the_base_but_for_its_mark(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD)
    model, batch = find_model("dlrm-rmc3"), np.array([1.0, 64.0])
    base, mine = find_device("skylake@hpca2020", model), find_device(f"{path}@hpca2020", model)
    own, carried_over = batch_time(model, base, batch), batch_time(model, mine, batch)
    assert carried_over.seconds == pytest.approx(own.seconds)
    assert mine.errors.whole == pytest.approx(base.errors.whole)
    assert carried_over.basis is Basis.DERIVED
    assert "derived from skylake" in mine.describes
    assert bases_of(path) == (find_file("profile", "skylake"),)


@pytest.mark.parametrize("name", ["h200", "amd-epyc-turin-2c"])
def test_nothing_changed_of_a_calibrated_machine_is_that_machine(name: str, tmp_path: Path) -> None:
    model, batch = find_model("dlrm-rmc2"), np.array([1.0, 64.0])
    base = read_profile(find_file("profile", name)).device()
    mine = read_profile(written(tmp_path, f"name: mine\nbase: {name}\n")).device()
    again = read_profile(written(tmp_path, "name: again\nbase: mine.yaml\n", "again.yaml")).device()
    expected = batch_time(model, base, batch, 2.0).seconds.tolist()
    assert batch_time(model, mine, batch, 2.0).seconds.tolist() == expected
    assert batch_time(model, again, batch, 2.0).seconds.tolist() == expected


def test_each_cost_follows_what_bounds_it(tmp_path: Path) -> None:
    changes = "changes: {clock_ratio: 1.25, memory_gb_per_s_per_socket: 170, peak_gflop_per_s: 280}\n"
    base = read_profile(find_file("profile", "skylake")).device("hpca2020")
    mine = read_profile(written(tmp_path, HEAD + changes)).device("hpca2020")
    assert mine.calls.call_s["fc"] == pytest.approx(base.calls.call_s["fc"] / 1.25)
    assert mine.gemm.weight_l3_bytes_per_s == pytest.approx(base.gemm.weight_l3_bytes_per_s * 1.25)
    assert mine.gemm.weight_memory_bytes_per_s == pytest.approx(2.0 * base.gemm.weight_memory_bytes_per_s)
    assert mine.lookup.memory_line_s == base.lookup.memory_line_s
    assert mine.gemm.efficiency == base.gemm.efficiency
    assert mine.peak_flop_per_s == 280e9


def test_the_error_grows_with_the_distance(tmp_path: Path) -> None:
    base = read_profile(find_file("profile", "skylake")).device("hpca2020")
    mine = read_profile(written(tmp_path, HEAD + "changes: {peak_gflop_per_s: 448, cores_per_socket: 28}\n"))
    assert mine.device("hpca2020").errors.whole == pytest.approx(
        hypot(base.errors.whole, SPREAD_BY_DISTANCE * log(2.0))
    )
    further = HEAD + "changes: {peak_gflop_per_s: 448, memory_gb_per_s_per_socket: 170}\n"
    device = read_profile(written(tmp_path, further)).device("hpca2020")
    expected = hypot(base.errors.whole, SPREAD_BY_DISTANCE * sqrt(2.0) * log(2.0))
    assert device.errors.whole == pytest.approx(expected)


def test_a_measured_machine_carries_over_term_by_term(tmp_path: Path) -> None:
    text = "name: mine\nbase: amd-epyc-turin-2c\nchanges: {clock_ratio: 2.0, peak_gflop_per_s: 216.54}\n"
    base = read_profile(find_file("profile", "amd-epyc-turin-2c")).device()
    mine = read_profile(written(tmp_path, text)).device()
    old, new = base.surfaces["fc"].law, mine.surfaces["fc"].law
    assert new["multiply_add"] == pytest.approx(old["multiply_add"] / 2.0)
    assert new["call"] == pytest.approx(old["call"] / 2.0)
    assert new["weight_beyond_l3"] == pytest.approx(old["weight_beyond_l3"])
    assert mine.surfaces["fc"].relative_error > base.surfaces["fc"].relative_error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "name: mine\nbase: skylark\n",
            r"mine\.yaml:2:7: base: unknown profile 'skylark'; did you mean 'skylake'",
        ),
        (HEAD + "changes: {cores: 4}\n", r"mine\.yaml:3:11: unknown key 'cores' in changes"),
        (
            HEAD + "changes: {peak_gflop_per_s: -1}\n",
            r"mine\.yaml:3:\d+: .*peak_gflop_per_s.*a number > 0",
        ),
        (HEAD + "changes: {tdp_w: 20}\n", r"mine\.yaml:3:\d+: .*expected 10 to 30"),
        (HEAD + "costs: {fc_cal_us: 1}\n", r"mine\.yaml:3:\d+: .*fc_cal_us: expected a cost as in skylake"),
        (HEAD + "stacks: [caffe9]\n", r"mine\.yaml:3:\d+: .*no stack 'caffe9'; it has hpca2020"),
        (
            "name: mine\nbase: mine.yaml\n",
            r"mine\.yaml:2:7: base: expected a base that is not derived from this",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_profile(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_broadwells_stack_foretells_the_other_servers() -> None:
    """Single models of HPCA 2020 on servers that Broadwell's constants never saw: 30 % on average."""
    found = [carried("broadwell", server) for server in ("haswell", "skylake")]
    errors = [abs(point.error) for each in found for point in each.points]
    assert len(errors) == 12
    assert np.mean(errors) < 0.30


@pytest.mark.thorough
def test_datasheet_machines_say_where_each_value_comes_from() -> None:
    for name in ("sapphire-rapids-8480", "granite-rapids-6787p", "genoa-9654", "graviton-3", "t4", "a100"):
        profile = read_profile(find_file("profile", name))
        device = profile.device()
        assert device.is_derived
        assert (
            device.errors.whole > read_profile(bases_of(find_file("profile", name))[0]).device().errors.whole
        )
        source = profile.hardware.memory_gib.source
        assert source.split(":")[0] in ("datasheet", "published", "assumed", "derived")


def test_threads_of_a_core_are_as_stated_else_as_the_calibrated_machine_showed(tmp_path: Path) -> None:
    virtual = read_profile(find_file("profile", "amd-epyc-turin-2c"))  # its system shows two of both
    assert virtual.device().threads_per_core == 1
    assert read_profile(find_file("profile", "skylake")).device().threads_per_core == 2
    carried = "name: mine\nbase: amd-epyc-turin-2c\n"
    assert read_profile(written(tmp_path, carried)).device().threads_per_core == 2
    stated = carried + "changes: {threads_per_core: 1}\n"
    assert read_profile(written(tmp_path, stated)).device().threads_per_core == 1
    wrong = carried + "changes: {threads_per_core: {value: 0, source: 'datasheet: x'}}\n"
    with pytest.raises(InputError, match=r"mine.yaml:3:\d+: value: expected one of 1, 2, got 0"):
        read_profile(written(tmp_path, wrong))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "threads_per_core: 3",
            "3:29: threads_per_core: expected one of 1, 2 or a section with value, source",
        ),
        ("l3_policy: mixed", "3:22: l3_policy: expected one of inclusive, exclusive or a section with value"),
    ],
)
def test_a_bare_value_that_is_no_choice_is_told_the_choices(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(InputError, match=f"mine.yaml:{says}"):
        read_profile(written(tmp_path, f"name: mine\nbase: skylake\nchanges: {{{change}}}\n"))


@pytest.mark.thorough
def test_a_calibrated_stack_foretells_another_calibrated_machine() -> None:
    """Whole passes on machines that the stack has not seen; its error is stated wide enough."""
    card, *cpus = carried_passes()
    assert (card.base, card.machine) == ("h200", "h100-80gb")
    assert card.mean_error < 1.1 * card.own_mean_error
    assert [each.machine for each in cpus] == ["intel-xeon-emerald-16c", "amd-epyc-turin-2c"]
    for each in cpus:
        assert each.own_mean_error < each.mean_error < 0.45
        assert np.std(np.log1p(each.errors)) < SPREAD_BY_DISTANCE * each.distance


def test_a_cores_wait_for_a_line_does_not_follow_the_bandwidth_of_its_socket(tmp_path: Path) -> None:
    model = find_model("dlrm-rmc2")
    base = read_profile(find_file("profile", "amd-epyc-turin-2c")).device()
    text = "name: mine\nbase: amd-epyc-turin-2c\nchanges: {memory_gb_per_s_per_socket: 400}\n"
    mine = read_profile(written(tmp_path, text)).device()
    batch = np.array([64.0])
    assert batch_time(model, mine, batch).seconds == pytest.approx(batch_time(model, base, batch).seconds)
    loaded = batch_time(model, mine, batch, 2.0).seconds[0]
    assert loaded < batch_time(model, base, batch, 2.0).seconds[0]


def test_a_slower_cards_lookups_are_slower() -> None:
    """A T4 has a tenth of an H100's bandwidth and caches: it looked rows up 15 % faster, for what the law
    leaves of the measured card was asked where the T4's caches put the call."""
    model, batch = find_model("dlrm-rmc1"), np.array([16.0, 256.0, 1024.0])
    t4, h100, h200 = (
        batch_time(model, find_device(name, model), batch).family_s("embedding_bag")
        for name in ("t4", "h100", "h200")
    )
    assert np.all(h100 >= h200)
    assert np.all(t4 >= h100)
    assert t4[1] > 2.0 * h100[1]


def test_no_call_of_a_slower_card_outruns_its_memory() -> None:
    """A ReLU of 64 MiB in and out, of which 4 MiB stay in the L2: at least 0.456 ms at 285 GB/s."""
    text = """
name: wide
dense_features: 16384
operators:
  - {name: act, kind: activation, function: relu, input: dense}
"""
    model = validate(parse_yaml(text, "wide.yaml"), RecModel)
    t4, h200 = (
        batch_time(model, find_device(name, model), np.array([1024.0])).family_s("activation")[0]
        for name in ("t4", "h200")
    )
    at_least_s = (2 * 64 - 4) * 2**20 / 285e9
    assert at_least_s < t4 < 1.05 * at_least_s  # and until then the host has issued it
    assert h200 < 0.1 * t4


def test_a_call_by_itself_takes_what_the_clock_makes_of_it(tmp_path: Path) -> None:
    """Whatever the peak is: what a product of one output takes beside its arithmetic is a call's, too."""
    text = "name: mine\nbase: h200\nchanges: {peak_gflop_per_s: 5113.2, memory_gb_per_s_per_socket: 425.31}\n"
    base = read_profile(find_file("profile", "h200")).device().surfaces["fc"].law
    mine = read_profile(written(tmp_path, text)).device().surfaces["fc"].law
    for term in ("call", "column_call"):
        assert mine[term] == base[term]
    assert mine["weight_beyond_l2"] == pytest.approx(10.0 * base["weight_beyond_l2"])  # a card's last level
    assert mine["block_strip"] == pytest.approx(10.0 * base["block_strip"])


def test_what_is_derived_from_an_edited_profile_is_marked_as_that_is(tmp_path: Path) -> None:
    shipped = find_file("profile", "skylake").read_text(encoding="utf-8")
    line = next(each for each in shipped.splitlines() if "fc_call_us:" in each)
    value = re.search(r"value: ([0-9.]+)", line)
    assert value is not None
    edited = line.replace(value[0], f"value: {2.0 * float(value[1])}")
    written(tmp_path, shipped.replace(line, edited, 1), "edited.yaml")
    written(tmp_path, shipped, "unedited.yaml")
    model = find_model("dlrm-rmc3")
    for base, is_edited in (("edited.yaml", True), ("unedited.yaml", False)):
        own = find_device(f"{tmp_path / base}@hpca2020", model)
        child = written(tmp_path, f"name: child\nbase: {base}\nchanges: {{clock_ratio: 1.1}}\n", "child.yaml")
        grandchild = written(tmp_path, "name: grandchild\nbase: child.yaml\n", "grandchild.yaml")
        mine = [find_device(f"{path}@hpca2020", model) for path in (child, grandchild)]
        assert [own.is_edited, *(each.is_edited for each in mine)] == [is_edited] * 3
        scenario = load_scenario("rm3_skylake", [f"node.cpu={grandchild}@hpca2020", "node.stack=null"])
        question = prepare(scenario)
        assert (question.times.basis is Basis.EXTRAPOLATED) == is_edited
        assert ("the base of grandchild was edited by hand" in question.service_times_of) == is_edited
        assert any("its base's hardware or costs" in note for note in question.node_notes) == is_edited
        widened = hypot(mine[1].errors.whole, log(1.5)) if is_edited else mine[1].errors.whole
        assert question.times.errors.cpu >= widened - 1e-9
