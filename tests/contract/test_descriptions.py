"""What a scenario's description says is what its settings say."""

from __future__ import annotations

import re

import pytest

from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.loading.shipped import shipped_names
from perfmodel.planning.prepare import prepare
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.units import GIB

SCENARIOS = {name: load_scenario(name) for name in shipped_names("scenario")}
CARDS = {"GTX 1080 Ti": "gtx1080ti", "an H200": "h200"}
TIMES = {"two": 2, "three": 3, "four": 4}
FRACTIONS = {"half": 0.5, "a third": 1 / 3, "a quarter": 0.25, "a fifth": 0.2, "a tenth": 0.1}


def described(pattern: str) -> list[tuple[str, re.Match[str]]]:
    """Scenarios whose description matches, at least one."""
    found = [
        (name, match)
        for name, loaded in SCENARIOS.items()
        if (match := re.search(pattern, loaded.scenario.description, re.IGNORECASE))
    ]
    assert found, f"no description says {pattern}"
    return found


def rate_qps(loaded: LoadedScenario) -> float:
    rate = getattr(loaded.scenario.traffic.arrivals, "rate_qps", None)
    assert rate is not None
    return float(rate)


def test_the_size_from_which_queries_are_offloaded_is_that_of_the_policy() -> None:
    for name, match in described(r"queries of at least ([\d,]+) items"):
        threshold = getattr(SCENARIOS[name].scenario.policy, "offload_threshold_items", None)
        assert int(match[1].replace(",", "")) == threshold, name


@pytest.mark.thorough
def test_sockets_and_cores_are_those_of_the_node() -> None:
    for name, match in described(r"(\d) x (\d+)-core"):
        node = prepare(SCENARIOS[name]).node
        assert (int(match[1]), int(match[2])) == (node.cpu.sockets, node.cpu.cores_per_socket), name
        assert int(match[1]) * int(match[2]) == node.cores, name
    for name, match in described(r"on (\d+) cores of"):
        assert int(match[1]) == prepare(SCENARIOS[name]).node.cores, name


def test_a_model_that_is_named_is_the_one_that_is_served() -> None:
    for name, match in described(r"^((?:dlrm-rmc\d)|wnd|mt-wnd|ncf|din|dien)\b"):
        assert match[1] == SCENARIOS[name].scenario.model, name


def test_cards_are_those_of_the_node() -> None:
    for name, loaded in SCENARIOS.items():
        named = [card for words, card in CARDS.items() if words in loaded.scenario.description]
        assert named == list(loaded.scenario.node.accelerators), name


def test_an_sla_that_is_named_is_the_one_that_is_asked() -> None:
    for name, match in described(r"p(\d+) within (\d+) ms"):
        sla = SCENARIOS[name].scenario.sla
        assert (int(match[1]), float(match[2])) == (100 * sla.percentile, sla.latency_ms), name


def test_the_swing_of_a_day_and_its_length_are_those_of_the_arrivals() -> None:
    for name, match in described(r"swings by (\d+) % .* in ten minutes"):
        arrivals = SCENARIOS[name].scenario.traffic.arrivals
        assert (int(match[1]) / 100, 600.0) == (
            getattr(arrivals, "amplitude", None),
            getattr(arrivals, "period_s", None),
        )


def test_bursts_and_the_mean_beside_another_scenario_are_those_of_the_arrivals() -> None:
    for name, match in described(r"(a tenth) of the time, traffic is (two|three|four) times as heavy"):
        arrivals = SCENARIOS[name].scenario.traffic.arrivals
        assert FRACTIONS[match[1]] == getattr(arrivals, "burst_fraction", None)
        assert TIMES[match[2]] == getattr(arrivals, "burst_factor", None)
    for name, match in described(r"the mean is (half) of (\w+)'s"):
        assert rate_qps(SCENARIOS[name]) == FRACTIONS[match[1]] * rate_qps(SCENARIOS[match[2]])


def test_an_overload_is_one_and_the_other_has_the_stated_part_of_its_rate() -> None:
    for name, match in described(r"again at (a fifth) of its rate, still more than the node can serve"):
        loaded = SCENARIOS[name]
        other = SCENARIOS[name.removesuffix("_shedding")]
        assert rate_qps(loaded) == FRACTIONS[match[1]] * rate_qps(other)
        asked = prepare(loaded)
        service = asked.node.service_times(asked.policy, asked.max_items)
        loads = offered_utilisation(asked.traffic, service, asked.policy, contended=True)
        assert max(loads) > 1.0


def test_streams_that_are_named_are_those_of_the_policy() -> None:
    for name, match in described(r"with (two|three|four) streams"):
        assert TIMES[match[1]] == getattr(SCENARIOS[name].scenario.policy, "streams", None)


def test_a_model_that_no_node_holds_is_as_large_as_stated() -> None:
    for name, match in described(r"model of (\d+) GiB on nodes of (\d+) GiB"):
        node = prepare(SCENARIOS[name]).serving_node
        assert node.model.embedding_bytes / GIB == pytest.approx(float(match[1]), abs=0.5)
        assert node.cpu.memory.capacity_bytes / GIB == float(match[2])


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_number_in_a_description_is_checked_here(name: str) -> None:
    text = SCENARIOS[name].scenario.description
    for known in (
        r"queries of at least [\d,]+ items",
        r"\d x \d+-core",
        r"on \d+ cores of",
        r"dlrm-rmc\d|rm\d_\w+|DLRM-v2",
        r"GTX 1080 Ti|H200",
        r"p\d+ within \d+ ms",
        r"swings by \d+ %",
        r"of \d+ GiB",
        r"exit code 4",
    ):
        text = re.sub(known, "", text)
    assert not re.search(r"\d", text), text
