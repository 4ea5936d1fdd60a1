"""An edit of what was fitted shows; an edit of anything else does not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from calibration.published.profiles import profile_text as published_text
from perfmodel.domain.hardware import Device
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import measured_document, read_profile
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.profile_fingerprint import fitted_values
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.shipped import find_file
from perfmodel.loading.surface_files import surface_files
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_source import parse_yaml, read_yaml
from tests.measured_profiles import measured_names
from tests.unit.loading.test_profile_file import profile
from tests.unit.loading.test_profile_sections import with_stack


def text_of(name: str) -> str:
    """All of a profile in one file, as profiles were written once."""
    path = find_file("profile", name)
    if surface_files(path):
        return profile_text(measured_document(read_yaml(path)).data())  # type: ignore[arg-type]  # a mapping
    return path.read_text(encoding="utf-8")


def edited(name: str, before: str, after: str) -> Device:
    text = text_of(name)
    assert before in text
    return validate(parse_yaml(text.replace(before, after), "p.yaml"), ProfileFile).device()


@pytest.mark.parametrize("name", measured_names())
def test_shipped_profiles_are_as_they_were_fitted(name: str) -> None:
    profile = validate(parse_yaml(text_of(name), "p.yaml"), ProfileFile)
    assert all(stack.fitted_values for stack in profile.stacks.values())
    assert not any(profile.device(stack).is_edited for stack in profile.stacks)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "gtx1080ti",
            "memory_gb_per_s_per_socket: {value: 484,",
            "memory_gb_per_s_per_socket: {value: 1555,",
        ),
        ("skylake", "peak_gflop_per_s: {value: 224,", "peak_gflop_per_s: {value: 300,"),
        ("skylake", "cores_per_socket: {value: 20,", "cores_per_socket: {value: 40,"),
        ("skylake", "input_index_ns: {value: 89.32,", "input_index_ns: {value: 8.932,"),
        ("amd-epyc-turin-2c", "    noise_ns: 47.838\n", "    noise_ns: 47.838\n    # unread\n"),
    ],
)
def test_an_edit_of_hardware_or_costs_shows_and_a_comment_does_not(
    name: str, before: str, after: str
) -> None:
    assert edited(name, before, after).is_edited is ("unread" not in after)


def test_an_edit_of_measured_calls_shows() -> None:
    first = re.search(r"law_ns:\n +call: ", text_of("amd-epyc-turin-2c"))
    assert first is not None
    assert edited("amd-epyc-turin-2c", first.group(), f"{first.group()}1").is_edited


@pytest.mark.thorough
def test_an_edit_of_where_calls_were_measured_shows() -> None:
    assert edited("amd-epyc-turin-2c", "scale: 5.2536, low", "scale: 5.2537, low").is_edited
    assert edited(
        "amd-epyc-turin-2c", "0 10.111 11.391 11.07 -0.38235", "0 10.111 11.391 11.07 -0.4"
    ).is_edited


def test_the_order_of_names_is_no_edit() -> None:
    shipped = re.search(r"call: 1700.1\n +element: 0.10899\n", text_of("amd-epyc-turin-2c"))
    assert shipped is not None
    swapped = "element: 0.10899\n        call: 1700.1\n"
    assert not edited("amd-epyc-turin-2c", shipped.group(), swapped).is_edited


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tdp_w: {value: 250,", "tdp_w: {value: 300,"),
        ("memory_gib: {value: 256,", "memory_gib: {value: 512,"),
        ("peak_gflop_per_s: {value: 224,", "peak_gflop_per_s: {value: 2.24e+2,"),
        ("2 x 20-core Skylake, 2.0 GHz", "one of ours"),
    ],
)
def test_what_no_time_depends_on_may_be_edited(before: str, after: str) -> None:
    assert not edited("skylake", before, after).is_edited


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "tdp_w: {value: 250,",
            "tdp_w: {value: 540,",
            "peak_w: expected 270 to 810, 0.5 to 1.5 times tdp_w, got 250",
        ),
        (
            "peak_gflop_per_s: {value: 224,",
            "peak_gflop_per_s: {value: 6400000,",
            "expected the fp32 peak of one core, at most 1024 of any chip, got 6.4e",
        ),
        ("batch_range: [1, 256]", "batch_range: [256, 1]", r"expected \[lowest, highest\], got \[256, 1\]"),
    ],
)
def test_what_no_machine_has_is_refused(before: str, after: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edited("skylake", before, after)


def test_a_value_that_was_taken_out_is_an_edit() -> None:
    lifetime = "  l3_lifetime_ms: {value: 3.63, source: 'measured: amd-epyc-turin-2c.measured.csv'}"
    assert edited("amd-epyc-turin-2c", lifetime, "  l3_lifetime_ms: null").is_edited


MODULES, CARD = "amd-epyc-turin-2c-modules", "h200-bf16"
CLAIMS: list[tuple[str, tuple[str | int, ...], object]] = [
    ("skylake", ("batch_range",), [1, 4096]),
    ("skylake", ("relative_error", "value"), 0.01),
    ("skylake", ("relative_error_of_fitted_models", "value"), 0.01),
    ("skylake", ("fitted_models", 0), "ncf"),
    ("skylake", ("fitted_kinds",), None),
    ("broadwell", ("network_slowdown_spread", "value"), 0.01),
    (MODULES, ("error_correlation", "value"), 0.0),
    (MODULES, ("surfaces", 0, "relative_error"), 0.001),
    (MODULES, ("surfaces", 0, "noise"), 0.001),
    (MODULES, ("surfaces", 0, "noise_ns"), 0.001),
    (MODULES, ("served", "eager", "relative_error", "value"), 0.01),
    (MODULES, ("served", "eager-int8-tables", "tables"), "bf16"),
    (CARD, ("precision",), "fp16"),
    (CARD, ("launches", "quiet_probe_us"), 0.0),
]


def document_of(name: str) -> dict[str, Any]:
    document: dict[str, Any] = measured_document(read_yaml(find_file("profile", name))).data()  # type: ignore[assignment]  # a mapping
    return document


def stack_of(document: dict[str, Any]) -> dict[str, Any]:
    stack: dict[str, Any] = document["stacks"][document["default_stack"]]
    return stack


def is_edited(document: dict[str, Any]) -> bool:
    return validate(parse_yaml(profile_text(document), "p.yaml"), ProfileFile).device().is_edited


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "path", "value"), CLAIMS)
def test_an_edit_of_what_the_fit_claims_shows(name: str, path: tuple[str | int, ...], value: object) -> None:
    document = document_of(name)
    *parents, key = path
    section: Any = stack_of(document)
    for parent in parents:
        section = section[parent]
    assert section[key] != value
    section[key] = value
    assert is_edited(document)


@pytest.mark.thorough
def test_a_claim_that_was_taken_out_is_an_edit_and_words_and_the_order_of_names_are_none() -> None:
    document = document_of("skylake")
    stack = stack_of(document)
    stack["fitted_models"].reverse()
    stack["fitted_kinds"].reverse()
    stack["describes"] = "ours"
    stack["relative_error"]["source"] = "published: elsewhere"
    assert not is_edited(document)
    del stack["relative_error_of_fitted_models"]
    assert is_edited(document)


@pytest.mark.thorough
@pytest.mark.parametrize("name", measured_names())
def test_a_shipped_profile_written_and_read_back_has_its_hash(name: str) -> None:
    text = profile_text(document_of(name))
    profile = validate(parse_yaml(text, "p.yaml"), ProfileFile)
    for stack in profile.stacks.values():
        assert stack.fitted_values == fitted_values(profile.hardware, stack)
        assert re.fullmatch(r"2-[0-9a-f]{32}", str(stack.fitted_values))


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["skylake", "haswell", "broadwell", "gtx1080ti"])
def test_a_published_profile_is_as_its_fit_writes_it(name: str) -> None:
    path = find_file("profile", name)
    assert published_text(read_profile(path)) == path.read_text(encoding="utf-8")


def test_a_hash_from_before_claims_were_in_it_still_tells_an_edit_of_costs() -> None:
    before = "8120966a41df0e5c1aa1706cf11b73a0"  # as the version before wrote it
    assert not profile(with_stack(fitted_values=before)).device().is_edited
    claims = {"relative_error": {"value": 0.01, "source": "assumed: a test"}, "batch_range": [1, 8]}
    assert not profile(with_stack(fitted_values=before, **claims)).device().is_edited
    stack = stack_of(slower := with_stack(fitted_values=before))
    stack["costs"]["fc_call_us"] = {"value": 77.0, "source": "assumed: a test"}
    assert profile(slower).device().is_edited


@pytest.mark.thorough
def test_calibrated_calls_without_their_hash_count_as_edited_and_derived_ones_do_not() -> None:
    document = document_of(MODULES)
    del stack_of(document)["fitted_values"]
    assert is_edited(document)
    assert not read_profile(find_file("profile", "genoa-9654")).device().is_edited
