"""The thin layer over torch.cuda, over a torch.cuda that is made up: names, units and order of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from calibration.runtime import cuda
from calibration.runtime.accelerator import Accelerator
from perfmodel.errors import InputError

# Some releases of PyTorch warn of another way to ask for TF32.
pytestmark = pytest.mark.filterwarnings("ignore:.*TF32")

CYCLES_PER_MS = 1.5e6


class Stream:
    """A card of 1.5 GHz whose only kernels spin."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.calls: list[str] = []

    def spin(self, cycles: int) -> None:
        self.calls.append("spin")
        self.now_ms += cycles / CYCLES_PER_MS

    def event(self, *, enable_timing: bool) -> Any:
        assert enable_timing
        event = SimpleNamespace(ms=None, synchronize=lambda: None)

        def record() -> None:
            event.ms = self.now_ms

        event.record = record
        event.elapsed_time = lambda end: end.ms - event.ms
        return event


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    made_up = Stream()
    card = {"name": "Made-Up 100", "total_memory": 80 * 2**30, "L2_cache_size": 50 * 2**20}
    properties = SimpleNamespace(**card, multi_processor_count=132)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (60 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: made_up.calls.append("synchronise"))
    monkeypatch.setattr(torch.cuda, "Event", made_up.event)
    monkeypatch.setattr(torch.cuda, "_sleep", made_up.spin)
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = True
    yield made_up
    for setting, allowed in zip(settings, before, strict=True):
        setting.allow_tf32 = allowed


@pytest.mark.usefixtures("stream")
def test_the_card_is_described_in_bytes_and_hertz() -> None:
    card: Accelerator = cuda.cuda_accelerator()
    assert (card.name, card.device) == ("Made-Up 100", torch.device("cuda", 0))
    assert (card.memory_bytes, card.free_bytes()) == (80 * 2**30, 60 * 2**30)
    assert (card.l2_bytes, card.num_multiprocessors) == (50 * 2**20, 132)
    assert card.clock_hz == pytest.approx(1.5e9)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_holding_takes_as_long_as_asked_and_events_say_so_in_seconds(stream: Stream) -> None:
    card = cuda.cuda_accelerator()
    start = card.event()
    card.hold(0.02)
    end = card.event()
    card.synchronise()
    assert card.elapsed_s(start, end) == pytest.approx(0.02)
    assert stream.calls[-2:] == ["spin", "synchronise"]


@pytest.mark.usefixtures("stream")
def test_a_build_with_cuda_and_no_device_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda.missing_cuda() is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match=r"^asked: .*, built for CUDA 13\.0, finds none\)$"):
        cuda.cuda_accelerator("asked")
