"""Scenarios by name or path, and `--set` overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import parse_any
from perfmodel.loading.scenario_file import load_scenario, read_named_files

SCENARIO = """\
model: dlrm-rmc3
node: {cpu: skylake, cores: null}
traffic:
  arrivals: {process: poisson, rate_qps: 400}
  query_sizes: {distribution: deeprecsys-production}
policy: {name: split, batch_size: 128}
sla: {percentile: 0.95, latency_ms: 100}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    return path


def test_what_is_left_out_has_its_default(scenario: Path) -> None:
    loaded = load_scenario(str(scenario))
    assert loaded.name == "mine"
    assert loaded.scenario.node.accelerators == ()
    assert loaded.scenario.node.cores is None
    assert loaded.scenario.simulation.seed == 1
    assert loaded.scenario.sla.latency_s == pytest.approx(0.1)


def test_overrides_apply_in_order(scenario: Path) -> None:
    loaded = load_scenario(str(scenario), ["traffic.arrivals.rate_qps=5e2", "traffic.arrivals.rate_qps=600"])
    assert loaded.scenario.traffic.arrivals == PoissonArrivals(rate_qps=600.0)


def test_an_override_may_write_a_section_that_the_file_leaves_out(scenario: Path) -> None:
    loaded = load_scenario(str(scenario), ["simulation.seed=7", "simulation.precision=0.1"])
    assert (loaded.scenario.simulation.seed, loaded.scenario.simulation.precision) == (7, 0.1)


def test_an_override_may_replace_a_whole_section_or_a_list(scenario: Path) -> None:
    overrides = [
        "node.accelerators=[gtx1080ti]",
        "policy={name: split, batch_size: 8, offload_threshold_items: 9}",
    ]
    loaded = load_scenario(str(scenario), overrides)
    assert loaded.scenario.node.accelerators == ("gtx1080ti",)
    assert loaded.scenario.policy.offload_threshold_items == 9
    assert load_scenario(
        str(scenario), [*overrides, "node.accelerators.0=t4"]
    ).scenario.node.accelerators == ("t4",)


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("traffic.arrivals.rate_qps=-5", "--set traffic.arrivals.rate_qps: expected a number > 0, got -5"),
        (
            "traffic.arrivals.rate_qps=fast",
            "--set traffic.arrivals.rate_qps: expected a number > 0, got 'fast'",
        ),
        (
            "traffic.arival.rate_qps=5",
            "--set traffic.arival.rate_qps: unknown key 'arival' in traffic; did you mean 'arrivals'?",
        ),
        ("simulation.sed=3", "--set simulation.sed: unknown key 'sed' in simulation; did you mean 'seed'?"),
        ("simulation.precision=3", "--set simulation.precision: expected a number > 0 and < 1, got 3"),
        (
            "policy={name: split, batch_size: 0}",
            "--set policy: batch_size: expected a whole number >= 1, got 0",
        ),
        ("model.x=3", "--set model.x: 'dlrm-rmc3' is a single value; it has no key 'x'"),
        (
            "policy.offload_threshold_items=3",
            "--set policy.offload_threshold_items: expected null, since node.accelerators is empty, got 3",
        ),
        ("nonsense", "--set nonsense: expected KEY=VALUE, such as --set traffic.arrivals.rate_qps=500"),
        ("a..b=3", "--set a..b=3: expected KEY=VALUE, such as --set traffic.arrivals.rate_qps=500"),
        ("model=\x07", "--set model: unprintable character U+0007"),
    ],
)
def test_a_bad_override_names_the_option(scenario: Path, override: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(str(scenario), [override])
    assert str(caught.value) == error


def test_broken_yaml_in_an_override_names_the_option(scenario: Path) -> None:
    with pytest.raises(InputError, match=r"^--set model: not valid YAML: "):
        load_scenario(str(scenario), ["model=[a"])


def test_a_list_entry_that_does_not_exist_cannot_be_set(scenario: Path) -> None:
    with pytest.raises(InputError, match=r"^--set node.accelerators.0: no entry 0 in a list of 0"):
        load_scenario(str(scenario), ["node.accelerators=[]", "node.accelerators.0=t4"])


def test_a_mistake_in_the_file_is_located(scenario: Path) -> None:
    scenario.write_text(SCENARIO.replace("400", "-3"))
    with pytest.raises(InputError) as caught:
        load_scenario(str(scenario))
    assert str(caught.value) == f"{scenario}:4:42: rate_qps: expected a number > 0, got -3"


def test_an_unknown_model_is_located_at_its_key(scenario: Path) -> None:
    scenario.write_text(SCENARIO.replace("dlrm-rmc3", "dlrm-rcm3"))
    with pytest.raises(InputError) as caught:
        load_scenario(str(scenario)).model_path()
    assert str(caught.value).startswith(
        f"{scenario}:1:8: model: unknown model 'dlrm-rcm3'; did you mean 'dlrm-rmc3'?"
    )


def test_an_unknown_profile_is_located_at_its_key_or_option(scenario: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.yaml:2:13: cpu: unknown profile 'nope'"):
        load_scenario(str(_replaced(scenario, "skylake", "nope"))).cpu_profile()
    with pytest.raises(InputError, match=r"^--set node.accelerators: unknown profile 'nope'"):
        load_scenario(str(scenario), ["node.accelerators=[nope]"]).accelerator_profiles()


def test_a_path_in_a_file_is_relative_to_the_file(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\n")
    (tmp_path / "trace.csv").write_text("arrival_s\n0\n1\n")
    loaded = load_scenario(str(_replaced(scenario, "dlrm-rmc3", "own.yaml")))
    assert loaded.model_path() == tmp_path / "own.yaml"
    assert loaded.data_path(Path("trace.csv"), "traffic", "arrivals", "file") == tmp_path / "trace.csv"


def test_a_path_in_an_option_is_relative_to_the_working_directory(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own.yaml").write_text("name: own\n")
    monkeypatch.chdir(elsewhere)
    assert load_scenario(str(scenario), ["model=./own.yaml"]).model_path() == Path("own.yaml")


def test_a_stack_may_follow_the_profiles_name(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "box.yaml").write_text("name: box\n")
    loaded = load_scenario(str(_replaced(scenario, "skylake", "./box.yaml@pytorch")))
    assert loaded.cpu_profile() == (tmp_path / "box.yaml", "pytorch")


def test_a_missing_data_file_is_located(scenario: Path) -> None:
    loaded = load_scenario(str(scenario))
    with pytest.raises(
        InputError, match=r"mine\.yaml:1:8: model: expected a file, found none at .*absent\.csv"
    ):
        loaded.data_path(Path("absent.csv"), "model")


def test_an_error_of_the_simulation_gets_its_place(scenario: Path) -> None:
    loaded = load_scenario(str(scenario), ["policy.batch_size=4"])
    in_file = loaded.located(ValueErrorAt("too many bursts", ("traffic", "arrivals", "rate_qps")))
    assert str(in_file) == f"{scenario}:4:42: rate_qps: too many bursts"
    on_the_command_line = loaded.located(ValueErrorAt("no", ("policy", "batch_size")))
    assert str(on_the_command_line) == "--set policy.batch_size: no"


def test_a_profile_named_several_times_is_read_once() -> None:
    read: list[str] = []

    def counted(path: Path, kind: type[Any]) -> Any:
        read.append(path.stem)
        return parse_any(path, kind)

    cards = "node.accelerators=[gtx1080ti, gtx1080ti, gtx1080ti]"
    files = read_named_files(load_scenario("rm3_broadwell_gtx1080ti", [cards]), counted)
    assert read == ["dlrm-rmc3", "broadwell", "gtx1080ti"]
    assert [named.profile.name for named in files.profiles] == ["broadwell", *["gtx1080ti"] * 3]
    assert files.profiles[2].place == ("node", "accelerators", 1)


def _replaced(scenario: Path, old: str, new: str) -> Path:
    scenario.write_text(SCENARIO.replace(old, new))
    return scenario
