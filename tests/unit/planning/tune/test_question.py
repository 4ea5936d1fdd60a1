"""What is searched by default, and how gains are put together."""

from __future__ import annotations

import pytest

from calibration.reproduce.study import production_sizes
from perfmodel.domain.workload import LogNormalSizes
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.question import doubling_batch_sizes, share_thresholds, static_batch_size
from perfmodel.sim.query_sizes import item_share_from, pmf_of


def test_the_static_baseline_shares_the_largest_query_out_over_the_cores() -> None:
    skylake, broadwell = prepare(load_scenario("rm3_skylake")), prepare(load_scenario("rm3_broadwell"))
    assert static_batch_size(skylake.largest_query_items, skylake.node.cores) == 25
    assert static_batch_size(broadwell.largest_query_items, broadwell.node.cores) == 36


def test_the_largest_query_of_a_clipped_law_is_where_it_is_clipped() -> None:
    sizes = "traffic.query_sizes={distribution: lognormal, mu: 5.1, sigma: 0.2, max_items: 600}"
    assert prepare(load_scenario("rm3_skylake", [sizes])).largest_query_items == 600


def test_batch_sizes_double_until_one_holds_every_query() -> None:
    assert doubling_batch_sizes(1) == (1,)
    assert doubling_batch_sizes(1024)[-1] == 1024
    assert doubling_batch_sizes(1025)[-1] == 2048


def test_thresholds_take_equal_shares_of_the_items_from_the_accelerator() -> None:
    law = production_sizes()
    shares = [item_share_from(law, threshold) for threshold in share_thresholds(law, step=0.1)]
    assert shares[0] == 1.0
    assert shares[1:] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], abs=0.03)


def test_thresholds_of_a_law_with_a_million_sizes_take_one_pass_over_them() -> None:
    # Share by share, a sum over all sizes for each of them, it did not end.
    law = pmf_of(LogNormalSizes(mu=5.0, sigma=1.2, max_items=1_000_000))
    thresholds = share_thresholds(law, step=0.25)
    shares = [item_share_from(law, threshold) for threshold in thresholds]
    assert shares == pytest.approx([1.0, 0.75, 0.5, 0.25], abs=0.01)
