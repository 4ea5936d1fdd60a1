"""The recomputed evaluations: what they compare, and rules that hold whatever the profiles say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.reproduce.evaluation import Reproduction, Section
from calibration.reproduce.gains import GAINS, published_gains
from calibration.reproduce.hpca import reproduce_hpca
from calibration.reproduce.lowest_latency import idle_latency_s, lowest_latency_s
from calibration.reproduce.rmc3_curves import batch_section, threshold_section
from calibration.reproduce.scope import published_targets_ms
from calibration.reproduce.study import production_sizes
from calibration.reproduce.variants import gains_of, shipped_nodes, variants
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.tune.load_test import SharedTraffic
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource


@pytest.fixture(scope="module")
def traffic() -> SharedTraffic:
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=production_sizes())
    return SharedTraffic(source, seed=1, final_queries=20_000)


@pytest.fixture(scope="module")
def hpca() -> Reproduction:
    return reproduce_hpca()


def within_a_factor_of_two(section: Section) -> list[bool]:
    ratios = [row.predicted / row.published for row in section.rows if row.predicted and row.published]
    assert len(ratios) == len(section.rows)
    return [0.5 <= ratio <= 2.0 for ratio in ratios]


def test_all_published_gains_are_compared() -> None:
    published = published_gains()
    assert {key for key, _ in published} == {key for key, _, _, _ in GAINS}
    assert published["qps_gain_gpu", "medium"] == 5.1  # ISCA 2020, text


def test_eight_models_have_a_published_target() -> None:
    targets_ms = published_targets_ms()
    assert len(targets_ms) == 8
    assert targets_ms["ncf"] == 5.0


@pytest.mark.thorough
def test_rmc3_against_batch_size_has_the_published_maximum_within_a_step(traffic: SharedTraffic) -> None:
    # ISCA 2020 Fig. 8: 556 queries/s at batch 256 under 100 ms, 222 at batch 128 under 66 ms
    section = batch_section(traffic)
    maxima = [row for row in section.rows if "maximum" in row.quantity]
    assert [row.published for row in maxima] == [256.0, 128.0]
    for row in maxima:
        assert row.predicted is not None
        assert row.published is not None
        assert 0.5 <= row.predicted / row.published <= 2.0  # sizes double: one step


@pytest.mark.thorough
def test_rmc3_against_batch_size_is_within_a_factor_of_two_at_100_ms(traffic: SharedTraffic) -> None:
    section = batch_section(traffic)
    own = replace(section, rows=tuple(row for row in section.rows if "p95 of 100 ms" in row.case))
    assert all(within_a_factor_of_two(own)[1:])  # batch 16: half of what was published (docs/reproduce.md)


@pytest.mark.thorough
def test_rmc3_against_batch_size_is_within_a_factor_of_two_at_66_ms(traffic: SharedTraffic) -> None:
    section = batch_section(traffic)
    own = replace(section, rows=tuple(row for row in section.rows if "p95 of 66 ms" in row.case))
    assert all(within_a_factor_of_two(own))


@pytest.mark.thorough
def test_rmc3_against_threshold_is_within_a_factor_of_two_from_256_on_with_one_maximum(
    traffic: SharedTraffic,
) -> None:
    # ISCA 2020 Fig. 11: thresholds 1 to 1024, 1250 queries/s at 170, which no single server gives
    section = threshold_section(traffic)
    *curve, _ = section.rows
    assert all(within_a_factor_of_two(replace(section, rows=tuple(curve[4:]))))
    rates = np.array([row.predicted for row in curve], float)
    peak = int(np.argmax(rates))
    assert np.all(np.diff(rates[: peak + 1]) > 0)
    assert np.all(np.diff(rates[peak:]) < 0)


@pytest.mark.slow
def test_a_faster_card_gains_more_and_the_cores_alone_do_not_notice(traffic: SharedTraffic) -> None:
    by_name = {variant.name: variant for variant in variants(cores=28)}
    nodes = shipped_nodes({"dlrm-rmc3": 100.0}, traffic)
    shipped = gains_of(by_name["as shipped"], nodes, traffic)
    faster = gains_of(by_name["card faster by the profile's error"], nodes, traffic)
    assert faster["qps_gain_cpu", "medium"] == shipped["qps_gain_cpu", "medium"]
    more, less = faster["qps_gain_gpu", "medium"], shipped["qps_gain_gpu", "medium"]
    assert more is not None
    assert less is not None
    assert more > 1.1 * less


def test_the_first_variant_changes_nothing_and_the_second_is_the_nodes_own_baseline() -> None:
    first, second, *_ = variants(cores=28)
    assert first.static_batch == 25  # 1000 / 40, as published
    assert second.static_batch == 36  # 1000 / 28


def test_an_idle_nodes_p95_is_that_of_the_law_of_sizes() -> None:
    # 1 s an item on four cores: batch 1 serves up to four items in 1 s; whole queries take their size.
    service = ServiceTimes(cpu_s=np.repeat(np.arange(1.0, 5.0)[:, None], 4, axis=1))
    law = SizePmf(np.array([1, 2, 4]), np.array([0.5, 0.45, 0.05]))
    assert idle_latency_s(service, law, Configuration(4)) == 2.0  # 95 % have at most two items
    assert lowest_latency_s(service, law, [Configuration(4), Configuration(1)]) == (1.0, Configuration(1))


@pytest.mark.thorough
def test_hpca_compares_every_published_latency(hpca: Reproduction) -> None:
    # 18 and 3 latencies in Fig. 8, 6 in Fig. 9, 17 in Fig. 10, 2 at batch 1, and 5 statements of the text
    assert len(hpca.compared) == 18 + 3 + 6 + 17 + 2 + 5


def test_hpca_figures_that_deviate_stay_and_have_a_cause(hpca: Reproduction) -> None:
    far = [row for row in hpca.compared if row.deviation is not None and abs(row.deviation) > 0.3]
    assert far
    assert all(row.cause for row in far)
