"""Validation errors: one line each, with the exact place and what was expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import EmbeddingTable
from perfmodel.domain.provision import FleetFile
from perfmodel.domain.scenario import Scenario
from perfmodel.domain.serving import SlaTarget, SplitPolicy
from perfmodel.domain.workload import Traffic
from perfmodel.errors import InputError
from perfmodel.loading.validated import ELSEWHERE, parse_file, validate
from perfmodel.loading.yaml_source import parse_yaml

SIZES = "query_sizes: {distribution: mlperf-dlrm}\n"


class Layer(Frozen):
    """A stand-in for an operator."""

    name: str
    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)]
    scale: Annotated[float, Field(gt=0)] | tuple[float, float] = 1.0
    file: Path | None = None
    bias: bool = True


class Network(Frozen):
    """A stand-in for a model file, with checks across keys."""

    layers: tuple[Layer, ...]
    by_name: Annotated[dict[str, int], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _widths_fit(self) -> Network:
        for index, layer in enumerate(self.layers):
            if layer.name == "bad-path":
                raise ValueErrorAt("expected 4 inputs, got 3", ("layers", index, "widths"))
            if layer.name == "bad-whole":
                raise ValueError("the layers do not fit")
        return self


def error_of(kind: type, text: str) -> str:
    with pytest.raises(InputError) as caught:
        validate(parse_yaml(text, "a.yaml"), kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arrivals", "error"),
    [
        ("{process: poisson, rate_qps: -3}", "a.yaml:1:40: rate_qps: expected a number > 0, got -3"),
        ("{process: poisson, rate_qps: '400'}", "a.yaml:1:40: rate_qps: expected a number > 0, got '400'"),
        ("{process: poisson, rate_qps: .inf}", "a.yaml:1:40: rate_qps: expected a number > 0, got .inf"),
        ("{process: poisson, rate_qps: true}", "a.yaml:1:40: rate_qps: expected a number > 0, got true"),
        ("{process: poisson, rate_qps: yes}", "a.yaml:1:40: rate_qps: expected a number > 0, got 'yes'"),
        ("{process: poisson, rate_qps: }", "a.yaml:1:30: rate_qps: expected a number > 0, got nothing"),
        ("{process: poisson, rate_qps: [1]}", "a.yaml:1:40: rate_qps: expected a number > 0, got a list"),
        (
            "{process: poisson, rate_pqs: 3}",
            "a.yaml:1:30: unknown key 'rate_pqs' in arrivals; did you mean 'rate_qps'?",
        ),
        (
            "{process: poisson, rate_qps: 3, colour: 1}",
            "a.yaml:1:43: unknown key 'colour' in arrivals; expected one of process, rate_qps",
        ),
        ("{process: poisson}", "a.yaml:1:1: missing key 'rate_qps' in arrivals: expected a number > 0"),
        (
            "{proces: poisson, rate_qps: 3}",
            "a.yaml:1:12: unknown key 'proces' in arrivals; did you mean 'process'?",
        ),
        (
            "{rate_qps: 3}",
            "a.yaml:1:1: missing key 'process' in arrivals: expected one of poisson, deeprecsys-integer-ms, "
            "constant, mmpp, diurnal, stages, closed, trace",
        ),
        (
            "{process: poison, rate_qps: 3}",
            "a.yaml:1:21: process: expected one of poisson, deeprecsys-integer-ms, constant, mmpp, diurnal, "
            "stages, closed, trace, got 'poison'; did you mean 'poisson'?",
        ),
        (
            "{process: diurnal, rate_qps: 1, amplitude: 2}",
            "a.yaml:1:54: amplitude: expected a number >= 0 and <= 1, got 2",
        ),
        ("{process: trace, file: 3}", "a.yaml:1:34: file: expected a file name, got 3"),
        (
            "{process: trace, file: a.csv, rate_qps: x}",
            "a.yaml:1:51: rate_qps: expected a number > 0 or null, got 'x'",
        ),
        ("3", "a.yaml:1:11: arrivals: expected a section with process, …, got 3"),
    ],
)
def test_each_kind_of_mistake_has_its_line(arrivals: str, error: str) -> None:
    assert error_of(Traffic, f"arrivals: {arrivals}\n{SIZES}") == error


def test_a_misspelt_key_is_reported_before_the_key_that_it_leaves_missing() -> None:
    error = error_of(Traffic, f"arivals: {{process: poisson, rate_qps: 1}}\n{SIZES}")
    assert error == "a.yaml:1:1: unknown key 'arivals'; did you mean 'arrivals'?"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("lookups: 3", "pooling_factor"), ("hotness: 3", "pooling_factor"), ("embedding_dim: 4", "dim")],
)
def test_a_key_by_the_name_that_it_has_elsewhere_is_told_its_name_here(written: str, meant: str) -> None:
    error = error_of(EmbeddingTable, f"num_rows: 10\n{written}\n")
    assert error == f"a.yaml:2:1: unknown key '{written.partition(':')[0]}'; did you mean '{meant}'?"


def test_names_of_elsewhere_lead_to_keys_that_there_are() -> None:
    described = json.dumps([each.model_json_schema() for each in (RecModel, Scenario, FleetFile)])
    assert [name for name in ELSEWHERE if f'"{name}": ' not in described] == []
    others = [other for each in ELSEWHERE.values() for other in each]
    assert len(set(others)) == len(others)


def test_an_error_across_keys_points_at_the_key_that_it_names() -> None:
    error = error_of(
        Traffic,
        "arrivals: {process: poisson, rate_qps: 1}\nquery_sizes: {distribution: trace}\n",
    )
    assert error == "a.yaml:2:14: query_sizes: distribution trace needs arrivals: process trace"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bad-path", "a.yaml:2:30: widths: expected 4 inputs, got 3"),
        ("bad-whole", "a.yaml:1:1: the layers do not fit"),
    ],
)
def test_a_validators_message_is_passed_through(name: str, error: str) -> None:
    assert error_of(Network, f"layers:\n  - {{name: {name}, widths: [3, 2]}}\n") == error


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        ("widths: [4]", "a.yaml:2:23: widths: expected a list of at least 2 entries, got a list of 1"),
        ("widths: [4, x]", "a.yaml:2:27: widths.1: expected a whole number >= 1, got 'x'"),
        ("widths: [4, 2.5]", "a.yaml:2:27: widths.1: expected a whole number >= 1, got 2.5"),
        ("widths: [4, 1.0]", "a.yaml:2:27: widths.1: expected a whole number >= 1, got 1.0 (write 1)"),
        ("widths: 4", "a.yaml:2:23: widths: expected a list of at least 2 entries, got 4"),
        ("widths: [4, 2], bias: no", "a.yaml:2:37: bias: expected true or false, got 'no'"),
        ("widths: [4, 2], scale: x", "a.yaml:2:38: scale: expected a number > 0 or a list of 2, got 'x'"),
        ("widths: [4, 2], scale: [1, x]", "a.yaml:2:42: scale.1: expected a number, got 'x'"),
        ("widths: [4, 2], file: 3", "a.yaml:2:37: file: expected a file name or null, got 3"),
    ],
)
def test_mistakes_in_lists_name_the_entry(layer: str, error: str) -> None:
    assert error_of(Network, f"layers:\n  - {{name: a, {layer}}}\n") == error


def test_an_entry_of_a_free_section_is_located() -> None:
    error = error_of(Network, "layers: []\nby_name: {a: 1, b: x}\n")
    assert error == "a.yaml:2:20: b: expected a whole number, got 'x'"


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        (SplitPolicy, "name: foo\nbatch_size: 1\n", "a.yaml:1:7: name: expected split, got 'foo'"),
        (
            SlaTarget,
            "percentile: 95\nlatency_ms: 1\n",
            "a.yaml:1:13: percentile: expected a number > 0 and < 1, got 95",
        ),
        (
            SlaTarget,
            "percentile: 0.95\nlatency_s: 1\n",
            "a.yaml:2:1: unknown key 'latency_s'; did you mean 'latency_ms'?",
        ),
    ],
)
def test_serving_settings_are_checked(kind: type, text: str, error: str) -> None:
    assert error_of(kind, text) == error


def test_a_file_becomes_a_value_with_lists_as_tuples_and_texts_as_paths(tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text("layers:\n  - {name: a, widths: [4, 2], scale: 1e6, file: b.csv}\n")
    layer = parse_file(file, Network).layers[0]
    assert layer == Layer(name="a", widths=(4, 2), scale=1e6, file=Path("b.csv"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("''", "expected a name of at least 1 character, got ''"),
        ("x" * 101, "expected a name of at most 100 characters, got one of 101"),
    ],
)
def test_a_name_of_ones_own_that_is_none_is_told_where_it_stands(name: str, said: str) -> None:
    services = f"services:\n  {name}: {{scenario: s, demand: {{qps: 1}}}}\n"
    text = services + "node_types: {t: {node: {cpu: c}, owned: 1}}\n"
    assert error_of(FleetFile, text) == f"a.yaml:2:3: {said}"
