"""What no machine or traffic has is refused in a line, before any arithmetic overflows on it."""

import pytest

from perfmodel.domain.model import RecModel
from perfmodel.domain.scenario import Scenario
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_source import parse_yaml

BATCHING = "policy={name: dynamic-batching, max_batch_items: 64, timeout_ms: 1}"
SEPARATE = (
    "policy={name: separate-queues, large_from_items: 9, small_cores: 2, small_batch_size: 9, "
    "large_batch_size: 9}"
)
DIURNAL = "traffic.arrivals={process: diurnal, rate_qps: 10, amplitude: 0.5}"
BURSTS = (
    "traffic.arrivals={process: mmpp, rate_qps: 10, burst_factor: 4, burst_fraction: 0.1, mean_burst_s: 1}"
)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["policy.batch_size=9223372036854775808"], "at most 1_000_000_000, got 9223372036854775808"),
        (["policy.batch_size=" + "9" * 399], "at most 1_000_000_000, got a number of 399 digits"),
        (["policy.offload_threshold_items=9223372036854775808"], "at most 1_000_000_000, got"),
        ([SEPARATE, "policy.large_from_items=9223372036854775808"], "at most 1_000_000_000, got"),
        ([SEPARATE, "policy.small_cores=9223372036854775808"], "at most 100_000, got"),
        (["policy.shedding={queue_limit_requests: 9223372036854775808}"], "at most 1_000_000_000, got"),
        (["simulation.seed=9223372036854775808"], "at most 9223372036854775807, got"),
        (["simulation.min_queries=9223372036854775808"], "at most 200_000_000, got"),
        (["simulation.max_queries=2000000000"], "at most 200_000_000, got 2_000_000_000"),
        (["simulation.precision=1e-300"], "at least 1e-06, got 1e-300"),
        (["traffic.arrivals.rate_qps=1e-7"], "at least 1e-06, got 1e-07"),
        (["traffic.arrivals.rate_qps=1e-308"], "at least 1e-06, got 1e-308"),
        (["traffic.arrivals.rate_qps=1e300"], "at most 1e+12, got 1e+300"),
        ([DIURNAL, "traffic.arrivals.period_s=5e-324"], "at least 1e-06, got 4.94066e-324"),
        ([BURSTS, "traffic.arrivals.mean_burst_s=1e300"], "at most 1e+09, got 1e+300"),
        ([BURSTS, "traffic.arrivals.burst_factor=1e300"], "at most 1e+06, got 1e+300"),
        ([BATCHING, "policy.timeout_ms=1e308"], "at most 1e+09, got 1e+308"),
        (["sla.latency_ms=1e-308"], "at least 1e-06, got 1e-308"),
    ],
)
def test_a_scenario_value_beyond_all_reason_is_refused_at_its_key(
    overrides: list[str], expected: str
) -> None:
    key = overrides[-1].partition("=")[0]
    with pytest.raises(InputError) as caught:
        load_scenario("rm1_skylake", overrides)
    assert str(caught.value).startswith(f"--set {key}")
    assert f"expected {expected}" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "override",
    [
        "traffic.arrivals.rate_qps=1e-6",
        "policy.batch_size=1000000000",
        "policy.shedding={queue_limit_requests: 1000000000}",
        "simulation.seed=9223372036854775807",
        "simulation.precision=1e-6",
        "policy={name: dynamic-batching, max_batch_items: 64, timeout_ms: 1e9}",
    ],
)
def test_the_bounds_themselves_are_accepted(override: str) -> None:
    assert isinstance(load_scenario("rm1_skylake", [override]).scenario, Scenario)


def test_the_ordinary_bound_is_what_an_ordinary_mistake_hears_of() -> None:
    with pytest.raises(InputError, match=r"expected a number > 0, got -5$"):
        load_scenario("rm1_skylake", ["traffic.arrivals.rate_qps=-5"])


def _model(operators: str) -> str:
    text = f"name: tiny\ndense_features: 4\noperators:\n{operators}"
    with pytest.raises(InputError) as caught:
        validate(parse_yaml(text, "m.yaml"), RecModel)
    return str(caught.value)


def test_a_width_of_four_hundred_digits_is_refused() -> None:
    message = _model(f"  - {{name: top, kind: mlp, input: dense, widths: [4, 1{'0' * 398}]}}\n")
    assert message == "m.yaml:4:54: widths.1: expected at most 1_000_000_000, got a number of 399 digits"


def test_tables_have_up_to_a_million_million_rows() -> None:
    message = _model(
        "  - {name: e, kind: embedding_bag, tables: [{num_rows: 1000000000001, dim: 1}]}\n"
        "  - {name: c, kind: concat, inputs: [e, dense]}\n"
    )
    expected = "tables.0.num_rows: expected at most 1_000_000_000_000, got 1_000_000_000_001"
    assert message.endswith(expected) or message.endswith(expected.removeprefix("tables.0."))


def test_operators_that_square_a_size_again_and_again_end_in_a_line() -> None:
    lines = ["  - {name: v, kind: view, input: dense, length: 40000, width: 1}\n"]
    lines += [
        f"  - {{name: d{i}, kind: dot_interaction, inputs: [{'v' if i == 0 else f'w{i - 1}'}]}}\n"
        f"  - {{name: w{i}, kind: view, input: d{i}, length: 1000000000, width: 1}}\n"
        for i in range(3)
    ]
    message = _model("".join(lines))
    assert "d1: gives 1 vectors of 5e+17 elements an item; expected at most 1_000_000_000" in message
