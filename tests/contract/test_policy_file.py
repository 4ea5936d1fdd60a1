"""Your own policy on the command line: what runs, what is said, and what is refused in one line."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading import policy_class
from perfmodel.loading.scenario_file import load_scenario

QUICK = [
    "--scenario",
    "rm1_broadwell_gtx1080ti",
    *("--set", "simulation.min_queries=4000", "--set", "simulation.max_queries=8000"),
    *("--set", "policy.batch_size=128"),
]
EXAMPLE = Path(__file__).parents[2] / "docs" / "policies" / "q_learning.py"
MINE = """
from perfmodel.sim.user_policy import OFFLOAD

class Mine:
    @staticmethod
    def decide(query, node):
        if query.num_items >= 512 and node.streams > 0:
            return OFFLOAD
        return 128
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my_policy.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the largest rate is not what is tested here."""
    monkeypatch.setattr("perfmodel.planning.rate.search.PROBE_QUERIES", 1000)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["predict", *QUICK, *arguments, "--json"]) in (0, 3, 6)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["predict", *QUICK, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.thorough
def test_a_compiled_policy_answers_like_the_built_in_one_that_it_imitates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = asked(capsys, "--policy-file", written(tmp_path, MINE))
    built_in = asked(capsys)
    assert (mine["policy"], mine["engine"]) == ("Mine", "compiled")
    assert (built_in["policy"], built_in["engine"]) == ("split", "compiled")
    # Of a policy that looks at the node less is known beforehand, and so less taken off of what luck does.
    for percentile, (low, high) in mine["latency_ci95_ms"].items():
        other_low, other_high = built_in["latency_ci95_ms"][percentile]
        assert low <= (float("inf") if other_high is None else other_high)
        assert other_low <= (float("inf") if high is None else high)
    assert mine["utilisation"]["cpu"] == pytest.approx(built_in["utilisation"]["cpu"], rel=0.02)


@pytest.mark.slow
def test_simpy_gives_the_same_answer_and_says_that_it_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, MINE)
    compiled, simpy = (asked(capsys, "--policy-file", file, "--engine", each) for each in ("auto", "simpy"))
    assert simpy["engine"] == "simpy"
    assert simpy["latency_ms"] == pytest.approx(compiled["latency_ms"], rel=1e-9)


@pytest.mark.slow
def test_a_policy_that_learns_runs_in_simpy_and_the_page_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *QUICK, "--policy-file", str(EXAMPLE)]) in (0, 3, 6)
    page = capsys.readouterr().out
    assert "policy q-learning, simulated by the simpy engine" in page
    assert "policy q-learning ran in the SimPy engine: it learns, in Python" in page


@pytest.mark.thorough
def test_shedding_stays_the_scenarios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked(
        capsys,
        *("--policy-file", written(tmp_path, MINE)),
        *("--set", "policy.shedding={queue_limit_requests: 1}", "--set", "traffic.arrivals.rate_qps=1500"),
    )
    assert 0.2 < answer["shed_rate"] < 0.95
    assert answer["goodput_qps"] <= answer["throughput_qps"] < 1500 * 0.8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Mine:\n    def decide(self, query, node)\n", "my_policy.py:2: SyntaxError: expected ':'"),
        ("x = 1\nimport no_such_module\n", "my_policy.py:2: ModuleNotFoundError: No module named"),
        ("\n\nraise SystemExit('bye')\n", "my_policy.py:3: SystemExit: bye"),
        ("x = 1\n", "my_policy.py: expected one class with a method decide, found none"),
        (MINE + MINE.replace("Mine", "Other"), "expected one class with a method decide, found Mine, Other"),
        (MINE.replace("(query, node)", "(query)"), "policy Mine: decide: expected to take query and node"),
        (MINE.replace("return 128", "return 0"), "of 128 items: decided 0; expected the items of a request"),
        (
            MINE.replace("return 128", "return 9 // (9 - query.number)"),
            "policy Mine: query 9: decide: ZeroDivisionError: ",
        ),
        (
            MINE.replace("@staticmethod", "").replace("(query", "(self, query").replace("128", "self.x"),
            "policy Mine: query 0: decide: AttributeError: ",
        ),
    ],
)
def test_a_bad_policy_file_is_one_line_and_exit_code_2(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(
        capsys,
        *("--policy-file", written(tmp_path, text)),
        *("--set", "traffic.query_sizes={distribution: fixed, num_items: 128}"),
    ).replace("integer division", "")


def test_the_file_has_to_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected a Python file, found none at nowhere.py" in refused(
        capsys, "--policy-file", "nowhere.py"
    )


def test_the_compiled_engine_refuses_what_it_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "--policy-file", str(EXAMPLE), "--engine", "compiled")
    assert "policy q-learning: it learns, in Python; use simpy" in message


@pytest.mark.thorough
def test_an_installed_policy_is_chosen_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_package.py").write_text(MINE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "some_package:Mine", policy_class.GROUP)
    broken = EntryPoint("broken", "no_such_package:Mine", policy_class.GROUP)
    monkeypatch.setattr(policy_class, "entry_points", lambda group: [point, broken] * (group == point.group))
    assert asked(capsys, "--policy", "mine")["policy"] == "Mine"
    assert "no policy 'mime' is installed" in refused(capsys, "--policy", "mime")
    assert "--policy broken: no_such_package:Mine: ModuleNotFoundError" in refused(
        capsys, "--policy", "broken"
    )
    assert "expected one of them, got both" in refused(capsys, "--policy", "mine", "--policy-file", "x.py")
    assert main(["list", "policies"]) == 0
    assert "mine" in capsys.readouterr().out


def test_a_scenario_file_alone_never_executes_code(tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    text = (Path(__file__).parents[2] / "scenarios" / "rm1_broadwell.yaml").read_text(encoding="utf-8")
    begin, _, end = text.partition("policy: {name: split,")
    for policy in ("policy: {name: my_policy.py,", "policy: {name: split, file: my_policy.py,"):
        file.write_text(begin + policy + end, encoding="utf-8")
        with pytest.raises(InputError, match=r"expected|unknown key"):
            load_scenario(str(file))


def test_cores_that_a_policy_sets_apart_are_counted_where_the_file_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "scenarios" / "rm1_broadwell.yaml").read_text(encoding="utf-8")
    batches = "small_batch_size: 9, large_batch_size: 64"
    settings = f"{{name: separate-queues, large_from_items: 9, {batches}, small_cores: 28}}"
    file = tmp_path / "a.yaml"
    file.write_text(
        "\n".join(
            f"policy: {settings}" if line.startswith("policy:") else line for line in text.splitlines()
        ),
        encoding="utf-8",
    )
    assert main(["predict", "--scenario", str(file)]) == 2
    error = capsys.readouterr().err
    assert "a.yaml:11:" in error
    assert "small_cores: expected fewer than the 28 cores, got 28" in error
