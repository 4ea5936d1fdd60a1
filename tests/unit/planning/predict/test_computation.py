"""What predict says where its search for the largest load cannot tell."""

from __future__ import annotations

import pytest
from rich.console import Console

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.predict.computation import predict
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.predict import predict_document
from perfmodel.report.predict import predict_page

SHORT = ("simulation.min_queries=12000", "simulation.max_queries=12000")


@pytest.fixture(scope="module")
def rare_bursts() -> Prediction:
    bursts = "traffic.arrivals.mean_burst_s=600"
    return predict(prepare(load_scenario("rm3_skylake_bursty", [bursts, *SHORT])))


def test_a_search_that_would_take_too_long_says_why_it_has_no_answer(rare_bursts: Prediction) -> None:
    assert rare_bursts.greatest is None
    assert rare_bursts.undecided is not None
    assert rare_bursts.undecided.startswith("cannot tell the largest load")
    document = predict_document(rare_bursts)
    assert document["latency_bounded_qps"] is None
    assert rare_bursts.undecided in document["notes"]


def test_the_page_does_not_call_that_a_node_that_is_too_slow(rare_bursts: Prediction) -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(predict_page(rare_bursts))
    assert "not searched: see the notes" in shown.get()


def test_no_load_within_an_sla_shorter_than_a_batch_is_told_and_not_undecided() -> None:
    found = predict(prepare(load_scenario("rm3_skylake", ["sla.latency_ms=0.01", *SHORT])))
    assert found.greatest is None
    assert found.undecided is None
