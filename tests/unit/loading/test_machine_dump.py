"""A machine's own dump as a derived profile: what it tells, what it leaves to a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.machine_dump import read_lscpu, read_nvidia_smi

FIELDS = {
    "Model name:": "Some Xeon",
    "Socket(s):": "2",
    "Core(s) per socket:": "56",
    "L2 cache:": "224 MiB (112 instances)",
    "L3 cache:": "210 MiB (2 instances)",
}
CARD = """<?xml version="1.0" ?>
<nvidia_smi_log><gpu id="0"><product_name>NVIDIA A10G</product_name>
<fb_memory_usage><total>23028 MiB</total></fb_memory_usage>
<gpu_power_readings><current_power_limit>300.00 W</current_power_limit></gpu_power_readings>
</gpu></nvidia_smi_log>"""


def lscpu(folder: Path, **changed: str) -> Path:
    rows = [{"field": field, "data": data} for field, data in (FIELDS | changed).items()]
    path = folder / "lscpu.json"
    path.write_text(json.dumps({"lscpu": rows}), encoding="utf-8")
    return path


def test_lscpu_tells_cores_and_caches(tmp_path: Path) -> None:
    dump = read_lscpu(lscpu(tmp_path))
    assert dump.machine == "Some Xeon"
    expected = {"sockets": 2, "cores_per_socket": 56, "l2_kib_per_core": 2048.0, "l3_mib_per_socket": 105.0}
    assert dump.changes == expected
    assert {"peak_gflop_per_s", "memory_gb_per_s_per_socket", "tdp_w"} <= dump.rest.keys()


def test_newer_versions_nest_fields_and_older_ones_print_one_cache(tmp_path: Path) -> None:
    path = tmp_path / "nested.json"
    inner = [{"field": field, "data": data} for field, data in FIELDS.items()]
    path.write_text(json.dumps({"lscpu": [{"field": "Vendor ID:", "data": "x", "children": inner}]}))
    assert read_lscpu(path).changes == read_lscpu(lscpu(tmp_path)).changes
    assert read_lscpu(lscpu(tmp_path, **{"L2 cache:": "1024K"})).changes["l2_kib_per_core"] == 1024.0


def test_nvidia_smi_tells_memory_and_power(tmp_path: Path) -> None:
    (tmp_path / "smi.xml").write_text(CARD, encoding="utf-8")
    dump = read_nvidia_smi(tmp_path / "smi.xml")
    assert dump.changes == {"memory_gib": 22.5, "tdp_w": 300.0, "peak_w": 300.0}
    assert "memory_gb_per_s_per_socket" in dump.rest


@pytest.mark.parametrize(
    "text", ["{}", "[]", "[3]", '{"lscpu": 3}', '{"lscpu": [{"data": "2"}]}', '{"lscpu": []}']
)
def test_what_is_no_lscpu_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.json:\d+:\d+: expected what `lscpu -J` prints"):
        read_lscpu(tmp_path / "x.json")


@pytest.mark.parametrize("text", ["", "<a/>", "<a><gpu>", "{}"])
def test_what_is_no_nvidia_smi_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.xml:\d+:\d+: expected what `nvidia-smi -q -x` prints"):
        read_nvidia_smi(tmp_path / "x.xml")


def test_a_profile_begun_from_a_dump_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    options = ["--base", "skylake", "--from-lscpu", str(lscpu(tmp_path)), "--out", str(out)]
    assert main(["profile", "new", *options]) == 0
    assert "memory_gb_per_s_per_socket" in capsys.readouterr().err
    assert read_profile(out).hardware.cores_per_socket.value == 56
    assert main(["latency", "-m", "ncf", "--on", str(out), "--batch", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "derived from skylake, not measured, its peak_gflop_per_s" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--base", "skylark"], "did you mean 'skylake'"),
        (["--base", "h200"], "--from-lscpu: expected a base of kind cpu, and h200 is a gpu"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["profile", "new", *options, "--from-lscpu", str(lscpu(tmp_path)), "--out", str(out)]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_a_profile_that_was_edited_by_hand_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.yaml"
    begin = ["profile", "new", "--base", "skylake", "--out", str(out)]
    assert main(begin) == 0
    edited = out.read_text() + "# what the datasheet says\n"
    out.write_text(edited)
    capsys.readouterr()
    assert main(begin) == 2
    assert (
        capsys.readouterr().err
        == f"--out {out}: exists already, and nothing was written; expected a new file\n"
    )
    assert out.read_text() == edited


def test_a_count_that_is_none_is_refused_where_it_stands(tmp_path: Path) -> None:
    for wrong in ("0", "-2", "9" * 5000, "two"):
        path = lscpu(tmp_path, **{"Socket(s):": wrong})
        path.write_text(path.read_text().replace(', {"field"', ',\n{"field"'))
        with pytest.raises(
            InputError, match=r"lscpu\.json:2:11: .* Socket\(s\): expected a whole number from 1"
        ):
            read_lscpu(path)


@pytest.mark.parametrize(
    "size", ["1.2.3 MiB", "9" * 400 + " MiB", f"1 MiB ({'9' * 5000} instances)", "-1 MiB"]
)
def test_a_cache_of_no_size_is_left_to_a_person(size: str, tmp_path: Path) -> None:
    dump = read_lscpu(lscpu(tmp_path, **{"L2 cache:": size}))
    assert "l2_kib_per_core" not in dump.changes
    assert "l2_kib_per_core" in dump.rest


def test_a_card_of_no_memory_is_left_to_a_person(tmp_path: Path) -> None:
    (tmp_path / "smi.xml").write_text(CARD.replace("23028", "9" * 400), encoding="utf-8")
    assert "memory_gib" in read_nvidia_smi(tmp_path / "smi.xml").rest
