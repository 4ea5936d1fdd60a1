"""What people type without reading: a scenario in its place, -h, a Tab, more traffic, files to start from."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from select import select

import pytest

import perfmodel
from perfmodel.cli.commands import COMMANDS
from perfmodel.cli.completion import complete_fleets, complete_settings
from perfmodel.cli.main import main
from perfmodel.loading.file_kinds import Kind
from perfmodel.loading.shipped import shipped_directory, shipped_names
from perfmodel.loading.words import cut
from tests.golden.scenarios import QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
CHECKOUT = Path(perfmodel.__file__).parent.parent


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(list(arguments))
    return capsys.readouterr().out


def asked_by(shell: str, line: str) -> dict[str, str]:
    """What a shell sets to be offered something at the end of a line."""
    broken = [part for word in line.split(" ") for part in filter(None, re.split("([=@:]+)", word))]
    broken += [""] if line.endswith(" ") else []
    words = {"COMP_WORDS": "\n".join(broken), "COMP_CWORD": str(len(broken) - 1)}
    asked = words if shell == "bash" else {"_TYPER_COMPLETE_ARGS": line}
    return {**asked, "_PERFPLAN_COMPLETE": f"complete_{shell}"}


@pytest.mark.thorough
def test_a_scenario_may_stand_where_people_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    named = answer(capsys, "predict", "-s", "rm3_skylake", *FEW)
    assert answer(capsys, "predict", "rm3_skylake", *FEW) == named != ""


@pytest.mark.parametrize("given", [["rm3_skylake", "-s", "rm1_skylake"], ["rm3_skylake", "rm1_skylake"]])
def test_two_scenarios_are_not_one(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", *given]) == 2
    assert capsys.readouterr().err == "expected one scenario, got 2: 'rm3_skylake', 'rm1_skylake'\n"


def test_no_scenario_is_a_line_that_says_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict"]) == 2
    assert "perfplan list scenarios" in capsys.readouterr().err


OTHER_FILES = {
    "fleet": "perfplan plan {} takes",
    "scenario": "perfplan predict {} takes",
    "model": "perfplan latency --model {} --on PROFILE --batch 1,64 takes",
    "profile": "perfplan latency --model MODEL --on {} --batch 1,64 takes",
}
SHIPPED: dict[str, tuple[Kind, str]] = {
    "fleet": ("fleet", "two_services"),
    "scenario": ("scenario", "rm3_skylake"),
    "model": ("model", "dlrm-rmc3"),
    "profile": ("profile", "skylake"),
}
TAKES = {
    "scenario": ("explain", "{}"),
    "fleet": ("plan", "{}"),
    "model": ("latency", "--on", "skylake", "--batch", "1", "--model", "{}"),
    "profile": ("latency", "--model", "ncf", "--batch", "1", "--on", "{}"),
}


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("wanted", TAKES)
@pytest.mark.parametrize("given", OTHER_FILES)
def test_a_file_of_another_kind_is_called_what_it_is(
    given: str, wanted: str, by_path: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if given == wanted:
        return
    kind, name = SHIPPED[given]
    written = str(shipped_directory(kind) / f"{name}.yaml") if by_path else name
    assert main([part.format(written) for part in TAKES[wanted]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"expected a {wanted}, got a {given}, which " in err
    assert OTHER_FILES[given].format(cut(written)) in err
    assert len(err.splitlines()) == 1


@pytest.mark.thorough
def test_a_saved_answer_is_called_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("answer.json").write_text(answer(capsys, "predict", "rm3_skylake", *FEW, "--json"))
    assert main(["predict", "./answer.json"]) == 2
    assert "got a saved answer, which perfplan report answer.json --out" in capsys.readouterr().err
    assert main(["predict", "answer.json"]) == 2
    assert "got 'answer.json', a saved answer, which diff and report take" in capsys.readouterr().err


def test_fleets_are_listed_and_shown_as_messages_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "no_fleet"]) == 2
    assert "(perfplan list fleets shows all)" in capsys.readouterr().err
    assert answer(capsys, "list", "fleets").startswith("hercules ")
    assert answer(capsys, "show", "two_services").startswith("# Two services")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_and_a_short_form(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    out = capsys.readouterr().out.replace(" \\\n      ", " ")  # long ones go on in the next line
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        assert f"\n    {example}\n" in out
        program, command, *arguments = shlex.split(example.partition(" > ")[0])
        assert (program, command) == ("perfplan", name)
        options = [argument for argument in arguments if argument.startswith("--")]
        assert all(option in out for option in options)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("perfplan pre", ["predict"]),
        ("perfplan predict rm3_sky", ["rm3_skylake", "rm3_skylake_bursty"]),
        ("perfplan predict -s rm3_sky", ["rm3_skylake", "rm3_skylake_bursty"]),
        ("perfplan latency -m dlrm-r", ["dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3"]),
        ("perfplan latency --on sky", ["skylake"]),
        ("perfplan latency --on skylake@h", ["@hpca2020"]),  # bash wants what stands behind its last break
        ("perfplan predict --set sla.", ["sla.confidence=", "sla.latency_ms="]),
        ("perfplan predict --set node.cpu=sky", ["skylake"]),
        ("perfplan predict --set=node.cpu=sky", ["skylake"]),
        ("perfplan sweep rm3_skylake --over sla.", ["sla.confidence=", "sla.latency_ms="]),
        ("perfplan plan two_services --set provision.head", ["provision.headroom="]),
        ("perfplan dev acc", ["accuracy"]),
        ("perfplan predict scenarios/rm3_skylake.", ["scenarios/rm3_skylake.yaml"]),
        ("perfplan plan two", ["two_services"]),
        ("perfplan report two", ["two_services"]),
        ("perfplan diff rm3_skylake rm3_bro", ["rm3_broadwell"]),
        ("perfplan map --models wnd,dlrm-r", ["wnd,dlrm-rmc1", "wnd,dlrm-rmc2", "wnd,dlrm-rmc3"]),
        ("perfplan profile new --base sky", ["skylake"]),
        ("perfplan observe log.csv --scenario rm3_bro", ["rm3_broadwell"]),
        ("perfplan show ncf", ["ncf_broadwell", "ncf_skylake", "ncf"]),
    ],
)
def test_a_tab_offers_commands_files_and_keys(
    line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CHECKOUT)
    for name, value in asked_by("bash", line).items():
        monkeypatch.setenv(name, value)
    main([])
    found = capsys.readouterr().out.split("\n")
    assert [each for each in found if not each.endswith("/")][: len(offered)] == offered


def test_what_alone_goes_on_is_offered_with_what_may_follow(tmp_path: Path) -> None:
    """Behind one offer alone a shell puts a blank, which a value or a file would have to lose."""
    assert complete_settings("sla.perc") == ["sla.percentile=", "sla.percentile=VALUE"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fleet.yaml").touch()
    folder = f"{tmp_path / 'mine'}{os.sep}"
    assert complete_fleets(f"{tmp_path / 'mi'}") == [folder, f"{folder}fleet.yaml"]


STARTS = {
    "bash": ("rc", "", ["bash", "--noprofile", "--rcfile", "rc", "-i"]),
    "zsh": (".zshrc", "autoload -Uz compinit; compinit -u\n", ["zsh", "-i"]),
}
"""Of a shell: the file that it reads first, what must stand in it before, and its command."""


class Terminal:
    """An interactive shell that completes perfplan, and what it shows."""

    def __init__(self, home: Path, shell: str = "bash") -> None:
        file, before, command = STARTS[shell]
        perfplan = str(Path(sys.executable).with_name("perfplan"))
        asks = {**os.environ, "_PERFPLAN_COMPLETE": f"source_{shell}"}
        script = subprocess.run([perfplan], env=asks, capture_output=True, text=True, check=True, timeout=60)
        (home / file).write_text(f"{before}{script.stdout}\nPS1='ready> '\n", encoding="utf-8")
        path = f"{Path(perfplan).parent}{os.pathsep}{os.environ['PATH']}"
        ours, theirs = pty.openpty()
        self.shell = subprocess.Popen(
            command,
            cwd=home,
            env={"PATH": path, "HOME": str(home), "TERM": "dumb", "INPUTRC": os.devnull},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.ours = ours
        self.until("ready> ")

    def until(self, shown: str, timeout_s: float = 60.0) -> str:
        """Read until something is shown."""
        text, end_s = "", time.monotonic() + timeout_s
        while shown not in text:
            assert select([self.ours], [], [], max(0.0, end_s - time.monotonic()))[0], (shown, text)
            text += os.read(self.ours, 4096).decode()
        return text

    def completes(self, typed: str, to: str) -> None:
        """Type, press Tab, and see what comes of it."""
        os.write(self.ours, f"{typed}\t".encode())
        self.until(to)
        os.write(self.ours, b"\x15\n")
        self.until("ready> ")

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.ours)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="no bash here")
def test_bash_itself_completes_words_that_it_breaks_and_names_with_blanks(tmp_path: Path) -> None:
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files" / "one.yaml").touch()
    terminal = Terminal(tmp_path)
    try:
        terminal.completes("perfplan predict --set node.cpu=sky", "node.cpu=skylake ")
        terminal.completes("perfplan latency --on skylake@h", "skylake@hpca2020 ")
        terminal.completes("perfplan plan my\\ files/", "my\\ files/one.yaml ")
    finally:
        terminal.close()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_itself_completes_names_keys_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    terminal = Terminal(tmp_path, "zsh")
    try:
        terminal.completes("perfplan predict rm3_skylake_b", "rm3_skylake_bursty")
        terminal.completes("perfplan latency --model dlrm-rmc1 --on skyl", "skylake")
        terminal.completes("perfplan predict --set node.cpu=sky", "node.cpu=skylake")
        terminal.completes("perfplan latency --on skylake@h", "skylake@hpca2020")
        terminal.completes("perfplan plan mi", "mine.yaml")
    finally:
        terminal.close()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_itself_completes_names_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    folder = tmp_path / ".config" / "fish" / "completions"
    folder.mkdir(parents=True)
    perfplan = str(Path(sys.executable).with_name("perfplan"))
    asks = {**os.environ, "_PERFPLAN_COMPLETE": "source_fish"}
    script = subprocess.run([perfplan], env=asks, capture_output=True, text=True, check=True, timeout=60)
    (folder / "perfplan.fish").write_text(script.stdout, encoding="utf-8")
    here = {"HOME": str(tmp_path), "PATH": f"{Path(perfplan).parent}{os.pathsep}{os.environ['PATH']}"}
    for line, offered in (("predict rm3_sky", "rm3_skylake_bursty"), ("plan mi", "mine.yaml")):
        done = subprocess.run(
            ["fish", "-c", f"complete -C 'perfplan {line}'"],
            env=here,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert offered in done.stdout.split()


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_offered_the_same(shell: str) -> None:
    """As it asks: a process of its own without arguments."""
    asked = {**asked_by(shell, "perfplan predict rm3_sky"), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-m", "perfmodel.cli.main"],
        env={**os.environ, **asked, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "rm3_skylake_bursty" in done.stdout


@pytest.mark.parametrize("instruction", ["bash_source", "source_bash", "zsh_source", "fish_source"])
def test_a_shell_gets_its_script_in_either_order_of_the_words(
    instruction: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_PERFPLAN_COMPLETE", instruction)
    assert main([]) == 0
    assert "_PERFPLAN_COMPLETE=complete_" in capsys.readouterr().out


@pytest.mark.thorough
def test_more_traffic_is_a_factor_or_a_product(capsys: pytest.CaptureFixture[str]) -> None:
    ways = [
        ["--scale-load", "1.4"],
        ["--set", "traffic.arrivals.rate_qps=400*1.4"],
        ["--set", "traffic.arrivals.rate_qps=560"],
    ]
    answers = [json.loads(answer(capsys, "predict", "rm3_skylake", *FEW, *way, "--json")) for way in ways]
    assert [each["offered_qps"] for each in answers] == [560.0] * 3
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf", "1e30"])
def test_a_factor_that_is_none_is_refused(factor: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "rm3_skylake", "--scale-load", factor]) == 2
    assert capsys.readouterr().err.startswith("--scale-load: expected ")


def test_a_fleet_has_more_traffic_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "fleet", "rm3_skylake", "-n", "3", *FEW, "--scale-load", "1.5", "--json")
    assert json.loads(found)["offered_qps"] == 3 * 600.0


@pytest.mark.parametrize("name", ["rm3_skylake", "dlrm-rmc3", "skylake"])
def test_a_shipped_file_is_shown_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(answer(capsys, "show", name, "--path").strip())
    assert answer(capsys, "show", name) == path.read_text(encoding="utf-8")


def test_what_is_not_shipped_has_a_near_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "rm3_skylak"]) == 2
    assert "did you mean 'rm3_skylake'?" in capsys.readouterr().err


def test_no_name_is_shipped_twice() -> None:
    names = [name for kind in ("scenario", "model", "profile") for name in shipped_names(kind)]  # type: ignore[arg-type]
    assert len(names) == len(set(names))


@pytest.mark.thorough
def test_files_to_start_from_are_answered_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine"]) == 0
    said = capsys.readouterr().out
    assert sorted(os.listdir("mine")) == ["fleet.yaml", "model.yaml", "scenario.yaml"]
    for line in (each for each in said.splitlines() if "perfplan " in each):
        few = FEW if "predict" in line else []
        assert main([*shlex.split(line.partition("perfplan ")[2]), *few]) == 0
    capsys.readouterr()
    before = Path("mine/model.yaml").read_bytes()
    assert main(["init", "mine"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert Path("mine/model.yaml").read_bytes() == before


@pytest.mark.by_default("latency-arguments1")
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("predict", ["rm3_skylake", *FEW]),
        ("latency", ["-m", "dlrm-rmc3", "--on", "skylake"]),
        ("fleet", ["rm3_skylake", "-n", "2", "--also", "rm3_broadwell=1", *FEW]),
    ],
)
def test_an_answer_says_what_made_it_when_and_of_what(
    command: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    document = json.loads(answer(capsys, command, *arguments, "--json"))
    assert list(document)[:4] == ["schema", "perfplan", "date", "inputs"]
    assert document["schema"]["name"] == command
    assert document["date"] == "1970-01-02"
    read = {each["name"]: each["sha256"] for each in document["inputs"]}
    profile = shipped_directory("profile") / "skylake.yaml"
    assert read["hardware_profiles/skylake.yaml"] == sha256(profile.read_bytes()).hexdigest()
    assert "zoo/dlrm-rmc3.yaml" in read
    assert ("scenarios/rm3_skylake.yaml" in read) == (command != "latency")


@pytest.mark.thorough
def test_an_answer_holds_the_question_with_what_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(answer(capsys, "predict", "rm3_skylake", *FEW, "--scale-load", "2", "--json"))
    assert document["asked"]["traffic"]["arrivals"] == {"process": "poisson", "rate_qps": 800.0}
    again = perfmodel.predict(document["asked"])
    assert again.to_dict()["latency_ms"] == document["latency_ms"]
