"""Capacities are found once, found again where anything changed, and whole whatever ended the process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan import capacities
from perfmodel.planning.plan.capacities import Found
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.question import PairCapacity
from perfmodel.whole_file import unsealed

QUICK = "simulation: {min_queries: 5000, max_queries: 5000}"
SCENARIO = """\
node: {{service_times: table.csv, executors: 4}}
traffic:
  arrivals: {{process: poisson, rate_qps: {rate}}}
  query_sizes: {{distribution: fixed, num_items: 100}}
policy: {{name: split, batch_size: 100}}
sla: {{percentile: 0.95, latency_ms: {limit}}}
"""
FLEET = """\
services: {a: {scenario: s.yaml, demand: {qps: 100}, tune: false}}
node_types:
  one: {node: {service_times: one.csv, executors: 4}, available: 9}
  two: {node: {service_times: two.csv, executors: 8}, available: 9}
provision: {objective: nodes}
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet whose capacities are found in no time; each time counts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "s.yaml").write_text(SCENARIO.format(rate=10, limit=50), encoding="utf-8")
    for name in ("one", "two", "table"):
        (tmp_path / f"{name}.csv").write_text("items,service_ms\n1,1\n100,5\n", encoding="utf-8")
    (tmp_path / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    return tmp_path / "fleet.yaml"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose capacity was found, in place of finding it."""
    found: list[str] = []

    def capacity_of(question: Any, **_: object) -> Found:
        executors = getattr(question.node, "executors", 4)  # of a table; another's do not matter here
        found.append(executors)
        return Found(PairCapacity(qps=10.0 * executors, low_qps=20.0, source="capacity"), "")

    monkeypatch.setattr(capacities, "capacity_of", capacity_of)
    return found


def rates(fleet: Path) -> dict[str, float]:
    question = plan_question(load_fleet(str(fleet)))
    return {node_type: pair.qps for (_, node_type), pair in question.capacities.items()}


def test_what_is_known_is_not_found_again_and_all_that_matters_is(fleet: Path, asked: list[int]) -> None:
    assert rates(fleet) == {"one": 40.0, "two": 80.0}
    assert sorted(asked) == [4, 8]
    assert rates(fleet) == {"one": 40.0, "two": 80.0}
    assert len(asked) == 2
    folder = fleet.parent
    (folder / "s.yaml").write_text(SCENARIO.format(rate=20, limit=50), encoding="utf-8")
    rates(fleet)
    assert len(asked) == 2, "the rate does not count"
    (folder / "one.csv").write_text("items,service_ms\n1,1\n100,6\n", encoding="utf-8")
    rates(fleet)
    assert asked[2:] == [4], "one table changed"
    (folder / "s.yaml").write_text(SCENARIO.format(rate=20, limit=60), encoding="utf-8")
    rates(fleet)
    assert sorted(asked[3:]) == [4, 8], "the SLA changed"
    fleet.write_text(
        FLEET.replace("{objective: nodes}", "{objective: nodes, confidence: 0.8}"), encoding="utf-8"
    )
    rates(fleet)
    assert len(asked) == 7, "the confidence changed"


@pytest.mark.parametrize(
    ("key", "file", "before", "after"),
    [
        ("traffic.lengths={distribution: file, file: data.txt}", "data.txt", "10\n", "90\n"),
        ("sla.outside_ms={distribution: file, file: data.txt}", "data.txt", "1\n", "9\n"),
        (
            "node={cpu: skylake@hpca2020, anchor: {service_times: data.csv, error_percent: 5}}",
            "data.csv",
            "items,service_ms\n1,1\n100,5\n",
            "items,service_ms\n1,1\n100,6\n",
        ),
        ("sla.percentile=0.95", "grid.csv", "", ""),
    ],
)
def test_no_file_that_a_plan_reads_is_left_out_of_what_it_is_kept_by(
    key: str, file: str, before: str, after: str, fleet: Path, asked: list[int]
) -> None:
    """Lengths, times outside and tables of anchors did not count: an edited one gave the capacity before."""
    folder = fleet.parent
    hours = range(24)
    (folder / "grid.csv").write_text("hour,g_per_kwh\n" + "".join(f"{hour},300\n" for hour in hours))
    scenario = (
        SCENARIO.format(rate=10, limit=50)
        .replace("{service_times: table.csv, executors: 4}", "{cpu: skylake@hpca2020}")
        .replace("node:", "model: bert4rec\nnode:")
    )
    (folder / "s.yaml").write_text(scenario)
    node = "{cpu: skylake@hpca2020}"
    section, _, value = key.partition("=")
    if section == "node":
        node = value
    elif section != "sla.percentile":
        outer, inner = section.split(".")
        held = scenario.replace(f"{outer}:\n", f"{outer}:\n  {inner}: {value}\n").replace(
            f"{outer}: {{", f"{outer}: {{{inner}: {value}, "
        )
        (folder / "s.yaml").write_text(held)
    fleet.write_text(
        "services: {a: {scenario: s.yaml, demand: {qps: 100}, tune: false}}\n"
        f"node_types: {{one: {{node: {node}, tdp_w: 9, available: 9}}}}\n".replace("tdp_w: 9, ", "")
        + "provision: {objective: nodes, grid_g_per_kwh: grid.csv}\n"
    )
    if before:
        (folder / file).write_text(before)
    names = [Path(each.name).name for each in plan_question(load_fleet(str(fleet))).inputs]
    assert {file, "grid.csv"} <= set(names)
    if before:
        (folder / file).write_text(after)
        rates(fleet)
        assert len(asked) == 2


def test_a_file_that_changes_while_its_capacity_is_found_is_not_kept(
    fleet: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = capacities.capacity_of

    def slowly(question: Any, **options: Any) -> Found:
        (fleet.parent / "one.csv").write_text("items,service_ms\n1,1\n100,7\n", encoding="utf-8")
        return before(question, **options)

    monkeypatch.setattr(capacities, "capacity_of", slowly)
    rates(fleet)
    monkeypatch.setattr(capacities, "capacity_of", before)
    asked.clear()
    rates(fleet)
    assert asked == [4]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"digest": "x"}', b"\xff\xfe", b"null", b"[" * 100_000, b"a " * 9]
)
def test_a_damaged_entry_counts_for_nothing(damage: bytes, tmp_path: Path) -> None:
    kept, found = Kept(tmp_path), {"capacity": 2.0}
    digest = digest_of({"a": 1})
    kept.keep(digest, found)
    assert kept.get(digest) == found
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage)
    assert kept.get(digest) is None
    kept.keep(digest, {"why_not": "no load meets the SLA"})
    assert kept.get(digest) == {"why_not": "no load meets the SLA"}


def test_an_entry_with_another_byte_anywhere_counts_for_nothing(tmp_path: Path) -> None:
    kept, digest = Kept(tmp_path), digest_of({"a": 1})
    kept.keep(digest, {"capacity": {"qps": 2000.0}})
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    for at in range(len(whole)):
        entry.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])  # 2000.0 becomes 3000.0, too
        assert kept.get(digest) is None
    entry.write_bytes(whole)
    assert kept.get(digest) == {"capacity": {"qps": 2000.0}}


WRITER = """
import sys
from pathlib import Path
from perfmodel.planning.plan.kept import Kept
kept = Kept(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    kept.keep(f"{number % 50:03d}", {"number": number, "text": "x" * 4000})
"""


@pytest.mark.thorough
def test_a_process_that_is_killed_leaves_whole_entries_only(tmp_path: Path) -> None:
    generator = random.Random(1)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.02 + 0.1 * generator.random())
            os.kill(writer.pid, signal.SIGKILL)
    entries = list(tmp_path.glob("*.json"))
    assert entries
    for entry in entries:
        assert json.loads(unsealed(entry.read_bytes()) or b"{}")["digest"] == entry.stem
    for left in tmp_path.glob(".perfplan-*"):
        os.utime(left, (0, 0))
    assert all(Kept(tmp_path).get(entry.stem) is not None for entry in entries)
    assert not list(tmp_path.glob(".perfplan-*"))
