"""What scripts rely on: exit codes, JSON keys, where output goes, and which imports a command pays for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import perfmodel
from perfmodel.cli import commands as cli
from perfmodel.cli.commands import COMMANDS, LazyCommand
from perfmodel.cli.main import main
from perfmodel.errors import ExtrapolationError, InputError, PerfplanError, UnstableError
from perfmodel.loading.shipped import shipped_names

CHECKOUT = Path(perfmodel.__file__).parent.parent
HEAVY = ("numba", "scipy", "simpy", "matplotlib", "pandas", "torch")


def modules_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after running this code."""
    listing = "import sys; print('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{listing}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stderr.strip().splitlines()[-1].split("|"))


def test_importing_perfmodel_loads_nothing_heavy() -> None:
    assert not modules_after("import perfmodel").intersection(HEAVY)


@pytest.mark.thorough
def test_importing_the_loaders_loads_nothing_heavy() -> None:
    code = "from perfmodel.loading import profile_file, scenario_file, traffic_files"
    assert not modules_after(code).intersection(HEAVY)


def test_listing_files_loads_no_numpy() -> None:
    modules = modules_after("from perfmodel.cli.main import main; main(['list', 'scenarios'])")
    assert not modules.intersection((*HEAVY, "numpy"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_help_is_the_commands_own(name: str) -> None:
    command = COMMANDS[name]
    assert command.summary == (command.load().__doc__ or "").partition("\n")[0]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"perfplan {name}" in capsys.readouterr().out


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("perfplan ")


@pytest.mark.parametrize(
    "arguments", [["lst"], ["--nonsense"], ["list", "nonsense"], ["list", "--nonsense"], ["schema", "x"]]
)
def test_a_usage_error_exits_with_2_and_leaves_stdout_empty(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.yaml:1:2: rate_qps: no"), 2),
        (UnstableError("the cores are overloaded", utilisation=1.5), 4),
        (ExtrapolationError("batch 4096 is outside"), 5),
        (PerfplanError("something else"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_on_stderr_and_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        """Fail."""
        raise error

    monkeypatch.setattr(cli, "COMMANDS", {"fail": LazyCommand("Fail.", lambda: fail)})
    assert main(["fail"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err
        == f"{str(error) or 'interrupted: there is no answer yet; every file is there whole, or as it was'}\n"
    )


@pytest.mark.thorough_cases("profiles")
@pytest.mark.parametrize(
    "topic", ["models", "profiles", "scenarios", "fleets", "policies", "arrivals", "distributions"]
)
def test_list_prints_names_and_descriptions_as_json(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", topic, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["schema", "perfplan", "date", "inputs", topic]
    own = {"profiles": {"stacks"}, "models": {"work"}}.get(topic, set())
    assert all(row.keys() == {"name", "description"} | own and row["description"] for row in listed[topic])


@pytest.mark.thorough
def test_list_without_a_topic_prints_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == [
        "schema",
        "perfplan",
        "date",
        "inputs",
        "models",
        "profiles",
        "scenarios",
        "fleets",
        "policies",
        "arrivals",
        "distributions",
    ]
    assert [row["name"] for row in listed["scenarios"]] == shipped_names("scenario")
    assert main(["list"]) == 0
    assert "\nscenarios:\n" in capsys.readouterr().out


@pytest.mark.thorough
def test_listed_names_are_those_that_a_scenario_may_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in listed["policies"]} >= {"split", "size-priority", "dynamic-batching"}
    assert {row["name"] for row in listed["arrivals"]} >= {"poisson", "constant", "mmpp", "diurnal", "trace"}
    assert {row["name"] for row in listed["distributions"]} >= {"deeprecsys-production", "lognormal", "file"}


@pytest.mark.parametrize(
    ("kind", "key"), [("scenario", "traffic"), ("model", "operators"), ("profile", "stacks")]
)
def test_schemas_describe_what_files_may_hold(
    kind: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert key in schema["properties"]
    assert schema["additionalProperties"] is False
    assert schema["title"] == f"perfplan {kind}"
