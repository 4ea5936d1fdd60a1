"""Triton's and TorchServe's configurations: what is read, what a mistake looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.serving_config import ServingConfig, read_torchserve, read_triton

TRITON = """\
# a ranking model
name: "ranker"
platform: 'onnxruntime_onnx'
max_batch_size : 512
input [ { name: "dense" data_type: TYPE_FP32 dims: [ 13 ] }, { name: "ids", dims: -1; } ]
instance_group [
  { count: 2, kind: KIND_GPU, gpus: [ 0, 1 ] }
]
dynamic_batching {
  preferred_batch_size: [ 64, 256 ]
  max_queue_delay_microseconds: 1500
}
parameters { key: "x" value: { string_value: "a" "b" } }
"""


def triton(tmp_path: Path, text: str) -> ServingConfig:
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    return read_triton(path)


def test_batching_and_instances_are_read(tmp_path: Path) -> None:
    config = triton(tmp_path, TRITON)
    assert (config.max_batch, config.preferred, config.full_batch) == (512, (64, 256), 256)
    assert config.delay_ms == 1.5
    assert (config.cpu_instances, config.gpu_instances, config.gpus) == (None, 4, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 8", (8, None, None, None)),
        ("max_batch_size: 8 dynamic_batching { }", (8, 0.0, None, None)),
        ("max_batch_size: 8 dynamic_batching: < max_queue_delay_microseconds: 100 >", (8, 0.1, None, None)),
        ("max_batch_size: 0", (1, None, None, None)),
        ("max_batch_size: 8 instance_group { count: 3 kind: KIND_CPU }", (8, None, 3, None)),
        (
            "max_batch_size: 8 instance_group [{kind: KIND_CPU}, {count: 2 kind: KIND_CPU}]",
            (8, None, 3, None),
        ),
        ("max_batch_size: 8 instance_group { count: 3 }", (8, None, 3, None)),
        ("max_batch_size: 8 instance_group { count: 3 kind: KIND_GPU }", (8, None, None, 3)),
    ],
)
def test_what_is_not_said_has_tritons_meaning(
    text: str, expected: tuple[int, float | None, int | None, int | None], tmp_path: Path
) -> None:
    config = triton(tmp_path, text)
    assert (config.full_batch, config.delay_ms, config.cpu_instances, config.gpu_instances) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batch_size: many", ":1:17: max_batch_size: expected a whole number >= 0, got 'many'"),
        ("a: 1\nmax_batch_size {", ":2:17: expected the name of a field, got the end of the file"),
        ("max_batch_size: -1", ":1:17: max_batch_size: expected a whole number"),
        ("dynamic_batching { }", ":1:18: dynamic_batching: expected max_batch_size > 0"),
        (
            "max_batch_size: 8 dynamic_batching { preferred_batch_size: 16 }",
            "at most max_batch_size, 8, got 16",
        ),
        ("instance_group { kind: KIND_TPU }", "expected KIND_CPU"),
        ("dynamic_batching: 3", "expected a message in braces"),
        ('name: "open', ":1:7: unexpected"),
        ("a: [1, 2", "expected a value, got the end of the file"),
        ("}", ":1:1: expected the name of a field, got '}'"),
        ("a" + "{a" * 100, "nested more than 20 levels"),
        ("a: \x00", "unprintable character"),
        (
            "minWorkers: 2\nbatchSize: 8\n",
            ":1:1: expected a model configuration of Triton, with max_batch_size",
        ),
    ],
)
def test_mistakes_have_a_place(text: str, said: str, tmp_path: Path) -> None:
    if "dynamic_batching: 3" in text:
        text = f"max_batch_size: 1 {text}"
    with pytest.raises(InputError) as raised:
        triton(tmp_path, text)
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "config.pbtxt"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batchSize: 4\nmaxBatchDelay: 20\nminWorkers: 3\ndeviceType: cpu\n", (4, 20.0, 3, 0)),
        ("batchSize: 4\n", (4, 100.0, None, 0)),
        ("batchSize: 1\nmaxBatchDelay: 20\n", (1, None, None, 0)),
        ("batchSize: 4\nmaxWorkers: 2\ndeviceType: gpu\n", (4, 100.0, None, 2)),
        ('[{"modelName": "m", "batchSize": 4, "maxBatchDelay": 5, "minWorkers": 1}]', (4, 5.0, 1, 0)),
        ('{"batchSize": 4, "maxBatchDelay": 5}', (4, 5.0, None, 0)),
    ],
)
def test_torchserve_is_read_too(
    text: str, expected: tuple[int, float | None, int | None, int], tmp_path: Path
) -> None:
    path = tmp_path / "model-config.yaml"
    path.write_text(text)
    config = read_torchserve(path)
    assert (config.max_batch, config.delay_ms, config.cpu_instances, config.gpus) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minWorkers: 1\n", "expected batchSize or maxBatchDelay"),
        ("batchSize: 0\n", "batchSize: expected a whole number from 1 to 999_999_999, got '0'"),
        ("batchSize: four\n", "batchSize: expected a whole number from 1 to 999_999_999, got 'four'"),
        ("[]", "expected a model configuration"),
        ("", "empty"),
    ],
)
def test_what_is_no_configuration_of_torchserve_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model-config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"model-config\.yaml") as raised:
        read_torchserve(path)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("minWorkers: 2\nbatchSize: -1\n", "2:12"),
        ("batchSize: 8\nmaxBatchDelay: " + "9" * 300 + "\n", "2:16"),
        ('[{"batchSize": 8,\n "minWorkers": "two"}]', "2:16"),
        ("batchSize: 8\nmaxWorkers: 1.5\nmaxBatchDelay: true\n", "3:16"),
    ],
)
def test_numbers_of_torchserve_are_refused_where_they_stand(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "model-config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"model-config\.yaml:{place}: \w+: expected a whole number from"):
        read_torchserve(path)
