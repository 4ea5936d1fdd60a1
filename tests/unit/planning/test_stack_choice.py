"""One software stack for all devices of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.planning.prepare import find_devices, find_model, prepare, prepare_together
from perfmodel.planning.question import Question
from perfmodel.planning.stack_choice import Wish, choose_stacks, is_shipped

HPCA, ISCA, REPOSITORY = "hpca2020", "deeprecsys-isca2020", "deeprecsys-repository"
MEASURED, OTHER = find_model("dlrm-rmc1"), find_model("dlrm-rmc2")


def profile(name: str) -> ProfileFile:
    return read_profile(find_file("profile", name))


def stacks(*names: str, mixed: bool = False) -> list[str]:
    return [device.stack for device in find_devices(names, MEASURED, mixed_stacks=mixed)]


def question(name: str, *overrides: str) -> Question:
    return prepare(load_scenario(name, overrides), stages=True)


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (("skylake", "broadwell"), HPCA),
        (("skylake", "gtx1080ti"), REPOSITORY),
        (("broadwell", "gtx1080ti"), ISCA),
        (("gtx1080ti", "skylake"), REPOSITORY),
        (("skylake", "broadwell", "haswell"), HPCA),
    ],
)
def test_devices_side_by_side_take_the_stack_that_all_have(names: tuple[str, ...], shared: str) -> None:
    assert stacks(*names) == [shared] * len(names)


@pytest.mark.parametrize(
    "names",
    [("haswell", "gtx1080ti"), ("skylake", "amd-epyc-turin-2c"), ("skylake", "broadwell", "gtx1080ti")],
)
def test_devices_without_a_common_stack_are_refused_and_what_each_has_is_named(
    names: tuple[str, ...],
) -> None:
    with pytest.raises(InputError) as caught:
        stacks(*names)
    for name in names:
        assert f"{name} has {', '.join(profile(name).stacks)}" in str(caught.value)
    assert "--mixed-stacks" in str(caught.value)


def test_stacks_that_were_asked_for_are_not_exchanged_for_a_common_one() -> None:
    with pytest.raises(InputError, match=f"name {HPCA}, which all have"):
        stacks(f"skylake@{REPOSITORY}", "broadwell")
    assert stacks(f"skylake@{HPCA}", "broadwell") == [HPCA, HPCA]


def test_mixed_stacks_are_answered_where_asked_for() -> None:
    assert stacks("haswell", "gtx1080ti", mixed=True) == [HPCA, ISCA]
    assert stacks("skylake", "gtx1080ti", mixed=True) == [REPOSITORY, REPOSITORY]


@pytest.mark.parametrize("server", ["skylake", "broadwell", "haswell"])
def test_a_model_without_figures_in_a_stack_gets_bare_kernels(server: str) -> None:
    assert choose_stacks([Wish(profile(server))], OTHER) == [HPCA]


def test_a_model_with_figures_in_the_default_stack_gets_that() -> None:
    assert stacks("skylake") == [REPOSITORY]
    assert stacks("broadwell") == [ISCA]


def test_a_users_model_called_like_a_shipped_one_is_no_shipped_one() -> None:
    names = ("dlrm", "dlrm-rmc1", "din-isca2020")  # a source in quotation marks, and without
    assert [is_shipped(find_model(name)) for name in names] == [True] * 3
    assert not is_shipped(imported("dlrm"))
    assert not is_shipped(imported("dlrm").model_copy(update={"source": ""}))


@pytest.mark.thorough
def test_every_shipped_model_is_known_as_one() -> None:
    assert all(is_shipped(find_model(name)) for name in shipped_names("model"))


@pytest.mark.thorough
def test_what_a_module_takes_more_is_in_the_error_of_a_users_model_of_a_shipped_name() -> None:
    (own,) = find_devices(["amd-epyc-turin-2c"], imported("dlrm"))
    (shipped,) = find_devices(["amd-epyc-turin-2c"], find_model("dlrm"))
    assert own.errors.whole > shipped.errors.whole
    assert "what a PyTorch module takes more was not measured" in own.describes
    assert own.describes.startswith(shipped.describes)


def imported(name: str) -> RecModel:
    """A shipped model as if `perfplan import` had made it of a module."""
    return find_model(name).model_copy(update={"source": f"perfplan import mine.py:{name} (torch 2.13.0)"})


def test_a_card_without_bare_kernels_answers_with_what_it_has() -> None:
    assert choose_stacks([Wish(profile("gtx1080ti"))], OTHER) == [ISCA]


@pytest.mark.thorough
def test_every_shipped_scenario_names_its_stack_and_servers_of_one_model_share_it() -> None:
    by_model: dict[str, set[str]] = {}
    for name in shipped_names("scenario"):
        asked = question(name)
        if asked.node.stack is None:  # a table of service times does not say
            continue
        assert load_scenario(name).scenario.node.stack == asked.node.cpu.stack, name
        model, _, server = name.rpartition("_")
        if server in ("skylake", "broadwell"):
            by_model.setdefault(model, set()).add(asked.node.cpu.stack)
    assert {model for model, found in by_model.items() if len(found) > 1} == set()
    assert len(by_model) > 5


def test_the_stack_of_a_file_gives_way_to_devices_put_in_the_place_of_its_own_with_a_note() -> None:
    changed = question("rm3_skylake", "node.accelerators=[gtx1080ti]")
    assert changed.node.accelerator is not None
    assert (changed.node.cpu.stack, changed.node.accelerator.stack) == (REPOSITORY, REPOSITORY)
    assert any(HPCA in note and REPOSITORY in note for note in changed.node_notes)
    elsewhere = question("rm3_skylake", "node.cpu=amd-epyc-turin-2c", "node.cores=2")
    assert elsewhere.node.cpu.stack == "pytorch"
    kept = question("rm3_skylake", "node.cpu=broadwell", "node.cores=28")
    assert (kept.node.cpu.stack, kept.stack_note) == (HPCA, None)


def test_a_stack_named_beside_a_device_that_lacks_it_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"--set node\.stack: expected one software stack .* REPOSITORY".replace(
            "REPOSITORY", REPOSITORY
        ),
    ):
        question("rm3_skylake", "node.accelerators=[gtx1080ti]", f"node.stack={HPCA}")


def test_scenarios_side_by_side_share_a_stack_or_are_refused() -> None:
    both = [load_scenario("rm3_skylake"), load_scenario("rm3_broadwell")]
    assert {asked.node.cpu.stack for asked in prepare_together(both)} == {HPCA}
    with_card = [both[0], load_scenario("rm3_broadwell_gtx1080ti")]
    with pytest.raises(InputError, match="gtx1080ti@deeprecsys-isca2020 has"):
        prepare_together(with_card)
    mixed = prepare_together(with_card, mixed_stacks=True)
    assert [asked.node.cpu.stack for asked in mixed] == [HPCA, ISCA]


def test_a_stack_that_a_stages_profile_lacks_is_refused_where_it_is_named(tmp_path: Path) -> None:
    text = """\
model: ncf
node: {cpu: skylake, cores: 8}
traffic:
  arrivals: {process: poisson, rate_qps: 100}
  query_sizes: {distribution: fixed, num_items: 100}
policy: {name: split, batch_size: 64}
pipeline:
  stages:
    - items: 10
      model: ncf
      node: {cpu: broadwell, cores: 4, stack: mine}
      policy: {name: split, batch_size: 5}
sla: {percentile: 0.95, latency_ms: 50}
"""
    path = tmp_path / "staged.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"staged\.yaml:11:47: .*broadwell has no stack 'mine'; it has"):
        prepare(load_scenario(path), stages=True)
