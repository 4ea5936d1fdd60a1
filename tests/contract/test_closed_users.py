"""Closed users in every answer that takes them, and one line from those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main

QUICK = ("--set", "simulation.max_queries=40000", "--set", "simulation.min_queries=40000")
USERS = ("--set", "traffic.arrivals={process: closed, users: 20, think_s: 0.05}")


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.thorough
def test_predict_says_what_they_ask_and_keeps_littles_law(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = ask(capsys, "predict", "rm3_skylake", *USERS, *QUICK)
    assert code == 0
    assert found["offered_qps"] == found["throughput_qps"]
    rounds_s = 0.05 + found["latency_ms"]["mean"] / 1000
    assert found["throughput_qps"] * rounds_s == pytest.approx(20, rel=0.02)
    assert found["latency_bounded_qps"] is None
    assert any("perfplan capacity" in note for note in found["notes"])


@pytest.mark.thorough
def test_capacity_is_a_number_of_users(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("rm3_skylake", *QUICK)
    code, found = ask(capsys, "capacity", *asked, *USERS, "--set", "sla.latency_ms=25")
    assert code == 0
    users, (low, high) = found["latency_bounded_users"], found["latency_bounded_users_ci95"]
    assert low <= users <= high
    assert 0 < found["plan_for_users"] < users
    # So many meet the SLA by the central estimate, but for chance, and a fifth more do not.
    for number, limit_ms, expected in ((users, 25.5, 0), (round(1.2 * users), 25.0, 3)):
        closed = f"traffic.arrivals={{process: closed, users: {number}, think_s: 0.05}}"
        limit = ("--set", f"sla.latency_ms={limit_ms}", "--accept-uncertain")
        code, _ = ask(capsys, "predict", *asked, "--set", closed, *limit)
        assert code == expected


@pytest.mark.thorough
def test_a_sweep_goes_over_them(tmp_path: Path) -> None:
    out = tmp_path / "swept.json"
    over = ("--over", "traffic.arrivals.users=5,50")
    assert main(["sweep", "rm3_skylake", *USERS, *QUICK, *over, "--jobs", "1", "--out", str(out)]) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["traffic.arrivals.users"] for row in rows] == [5, 50]
    assert rows[0]["throughput_qps"] < rows[1]["throughput_qps"]


@pytest.mark.slow
def test_explain_says_what_more_they_could_ask(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = ask(capsys, "explain", "rm3_skylake", *USERS, *QUICK, "--set", "sla.latency_ms=25")
    assert code == 0
    _, largest = ask(capsys, "capacity", "rm3_skylake", *USERS, *QUICK, "--set", "sla.latency_ms=25")
    _, offered = ask(capsys, "predict", "rm3_skylake", *USERS, *QUICK, "--set", "sla.latency_ms=25")
    assert found["latency_bounded_qps"] == pytest.approx(largest["latency_bounded_qps"], rel=0.02)
    assert found["cliff"]["offered_qps"] == pytest.approx(offered["offered_qps"], rel=0.02)
    longer = next(each for each in found["changes"] if each["change"].startswith("SLA"))
    assert longer["gain_percent"] > 0
    assert any("closed users ask" in note for note in found["notes"])


@pytest.mark.thorough
def test_explain_reads_no_room_off_what_users_ask_who_wait_for_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Five times as many users as the node carries ask hardly more than its largest load.
    crowd = ["--set", "traffic.arrivals={process: closed, users: 2000, think_s: 0.2}", *QUICK]
    assert main(["explain", "rm3_skylake", *crowd]) == 3
    page = " ".join(capsys.readouterr().out.split())
    assert "2,000 users ask" in page
    assert "what is offered is too much for the SLA" in page
    assert "% above the" not in page
    assert "`perfplan capacity` says how many there may be" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ("fleet", "rm3_skylake", "--nodes", "3"),
        ("tune", "rm3_skylake"),
        ("diff", "rm3_skylake", "rm3_broadwell"),
        ("predict", "rm3_skylake", "--scale-load", "2"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_a_rate_refuses_them_in_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *USERS]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "closed users have no rate" in error
    assert ("--scale-load" in error) == ("--scale-load" in arguments)


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ("{process: closed, think_s: 1}", "missing key 'users'"),
        ("{process: closed, users: 0, think_s: 1}", "users: expected a whole number >= 1"),
        ("{process: closed, users: 2, think_s: 0}", "think_s"),
        ("{process: closed, users: 2, think_s: 1, rate_qps: 5}", "rate_qps"),
    ],
)
def test_users_that_make_no_sense_are_one_line(
    arrivals: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "rm3_skylake", "--set", f"traffic.arrivals={arrivals}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
