"""The cases: keys, whole files, options, and pairs of legal extremes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from typer.main import get_command

from benchmarks.hostile.answers import AnswerTarget, answer_targets, ordinary_answer
from benchmarks.hostile.documents import (
    Kind,
    Target,
    both,
    legal_extremes,
    targets,
    write_data,
)
from benchmarks.hostile.parquet_files import parquet_cases
from benchmarks.hostile.running import Case
from benchmarks.hostile.text_files import FACTORY, QUICK, TextFile, text_files
from benchmarks.hostile.values import TEXTS, VALUES, contents
from perfmodel.cli.commands import _app

KINDS: tuple[Kind, ...] = ("scenario", "model", "profile", "derived", "fleet")

_ASKED: dict[Kind, tuple[str, ...]] = {
    "scenario": ("predict", "--json", "--extrapolate", "-s", "file.yaml"),
    "model": ("latency", "--json", "--extrapolate", "--on", "skylake", "-b", "1,64", "-m", "file.yaml"),
    "profile": ("latency", "--json", "--extrapolate", "-m", "ncf", "-b", "1,64", "--on", "file.yaml"),
    "derived": ("latency", "--json", "--extrapolate", "-m", "ncf", "-b", "1,64", "--on", "file.yaml"),
    "fleet": ("plan", "--json", "--extrapolate", "file.yaml"),
}

_TRAFFIC: dict[str, str] = {
    "trace.csv": "traffic.arrivals={process: trace, file: trace.csv}",
    "sizes.txt": "traffic.query_sizes={distribution: file, file: sizes.txt}",
}

_BY_HOUR: dict[str, str] = {"demand.csv": "fleet.yaml", "grid.csv": "carbon.yaml"}
"""Files with a value an hour, and the fleet that names them."""

PAIRED: tuple[Kind, ...] = ("scenario", "fleet")
"""Kinds of files of which pairs of keys are tried at their legal extremes."""

_COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": ("-s", "ncf_skylake"),
    "capacity": ("-s", "ncf_skylake"),
    "tune": ("-s", "ncf_skylake", "--batch-sizes", "64,128"),
    "latency": ("-m", "ncf", "--on", "skylake"),
    "fleet": ("-s", "ncf_skylake", "-n", "2"),
    "sweep": ("ncf_skylake", "--over", "policy.batch_size=64,128", "--jobs", "1", "--set", QUICK),
    "plan": ("two_services",),
    "observe": ("log.csv", "--sort", "--sla-ms", "50"),
    "trace": ("show", "trace.csv"),
    "profile": ("new", "--base", "skylake", "--out", "mine.yaml"),
    "explain": ("ncf_skylake", "--set", QUICK),
    "diff": ("ncf_skylake", "ncf_broadwell", "--set", QUICK),
    "map": ("-m", "ncf", "--on", "skylake,broadwell"),
    "mlperf": ("mlperf_dlrm_v2_skylake", "--set", QUICK),
    "list": ("models",),
    "schema": ("model",),
    "show": ("ncf",),
    "init": ("here",),
    "report": ("answer.json",),
    "calibrate": ("-o", "profile.yaml", "--budget", "10s"),
    "import": ("factory.py:make", "-o", "model.yaml"),
    "reproduce": ("hpca",),
    "validate": ("-s", "ncf_skylake", "--duration", "1s"),
    "doctor": (),
    "dev": ("compare",),
}
"""What each command is called with beside the option that is tried."""

_DIFFED = frozenset({"predict", "plan"})
"""Commands whose saved answers are compared with the unchanged ones, too."""

MEASURING = frozenset({"calibrate", "import", "reproduce", "validate"})
"""Commands that measure or compute for minutes: tried up to where that begins."""


def all_cases(seed: int, num_pairs: int) -> Iterator[Case]:
    """Every key, file and option with every value, and a sample of pairs."""
    yield from key_cases()
    yield from file_cases()
    yield from cell_cases()
    yield from parquet_cases()
    yield from option_cases()
    yield from answer_cases()
    yield from pair_cases(seed, num_pairs)


def key_cases() -> Iterator[Case]:
    """Every key of every kind of YAML file, with every value."""
    for kind in KINDS:
        for target in targets(kind):
            for name, value in VALUES.items():
                yield _file_case(
                    f"keys of a {kind}",
                    f"{target.label}: {name}",
                    kind,
                    _writing(target, value),
                    placed=True,
                )


def file_cases() -> Iterator[Case]:
    """Whole files that are not what they should be."""
    for kind in KINDS:
        ordinary = _ordinary(kind).encode()
        for name, content in contents(ordinary).items():
            yield _file_case("whole files", f"{kind}: {name}", kind, _bytes_in("file.yaml", content))
        yield _file_case("whole files", f"{kind}: a directory", kind, lambda at: (at / "file.yaml").mkdir())
        yield _file_case("whole files", f"{kind}: missing", kind, lambda _: None)
    for file in (*_TRAFFIC, *_BY_HOUR):
        ordinary = _data(file).encode()
        for name, content in contents(ordinary).items():
            yield _traffic_case("whole files", f"{file}: {name}", file, _bytes_in(file, content))
        yield _traffic_case(
            "whole files", f"{file}: a directory", file, lambda at, file=file: (at / file).mkdir()
        )
        yield _traffic_case("whole files", f"{file}: missing", file, lambda _: None)
    for text_file in text_files():
        for name, content in contents(text_file.text.encode()).items():
            yield _text_case("whole files", f"{text_file.name}: {name}", text_file, content)
    for name, content in contents(b"class Mine:\n    pass\n").items():
        arguments = ("predict", "-s", "ncf_skylake", "--policy-file", "mine.py")
        files = _bytes_in("mine.py", content)
        yield Case(group="whole files", what=f"policy file: {name}", arguments=arguments, files=files)


def cell_cases() -> Iterator[Case]:
    """Every column of a trace and of values by hour, and lines of a list of sizes, with every value.

    Of all other files, every word, up to a number of them.
    """
    for text_file in text_files():
        for start, end in text_file.words():
            for name, text in TEXTS.items():
                what = f"{text_file.name}: {text_file.place(start)}: {name}"
                content = partial(text_file.replaced, start, end, text)
                yield _text_case("cells", what, text_file, content, placed=True)
    for file in (*_TRAFFIC, *_BY_HOUR):
        lines = _data(file).splitlines()
        columns = len(lines[0].split(","))
        for number in (0, 1, 2, len(lines) - 1):
            for column in range(columns):
                for name, text in TEXTS.items():
                    cells = lines[number].split(",")
                    cells[column] = text
                    changed = "\n".join([*lines[:number], ",".join(cells), *lines[number + 1 :], ""])
                    content = changed.encode("utf-8", "surrogateescape")
                    what = f"{file}: line {number + 1}, column {column + 1}: {name}"
                    written = _bytes_in(file, lambda content=content: content)
                    yield _traffic_case("cells", what, file, written, placed=True)


def option_cases() -> Iterator[Case]:
    """Every option and argument of every command with every value, twice, and without one."""
    for command, beside in _COMMANDS.items():
        parameters = get_command(_app(command)).commands[command].params  # type: ignore[attr-defined]  # a group
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                for name, text in TEXTS.items():
                    yield _option_case(command, f"argument {parameter.name}: {name}", (text, *beside[1:]))
                continue
            option = max(parameter.opts, key=len)
            if parameter.is_flag:
                yield _option_case(command, option, (*beside, option))
                continue
            rest = _without(beside, parameter.opts)
            yield _option_case(command, f"{option}: nothing", (*rest, option))
            for name, text in TEXTS.items():
                yield _option_case(command, f"{option}: {name}", (*rest, option, text))
                if option == "--set":
                    yield _option_case(command, f"{option}: key {name}", (*rest, option, f"{text}=1"))
            if not parameter.multiple:
                yield _option_case(command, f"{option}: twice", (*rest, option, "1", option, "2"))


def answer_cases() -> Iterator[Case]:
    """Saved answers with every key replaced or left out, made a page of; some compared, too."""
    for target in answer_targets():
        commands = {"report": ("report", "answer.json")}
        if target.command in _DIFFED:
            commands["diff"] = ("diff", "answer.json", "other.json", "--json")
        for command, arguments in commands.items():
            yield Case(
                group="keys of a saved answer",
                what=f"{command} of {target.label}",
                arguments=arguments,
                files=_answer(target),
                placed=True,
            )


def pair_cases(seed: int, num_pairs: int) -> Iterator[Case]:
    """Pairs of keys of one scenario or fleet, each at one of its legal extremes, drawn by a seed."""
    for kind in PAIRED:
        by_document: dict[int, list[tuple[Target, list[Any]]]] = {}
        for target in targets(kind):
            if extremes := legal_extremes(target):
                by_document.setdefault(id(target.document), []).append((target, extremes))
        generator = random.Random(seed)
        pairs = [
            (first, one, second, other)
            for found in by_document.values()
            for (first, ones), (second, others) in combinations(found, 2)
            for one in ones
            for other in others
        ]
        for first, one, second, other in generator.sample(pairs, min(num_pairs, len(pairs))):
            text = both(first, one, second, other)
            what = f"{first.label}: {one:g}, {second.label}: {other:g}"
            content = text.encode()
            files = _bytes_in("file.yaml", lambda content=content: content)
            yield _file_case(f"pairs of extremes of a {kind}", what, kind, files)


def _ordinary(kind: Kind) -> str:
    target = targets(kind)[0]
    return target.written(target.document.get("description", ""))


def _data(file: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        return (Path(folder) / file).read_text()


def _writing(target: Target, value: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "file.yaml").write_text(target.written(value))

    return write


def _answer(target: AnswerTarget) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "answer.json").write_text(target.written())
        (folder / "other.json").write_text(ordinary_answer(target.command))

    return write


def _bytes_in(name: str, content: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content())

    return write


def _file_case(
    group: str, what: str, kind: Kind, files: Callable[[Path], None], *, placed: bool = False
) -> Case:
    def write(folder: Path) -> None:
        write_data(folder)
        files(folder)

    return Case(group=group, what=what, arguments=_ASKED[kind], files=write, placed=placed)


def _traffic_case(
    group: str, what: str, file: str, files: Callable[[Path], None], *, placed: bool = False
) -> Case:
    if (fleet := _BY_HOUR.get(file)) is not None:

        def write(folder: Path) -> None:
            write_data(folder)
            (folder / file).unlink()
            files(folder)

        return Case(group=group, what=what, arguments=("plan", "--json", fleet), files=write, placed=placed)
    settings = [part for override in (QUICK, _TRAFFIC[file]) for part in ("--set", override)]
    arguments = ("predict", "-s", "ncf_skylake", *settings)
    return Case(group=group, what=what, arguments=arguments, files=files, placed=placed)


def _text_case(
    group: str, what: str, file: TextFile, content: Callable[[], bytes], *, placed: bool = False
) -> Case:
    def write(folder: Path) -> None:
        made = content()
        (folder / file.name).write_bytes(made)
        for name, text in file.beside(made).items():
            (folder / name).write_text(text)

    return Case(group=group, what=what, arguments=file.arguments, files=write, placed=placed)


def _option_case(command: str, what: str, arguments: tuple[str, ...]) -> Case:
    return Case(group="options", what=f"{command} {what}", arguments=(command, *arguments), files=_beside)


def _beside(folder: Path) -> None:
    """Every file that an option may name."""
    write_data(folder)
    (folder / "answer.json").write_text(ordinary_answer("predict"))
    (folder / "factory.py").write_text(FACTORY)
    for file in text_files():
        (folder / file.name).write_text(file.text)


def _without(arguments: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    """The arguments without an option and its value."""
    for index, argument in enumerate(arguments):
        if argument in names:
            return arguments[:index] + arguments[index + 2 :]
    return arguments
