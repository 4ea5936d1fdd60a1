"""What a Python process that hands out work costs each query: constants of `perfplan reproduce mlperf`.

    python -m benchmarks.queue_hops

Measured with `multiprocessing.Queue`, as the MLPerf submissions hand queries to their instances: processor
time of the three things that the one interpreter does for each query, the time that a hop to another process
takes, and the calls around the model whose time hardly depends on the query's size (needs PyTorch).
"""

from __future__ import annotations

import array
import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

QUERIES = 20_000
HOPS = 400
LOOKUPS = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)
"""Of MLPerf's dlrm-v2, an item: 26 tables."""


def echo(tasks: Any, results: Any, queries: int) -> None:
    """Take tasks and answer each with two floats an item, as an instance does."""
    answer = array.array("B", np.zeros((270, 2), np.float32).tobytes())
    for _ in range(queries):
        task = tasks.get()
        results.put((time.monotonic(), time.monotonic() - task[0], [task[1]], [answer]))


def interpreter_us() -> dict[str, float]:
    """Processor time a query of handing it out, of sending it, and of taking its answer. [us]"""
    tasks: Any = multiprocessing.Queue()
    results: Any = multiprocessing.Queue()
    worker = multiprocessing.Process(target=echo, args=(tasks, results, QUERIES))
    worker.start()
    found = {}

    def take() -> None:
        begin = time.thread_time()
        for _ in range(QUERIES):
            _, _, ids, answers = results.get()
            _ = [(each, *answer.buffer_info()) for each, answer in zip(ids, answers, strict=True)]
        found["take"] = time.thread_time() - begin

    taker = threading.Thread(target=take)
    taker.start()
    begin = time.thread_time()
    for query in range(QUERIES):
        tasks.put((time.monotonic(), query, [query], [200]))
    found["hand out"] = time.thread_time() - begin
    taker.join()
    sender = time.pthread_getcpuclockid(tasks._thread.ident)
    found["send"] = time.clock_gettime(sender)
    worker.join()
    return {name: 1e6 * value / QUERIES for name, value in found.items()}


def hop_us(percentile: float) -> tuple[float, float]:
    """Time to an idle process, and back from it, where nothing else waits. [us]"""
    tasks: Any = multiprocessing.Queue()
    results: Any = multiprocessing.Queue()
    worker = multiprocessing.Process(target=echo, args=(tasks, results, HOPS))
    worker.start()
    there, back = [], []
    for query in range(HOPS):
        tasks.put((time.monotonic(), query, [query], [200]))
        sent, took, *_ = results.get()
        back.append(time.monotonic() - sent)
        there.append(took)
        time.sleep(0.003)
    worker.join()
    return tuple(1e6 * float(np.percentile(each[20:], percentile)) for each in (there, back))


def calls_us(items: int) -> tuple[float, float]:
    """Processor time of the calls before and after the model for a query of so many items. [us]"""
    import torch

    torch.set_num_threads(1)
    dense, labels, scores = torch.rand(items, 13), torch.rand(items, 1), torch.rand(items)
    indices = [torch.randint(0, 1000, (items * each,), dtype=torch.int32) for each in LOOKUPS]

    def before() -> None:
        torch.cat([dense])
        [each.long() for each in [torch.cat([index]) for index in indices]]
        torch.cat([labels]).flatten()

    def after() -> None:
        both = torch.cat((scores.detach().cpu().view(-1, 1), labels.view(-1, 1)), dim=1)
        array.array("B", both.numpy().tobytes())

    return median_us(before), median_us(after)


def median_us(call: Callable[[], None], times: int = 300) -> float:
    """Median processor time of a call. [us]"""
    found = []
    for _ in range(times):
        begin = time.thread_time()
        call()
        found.append(time.thread_time() - begin)
    return 1e6 * float(np.median(found))


def main() -> None:
    """Print the table."""
    for name, value in interpreter_us().items():
        print(f"interpreter: {name:30s} {value:6.0f} us")
    for percentile in (10, 50):
        there, back = hop_us(percentile)
        print(f"hop to an idle process, {percentile} % of them within {there:6.0f} us; back {back:6.0f} us")
    for items in (1, 200, 700):
        before, after = calls_us(items)
        print(f"calls around the model, {items:4d} items   {before:6.0f} us before, {after:6.0f} us after it")


if __name__ == "__main__":
    main()
