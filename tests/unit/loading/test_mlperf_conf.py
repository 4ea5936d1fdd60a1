"""MLPerf's configuration files: which of several values counts, and the place of each mistake."""

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.mlperf_conf import read_target

MLPERF = """\
# The format of this config file is 'key = value'.
dlrm-v2.*.performance_sample_count_override = 204800
*.*.qsl_rng_seed = 0x1f
*.Server.target_latency = 10
*.Server.target_latency_percentile = 99
*.Server.min_duration = 600000
*.Server.target_qps = 1.0
dlrm-v2.Server.target_latency = 60
*.Offline.target_latency_percentile = 90
*.Offline.min_duration = 600000
dlrm-v2.Offline.min_query_count = 24576
"""


def files(tmp_path: Path, user: str, mlperf: str = MLPERF) -> list[Path]:
    paths = [tmp_path / "mlperf.conf", tmp_path / "user.conf"]
    for path, text in zip(paths, (mlperf, user), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_the_own_model_goes_before_the_wildcard_and_the_later_file_before_the_earlier(tmp_path: Path) -> None:
    found = read_target(files(tmp_path, "*.Server.target_qps = 11800  # offered\n"), "dlrm-v2", "Server")
    assert (found.target_qps, found.latency_s, found.percentile) == (11800.0, 0.06, 0.99)
    assert found.num_queries(11800.0) == 7_080_000


def test_scenarios_have_values_of_their_own(tmp_path: Path) -> None:
    found = read_target(files(tmp_path, "dlrm-v2.Offline.target_qps = 12500\n"), "dlrm-v2", "Offline")
    assert (found.target_qps, found.latency_s, found.percentile) == (12500.0, None, 0.9)
    assert (found.min_queries, found.num_queries(1.0)) == (24_576, 24_576)


def test_what_no_file_says_is_loadgens_own(tmp_path: Path) -> None:
    found = read_target(files(tmp_path, "", mlperf=""), "dlrm-v2", "Server")
    assert (found.target_qps, found.latency_s, found.percentile) == (None, 0.1, 0.99)
    assert (found.min_queries, found.min_duration_s) == (100, 10.0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*.Server.target_qps=8", r"user.conf:1:1: expected 'model.Scenario.key = value' with spaces"),
        ("*.Server.target_qps = fast", r"user.conf:1:23: expected a number, got 'fast'"),
        ("  target_qps = 8", r"user.conf:1:3: expected a key model.Scenario.name"),
        ("*.server.target_qps = 8", r"user.conf:1:1: expected a key .* got '\*.server.target_qps'"),
        ("*.Server.target_latency_percentile = 100", r"user.conf:1:38: .*: expected a percentile between"),
        ("*.Server.target_qps = 0", r"user.conf:1:23: .*: expected a number > 0, got 0"),
        ("*.Server.min_query_count = 1.5", r"user.conf:1:28: .*: expected an integer from 0 on, got 1.5"),
    ],
)
def test_mistakes_are_told_at_their_place(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_target(files(tmp_path, f"{line}\n"), "dlrm-v2", "Server")


@pytest.mark.parametrize(
    ("model", "latency_s", "min_queries"),
    [("dlrm", 0.03, 270_336), ("dlrm-v2", 0.06, 100), ("dlrm-v3", 0.08, 100)],
)
def test_loadgen_brings_the_limits_of_recommendation_itself(
    model: str, latency_s: float, min_queries: int
) -> None:
    found = read_target([], model, "Server", built_in=True)
    assert (found.latency_s, found.percentile, found.min_duration_s) == (latency_s, 0.99, 600.0)
    assert (found.target_qps, found.min_queries) == (None, min_queries)


def test_the_first_dlrm_has_the_settings_of_its_last_round(tmp_path: Path) -> None:
    # mlcommons/inference at tag v3.0, mlperf.conf
    server = read_target([], "dlrm", "Server", built_in=True)
    assert (server.num_queries(100.0), server.num_queries(1000.0)) == (270_336, 600_000)
    offline = read_target([], "dlrm", "Offline", built_in=True)
    assert (offline.latency_s, offline.percentile, offline.min_queries) == (None, 0.9, 24_576)
    later = files(tmp_path, "dlrm.Server.target_latency = 60\n")  # as the files since v3.1 have it
    assert read_target(later, "dlrm", "Server", built_in=True).latency_s == 0.06


def test_a_benchmark_that_nothing_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="benchmark: expected dlrm, dlrm-v2, dlrm-v3, or one that"):
        read_target(files(tmp_path, ""), "mine", "Server", built_in=True)
    named = read_target(files(tmp_path, "mine.Server.target_latency = 7\n"), "mine", "Server", built_in=True)
    assert named.latency_s == 0.007


@pytest.mark.parametrize("rate", ["1e-308", "9223372036854775808", "-1"])
def test_a_rate_that_is_none_is_refused_where_it_stands(rate: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"user\.conf:1:\d+: dlrm\.Server\.target_qps: expected a "):
        read_target(files(tmp_path, f"dlrm.Server.target_qps = {rate}\n"), "dlrm", "Server")


def test_a_file_of_which_no_value_counts_is_named(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("other.conf", "all.conf", "own.conf", "empty.conf")]
    texts = ("dlrm-v3.Server.target_qps = 12", "*.*.min_duration = 1", "dlrm-v2.Server.target_qps = 3", "")
    for path, text in zip(files, texts, strict=True):
        path.write_text(text + "\n")
    server = read_target(files, "dlrm-v2", "Server", built_in=True)
    assert server.unused == ((str(files[0]), "dlrm-v3.Server.target_qps"),)
    offline = read_target(files, "dlrm-v2", "Offline", built_in=True)
    assert [path for path, _ in offline.unused] == [str(files[0]), str(files[2])]
