"""A card in a precision that nobody measured: bytes and peaks of the data sheet, and a wider error."""

from __future__ import annotations

from math import hypot, log
from pathlib import Path

import numpy as np
import pytest

from calibration.published.carried_precisions import carried_precisions
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.loading.carried_precision import SPREAD_BY_PRECISION
from perfmodel.loading.derived_profile import SPREAD_BY_DISTANCE, read_profile
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.prepare import find_device, find_model

HEAD = "name: mine\nbase: h200-bf16\n"
CARDS = ("t4", "v100", "a100", "h100")
LACKED = [("t4", "bf16"), ("t4", "tf32"), ("v100", "bf16"), ("v100", "tf32"), ("v100", "int8")]


def read(tmp_path: Path, text: str) -> Device:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_profile(path).device()


def test_fp16_of_the_same_card_is_its_bf16_with_a_wider_error(tmp_path: Path) -> None:
    model, batches = find_model("dlrm-rmc3"), np.array([1.0, 64.0, 1024.0])
    base, mine = read(tmp_path, HEAD), read(tmp_path, HEAD + "precision: fp16\n")
    assert mine.precision == "fp16"
    assert batch_time(model, mine, batches).seconds == pytest.approx(batch_time(model, base, batches).seconds)
    assert mine.errors.whole == pytest.approx(hypot(base.errors.whole, SPREAD_BY_PRECISION))
    assert batch_time(model, mine, batches).basis is Basis.DERIVED


def test_half_the_bytes_and_twice_the_peak_halve_what_follows_them(tmp_path: Path) -> None:
    base = read_profile(find_file("profile", "h200")).device()
    peak = base.peak_flop_per_s / 1e9
    text = f"name: mine\nbase: h200\nprecision: fp16\nchanges: {{peak_gflop_per_s: {2 * peak}}}\n"
    mine = read(tmp_path, text)
    old, new = base.surfaces["fc"].law, mine.surfaces["fc"].law
    for term in ("weight", "weight_beyond_l2", "input", "block_strip", "thin_multiply_add"):
        assert new[term] == pytest.approx(old[term] / 2.0), term
    assert new["call"] == old["call"]
    old, new = base.surfaces["embedding_bag.pooled"].law, mine.surfaces["embedding_bag.pooled"].law
    assert new["line"] == pytest.approx(old["line"] / 2.0)
    assert new["row"] == old["row"]
    expected = hypot(base.errors.whole, SPREAD_BY_PRECISION, SPREAD_BY_DISTANCE * log(2.0))
    assert mine.errors.whole == pytest.approx(expected)


def test_int8_is_of_layers_alone_and_takes_two_calls_more(tmp_path: Path) -> None:
    base = read_profile(find_file("profile", "h200-bf16")).device()
    peak = base.peak_flop_per_s / 1e9
    mine = read(tmp_path, f"{HEAD}precision: int8\nchanges: {{peak_gflop_per_s: {2 * peak}}}\n")
    old, new, one = (
        each.law for each in (base.surfaces["fc"], mine.surfaces["fc"], base.surfaces["elementwise.mul"])
    )
    assert new["weight"] == pytest.approx(old["weight"] / 2.0)
    assert new["block_strip"] == pytest.approx(old["block_strip"] / 2.0)
    assert new["call"] == pytest.approx(old["call"] + 2.0 * one["call"])
    assert new["input"] == pytest.approx(old["input"] / 2.0 + one["element"])
    for call, surface in base.surfaces.items():
        if call != "fc":
            assert mine.surfaces[call].law == pytest.approx(surface.law)
    issue, before = mine.launches.issue, base.launches.issue
    assert issue["fc"].call_s == pytest.approx(before["fc"].call_s + 2.0 * before["elementwise.mul"].call_s)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: mine\nbase: h200\nprecision: int8\n", "expected a base that was calibrated in fp16 or bf16"),
        (
            HEAD + "precision: fp32\n",
            "expected a base that was calibrated in no other, call by call: h200-bf16",
        ),
        (
            "name: mine\nbase: skylake\nprecision: fp16\n",
            "expected none: a core's precisions are ways to serve",
        ),
        ("name: mine\nbase: gtx1080ti\nprecision: fp16\n", "its calls were not measured"),
        (HEAD + "precision: fp8\n", "precision: expected one of fp32, fp16, bf16, int8 or null, got 'fp8'"),
    ],
)
def test_a_precision_that_no_rule_carries_is_refused_at_its_place(
    text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"mine\.yaml:3:12: .*" + says) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("card", CARDS)
def test_each_precision_of_a_card_reaches_the_share_of_its_sheet_that_the_base_does(card: str) -> None:
    """0.76, 0.85 and 0.88 are the calibrated H200's peaks over 67, 989.4 and 494.7 TFLOP/s of its sheet."""
    reach = {"fp32": 0.76, "tf32": 0.88, "fp16": 0.85, "bf16": 0.85, "int8": 0.85}
    main = read_profile(find_file("profile", card)).device()
    for precision, peak in main.peaks_flop_per_s.items():
        name = card if precision == "fp32" else f"{card}-{precision}"
        device = read_profile(find_file("profile", name)).device()
        assert device.peak_flop_per_s == pytest.approx(reach[precision] * peak, rel=0.005)
        if precision in ("fp16", "int8", "bf16"):
            assert device.precision == precision
        if "host" in device.links:
            assert device.links == main.links
    assert main.links["host"] < 64e9
    assert ("cards" in main.links) == (card != "t4")


@pytest.mark.parametrize(("card", "precision"), LACKED)
def test_a_card_says_which_precision_it_lacks(card: str, precision: str) -> None:
    assert f"{card}-{precision}" not in shipped_names("profile")
    with pytest.raises(
        InputError, match=rf"^{card} has no {precision}: its data sheet names fp32 .*TFLOP/s$"
    ):
        find_file("profile", f"{card}-{precision}")


@pytest.mark.parametrize(
    ("card", "precision", "says"),
    [
        ("t4", "bf16", "t4 has no bf16: its data sheet names fp32 8.1, fp16 65, int8 130 TFLOP/s"),
        ("h100", "fp16", "h100-fp16 is that card in fp16"),
        ("a100-bf16", "fp16", "a100-fp16 is that card in fp16"),
    ],
)
def test_a_model_in_a_precision_is_told_which_card_has_it(card: str, precision: str, says: str) -> None:
    shipped = find_model("dlrm-rmc1")
    operators = tuple(
        op.model_copy(update={"precision": precision}) if op.kind == "mlp" else op for op in shipped.operators
    )
    model = shipped.model_copy(update={"operators": operators})
    with pytest.raises(ExtrapolationError, match=says):
        latency_table(model, find_device(card, model), (1,))
    if precision == "fp16":
        assert latency_table(model, find_device("h100-fp16", model), (1,)).rows


@pytest.mark.thorough
def test_the_spread_is_what_carrying_the_h200_to_bf16_is_off_by() -> None:
    assert max(each.spread for each in carried_precisions()) == pytest.approx(SPREAD_BY_PRECISION, abs=0.005)
