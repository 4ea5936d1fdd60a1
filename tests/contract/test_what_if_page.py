"""The page of what-ifs is true: what it prints of a command is what the command answers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.planning.early_stopping import least_queries
from tests.contract.test_docs import CHECKOUT

TEXT = (CHECKOUT / "docs" / "what-if.md").read_text(encoding="utf-8")
CLOSE = 0.01
"""How far a figure may be off: searches differ by some thousandths between versions. [1]"""
HOT_ROWS = re.compile(
    r"^\| (none|[^|]*GiB[^|]*) \| [^|]+ \| [^|]+ \| ([\d.]+) \(([\d.]+)\)", flags=re.MULTILINE
)


class Told(NamedTuple):
    """A command of the page, and what is said of it: a percentile, the largest load, the one to plan for."""

    command: str
    percentile: str | None
    said: float
    plan_for: float | None


def told() -> Iterator[Told]:
    """Commands behind which the page says what they answer."""
    for command, words in re.findall(
        r"^perfplan ((?:predict|capacity) .*?) +# (.*)$", TEXT, flags=re.MULTILINE
    ):
        found = re.search(r"(p\d+) ([\d.]+) ms", words)
        if command.startswith("predict") and found:
            yield Told(command, found[1], float(found[2]), None)
        elif command.startswith("capacity") and (found := re.match(r"([\d.]+)(?: queries/s|;| \()", words)):
            plan = re.match(r".*?\((?:plan for )?([\d.]+)\)", words)
            yield Told(command, None, float(found[1]), None if plan is None else float(plan[1]))


def document(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command answers as JSON, whatever its exit code."""
    main([*arguments, "--json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("step", list(told()), ids=lambda step: step.command)
def test_a_command_answers_what_stands_beside_it(
    step: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    answer = document(shlex.split(step.command), capsys)
    if step.percentile is not None:
        assert answer["latency_ms"][step.percentile] == pytest.approx(step.said, rel=CLOSE)
        return
    assert answer["latency_bounded_qps"] == pytest.approx(step.said, rel=CLOSE)
    if step.plan_for is not None:
        assert answer["plan_for_qps"] == pytest.approx(step.plan_for, rel=CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("row", HOT_ROWS.findall(TEXT), ids=lambda row: row[0])
def test_the_table_of_popular_rows_is_what_its_command_answers(
    row: tuple[str, str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    kept, largest, plan_for = row
    (command,) = re.findall(r"^perfplan (capacity .*hot_rows=.*)$", TEXT, flags=re.MULTILINE)
    gib = re.match(r"\d+", kept)
    rows = (
        "null" if gib is None else f"{{memory_gib: {gib[0]}, kept: {'lru' if 'lru' in kept else 'pinned'}}}"
    )
    arguments = [re.sub(r"hot_rows=.*", f"hot_rows={rows}", each) for each in shlex.split(command)]
    answer = document(arguments, capsys)
    assert answer["latency_bounded_qps"] == pytest.approx(float(largest), rel=CLOSE)
    assert answer["plan_for_qps"] == pytest.approx(float(plan_for), rel=0.5 / float(plan_for) + CLOSE)


def test_the_page_tells_of_as_many_commands_as_it_seems_to() -> None:
    assert len(list(told())) == 8
    assert len(HOT_ROWS.findall(TEXT)) == 5


@pytest.mark.thorough
def test_times_of_precisions_that_nobody_measured_are_those_printed() -> None:
    times = r"([\d.]+) ms in fp32, ([\d.]+) in\s+fp16, ([\d.]+) in int8\)"
    said = re.search(r"\((dlrm-rmc3) at (\d+) items on `h100`: " + times, TEXT)
    assert said is not None
    for device, ms in zip(("h100", "h100-fp16", "h100-int8"), said.groups()[2:], strict=True):
        answer = perfmodel.latency(said[1], device, [int(said[2])]).to_dict()
        assert answer["rows"][0]["latency_ms"] == pytest.approx(float(ms), abs=0.006), device


def test_a_precision_that_a_card_lacks_is_refused_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = re.findall(r"```\n\$ perfplan (latency .*)\n(.*)\n```", TEXT)
    assert main(shown[0].split()) == 2
    assert shown[1] in capsys.readouterr().err


@pytest.mark.thorough
def test_the_table_of_early_stopping_is_the_binomial_law() -> None:
    head, *rows = re.findall(r"^\| (late queries|\d) \|(.*)\|$", TEXT, flags=re.MULTILINE)
    percentiles = [float(each.strip().removeprefix("p")) / 100 for each in head[1].split("|")]
    assert len(rows) == 4
    for late, counts in rows:
        found = [least_queries(int(late), percentile) for percentile in percentiles]
        assert found == [int(each) for each in counts.split("|")]


@pytest.mark.thorough
def test_what_shards_send_and_spend_is_what_their_commands_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    said = re.search(
        r"gets ([\d.]+) MB of vectors by row, and spends (\d+) % of its time on packing\s+and sending; "
        r"by table ([\d.]+) MB, and (\d+) %",
        TEXT,
    )
    commands = re.findall(
        r"^perfplan (latency -s .* --set node.shards.count=auto .*)$", TEXT, flags=re.MULTILINE
    )
    assert said is not None
    for command, mb, share in zip(commands, said.groups()[::2], said.groups()[1::2], strict=True):
        answer = document(command.split(), capsys)
        assert any(f"gets {mb} MB of vectors" in note for note in answer["notes"])
        (network,) = [each for each in answer["rows"][0]["operators"] if each["name"] == "network"]
        assert 100 * network["share"] == pytest.approx(float(share), abs=0.6)


@pytest.mark.thorough
def test_the_operators_of_the_node_with_tiers_are_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```\n(operator .*?\noptane .*?)```", TEXT, flags=re.DOTALL)
    rows = re.findall(r"^(\w+) +\w+ +([\d.]+) +([\d.]+) %", block, flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == ["emb", "optane", "top"]
    answer = document(["predict", "five_terabytes_tiered"], capsys)
    by_name = {each["name"]: each for each in answer["operators"]}
    for name, ms, share in rows:
        assert by_name[name]["time_ms"] == pytest.approx(float(ms), rel=CLOSE)
        assert 100 * by_name[name]["share"] == pytest.approx(float(share), abs=0.06)
    said = re.search(r"of the lookups; optane ([\d.]+ % \(\d+ GiB, \d+ ms) of a", block)
    assert said is not None
    assert any(said[1] in note for note in answer["notes"])
