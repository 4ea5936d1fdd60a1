"""The sizes of the requests on the cores, and how often each comes."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.planning.node import request_mix
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf, pmf_of_list


def test_offloaded_queries_leave_no_requests() -> None:
    policy = SplitAndOffload(batch_size=128, offload_threshold_items=200)
    mix = request_mix(policy, pmf_of_list([100, 300]), workers=4)
    assert mix is not None
    assert mix.batch_size.tolist() == [100.0]
    assert request_mix(policy, pmf_of_list([300]), workers=4) is None


def test_many_sizes_become_a_few_groups_with_the_same_mean() -> None:
    law = SizePmf(np.arange(1, 1001), np.full(1000, 1e-3))
    mix = request_mix(SplitAndOffload(batch_size=128), law, workers=4)
    assert mix is not None
    assert len(mix.share) <= 8
    assert mix.share.sum() == pytest.approx(1.0)
    requests = sum(-(-size // 128) for size in range(1, 1001)) / 1000
    assert mix.share @ mix.batch_size == pytest.approx(law.mean_items / requests)
