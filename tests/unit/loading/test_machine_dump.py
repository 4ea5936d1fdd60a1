"""A machine's own dump as a derived profile: what it tells, what it leaves to a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.machine_dump import read_lscpu, read_nvidia_smi
from perfmodel.loading.shipped import find_file

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


def nested(folder: Path, *children: dict[str, object]) -> Path:
    path = folder / "nested.json"
    path.write_text(json.dumps({"lscpu": list(children)}), encoding="utf-8")
    return path


def field(name: str, data: str | None, *children: dict[str, object]) -> dict[str, object]:
    return {"field": name, "data": data} | ({"children": list(children)} if children else {})


def kind(model: str, threads: str, cores: str, sockets: str) -> dict[str, object]:
    counts = {"Thread(s) per core:": threads, "Core(s) per socket:": cores, "Socket(s):": sockets}
    return field("Model name:", model, *(field(name, data) for name, data in counts.items()))


def test_a_dump_at_a_terminal_nests_its_caches_and_counts_each(tmp_path: Path) -> None:
    """2 x EPYC 9654, util-linux 2.38: 24 L3 of 32 MiB, 12 of them a socket."""
    caches = field(
        "Caches (sum of all):",
        None,
        field("L2:", "192 MiB (192 instances)"),
        field("L3:", "768 MiB (24 instances)"),
    )
    maker = field("Vendor ID:", "AuthenticAMD", kind("AMD EPYC 9654 96-Core Processor", "2", "96", "2"))
    dump = read_lscpu(nested(tmp_path, maker, caches))
    cores = {"sockets": 2, "cores_per_socket": 96, "threads_per_core": 2}
    assert dump.changes == cores | {"l2_kib_per_core": 1024.0, "l3_mib_per_socket": 384.0}


def test_a_core_without_a_second_thread_is_told(tmp_path: Path) -> None:
    maker = field("Vendor ID:", "ARM", kind("Neoverse-V1", "1", "64", "1"))
    assert read_lscpu(nested(tmp_path, maker)).changes["threads_per_core"] == 1
    of_four = read_lscpu(nested(tmp_path, kind("POWER9", "4", "20", "2")))
    assert "threads_per_core" not in of_four.changes
    assert of_four.rest["threads_per_core"] == "1 or 2; the dump says '4'"


def test_an_arm_system_without_sockets_has_clusters(tmp_path: Path) -> None:
    rows = {
        "Socket(s):": "-",
        "Core(s) per cluster:": "64",
        "Cluster(s):": "2",
        "L2 cache:": "1048576 (2 instances)",
    }
    dump = read_lscpu(nested(tmp_path, *(field(name, data) for name, data in rows.items())))
    assert dump.changes == {"sockets": 2, "cores_per_socket": 64, "l2_kib_per_core": 512.0}


def test_cores_of_several_kinds_are_refused_at_their_place(tmp_path: Path) -> None:
    rows = (kind("Cortex-A55", "1", "4", "1"), kind("Cortex-A76", "1", "4", "1"))
    path = nested(tmp_path, field("Vendor ID:", "ARM", *rows))
    says = r"nested\.json:1:\d+: Model name: expected cores of one kind, .* got Cortex-A55 and Cortex-A76$"
    with pytest.raises(InputError, match=says):
        read_lscpu(path)


def test_a_small_card_from_a_large_base_rests_at_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A T4 of 70 W; the H200 rests at 126 W, more than the T4 ever draws."""
    link = (
        "<pci><pci_gpu_link_info><pcie_gen><max_link_gen>3</max_link_gen></pcie_gen>"
        "<link_widths><max_link_width>16x</max_link_width></link_widths></pci_gpu_link_info></pci>"
    )
    text = CARD.replace("300.00 W", "70.00 W").replace("</gpu>", f"{link}</gpu>")
    (tmp_path / "smi.xml").write_text(text, encoding="utf-8")
    out = tmp_path / "t4.yaml"
    options = ["--base", "h200", "--from-nvidia-smi", str(tmp_path / "smi.xml"), "--out", str(out)]
    assert main(["profile", "new", *options]) == 0, capsys.readouterr().err
    hardware = read_profile(out).hardware
    base = read_profile(find_file("profile", "h200")).hardware
    assert hardware.idle_w.value == pytest.approx(70.0 * base.idle_w.value / base.peak_w.value)
    assert hardware.host_link_gb_per_s is not None
    assert hardware.host_link_gb_per_s.value == pytest.approx(15.75, abs=0.01)
