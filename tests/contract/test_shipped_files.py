"""Every shipped file loads, and scenarios refer only to what is shipped."""

from __future__ import annotations

import pytest

from perfmodel.domain.model import RecModel
from perfmodel.domain.workload import FileSizes, NamedSizes, TraceArrivals, TraceSizes
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import shipped_directory, shipped_names
from perfmodel.loading.traffic_files import read_sizes, read_trace
from perfmodel.loading.validated import parse_file
from perfmodel.loading.yaml_source import parse_yaml

MEDIUM_P95_MS = {  # DeepRecSys, ISCA 2020, Table II
    "dlrm-rmc1": 100,
    "dlrm-rmc2": 400,
    "dlrm-rmc3": 100,
    "ncf": 5,
    "wnd": 25,
    "mt-wnd": 25,
    "din": 100,
    "dien": 35,
}


@pytest.mark.parametrize("name", shipped_names("model"))
def test_every_shipped_model_loads_under_its_file_name(name: str) -> None:
    assert parse_file(shipped_directory("model") / f"{name}.yaml", RecModel).name == name


@pytest.mark.parametrize("name", shipped_names("profile"))
def test_every_shipped_profile_loads_under_its_file_name(name: str) -> None:
    assert read_profile(shipped_directory("profile") / f"{name}.yaml").name == name


@pytest.mark.parametrize("name", shipped_names("scenario"))
def test_every_shipped_scenario_loads_with_what_it_names(name: str) -> None:
    loaded = load_scenario(name)
    assert loaded.scenario.description
    assert len(loaded.node_paths()) >= 1
    assert all(path.is_file() for path in loaded.node_paths())


@pytest.mark.parametrize("name", shipped_names("scenario"))
def test_the_traffic_data_of_every_shipped_scenario_loads(name: str) -> None:
    loaded = load_scenario(name)
    arrivals, sizes = loaded.scenario.traffic.arrivals, loaded.scenario.traffic.query_sizes
    match sizes:
        case NamedSizes():
            assert named_sizes(sizes.distribution).probabilities.sum() == pytest.approx(1.0)
        case FileSizes():
            assert len(read_sizes(loaded.data_path(sizes.file, "traffic", "query_sizes", "file")).num_items)
    if isinstance(arrivals, TraceArrivals):
        trace = read_trace(loaded.data_path(arrivals.file, "traffic", "arrivals", "file"))
        assert (trace.num_items is not None) or not isinstance(sizes, TraceSizes)


@pytest.mark.parametrize("name", shipped_names("scenario"))
def test_shipped_scenarios_ask_for_the_published_sla(name: str) -> None:
    scenario = load_scenario(name).scenario
    if scenario.model in MEDIUM_P95_MS:
        assert (scenario.sla.percentile, scenario.sla.latency_ms) == (0.95, MEDIUM_P95_MS[scenario.model])


@pytest.mark.parametrize("server", ["broadwell", "skylake"])
def test_every_published_model_has_a_scenario_on_each_server(server: str) -> None:
    names = [name for name in shipped_names("scenario") if name.endswith(f"_{server}")]
    assert {load_scenario(name).scenario.model for name in names} >= MEDIUM_P95_MS.keys()


def test_a_file_cannot_run_code() -> None:
    with pytest.raises(InputError, match=r"^evil\.yaml:1:8: tags are not allowed"):
        parse_yaml("model: !!python/object/apply:os.system ['echo pwned']\n", "evil.yaml")
